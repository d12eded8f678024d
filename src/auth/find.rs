//! Which credential is used: one of the environment, else what `auth login` was given.

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
    /// In this environment variable.
    Environment(&'static str),
    /// In this file.
    File(PathBuf),
    /// In the platform's keyring, under this name.
    Keyring(String),
}

/// A credential, where it was found, and where it goes to when it is renewed.
#[derive(Debug)]
pub struct StoredCredential {
    /// How tokens are had, and the last one.
    pub credential: Credential,
    /// How it was given.
    pub kind: Kind,
    /// Where it was found.
    pub source: TokenSource,
    /// Where it is kept.
    pub place: CredentialLocation,
    /// Where it comes from and goes to.
    pub origin: Origin,
}

/// The credential for an installation.
///
/// A refresh token of the environment wins over an access token alone, that over a service account, and all of them over
/// what `auth login` was given.
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
            // A refresh token works once: the one after it must be kept.
            (Grant::Refresh { .. }, vault) => place_for(vault?, origin, &credential.grant),
            (Grant::Service { .. }, vault) => vault.ok().and_then(|vault| place_for(vault, origin, &credential.grant)),
        };
        let kind = credential.grant.kind();
        let credential = with_kept(credential, place.as_ref())?;
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

/// What to know of the environment when a sign-in is not good: what is set there wins over what `auth login` is given.
pub fn advice(environment: &Environment) -> Option<String> {
    let proofs = [environment::CLIENT_SECRET, environment::CLIENT_SECRET_FILE, environment::PRIVATE_KEY_FILE];
    let has_proof = proofs.iter().any(|name| environment.has(name));
    let wins = [environment::REFRESH_TOKEN, environment::API_TOKEN, environment::CLIENT_ID];
    let name = wins.into_iter().find(|name| environment.has(name))?;
    Some(if name == environment::CLIENT_ID && !has_proof {
        format!("{name} is set, which alone is no sign-in: set one of {} too", proofs.join(", "))
    } else {
        format!("{name} is set, and wins over `auth login`: put a good one there, or unset it")
    })
}

/// What the environment says, and the variable that says it.
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

/// What the environment says a service account proves itself with.
///
/// # Errors
/// A usage error when it says two things, or one that cannot be read.
pub fn service_proof(environment: &Environment) -> Result<Option<Proof>> {
    let key = environment.text(environment::PRIVATE_KEY_FILE)?;
    match (client_secret(environment)?, key) {
        (Some(_), Some(_)) => Err(Error::usage(format!(
            "both a client secret and {} are set; one service account has one of them",
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

/// Where the tokens that are had for a credential of the environment are kept.
fn place_for(vault: Vault, origin: &ApiOrigin, grant: &Grant) -> Option<(Vault, Slot)> {
    let path;
    let (kind, client_id, proof) = match grant {
        Grant::None => return None,
        // The first of its line: those after it are what is kept.
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

/// The credential with what was had for it before.
fn with_kept(credential: Credential, place: Option<&(Vault, Slot)>) -> Result<Credential> {
    let Some((vault, slot)) = place else { return Ok(credential) };
    let kept = match (vault.read(slot), &credential.grant) {
        // A service account asks for a token anew.
        (Err(error), Grant::Service { .. }) => {
            tracing::debug!("no token is kept: {error}");
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
