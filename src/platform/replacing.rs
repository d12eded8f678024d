//! Replacing files: atomically where there is a file, and never what is none.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, Write};
use std::path::{Path, PathBuf};

use super::files::{dir_of, sync_dir, take_owner_of_dir};

/// Replaces a private file atomically: temporary file, fsync, rename, fsync of the directory. After a crash it has the
/// old or the new contents.
///
/// Fails if there is something else, such as a device.
pub fn replace_private_file(path: &Path, contents: &[u8]) -> io::Result<()> {
    let mut file = PrivateFile::prepare(path)?;
    file.put(contents)
}

/// Writes a file that somebody named: one that is a file is replaced, as [`replace_private_file`] does; anything else, such
/// as a pipe, a device or an open file of this process, is written into.
pub fn write_named_file(path: &Path, contents: &[u8]) -> io::Result<()> {
    match open_stream(path)? {
        Some(mut stream) => stream.write_all(contents),
        None => replace_private_file(path, contents),
    }
}

/// Opens what is at `path` for writing, if it cannot be replaced by a file.
fn open_stream(path: &Path) -> io::Result<Option<File>> {
    let Ok(found) = fs::metadata(path) else { return Ok(None) };
    if found.is_dir() {
        return Ok(None);
    }
    #[cfg(unix)]
    {
        use std::os::fd::AsFd;
        let is_one_of = |names: [&str; 3]| names.iter().any(|name| path == Path::new(name));
        // Opened anew, a file would be written from its beginning, and what comes after that over it.
        if is_one_of(["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"]) {
            return Ok(Some(io::stdout().as_fd().try_clone_to_owned()?.into()));
        }
        if is_one_of(["/dev/stderr", "/dev/fd/2", "/proc/self/fd/2"]) {
            return Ok(Some(io::stderr().as_fd().try_clone_to_owned()?.into()));
        }
    }
    let is_open_file = path.starts_with("/dev/fd") || path.starts_with("/proc");
    if found.is_file() && !is_open_file {
        return Ok(None);
    }
    OpenOptions::new().append(true).open(path).map(Some)
}

/// Creates a private file atomically.
///
/// Fails if the file exists.
pub fn add_private_file(path: &Path, contents: &[u8]) -> io::Result<()> {
    let dir = dir_of(path);
    // Created with mode 0600.
    let mut temporary = tempfile::Builder::new().prefix(&leftover_prefix(path)).tempfile_in(dir)?;
    take_owner_of_dir(temporary.as_file(), dir);
    temporary.write_all(contents)?;
    temporary.as_file().sync_all()?;
    temporary.persist_noclobber(path)?;
    sync_dir(dir)
}

/// A file about to be replaced, with the temporary file created and its space allocated, so that less can fail later.
#[derive(Debug)]
pub struct PrivateFile {
    path: PathBuf,
    temporary: Option<tempfile::NamedTempFile>,
}

/// The space allocated in advance, in bytes, which is more than a credential needs.
const RESERVED: usize = 16 * 1024;

impl PrivateFile {
    /// Creates the temporary file that will replace `path`, or the file that a symbolic link there leads to, and allocates
    /// its space.
    ///
    /// Fails if there is something else, such as a device, which would be lost.
    pub fn prepare(path: &Path) -> io::Result<Self> {
        let path = &resolved(path)?;
        if fs::metadata(path).is_ok_and(|found| !found.is_file() && !found.is_dir()) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is a device, a pipe or a socket, and no file"));
        }
        let dir = dir_of(path);
        // Created with mode 0600.
        let mut temporary = tempfile::Builder::new().prefix(&leftover_prefix(path)).tempfile_in(dir)?;
        copy_owner(path, temporary.as_file());
        temporary.write_all(&[b' '; RESERVED])?;
        Ok(Self { path: path.to_owned(), temporary: Some(temporary) })
    }

    /// Replaces the file durably. After an error it may have the old contents.
    pub fn put(&mut self, contents: &[u8]) -> io::Result<()> {
        let mut temporary = self.temporary.take().ok_or_else(|| io::Error::other("the file was replaced already"))?;
        temporary.rewind()?;
        temporary.write_all(contents)?;
        temporary.as_file().set_len(contents.len() as u64)?;
        temporary.as_file().sync_all()?;
        temporary.persist(&self.path)?;
        sync_dir(dir_of(&self.path))
    }
}

/// The most symbolic links that lead from one to the next.
const MAX_LINKS: usize = 32;

/// The file that a path leads to, there or not yet.
fn resolved(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..MAX_LINKS {
        match (fs::canonicalize(&path), fs::read_link(&path)) {
            (Ok(found), _) => return Ok(found),
            // It leads to what is not there.
            (Err(_), Ok(next)) => path = dir_of(&path).join(next),
            (Err(_), Err(_)) => return Ok(path),
        }
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, "its symbolic links lead nowhere"))
}

/// Gives `file` the owner of the file at `path`, which it is to replace, so that a file of a service that root replaces
/// stays readable to the service; or that of the directory, if there is no such file. Without the permission to do so, it
/// keeps the current user.
fn copy_owner(path: &Path, file: &File) {
    #[cfg(unix)]
    if let Ok(replaced) = fs::symlink_metadata(path) {
        use std::os::unix::fs::MetadataExt;
        let _ = std::os::unix::fs::fchown(file, Some(replaced.uid()), Some(replaced.gid()));
        return;
    }
    take_owner_of_dir(file, dir_of(path));
}

fn leftover_prefix(path: &Path) -> String {
    format!(".new-{}-", path.file_name().unwrap_or_default().to_string_lossy())
}

/// Removes temporary files left by processes that were killed while replacing `path`. Requires its lock.
pub fn remove_leftovers(path: &Path) {
    let Ok(path) = &resolved(path) else { return };
    let prefix = leftover_prefix(path);
    let entries = fs::read_dir(dir_of(path)).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix)) {
        // A leftover file is harmless.
        let _ = fs::remove_file(entry.path());
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::{MetadataExt, chown};

    use super::*;

    #[test]
    fn a_link_stays_and_what_it_leads_to_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for (link, to) in [("one", "missing"), ("two", "one"), ("there", "file"), ("loop", "loop"), ("far", "none/x")] {
            std::os::unix::fs::symlink(to, at(link)).unwrap();
        }
        fs::write(at("file"), "old").unwrap();
        replace_private_file(&at("two"), b"a").unwrap();
        replace_private_file(&at("there"), b"b").unwrap();
        assert_eq!((fs::read(at("missing")).unwrap(), fs::read(at("file")).unwrap()), (b"a".to_vec(), b"b".to_vec()));
        for link in ["loop", "far"] {
            assert!(replace_private_file(&at(link), b"c").is_err(), "{link}");
        }
        for link in ["one", "two", "there", "loop", "far"] {
            assert!(fs::symlink_metadata(at(link)).unwrap().is_symlink(), "{link}");
        }
    }

    #[test]
    fn a_replaced_file_keeps_its_owner() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        replace_private_file(&path, b"old").unwrap();
        // Only root can change the owner; otherwise it stays the current user.
        let _ = chown(&path, Some(12_345), Some(12_345));
        let owner = |path: &Path| fs::metadata(path).map(|found| (found.uid(), found.gid(), found.mode() & 0o777));
        let before = owner(&path).unwrap();
        replace_private_file(&path, b"new").unwrap();
        assert_eq!((owner(&path).unwrap(), fs::read(&path).unwrap()), (before, b"new".to_vec()));
    }

    #[test]
    fn what_is_no_file_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&pipe, &link).unwrap();
        for path in [&pipe, &link] {
            assert!(replace_private_file(path, b"x").is_err());
            assert!(PrivateFile::prepare(path).is_err());
            let reader = std::thread::spawn({
                let pipe = pipe.clone();
                move || fs::read(pipe).unwrap()
            });
            write_named_file(path, b"written").unwrap();
            assert_eq!(reader.join().unwrap(), b"written");
            assert!(!fs::metadata(&pipe).unwrap().is_file());
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
        // A file is replaced, whole, through links too.
        let file = dir.path().join("file");
        fs::write(&file, b"longer than what replaces it").unwrap();
        let before = fs::metadata(&file).unwrap().ino();
        write_named_file(&file, b"new").unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"new");
        assert_ne!(fs::metadata(&file).unwrap().ino(), before);
        assert!(write_named_file(dir.path(), b"x").is_err());
    }

    #[test]
    fn an_open_file_is_written_into() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), b"before ").unwrap();
        let open = File::open(file.path()).unwrap();
        let name = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&open));
        if !Path::new(&name).exists() {
            return;
        }
        write_named_file(Path::new(&name), b"after").unwrap();
        assert_eq!(fs::read(file.path()).unwrap(), b"before after");
    }
}
