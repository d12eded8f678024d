//! A circuit breaker: a target that keeps failing is paused for a while, then tried with one event.

use std::time::{Duration, Instant};

/// This many failures in a row open the breaker.
const THRESHOLD: u32 = 5;

/// This many rejected events in a row open it too: a key was revoked, or a command is broken.
const REFUSALS: u32 = 20;

/// The upper bound of the first pause; it doubles each time.
const FIRST_REST: Duration = Duration::from_secs(2);

/// The upper bound of all pauses.
const LONGEST_REST: Duration = Duration::from_secs(60);

/// Whether a target is failing.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    failures: u32,
    refusals: u32,
    rests: u32,
    open_until: Option<Instant>,
    /// Until when the target itself asked for a pause.
    asked_until: Option<Instant>,
}

impl Breaker {
    /// How many more attempts may be started, with this many in flight.
    pub(super) fn room(&self, now: Instant, in_flight: usize) -> usize {
        match self.open_until {
            Some(until) if now < until => 0,
            // One attempt at a time probes whether it has recovered.
            _ if self.rests > 0 => usize::from(in_flight == 0),
            _ => usize::MAX,
        }
    }

    /// Whether the target is paused, or sent nothing but probes.
    pub(super) fn is_paused(&self, now: Instant) -> bool {
        self.rests > 0 || self.open_until.is_some_and(|until| now < until)
    }

    /// Notes that it accepted an event. Returns whether it had been paused before.
    pub(super) fn succeeded(&mut self) -> bool {
        let rested = self.rests > 0;
        // A pause that the target asked for holds, whatever the outcome of attempts in flight.
        let asked_until = self.asked_until;
        *self = Self { open_until: asked_until, asked_until, ..Self::default() };
        rested
    }

    /// Notes that it rejected an event. Returns for how long it is paused, if a pause begins now.
    pub(super) fn refused(&mut self, now: Instant) -> Option<Duration> {
        self.refusals += 1;
        if self.refusals >= REFUSALS {
            self.failures = self.failures.max(THRESHOLD - 1);
            return self.failed(now, None);
        }
        self.failures = 0;
        self.rests = 0;
        None
    }

    /// Whether the next attempt probes if it has recovered.
    pub(super) fn is_probing(&self) -> bool {
        self.rests > 0
    }

    /// Notes a failure, with the pause that it asked for. Returns how long it is paused, if a pause begins now.
    pub(super) fn failed(&mut self, now: Instant, pause: Option<Duration>) -> Option<Duration> {
        self.failures += 1;
        self.asked_until = self.asked_until.max(pause.map(|pause| now + pause));
        let opens = self.rests > 0 || self.failures >= THRESHOLD;
        if !opens && pause.is_none() {
            return None;
        }
        let mut rest = pause.unwrap_or_default();
        if opens {
            let bound = FIRST_REST.saturating_mul(1 << self.rests.min(10)).min(LONGEST_REST);
            // At least half of it: full jitter could make the pause zero.
            rest = rest.max(bound.mul_f64(0.5 + fastrand::f64() / 2.0));
        }
        let resting = self.open_until.is_some_and(|until| now < until);
        if !resting && opens {
            self.rests += 1;
        }
        let until = now + rest;
        self.open_until = Some(self.open_until.map_or(until, |other| other.max(until)));
        (!resting).then_some(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_opens_after_failures_in_a_row_and_lets_one_through() {
        let (mut breaker, now) = (Breaker::default(), Instant::now());
        for _ in 0..THRESHOLD - 1 {
            assert_eq!(breaker.failed(now, None), None);
        }
        assert_eq!(breaker.refused(now), None);
        assert_eq!(breaker.failed(now, None), None);
        assert_eq!(breaker.room(now, 7), usize::MAX);
        for _ in 0..THRESHOLD - 2 {
            assert_eq!(breaker.failed(now, None), None);
        }
        let rest = breaker.failed(now, None).unwrap();
        assert!(rest >= FIRST_REST / 2 && rest <= FIRST_REST);
        assert_eq!(breaker.room(now, 0), 0);
        let later = now + rest;
        assert_eq!((breaker.room(later, 0), breaker.room(later, 1)), (1, 0));
        assert!(breaker.is_paused(now) && breaker.is_paused(later));
        // Each pause is longer than the one before.
        let longer = breaker.failed(later, None).unwrap();
        assert!(longer >= FIRST_REST);
        assert!(breaker.succeeded());
        assert!(!breaker.is_paused(later));
        assert_eq!(breaker.room(later, 3), usize::MAX);
        assert!(!breaker.succeeded());
    }

    #[test]
    fn it_opens_when_every_event_is_rejected() {
        let (mut breaker, now) = (Breaker::default(), Instant::now());
        for _ in 0..REFUSALS - 1 {
            assert_eq!(breaker.refused(now), None);
        }
        assert!(breaker.refused(now).is_some());
        assert!(breaker.is_probing() && breaker.room(now, 0) == 0);
        assert!(breaker.succeeded());
        assert_eq!(breaker.refused(now), None);
    }

    #[test]
    fn who_asks_for_a_pause_gets_it() {
        let (mut breaker, now) = (Breaker::default(), Instant::now());
        let pause = Duration::from_secs(30);
        assert_eq!(breaker.failed(now, Some(pause)), Some(pause));
        assert_eq!(breaker.room(now + pause / 2, 0), 0);
        assert!(!breaker.succeeded());
        assert_eq!(breaker.room(now + pause / 2, 0), 0);
        assert_eq!(breaker.room(now + pause, 0), usize::MAX);
        assert!(breaker.is_paused(now + pause / 2) && !breaker.is_paused(now + pause));
    }
}
