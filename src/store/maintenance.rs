//! Maintenance of an inbox: purge, requeue, check, and work that was deferred.

use jiff::Timestamp;

use super::StoreError;
use super::events::EventSelection;

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

/// Maintenance of an inbox, in steps that keep nobody waiting for long. Any process may do it beside a receiver.
pub trait Maintenance: Send {
    /// Removes some of what a rule selects: to be called again, with the same rule, while there is more. What was kept
    /// is not looked at again until then.
    ///
    /// # Errors
    /// When the store cannot be written.
    fn purge(&mut self, rule: &PurgeRule) -> Result<Purged, StoreError>;

    /// Requeues the selected events' forwards that are dead-lettered or wait for a retry: they are due at once. Returns
    /// how many forwards. On an error, some may have been requeued.
    ///
    /// # Errors
    /// When the store cannot be written.
    fn requeue(&mut self, selection: &EventSelection, now: Timestamp) -> Result<u64, StoreError>;

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
