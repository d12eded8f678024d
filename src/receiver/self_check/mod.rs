//! The receiver's check of itself: it calls its public URL, as Bugfender does, to see whether deliveries arrive.
//!
//! The request goes the way of deliveries, to `/bugfender/self-check-NONCE`, and the receiver answers it with what only a
//! holder of its key can know ([`crate::domain::SelfCheckKeys`]). Any other answer means that somebody else gave it.

mod attempt;
mod state;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use tokio::sync::{Notify, watch};
use url::Url;

pub use self::state::{SelfCheckFailure, SelfCheckState};

use self::attempt::PublicEntrance;
use self::state::{SelfCheckChange, SelfCheckSeries};
use super::metrics::Metrics;
use super::verifier::Verifier;
use crate::domain::whole_second;
use crate::error::Result;
use crate::http::Roots;

/// How long after the receiver began to serve it checks itself first: a proxy or tunnel may start beside it.
const FIRST_WAIT: Duration = Duration::from_secs(2);

/// How a receiver checks whether deliveries arrive.
#[derive(Debug, Clone)]
pub struct SelfCheck {
    entrance: PublicEntrance,
    interval: Duration,
    state: watch::Sender<SelfCheckState>,
}

impl SelfCheck {
    /// Checks the URL that Bugfender's key is appended to, this often. On loopback no proxy is used.
    ///
    /// # Errors
    /// A usage error when the certificate authorities cannot be loaded, or a proxy variable is malformed.
    pub fn new(url: Url, is_loopback: bool, roots: Roots, interval: Duration) -> Result<Self> {
        Ok(Self { entrance: PublicEntrance::new(url, is_loopback, roots)?, interval, state: watch::Sender::default() })
    }

    /// What is known, also before the receiver begins; changes are heard.
    pub fn watch(&self) -> watch::Receiver<SelfCheckState> {
        self.state.subscribe()
    }
}

/// Checks it, and tells.
pub(super) struct SelfChecker {
    entrance: PublicEntrance,
    series: SelfCheckSeries,
    verifier: Arc<ArcSwap<Verifier>>,
    metrics: Arc<Metrics>,
    /// Asks for a check at once.
    wake: Arc<Notify>,
    state: watch::Sender<SelfCheckState>,
}

impl SelfChecker {
    pub(super) fn new(
        check: SelfCheck,
        verifier: Arc<ArcSwap<Verifier>>,
        metrics: Arc<Metrics>,
        wake: Arc<Notify>,
    ) -> Self {
        let SelfCheck { entrance, interval, state } = check;
        Self { entrance, series: SelfCheckSeries::new(interval), verifier, metrics, wake, state }
    }

    /// What is known; changes are heard.
    pub(super) fn watch(&self) -> watch::Receiver<SelfCheckState> {
        self.state.subscribe()
    }

    /// Checks until aborted.
    pub(super) async fn run(mut self) {
        let mut wait = FIRST_WAIT;
        loop {
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.wake.notified() => {}
            }
            // The keys may have been replaced.
            let verifier = self.verifier.load_full();
            let outcome = self.entrance.check(verifier.keys().self_check()).await;
            drop(verifier);
            match &outcome {
                Ok(()) => tracing::debug!("a self-check passed"),
                Err(failure) => tracing::debug!("a self-check failed: {failure}"),
            }
            if let Some(change) = self.series.step(outcome, Timestamp::now()) {
                tell(change, self.series.state());
            }
            self.metrics.self_checked(self.series.state().is_passing());
            self.state.send_if_modified(|known| {
                let changed = known != self.series.state();
                known.clone_from(self.series.state());
                changed
            });
            wait = self.series.wait(fastrand::f64());
        }
    }
}

/// Logs a change.
fn tell(change: SelfCheckChange, state: &SelfCheckState) {
    match (change, state) {
        (SelfCheckChange::Fails, SelfCheckState::Failing { reason, .. }) => {
            tracing::warn!("the self-check is failing, and deliveries may not arrive: {reason}; {}", reason.advice());
        }
        (SelfCheckChange::Recovered(since), _) => {
            tracing::warn!("the self-check has recovered: it was failing since {}", whole_second(since));
        }
        _ => tracing::info!("the self-check is passing"),
    }
}
