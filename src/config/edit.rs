//! Editing the configuration file. Comments and order stay as they are.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use toml_edit::{DocumentMut, Item, Table, value};

use super::directories;
use super::file::{ConfigFile, Key, Profile};
use crate::domain::ProfileName;
use crate::error::{Error, ErrorKind, Result};
use crate::platform;

/// The configuration file, held for a change: no other process changes it until this is dropped.
pub struct ConfigEditor {
    path: PathBuf,
    document: DocumentMut,
    _lock: File,
}

impl ConfigEditor {
    /// Takes the file, which need not be there, and waits for its turn.
    ///
    /// # Errors
    /// A usage error for a file that cannot be understood, a store error when it cannot be written.
    pub fn open() -> Result<Self> {
        let path = directories::config_file().ok_or_else(|| {
            Error::new(ErrorKind::Store, "there is no home directory to keep the configuration in").hint("set HOME")
        })?;
        // A link to a file that is kept elsewhere stays one.
        let path = fs::canonicalize(&path).unwrap_or(path);
        let dir = path.parent().unwrap_or(Path::new("."));
        let lock = || -> io::Result<File> {
            platform::create_private_dir(dir)?;
            let lock = platform::open_lock(&dir.join(".config.lock"))?;
            lock.lock()?;
            Ok(lock)
        };
        let lock = lock().map_err(|error| unwritable(&path, error))?;
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(unwritable(&path, error)),
        };
        ConfigFile::parse(&text, &path)?;
        // It was understood a line ago.
        let document = text.parse().map_err(|error: toml_edit::TomlError| Error::usage(error.message()))?;
        Ok(Self { path, document, _lock: lock })
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Sets a key of a profile, making the profile if need be. Paths that are not absolute are seen from `dir`.
    ///
    /// # Errors
    /// A usage error for a value that the key cannot have.
    pub fn set(&mut self, profile: &ProfileName, key: Key, text: &str, dir: &Path) -> Result<()> {
        let mut read = Profile::default();
        read.set(key, text, dir).map_err(|error| error.about(key.as_str()))?;
        let item = match (&read.app_id, &read.target_url) {
            (Some(app), _) => value(app.get()),
            (_, Some(url)) => value(url.expose()),
            _ => value(read.shown(key).unwrap_or_default()),
        };
        let table = self.profile(profile)?;
        match table.get_mut(key.as_str()).and_then(Item::as_value_mut) {
            // In place, so that a comment behind it stays.
            Some(old) => {
                let decor = old.decor().clone();
                if let Ok(mut new) = item.into_value() {
                    *new.decor_mut() = decor;
                    *old = new;
                }
            }
            None => {
                table.insert(key.as_str(), item);
            }
        }
        Ok(())
    }

    /// Makes a profile, unless it is there.
    ///
    /// # Errors
    /// A usage error when `profiles` is written in a way that cannot be extended.
    pub fn add(&mut self, profile: &ProfileName) -> Result<()> {
        self.profile(profile).map(|_| ())
    }

    /// Takes a key out of a profile. Says whether it was there.
    pub fn unset(&mut self, profile: &ProfileName, key: Key) -> bool {
        let profiles = self.document.get_mut("profiles").and_then(Item::as_table_like_mut);
        let table = profiles.and_then(|profiles| profiles.get_mut(profile.as_str())?.as_table_like_mut());
        table.is_some_and(|table| table.remove(key.as_str()).is_some())
    }

    /// Makes a profile the one that is used when nobody says otherwise.
    pub fn switch(&mut self, profile: &ProfileName) {
        let new = value(profile.as_str());
        match self.document.get_mut("profile") {
            Some(old) => {
                let decor = old.as_value().map(|old| old.decor().clone());
                *old = new;
                if let (Some(decor), Some(value)) = (decor, old.as_value_mut()) {
                    *value.decor_mut() = decor;
                }
            }
            None => {
                self.document.insert("profile", new);
            }
        }
    }

    /// Writes the file: whole or not at all, for its owner alone, as a target URL may hold a password.
    ///
    /// # Errors
    /// A store error; the file is then as it was.
    pub fn save(&self) -> Result<()> {
        let written = platform::replace_private_file(&self.path, self.document.to_string().as_bytes());
        written.map_err(|error| unwritable(&self.path, error))
    }

    fn profile(&mut self, name: &ProfileName) -> Result<&mut dyn toml_edit::TableLike> {
        let mut parent = Table::new();
        parent.set_implicit(true);
        let profiles = self.document.entry("profiles").or_insert(Item::Table(parent));
        let inline = profiles.is_inline_table();
        let fresh = if inline { value(toml_edit::InlineTable::new()) } else { Item::Table(Table::new()) };
        let profiles = profiles.as_table_like_mut();
        let table = profiles.map(|profiles| profiles.entry(name.as_str()).or_insert(fresh));
        table.and_then(Item::as_table_like_mut).ok_or_else(|| Error::usage("`profiles` is not a table of profiles"))
    }
}

fn unwritable(path: &Path, error: io::Error) -> Error {
    Error::new(ErrorKind::Store, format!("the configuration file {} can't be changed: {error}", path.display()))
        .source(error)
}
