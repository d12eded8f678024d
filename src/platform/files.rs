//! Files for their owner alone, directory syncs, the identity of a file.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, Write};
use std::path::{Path, PathBuf};

/// Creates `path` for its owner alone (mode 0600 on Unix) and opens it for writing.
///
/// Fails if it exists already.
pub fn create_private_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).read(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Opens the file `path` to be locked, and creates it for its owner alone if need be.
pub fn open_lock(path: &Path) -> io::Result<File> {
    match create_private_file(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            OpenOptions::new().read(true).write(true).open(path)
        }
        other => other,
    }
}

/// Writes a file for its owner alone: temp file, fsync, rename, fsync of the directory. A crash leaves the old
/// contents or the new.
pub fn replace_private_file(path: &Path, contents: &[u8]) -> io::Result<()> {
    let mut file = PrivateFile::prepare(path)?;
    file.put(contents)
}

/// Makes a file for its owner alone, whole or not at all.
///
/// Fails if it exists already.
pub fn add_private_file(path: &Path, contents: &[u8]) -> io::Result<()> {
    let dir = dir_of(path);
    // Created with mode 0600.
    let mut temporary = tempfile::Builder::new().prefix(&leftover_prefix(path)).tempfile_in(dir)?;
    temporary.write_all(contents)?;
    temporary.as_file().sync_all()?;
    temporary.persist_noclobber(path)?;
    sync_dir(dir)
}

/// A file about to be replaced: what can fail beforehand has been done.
#[derive(Debug)]
pub struct PrivateFile {
    path: PathBuf,
    temporary: Option<tempfile::NamedTempFile>,
}

/// The space that is taken up beforehand, in bytes: more than any credential needs.
const RESERVED: usize = 16 * 1024;

impl PrivateFile {
    /// Makes the temp file that is to become `path`, with space on the disk.
    pub fn prepare(path: &Path) -> io::Result<Self> {
        let dir = dir_of(path);
        // Created with mode 0600.
        let mut temporary = tempfile::Builder::new().prefix(&leftover_prefix(path)).tempfile_in(dir)?;
        leave_to_owner(path, temporary.as_file());
        temporary.write_all(&[b' '; RESERVED])?;
        Ok(Self { path: path.to_owned(), temporary: Some(temporary) })
    }

    /// Puts `contents` in place. Until this returns without an error, the old contents may be there.
    pub fn put(&mut self, contents: &[u8]) -> io::Result<()> {
        let mut temporary = self.temporary.take().ok_or_else(|| io::Error::other("it was put in place already"))?;
        temporary.rewind()?;
        temporary.write_all(contents)?;
        temporary.as_file().set_len(contents.len() as u64)?;
        temporary.as_file().sync_all()?;
        temporary.persist(&self.path)?;
        sync_dir(dir_of(&self.path))
    }
}

/// Gives `file`, which is to replace the one at `path`, the same owner: what root replaces for a service stays the
/// service's. Others may not do so, and have it themselves then.
fn leave_to_owner(path: &Path, file: &File) {
    #[cfg(unix)]
    if let Ok(replaced) = fs::symlink_metadata(path) {
        use std::os::unix::fs::MetadataExt;
        let _ = std::os::unix::fs::fchown(file, Some(replaced.uid()), Some(replaced.gid()));
    }
    #[cfg(not(unix))]
    let _ = (path, file);
}

/// The directory that `path` is in; a name alone is in the current one.
fn dir_of(path: &Path) -> &Path {
    path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn leftover_prefix(path: &Path) -> String {
    format!(".new-{}-", path.file_name().unwrap_or_default().to_string_lossy())
}

/// Removes what processes that were killed while they wrote `path` left behind. Only for who has its lock.
pub fn remove_leftovers(path: &Path) {
    let prefix = leftover_prefix(path);
    let entries = fs::read_dir(dir_of(path)).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix)) {
        // What cannot be removed does no harm but to be there.
        let _ = fs::remove_file(entry.path());
    }
}

/// Creates `path` and its missing parents for their owner alone (mode 0700 on Unix).
///
/// Directories that exist keep their modes.
pub fn create_private_dir(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// The permissions of group and others, for [`tighten`].
pub const OTHERS: u32 = 0o077;

/// The permissions of everybody outside the group, for [`tighten`].
pub const WORLD: u32 = 0o007;

/// Takes these permissions on `path` away. Says whether there was one to take.
///
/// Windows keeps these files in the user's profile, whose access list already does this.
#[cfg(unix)]
pub fn tighten(path: &Path, permissions: u32) -> io::Result<bool> {
    use std::os::unix::fs::PermissionsExt;
    let mode = fs::metadata(path)?.permissions().mode();
    if mode & permissions == 0 {
        return Ok(false);
    }
    fs::set_permissions(path, fs::Permissions::from_mode(mode & 0o777 & !permissions))?;
    Ok(true)
}

/// Takes these permissions on `path` away. Says whether there was one to take.
#[cfg(not(unix))]
pub fn tighten(path: &Path, _permissions: u32) -> io::Result<bool> {
    fs::metadata(path).map(|_| false)
}

/// Which file a path leads to: another one after it was moved or replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileIdentity {
    #[cfg(unix)]
    device: u64,
    #[cfg(unix)]
    inode: u64,
}

impl FileIdentity {
    /// The file at `path`. On Windows a file that is in use cannot be moved, so that all are alike.
    pub fn of(path: &Path) -> io::Result<Self> {
        let metadata = fs::metadata(path)?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt;
            Ok(Self { device: metadata.dev(), inode: metadata.ino() })
        }
        #[cfg(not(unix))]
        {
            let _ = metadata;
            Ok(Self {})
        }
    }
}

/// Makes a rename inside directory `path` durable.
#[cfg(unix)]
pub fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Makes a rename inside directory `path` durable; the system does so itself.
#[cfg(not(unix))]
pub fn sync_dir(_path: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::{MetadataExt, chown};

    use super::*;

    #[test]
    fn a_file_that_is_replaced_stays_its_owners() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        replace_private_file(&path, b"old").unwrap();
        // Only root can do this; for others it stays their own.
        let _ = chown(&path, Some(12_345), Some(12_345));
        let owner = |path: &Path| fs::metadata(path).map(|found| (found.uid(), found.gid(), found.mode() & 0o777));
        let before = owner(&path).unwrap();
        replace_private_file(&path, b"new").unwrap();
        assert_eq!((owner(&path).unwrap(), fs::read(&path).unwrap()), (before, b"new".to_vec()));
    }
}
