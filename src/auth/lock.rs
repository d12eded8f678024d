//! The lock of a credential: one process renews it while others wait.

use std::fs::{File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::slot::unusable;
use crate::error::{Error, ErrorKind, Result};
use crate::platform;

/// How often a lock that another process holds is tried again.
const POLL: Duration = Duration::from_millis(10);

/// An exclusive lock on a credential, held until this is dropped.
#[derive(Debug)]
pub struct SlotLock {
    file: File,
}

impl SlotLock {
    /// Locks the file `path`, creating it and its directory (mode 0700) if necessary.
    pub(super) fn take(path: &Path, timeout: Duration) -> Result<Self, NoLock> {
        let open = || -> io::Result<File> {
            let dir = path.parent().unwrap_or(Path::new("."));
            platform::create_private_dir(dir)?;
            platform::tighten(dir, platform::OTHERS)?;
            platform::open_lock(path)
        };
        let file = open().map_err(|error| NoLock::Unusable(unusable(path, "locked", error)))?;
        let deadline = Instant::now() + timeout;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self { file }),
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => std::thread::sleep(POLL),
                Err(TryLockError::WouldBlock) => {
                    let seconds = timeout.as_secs();
                    let message =
                        format!("{} has been locked by another process for more than {seconds} s", path.display());
                    let error = Error::new(ErrorKind::Unavailable, message);
                    return Err(NoLock::Held(
                        error.hint("the credential is not changed without the lock; try again later"),
                    ));
                }
                Err(TryLockError::Error(error)) => return Err(NoLock::Unusable(unusable(path, "locked", error))),
            }
        }
    }

    /// Records why a renewal failed, so that the processes that wait for the lock need not try it one after the other.
    pub fn note_failure(&self, error: &Error) {
        let note = Failed { at: Timestamp::now(), message: error.to_string() };
        // Without the note, each of them tries for itself.
        let _ = self.write(&serde_json::to_vec(&note).unwrap_or_default());
    }

    /// Clears the note of a failed renewal.
    pub fn clear_note(&self) {
        // A note that remains is older than `since` of every later waiter, and thus ignored.
        let _ = self.file.set_len(0);
    }

    /// Why the renewal of another process failed after `since`, if it did.
    pub fn failure_since(&self, since: Timestamp) -> Option<String> {
        let mut text = Vec::new();
        let mut file = &self.file;
        file.rewind().ok()?;
        file.read_to_end(&mut text).ok()?;
        let failed: Failed = serde_json::from_slice(&text).ok()?;
        (failed.at >= since && failed.at <= Timestamp::now()).then_some(failed.message)
    }

    fn write(&self, text: &[u8]) -> io::Result<()> {
        let mut file = &self.file;
        file.set_len(0)?;
        file.rewind()?;
        file.write_all(text)
    }
}

/// The note in a lock file.
#[derive(Serialize, Deserialize)]
struct Failed {
    at: Timestamp,
    message: String,
}

/// Why a credential cannot be locked.
#[derive(Debug)]
pub enum NoLock {
    /// Another process holds the lock.
    Held(Error),
    /// The lock file cannot be created or locked.
    Unusable(Error),
}

impl From<NoLock> for Error {
    fn from(reason: NoLock) -> Self {
        match reason {
            NoLock::Held(error) | NoLock::Unusable(error) => error,
        }
    }
}
