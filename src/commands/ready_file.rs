//! `--ready-file`: a file that is there while something serves, and says how to reach it.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::error::{Error, Result};
use crate::platform;

/// The file, if there is to be one. It goes when this does.
pub struct ReadyFile(Option<PathBuf>);

impl ReadyFile {
    /// To be had before anything serves: what an earlier run left, which was killed perhaps, must not say that it does.
    pub fn prepare(path: Option<PathBuf>) -> Self {
        let new = Self(path);
        new.remove();
        new
    }

    /// Says that it serves: whole or not at all, for its owner alone.
    ///
    /// # Errors
    /// A usage error when the file cannot be written.
    pub fn write(&self, ready: &Value) -> Result<()> {
        let Some(path) = &self.0 else { return Ok(()) };
        let written = platform::replace_private_file(path, format!("{ready}\n").as_bytes());
        written
            .map_err(|error| Error::usage(format!("--ready-file {}: {}", path.display(), error.kind())).source(error))
    }

    fn remove(&self) {
        // One that cannot be removed cannot be written either, which is told then.
        let _ = self.0.as_ref().map(fs::remove_file);
    }
}

impl Drop for ReadyFile {
    fn drop(&mut self) {
        self.remove();
    }
}
