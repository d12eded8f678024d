//! What can be replaced of a receiver while it serves.

use std::sync::Arc;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use tokio::sync::Notify;

use super::forward::Target;
use super::forwarders::TargetReplacer;
use super::metrics::Metrics;
use super::tls::Tls;
use super::verifier::Verifier;
use crate::domain::delivery::DeliveryKeys;
use crate::error::Result;

/// The parts of a receiver that can be replaced while it serves.
#[derive(Clone)]
pub struct Replaceable {
    pub(super) verifier: Arc<ArcSwap<Verifier>>,
    pub(super) tls: Option<Arc<Tls>>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) targets: TargetReplacer,
    /// Asks for a self-check at once.
    pub(super) check_now: Arc<Notify>,
}

impl Replaceable {
    /// Verifies with these keys, from the next request on.
    pub fn replace_keys(&self, delivery_keys: DeliveryKeys) {
        self.verifier.store(Arc::new(Verifier::new(delivery_keys)));
    }

    /// Forwards to these targets, from the next event on. What is pending for one that was there before goes on if it is among
    /// them, and is kept if not.
    ///
    /// # Errors
    /// When they could not be put on record; those before stay.
    pub async fn replace_targets(&self, targets: Vec<Target>) -> Result<()> {
        self.targets.replace(targets).await
    }

    /// Reads the certificate and its key again, for connections that are made from now on. Says whether there is one.
    ///
    /// # Errors
    /// When they cannot be read, or do not belong together; those that were read before stay in use.
    pub fn reread_certificate(&self) -> Result<bool> {
        let Some(tls) = &self.tls else { return Ok(false) };
        tls.reload()?;
        self.metrics.certificate_expires(tls.expiry());
        Ok(true)
    }

    /// When the certificate, or one of its chain, expires, if that can be read from it.
    pub fn certificate_expiry(&self) -> Option<Timestamp> {
        self.tls.as_ref()?.expiry()
    }

    /// Checks at once whether deliveries arrive, if that is checked at all.
    pub fn check_itself(&self) {
        self.check_now.notify_one();
    }
}
