//! The slot of a credential in the vault.

use std::io;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ring::digest;

use super::credential::CredentialOwner;
use crate::domain::{ApiOrigin, ProfileName};
use crate::error::{Error, ErrorKind};

/// The slot of one credential.
#[derive(Debug, Clone)]
pub struct Slot {
    /// Its name, used for files and in the keyring.
    pub(super) name: String,
    pub(super) dir: PathBuf,
    pub(super) owner: CredentialOwner,
}

impl Slot {
    /// The slot for the credential of `auth login` for an installation; `vault` is its directory.
    pub(super) fn of_profile(vault: &Path, profile: &ProfileName, origin: &ApiOrigin) -> Self {
        // Profile names contain no @.
        let name = format!("{profile}@{}", origin.as_file_name());
        Self { name, dir: vault.join("credentials"), owner: CredentialOwner::new(profile, origin) }
    }

    /// The slot for tokens obtained with a credential in the environment, which `of` identifies.
    pub(super) fn of_environment(vault: &Path, origin: &ApiOrigin, of: &[&str]) -> Self {
        let mut hash = digest::Context::new(&digest::SHA256);
        for part in std::iter::once(&origin.as_str()).chain(of) {
            hash.update(&(part.len() as u64).to_le_bytes());
            hash.update(part.as_bytes());
        }
        let name = BASE64_URL_SAFE_NO_PAD.encode(hash.finish());
        Self { name, dir: vault.join("tokens"), owner: CredentialOwner::new(&ProfileName::default(), origin) }
    }

    /// The file with the credential, or with the note that it is in the keyring.
    pub fn path(&self) -> PathBuf {
        self.dir.join(format!("{}.json", self.name))
    }
}

/// The error of a credential file, or its lock, that cannot be read, written or locked, as `verb` says.
pub(super) fn unusable(path: &Path, verb: &str, error: io::Error) -> Error {
    let message = format!("the credential file {} could not be {verb}: {error}", path.display());
    Error::new(ErrorKind::Store, message)
        .hint("give a token in BUGFENDER_API_TOKEN to do without the file")
        .source(error)
}
