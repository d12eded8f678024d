//! Values that settings have.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::error::Error;

/// Where a registry is kept.
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

    /// The same place, seen from directory `dir` if it is not absolute.
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
                Err(Error::usage("the store's path begins with ~, which shells understand")
                    .hint("write the whole path, such as sqlite:/home/me/hooks.db"))
            }
            Some(path) if !path.is_empty() && !path.starts_with(':') => Ok(Self(PathBuf::from(path))),
            // The text may be a URL with a password in it.
            _ => Err(Error::usage("the store is not one that this tool knows")
                .hint("write --store sqlite:PATH, such as sqlite:ci/hooks.db")),
        }
    }
}

impl fmt::Display for StorePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sqlite:{}", self.0.display())
    }
}

/// Where `auth login` keeps what it was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CredentialStore {
    /// In the platform's keyring if there is one that answers, else in a file.
    #[default]
    Auto,
    /// In the platform's keyring and nowhere else.
    Keyring,
    /// In a file that only its owner can read.
    File,
}

impl CredentialStore {
    /// Every name, for help and completion.
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
        known.ok_or_else(|| Error::usage(format!("the credential store is one of {}", Self::NAMES.join(", "))))
    }
}

impl fmt::Display for CredentialStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
