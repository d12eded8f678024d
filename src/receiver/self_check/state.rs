//! What is known of whether deliveries arrive, and what the next check waits for.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::domain::whole_second;
use crate::error::Error;

/// How long after a failure it is tried a second time: what passes by then is no news.
const SECOND_TRY: Duration = Duration::from_secs(2);

/// How often it is tried while it fails, unless the interval is shorter.
const WHILE_FAILING: Duration = Duration::from_secs(30);

/// What to do about a failure of which no more is known.
pub(super) const GENERAL_ADVICE: &str = "check what stands between --public-url and this receiver";

/// Whether the receiver is reached by its public URL.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum SelfCheckState {
    /// It was not checked yet, or only once and without success.
    #[default]
    Unknown,
    /// It is, since then.
    Passing {
        /// When it was reached for the first time in a row.
        since: Timestamp,
    },
    /// It is not, since then.
    Failing {
        /// When it was not reached for the first time in a row.
        since: Timestamp,
        /// Why it was not reached the last time.
        reason: SelfCheckFailure,
    },
}

impl SelfCheckState {
    /// Its name in JSON.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Passing { .. } => "passing",
            Self::Failing { .. } => "failing",
        }
    }

    /// Whether it passes; `None` while that is not known.
    pub fn is_passing(&self) -> Option<bool> {
        match self {
            Self::Unknown => None,
            Self::Passing { .. } => Some(true),
            Self::Failing { .. } => Some(false),
        }
    }

    /// For `/readyz`.
    pub(in super::super) fn details(&self) -> Value {
        let (since, reason) = match self {
            Self::Unknown => (None, None),
            Self::Passing { since } => (Some(since), None),
            Self::Failing { since, reason } => (Some(since), Some(&reason.what)),
        };
        let since = since.map(|since| whole_second(*since).to_string());
        json!({"state": self.as_str(), "since": since, "reason": reason})
    }
}

/// Why the receiver was not reached, and what to do about it. Of the URL there is no more in it than where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SelfCheckFailure {
    what: String,
    advice: String,
}

impl SelfCheckFailure {
    /// A failure, in words.
    pub(super) fn new(what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { what: what.into(), advice: advice.into() }
    }

    /// What to do about it.
    pub fn advice(&self) -> &str {
        &self.advice
    }
}

impl From<&Error> for SelfCheckFailure {
    fn from(error: &Error) -> Self {
        let advice = error.hints().first().map_or(GENERAL_ADVICE, String::as_str);
        Self::new(error.to_string(), advice)
    }
}

impl fmt::Display for SelfCheckFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

/// What a check changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SelfCheckChange {
    /// It passes, and that was not known before.
    Passes,
    /// It fails.
    Fails,
    /// It passes again, after it failed since then.
    Recovered(Timestamp),
}

/// The checks in their order.
#[derive(Debug)]
pub(super) struct SelfCheckSeries {
    interval: Duration,
    state: SelfCheckState,
    /// When the first try failed, if the second is due.
    doubted: Option<Timestamp>,
}

impl SelfCheckSeries {
    pub(super) fn new(interval: Duration) -> Self {
        Self { interval, state: SelfCheckState::default(), doubted: None }
    }

    pub(super) fn state(&self) -> &SelfCheckState {
        &self.state
    }

    /// Notes the outcome of a check.
    pub(super) fn step(&mut self, outcome: Result<(), SelfCheckFailure>, now: Timestamp) -> Option<SelfCheckChange> {
        let doubted = self.doubted.take();
        match (outcome, &mut self.state) {
            (Ok(()), SelfCheckState::Passing { .. }) => None,
            (Ok(()), before) => {
                let before = std::mem::replace(before, SelfCheckState::Passing { since: now });
                Some(match before {
                    SelfCheckState::Failing { since, .. } => SelfCheckChange::Recovered(since),
                    _ => SelfCheckChange::Passes,
                })
            }
            (Err(new), SelfCheckState::Failing { reason, .. }) => {
                *reason = new;
                None
            }
            (Err(reason), state) => match doubted {
                None => {
                    self.doubted = Some(now);
                    None
                }
                Some(since) => {
                    *state = SelfCheckState::Failing { since, reason };
                    Some(SelfCheckChange::Fails)
                }
            },
        }
    }

    /// How long to wait for the next check. `jitter`, from 0 to 1, spreads those of several receivers.
    pub(super) fn wait(&self, jitter: f64) -> Duration {
        match (&self.state, self.doubted) {
            (_, Some(_)) => SECOND_TRY,
            (SelfCheckState::Failing { .. }, None) => self.interval.min(WHILE_FAILING),
            _ => self.interval.mul_f64(0.95 + jitter / 10.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTES: Duration = Duration::from_secs(300);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_780_000_000 + second).unwrap()
    }

    fn failure(what: &str) -> SelfCheckFailure {
        SelfCheckFailure::new(what, "do something")
    }

    #[test]
    fn one_failure_is_none_and_two_are_one_change() {
        let mut series = SelfCheckSeries::new(MINUTES);
        assert_eq!(series.state().details(), json!({"state": "unknown", "since": null, "reason": null}));
        assert_eq!(series.step(Ok(()), at(0)), Some(SelfCheckChange::Passes));
        assert_eq!(series.step(Ok(()), at(1)), None);
        // A blip.
        assert_eq!(series.step(Err(failure("refused")), at(2)), None);
        assert_eq!((series.state().is_passing(), series.wait(0.5)), (Some(true), SECOND_TRY));
        assert_eq!(series.step(Ok(()), at(4)), None);
        assert_eq!(series.state(), &SelfCheckState::Passing { since: at(0) });
        // And more than one.
        assert_eq!(series.step(Err(failure("refused")), at(5)), None);
        assert_eq!(series.step(Err(failure("timeout")), at(7)), Some(SelfCheckChange::Fails));
        assert_eq!(series.step(Err(failure("HTTP 404")), at(37)), None);
        assert_eq!(series.state(), &SelfCheckState::Failing { since: at(5), reason: failure("HTTP 404") });
        let since = whole_second(at(5)).to_string();
        assert_eq!(series.state().details(), json!({"state": "failing", "since": since, "reason": "HTTP 404"}));
        // Neither is its end one that needs a second try.
        assert_eq!(series.step(Ok(()), at(67)), Some(SelfCheckChange::Recovered(at(5))));
        assert_eq!(series.state(), &SelfCheckState::Passing { since: at(67) });
    }

    #[test]
    fn a_receiver_that_was_never_reached_fails_from_the_first_try() {
        let mut series = SelfCheckSeries::new(MINUTES);
        assert_eq!(series.step(Err(failure("refused")), at(0)), None);
        assert_eq!(series.state(), &SelfCheckState::Unknown);
        assert_eq!(series.step(Err(failure("refused")), at(2)), Some(SelfCheckChange::Fails));
        assert_eq!(series.state(), &SelfCheckState::Failing { since: at(0), reason: failure("refused") });
    }

    #[test]
    fn what_fails_is_tried_sooner() {
        for (interval, while_failing) in [(MINUTES, WHILE_FAILING), (Duration::from_secs(10), Duration::from_secs(10))]
        {
            let mut series = SelfCheckSeries::new(interval);
            for jitter in [0.0, 0.5, 1.0] {
                let wait = series.wait(jitter);
                assert!(wait >= interval.mul_f64(0.95) && wait <= interval.mul_f64(1.05), "{wait:?}");
            }
            assert_ne!(series.wait(0.0), series.wait(1.0));
            series.step(Err(failure("refused")), at(0));
            assert_eq!(series.wait(1.0), SECOND_TRY);
            series.step(Err(failure("refused")), at(2));
            assert_eq!(series.wait(1.0), while_failing);
        }
    }
}
