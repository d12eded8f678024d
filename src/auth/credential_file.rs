//! The credential file: one access token per installation, readable by its owner alone.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::config::directories;
use crate::domain::{AccessToken, ApiOrigin};
use crate::error::{Error, ErrorKind};
use crate::platform;

/// The layout written today; a file with a higher number is left alone.
const VERSION: u32 = 1;

/// The file `credentials.json` in the data directory.
#[derive(Debug)]
pub struct CredentialFile {
    dir: PathBuf,
}

/// The right to change the file. No other process has it until this is dropped.
#[derive(Debug)]
pub struct CredentialLock {
    _file: File,
}

/// What the file holds. Not `Debug`: it is full of tokens.
#[derive(Serialize, Deserialize)]
struct Contents {
    version: u32,
    /// By origin, so that a token is never sent to another installation.
    credentials: BTreeMap<String, Credential>,
}

#[derive(Serialize, Deserialize)]
struct Credential {
    access_token: String,
}

impl CredentialFile {
    /// The file in the data directory. It need not exist.
    ///
    /// # Errors
    /// A store error when there is no home directory.
    pub fn open() -> Result<Self, Error> {
        Ok(Self { dir: directories::data_dir()? })
    }

    /// Where it is.
    pub fn path(&self) -> PathBuf {
        self.dir.join("credentials.json")
    }

    /// The token stored for an installation. Loose permissions of file and directory are tightened on the way.
    ///
    /// # Errors
    /// A store error when the file cannot be read or understood.
    pub fn read(&self, origin: &ApiOrigin) -> Result<Option<AccessToken>, Error> {
        let Some(mut contents) = self.contents()? else { return Ok(None) };
        let stored = contents.credentials.remove(origin.as_str());
        let token = stored.map(|credential| AccessToken::parse(&credential.access_token)).transpose();
        token.map_err(|_| self.damaged())
    }

    /// Waits for the right to change the file, creating the directory (mode 0700) if need be.
    ///
    /// # Errors
    /// A store error when the directory cannot be written.
    pub fn lock(&self) -> Result<CredentialLock, Error> {
        let take = || -> io::Result<File> {
            platform::create_private_dir(&self.dir)?;
            platform::tighten(&self.dir, platform::OTHERS)?;
            let path = self.dir.join("credentials.lock");
            let file = match platform::create_private_file(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    OpenOptions::new().write(true).open(&path)?
                }
                other => other?,
            };
            file.lock()?;
            Ok(file)
        };
        take().map(|file| CredentialLock { _file: file }).map_err(|error| self.unusable("locked", error))
    }

    /// Stores the token of an installation in place of the one it had.
    ///
    /// # Errors
    /// A store error; the file is then as it was.
    pub fn store(&self, lock: &CredentialLock, origin: &ApiOrigin, token: &AccessToken) -> Result<(), Error> {
        let mut contents = self.contents()?.unwrap_or(Contents { version: VERSION, credentials: BTreeMap::new() });
        contents.credentials.insert(origin.to_string(), Credential { access_token: token.expose().to_owned() });
        self.write(lock, &contents)
    }

    /// Forgets the token of an installation. Says whether there was one.
    ///
    /// # Errors
    /// A store error; the file is then as it was.
    pub fn remove(&self, lock: &CredentialLock, origin: &ApiOrigin) -> Result<bool, Error> {
        let Some(mut contents) = self.contents()? else { return Ok(false) };
        if contents.credentials.remove(origin.as_str()).is_none() {
            return Ok(false);
        }
        self.write(lock, &contents)?;
        Ok(true)
    }

    fn contents(&self) -> Result<Option<Contents>, Error> {
        let path = self.path();
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.unusable("read", error)),
        };
        self.tighten(&path)?;
        let contents: Contents = serde_json::from_slice(&text).map_err(|_| self.damaged())?;
        if contents.version > VERSION {
            let message = format!("{} was written by a newer bugfender-hooks", path.display());
            return Err(Error::new(ErrorKind::Store, message).hint("update bugfender-hooks"));
        }
        Ok(Some(contents))
    }

    fn tighten(&self, path: &Path) -> Result<(), Error> {
        for place in [path, &self.dir] {
            if platform::tighten(place, platform::OTHERS).map_err(|error| self.unusable("made private", error))? {
                tracing::warn!("{} was open to others; its permissions are tightened now", place.display());
            }
        }
        Ok(())
    }

    /// Temp file, fsync, rename, fsync of the directory: a crash leaves the old contents or the new.
    fn write(&self, _lock: &CredentialLock, contents: &Contents) -> Result<(), Error> {
        let save = || -> io::Result<()> {
            // Created with mode 0600.
            let mut temporary = tempfile::Builder::new().prefix(".credentials-").tempfile_in(&self.dir)?;
            serde_json::to_writer_pretty(&mut temporary, contents)?;
            temporary.write_all(b"\n")?;
            temporary.as_file().sync_all()?;
            temporary.persist(self.path())?;
            platform::sync_dir(&self.dir)
        };
        save().map_err(|error| self.unusable("written", error))
    }

    fn unusable(&self, verb: &str, error: io::Error) -> Error {
        let message = format!("the credential file {} could not be {verb}: {error}", self.path().display());
        Error::new(ErrorKind::Store, message)
            .hint("give the token in BUGFENDER_API_TOKEN to do without the file")
            .source(error)
    }

    fn damaged(&self) -> Error {
        let path = self.path();
        Error::new(ErrorKind::Store, format!("the credential file {} is damaged", path.display()))
            .hint(format!("remove {} and run `bugfender-hooks auth login` again", path.display()))
    }
}
