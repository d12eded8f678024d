//! How events are forwarded.

use std::time::Duration;

use jiff::SignedDuration;

/// How events are forwarded.
#[derive(Debug, Clone)]
pub struct Policy {
    /// The most attempts in flight at once, for each target.
    pub max_in_flight: usize,
    /// How long after it was queued a forward is retried.
    pub max_age: SignedDuration,
    /// The most events a second; no limit if there is none.
    pub rate: Option<f64>,
    /// The upper bound of the first wait before a retry; it doubles with each failure.
    pub first_wait: Duration,
    /// The upper bound of all waits.
    pub longest_wait: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            max_in_flight: 8,
            max_age: SignedDuration::from_hours(72),
            rate: None,
            first_wait: Duration::from_secs(2),
            longest_wait: Duration::from_secs(15 * 60),
        }
    }
}

impl Policy {
    /// A random time up to a bound that doubles with each failure ("full jitter").
    pub(super) fn wait_after(&self, attempts: u32) -> Duration {
        let bound = self.first_wait.saturating_mul(1 << attempts.min(20)).min(self.longest_wait);
        bound.mul_f64(fastrand::f64())
    }
}
