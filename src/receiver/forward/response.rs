//! The response of a target to an attempt. Its `Retry-After` is read where all HTTP responses are: `http::response`.

use std::time::Duration;

/// The outcome of an attempt, and what the target answered.
#[derive(Debug)]
pub(in crate::receiver) struct TargetAnswer {
    pub(super) outcome: TargetResponse,
    /// The status of HTTP, if it answered.
    pub(super) status: Option<u16>,
    /// The beginning of what it answered, without secrets.
    pub(super) answer: Vec<u8>,
}

impl From<TargetResponse> for TargetAnswer {
    fn from(outcome: TargetResponse) -> Self {
        Self { outcome, status: None, answer: Vec::new() }
    }
}

/// The outcome of an attempt.
#[derive(Debug)]
pub(in crate::receiver) enum TargetResponse {
    /// The target accepted the events.
    Accepted,
    /// It did not accept them, or did not respond.
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
    /// The target is failing: other events will fail too.
    Target {
        /// The pause that it asked for.
        pause: Option<Duration>,
        /// Whether it answered at all.
        reached: bool,
    },
    /// It responds, but rejects this event.
    Event,
    /// It accepts nothing any more (410).
    Gone,
}

impl FailureScope {
    /// Whether the target was reached and rejected the event, without asking for a pause.
    pub(super) fn is_an_answer(self) -> bool {
        matches!(self, Self::Event | Self::Target { pause: None, reached: true })
    }
}
