//! What a target answers to an attempt.

use std::time::Duration;

/// What came of an attempt.
#[derive(Debug)]
pub(in crate::receiver) enum TargetResponse {
    /// The target has it.
    Accepted,
    /// It does not, or did not say so.
    Failed {
        /// Why.
        error: String,
        /// What that says about the target.
        scope: FailureScope,
    },
}

/// What a failure says about a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::receiver) enum FailureScope {
    /// It is not well: others will fail too.
    Target {
        /// How long it asked to be paused.
        pause: Option<Duration>,
        /// Whether it answered at all.
        reached: bool,
    },
    /// It answers, but does not take this event.
    Event,
    /// It wants nothing any more.
    Gone,
}

impl FailureScope {
    /// Whether the target was reached and said no, without asking for a pause.
    pub(super) fn is_an_answer(self) -> bool {
        matches!(self, Self::Event | Self::Target { pause: None, reached: true })
    }
}
