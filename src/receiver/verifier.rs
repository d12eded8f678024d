//! Verifies deliveries with the current keys.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::domain::delivery::{DeliveryKeys, Verified};

/// Verifies deliveries, and warns about former keys.
pub(super) struct Verifier {
    delivery_keys: DeliveryKeys,
    /// Whether the use of a former key was logged.
    told_of_former: AtomicBool,
}

impl Verifier {
    pub(super) fn new(delivery_keys: DeliveryKeys) -> Self {
        Self { delivery_keys, told_of_former: AtomicBool::new(false) }
    }

    /// The keys.
    pub(super) fn keys(&self) -> &DeliveryKeys {
        &self.delivery_keys
    }

    /// Verifies the key of a path; logs the first use of a former one.
    pub(super) fn verify_bugfender(&self, key: &str) -> Option<Verified> {
        let verified = self.delivery_keys.verify_bugfender(key)?;
        if let Some(until) = verified.former_key_until()
            && !self.told_of_former.swap(true, Ordering::Relaxed)
        {
            tracing::warn!(
                "a hook still delivers to a former URL, which is accepted until {until}: replace it by then"
            );
        }
        Some(verified)
    }
}
