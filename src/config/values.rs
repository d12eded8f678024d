//! Types of settings.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::PostgresUrl;
use super::text_file::read_file;
use crate::domain::Password;
use crate::error::Error;

/// The location of a store: registry and inbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreUrl {
    /// The SQLite file of the registry; the inbox is beside it.
    Sqlite(PathBuf),
    /// A PostgreSQL database.
    Postgres(PostgresUrl),
}

impl StoreUrl {
    /// A location that a flag or a variable gives: as it is, or in a file, as `@FILE`.
    ///
    /// # Errors
    /// A usage error for a file that cannot be read, or a location that is not valid.
    pub fn given(text: &str) -> Result<Self, Error> {
        match text.strip_prefix('@') {
            Some(path) => read_file(Path::new(path))?.trim().parse().map_err(|error: Error| error.about(path)),
            None => text.parse(),
        }
    }

    /// A location that is given on the command line, which every user of the machine can read.
    ///
    /// # Errors
    /// The same, and one for a password that is not in a file.
    pub fn of_command_line(text: &str) -> Result<Self, Error> {
        let location = Self::given(text)?;
        if !text.starts_with('@') && location.password().is_some() {
            return Err(Error::usage("the URL of the store holds a password, which others could read").hint(
                "leave it out, and set PGPASSWORD or write it to ~/.pgpass; or give the URL in a file, as @FILE",
            ));
        }
        Ok(location)
    }

    /// The password in a connection URL.
    pub fn password(&self) -> Option<&Password> {
        match self {
            Self::Sqlite(_) => None,
            Self::Postgres(url) => url.password(),
        }
    }

    /// The location with a password that it has: only for the configuration file.
    pub fn exposed(&self) -> String {
        match self {
            Self::Sqlite(_) => self.to_string(),
            Self::Postgres(url) => url.expose().to_owned(),
        }
    }

    /// The file, if the store is in one.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::Sqlite(path) => Some(path),
            Self::Postgres(_) => None,
        }
    }

    /// The same location; a relative path is resolved against `dir`.
    #[must_use]
    pub fn from_dir(&self, dir: &Path) -> Self {
        match self {
            Self::Sqlite(path) => Self::Sqlite(dir.join(path)),
            Self::Postgres(url) => Self::Postgres(url.clone()),
        }
    }
}

impl FromStr for StoreUrl {
    type Err = Error;

    // No error repeats the text, as it may be a URL with a password.
    fn from_str(text: &str) -> Result<Self, Error> {
        if PostgresUrl::is_one(text) {
            return PostgresUrl::parse(text).map(Self::Postgres);
        }
        let path = text.strip_prefix("sqlite:").map(|path| path.strip_prefix("//").unwrap_or(path));
        match path {
            Some(path) if path.starts_with("~/") => {
                Err(Error::usage("the path of the store begins with ~, which only shells expand")
                    .hint("use an absolute path, such as sqlite:/home/me/hooks.db"))
            }
            Some(path) if !path.is_empty() && !path.starts_with(':') => Ok(Self::Sqlite(PathBuf::from(path))),
            _ => Err(Error::usage("unsupported store").hint(
                "use sqlite:PATH, such as sqlite:ci/hooks.db, or postgres://USER@HOST/DATABASE; a URL in a file is @FILE",
            )),
        }
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::Postgres(url) => url.fmt(f),
        }
    }
}

/// Where `auth login` stores credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CredentialStore {
    /// In the platform's keyring if it is available, else in a file.
    #[default]
    Auto,
    /// In the platform's keyring only.
    Keyring,
    /// In a file that only its owner can read.
    File,
}

impl CredentialStore {
    /// All names, for help and completion.
    pub const NAMES: [&str; 3] = ["auto", "keyring", "file"];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Keyring => "keyring",
            Self::File => "file",
        }
    }
}

impl FromStr for CredentialStore {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let known = [Self::Auto, Self::Keyring, Self::File].into_iter().find(|store| store.as_str() == text);
        known.ok_or_else(|| Error::usage(format!("the credential store must be one of {}", Self::NAMES.join(", "))))
    }
}

impl fmt::Display for CredentialStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_location_of_a_store_is_a_file_or_a_server() {
        let file = |text: &str| text.parse::<StoreUrl>().map_err(|error| error.to_string());
        assert_eq!(file("sqlite:ci/hooks.db"), Ok(StoreUrl::Sqlite("ci/hooks.db".into())));
        assert_eq!(file("sqlite:///tmp/hooks.db"), Ok(StoreUrl::Sqlite("/tmp/hooks.db".into())));
        let server = "postgresql://ci@db.example:5433/hooks?sslmode=verify-full";
        assert_eq!(server.parse::<StoreUrl>().unwrap().to_string(), server);
        for other in ["", "sqlite:", "sqlite::memory:", "mysql://db.example/hooks", "hooks.db"] {
            assert_eq!(file(other), Err("unsupported store".to_owned()), "{other}");
        }
    }

    #[test]
    fn a_password_is_for_files_and_variables_and_not_for_the_command_line() {
        let url = "postgres://ci:hunter2@db.example/hooks";
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), format!("\u{feff}{url}\r\n")).unwrap();
        let in_file = format!("@{}", file.path().display());
        for location in [StoreUrl::given(url), StoreUrl::given(&in_file), StoreUrl::of_command_line(&in_file)] {
            let location = location.unwrap();
            assert_eq!(location.password().map(Password::expose), Some("hunter2"));
            assert_eq!(location.exposed(), url);
            assert!(!format!("{location} {location:?}").contains("hunter2"), "{location:?}");
        }
        let error = StoreUrl::of_command_line(url).unwrap_err();
        assert!(
            error.to_string().contains("holds a password") && !format!("{error:?}").contains("hunter2"),
            "{error:?}"
        );
        assert!(StoreUrl::of_command_line("@/nonexistent").is_err());
    }
}
