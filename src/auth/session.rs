//! A sign-in in use: its token, and renewing it.
//!
//! Refresh tokens work once, so that renewing is done by one process at a time, under a lock; the new credential is
//! durable before anybody uses it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tracing::dispatcher;

use super::credential::{Credential, Grant, Token};
use super::renewer::{Origin, Renewer};
use super::vault::CredentialLocation;
use crate::domain::{AccessToken, ApiOrigin};
use crate::error::{Error, ErrorKind, Result};
use crate::http;
use crate::platform::StopSignals;

/// After how long a command that was interrupted says what it is waiting for.
const SILENCE: Duration = Duration::from_millis(500);

/// How long a renewal that failed is not tried again by the same command.
const RESPITE: Duration = Duration::from_secs(60);

/// A sign-in in use.
#[derive(Debug)]
pub struct Session {
    renewer: Arc<Renewer>,
    token: Mutex<Option<Token>>,
    /// Held while the token is being renewed, so that one request for it does for all.
    renewing: tokio::sync::Mutex<()>,
    in_flight: Mutex<Option<oneshot::Receiver<()>>>,
    /// Whether renewing in time has failed, so that the token is used to its end.
    put_off: AtomicBool,
    /// When renewing failed last, and why: what failed for one request fails for those beside it.
    failed: Mutex<Option<(Instant, Error)>>,
}

impl Session {
    /// A session with what was found.
    pub fn new(
        credential: Credential,
        place: CredentialLocation,
        origin: Origin,
        installation: ApiOrigin,
        options: http::ClientOptions,
    ) -> Self {
        let Credential { grant, token } = credential;
        let renewer = Renewer { grant, place, origin, installation, options, phase: Mutex::default() };
        Self {
            renewer: Arc::new(renewer),
            token: Mutex::new(token),
            renewing: tokio::sync::Mutex::default(),
            in_flight: Mutex::default(),
            put_off: AtomicBool::default(),
            failed: Mutex::default(),
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
        if let Some((when, error)) = &*self.failed.lock().unwrap_or_else(PoisonError::into_inner)
            && when.elapsed() < RESPITE
        {
            return Err(error.again());
        }
        let renewed = self.renew_in_thread(stale).await;
        if let Err(error) = &renewed {
            *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), error.again()));
        }
        renewed
    }

    async fn renew_in_thread(&self, stale: Option<Token>) -> Result<AccessToken> {
        let (send, outcome) = oneshot::channel();
        let (working, finished) = oneshot::channel::<()>();
        *self.in_flight.lock().unwrap_or_else(PoisonError::into_inner) = Some(finished);
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
        self.put_off.store(false, Ordering::Relaxed);
        Ok(access)
    }

    fn lock_token(&self) -> MutexGuard<'_, Option<Token>> {
        self.token.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An answer that is under way may hold the only refresh token that is good: it is waited for, unless somebody insists.
impl Drop for Session {
    fn drop(&mut self) {
        let in_flight = self.in_flight.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        let Some(finished) = in_flight else { return };
        if self.renewer.cancel() {
            return;
        }
        let Ok(runtime) = Builder::new_current_thread().enable_all().build() else { return };
        runtime.block_on(async {
            tokio::pin!(finished);
            // People and programs that stop others do so twice: nobody insists before they know what on.
            if tokio::time::timeout(SILENCE, &mut finished).await.is_ok() {
                return;
            }
            tracing::warn!("waiting for the end of a renewal, which the sign-in depends on; Ctrl-C gives it up");
            match StopSignals::listen() {
                Ok(mut signals) => tokio::select! { _ = finished => {}, _ = signals.next() => {} },
                // An error is what its end looks like from here.
                Err(_) => drop(finished.await),
            }
        });
    }
}
