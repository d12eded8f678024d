//! The states of a forward, as they are stored.

pub(super) const PENDING: i16 = 0;
pub(super) const DELIVERED: i16 = 1;
pub(super) const DEAD: i16 = 2;

/// What is skipped is removed: it is stored nowhere.
pub(super) const SKIPPED: i16 = 3;

// They stand in the SQL beside this file as numbers.
const _: () = assert!(PENDING == 0 && DELIVERED == 1 && DEAD == 2 && SKIPPED == 3);
