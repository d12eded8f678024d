//! What is worked out of the inbox for people who look at it.

use std::time::Duration;

use jiff::Timestamp;

/// How many delivered forwards a latency is worked out of, at most.
pub(super) const LATENCY_FORWARDS: usize = 10_000;

/// How many forwards are looked at for that, the newest first, whatever became of them.
pub(super) const LATENCY_LOOKS: i64 = 50_000;

/// The events of one type that came within a step of time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventBucket {
    /// When the step begins.
    pub start: Timestamp,
    /// Their type, if they say one.
    pub event_type: Option<String>,
    /// How many.
    pub events: u64,
    /// How many duplicates of them were received, whenever that was.
    pub duplicates: u64,
}

/// How long forwards took from when they were queued until a target accepted them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForwardLatency {
    /// Half of them took no longer.
    pub p50: Duration,
    /// All but one in a hundred took no longer.
    pub p99: Duration,
    /// Out of how many forwards this is.
    pub forwards: u64,
}

impl ForwardLatency {
    /// That of forwards that took so many microseconds; `None` if there is none.
    pub(super) fn of(mut took: Vec<i64>) -> Option<Self> {
        took.sort_unstable();
        // The smallest that is no less than so many of a hundred.
        let rank = |percent: usize| (took.len() * percent).div_ceil(100).saturating_sub(1);
        // A clock that was set back makes a forward end before it began.
        let duration = |micros: i64| Duration::from_micros(u64::try_from(micros).unwrap_or(0));
        let percentile = |percent: usize| took.get(rank(percent)).copied().map(duration);
        Some(Self { p50: percentile(50)?, p99: percentile(99)?, forwards: took.len() as u64 })
    }
}

/// A delivery as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredDelivery {
    /// When it was received.
    pub received_at: Timestamp,
    /// What the sender said the body was.
    pub content_type: Option<String>,
    /// The body as it came, but for what was redacted or deleted.
    pub body: Vec<u8>,
    /// How many events were in it, duplicates too.
    pub events: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_the_nearest_rank() {
        let of = |took: Vec<i64>| {
            ForwardLatency::of(took).map(|latency| (latency.p50.as_micros(), latency.p99.as_micros(), latency.forwards))
        };
        assert_eq!(of(Vec::new()), None);
        assert_eq!(of(vec![7]), Some((7, 7, 1)));
        assert_eq!(of(vec![9, 1, 5, 3]), Some((3, 9, 4)));
        assert_eq!(of((1..=1000).rev().collect()), Some((500, 990, 1000)));
        assert_eq!(of(vec![-5, -5, -5]), Some((0, 0, 3)));
    }
}
