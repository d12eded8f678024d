//! The key in Bugfender's path: whoever knows it may deliver, as Bugfender signs nothing.

use std::fs;
use std::io;
use std::path::PathBuf;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use crate::domain::Secret;
use crate::domain::signature::random_bytes;
use crate::error::{Error, ErrorKind, Result};
use crate::platform;

/// The shortest key that nobody guesses, in characters.
const SHORTEST: usize = 16;

/// The file of a key.
#[derive(Debug, Clone)]
pub struct KeyFile(PathBuf);

impl KeyFile {
    /// The key in this file.
    pub fn at(path: PathBuf) -> Self {
        Self(path)
    }

    /// The key, made if there is none yet.
    ///
    /// # Errors
    /// A store error when the file cannot be read or written, or holds no key.
    pub fn load(&self) -> Result<Secret> {
        match fs::read_to_string(&self.0) {
            Ok(text) => {
                if platform::tighten(&self.0, platform::OTHERS).unwrap_or(false) {
                    tracing::warn!("{} was open to others; its permissions are tightened now", self.0.display());
                }
                self.read(&text)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.make(false),
            Err(error) => Err(self.failed(&error)),
        }
    }

    /// Puts a new key in place of the one that is there.
    ///
    /// # Errors
    /// As [`KeyFile::load`].
    pub fn rotate(&self) -> Result<Secret> {
        self.make(true)
    }

    fn make(&self, replace: bool) -> Result<Secret> {
        // 160 bits, without characters that a URL does not take.
        let text = BASE64_URL_SAFE_NO_PAD.encode(random_bytes::<20>()?);
        if let Some(dir) = self.0.parent().filter(|dir| !dir.as_os_str().is_empty()) {
            platform::create_private_dir(dir).map_err(|error| self.failed(&error))?;
        }
        let contents = format!("{text}\n");
        if replace {
            platform::replace_private_file(&self.0, contents.as_bytes()).map_err(|error| self.failed(&error))?;
            return self.read(&text);
        }
        match platform::add_private_file(&self.0, contents.as_bytes()) {
            Ok(()) => self.read(&text),
            // Another process was faster: its key is the one.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let text = fs::read_to_string(&self.0).map_err(|error| self.failed(&error))?;
                self.read(&text)
            }
            Err(error) => Err(self.failed(&error)),
        }
    }

    fn read(&self, text: &str) -> Result<Secret> {
        let key = text.trim();
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if key.len() < SHORTEST || !key.bytes().all(fits) {
            let message = format!("{} holds no key of a receiver", self.0.display());
            let hint =
                format!("a key has {SHORTEST} letters, digits, - and _ at the least; `listen --rotate-key` makes one");
            return Err(Error::new(ErrorKind::Store, message).hint(hint));
        }
        Secret::parse("the key", key)
    }

    fn failed(&self, error: &io::Error) -> Error {
        Error::new(ErrorKind::Store, format!("the receiver's key {}: {error}", self.0.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_and_replaced_when_asked() {
        let dir = tempfile::tempdir().unwrap();
        let file = KeyFile::at(dir.path().join("new/key"));
        let key = file.load().unwrap();
        assert!(key.expose().len() >= 27);
        assert!(file.load().unwrap() == key);
        let other = file.rotate().unwrap();
        assert!(other != key && file.load().unwrap() == other);
        fs::write(dir.path().join("new/key"), "short\n").unwrap();
        assert_eq!(file.load().unwrap_err().kind(), ErrorKind::Store);
    }
}
