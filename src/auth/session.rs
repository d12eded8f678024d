//! A sign-in in use: its token, and renewing it.
//!
//! Refresh tokens work once, so that renewing is done by one process at a time, under a lock; the new credential is
//! durable before anybody uses it.

use std::sync::atomic::{AtomicBool, Ordering};
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
use crate::platform::{self, StopSignals};

/// The least time for an attempt to use a refresh token, whatever `--timeout` says: an answer that is not waited for
/// may hold the only token that is still good.
const MIN_ATTEMPT: Duration = Duration::from_secs(30);

/// The least time that another process waits for a renewal, whatever `--timeout` says.
const MIN_PATIENCE: Duration = Duration::from_secs(5);

/// The longest time for all attempts to renew.
const MAX_RENEWAL: Duration = Duration::from_secs(60);

/// How much longer than a renewal may take another process waits for it, when nobody set a time.
const SLACK: Duration = Duration::from_secs(15);

/// After how long a command that was interrupted says what it is waiting for.
const SILENCE: Duration = Duration::from_millis(500);

/// A sign-in in use.
#[derive(Debug)]
pub struct Session {
    renewer: Arc<Renewer>,
    token: Mutex<Option<Token>>,
    /// Held while the token is being renewed, so that one request for it does for all.
    renewing: tokio::sync::Mutex<()>,
    under_way: Mutex<Option<oneshot::Receiver<()>>>,
    /// Whether renewing in time has failed, so that the token is used to its end.
    put_off: AtomicBool,
}

/// How far a renewal is, which decides what an interruption does to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Phase {
    /// It waits for its turn: nothing is lost with it.
    #[default]
    Waiting,
    /// A refresh token is under way, and its successor may be.
    UnderWay,
    /// The command has ended: nothing more is to be begun.
    Cancelled,
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
        let renewer = Renewer { grant, place, origin, installation, options, phase: Mutex::default() };
        Self {
            renewer: Arc::new(renewer),
            token: Mutex::new(token),
            renewing: tokio::sync::Mutex::default(),
            under_way: Mutex::default(),
            put_off: AtomicBool::default(),
        }
    }

    /// The token, if it can be used without asking for another.
    pub fn current(&self) -> Option<AccessToken> {
        let now = Timestamp::now();
        let put_off = self.put_off.load(Ordering::Relaxed);
        let usable = |token: &&Token| !self.is_renewable() || token.is_fresh(now) || put_off && !token.is_over(now);
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
        match (self.renew(stale.clone()).await, stale) {
            // It is time to renew it, but not yet too late.
            (Err(error), Some(token)) if error.kind().retryable() && !token.is_over(Timestamp::now()) => {
                tracing::warn!("{error}; the token is good until {}", token.until());
                self.put_off.store(true, Ordering::Relaxed);
                Ok(token.access)
            }
            (renewed, _) => renewed,
        }
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
        let (working, finished) = oneshot::channel::<()>();
        *self.under_way.lock().unwrap_or_else(PoisonError::into_inner) = Some(finished);
        let renewer = Arc::clone(&self.renewer);
        let log = dispatcher::get_default(Clone::clone);
        std::thread::Builder::new().name("renewal".to_owned()).spawn(move || {
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

/// An answer that is under way may hold the only refresh token that is good: it is waited for, unless somebody insists.
impl Drop for Session {
    fn drop(&mut self) {
        let under_way = self.under_way.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        let Some(finished) = under_way else { return };
        if self.renewer.cancel() {
            return;
        }
        let Ok(runtime) = Builder::new_current_thread().enable_all().build() else { return };
        runtime.block_on(async {
            let wait = async {
                tokio::pin!(finished);
                if tokio::time::timeout(SILENCE, &mut finished).await.is_err() {
                    tracing::warn!(
                        "waiting for the end of a renewal, which the sign-in depends on; Ctrl-C gives it up"
                    );
                    // An error is what its end looks like from here.
                    let _ = finished.await;
                }
            };
            match StopSignals::listen() {
                Ok(mut signals) => tokio::select! { () = wait => {}, _ = signals.next() => {} },
                Err(_) => wait.await,
            }
        });
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
    phase: Mutex<Phase>,
}

impl Renewer {
    /// Ends what has not begun. Says whether there is nothing to wait for.
    fn cancel(&self) -> bool {
        let mut phase = self.phase.lock().unwrap_or_else(PoisonError::into_inner);
        if *phase == Phase::Waiting {
            *phase = Phase::Cancelled;
        }
        *phase == Phase::Cancelled
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

    fn renew(&self, stale: Option<&Token>) -> Result<Token> {
        let Some((vault, slot)) = self.origin.place() else {
            return self.ask_once();
        };
        let since = Timestamp::now();
        match vault.lock(slot, self.patience()) {
            Ok(lock) => {
                if let Some(message) = lock.failure_since(since) {
                    return Err(
                        Error::new(ErrorKind::Unavailable, message).hint("try again later; the sign-in is kept")
                    );
                }
                let renewed = self.renew_kept(vault, slot, &lock, stale);
                if let Err(error) = &renewed
                    && error.kind() == ErrorKind::Unavailable
                {
                    lock.note_failure(error);
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

    fn not_kept(&self, error: &Error) -> Result<Token> {
        say_not_kept(error);
        self.ask_once()
    }

    fn ask_once(&self) -> Result<Token> {
        self.ask(&self.grant).map(|granted| granted.token).map_err(Refusal::into_error)
    }

    /// Asks the token endpoint.
    fn ask(&self, grant: &Grant) -> Result<Granted, Refusal> {
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
            total_timeout: Some(options.total_timeout.map_or(MAX_RENEWAL, |total| total.max(least))),
            ..options.clone()
        }
    }

    /// How long to wait for another process that is renewing.
    fn patience(&self) -> Duration {
        self.options.total_timeout.map_or(MAX_RENEWAL + SLACK, |total| total.max(MIN_PATIENCE))
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
