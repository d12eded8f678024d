//! Passwords: in the URL, the environment, or a password file of PostgreSQL's.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::given::Given;
use crate::config::text_file::{not_read, read_text};
use crate::config::{directories, environment};
use crate::domain::Password;
use crate::error::{Error, Result};
use crate::platform;

/// Where passwords are looked for.
pub(super) enum Passwords {
    /// This one, for every server.
    One(Password),
    /// The entries of a file, which name their servers.
    Entries(Vec<PasswordEntry>),
}

impl Passwords {
    /// The first that there is: of the URL, of `PGPASSWORD`, of the file.
    pub(super) fn of(given: &Given) -> Result<Self> {
        let of_url = given.url.password().cloned();
        let of_environment = given.environment.text(environment::PGPASSWORD)?.map(Password::new);
        if let Some(password) = of_url.or(of_environment) {
            return Ok(Self::One(password));
        }
        let named = given.text("passfile", environment::PGPASSFILE)?.map(|path| PathBuf::from(path.value));
        let entries = match (named, directories::password_file()) {
            (Some(path), _) => entries(&path)?.ok_or_else(|| not_read(&path, io::ErrorKind::NotFound.into()))?,
            (None, Some(path)) => entries(&path)?.unwrap_or_default(),
            (None, None) => Vec::new(),
        };
        Ok(Self::Entries(entries))
    }

    /// The password for a user of a database of a server.
    pub(super) fn find(&self, host: &str, port: u16, database: &str, user: &str) -> Option<Password> {
        match self {
            Self::One(password) => Some(password.clone()),
            Self::Entries(entries) => {
                let port = port.to_string();
                entries
                    .iter()
                    .find(|entry| entry.is_for(host, &port, database, user))
                    .map(|entry| entry.password.clone())
            }
        }
    }
}

/// A line of a password file: `host:port:database:user:password`.
pub(super) struct PasswordEntry {
    /// Host, port, database and user; `None` stands for any.
    names: [Option<String>; 4],
    password: Password,
}

impl PasswordEntry {
    fn parse(line: &str) -> Option<Self> {
        let mut fields = fields(line).into_iter();
        let mut name = || fields.next().map(|(text, is_plain)| (text != "*" || !is_plain).then_some(text));
        let names = [name()?, name()?, name()?, name()?];
        let (password, _) = fields.next()?;
        Some(Self { names, password: Password::new(password) })
    }

    /// For a socket, whose host is a directory, `localhost` stands too.
    fn is_for(&self, host: &str, port: &str, database: &str, user: &str) -> bool {
        let [of_host, others @ ..] = &self.names;
        let is = |name: &Option<String>, value: &str| name.as_deref().is_none_or(|name| name == value);
        let is_host = is(of_host, host) || host.starts_with('/') && is(of_host, "localhost");
        is_host && others.iter().zip([port, database, user]).all(|(name, value)| is(name, value))
    }
}

/// The five fields of a line, each with whether it is without a backslash. One makes the character behind it an ordinary
/// one; the last field has any colons that are left.
fn fields(line: &str) -> Vec<(String, bool)> {
    let mut fields = vec![(String::new(), true)];
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        let last = fields.len() == 5;
        let Some((field, is_plain)) = fields.last_mut() else { break };
        match character {
            '\\' => {
                *is_plain = false;
                field.extend(characters.next());
            }
            ':' if !last => fields.push((String::new(), true)),
            other => field.push(other),
        }
    }
    fields
}

/// The entries of a file; `None` if there is none. One that others can read is not used, as in PostgreSQL's own programs.
fn entries(path: &Path) -> Result<Option<Vec<PasswordEntry>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(not_read(path, error)),
    };
    // Such as /dev/null, which stands for no file.
    if !file.metadata().map_err(|error| not_read(path, error))?.is_file() {
        return Ok(Some(Vec::new()));
    }
    if platform::is_open_to_others(&file).map_err(|error| not_read(path, error))? {
        tracing::warn!("{} is not used, as other users can read it: chmod 600 it", path.display());
        return Ok(Some(Vec::new()));
    }
    let text = read_text(file).map_err(|error| not_read(path, error))?;
    let text = text.ok_or_else(|| Error::usage(format!("{} is too long for a password file", path.display())))?;
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    Ok(Some(lines.filter_map(PasswordEntry::parse).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_match_by_name_or_any_and_escapes_are_undone() {
        let text = ["# a comment", "short:line", "db:5432:hooks:ci:one", "*:*:*:ci:t\\:w\\\\o:3", "\\*:*:*:x:four", ""];
        let passwords = Passwords::Entries(text.iter().filter_map(|line| PasswordEntry::parse(line)).collect());
        let find = |host, port, database, user| {
            passwords.find(host, port, database, user).map(|password| password.expose().to_owned())
        };
        assert_eq!(find("db", 5432, "hooks", "ci").as_deref(), Some("one"));
        assert_eq!(find("db", 5433, "hooks", "ci").as_deref(), Some("t:w\\o:3"));
        assert_eq!(find("db", 5432, "hooks", "x"), None);
        assert_eq!(find("*", 1, "hooks", "x").as_deref(), Some("four"));
        let local = Passwords::Entries(vec![PasswordEntry::parse("localhost:*:*:*:five").unwrap()]);
        assert!(local.find("/var/run/postgresql", 5432, "a", "b").is_some() && local.find("db", 1, "a", "b").is_none());
    }
}
