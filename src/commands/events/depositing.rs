//! How `events fetch` stores what it fetched: itself, or through the receiver that has the inbox for itself.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::domain::AppId;
use crate::domain::delivery::Delivery;
use crate::error::{Error, ErrorKind, Result};
use crate::poll::{Deposit, PolledReceipt};
use crate::store::worker::StoreWorker;
use crate::store::{EncodedDelivery, HandedOver, Inbox, Receipt, ReceiverInbox, Store, StoreError, StoreErrorKind};

/// How often to look whether the receiver has stored what was handed over to it, and for how long.
const RECEIPT_POLL_INTERVAL: Duration = Duration::from_millis(20);
const RECEIPT_TIMEOUT: Duration = Duration::from_secs(30);

/// After how many such looks to find out whether the receiver is still there.
const LOOKS_BEFORE_STORING: u32 = 25;

/// Stores what was polled.
pub(super) struct FetchDeposit {
    pub(super) inbox: StoreWorker<dyn Inbox>,
    pub(super) store: Arc<dyn Store>,
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
        let new = match self.store(delivery.clone(), None).await? {
            Some(new) => new,
            None => self.hand_over(delivery).await?,
        };
        Ok(PolledReceipt { new, known: events.saturating_sub(new) })
    }
}

impl FetchDeposit {
    /// Stores a delivery, which may have been handed over by this number; returns how many of its events were new, or `None`
    /// if a receiver has the inbox for itself. No longer than that this process has it: a receiver may start at any time.
    async fn store(&self, delivery: Delivery, handed_over: Option<i64>) -> Result<Option<u64>> {
        let (store, forward) = (Arc::clone(&self.store), self.forward);
        let commit = move |_: &mut (dyn Inbox + 'static)| {
            let mut inbox = match store.receiver_inbox() {
                Err(error) if error.kind() == StoreErrorKind::InUse => return Ok(None),
                inbox => inbox?,
            };
            commit(&mut *inbox, delivery, handed_over, forward).map(Some)
        };
        self.inbox.run::<_, StoreError>(commit).await
    }

    /// Has the receiver store a delivery, or does it itself if the receiver ends before.
    async fn hand_over(&self, mut delivery: Delivery) -> Result<u64> {
        let app = delivery.events().first().and_then(|event| event.app_id).and_then(AppId::new);
        let app = app.ok_or_else(|| Error::new(ErrorKind::Other, "events of no app were fetched"))?;
        let kept = delivery.clone();
        let (received_at, body, forward) = (delivery.received_at(), delivery.take_body(), self.forward);
        let events = HandedOver { number: 0, app, received_at, forward, body };
        let number = self.inbox.run(move |inbox| inbox.hand_over(&events)).await?;
        let deadline = Instant::now() + RECEIPT_TIMEOUT;
        for look in 1_u32.. {
            if let Some(stored) = self.inbox.run(move |inbox| inbox.take_receipt(number)).await? {
                return Ok(stored);
            }
            if look % LOOKS_BEFORE_STORING == 0
                && let Some(stored) = self.store(kept.clone(), Some(number)).await?
            {
                return Ok(stored);
            }
            if Instant::now() > deadline {
                break;
            }
            tokio::time::sleep(RECEIPT_POLL_INTERVAL).await;
        }
        let message = "the receiver that runs has not stored what was fetched";
        Err(Error::new(ErrorKind::Store, message).hint("it does so when it can; see its log"))
    }
}

fn commit(
    inbox: &mut (dyn ReceiverInbox + 'static),
    delivery: Delivery,
    handed_over: Option<i64>,
    forward: bool,
) -> Result<u64, StoreError> {
    let receipt = |inbox: &mut (dyn ReceiverInbox + 'static)| match handed_over {
        Some(number) => inbox.take_receipt(number),
        None => Ok(None),
    };
    if let Some(stored) = receipt(inbox)? {
        return Ok(stored);
    }
    let routes = if forward { inbox.routes()? } else { Vec::new() };
    let receipts = inbox.commit(&[EncodedDelivery::encode(delivery)], &routes)?;
    let new = receipts.iter().map(Receipt::stored).sum::<usize>() as u64;
    if let Some(number) = handed_over {
        inbox.note_taken(number, new)?;
        receipt(inbox)?;
    }
    Ok(new)
}
