//! A session: the current token and its renewal.
//!
//! Refresh tokens can be used once, so only one process at a time renews, under a lock, and the new credential is
//! stored durably before it is used.

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

/// After how long an interrupted command says what it waits for.
const NOTICE_DELAY: Duration = Duration::from_millis(500);

/// How long a failed renewal is not retried by the same command.
const RENEWAL_BACKOFF: Duration = Duration::from_secs(60);

/// A credential in use, whose token is renewed automatically.
#[derive(Debug)]
pub struct Session {
    renewer: Arc<Renewer>,
    token: Mutex<Option<Token>>,
    /// Held during a renewal, so that concurrent requests share its result.
    renewing: tokio::sync::Mutex<()>,
    in_flight: Mutex<Option<oneshot::Receiver<()>>>,
    /// Whether an early renewal has failed, so that the token is used until it expires.
    use_until_expiry: AtomicBool,
    /// When the last renewal failed, and why, so that concurrent requests do not repeat it.
    failed: Mutex<Option<(Instant, Error)>>,
}

impl Session {
    /// A session with this credential.
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
            use_until_expiry: AtomicBool::default(),
            failed: Mutex::default(),
        }
    }

    /// The token, if it can be used without renewing it.
    pub fn current(&self) -> Option<AccessToken> {
        let now = Timestamp::now();
        let use_until_expiry = self.use_until_expiry.load(Ordering::Relaxed);
        let usable =
            |token: &&Token| !self.is_renewable() || token.is_fresh(now) || use_until_expiry && !token.is_expired(now);
        self.lock_token().as_ref().filter(usable).map(|token| token.access.clone())
    }

    /// The token, renewed if necessary.
    ///
    /// # Errors
    /// When the renewal fails and the token has expired.
    pub async fn token(&self) -> Result<AccessToken> {
        if let Some(token) = self.current() {
            return Ok(token);
        }
        let _guard = self.renewing.lock().await;
        // A concurrent request may have renewed it.
        if let Some(token) = self.current() {
            return Ok(token);
        }
        let stale = self.lock_token().clone();
        match (self.renew(stale.clone()).await, stale) {
            // It has not expired yet.
            (Err(error), Some(token)) if error.kind().retryable() && !token.is_expired(Timestamp::now()) => {
                tracing::warn!("{error}; the token is valid until {}", token.until());
                self.use_until_expiry.store(true, Ordering::Relaxed);
                Ok(token.access)
            }
            (renewed, _) => renewed,
        }
    }

    /// A replacement for `rejected`, which the server rejected; `None` if another token would be rejected too.
    ///
    /// Bugfender sends 401 without credentials, and 403 both for invalid credentials and for missing permissions, so a
    /// 403 for a new token means a missing permission.
    ///
    /// # Errors
    /// When the renewal fails.
    pub async fn replace(&self, rejected: &AccessToken, status: http::StatusCode) -> Result<Option<AccessToken>> {
        if !self.is_renewable() {
            return Ok(None);
        }
        let _guard = self.renewing.lock().await;
        let stale = self.lock_token().clone();
        match &stale {
            Some(token) if token.access != *rejected => return Ok(Some(token.access.clone())),
            Some(token) if status == http::StatusCode::FORBIDDEN && token.is_new(Timestamp::now()) => return Ok(None),
            _ => {}
        }
        tracing::info!(status = status.as_u16(), "the token was rejected; renewing it");
        self.renew(stale).await.map(Some)
    }

    fn is_renewable(&self) -> bool {
        self.renewer.grant != Grant::None
    }

    /// Renews in a separate thread, so that an interruption does not abort it and its locks block nothing else.
    async fn renew(&self, stale: Option<Token>) -> Result<AccessToken> {
        if let Some((when, error)) = &*self.failed.lock().unwrap_or_else(PoisonError::into_inner)
            && when.elapsed() < RENEWAL_BACKOFF
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
            // Fails after an interruption, when the receiver is gone.
            let _ = send.send(token);
            drop(working);
        })?;
        let token = outcome.await.map_err(|_| Error::new(ErrorKind::Other, "renewing the token failed"))??;
        let access = token.access.clone();
        *self.lock_token() = Some(token);
        self.use_until_expiry.store(false, Ordering::Relaxed);
        Ok(access)
    }

    fn lock_token(&self) -> MutexGuard<'_, Option<Token>> {
        self.token.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits for a renewal in flight, whose response may contain the only valid refresh token, unless interrupted again.
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
            // Signals are ignored until the warning, as users and supervisors often send two at once.
            if tokio::time::timeout(NOTICE_DELAY, &mut finished).await.is_ok() {
                return;
            }
            tracing::warn!("waiting for the token renewal, to keep you signed in; press Ctrl-C to abort it");
            match StopSignals::listen() {
                Ok(mut signals) => tokio::select! { _ = finished => {}, _ = signals.next() => {} },
                // An error means that the thread has finished.
                Err(_) => drop(finished.await),
            }
        });
    }
}
