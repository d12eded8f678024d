//! A sign-in in use: its token, and renewing it.
//!
//! Refresh tokens work once, so that renewing is done by one process at a time, under a lock; the new credential is
//! durable before anybody uses it.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tracing::dispatcher;

use super::credential::{Credential, Grant, Token};
use super::endpoint::{Granted, Refusal, TokenEndpoint};
use super::vault::{Kept, NoLock, Place, Slot, SlotLock, Vault};
use crate::domain::{AccessToken, ApiOrigin};
use crate::error::{Error, ErrorKind, Result};
use crate::http;

/// The least time for an attempt to use a refresh token, whatever `--timeout` says: an answer that is not waited for
/// may hold the only token that is still good.
const MIN_ATTEMPT: Duration = Duration::from_secs(5);

/// The longest time for all attempts to renew.
const MAX_RENEWAL: Duration = Duration::from_secs(60);

/// How much longer than a renewal may take another process waits for it, when nobody set a time.
const SLACK: Duration = Duration::from_secs(15);

/// For how long a command that is interrupted waits for a renewal that is under way.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// A sign-in in use.
#[derive(Debug)]
pub struct Session {
    renewer: Arc<Renewer>,
    token: Mutex<Option<Token>>,
    /// Held while the token is being renewed, so that one request for it does for all.
    renewing: tokio::sync::Mutex<()>,
    under_way: Mutex<Option<Receiver<()>>>,
}

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

impl Session {
    /// A session with what was found.
    pub fn new(
        credential: Credential,
        place: Place,
        origin: Origin,
        installation: ApiOrigin,
        options: http::Options,
    ) -> Self {
        let Credential { grant, token } = credential;
        let renewer = Renewer { grant, place, origin, installation, options };
        Self {
            renewer: Arc::new(renewer),
            token: Mutex::new(token),
            renewing: tokio::sync::Mutex::default(),
            under_way: Mutex::default(),
        }
    }

    /// The token, if it can be used without asking for another.
    pub fn current(&self) -> Option<AccessToken> {
        let now = Timestamp::now();
        let usable = |token: &&Token| !self.is_renewable() || token.is_fresh(now);
        self.lock_token().as_ref().filter(usable).map(|token| token.access.clone())
    }

    /// The token, renewed if it is time.
    ///
    /// # Errors
    /// When it has to be renewed and cannot be.
    pub async fn token(&self) -> Result<AccessToken> {
        if let Some(token) = self.current() {
            return Ok(token);
        }
        let _turn = self.renewing.lock().await;
        // Somebody else's turn may have brought one.
        if let Some(token) = self.current() {
            return Ok(token);
        }
        let stale = self.lock_token().clone();
        self.renew(stale).await
    }

    /// A newer token than `refused`, which the server did not take; `None` if there is no reason to hope for one.
    ///
    /// Bugfender says 401 where no credentials were supplied, and 403 both for credentials that are not valid and for
    /// missing permissions: a new token that gets 403 lacks permission.
    ///
    /// # Errors
    /// When it has to be renewed and cannot be.
    pub async fn instead_of(&self, refused: &AccessToken, status: http::StatusCode) -> Result<Option<AccessToken>> {
        if !self.is_renewable() {
            return Ok(None);
        }
        let _turn = self.renewing.lock().await;
        let stale = self.lock_token().clone();
        match &stale {
            Some(token) if token.access != *refused => return Ok(Some(token.access.clone())),
            Some(token) if status == http::StatusCode::FORBIDDEN && token.is_new(Timestamp::now()) => return Ok(None),
            _ => {}
        }
        tracing::info!(status = status.as_u16(), "the token was not taken; renewing it");
        self.renew(stale).await.map(Some)
    }

    fn is_renewable(&self) -> bool {
        self.renewer.grant != Grant::None
    }

    /// Renews in a thread of its own: it goes on when the command is interrupted, and nothing waits for its locks.
    async fn renew(&self, stale: Option<Token>) -> Result<AccessToken> {
        let (send, outcome) = oneshot::channel();
        let (working, finished) = channel();
        *self.under_way.lock().unwrap_or_else(PoisonError::into_inner) = Some(finished);
        let renewer = Arc::clone(&self.renewer);
        let log = dispatcher::get_default(Clone::clone);
        std::thread::Builder::new().name("renewal".to_owned()).spawn(move || {
            let working: Sender<()> = working;
            let token = dispatcher::with_default(&log, || renewer.renew(stale.as_ref()));
            // Nobody waits for it any more after an interruption.
            let _ = send.send(token);
            drop(working);
        })?;
        let token = outcome.await.map_err(|_| Error::new(ErrorKind::Other, "renewing the token failed"))??;
        let access = token.access.clone();
        *self.lock_token() = Some(token);
        Ok(access)
    }

    fn lock_token(&self) -> MutexGuard<'_, Option<Token>> {
        self.token.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An answer that is under way may hold the only refresh token that is good.
impl Drop for Session {
    fn drop(&mut self) {
        let under_way = self.under_way.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(finished) = under_way.take() {
            // Either it ends, and its end of the channel with it, or there is no more time.
            let _ = finished.recv_timeout(LAST_WORDS);
        }
    }
}

/// What it takes to renew.
#[derive(Debug)]
struct Renewer {
    grant: Grant,
    place: Place,
    origin: Origin,
    installation: ApiOrigin,
    options: http::Options,
}

impl Renewer {
    fn renew(&self, stale: Option<&Token>) -> Result<Token> {
        let Some((vault, slot)) = self.origin.place() else {
            return self.ask_once();
        };
        match vault.lock(slot, self.patience()) {
            Ok(lock) => self.renew_kept(vault, slot, &lock, stale),
            // There is nothing to protect where nothing can be kept: a service account asks again.
            Err(NoLock::Unusable(error)) if self.can_do_without_keeping() => {
                tracing::warn!("the token is not kept for the next command: {error}");
                self.ask_once()
            }
            Err(no_lock) => Err(no_lock.into()),
        }
    }

    fn can_do_without_keeping(&self) -> bool {
        matches!((&self.origin, &self.grant), (Origin::Environment(_), Grant::Service { .. }))
    }

    fn renew_kept(&self, vault: &Vault, slot: &Slot, lock: &SlotLock, stale: Option<&Token>) -> Result<Token> {
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
            let grant = self.grant_of(kept.as_ref())?;
            let pending = vault.prepare(lock, slot, self.place)?;
            match self.ask(&grant) {
                Ok(granted) => {
                    let token = granted.token.clone();
                    pending.put(&self.to_keep(grant, granted))?;
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
    fn to_keep(&self, grant: Grant, granted: Granted) -> Credential {
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

    fn ask_once(&self) -> Result<Token> {
        self.ask(&self.grant).map(|granted| granted.token).map_err(Refusal::into_error)
    }

    /// Asks the token endpoint.
    fn ask(&self, grant: &Grant) -> Result<Granted, Refusal> {
        let runtime = Builder::new_current_thread().enable_all().build().map_err(Error::from)?;
        runtime.block_on(async {
            let endpoint = TokenEndpoint::new(self.installation.clone(), self.options_for(grant))?;
            match grant {
                Grant::Refresh { client_id, client_secret, refresh_token, .. } => {
                    tracing::info!("renewing the token");
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
        })
    }

    fn client_secret(&self) -> Option<&crate::domain::Secret> {
        match &self.grant {
            Grant::Refresh { client_secret, .. } => client_secret.as_ref(),
            _ => None,
        }
    }

    fn options_for(&self, grant: &Grant) -> http::Options {
        let options = &self.options;
        let least = if grant.refresh_token().is_some() { MIN_ATTEMPT } else { Duration::ZERO };
        http::Options {
            attempt_timeout: options.attempt_timeout.max(least),
            total_timeout: Some(options.total_timeout.unwrap_or(MAX_RENEWAL).max(least)),
            ..options.clone()
        }
    }

    /// How long to wait for another process that is renewing.
    fn patience(&self) -> Duration {
        self.options.total_timeout.map_or(MAX_RENEWAL + SLACK, |total| total.max(MIN_ATTEMPT))
    }
}

/// The token that is kept, if it is another than the one that is stale, and good.
fn newer(kept: &Kept, stale: Option<&Token>) -> Option<Token> {
    let token = kept.credential.token.as_ref()?;
    let is_other = stale.is_none_or(|stale| stale.access != token.access);
    (is_other && !token.is_over(Timestamp::now())).then(|| token.clone())
}
