//! What deleting events leaves of a delivery, whatever it is stored in.

use std::ops::Range;

/// An event that is left of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LeftEvent {
    pub(super) number: i64,
    /// Where its JSON stands in the body.
    pub(super) place: Range<usize>,
}

/// What becomes of a forward when events of its delivery are deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ForwardRemains {
    /// None of them was in it.
    All,
    /// Others are in it. What its target said may repeat those that are deleted.
    Some,
    /// No event is left in it.
    Nothing,
}

impl ForwardRemains {
    /// That of a forward of the events from `first` to `last`, given those that are deleted and those that are left of the
    /// delivery, both in their order.
    pub(super) fn of((first, last): (i64, i64), deleted: &[i64], left: &[LeftEvent]) -> Self {
        let next_deleted = deleted.partition_point(|event| *event < first);
        let has_deleted = deleted.get(next_deleted).is_some_and(|event| *event <= last);
        let next_left = left.partition_point(|event| event.number < first);
        let has_left = left.get(next_left).is_some_and(|event| event.number <= last);
        match (has_deleted, has_left) {
            (false, _) => Self::All,
            (true, true) => Self::Some,
            (true, false) => Self::Nothing,
        }
    }
}

/// A body in which all is blank but these events; `None` if it is so already.
pub(super) fn blanked(body: &[u8], left: &[LeftEvent]) -> Option<Vec<u8>> {
    let mut blanked = vec![b' '; body.len()];
    for LeftEvent { place, .. } in left {
        if let (Some(from), Some(to)) = (body.get(place.clone()), blanked.get_mut(place.clone())) {
            to.copy_from_slice(from);
        }
    }
    (blanked != body).then_some(blanked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forward_goes_with_the_last_of_its_events() {
        let (deleted, left) = ([2, 5, 6], [1, 3, 9].map(|number| LeftEvent { number, place: 0..0 }));
        for (range, remains) in [
            ((1, 1), ForwardRemains::All),
            ((3, 4), ForwardRemains::All),
            ((1, 2), ForwardRemains::Some),
            ((2, 9), ForwardRemains::Some),
            ((2, 2), ForwardRemains::Nothing),
            ((5, 8), ForwardRemains::Nothing),
            ((10, 12), ForwardRemains::All),
        ] {
            assert_eq!(ForwardRemains::of(range, &deleted, &left), remains, "{range:?}");
        }
        assert_eq!(ForwardRemains::of((1, 9), &[1, 9], &[]), ForwardRemains::Nothing);
    }

    #[test]
    fn nothing_but_what_is_left_stays_in_a_body() {
        let left = |place| [LeftEvent { number: 1, place }];
        assert_eq!(blanked(b"[{1},{2}]", &left(1..4)).as_deref(), Some(&b" {1}     "[..]));
        assert_eq!(blanked(b" {1}     ", &left(1..4)), None);
        // What is out of it is no part of it.
        assert_eq!(blanked(b"[]", &left(1..9)).as_deref(), Some(&b"  "[..]));
    }
}
