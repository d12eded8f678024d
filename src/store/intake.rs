//! Storing deliveries before they are answered.

use jiff::Timestamp;

use super::StoreError;
use super::codec::EncodedDelivery;
use super::events::EventSeq;
use super::queue::Route;

/// What became of a delivery: for each of its events its place, or nothing for one that was there already.
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

    /// How many were there already.
    pub fn duplicates(&self) -> usize {
        self.events.len() - self.stored()
    }
}

/// Where a receiver stores what it is sent.
pub trait Intake: Send {
    /// Stores the new events of all these deliveries, and a forward of them for each route that accepts them, in one
    /// commit: all of it or, on an error, nothing. When this returns, it is durable.
    ///
    /// An event that was stored before, by sender and id alone, is counted and otherwise dropped.
    ///
    /// # Errors
    /// When nothing was stored.
    fn commit(&mut self, deliveries: &[EncodedDelivery], routes: &[Route]) -> Result<Vec<Receipt>, StoreError>;

    /// Commits something that does not matter: whether deliveries can be stored.
    ///
    /// # Errors
    /// When they cannot.
    fn probe(&mut self, now: Timestamp) -> Result<(), StoreError>;
}
