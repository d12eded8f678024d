//! From when on an app is read, and how far it was read then: pure rules.

use jiff::{SignedDuration, Timestamp};

/// What decides from when on a list is read.
#[derive(Debug, Clone, Copy)]
pub(super) struct WindowRule {
    /// The start that was asked for.
    pub(super) since: Option<Timestamp>,
    /// Up to when the list was read before.
    pub(super) polled_until: Option<Timestamp>,
    /// When the first hook of the app was subscribed.
    pub(super) subscribed_at: Option<Timestamp>,
    /// How far what was read before is read again: an event may be listed late.
    pub(super) look_back: SignedDuration,
}

/// The part of a list that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PollWindow {
    /// From when on.
    pub(super) from: Timestamp,
    /// Whether what was read counts for the next time: not if something was left out before it.
    pub(super) moves_cursor: bool,
    /// Whether events from before their hook was subscribed are left out.
    pub(super) is_bound_to_hooks: bool,
}

impl WindowRule {
    /// The window; `None` if nothing says where it begins.
    pub(super) fn window(&self) -> Option<PollWindow> {
        let overlap = self.polled_until.map(|until| before(until, self.look_back));
        let usual = match (overlap, self.subscribed_at) {
            (Some(overlap), Some(subscribed_at)) => Some(overlap.max(subscribed_at)),
            (overlap, subscribed_at) => overlap.or(subscribed_at),
        };
        if let Some(from) = self.since {
            let moves_cursor = usual.is_none_or(|usual| from <= usual);
            return Some(PollWindow { from, moves_cursor, is_bound_to_hooks: false });
        }
        Some(PollWindow { from: usual?, moves_cursor: true, is_bound_to_hooks: true })
    }
}

fn before(time: Timestamp, duration: SignedDuration) -> Timestamp {
    time.checked_sub(duration).unwrap_or(Timestamp::MIN)
}

/// How far a list was read so far: only up to where everything before is stored.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ReadUpTo {
    newest: Option<Timestamp>,
    /// Whether a page had something older than one before it: then only the end of the list tells.
    is_out_of_order: bool,
}

impl ReadUpTo {
    /// Notes the times of a page that was stored. Returns up to when everything is stored now, if that is known.
    pub(super) fn page(&mut self, times: impl Iterator<Item = Option<Timestamp>>) -> Option<Timestamp> {
        let (mut oldest, mut newest) = (None::<Timestamp>, None::<Timestamp>);
        for time in times {
            let Some(time) = time else {
                self.is_out_of_order = true;
                continue;
            };
            oldest = Some(oldest.map_or(time, |oldest| oldest.min(time)));
            newest = Some(newest.map_or(time, |newest| newest.max(time)));
        }
        self.is_out_of_order |= oldest.zip(self.newest).is_some_and(|(oldest, known)| oldest < known);
        self.newest = self.newest.max(newest);
        self.newest.filter(|_| !self.is_out_of_order)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOUR: i64 = 3600;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + second).unwrap()
    }

    fn rule(since: Option<i64>, polled_until: Option<i64>, subscribed_at: Option<i64>) -> Option<(i64, bool, bool)> {
        let look_back = SignedDuration::from_hours(3);
        let (since, polled_until, subscribed_at) = (since.map(at), polled_until.map(at), subscribed_at.map(at));
        let window = WindowRule { since, polled_until, subscribed_at, look_back }.window()?;
        let from = window.from.duration_since(at(0)).as_secs();
        Some((from, window.moves_cursor, window.is_bound_to_hooks))
    }

    #[test]
    fn what_was_read_before_is_read_again_for_a_time() {
        assert_eq!(rule(None, None, None), None);
        assert_eq!(rule(None, None, Some(7)), Some((7, true, true)));
        assert_eq!(rule(None, Some(10 * HOUR), None), Some((7 * HOUR, true, true)));
        assert_eq!(rule(None, Some(10 * HOUR), Some(7)), Some((7 * HOUR, true, true)));
        // Nothing from before the hook.
        assert_eq!(rule(None, Some(10 * HOUR), Some(9 * HOUR)), Some((9 * HOUR, true, true)));
    }

    #[test]
    fn a_start_that_leaves_something_out_does_not_count_for_the_next_time() {
        assert_eq!(rule(Some(5), None, None), Some((5, true, false)));
        assert_eq!(rule(Some(5), None, Some(7)), Some((5, true, false)));
        assert_eq!(rule(Some(8), None, Some(7)), Some((8, false, false)));
        assert_eq!(rule(Some(5), Some(10 * HOUR), None), Some((5, true, false)));
        assert_eq!(rule(Some(7 * HOUR), Some(10 * HOUR), None), Some((7 * HOUR, true, false)));
        assert_eq!(rule(Some(7 * HOUR + 1), Some(10 * HOUR), None), Some((7 * HOUR + 1, false, false)));
    }

    proptest! {
        /// Whenever rounds are made, and whenever they break off: an event that is listed no later than the overlap is
        /// found by one of them, and the cursor is never ahead of what was stored.
        #[test]
        fn nothing_is_missed(
            mut events in prop::collection::vec((0..50 * HOUR, 0..=3 * HOUR), 1..60),
            mut rounds in prop::collection::vec((0..60 * HOUR, prop::option::of(0..8_usize)), 1..12),
        ) {
            events.sort_unstable();
            rounds.sort_unstable();
            // The last one is made when all is listed, and comes to its end.
            rounds.push((70 * HOUR, None));
            let (mut stored, mut cursor) = (vec![false; events.len()], None);
            for (now, breaks_off_after) in rounds {
                let look_back = SignedDuration::from_hours(3);
                let rule = WindowRule { since: None, polled_until: cursor, subscribed_at: Some(at(0)), look_back };
                let window = rule.window().unwrap();
                let listed: Vec<usize> = (0..events.len())
                    .filter(|&index| at(events[index].0) >= window.from && events[index].0 + events[index].1 <= now)
                    .collect();
                let (mut reached, mut broke_off) = (ReadUpTo::default(), false);
                for (number, page) in listed.chunks(3).enumerate() {
                    if breaks_off_after == Some(number) {
                        broke_off = true;
                        break;
                    }
                    for index in page {
                        stored[*index] = true;
                    }
                    let until = reached.page(page.iter().map(|index| Some(at(events[*index].0))));
                    cursor = cursor.max(until);
                }
                if !broke_off {
                    cursor = cursor.max(Some(at(now)));
                }
                for (index, (made, late)) in events.iter().enumerate() {
                    let is_due = cursor.is_some_and(|cursor| at(*made) < cursor - SignedDuration::from_hours(3));
                    prop_assert!(!is_due || stored[index], "made {made}, listed {late} later, {cursor:?}");
                }
            }
            prop_assert!(stored.iter().all(|stored| *stored));
        }

        #[test]
        fn pages_in_disorder_tell_nothing(times in prop::collection::vec(prop::collection::vec(0..9_i64, 1..4), 1..6)) {
            let mut reached = ReadUpTo::default();
            for (number, page) in times.iter().enumerate() {
                if let Some(until) = reached.page(page.iter().map(|second| Some(at(*second)))) {
                    // What comes later is not older, if it is in order; and what came is not newer.
                    prop_assert!(times[..=number].concat().iter().all(|second| at(*second) <= until));
                }
            }
        }
    }
}
