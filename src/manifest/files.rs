//! Finding and reading the files of a manifest.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::format::ManifestFormat;
use crate::config::text_file::{not_read, read_all};
use crate::domain::without_bom;
use crate::error::{Error, Result};

/// The largest file that is read, in bytes: a hundred thousand hooks are smaller.
const MAX_FILE: u64 = 64 * 1024 * 1024;

/// What stands for standard input on the command line.
const STDIN: &str = "-";

/// A file of a manifest.
pub(super) struct ManifestFile {
    /// Its name in messages.
    pub(super) name: String,
    /// Where it is; standard input is nowhere.
    path: Option<PathBuf>,
}

impl ManifestFile {
    /// The directory that paths in it are relative to.
    pub(super) fn dir(&self) -> &Path {
        self.path.as_deref().and_then(Path::parent).unwrap_or(Path::new(""))
    }

    /// Where it is; standard input is nowhere.
    pub(super) fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Its text and format.
    ///
    /// # Errors
    /// A usage error that names the file.
    pub(super) fn read(&self) -> Result<(String, ManifestFormat)> {
        let path = self.path.as_deref().unwrap_or(Path::new(&self.name));
        let bytes = match &self.path {
            None => read_all(io::stdin(), MAX_FILE),
            Some(path) => File::open(path).and_then(|file| read_all(file, MAX_FILE)),
        };
        let bytes = bytes.map_err(|error| not_read(path, error))?;
        let bytes = bytes.ok_or_else(|| Error::usage(format!("{}: it is longer than {MAX_FILE} bytes", self.name)))?;
        let text =
            String::from_utf8(bytes).map_err(|_| Error::usage(format!("{}: it is not text (UTF-8)", self.name)))?;
        let text = if text.starts_with('\u{feff}') { without_bom(&text).to_owned() } else { text };
        let format = match &self.path {
            None => ManifestFormat::of_text(&text),
            Some(path) => ManifestFormat::of_path(path).ok_or_else(|| {
                Error::usage(format!("{}: the format of this file is not known", self.name))
                    .hint("the name of a manifest ends in .toml, .yaml, .yml or .json")
            })?,
        };
        Ok((text, format))
    }
}

/// The files that these files and directories stand for, each once, with their names. An error stands in the place of what
/// cannot be used.
pub(super) fn find(sources: &[PathBuf]) -> Vec<(String, Result<ManifestFile>)> {
    let mut found = Vec::new();
    for source in sources {
        let file = |name: String, path| (name.clone(), Ok(ManifestFile { name, path }));
        if source == Path::new(STDIN) {
            found.push(file("<stdin>".to_owned(), None));
        } else if source.is_dir() {
            match in_directory(source) {
                Ok(paths) => found.extend(paths.into_iter().map(|path| match check_file(&path) {
                    Ok(()) => file(path.display().to_string(), Some(path)),
                    Err(error) => (path.display().to_string(), Err(error)),
                })),
                Err(error) => found.push((source.display().to_string(), Err(error))),
            }
        } else {
            found.push(file(source.display().to_string(), Some(source.clone())));
        }
    }
    let mut seen = HashSet::new();
    found.retain(|(_, file)| match file {
        Ok(ManifestFile { path, .. }) => {
            seen.insert(path.as_ref().map(|path| fs::canonicalize(path).unwrap_or_else(|_| path.clone())))
        }
        Err(_) => true,
    });
    found
}

/// Whether a file with this name, in a directory that is read, is a manifest. Hidden files are none, nor are schemas.
pub fn is_manifest_name(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    !name.starts_with('.') && !name.ends_with(".schema.json") && ManifestFormat::of_path(path).is_some()
}

/// The manifests directly in a directory, sorted by name, whatever they are: a link that leads nowhere is not left out, as the
/// hooks that were in it would then be removed.
fn in_directory(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(dir).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    let entries = entries.map_err(|error| not_read(dir, error))?;
    let is_directory = |entry: &fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
    let paths = entries.into_iter().filter(|entry| !is_directory(entry)).map(|entry| entry.path());
    let mut paths: Vec<PathBuf> = paths.filter(|path| is_manifest_name(path)).collect();
    paths.sort();
    if paths.is_empty() {
        return Err(Error::usage(format!("{}: there is no manifest in this directory", dir.display()))
            .hint("the name of a manifest ends in .toml, .yaml, .yml or .json"));
    }
    Ok(paths)
}

/// Refuses what nobody has named and that cannot be read as a file: to open a pipe would be to wait for its writer.
fn check_file(path: &Path) -> Result<()> {
    let metadata = fs::metadata(path).map_err(|error| not_read(path, error))?;
    if metadata.is_file() {
        return Ok(());
    }
    Err(Error::usage(format!("{}: this has the name of a manifest, and is no file", path.display())))
}
