//! Renewing a token: under a lock, from the newest credential there is, durable before anybody uses it.

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

/// The least time for an attempt to use a refresh token, whatever `--timeout` says: an answer that is not waited for
/// may hold the only token that is still good.
const MIN_ATTEMPT: Duration = Duration::from_secs(30);

/// The least time that another process waits for a renewal, whatever `--timeout` says.
const MIN_RENEWAL_TIMEOUT: Duration = Duration::from_secs(5);

/// The longest time for all attempts to renew.
const MAX_RENEWAL: Duration = Duration::from_secs(60);

/// How much longer than a renewal may take another process waits for it, when nobody set a time.
const SLACK: Duration = Duration::from_secs(15);

/// Where the credential of a session comes from and goes to.
#[derive(Debug, Clone)]
pub enum Origin {
    /// From the environment. Tokens had for it are kept, if there is a place to keep them.
    Environment(Option<(Vault, Slot)>),
    /// From the vault.
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

/// How far a renewal is, which decides what an interruption does to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Phase {
    /// It waits for its turn: nothing is lost with it.
    #[default]
    Waiting,
    /// A refresh token is under way, and its successor may be.
    UnderWay,
    /// The command has ended: nothing more is to be begun.
    Cancelled,
}

/// What it takes to renew.
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
    /// Ends what has not begun. Says whether there is nothing to wait for.
    pub(super) fn cancel(&self) -> bool {
        let mut phase = self.phase.lock().unwrap_or_else(PoisonError::into_inner);
        if *phase == Phase::Waiting {
            *phase = Phase::Cancelled;
        }
        *phase == Phase::Cancelled
    }

    /// What went out before has come back.
    fn wait_for_turn(&self) {
        let mut phase = self.phase.lock().unwrap_or_else(PoisonError::into_inner);
        if *phase == Phase::UnderWay {
            *phase = Phase::Waiting;
        }
    }

    /// Marks that a refresh token goes out now, unless the command has ended.
    fn begin(&self) -> Result<()> {
        let mut phase = self.phase.lock().unwrap_or_else(PoisonError::into_inner);
        if *phase == Phase::Cancelled {
            return Err(Error::new(ErrorKind::Interrupted, "interrupted before renewing the token"));
        }
        *phase = Phase::UnderWay;
        Ok(())
    }

    /// Renews it, unless somebody has: `stale` is the token that is not good any more.
    pub(super) fn renew(&self, stale: Option<&Token>) -> Result<Token> {
        self.wait_for_turn();
        let Some((vault, slot)) = self.origin.place() else {
            return self.ask_once();
        };
        let since = Timestamp::now();
        match vault.lock(slot, self.timeout()) {
            Ok(lock) => {
                let renewed = self.renew_kept(vault, slot, &lock, stale, since);
                match &renewed {
                    Ok(_) => lock.clear_note(),
                    // Not what was read there: that is as old as it is.
                    Err(error) if error.kind() == ErrorKind::Unavailable && lock.failure_since(since).is_none() => {
                        lock.note_failure(error);
                    }
                    Err(_) => {}
                }
                renewed
            }
            // There is nothing to protect where nothing can be kept: a service account asks again.
            Err(NoLock::Unusable(error)) if self.can_do_without_keeping() => self.not_kept(&error),
            Err(no_lock) => Err(no_lock.into()),
        }
    }

    fn can_do_without_keeping(&self) -> bool {
        matches!((&self.origin, &self.grant), (Origin::Environment(_), Grant::Service { .. }))
    }

    fn renew_kept(
        &self,
        vault: &Vault,
        slot: &Slot,
        lock: &SlotLock,
        stale: Option<&Token>,
        since: Timestamp,
    ) -> Result<Token> {
        loop {
            let kept = match vault.read(slot) {
                // What cannot be read is written anew.
                Err(_) if self.can_do_without_keeping() => None,
                kept => kept?,
            };
            if let Some(token) = kept.as_ref().and_then(|kept| newer(kept, stale)) {
                tracing::debug!("another process has renewed the token");
                return Ok(token);
            }
            if let Some(message) = lock.failure_since(since) {
                // It was tried while this waited for its turn.
                return Err(Error::new(ErrorKind::Unavailable, message).hint("try again later; the sign-in is kept"));
            }
            let grant = self.grant_of(kept.as_ref())?;
            // Where it is now: somebody may have signed in anew, and chosen another place.
            let place = kept.as_ref().map_or(self.place, |kept| kept.place);
            let pending = match vault.prepare(lock, slot, place) {
                Err(error) if self.can_do_without_keeping() => return self.not_kept(&error),
                pending => pending?,
            };
            if grant.refresh_token().is_some() {
                self.begin()?;
            }
            match self.ask(&grant) {
                Ok(granted) => {
                    let token = granted.token.clone();
                    match pending.put_somewhere(&self.to_keep(grant, granted)) {
                        Err(error) if self.can_do_without_keeping() => say_not_kept(&error),
                        kept => kept?,
                    }
                    return Ok(token);
                }
                Err(Refusal::InvalidGrant(error)) if grant.refresh_token().is_some() => {
                    let now = vault.read(slot)?;
                    let still = now.as_ref().map(|now| now.credential.grant.refresh_token());
                    if still.is_some_and(|still| still != grant.refresh_token()) {
                        // Somebody signed in meanwhile; their token has not been tried.
                        continue;
                    }
                    vault.remove(lock, slot)?;
                    return Err(error);
                }
                Err(refusal) => return Err(refusal.into_error()),
            }
        }
    }

    /// How the next token is to be had, with the newest refresh token.
    fn grant_of(&self, kept: Option<&Kept>) -> Result<Grant> {
        let kept = kept.map(|kept| &kept.credential.grant);
        match (&self.origin, kept) {
            (_, Some(grant @ Grant::Refresh { .. })) | (Origin::Vault(..), Some(grant)) => Ok(grant.clone()),
            (Origin::Environment(_), _) => Ok(self.grant.clone()),
            (Origin::Vault(..), None) => {
                let message = format!("signed out of {} in the meantime", self.installation);
                Err(Error::new(ErrorKind::NotSignedIn, message).hint("sign in again with `bugfender-hooks auth login`"))
            }
        }
    }

    /// What is to be kept: of a credential that comes from the environment, only what does not.
    fn to_keep(&self, grant: Grant, granted: GrantedToken) -> Credential {
        let grant = match (&self.origin, grant) {
            (_, Grant::Refresh { client_id, client_secret, refresh_token, browser }) => Grant::Refresh {
                client_id,
                client_secret: client_secret.filter(|_| matches!(self.origin, Origin::Vault(..))),
                // A server that does not rotate gives none.
                refresh_token: granted.refresh_token.unwrap_or(refresh_token),
                browser,
            },
            (Origin::Environment(_), _) => Grant::None,
            (Origin::Vault(..), grant) => grant,
        };
        Credential { grant, token: Some(granted.token) }
    }

    fn not_kept(&self, error: &Error) -> Result<Token> {
        say_not_kept(error);
        self.ask_once()
    }

    fn ask_once(&self) -> Result<Token> {
        self.ask(&self.grant).map(|granted| granted.token).map_err(Refusal::into_error)
    }

    /// Asks the token endpoint.
    fn ask(&self, grant: &Grant) -> Result<GrantedToken, Refusal> {
        let runtime = Builder::new_current_thread().enable_all().build().map_err(Error::from)?;
        let granted = runtime.block_on(async {
            let endpoint = TokenEndpoint::new(self.installation.clone(), self.options_for(grant))?;
            match grant {
                Grant::Refresh { client_id, client_secret, refresh_token, .. } => {
                    tracing::info!("renewing the token");
                    platform::outlive_hangup();
                    // The secret of a client of the environment is not kept.
                    let client_secret = client_secret.as_ref().or_else(|| self.client_secret());
                    endpoint.refresh(client_id.as_ref(), client_secret, refresh_token).await
                }
                Grant::Service { client_id, proof } => {
                    tracing::info!("asking for a token");
                    endpoint.client_credentials(client_id, proof).await
                }
                Grant::None => Err(Error::new(ErrorKind::NotSignedIn, "the token can't be renewed").into()),
            }
        });
        // A name that is being looked up is not waited for any more.
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

    /// How long to wait for another process that is renewing.
    fn timeout(&self) -> Duration {
        self.options.total_timeout.map_or(MAX_RENEWAL + SLACK, |total| total.max(MIN_RENEWAL_TIMEOUT))
    }
}

fn say_not_kept(error: &Error) {
    tracing::warn!("the token is not kept for the next command: {error}");
}

/// The token that is kept, if it is another than the one that is stale, and good.
fn newer(kept: &Kept, stale: Option<&Token>) -> Option<Token> {
    let token = kept.credential.token.as_ref()?;
    let is_other = stale.is_none_or(|stale| stale.access != token.access);
    (is_other && !token.is_over(Timestamp::now())).then(|| token.clone())
}
