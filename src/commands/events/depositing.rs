//! How `events fetch` stores what it fetched.

use crate::domain::delivery::Delivery;
use crate::error::Result;
use crate::poll::{Deposit, PolledReceipt};
use crate::store::{Recipients, StoreDeposit};

/// Stores what was polled.
pub(super) struct FetchDeposit {
    pub(super) store: StoreDeposit,
    /// Whether it is forwarded by the routes of the last receiver.
    pub(super) forward: bool,
    /// Whether nothing is stored.
    pub(super) dry_run: bool,
}

impl Deposit for FetchDeposit {
    async fn deposit(&self, delivery: Delivery) -> Result<PolledReceipt> {
        let events = delivery.events().len() as u64;
        if self.dry_run {
            return Ok(PolledReceipt { new: 0, known: events });
        }
        let recipients = if self.forward { Recipients::Routed } else { Recipients::Nobody };
        let new = self.store.deposit(delivery, recipients).await?;
        Ok(PolledReceipt { new, known: events.saturating_sub(new) })
    }
}
