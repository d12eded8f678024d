//! Renews tokens under a lock, with the latest stored credential, and stores the new one before it is used. How long before
//! its end a token is renewed [`credential`](super::credential) says; the [`session`](super::session) asks.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::runtime::Builder;

use super::credential::{Credential, Grant, Token};
use super::endpoint::{GrantedToken, Refusal, TokenEndpoint};
use super::lock::{NoLock, SlotLock};
use super::slot::Slot;
use super::vault::{CredentialLocation, Kept, Vault};
use crate::domain::{ApiOrigin, Secret};
use crate::error::{Error, ErrorKind, Result};
use crate::http;
use crate::platform;

/// The minimum timeout for a request with a refresh token, even with a shorter `--timeout`: a response that is not
/// waited for may contain the only valid refresh token.
const MIN_ATTEMPT: Duration = Duration::from_secs(30);

/// The minimum time to wait for a renewal by another process, even with a shorter `--timeout`.
const MIN_LOCK_TIMEOUT: Duration = Duration::from_secs(5);

/// The total timeout of a renewal without `--timeout`.
const MAX_RENEWAL: Duration = Duration::from_secs(60);

/// How much longer than [`MAX_RENEWAL`] another process waits for the lock without `--timeout`.
const LOCK_MARGIN: Duration = Duration::from_secs(15);

/// Where the credential of a session comes from and is stored.
#[derive(Debug, Clone)]
pub enum Origin {
    /// The environment. Tokens obtained with it are stored in the slot, if there is one.
    Environment(Option<(Vault, Slot)>),
    /// The vault.
    Vault(Vault, Slot),
}

impl Origin {
    fn place(&self) -> Option<(&Vault, &Slot)> {
        match self {
            Self::Environment(place) => place.as_ref().map(|(vault, slot)| (vault, slot)),
            Self::Vault(vault, slot) => Some((vault, slot)),
        }
    }
}

/// The phase of a renewal, which decides what an interruption does to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Phase {
    /// Waiting for the lock; it can be cancelled.
    #[default]
    Waiting,
    /// A request with a refresh token is in flight, whose response may contain its successor.
    InFlight,
    /// The command has ended; no request may be started.
    Cancelled,
}

/// Renews the token of a session.
#[derive(Debug)]
pub(super) struct Renewer {
    pub(super) grant: Grant,
    pub(super) place: CredentialLocation,
    pub(super) origin: Origin,
    pub(super) installation: ApiOrigin,
    pub(super) options: http::ClientOptions,
    pub(super) phase: Mutex<Phase>,
}

impl Renewer {
    /// Cancels a renewal that has no request in flight. Returns whether it is cancelled.
    pub(super) fn cancel(&self) -> bool {
        let mut phase = self.phase.lock().unwrap_or_else(PoisonError::into_inner);
        if *phase == Phase::Waiting {
            *phase = Phase::Cancelled;
        }
        *phase == Phase::Cancelled
    }

    /// Marks that no request is in flight any more.
    fn reset_phase(&self) {
        let mut phase = self.phase.lock().unwrap_or_else(PoisonError::into_inner);
        if *phase == Phase::InFlight {
            *phase = Phase::Waiting;
        }
    }

    /// Marks that a request with a refresh token is about to be sent, unless the command has ended.
    fn mark_in_flight(&self) -> Result<()> {
        let mut phase = self.phase.lock().unwrap_or_else(PoisonError::into_inner);
        if *phase == Phase::Cancelled {
            return Err(Error::new(ErrorKind::Interrupted, "interrupted before renewing the token"));
        }
        *phase = Phase::InFlight;
        Ok(())
    }

    /// Renews the token, unless another process has. `stale` is the token to replace.
    pub(super) fn renew(&self, stale: Option<&Token>) -> Result<Token> {
        self.reset_phase();
        let Some((vault, slot)) = self.origin.place() else {
            return self.request_without_storing();
        };
        let since = Timestamp::now();
        match vault.lock(slot, self.lock_timeout()) {
            Ok(lock) => {
                let renewed = self.renew_stored(vault, slot, &lock, stale, since);
                match &renewed {
                    Ok(_) => lock.clear_note(),
                    // The note of another process is not written again, which would make it look newer.
                    Err(error) if error.kind() == ErrorKind::Unavailable && lock.failure_since(since).is_none() => {
                        lock.note_failure(error);
                    }
                    Err(_) => {}
                }
                renewed
            }
            // A service account can request a token that is not stored, for which no lock is needed.
            Err(NoLock::Unusable(error)) if self.storing_is_optional() => self.request_after_warning(&error),
            Err(no_lock) => Err(no_lock.into()),
        }
    }

    fn storing_is_optional(&self) -> bool {
        matches!((&self.origin, &self.grant), (Origin::Environment(_), Grant::Service { .. }))
    }

    fn renew_stored(
        &self,
        vault: &Vault,
        slot: &Slot,
        lock: &SlotLock,
        stale: Option<&Token>,
        since: Timestamp,
    ) -> Result<Token> {
        loop {
            let kept = match vault.read(slot) {
                // An unreadable token is replaced.
                Err(_) if self.storing_is_optional() => None,
                kept => kept?,
            };
            if let Some(token) = kept.as_ref().and_then(|kept| newer(kept, stale)) {
                tracing::debug!("another process has renewed the token");
                return Ok(token);
            }
            if let Some(message) = lock.failure_since(since) {
                // Another process tried while this one waited for the lock.
                return Err(Error::new(ErrorKind::Unavailable, message)
                    .hint("try again later; stored credentials are unchanged"));
            }
            let grant = self.grant_of(kept.as_ref())?;
            // The current location, as the user may have signed in again with another one.
            let place = kept.as_ref().map_or(self.place, |kept| kept.place);
            let pending = match vault.prepare(lock, slot, place) {
                Err(error) if self.storing_is_optional() => return self.request_after_warning(&error),
                pending => pending?,
            };
            if grant.refresh_token().is_some() {
                self.mark_in_flight()?;
            }
            match self.request_token(&grant) {
                Ok(granted) => {
                    let token = granted.token.clone();
                    match pending.put_somewhere(&self.credential_to_store(grant, granted)) {
                        Err(error) if self.storing_is_optional() => warn_not_stored(&error),
                        kept => kept?,
                    }
                    return Ok(token);
                }
                Err(Refusal::InvalidGrant(error)) if grant.refresh_token().is_some() => {
                    let now = vault.read(slot)?;
                    let still = now.as_ref().map(|now| now.credential.grant.refresh_token());
                    if still.is_some_and(|still| still != grant.refresh_token()) {
                        // The user has signed in meanwhile, and the new token has not been tried.
                        continue;
                    }
                    vault.remove(lock, slot)?;
                    return Err(error);
                }
                Err(refusal) => return Err(refusal.into_error()),
            }
        }
    }

    /// The grant for the next token, with the latest refresh token.
    fn grant_of(&self, kept: Option<&Kept>) -> Result<Grant> {
        let kept = kept.map(|kept| &kept.credential.grant);
        match (&self.origin, kept) {
            (_, Some(grant @ Grant::Refresh { .. })) | (Origin::Vault(..), Some(grant)) => Ok(grant.clone()),
            (Origin::Environment(_), _) => Ok(self.grant.clone()),
            (Origin::Vault(..), None) => {
                let message = format!("signed out of {} by another process", self.installation);
                Err(Error::new(ErrorKind::NotSignedIn, message).hint("sign in again with `bugfender-hooks auth login`"))
            }
        }
    }

    /// The credential to store; secrets from the environment are not stored.
    fn credential_to_store(&self, grant: Grant, granted: GrantedToken) -> Credential {
        let grant = match (&self.origin, grant) {
            (_, Grant::Refresh { client_id, client_secret, refresh_token, browser }) => Grant::Refresh {
                client_id,
                client_secret: client_secret.filter(|_| matches!(self.origin, Origin::Vault(..))),
                // A server that does not rotate refresh tokens sends none.
                refresh_token: granted.refresh_token.unwrap_or(refresh_token),
                browser,
            },
            (Origin::Environment(_), _) => Grant::None,
            (Origin::Vault(..), grant) => grant,
        };
        Credential { grant, token: Some(granted.token) }
    }

    fn request_after_warning(&self, error: &Error) -> Result<Token> {
        warn_not_stored(error);
        self.request_without_storing()
    }

    fn request_without_storing(&self) -> Result<Token> {
        self.request_token(&self.grant).map(|granted| granted.token).map_err(Refusal::into_error)
    }

    /// Requests a token from the token endpoint.
    fn request_token(&self, grant: &Grant) -> Result<GrantedToken, Refusal> {
        let runtime = Builder::new_current_thread().enable_all().build().map_err(Error::from)?;
        let granted = runtime.block_on(async {
            let endpoint = TokenEndpoint::new(self.installation.clone(), self.options_for(grant))?;
            match grant {
                Grant::Refresh { client_id, client_secret, refresh_token, .. } => {
                    tracing::info!("renewing the token");
                    platform::ignore_hangup();
                    // A client secret from the environment is not stored with the grant.
                    let client_secret = client_secret.as_ref().or_else(|| self.client_secret());
                    endpoint.refresh(client_id.as_ref(), client_secret, refresh_token).await
                }
                Grant::Service { client_id, proof } => {
                    tracing::info!("requesting a token");
                    endpoint.client_credentials(client_id, proof).await
                }
                Grant::None => Err(Error::new(ErrorKind::NotSignedIn, "the token cannot be renewed").into()),
            }
        });
        // Does not wait for a DNS lookup in progress.
        runtime.shutdown_background();
        granted
    }

    fn client_secret(&self) -> Option<&Secret> {
        match &self.grant {
            Grant::Refresh { client_secret, .. } => client_secret.as_ref(),
            _ => None,
        }
    }

    fn options_for(&self, grant: &Grant) -> http::ClientOptions {
        let options = &self.options;
        let least = if grant.refresh_token().is_some() { MIN_ATTEMPT } else { Duration::ZERO };
        http::ClientOptions {
            attempt_timeout: options.attempt_timeout.max(least),
            total_timeout: Some(options.total_timeout.map_or(MAX_RENEWAL, |total| total.max(least))),
            ..options.clone()
        }
    }

    /// How long to wait for the lock while another process renews the token.
    fn lock_timeout(&self) -> Duration {
        self.options.total_timeout.map_or(MAX_RENEWAL + LOCK_MARGIN, |total| total.max(MIN_LOCK_TIMEOUT))
    }
}

fn warn_not_stored(error: &Error) {
    tracing::warn!("the token was not stored, so that the next command has to request another: {error}");
}

/// The stored token, if it differs from the stale one and has not expired.
fn newer(kept: &Kept, stale: Option<&Token>) -> Option<Token> {
    let token = kept.credential.token.as_ref()?;
    let is_other = stale.is_none_or(|stale| stale.access != token.access);
    (is_other && !token.is_expired(Timestamp::now())).then(|| token.clone())
}
