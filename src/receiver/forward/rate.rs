//! How many events a second go to a target: a token bucket.

use std::time::{Duration, Instant};

/// Lets so many events a second through, and as many at once after a pause of a second.
#[derive(Debug)]
pub(super) struct RateLimit {
    /// For all receivers together, and for this one.
    of_all: f64,
    per_second: f64,
    /// How many may go now. Below zero after a delivery of many events, which go together.
    tokens: f64,
    filled_at: Instant,
}

impl RateLimit {
    pub(super) fn new(per_second: f64, now: Instant) -> Self {
        Self { of_all: per_second, per_second, tokens: per_second.max(1.0), filled_at: now }
    }

    /// This receiver has its part of the rate, as one of so many.
    pub(super) fn share_among(&mut self, receivers: u32) {
        self.per_second = self.of_all / f64::from(receivers);
    }

    /// Whether an event may go now.
    pub(super) fn has_room(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.filled_at).as_secs_f64();
        self.tokens = (self.tokens + passed * self.per_second).min(self.per_second.max(1.0));
        self.filled_at = now;
        self.tokens >= 1.0
    }

    /// How many forwards may be claimed, each of one event or more.
    pub(super) fn room(&mut self, now: Instant) -> usize {
        // Never negative, and no more than can be in flight at once anyway.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        if self.has_room(now) { self.tokens as usize } else { 0 }
    }

    /// Notes that so many events go.
    pub(super) fn spend(&mut self, events: usize) {
        self.tokens -= f64::from(u32::try_from(events).unwrap_or(u32::MAX));
    }

    /// Notes that an event did not go after all.
    pub(super) fn give_back(&mut self) {
        self.tokens += 1.0;
    }

    /// How long until an event may go.
    pub(super) fn wait(&self) -> Duration {
        Duration::try_from_secs_f64(((1.0 - self.tokens) / self.per_second).max(0.0)).unwrap_or(Duration::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_go_than_so_many_a_second() {
        let start = Instant::now();
        let after = |milliseconds| start + Duration::from_millis(milliseconds);
        let mut rate = RateLimit::new(4.0, start);
        assert_eq!(rate.room(start), 4);
        rate.spend(4);
        assert_eq!((rate.room(start), rate.wait()), (0, Duration::from_millis(250)));
        assert_eq!((rate.room(after(249)), rate.room(after(250)), rate.room(after(10_000))), (0, 1, 4));
        // Many that go together are paid for later.
        rate.spend(12);
        assert_eq!((rate.room(after(12_249)), rate.room(after(12_250))), (0, 1));
        // Of two receivers each has half.
        rate.share_among(2);
        assert_eq!((rate.room(after(20_000)), rate.wait()), (2, Duration::ZERO));
        let mut slow = RateLimit::new(0.1, start);
        assert_eq!(slow.room(start), 1);
        slow.spend(1);
        assert_eq!((slow.room(after(9_999)), slow.room(after(10_000)), slow.wait()), (0, 1, Duration::ZERO));
    }
}
