//! The time, as an argument: what is done at a moment is a function of it, so that tests neither wait nor guess.

use std::time::Instant;

use jiff::Timestamp;

/// A moment, on both clocks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    /// For how long something took or is to last: this clock is never set.
    pub(super) instant: Instant,
    /// For what is stored.
    pub(super) time: Timestamp,
}

impl Moment {
    /// This one.
    pub(super) fn now() -> Self {
        Self { instant: Instant::now(), time: Timestamp::now() }
    }
}
