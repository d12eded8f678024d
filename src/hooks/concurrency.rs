//! How many requests a server is given at once, and when.

use std::time::{Duration, Instant};

/// How many requests are in flight at once, as many as curl has in its parallel mode, unless the server says that it is
/// too many (429).
const CONCURRENCY: usize = 50;

/// For how long nothing is sent after the first refusal; it doubles with each that follows, until a request is accepted.
const FIRST_BACKOFF: Duration = Duration::from_millis(100);

/// The longest such pause.
const MAX_BACKOFF: Duration = Duration::from_secs(1);

/// After this many consecutive rejections of requests sent alone, the server is taken to accept none.
const LONE_REFUSALS: u32 = 3;

/// So many more requests than may be in flight are to be accepted before there may be one more.
const GROWTH_STEP: usize = 8;

/// How many requests may be in flight. It halves, after a pause, when the server asks to slow down, and grows again with
/// success.
pub(super) struct ConcurrencyLimit {
    limit: usize,
    /// The most that it may grow to.
    max: usize,
    /// Until when nothing is sent.
    paused_until: Option<Instant>,
    /// How many pauses there were since a request was accepted.
    pauses: u32,
    /// How many requests were accepted since one was refused, or since there may be one more.
    accepted: usize,
    /// How many requests in a row were refused, as often as each was sent, although they went alone.
    lone_refusals: u32,
    /// How many of these are enough.
    enough: u32,
}

impl ConcurrencyLimit {
    /// The limit for so many hooks.
    pub(super) fn new(hooks: usize) -> Self {
        Self::at_most(CONCURRENCY, hooks)
    }

    /// The same, with no more requests at once than `max`.
    pub(super) fn at_most(max: usize, hooks: usize) -> Self {
        // With a single hook, one rejection is enough.
        let enough = if hooks == 1 { 1 } else { LONE_REFUSALS };
        Self { limit: max, max, paused_until: None, pauses: 0, accepted: 0, lone_refusals: 0, enough }
    }

    /// How many requests may be in flight: one at least, but for a pause.
    pub(super) fn limit(&self) -> usize {
        if self.pause().is_some() { 0 } else { self.limit }
    }

    /// How long nothing is to be sent, if there is a pause.
    pub(super) fn pause(&self) -> Option<Duration> {
        self.paused_until?.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
    }

    /// A request was refused for being too fast, one of so many that were in flight; `alone` says that there was no other
    /// from its sending to its answer.
    pub(super) fn slow_down(&mut self, in_flight: usize, alone: bool) {
        self.accepted = 0;
        self.lone_refusals = if alone { self.lone_refusals + 1 } else { 0 };
        // A request rejected during a pause was sent before it, and does not lengthen it.
        if self.pause().is_none() {
            self.limit = (self.limit.min(in_flight) / 2).max(1);
            self.paused_until = Some(Instant::now() + (FIRST_BACKOFF * (1 << self.pauses.min(10))).min(MAX_BACKOFF));
            self.pauses += 1;
        }
    }

    /// A request was answered, and was not too fast.
    pub(super) fn speed_up(&mut self) {
        (self.pauses, self.lone_refusals) = (0, 0);
        self.accepted += 1;
        if self.accepted >= self.limit + GROWTH_STEP {
            self.limit = (self.limit + 1).min(self.max);
            self.accepted = 0;
        }
    }

    /// Whether the server does not even accept one request at a time.
    pub(super) fn is_hopeless(&self) -> bool {
        self.lone_refusals >= self.enough
    }
}
