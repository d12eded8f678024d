//! `--ready-file`: a file that is there while something serves, and says how to reach it.

use std::cell::Cell;
use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use super::input::not_made;
use crate::error::Result;
use crate::platform;

/// The file, if there is to be one. Once written, it goes when this does.
pub struct ReadyFile {
    path: Option<PathBuf>,
    written: Cell<bool>,
}

impl ReadyFile {
    /// To be had before anything serves: what a process left that was killed must not say that it does.
    pub fn prepare(path: Option<PathBuf>) -> Self {
        let new = Self { path, written: Cell::new(false) };
        if new.is_left_over() {
            new.remove();
        }
        new
    }

    /// Says that it serves: whole or not at all, for its owner alone. What serves is this process, which is added.
    ///
    /// # Errors
    /// A usage error when the file cannot be written.
    pub fn write(&self, mut ready: Value) -> Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        ready["pid"] = std::process::id().into();
        let written = platform::write_named_file(path, format!("{ready}\n").as_bytes());
        written.map_err(|error| not_made("--ready-file", path, error))?;
        self.written.set(true);
        Ok(())
    }

    /// Whether the file is left from a process that no longer runs.
    fn is_left_over(&self) -> bool {
        let text = self.path.as_ref().filter(|path| path.is_file()).and_then(|path| fs::read(path).ok());
        let ready = text.and_then(|text| serde_json::from_slice::<Value>(&text).ok());
        let pid = ready.and_then(|ready| i32::try_from(ready["pid"].as_i64()?).ok());
        pid.is_some_and(|pid| !platform::is_running(pid))
    }

    fn remove(&self) {
        // A file that cannot be removed cannot be written either, which is reported then. A pipe is somebody else's.
        let _ = self.path.as_ref().filter(|path| path.is_file()).map(fs::remove_file);
    }
}

impl Drop for ReadyFile {
    fn drop(&mut self) {
        if self.written.get() {
            self.remove();
        }
    }
}
