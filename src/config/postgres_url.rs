//! The connection URL of a PostgreSQL database.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use percent_encoding::percent_decode_str;

use crate::domain::{Password, is_unsafe_char};
use crate::error::{Error, Result};

/// The parameters that a URL may have. User, host, port and database may be given by its other parts instead.
const PARAMETERS: [&str; 14] = [
    "host",
    "port",
    "user",
    "dbname",
    "schema",
    "sslmode",
    "sslrootcert",
    "allow_unverified",
    "passfile",
    "connect_timeout",
    "application_name",
    "target_session_attrs",
    // Not for the password, but for a clear answer to whoever gives it so.
    "password",
    "passwd",
];

const SHAPE: &str = "its form is postgres://USER@HOST:PORT/DATABASE; in user, password and database, write / as %2F, \
                     ? as %3F, @ as %40 and % as %25";

/// A connection URL as given: what it does not say is in the environment, or has a default.
///
/// Neither `Debug` nor `Display` shows its password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostgresUrl {
    parameters: BTreeMap<&'static str, String>,
    password: Option<Password>,
    /// As given.
    text: Password,
    /// The same without the password.
    shown: String,
}

impl PostgresUrl {
    /// Whether a text is meant as such a URL.
    pub fn is_one(text: &str) -> bool {
        text.starts_with("postgres:") || text.starts_with("postgresql:")
    }

    /// Parses a URL, which may hold a password.
    ///
    /// # Errors
    /// A usage error, which repeats nothing that may belong to a password.
    pub fn parse(text: &str) -> Result<Self> {
        let (scheme, rest) = text.split_once("://").ok_or_else(|| wrong("it has no ://"))?;
        if text.contains(is_unsafe_char) {
            return Err(wrong("it contains an invisible character"));
        }
        let (authority, path_and_query) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        // A password with a slash in it, perhaps, whose second half would be taken for the name of a database.
        if path_and_query.contains('@') {
            return Err(wrong("an @ comes after the first / or ?"));
        }
        let (path, query) = path_and_query.split_once('?').unwrap_or((path_and_query, ""));
        let (credentials, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
        let (user, password) = match credentials.split_once(':') {
            Some((user, password)) => (user, Some(password)),
            None => (credentials, None),
        };
        let mut url = Self {
            parameters: BTreeMap::new(),
            password: password.map(decoded).transpose()?.filter(|password| !password.is_empty()).map(Password::new),
            text: Password::new(text),
            shown: format!("{scheme}://{user}{}{hosts}{path_and_query}", if user.is_empty() { "" } else { "@" }),
        };
        url.add("user", user)?;
        url.add_hosts(hosts)?;
        url.add("dbname", path.strip_prefix('/').unwrap_or_default())?;
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').ok_or_else(|| wrong("a parameter has no value"))?;
            url.add(name, value)?;
        }
        Ok(url)
    }

    /// The value of a parameter, whichever part of the URL gives it. Several hosts and ports are separated by commas.
    pub fn get(&self, parameter: &str) -> Option<&str> {
        self.parameters.get(parameter).map(String::as_str)
    }

    /// The password in it.
    pub fn password(&self) -> Option<&Password> {
        self.password.as_ref()
    }

    /// The whole URL, with its password: only for the configuration file.
    pub fn expose(&self) -> &str {
        self.text.expose()
    }

    fn add_hosts(&mut self, hosts: &str) -> Result<()> {
        let mut names = Vec::new();
        let mut ports = Vec::new();
        for host in hosts.split(',') {
            let (name, port) = match host.strip_prefix('[').map(|host| host.split_once(']')) {
                Some(Some((name, port))) => (name, port.strip_prefix(':').unwrap_or(port)),
                Some(None) => return Err(wrong("a [ has no ]")),
                None => host.split_once(':').unwrap_or((host, "")),
            };
            names.push(name);
            if !port.chars().all(|digit| digit.is_ascii_digit()) {
                return Err(wrong("a port is not a number"));
            }
            ports.push(port);
        }
        let given =
            |parts: &[&str]| if parts.iter().all(|part| part.is_empty()) { String::new() } else { parts.join(",") };
        self.add("host", &given(&names))?;
        self.add("port", &given(&ports))
    }

    /// Sets a parameter to a value that is percent-encoded; an empty one counts as not given.
    fn add(&mut self, name: &str, value: &str) -> Result<()> {
        let known = PARAMETERS.into_iter().find(|known| *known == name).ok_or_else(|| unknown(name))?;
        if matches!(known, "password" | "passwd") {
            return Err(wrong("its password is a parameter").hint("give it as USER:PASSWORD@HOST, or by PGPASSWORD"));
        }
        let value = decoded(value)?;
        if value.contains(is_unsafe_char) {
            return Err(wrong(&format!("`{known}` contains an invisible character")));
        }
        if !value.is_empty() && self.parameters.insert(known, value).is_some() {
            return Err(wrong(&format!("it gives `{known}` twice")));
        }
        Ok(())
    }
}

impl fmt::Display for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

fn wrong(what: &str) -> Error {
    Error::usage(format!("the URL of the store is not valid: {what}")).hint(SHAPE)
}

fn unknown(name: &str) -> Error {
    // What does not look like a name may belong to something secret.
    let is_name = name.len() <= 40 && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    let named = if is_name { format!("the unknown parameter `{name}`") } else { "an unknown parameter".to_owned() };
    let known = PARAMETERS.into_iter().filter(|known| !matches!(*known, "password" | "passwd"));
    Error::usage(format!("the URL of the store has {named}"))
        .hint(format!("the parameters are {}", known.collect::<Vec<_>>().join(", ")))
}

fn decoded(text: &str) -> Result<String> {
    let mut after_percents = text.split('%').skip(1);
    let is_code = |after: &str| after.len() >= 2 && after.bytes().take(2).all(|byte| byte.is_ascii_hexdigit());
    if !after_percents.all(is_code) {
        return Err(wrong("a % is not followed by two hexadecimal digits"));
    }
    let decoded = percent_decode_str(text).decode_utf8().map(Cow::into_owned);
    decoded.map_err(|_| wrong("it is not valid UTF-8 when decoded"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> Vec<String> {
        let url = PostgresUrl::parse(text).unwrap();
        let part = |name: &&str| url.get(name).map(|value| format!("{name}={value}"));
        PARAMETERS.iter().filter_map(part).collect()
    }

    #[test]
    fn every_part_may_be_a_parameter() {
        let all = ["host=db.example", "port=5433", "user=ci", "dbname=hooks"];
        assert_eq!(parts("postgres://ci@db.example:5433/hooks"), all);
        assert_eq!(parts("postgresql://?user=ci&host=db.example&port=5433&dbname=hooks"), all);
        assert_eq!(parts("postgres:///hooks?host=/var/run/postgresql"), ["host=/var/run/postgresql", "dbname=hooks"]);
        let socket = ["host=/var/run/postgresql", "user=a b", "dbname=x/y"];
        assert_eq!(parts("postgres://a%20b@%2Fvar%2Frun%2Fpostgresql/x%2Fy"), socket);
        assert_eq!(parts("postgres://[::1]:5433,db/?schema=s"), ["host=::1,db", "port=5433,", "schema=s"]);
        assert!(parts("postgres://").is_empty());
    }

    #[test]
    fn a_password_is_taken_and_not_shown() {
        let url = PostgresUrl::parse("postgres://ci:hun%40ter2@db.example/hooks?schema=s").unwrap();
        assert_eq!(url.password().map(Password::expose), Some("hun@ter2"));
        assert_eq!(url.to_string(), "postgres://ci@db.example/hooks?schema=s");
        assert!(!format!("{url:?}").contains("ter2") && url.expose().contains("hun%40ter2"));
        assert_eq!(PostgresUrl::parse("postgres://:hunter2@db/x").unwrap().to_string(), "postgres://db/x");
    }

    #[test]
    fn errors_say_what_is_wrong_and_repeat_no_password() {
        for (text, says) in [
            ("postgres:hunter2", "no ://"),
            ("postgres://ci:hun/ter2@db/hooks", "after the first"),
            ("postgres://ci:hun?ter2@db/hooks", "after the first"),
            ("postgres://ci:hunter2%@db/hooks", "two hexadecimal digits"),
            ("postgres://ci:hunter2%ff@db/hooks", "not valid UTF-8"),
            ("postgres://ci:hunter2/hooks", "a port is not a number"),
            ("postgres://[ci:hunter2/hooks", "no ]"),
            ("postgres://db/x?password=hunter2", "its password is a parameter"),
            ("postgres://db/x?hunter2", "has no value"),
            ("postgres://db/x?hunter2=1", "an unknown parameter"),
            ("postgres://db/x?sslcert=hunter2", "the unknown parameter `sslcert`"),
            ("postgres://a@db/x?user=hunter2", "gives `user` twice"),
            ("postgres://a@db/x?schema=%0a", "`schema` contains an invisible"),
            ("postgres://a\u{202e}@db/x", "invisible character"),
        ] {
            let error = PostgresUrl::parse(text).unwrap_err();
            assert!(error.to_string().contains(says), "{text}: {error}");
            assert!(!format!("{error:?}").contains("ter2"), "{text}: {error:?}");
        }
        let error = PostgresUrl::parse("postgres://db/x?sslcert=y").unwrap_err();
        assert!(error.hints()[0].contains("sslmode, sslrootcert") && !error.hints()[0].contains("passw"));
    }
}
