//! Storing deliveries, before they are responded to.

use jiff::Timestamp;

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

/// Stores the deliveries of a receiver.
pub trait Intake: Send {
    /// Stores the new events of all these deliveries, and a forward of them for each route that accepts them, in one
    /// commit: all of it or, on an error, nothing. When this returns, it is durable.
    ///
    /// An event that was stored before, by sender and id alone, is counted and otherwise dropped.
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
