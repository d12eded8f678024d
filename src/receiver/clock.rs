//! The time, passed as an argument so that tests neither sleep nor depend on the clock.
//!
//! The system's clock may jump: it is set, or the machine slept. Waits do not follow it then, but go on with the monotonic
//! clock; and nothing is dead-lettered or removed by its word before it has held for an hour. The same holds at a start when
//! the newest event is in the future, or a day old: that may be the truth, or a clock that jumped while no receiver ran.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

/// By how much the clock may differ from what the monotonic one says it should be.
const TOLERANCE: SignedDuration = SignedDuration::from_secs(60);

/// How long a clock that jumped must hold until it is trusted.
const HOLD: Duration = Duration::from_secs(60 * 60);

/// How old the newest event may be at a start for the clock to be trusted.
const QUIET: SignedDuration = SignedDuration::from_hours(24);

/// A moment, on both clocks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    /// The monotonic clock, for durations.
    pub(super) instant: Instant,
    /// The time for waits that are stored: it goes on with the monotonic clock when the system's clock jumps.
    pub(super) time: Timestamp,
    /// The system's clock, for people.
    pub(super) wall: Timestamp,
    /// The time by which something is too old; `None` while the clock is not trusted.
    pub(super) trusted: Option<Timestamp>,
}

impl Moment {
    /// A moment at which the clock is trusted.
    #[cfg(test)]
    pub(super) fn of(instant: Instant, time: Timestamp) -> Self {
        Self { instant, time, wall: time, trusted: Some(time) }
    }
}

/// The clock of a receiver.
#[derive(Debug, Clone)]
pub(super) struct Clock(Arc<Mutex<ClockState>>);

#[derive(Debug)]
struct ClockState {
    /// When the time was known last.
    known: (Instant, Timestamp),
    /// How far the system's clock is ahead of that since it jumped; negative if it is behind.
    ahead: SignedDuration,
    /// Until when it is not trusted.
    doubted_until: Option<Instant>,
}

impl Clock {
    /// The clock at the start of a receiver whose newest event is from then.
    pub(super) fn start(newest: Option<Timestamp>) -> Self {
        Self::begin(Instant::now(), Timestamp::now(), newest)
    }

    fn begin(instant: Instant, wall: Timestamp, newest: Option<Timestamp>) -> Self {
        let age = newest.map_or(SignedDuration::ZERO, |newest| wall.duration_since(newest));
        let doubted = age < -TOLERANCE || age > QUIET;
        if age < -TOLERANCE {
            tracing::warn!(
                "the newest event is {age:#} in the future of the system's clock: nothing is dead-lettered or removed \
                 for being old before the clock has held for an hour",
                age = age.abs()
            );
        }
        let doubted_until = doubted.then(|| instant + HOLD);
        Self(Arc::new(Mutex::new(ClockState { known: (instant, wall), ahead: SignedDuration::ZERO, doubted_until })))
    }

    /// The current moment.
    pub(super) fn now(&self) -> Moment {
        self.read(Instant::now(), Timestamp::now())
    }

    fn read(&self, instant: Instant, wall: Timestamp) -> Moment {
        // A panic of another thread leaves a state that was right before.
        self.0.lock().unwrap_or_else(PoisonError::into_inner).read(instant, wall)
    }
}

impl ClockState {
    fn read(&mut self, instant: Instant, wall: Timestamp) -> Moment {
        let (then, time) = self.known;
        let expected = time.checked_add(instant.saturating_duration_since(then)).unwrap_or(wall);
        let ahead = wall.duration_since(expected);
        let held = self.doubted_until.is_none_or(|until| instant >= until);
        let time = if ahead.abs() <= TOLERANCE {
            if !self.ahead.is_zero() {
                tracing::warn!("the system's clock is back");
                (self.ahead, self.doubted_until) = (SignedDuration::ZERO, None);
            }
            self.known = (instant, wall);
            wall
        } else if (ahead - self.ahead).abs() > TOLERANCE {
            tracing::warn!(
                "the system's clock jumped {by:#} {way}: waits go on as before, and nothing is dead-lettered or removed \
                 for being old before it has held for an hour",
                by = ahead.abs(),
                way = if ahead.is_positive() { "forward" } else { "back" }
            );
            (self.ahead, self.doubted_until) = (ahead, Some(instant + HOLD));
            return Moment { instant, time: expected, wall, trusted: None };
        } else if held {
            tracing::warn!("the system's clock has held for an hour since it jumped, and is trusted again");
            (self.ahead, self.known) = (SignedDuration::ZERO, (instant, wall));
            wall
        } else {
            expected
        };
        if held {
            self.doubted_until = None;
        }
        Moment { instant, time, wall, trusted: self.doubted_until.is_none().then_some(time) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 24 * 3600;

    /// A clock, and what it says so many seconds after the start when the system's clock is so many seconds off.
    struct Set {
        clock: Clock,
        start: (Instant, Timestamp),
    }

    impl Set {
        fn new(newest: Option<i64>) -> Self {
            let start: (Instant, Timestamp) = (Instant::now(), "2026-06-01T12:00:00Z".parse().unwrap());
            let newest = newest.map(|age| start.1 - SignedDuration::from_secs(age));
            Self { clock: Clock::begin(start.0, start.1, newest), start }
        }

        /// For how many seconds waits have gone on, and whether the clock is trusted.
        fn at(&self, seconds: u64, off: i64) -> (i64, bool) {
            let wall = self.start.1 + Duration::from_secs(seconds) + SignedDuration::from_secs(off);
            let now = self.clock.read(self.start.0 + Duration::from_secs(seconds), wall);
            assert!(now.wall == wall && now.trusted.is_none_or(|trusted| trusted == now.time));
            (now.time.duration_since(self.start.1).as_secs(), now.trusted.is_some())
        }
    }

    #[test]
    fn small_steps_are_followed() {
        let set = Set::new(None);
        for (seconds, off) in [(0, 0), (10, 30), (20, 80), (30, 25), (7230, 0)] {
            assert_eq!(set.at(seconds, off), (i64::try_from(seconds).unwrap() + off, true));
        }
    }

    #[test]
    fn a_jump_is_believed_once_it_has_held_for_an_hour() {
        for off in [31 * DAY, -2 * DAY, 4 * DAY, 90] {
            let set = Set::new(None);
            assert_eq!(set.at(10, 0), (10, true));
            assert_eq!(set.at(20, off), (20, false));
            assert_eq!(set.at(3619, off + 5), (3619, false));
            assert_eq!(set.at(3620, off), (3620 + off, true));
            assert_eq!(set.at(3700, off), (3700 + off, true));
        }
    }

    #[test]
    fn a_clock_that_jumps_again_must_hold_again_and_one_that_is_back_is_trusted() {
        let set = Set::new(None);
        assert_eq!(set.at(10, DAY), (10, false));
        assert_eq!(set.at(3000, 2 * DAY), (3000, false));
        assert_eq!(set.at(3700, 2 * DAY), (3700, false));
        assert_eq!(set.at(3800, 1), (3801, true));
        assert_eq!(set.at(3900, -DAY), (3901, false));
    }

    #[test]
    fn a_store_that_was_quiet_or_is_ahead_delays_the_first_judgement() {
        for (newest, trusted) in [(0, true), (DAY, true), (DAY + 1, false), (-60, true), (-61, false)] {
            let set = Set::new(Some(newest));
            assert_eq!(set.at(5, 0), (5, trusted), "{newest}");
            assert_eq!(set.at(3600, 0), (3600, true), "{newest}");
        }
    }
}
