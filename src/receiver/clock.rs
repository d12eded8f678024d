//! The time, passed as an argument so that tests neither sleep nor depend on the clock.

use std::time::Instant;

use jiff::Timestamp;

/// A moment, on both clocks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    /// The monotonic clock, for durations.
    pub(super) instant: Instant,
    /// The wall clock, for what is stored.
    pub(super) time: Timestamp,
}

impl Moment {
    /// The current moment.
    pub(super) fn now() -> Self {
        Self { instant: Instant::now(), time: Timestamp::now() }
    }
}
