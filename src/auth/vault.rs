//! Where credentials are kept: a private file each, or the platform's keyring with a file that says so.

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

/// The layout written today; a file with a higher number is left alone.
const VERSION: u32 = 1;

/// The credentials of this user, in the data directory.
#[derive(Debug, Clone)]
pub struct Vault {
    dir: PathBuf,
    timeout: KeyringTimeout,
}

/// How long a keyring may take to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyringTimeout {
    /// It is not asked.
    None,
    /// A few seconds.
    OfAMachine,
    /// As long as somebody at a terminal may take to unlock it.
    OfAPerson,
}

impl KeyringTimeout {
    fn time(self) -> Duration {
        match self {
            Self::None => Duration::ZERO,
            Self::OfAMachine => keyring::TIMEOUT,
            Self::OfAPerson => keyring::TIMEOUT_WITH_PROMPT,
        }
    }
}

/// Where a credential is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CredentialLocation {
    /// In a file that only its owner can read.
    File,
    /// In the platform's keyring.
    Keyring,
}

/// A credential that was found.
#[derive(Debug, Clone)]
pub struct Kept {
    /// The credential.
    pub credential: Credential,
    /// Where it is kept.
    pub place: CredentialLocation,
}

/// What is known of a credential without asking a keyring for it.
#[derive(Debug, Clone)]
pub struct Listed {
    /// The profile it belongs to.
    pub profile: ProfileName,
    /// The installation it is for.
    pub origin: ApiOrigin,
    /// How it was had.
    pub kind: Kind,
    /// The client.
    pub client_id: Option<ClientId>,
    /// Where it is kept.
    pub place: CredentialLocation,
}

/// What a file of the vault holds.
#[derive(Serialize, Deserialize)]
struct Contents {
    version: u32,
    #[serde(flatten)]
    owner: CredentialOwner,
    kept_in: CredentialLocation,
    /// Whether a keyring that did not answer may have one of its own.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    left_in_keyring: bool,
    #[serde(flatten)]
    rest: Rest,
}

/// What every layout has.
#[derive(Deserialize)]
struct Version {
    version: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Rest {
    Whole { credential: Written },
    Elsewhere { kind: Kind, client_id: Option<ClientId> },
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
    /// How long somebody who signs in or out waits for a renewal that is under way.
    pub const LOCK_TIMEOUT: Duration = Duration::from_secs(75);

    /// What the entry of a credential is called in the keyring.
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

    /// The place of what `auth login` was given for an installation.
    pub fn slot(&self, profile: &ProfileName, origin: &ApiOrigin) -> Slot {
        Slot::of_profile(&self.dir, profile, origin)
    }

    /// The place of the tokens that were had for credentials of the environment; `of` tells those credentials from others.
    pub fn slot_of_environment(&self, origin: &ApiOrigin, of: &[&str]) -> Slot {
        Slot::of_environment(&self.dir, origin, of)
    }

    /// The credential at a place. Loose permissions are tightened on the way.
    ///
    /// # Errors
    /// A store error when it cannot be read or understood.
    pub fn read(&self, slot: &Slot) -> Result<Option<Kept>> {
        let Some(contents) = contents(&slot.path())? else { return Ok(None) };
        if contents.owner != slot.owner {
            return Ok(None);
        }
        let written = match contents.rest {
            Rest::Whole { credential } => credential,
            Rest::Elsewhere { .. } => self.read_keyring(slot)?,
        };
        let credential = Credential::try_from(written).map_err(|_| damaged(&slot.path()))?;
        Ok(Some(Kept { credential, place: contents.kept_in }))
    }

    fn read_keyring(&self, slot: &Slot) -> Result<Written> {
        let text = keyring::read(&slot.name, self.timeout.time()).map_err(|reason| no_keyring(&reason))?;
        let gone = || {
            Error::new(ErrorKind::Store, format!("the keyring no longer has the sign-in of {}", slot.owner.origin))
                .hint("sign in again with `bugfender-hooks auth login`")
        };
        let text = text.ok_or_else(gone)?;
        serde_json::from_str(&text).map_err(|_| gone())
    }

    /// Every credential that `auth login` was given, by profile and installation, and what is wrong with those that
    /// cannot be read.
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

    /// Waits for the right to change a credential, creating the directory (mode 0700) if need be.
    ///
    /// # Errors
    /// When the directory cannot be written, or when another process does not let go in time.
    pub fn lock(&self, slot: &Slot, timeout: Duration) -> Result<SlotLock, NoLock> {
        SlotLock::take(&slot.dir.join(format!("{}.lock", slot.name)), timeout)
    }

    /// Where a credential is going to be kept, and why not in the keyring if it might have been.
    ///
    /// # Errors
    /// A store error when it must be the keyring and there is none.
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

    /// Prepares to keep a credential: what can fail beforehand has been done when this returns.
    ///
    /// # Errors
    /// A store error; nothing has changed then.
    pub fn prepare(&self, _lock: &SlotLock, slot: &Slot, place: CredentialLocation) -> Result<Pending> {
        platform::remove_leftovers(&slot.path());
        let file = PrivateFile::prepare(&slot.path()).map_err(|error| unusable(&slot.path(), "written", error))?;
        let left_in_keyring = contents(&slot.path()).ok().flatten().is_some_and(|contents| contents.left_in_keyring);
        Ok(Pending { slot: slot.clone(), place, file, left_in_keyring, keyring_patience: self.timeout.time() })
    }

    /// Keeps a credential in place of the one before it.
    ///
    /// # Errors
    /// A store error; the one before it is then still there.
    pub fn keep(&self, lock: &SlotLock, slot: &Slot, place: CredentialLocation, credential: &Credential) -> Result<()> {
        let before = contents(&slot.path())?.map(|contents| contents.kept_in);
        self.prepare(lock, slot, place)?.put(credential)?;
        if before == Some(CredentialLocation::Keyring) && place == CredentialLocation::File {
            // What it had is not in use any more; a keyring that does not answer may keep it.
            if let Err(reason) = keyring::remove(&slot.name, keyring::TIMEOUT) {
                tracing::warn!("the keyring still has the sign-in before this one: {reason}");
            }
        }
        Ok(())
    }

    /// Forgets a credential. Says whether there was one.
    ///
    /// # Errors
    /// A store error; it is then still there.
    pub fn remove(&self, _lock: &SlotLock, slot: &Slot) -> Result<bool> {
        let path = slot.path();
        platform::remove_leftovers(&path);
        // Even one that cannot be understood.
        let kept = contents(&path).ok().flatten();
        let in_keyring =
            kept.as_ref().is_some_and(|kept| kept.kept_in == CredentialLocation::Keyring || kept.left_in_keyring);
        if in_keyring {
            keyring::remove(&slot.name, self.timeout.time()).map_err(|reason| no_keyring(&reason))?;
        }
        match fs::remove_file(&path).and_then(|()| platform::sync_dir(&slot.dir)) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(unusable(&path, "removed", error)),
        }
    }
}

/// A credential about to be kept.
#[derive(Debug)]
pub struct Pending {
    slot: Slot,
    place: CredentialLocation,
    file: PrivateFile,
    left_in_keyring: bool,
    keyring_patience: Duration,
}

impl Pending {
    /// Keeps it. When this returns without an error, it is durable.
    ///
    /// # Errors
    /// A store error.
    pub fn put(self, credential: &Credential) -> Result<()> {
        let rest = match self.place {
            CredentialLocation::File => Rest::Whole { credential: Written::from(credential) },
            CredentialLocation::Keyring => self.to_keyring(credential)?,
        };
        self.finish(rest)
    }

    /// Keeps it whatever happens to the keyring: it holds the only refresh token that is good.
    ///
    /// # Errors
    /// A store error.
    pub fn put_somewhere(mut self, credential: &Credential) -> Result<()> {
        if self.place == CredentialLocation::Keyring {
            match self.to_keyring(credential) {
                Ok(rest) => return self.finish(rest),
                Err(error) => {
                    tracing::warn!("{error}; the sign-in is kept in {} now", self.slot.path().display());
                    (self.place, self.left_in_keyring) = (CredentialLocation::File, true);
                }
            }
        }
        self.put(credential)
    }

    fn to_keyring(&self, credential: &Credential) -> Result<Rest> {
        let text = to_text(&Written::from(credential), &self.slot)?;
        keyring::write(&self.slot.name, text, self.keyring_patience).map_err(|reason| no_keyring(&reason))?;
        let grant = &credential.grant;
        Ok(Rest::Elsewhere { kind: grant.kind(), client_id: grant.client_id().cloned() })
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
        Rest::Elsewhere { kind, client_id } => (kind, client_id),
        Rest::Whole { credential } => {
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
            tracing::warn!("{} was open to others; its permissions are tightened now", place.display());
        }
    }
    Ok(())
}

fn damaged(path: &Path) -> Error {
    Error::new(ErrorKind::Store, format!("the credential file {} is damaged", path.display()))
        .hint(format!("remove {} and run `bugfender-hooks auth login` again", path.display()))
}

fn no_keyring(reason: &str) -> Error {
    Error::new(ErrorKind::Store, format!("the keyring can't be used: {reason}"))
        .hint("unlock or start it; or sign in again with --credential-store file")
}
