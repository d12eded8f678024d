//! Edits the configuration file, preserving comments and order.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use toml_edit::{Decor, DocumentMut, Item, Table, value};

use super::file::{ConfigFile, Key, Profile};
use super::{StoreUrl, directories};
use crate::domain::ProfileName;
use crate::error::{Error, ErrorKind, Result};
use crate::platform;

/// The configuration file, locked for editing until this is dropped.
pub struct ConfigEditor {
    path: PathBuf,
    document: DocumentMut,
    /// The line ending of the file.
    line_end: &'static str,
    _lock: File,
}

impl ConfigEditor {
    /// Locks and reads the file, which need not exist.
    ///
    /// # Errors
    /// A usage error for an invalid file, a store error when it cannot be read or locked.
    pub fn open() -> Result<Self> {
        let path = directories::needed_config_file()?;
        let dir = path.parent().unwrap_or(Path::new("."));
        let lock = || -> io::Result<File> {
            platform::create_private_dir(dir)?;
            let lock = platform::open_lock(&dir.join(".config.lock"))?;
            lock.lock()?;
            Ok(lock)
        };
        let lock = lock().map_err(|error| unwritable(&path, error))?;
        let path = resolve_links(path);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(unwritable(&path, error)),
        };
        ConfigFile::parse(&text, &path)?;
        // `ConfigFile::parse` has parsed the same text, so this does not fail.
        let document = text.parse().map_err(|error: toml_edit::TomlError| Error::usage(error.message()))?;
        Ok(Self { path, document, line_end: if text.contains("\r\n") { "\r\n" } else { "\n" }, _lock: lock })
    }

    /// The path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Sets a key of a profile, creating the profile if necessary. Relative paths are resolved against `dir`.
    ///
    /// # Errors
    /// A usage error for an invalid value.
    pub fn set(&mut self, profile: &ProfileName, key: Key, text: &str, dir: &Path) -> Result<()> {
        let mut read = Profile::default();
        read.set(key, text, dir).map_err(|error| error.about(key.as_str()))?;
        let path = read.store.as_ref().and_then(StoreUrl::file).or(read.ca_file.as_deref());
        if path.is_some_and(|path| path.to_str().is_none()) {
            return Err(Error::usage(format!(
                "{}: the path is not valid Unicode, which the configuration file requires",
                key.as_str()
            ))
            .hint("use another path, or set it with a flag or an environment variable"));
        }
        let item = match (&read.app_id, &read.target_url, &read.store) {
            (Some(app), ..) => value(app.get()),
            (_, Some(url), _) => value(url.expose()),
            (.., Some(store)) => value(store.exposed()),
            _ => value(read.shown(key).unwrap_or_default()),
        };
        let table = self.profile(profile)?;
        match table.get_mut(key.as_str()).and_then(Item::as_value_mut) {
            // In place, so that a trailing comment is preserved.
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

    /// Creates a profile, unless it exists.
    ///
    /// # Errors
    /// A usage error when `profiles` is written in a way that cannot be extended.
    pub fn add(&mut self, profile: &ProfileName) -> Result<()> {
        self.profile(profile).map(|_| ())
    }

    /// Removes a key from a profile. Returns whether it was set.
    pub fn unset(&mut self, profile: &ProfileName, key: Key) -> bool {
        let profiles = self.document.get_mut("profiles").and_then(Item::as_table_like_mut);
        let table = profiles.and_then(|profiles| profiles.get_mut(profile.as_str())?.as_table_like_mut());
        let Some(table) = table.filter(|table| table.contains_key(key.as_str())) else { return false };
        let above = table.key(key.as_str()).and_then(|key| key.leaf_decor().prefix()?.as_str().map(str::to_owned));
        let after = table.iter().map(|(name, _)| name.to_owned()).skip_while(|name| name != key.as_str()).nth(1);
        table.remove(key.as_str());
        // A comment above the key may be about more than this key, so it is preserved.
        if let Some(above) = above.filter(|above| above.contains('#')) {
            if let Some(mut next) = after.and_then(|after| table.key_mut(&after)) {
                prepend(next.leaf_decor_mut(), &above);
            } else if let Some(next) = self.table_after(profile) {
                prepend(next.decor_mut(), &above);
            } else {
                let trailing = self.take_trailing();
                self.document.set_trailing(format!("{above}{trailing}"));
            }
        }
        true
    }

    /// Makes a profile the active one, which is used unless another is selected.
    pub fn switch(&mut self, profile: &ProfileName) {
        let new = value(profile.as_str());
        if let Some(old) = self.document.get_mut("profile") {
            let decor = old.as_value().map(|old| old.decor().clone());
            *old = new;
            if let (Some(decor), Some(value)) = (decor, old.as_value_mut()) {
                *value.decor_mut() = decor;
            }
            return;
        }
        // A comment at the top of the file that is followed by a blank line stays at the top.
        let top = if self.document.is_empty() { self.take_trailing() } else { self.take_top() };
        self.document.insert("profile", new);
        if let Some(mut key) = self.document.key_mut("profile") {
            prepend(key.leaf_decor_mut(), &top);
        }
    }

    /// The table that follows that of a profile in the file.
    fn table_after(&mut self, name: &ProfileName) -> Option<&mut Table> {
        let profiles = self.document.get_mut("profiles")?.as_table_mut()?;
        let here = profiles.get(name.as_str())?.as_table()?.position()?;
        let tables = profiles.iter_mut().filter_map(|(_, item)| item.as_table_mut());
        let later = tables.filter(|table| table.position().is_some_and(|position| position > here));
        later.min_by_key(|table| table.position())
    }

    /// Takes the comments above the first table, up to the last blank line before it.
    fn take_top(&mut self) -> String {
        let profiles = self.document.get_mut("profiles").and_then(Item::as_table_mut);
        let tables = profiles.into_iter().flat_map(|profiles| profiles.iter_mut());
        let first = tables.filter_map(|(_, item)| item.as_table_mut()).min_by_key(|table| table.position());
        let Some(first) = first else { return String::new() };
        let prefix = first.decor().prefix().and_then(|prefix| prefix.as_str()).unwrap_or_default().to_owned();
        let Some(end) = prefix.rfind("\n\n").map(|blank| blank + 2) else { return String::new() };
        let (top, rest) = prefix.split_at(end);
        first.decor_mut().set_prefix(format!("\n{rest}"));
        top.to_owned()
    }

    fn take_trailing(&mut self) -> String {
        let trailing = self.document.trailing().as_str().unwrap_or_default().to_owned();
        self.document.set_trailing("");
        trailing
    }

    /// Writes the file atomically and readable by its owner only, as a target URL or that of the store may contain a
    /// password.
    ///
    /// # Errors
    /// A store error; the file is unchanged.
    pub fn save(&self) -> Result<()> {
        platform::remove_leftovers(&self.path);
        let text = self.document.to_string();
        // Multi-line strings still have their original line endings, so all are normalised first.
        let text = text.replace("\r\n", "\n").replace('\n', self.line_end);
        ConfigFile::parse(&text, &self.path)?;
        let written = platform::replace_private_file(&self.path, text.as_bytes());
        written.map_err(|error| unwritable(&self.path, error))
    }

    fn profile(&mut self, name: &ProfileName) -> Result<&mut dyn toml_edit::TableLike> {
        let mut parent = Table::new();
        parent.set_implicit(true);
        let profiles = self.document.entry("profiles").or_insert(Item::Table(parent));
        let inline = profiles.is_inline_table();
        let exists = profiles.as_table_like().is_some_and(|profiles| profiles.contains_key(name.as_str()));
        let fresh = if inline {
            value(toml_edit::InlineTable::new())
        } else {
            let mut table = Table::new();
            if !exists {
                // A comment at the end of the file belongs to the tables before it, so the new table comes after it.
                let is_empty = self.document.iter().all(|(_, item)| item.as_table().is_some_and(Table::is_implicit));
                let before = self.take_trailing();
                let gap = if is_empty && before.is_empty() { "" } else { "\n" };
                table.decor_mut().set_prefix(format!("{before}{gap}"));
            }
            Item::Table(table)
        };
        let profiles = &mut self.document["profiles"];
        let profiles = profiles.as_table_like_mut();
        let table = profiles.map(|profiles| profiles.entry(name.as_str()).or_insert(fresh));
        table.and_then(Item::as_table_like_mut).ok_or_else(|| Error::usage("`profiles` must be a table of profiles"))
    }
}

/// The file that a symbolic link points to, even if it does not exist, so that the link is not replaced.
fn resolve_links(mut path: PathBuf) -> PathBuf {
    // The same limit as in Linux.
    for _ in 0..40 {
        match fs::read_link(&path) {
            Ok(target) => path = path.parent().unwrap_or(Path::new(".")).join(target),
            Err(_) => break,
        }
    }
    path
}

fn prepend(decor: &mut Decor, text: &str) {
    let old = decor.prefix().and_then(|prefix| prefix.as_str()).unwrap_or_default().to_owned();
    decor.set_prefix(format!("{text}{old}"));
}

fn unwritable(path: &Path, error: io::Error) -> Error {
    Error::new(ErrorKind::Store, format!("cannot write the configuration file {}: {error}", path.display()))
        .source(error)
}
