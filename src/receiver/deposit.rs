//! Deliveries that come by another way than a request, and are stored and forwarded as those that come by one.

use std::sync::Arc;

use super::limits::{Budgets, MemoryPermit};
use super::metrics::Metrics;
use super::peers::Peers;
use super::writer::Writer;
use jiff::Timestamp;

use crate::domain::delivery::Delivery;
use crate::error::{Error, ErrorKind, Result};
use crate::store::{EncodedDelivery, Receipt};

/// Stores deliveries through a receiver. To be dropped before the receiver ends, which waits for it.
pub struct Depositor {
    pub(super) writer: Writer,
    pub(super) budgets: Budgets,
    pub(super) peers: Arc<Peers>,
    pub(super) metrics: Arc<Metrics>,
}

impl Depositor {
    /// Stores a delivery, whose events are forwarded as all are. When this returns, it is durable.
    ///
    /// # Errors
    /// When it is not stored.
    pub async fn deposit(&self, delivery: Delivery) -> Result<Receipt> {
        let overload = || Error::new(ErrorKind::Unavailable, "too many deliveries are waiting to be stored");
        let memory = self.budgets.decoding(delivery.events().len()).await.ok_or_else(overload)?;
        self.writer.deliver(EncodedDelivery::encode(delivery), [MemoryPermit::default(), memory]).await
    }

    /// Notes that a round of polling has ended, when it ended well, and how many events it stored.
    pub fn note_round(&self, ended_well: Option<Timestamp>, stored: u64) {
        self.metrics.polled(ended_well, stored);
    }

    /// Whether this receiver does what one of those of the store does for all.
    pub fn is_first(&self) -> bool {
        self.peers.is_first()
    }
}
