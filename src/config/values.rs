//! Types of settings.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::error::Error;

/// The location of a store: registry and inbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreUrl {
    /// The SQLite file of the registry; the inbox is beside it.
    Sqlite(PathBuf),
    /// A PostgreSQL connection URL, without a password.
    Postgres(String),
}

impl StoreUrl {
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
        if text.starts_with("postgres:") || text.starts_with("postgresql:") {
            return postgres(text);
        }
        let path = text.strip_prefix("sqlite:").map(|path| path.strip_prefix("//").unwrap_or(path));
        match path {
            Some(path) if path.starts_with("~/") => {
                Err(Error::usage("the path of the store begins with ~, which only shells expand")
                    .hint("use an absolute path, such as sqlite:/home/me/hooks.db"))
            }
            Some(path) if !path.is_empty() && !path.starts_with(':') => Ok(Self::Sqlite(PathBuf::from(path))),
            _ => Err(Error::usage("unsupported store").hint("use --store sqlite:PATH, such as sqlite:ci/hooks.db")),
        }
    }
}

/// A connection URL of PostgreSQL, which must not hold a password: it is shown and stored as it is.
fn postgres(text: &str) -> Result<StoreUrl, Error> {
    let url = url::Url::parse(text).map_err(|_| Error::usage("the URL of the store is not valid"))?;
    let in_query = url.query_pairs().any(|(name, _)| name.eq_ignore_ascii_case("password"));
    if url.password().is_some() || in_query {
        return Err(Error::usage("the URL of the store holds a password, which others could read")
            .hint("leave it out, and use PGPASSWORD or a password file"));
    }
    Ok(StoreUrl::Postgres(text.to_owned()))
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::Postgres(url) => f.write_str(url),
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
        assert_eq!(file(server), Ok(StoreUrl::Postgres(server.to_owned())));
        for other in ["", "sqlite:", "sqlite::memory:", "mysql://db.example/hooks", "hooks.db"] {
            assert_eq!(file(other), Err("unsupported store".to_owned()), "{other}");
        }
    }

    #[test]
    fn a_password_in_the_location_is_refused_and_not_repeated() {
        for url in ["postgres://ci:hunter2@db.example/hooks", "postgres://db.example/hooks?user=ci&PASSWORD=hunter2"] {
            let error = url.parse::<StoreUrl>().unwrap_err();
            assert!(error.to_string().contains("holds a password"), "{error}");
            assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
        }
    }
}
