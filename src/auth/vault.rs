//! Where credentials are stored: each in a private file, or in the platform's keyring with a file that says so.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::credential::{Credential, CredentialOwner, Kind, Written};
use super::keyring;
use super::lock::{NoLock, SlotLock};
use super::slot::{Slot, unusable};
use crate::config::{CredentialStore, directories};
use crate::domain::{ApiOrigin, ClientId, ProfileName};
use crate::error::{Error, ErrorKind, Result};
use crate::platform::{self, PrivateFile};

/// The current version of the file format; files with a higher version are not changed.
const VERSION: u32 = 1;

/// The credentials of this user, in the data directory.
#[derive(Debug, Clone)]
pub struct Vault {
    dir: PathBuf,
    timeout: KeyringTimeout,
}

/// The timeout for accesses to the keyring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyringTimeout {
    /// The keyring is not accessed.
    None,
    /// A few seconds, without a terminal.
    NonInteractive,
    /// Long enough for a user at a terminal to unlock the keyring.
    Interactive,
}

impl KeyringTimeout {
    fn duration(self) -> Duration {
        match self {
            Self::None => Duration::ZERO,
            Self::NonInteractive => keyring::TIMEOUT,
            Self::Interactive => keyring::TIMEOUT_WITH_PROMPT,
        }
    }
}

/// Where a credential is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CredentialLocation {
    /// In a file that only its owner can read.
    File,
    /// In the platform's keyring.
    Keyring,
}

/// A stored credential.
#[derive(Debug, Clone)]
pub struct Kept {
    /// The credential.
    pub credential: Credential,
    /// Where it is stored.
    pub place: CredentialLocation,
}

/// What is known of a credential without accessing the keyring.
#[derive(Debug, Clone)]
pub struct Listed {
    /// The profile it belongs to.
    pub profile: ProfileName,
    /// The installation it is for.
    pub origin: ApiOrigin,
    /// The kind of sign-in.
    pub kind: Kind,
    /// The client.
    pub client_id: Option<ClientId>,
    /// Where it is stored.
    pub place: CredentialLocation,
}

/// The contents of a credential file.
#[derive(Serialize, Deserialize)]
struct Contents {
    version: u32,
    #[serde(flatten)]
    owner: CredentialOwner,
    kept_in: CredentialLocation,
    /// Whether an older credential may still be in the keyring, which was unavailable when it was replaced.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    left_in_keyring: bool,
    #[serde(flatten)]
    rest: Rest,
}

/// The field that every version of the format has.
#[derive(Deserialize)]
struct Version {
    version: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Rest {
    Inline { credential: Written },
    InKeyring { kind: Kind, client_id: Option<ClientId> },
}

impl CredentialLocation {
    /// Its name, as in the JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Keyring => "keyring",
        }
    }
}

impl Vault {
    /// How long signing in or out waits for a renewal in progress.
    pub const LOCK_TIMEOUT: Duration = Duration::from_secs(75);

    /// The name of a credential's entry in the keyring.
    pub fn keyring_name(&self, slot: &Slot) -> String {
        format!("{}/{}", keyring::SERVICE, slot.name)
    }

    /// The vault in the data directory. It need not exist.
    ///
    /// # Errors
    /// A store error when there is no home directory.
    pub fn open(timeout: KeyringTimeout) -> Result<Self> {
        Ok(Self { dir: directories::data_dir()?, timeout })
    }

    /// The slot for the credential of `auth login` for an installation.
    pub fn slot(&self, profile: &ProfileName, origin: &ApiOrigin) -> Slot {
        Slot::of_profile(&self.dir, profile, origin)
    }

    /// The slot for tokens obtained with a credential in the environment, which `of` identifies.
    pub fn slot_of_environment(&self, origin: &ApiOrigin, of: &[&str]) -> Slot {
        Slot::of_environment(&self.dir, origin, of)
    }

    /// The credential in a slot. Restricts the permissions of its file if necessary.
    ///
    /// # Errors
    /// A store error when it cannot be read or parsed.
    pub fn read(&self, slot: &Slot) -> Result<Option<Kept>> {
        let Some(contents) = contents(&slot.path())? else { return Ok(None) };
        if contents.owner != slot.owner {
            return Ok(None);
        }
        let written = match contents.rest {
            Rest::Inline { credential } => credential,
            Rest::InKeyring { .. } => self.read_keyring(slot)?,
        };
        let credential = Credential::try_from(written).map_err(|_| damaged(&slot.path()))?;
        Ok(Some(Kept { credential, place: contents.kept_in }))
    }

    fn read_keyring(&self, slot: &Slot) -> Result<Written> {
        let text = keyring::read(&slot.name, self.timeout.duration()).map_err(|reason| no_keyring(&reason))?;
        let gone = || {
            Error::new(
                ErrorKind::Store,
                format!("the credential for {} is no longer in the keyring", slot.owner.origin),
            )
            .hint("sign in again with `bugfender-hooks auth login`")
        };
        let text = text.ok_or_else(gone)?;
        serde_json::from_str(&text).map_err(|_| gone())
    }

    /// All credentials of `auth login`, sorted by profile and installation, and an error for each unreadable one.
    ///
    /// # Errors
    /// A store error when the directory cannot be read.
    pub fn list(&self) -> Result<(Vec<Listed>, Vec<Error>)> {
        let dir = self.dir.join("credentials");
        let mut paths: Vec<PathBuf> = match fs::read_dir(&dir) {
            Ok(entries) => entries.flatten().map(|entry| entry.path()).collect(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(unusable(&dir, "read", error)),
        };
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
        paths.sort();
        let (mut found, mut errors) = (Vec::new(), Vec::new());
        for path in paths {
            match listed(&path) {
                Ok(one) => found.extend(one),
                Err(error) => errors.push(error),
            }
        }
        Ok((found, errors))
    }

    /// Locks a credential, creating the directory (mode 0700) if necessary.
    ///
    /// # Errors
    /// When the directory cannot be written, or another process holds the lock for longer than `timeout`.
    pub fn lock(&self, slot: &Slot, timeout: Duration) -> Result<SlotLock, NoLock> {
        SlotLock::take(&slot.dir.join(format!("{}.lock", slot.name)), timeout)
    }

    /// Where a new credential is to be stored, and with [`CredentialStore::Auto`] why not in the keyring.
    ///
    /// # Errors
    /// A store error when the keyring is required and unavailable.
    pub fn choose(&self, slot: &Slot, wanted: CredentialStore) -> Result<(CredentialLocation, Option<String>)> {
        if wanted == CredentialStore::File {
            return Ok((CredentialLocation::File, None));
        }
        match keyring::read(&slot.name, keyring::TIMEOUT) {
            Ok(_) => Ok((CredentialLocation::Keyring, None)),
            Err(reason) if wanted == CredentialStore::Keyring => Err(no_keyring(&reason)),
            Err(reason) => Ok((CredentialLocation::File, Some(reason))),
        }
    }

    /// Prepares to store a credential, so that as little as possible can fail afterwards.
    ///
    /// # Errors
    /// A store error; nothing has changed.
    pub fn prepare(&self, _lock: &SlotLock, slot: &Slot, place: CredentialLocation) -> Result<Pending> {
        platform::remove_leftovers(&slot.path());
        let file = PrivateFile::prepare(&slot.path()).map_err(|error| unusable(&slot.path(), "written", error))?;
        let left_in_keyring = contents(&slot.path()).ok().flatten().is_some_and(|contents| contents.left_in_keyring);
        Ok(Pending { slot: slot.clone(), place, file, left_in_keyring, keyring_timeout: self.timeout.duration() })
    }

    /// Stores a credential, replacing the previous one.
    ///
    /// # Errors
    /// A store error; the previous credential is unchanged.
    pub fn keep(&self, lock: &SlotLock, slot: &Slot, place: CredentialLocation, credential: &Credential) -> Result<()> {
        let before = contents(&slot.path())?.map(|contents| contents.kept_in);
        self.prepare(lock, slot, place)?.put(credential)?;
        if before == Some(CredentialLocation::Keyring) && place == CredentialLocation::File {
            // The old entry is no longer used, so a failure to remove it is only a warning.
            if let Err(reason) = keyring::remove(&slot.name, keyring::TIMEOUT) {
                tracing::warn!("the previous credential could not be removed from the keyring: {reason}");
            }
        }
        Ok(())
    }

    /// Removes a credential. Returns whether there was one.
    ///
    /// # Errors
    /// A store error; the credential is unchanged.
    pub fn remove(&self, _lock: &SlotLock, slot: &Slot) -> Result<bool> {
        let path = slot.path();
        platform::remove_leftovers(&path);
        // A credential that cannot be parsed is removed too.
        let kept = contents(&path).ok().flatten();
        let in_keyring =
            kept.as_ref().is_some_and(|kept| kept.kept_in == CredentialLocation::Keyring || kept.left_in_keyring);
        if in_keyring {
            keyring::remove(&slot.name, self.timeout.duration()).map_err(|reason| no_keyring(&reason))?;
        }
        match fs::remove_file(&path).and_then(|()| platform::sync_dir(&slot.dir)) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(unusable(&path, "removed", error)),
        }
    }
}

/// A credential about to be stored.
#[derive(Debug)]
pub struct Pending {
    slot: Slot,
    place: CredentialLocation,
    file: PrivateFile,
    left_in_keyring: bool,
    keyring_timeout: Duration,
}

impl Pending {
    /// Stores the credential durably.
    ///
    /// # Errors
    /// A store error.
    pub fn put(self, credential: &Credential) -> Result<()> {
        let rest = match self.place {
            CredentialLocation::File => Rest::Inline { credential: Written::from(credential) },
            CredentialLocation::Keyring => self.to_keyring(credential)?,
        };
        self.finish(rest)
    }

    /// Stores the credential, in the file if the keyring fails, as it contains the only valid refresh token.
    ///
    /// # Errors
    /// A store error.
    pub fn put_somewhere(mut self, credential: &Credential) -> Result<()> {
        if self.place == CredentialLocation::Keyring {
            match self.to_keyring(credential) {
                Ok(rest) => return self.finish(rest),
                Err(error) => {
                    tracing::warn!("{error}; storing the credential in {} instead", self.slot.path().display());
                    (self.place, self.left_in_keyring) = (CredentialLocation::File, true);
                }
            }
        }
        self.put(credential)
    }

    fn to_keyring(&self, credential: &Credential) -> Result<Rest> {
        let text = to_text(&Written::from(credential), &self.slot)?;
        keyring::write(&self.slot.name, text, self.keyring_timeout).map_err(|reason| no_keyring(&reason))?;
        let grant = &credential.grant;
        Ok(Rest::InKeyring { kind: grant.kind(), client_id: grant.client_id().cloned() })
    }

    fn finish(mut self, rest: Rest) -> Result<()> {
        let left_in_keyring = self.left_in_keyring && self.place == CredentialLocation::File;
        let owner = self.slot.owner.clone();
        let contents = Contents { version: VERSION, owner, kept_in: self.place, left_in_keyring, rest };
        let text = to_text(&contents, &self.slot)? + "\n";
        self.file.put(text.as_bytes()).map_err(|error| unusable(&self.slot.path(), "written", error))
    }
}

fn to_text(value: &impl Serialize, slot: &Slot) -> Result<String> {
    serde_json::to_string_pretty(value).map_err(|error| unusable(&slot.path(), "written", error.into()))
}

fn contents(path: &Path) -> Result<Option<Contents>> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(unusable(path, "read", error)),
    };
    tighten(path)?;
    let Version { version } = serde_json::from_slice(&text).map_err(|_| damaged(path))?;
    if version > VERSION {
        let message = format!("{} was written by a newer bugfender-hooks", path.display());
        return Err(Error::new(ErrorKind::Store, message).hint("update bugfender-hooks"));
    }
    serde_json::from_slice(&text).map(Some).map_err(|_| damaged(path))
}

fn listed(path: &Path) -> Result<Option<Listed>> {
    let Some(Contents { owner, kept_in: place, rest, .. }) = contents(path)? else { return Ok(None) };
    let (kind, client_id) = match rest {
        Rest::InKeyring { kind, client_id } => (kind, client_id),
        Rest::Inline { credential } => {
            let credential = Credential::try_from(credential).map_err(|_| damaged(path))?;
            (credential.grant.kind(), credential.grant.client_id().cloned())
        }
    };
    let origin = owner.origin.parse().map_err(|_| damaged(path))?;
    Ok(Some(Listed { profile: owner.profile, origin, kind, client_id, place }))
}

fn tighten(path: &Path) -> Result<()> {
    for place in [Some(path), path.parent()].into_iter().flatten() {
        if platform::tighten(place, platform::OTHERS).map_err(|error| unusable(place, "made private", error))? {
            tracing::warn!("{} was accessible to other users; its permissions have been restricted", place.display());
        }
    }
    Ok(())
}

fn damaged(path: &Path) -> Error {
    Error::new(ErrorKind::Store, format!("the credential file {} is damaged", path.display()))
        .hint(format!("remove {} and run `bugfender-hooks auth login` again", path.display()))
}

fn no_keyring(reason: &str) -> Error {
    Error::new(ErrorKind::Store, format!("the keyring is unavailable: {reason}"))
        .hint("start or unlock the keyring, or sign in again with --credential-store file")
}
