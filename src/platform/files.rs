//! Private files, directory syncs, and the identity of a file.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

/// Creates a private file (mode 0600 on Unix) and opens it for reading and writing.
///
/// Fails if the file exists.
pub fn create_private_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).read(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(path)?;
    take_owner_of_dir(&file, dir_of(path));
    Ok(file)
}

/// Opens a lock file, creating it as a private file if necessary.
pub fn open_lock(path: &Path) -> io::Result<File> {
    match create_private_file(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            OpenOptions::new().read(true).write(true).open(path)
        }
        other => other,
    }
}

/// Gives what root has just made in a directory of somebody else to them: with `sudo`, their own runs could not read it
/// otherwise.
pub(super) fn take_owner_of_dir(made: &File, dir: &Path) {
    #[cfg(unix)]
    if rustix::process::geteuid().is_root()
        && let Ok(dir) = fs::metadata(dir)
    {
        use std::os::unix::fs::MetadataExt;
        if dir.uid() != 0 {
            // Fails on a file system without owners, where it does not matter.
            let _ = std::os::unix::fs::fchown(made, Some(dir.uid()), Some(dir.gid()));
        }
    }
    #[cfg(not(unix))]
    let _ = (made, dir);
}

/// The directory of `path`, which is `.` for a bare file name.
pub(super) fn dir_of(path: &Path) -> &Path {
    path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Creates a directory and its missing parents as private (mode 0700 on Unix).
///
/// Existing directories keep their modes.
pub fn create_private_dir(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        create_private_dir(parent)?;
    }
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    match builder.create(path) {
        // Another process has made it meanwhile.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => return Ok(()),
        made => made?,
    }
    #[cfg(unix)]
    {
        use rustix::fs::{Mode, OFlags, open};
        // Whoever owns the parent may have put something else there: a link is not followed.
        if let Ok(made) = open(path, OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()) {
            take_owner_of_dir(&File::from(made), dir_of(path));
        }
    }
    Ok(())
}

/// The permissions of group and others, for [`tighten`].
pub const OTHERS: u32 = 0o077;

/// The permissions of others, for [`tighten`].
pub const WORLD: u32 = 0o007;

/// Removes these permissions from `path`. Returns whether any were set.
///
/// Does nothing on Windows, where the access list of the user's profile already protects these files.
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

/// Removes these permissions from `path`. Returns whether any were set.
#[cfg(not(unix))]
pub fn tighten(path: &Path, _permissions: u32) -> io::Result<bool> {
    fs::metadata(path).map(|_| false)
}

/// Whether the group or others may do anything with the open file. Never on Windows, where the access list of the user's
/// profile protects such files.
pub fn is_open_to_others(file: &File) -> io::Result<bool> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        Ok(file.metadata()?.permissions().mode() & OTHERS != 0)
    }
    #[cfg(not(unix))]
    file.metadata().map(|_| false)
}

/// The identity of the file at a path, which changes when the file is moved or replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileIdentity {
    #[cfg(unix)]
    device: u64,
    #[cfg(unix)]
    inode: u64,
}

impl FileIdentity {
    /// The identity of the file at `path`. On Windows all are equal, as a file in use cannot be moved.
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

/// How many bytes can be written to the disk that `path` is on, if that can be told.
pub fn free_space(path: &Path) -> Option<u64> {
    #[cfg(unix)]
    {
        let disk = rustix::fs::statvfs(path).ok()?;
        // Some of it may be kept for root.
        let blocks = if rustix::process::geteuid().is_root() { disk.f_bfree } else { disk.f_bavail };
        Some(blocks.saturating_mul(disk.f_frsize))
    }
    #[cfg(not(unix))]
    {
        let _ = path;
        None
    }
}

/// Creates a private file that takes up as many bytes of the disk, whatever was there before.
///
/// # Errors
/// When there is not as much space; there is no file then.
pub fn create_ballast(path: &Path, bytes: u64) -> io::Result<()> {
    remove_file_if_there(path)?;
    let file = create_private_file(path)?;
    let filled = allocate(&file, bytes);
    if filled.is_err() {
        // It would take up what little space there is.
        let _ = fs::remove_file(path);
    }
    filled
}

/// Removes a file. Returns whether there was one.
pub fn remove_file_if_there(path: &Path) -> io::Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn allocate(mut file: &File, bytes: u64) -> io::Result<()> {
    #[cfg(all(unix, not(target_os = "macos")))]
    {
        use rustix::fs::{FallocateFlags, fallocate};
        match fallocate(file, FallocateFlags::empty(), 0, bytes) {
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {}
            done => return Ok(done?),
        }
    }
    let zeros = vec![0; 1024 * 1024];
    let mut left = bytes;
    while left > 0 {
        let next = usize::try_from(left).unwrap_or(usize::MAX).min(zeros.len());
        file.write_all(&zeros[..next])?;
        left -= next as u64;
    }
    file.sync_all()
}

/// Makes a rename inside directory `path` durable.
#[cfg(unix)]
pub fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Does nothing, as the system does this itself.
#[cfg(not(unix))]
pub fn sync_dir(_path: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::{MetadataExt, chown};

    use super::*;

    #[test]
    fn what_root_makes_in_the_directory_of_another_is_theirs() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let home = tempfile::tempdir().unwrap();
        chown(home.path(), Some(12_345), Some(23_456)).unwrap();
        let dir = home.path().join("share/bugfender-hooks");
        create_private_dir(&dir).unwrap();
        let path = |name: &str| dir.join(name);
        create_private_file(&path("created")).unwrap();
        crate::platform::add_private_file(&path("added"), b"x").unwrap();
        crate::platform::replace_private_file(&path("replaced"), b"x").unwrap();
        open_lock(&path("lock")).unwrap();
        let made = ["created", "added", "replaced", "lock"].map(path);
        for made in made.iter().chain([&dir, &home.path().join("share")]) {
            let found = fs::metadata(made).unwrap();
            assert_eq!((found.uid(), found.gid()), (12_345, 23_456), "{}", made.display());
            assert_eq!(found.mode() & 0o077, 0, "{}", made.display());
        }
        // In a directory of root's it stays root's.
        let own = tempfile::tempdir().unwrap();
        create_private_file(&own.path().join("created")).unwrap();
        assert_eq!(fs::metadata(own.path().join("created")).unwrap().uid(), 0);
    }
}
