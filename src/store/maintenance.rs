//! Maintenance of an inbox: purge, requeue, check, and work that was deferred.

use jiff::Timestamp;

use super::StoreError;
use super::events::{EventSelection, EventSeq};
use super::queue::TargetId;

/// What is to be purged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PurgeRule {
    /// Deliveries that came before this time.
    pub before: Option<Timestamp>,
    /// The oldest deliveries, until what is left takes up at most this many bytes.
    pub max_bytes: Option<u64>,
    /// Also deliveries with pending forwards.
    pub even_pending: bool,
}

/// What was purged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Purged {
    /// Events.
    pub events: u64,
    /// Deliveries that could not be read.
    pub quarantined: u64,
    /// Whether more is to be purged by the same rule.
    pub more: bool,
    /// Whether the inbox stays larger than the rule allows, as the rest is pending.
    pub too_large: bool,
}

/// What was requeued.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Requeued {
    /// How many forwards.
    pub forwards: u64,
    /// The last event that was looked at, if there may be more behind it.
    pub reached: Option<EventSeq>,
}

/// Maintenance of an inbox, in steps that keep nobody waiting for long. Any process may do it beside a receiver.
pub trait Maintenance: Send {
    /// Removes some of what a rule selects: to be called again, with the same rule, while there is more. What was kept
    /// is not looked at again until then.
    ///
    /// # Errors
    /// When the store cannot be written.
    fn purge(&mut self, rule: &PurgeRule) -> Result<Purged, StoreError>;

    /// Requeues some of the selected events' forwards that are dead-lettered or wait for a retry: they are due at once. To
    /// be called again, at the same `now` and for the events behind those that were reached, while there are more.
    ///
    /// # Errors
    /// When the store cannot be written; none was requeued then.
    fn requeue(&mut self, selection: &EventSelection, now: Timestamp) -> Result<Requeued, StoreError>;

    /// Forwards these events to a target once more, each by itself and whatever became of it there: accepted, dead-lettered
    /// or never on its way. An event that is pending for the target is left as it is. Returns how many forwards were made.
    ///
    /// # Errors
    /// When the store cannot be written; some may have been made.
    fn forward_again(&mut self, events: &[EventSeq], target: TargetId, now: Timestamp) -> Result<u64, StoreError>;

    /// Deletes these events, with what is pending for them and all copies of them; returns how many were there.
    ///
    /// # Errors
    /// When the store cannot be written; some may have been deleted.
    fn delete(&mut self, events: &[EventSeq]) -> Result<u64, StoreError>;

    /// Keeps as many bytes of the disk in reserve, for [`Store::free_reserve`](super::Store::free_reserve) to give back when
    /// the disk is full; 0 for none. A store on a server keeps none.
    ///
    /// # Errors
    /// When there is not as much space.
    fn keep_reserve(&mut self, bytes: u64) -> Result<(), StoreError>;

    /// Does a piece of deferred work, which keeps commits fast. Returns whether there is more to do.
    ///
    /// # Errors
    /// When the store cannot be written; the same piece is due again then.
    fn maintain(&mut self) -> Result<bool, StoreError>;

    /// Reads the whole inbox for damage.
    ///
    /// # Errors
    /// When there is some, or the inbox cannot be read.
    fn check(&self) -> Result<(), StoreError>;
}
