//! The key in Bugfender's path: whoever knows it may deliver, as Bugfender signs nothing.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jiff::Timestamp;

use crate::domain::signature::random_bytes;
use crate::domain::{Secret, without_bom};
use crate::error::{Error, ErrorKind, Result};
use crate::platform;

/// The minimum length of a key, in characters, so that it cannot be guessed.
const SHORTEST: usize = 16;

/// Separates a former key from its expiry.
const UNTIL: &str = " until ";

/// The keys that a receiver accepts.
#[derive(Debug)]
pub struct Keys {
    /// The current key.
    pub current: Secret,
    /// Former keys, each with its expiry, for deliveries to former URLs.
    pub former: Vec<(Secret, Timestamp)>,
}

/// Where the keys of a receiver are kept. Several receivers of one store share them.
pub trait ReceiverKeys: Send {
    /// The keys. The first is made if there is none yet.
    ///
    /// # Errors
    /// A store error when they cannot be read or written, or what is there is no key.
    fn load(&self) -> Result<Keys>;

    /// The keys, for a receiver that had some from here before.
    ///
    /// # Errors
    /// As [`ReceiverKeys::load`], and when there are none anymore.
    fn reload(&self) -> Result<Keys>;

    /// Puts a new key in place of the current one, which is accepted until `former_until` from then on. If that is over
    /// at `now` already, no former key is.
    ///
    /// # Errors
    /// As [`ReceiverKeys::load`]; the keys are then as they were.
    fn rotate(&self, former_until: Timestamp, now: Timestamp) -> Result<Keys>;

    /// Whether others may rotate them on another machine, which tells nobody: they are to be looked at from time to time.
    fn are_shared(&self) -> bool {
        false
    }
}

/// The file of a receiver's keys: the current one in the first line, and a former one with its end in each further line.
#[derive(Debug, Clone)]
pub struct KeyFile(PathBuf);

impl ReceiverKeys for KeyFile {
    fn load(&self) -> Result<Keys> {
        self.existing()?.map_or_else(|| self.make(), Ok)
    }

    fn reload(&self) -> Result<Keys> {
        self.existing()?.ok_or_else(|| self.failed(&io::Error::new(io::ErrorKind::NotFound, "the file is gone")))
    }

    fn rotate(&self, former_until: Timestamp, now: Timestamp) -> Result<Keys> {
        // Whoever rotates at the same time has the key of this one for its former key.
        let _lock = self.lock().map_err(|error| self.failed(&error))?;
        let Some(Keys { current, former }) = self.existing()? else { return self.make() };
        let former =
            if former_until > now { former.into_iter().chain([(current, former_until)]).collect() } else { Vec::new() };
        let keys = Keys { current: new_key()?, former };
        self.replace(&keys)?;
        Ok(keys)
    }
}

impl KeyFile {
    /// The keys in this file.
    pub fn at(path: PathBuf) -> Self {
        Self(path)
    }

    /// Puts these keys in place of those that are there.
    pub(super) fn put(&self, keys: &Keys) -> Result<()> {
        let _lock = self.lock().map_err(|error| self.failed(&error))?;
        self.replace(keys)
    }

    fn replace(&self, keys: &Keys) -> Result<()> {
        let former = keys.former.iter().map(|(key, until)| format!("{}{UNTIL}{until}\n", key.expose()));
        let contents: String = std::iter::once(format!("{}\n", keys.current.expose())).chain(former).collect();
        platform::replace_private_file(&self.0, contents.as_bytes()).map_err(|error| self.failed(&error))
    }

    fn lock(&self) -> io::Result<File> {
        let mut name = self.0.clone().into_os_string();
        name.push(".lock");
        self.make_dir()?;
        let lock = platform::open_lock(Path::new(&name))?;
        lock.lock()?;
        Ok(lock)
    }

    fn make_dir(&self) -> io::Result<()> {
        let dir = self.0.parent().filter(|dir| !dir.as_os_str().is_empty());
        dir.map_or(Ok(()), platform::create_private_dir)
    }

    /// The keys, if there are any.
    pub(super) fn existing(&self) -> Result<Option<Keys>> {
        match fs::read_to_string(&self.0) {
            Ok(text) => {
                // A file that is no key is somebody else's, and is left alone.
                let keys = self.read(&text)?;
                if platform::tighten(&self.0, platform::OTHERS).unwrap_or(false) {
                    tracing::warn!("{} was open to others; its permissions are tightened now", self.0.display());
                }
                Ok(Some(keys))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.failed(&error)),
        }
    }

    fn make(&self) -> Result<Keys> {
        self.make_dir().map_err(|error| self.failed(&error))?;
        let current = new_key()?;
        match platform::add_private_file(&self.0, format!("{}\n", current.expose()).as_bytes()) {
            Ok(()) => Ok(Keys { current, former: Vec::new() }),
            // Another process created the file first: its key is used.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let text = fs::read_to_string(&self.0).map_err(|error| self.failed(&error))?;
                self.read(&text)
            }
            Err(error) => Err(self.failed(&error)),
        }
    }

    fn read(&self, text: &str) -> Result<Keys> {
        let mut lines = without_bom(text).trim().lines();
        let current = self.key(lines.next().unwrap_or_default())?;
        let former = lines.filter(|line| !line.trim().is_empty()).map(|line| {
            let (key, until) = line.split_once(UNTIL).ok_or_else(|| self.not_a_key())?;
            Ok((self.key(key)?, until.trim().parse().map_err(|_| self.not_a_key())?))
        });
        Ok(Keys { current, former: in_time(former.collect::<Result<_>>()?) })
    }

    fn key(&self, text: &str) -> Result<Secret> {
        let key = text.trim();
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if key.len() < SHORTEST || !key.bytes().all(fits) {
            return Err(self.not_a_key());
        }
        Secret::parse("the key", key)
    }

    fn not_a_key(&self) -> Error {
        let message = format!("{} holds no key of a receiver", self.0.display());
        let hint = format!("a key has {SHORTEST} letters, digits, - and _ at the least; without the file, one is made");
        Error::new(ErrorKind::Store, message).hint(hint)
    }

    fn failed(&self, error: &io::Error) -> Error {
        Error::new(ErrorKind::Store, format!("the receiver's key {}: {error}", self.0.display()))
    }
}

/// 160 random bits, in characters that are safe in a URL.
pub(super) fn new_key() -> Result<Secret> {
    Secret::parse("the key", &BASE64_URL_SAFE_NO_PAD.encode(random_bytes::<20>()?))
}

/// The former keys that have not expired.
fn in_time(mut former: Vec<(Secret, Timestamp)>) -> Vec<(Secret, Timestamp)> {
    let now = Timestamp::now();
    former.retain(|(_, until)| *until > now);
    former
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    #[test]
    fn a_key_is_made_once_and_replaced_when_asked() {
        let dir = tempfile::tempdir().unwrap();
        let file = KeyFile::at(dir.path().join("new/key"));
        let key = file.load().unwrap().current;
        assert!(key.expose().len() >= 27);
        assert!(file.load().unwrap().current == key);
        let (later, past) = (Timestamp::now() + SignedDuration::from_hours(1), Timestamp::UNIX_EPOCH);
        let other = file.rotate(later, Timestamp::now()).unwrap();
        assert!(other.current != key && file.load().unwrap().current == other.current);
        assert!(other.former == [(key, later)] && file.load().unwrap().former == other.former);
        let rotate = || file.rotate(later, Timestamp::now()).unwrap().former.len();
        let many: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(rotate)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(many.iter().max(), Some(&5), "{many:?}");
        file.rotate(past, Timestamp::now()).unwrap();
        let other = file.rotate(later, Timestamp::now()).unwrap();
        assert_eq!(other.former.len(), 1);
        let sooner = Timestamp::now() + SignedDuration::from_mins(1);
        assert!(
            file.rotate(sooner, Timestamp::now()).unwrap().former.iter().map(|(_, until)| *until).eq([later, sooner])
        );
        assert!(file.rotate(past, Timestamp::now()).unwrap().former.is_empty());
        for wrong in ["short\n", "0123456789abcdef\n0123456789abcdef\n", "0123456789abcdef\n0123456789abcdef until x\n"]
        {
            let path = dir.path().join("new/key");
            fs::write(&path, wrong).unwrap();
            assert_eq!(file.load().unwrap_err().kind(), ErrorKind::Store);
            assert_eq!(file.rotate(later, Timestamp::now()).unwrap_err().kind(), ErrorKind::Store);
            assert_eq!(fs::read_to_string(&path).unwrap(), wrong);
            fs::remove_file(path).unwrap();
            assert!(file.rotate(later, Timestamp::now()).unwrap().former.is_empty());
        }
    }
}
