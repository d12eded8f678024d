//! Types of settings.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::error::Error;

/// The location of a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorePath(PathBuf);

impl StorePath {
    /// The registry in this SQLite file.
    pub fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// The SQLite file.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The same location; a relative path is resolved against `dir`.
    #[must_use]
    pub fn from_dir(&self, dir: &Path) -> Self {
        Self(dir.join(&self.0))
    }
}

impl FromStr for StorePath {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let path = text.strip_prefix("sqlite:").map(|path| path.strip_prefix("//").unwrap_or(path));
        match path {
            Some(path) if path.starts_with("~/") => {
                Err(Error::usage("the path of the store begins with ~, which only shells expand")
                    .hint("use an absolute path, such as sqlite:/home/me/hooks.db"))
            }
            Some(path) if !path.is_empty() && !path.starts_with(':') => Ok(Self(PathBuf::from(path))),
            // The text is not repeated, as it may be a URL with a password.
            _ => Err(Error::usage("unsupported store").hint("use --store sqlite:PATH, such as sqlite:ci/hooks.db")),
        }
    }
}

impl fmt::Display for StorePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sqlite:{}", self.0.display())
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
