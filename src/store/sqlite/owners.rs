//! Which processes are alive: each holds a lock on a file of its own, which the system frees when it dies.
//!
//! A row that is being worked on names its process. Whoever can lock that process's file, or finds none, knows
//! that the process is gone, however it ended. Nothing here depends on clocks or process numbers.

use std::cell::OnceCell;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use super::beside;
use crate::platform;

/// The directory of lock files beside a registry.
#[derive(Debug)]
pub(super) struct Owners {
    dir: PathBuf,
    own: OnceCell<Owner>,
}

/// This process, as it is named in rows.
#[derive(Debug)]
struct Owner {
    name: String,
    path: PathBuf,
    _lock: File,
}

impl Owners {
    pub(super) fn beside(registry: &Path) -> Self {
        // Whoever comes by a link must find the same locks. SQLite goes to the file behind it too.
        let real = registry.canonicalize();
        let dir = beside(real.as_deref().unwrap_or(registry), "-locks");
        Self { dir, own: OnceCell::new() }
    }

    /// This process's name; it counts as alive from now until `self` is dropped.
    pub(super) fn own(&self) -> io::Result<&str> {
        if self.own.get().is_none() {
            platform::create_private_dir(&self.dir)?;
            self.remove_dead()?;
            let owner = self.register()?;
            return Ok(&self.own.get_or_init(|| owner).name);
        }
        Ok(self.own.get().map_or("", |owner| owner.name.as_str()))
    }

    /// Whether the process of that name still lives.
    pub(super) fn is_alive(&self, name: &str) -> io::Result<bool> {
        if self.own.get().is_some_and(|own| own.name == name) {
            return Ok(true);
        }
        match File::open(self.dir.join(file_name(name))) {
            Ok(file) => Ok(!can_lock(&file)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Keeps other processes from setting up the registry at the same time.
    pub(super) fn setup_lock(&self) -> io::Result<File> {
        let file = self.lock_file("setup.lock")?;
        file.lock()?;
        Ok(file)
    }

    /// A file to be locked.
    pub(super) fn lock_file(&self, name: &str) -> io::Result<File> {
        platform::create_private_dir(&self.dir)?;
        platform::open_lock(&self.dir.join(name))
    }

    fn register(&self) -> io::Result<Owner> {
        loop {
            let name: String = std::iter::repeat_with(fastrand::alphanumeric).take(16).collect();
            let path = self.dir.join(file_name(&name));
            let file = platform::create_private_file(&path)?;
            file.lock()?;
            // Between creating and locking, somebody may have taken the file for a dead process's and removed it.
            if path.try_exists()? {
                return Ok(Owner { name, path, _lock: file });
            }
        }
    }

    /// Removes what killed processes left behind.
    fn remove_dead(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.dir)? {
            let path = entry?.path();
            if path.extension().is_none_or(|extension| extension != "owner") {
                continue;
            }
            let Ok(file) = File::open(&path) else { continue };
            if can_lock(&file)? {
                // While this lock is held, so that a process about to register finds its file gone and tries again.
                let _ = fs::remove_file(&path);
            }
        }
        Ok(())
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

fn file_name(name: &str) -> String {
    format!("{name}.owner")
}

/// Takes the lock if nobody holds it. Shared, so that two who ask at once do not take each other for the owner.
fn can_lock(file: &File) -> io::Result<bool> {
    match file.try_lock_shared() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}
