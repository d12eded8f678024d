//! How many requests a server is given at once.

use std::time::{Duration, Instant};

/// How many requests are under way at once, as many as curl has in its parallel mode, unless the server says that it is
/// too many (429).
const CONCURRENCY: usize = 50;

/// For how long further refusals are taken for those of the same burst.
const BURST: Duration = Duration::from_secs(1);

/// How many requests may be under way. It halves when the server asks to slow down and grows again with success.
pub(super) struct Pace {
    limit: usize,
    /// When it was halved last: many answers of one burst say the same.
    slowed: Option<Instant>,
    /// How many answers in a row were none of these.
    taken: usize,
    /// Whether a request was refused, as often as it was sent, although it went alone.
    refused_alone: bool,
}

impl Default for Pace {
    fn default() -> Self {
        Self { limit: CONCURRENCY, slowed: None, taken: 0, refused_alone: false }
    }
}

impl Pace {
    /// How many requests may be under way, one at least.
    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// Some request was refused for being too fast; `alone` says that no other was under way with it.
    pub(super) fn slow_down(&mut self, alone: bool) {
        self.refused_alone |= alone;
        self.taken = 0;
        if self.slowed.is_none_or(|slowed| slowed.elapsed() >= BURST) {
            self.limit = (self.limit / 2).max(1);
            self.slowed = Some(Instant::now());
        }
    }

    /// A request was answered, and was not too fast. As many as may be under way make room for one more.
    pub(super) fn speed_up(&mut self) {
        self.refused_alone = false;
        self.taken += 1;
        if self.taken >= self.limit {
            self.limit = (self.limit + 1).min(CONCURRENCY);
            self.taken = 0;
        }
    }

    /// Whether the server does not even take one request at a time.
    pub(super) fn is_hopeless(&self) -> bool {
        self.refused_alone
    }
}
