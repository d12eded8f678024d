//! Storing deliveries, before they are responded to.

use jiff::{SignedDuration, Timestamp};

use super::StoreError;
use super::codec::EncodedDelivery;
use super::events::EventSeq;
use super::queue::Route;

/// The outcome of a delivery: for each event its place, or `None` for a duplicate.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Receipt {
    /// In the order of the body.
    pub events: Vec<Option<EventSeq>>,
}

impl Receipt {
    /// How many events are new.
    pub fn stored(&self) -> usize {
        self.events.iter().flatten().count()
    }

    /// How many events are duplicates.
    pub fn duplicates(&self) -> usize {
        self.events.len() - self.stored()
    }
}

/// For how long the same report of a sender that gives no ids is the same event.
pub const DEDUPE_WINDOW: SignedDuration = SignedDuration::from_hours(24);

/// Stores the deliveries of a receiver.
pub trait Intake: Send {
    /// Takes an event of a sender that gives no ids for a duplicate only of one that was received within this time, which
    /// is [`DEDUPE_WINDOW`] else.
    fn dedupe_within(&mut self, window: SignedDuration);

    /// Stores the new events of all these deliveries, and a forward of them for each route that accepts them, in one
    /// commit: all of it or, on an error, nothing. When this returns, it is durable.
    ///
    /// An event that was stored before, and not removed since, is counted and otherwise dropped: by its sender, id and app,
    /// as far as both say their app; if its sender gives no ids, by what it says, for a time.
    ///
    /// # Errors
    /// When nothing was stored.
    fn commit(&mut self, deliveries: &[EncodedDelivery], routes: &[Route]) -> Result<Vec<Receipt>, StoreError>;

    /// Makes a test commit, to find out whether deliveries can be stored. Returns whether there is room for one of as many
    /// bytes, as far as that can be told.
    ///
    /// # Errors
    /// When they cannot be stored.
    fn probe(&mut self, now: Timestamp, bytes: u64) -> Result<bool, StoreError>;
}
