//! Which credential is used: the one in the environment, else the one stored by `auth login`.

use std::path::{Path, PathBuf};

use super::credential::{Credential, Grant, Kind, Proof, Token};
use super::renewer::Origin;
use super::slot::Slot;
use super::vault::{CredentialLocation, Kept, Vault};
use crate::config::{Environment, environment};
use crate::domain::{AccessToken, ApiOrigin, ClientId, ProfileName, Secret};
use crate::error::{Error, Result};

/// Where a credential was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenSource {
    /// This environment variable.
    Environment(&'static str),
    /// This file.
    File(PathBuf),
    /// The platform's keyring, under this name.
    Keyring(String),
}

/// A credential, where it was found, and where it is stored when it is renewed.
#[derive(Debug)]
pub struct StoredCredential {
    /// How tokens are obtained, and the latest one.
    pub credential: Credential,
    /// The kind of sign-in.
    pub kind: Kind,
    /// Where it was found.
    pub source: TokenSource,
    /// Where a renewed credential is stored.
    pub place: CredentialLocation,
    /// Where it comes from.
    pub origin: Origin,
}

/// The credential for an installation.
///
/// In the environment, a refresh token takes precedence over an access token alone, and that over a service account.
/// All of them take precedence over the credential stored by `auth login`.
///
/// # Errors
/// A usage error for a malformed variable, a store error for a credential that cannot be read.
pub fn find(
    environment: &Environment,
    profile: &ProfileName,
    origin: &ApiOrigin,
    vault: impl Fn() -> Result<Vault>,
) -> Result<Option<StoredCredential>> {
    if let Some((source, credential)) = of_environment(environment)? {
        let place = match (&credential.grant, vault()) {
            (Grant::None, _) => None,
            // A refresh token works once, so its successor must be stored.
            (Grant::Refresh { .. }, vault) => place_for(vault?, origin, &credential.grant),
            (Grant::Service { .. }, vault) => vault.ok().and_then(|vault| place_for(vault, origin, &credential.grant)),
        };
        let kind = credential.grant.kind();
        let credential = with_stored(credential, place.as_ref())?;
        let source = TokenSource::Environment(source);
        return Ok(Some(StoredCredential {
            credential,
            kind,
            source,
            place: CredentialLocation::File,
            origin: Origin::Environment(place),
        }));
    }
    let vault = vault()?;
    let slot = vault.slot(profile, origin);
    let Some(Kept { credential, place }) = vault.read(&slot)? else { return Ok(None) };
    let source = match place {
        CredentialLocation::File => TokenSource::File(slot.path()),
        CredentialLocation::Keyring => TokenSource::Keyring(vault.keyring_name(&slot)),
    };
    let kind = credential.grant.kind();
    Ok(Some(StoredCredential { credential, kind, source, place, origin: Origin::Vault(vault, slot) }))
}

/// A hint for a failed sign-in if the environment has a credential, which takes precedence over `auth login`.
pub fn advice(environment: &Environment) -> Option<String> {
    let proofs = [environment::CLIENT_SECRET, environment::CLIENT_SECRET_FILE, environment::PRIVATE_KEY_FILE];
    let has_proof = proofs.iter().any(|name| environment.has(name));
    let wins = [environment::REFRESH_TOKEN, environment::API_TOKEN, environment::CLIENT_ID];
    let name = wins.into_iter().find(|name| environment.has(name))?;
    Some(if name == environment::CLIENT_ID && !has_proof {
        format!("{name} is set, but one of {} is missing", proofs.join(", "))
    } else {
        format!("{name} is set and takes precedence over `auth login`: correct its value, or unset it")
    })
}

/// The credential in the environment, and the variable that it comes from.
fn of_environment(environment: &Environment) -> Result<Option<(&'static str, Credential)>> {
    let token = environment.text(environment::API_TOKEN)?.map(AccessToken::parse).transpose();
    let token = token.map_err(|error| error.about(environment::API_TOKEN))?.map(Token::pasted);
    if let Some(text) = environment.text(environment::REFRESH_TOKEN)? {
        let refresh_token = Secret::parse("the refresh token", text);
        let grant = Grant::Refresh {
            client_id: client_id(environment)?,
            client_secret: client_secret(environment)?,
            refresh_token: refresh_token.map_err(|error| error.about(environment::REFRESH_TOKEN))?,
            browser: false,
        };
        return Ok(Some((environment::REFRESH_TOKEN, Credential { grant, token })));
    }
    if token.is_some() {
        return Ok(Some((environment::API_TOKEN, Credential { grant: Grant::None, token })));
    }
    let Some(proof) = service_proof(environment)? else { return Ok(None) };
    let client_id = client_id(environment)?.ok_or_else(|| {
        let given = [environment::CLIENT_SECRET, environment::CLIENT_SECRET_FILE, environment::PRIVATE_KEY_FILE]
            .into_iter()
            .find(|name| environment.has(name))
            .unwrap_or(environment::CLIENT_SECRET);
        Error::usage(format!("{given} is set without {}", environment::CLIENT_ID))
            .hint(format!("set {} to the client id of the service account", environment::CLIENT_ID))
    })?;
    Ok(Some((environment::CLIENT_ID, Credential { grant: Grant::Service { client_id, proof }, token: None })))
}

fn client_id(environment: &Environment) -> Result<Option<ClientId>> {
    let id = environment.text(environment::CLIENT_ID)?.map(str::parse).transpose();
    id.map_err(|error: Error| error.about(environment::CLIENT_ID))
}

/// The secret or key of a service account in the environment.
///
/// # Errors
/// A usage error when both are set, or the one that is set cannot be read.
pub fn service_proof(environment: &Environment) -> Result<Option<Proof>> {
    let key = environment.text(environment::PRIVATE_KEY_FILE)?;
    match (client_secret(environment)?, key) {
        (Some(_), Some(_)) => Err(Error::usage(format!(
            "both a client secret and {} are set; a service account has only one of them",
            environment::PRIVATE_KEY_FILE
        ))),
        (Some(secret), None) => Ok(Some(Proof::Secret(secret))),
        (None, key) => Ok(key.map(|path| Proof::Key(PathBuf::from(path)))),
    }
}

fn client_secret(environment: &Environment) -> Result<Option<Secret>> {
    if let Some(text) = environment.text(environment::CLIENT_SECRET)? {
        let secret = Secret::parse("the client secret", text);
        return secret.map(Some).map_err(|error| error.about(environment::CLIENT_SECRET));
    }
    let Some(path) = environment.text(environment::CLIENT_SECRET_FILE)? else { return Ok(None) };
    let wrong = |error: std::io::Error| Error::usage(format!("{path}: {error}")).source(error);
    let text = std::fs::read_to_string(Path::new(path)).map_err(wrong);
    let secret = text.and_then(|text| Secret::parse("the client secret", &text));
    secret.map(Some).map_err(|error| error.about(environment::CLIENT_SECRET_FILE))
}

/// Where tokens obtained with a credential in the environment are stored.
fn place_for(vault: Vault, origin: &ApiOrigin, grant: &Grant) -> Option<(Vault, Slot)> {
    let path;
    let (kind, client_id, proof) = match grant {
        Grant::None => return None,
        // The slot is that of the token in the variable; its successors are stored there.
        Grant::Refresh { client_id, refresh_token, .. } => ("refresh", client_id.as_ref(), refresh_token.expose()),
        Grant::Service { client_id, proof: Proof::Secret(secret) } => ("secret", Some(client_id), secret.expose()),
        Grant::Service { client_id, proof: Proof::Key(key) } => {
            path = key.to_string_lossy();
            ("key", Some(client_id), &*path)
        }
    };
    let slot = vault.slot_of_environment(origin, &[kind, client_id.map_or("", ClientId::as_str), proof]);
    Some((vault, slot))
}

/// The credential with the tokens that were stored for it.
fn with_stored(credential: Credential, place: Option<&(Vault, Slot)>) -> Result<Credential> {
    let Some((vault, slot)) = place else { return Ok(credential) };
    let kept = match (vault.read(slot), &credential.grant) {
        // A service account can request another token.
        (Err(error), Grant::Service { .. }) => {
            tracing::debug!("cannot read the stored token: {error}");
            None
        }
        (kept, _) => kept?,
    };
    let Some(kept) = kept else { return Ok(credential) };
    let grant = match (credential.grant, kept.credential.grant) {
        (Grant::Refresh { client_id, client_secret, browser, .. }, Grant::Refresh { refresh_token, .. }) => {
            Grant::Refresh { client_id, client_secret, refresh_token, browser }
        }
        (grant, _) => grant,
    };
    Ok(Credential { grant, token: kept.credential.token.or(credential.token) })
}
