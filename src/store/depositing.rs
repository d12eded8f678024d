//! Storing deliveries from a process that does not receive: by itself, or through the receiver that has the inbox for itself.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::codec::EncodedDelivery;
use super::events::{EventPage, EventSelection, EventSeq};
use super::hand_over::{HandedOver, Recipients};
use super::intake::Receipt;
use super::queue::TargetId;
use super::worker::StoreWorker;
use super::{Inbox, ReceiverInbox, Store, StoreError, StoreErrorKind};
use crate::domain::delivery::{Delivery, Via};
use crate::domain::event::Malformed;
use crate::error::{Error, ErrorKind, Result};

/// How often to look whether the receiver has stored what was handed over to it, and for how long.
const RECEIPT_POLL_INTERVAL: Duration = Duration::from_millis(20);
const RECEIPT_TIMEOUT: Duration = Duration::from_secs(30);

/// After how many such looks to find out whether the receiver is still there.
const LOOKS_BEFORE_STORING: u32 = 25;

/// What became of a delivery in quarantine that was read again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reread {
    /// It was read, and has left quarantine.
    Stored {
        /// How many of its events were stored.
        new: u64,
        /// How many the inbox had.
        known: u64,
    },
    /// It still cannot be read, for this reason, and stays.
    Unreadable(Malformed),
    /// It was kept without its body, and stays.
    Redacted,
}

/// Stores deliveries, from any process.
#[derive(Clone)]
pub struct StoreDeposit {
    inbox: StoreWorker<dyn Inbox>,
    store: Arc<dyn Store>,
}

/// What is to be stored.
#[derive(Clone)]
struct Deposited {
    delivery: Delivery,
    quarantined: Option<i64>,
    recipients: Recipients,
}

impl StoreDeposit {
    /// Stores into a store, of which `inbox` is the inbox.
    pub fn new(inbox: StoreWorker<dyn Inbox>, store: Arc<dyn Store>) -> Self {
        Self { inbox, store }
    }

    /// Stores a delivery, which is durable then; returns how many of its events were new.
    ///
    /// # Errors
    /// When it is not stored, or it is not known whether the receiver has stored it.
    pub async fn deposit(&self, delivery: Delivery, recipients: Recipients) -> Result<u64> {
        self.put(Deposited { delivery, quarantined: None, recipients }).await
    }

    /// Reads the delivery with this number in quarantine again. If it can be read, its events are stored and forwarded like
    /// those of any delivery, and it leaves quarantine; `None` if there is none with this number.
    ///
    /// # Errors
    /// When its events are not stored, or it is not known whether the receiver has stored them: it is in quarantine then, or
    /// they are stored.
    pub async fn reread(&self, number: i64) -> Result<Option<Reread>> {
        let Some(found) = self.inbox.run(move |inbox| inbox.quarantined(Some(number), None)).await?.pop() else {
            return Ok(None);
        };
        if found.body.is_empty() {
            return Ok(Some(Reread::Redacted));
        }
        let delivery = match Delivery::reread(found.sender, found.received_at, found.content_type, found.body) {
            Ok(delivery) => delivery,
            Err(malformed) => return Ok(Some(Reread::Unreadable(malformed))),
        };
        let events = delivery.events().len() as u64;
        let new = self.put(Deposited { delivery, quarantined: Some(number), recipients: Recipients::Routed }).await?;
        if !self.inbox.run(move |inbox| inbox.quarantined(Some(number), None)).await?.is_empty() {
            let message = format!("the receiver that runs cannot read the quarantined delivery {number}");
            return Err(Error::new(ErrorKind::Other, message).hint("it is of another version: restart it"));
        }
        Ok(Some(Reread::Stored { new, known: events.saturating_sub(new) }))
    }

    /// Stores a sample event, given as a JSON array with it, and queues one forward of it: to this target.
    ///
    /// # Errors
    /// When it is no event, or it is not stored, or it is not known whether the receiver has stored it.
    pub async fn deposit_test(&self, sample: Vec<u8>, target: TargetId) -> Result<EventSeq> {
        let wrong = |malformed: Malformed| Error::new(ErrorKind::Other, format!("a sample event: {malformed}"));
        let delivery = Delivery::test(Timestamp::now(), sample).map_err(wrong)?;
        let ids = delivery.events().iter().map(|event| event.id.clone()).collect();
        self.deposit(delivery, Recipients::One(target)).await?;
        let selection = EventSelection { ids: Some(ids), via: Some(Via::Test), ..EventSelection::default() };
        let find = move |inbox: &mut (dyn Inbox + 'static)| {
            let mut found = None;
            inbox.events(&selection, EventPage::default(), &mut |event| {
                found = Some(event.seq);
                true
            })?;
            Ok::<_, StoreError>(found)
        };
        let lost = || Error::new(ErrorKind::Store, "the sample event is not in the inbox any more");
        self.inbox.run(find).await?.ok_or_else(lost)
    }

    async fn put(&self, deposited: Deposited) -> Result<u64> {
        match self.store(deposited.clone(), None).await? {
            Some(new) => Ok(new),
            None => self.hand_over(deposited).await,
        }
    }

    /// Stores a delivery, which may have been handed over by this number; returns how many of its events were new, or `None`
    /// if a receiver has the inbox for itself. No longer than that this process has it: a receiver may start at any time.
    async fn store(&self, deposited: Deposited, handed_over: Option<i64>) -> Result<Option<u64>> {
        let store = Arc::clone(&self.store);
        let commit = move |_: &mut (dyn Inbox + 'static)| {
            let mut inbox = match store.receiver_inbox() {
                Err(error) if error.kind() == StoreErrorKind::InUse => return Ok(None),
                inbox => inbox?,
            };
            commit(&mut *inbox, deposited, handed_over).map(Some)
        };
        self.inbox.run::<_, StoreError>(commit).await
    }

    /// Has the receiver store a delivery, or does it itself if the receiver ends before.
    async fn hand_over(&self, deposited: Deposited) -> Result<u64> {
        let Deposited { delivery, quarantined, recipients } = deposited.clone();
        let handed = HandedOver::of(delivery, quarantined, recipients);
        if handed.via == Via::Poll && handed.app.is_none() {
            return Err(Error::new(ErrorKind::Other, "events of no app were fetched"));
        }
        let number = self.inbox.run(move |inbox| inbox.hand_over(&handed)).await?;
        let deadline = Instant::now() + RECEIPT_TIMEOUT;
        for look in 1_u32.. {
            if let Some(stored) = self.inbox.run(move |inbox| inbox.take_receipt(number)).await? {
                return Ok(stored);
            }
            if look % LOOKS_BEFORE_STORING == 0
                && let Some(stored) = self.store(deposited.clone(), Some(number)).await?
            {
                return Ok(stored);
            }
            if Instant::now() > deadline {
                break;
            }
            tokio::time::sleep(RECEIPT_POLL_INTERVAL).await;
        }
        let message = "the receiver that runs has not stored what was handed over to it";
        Err(Error::new(ErrorKind::Store, message).hint("it does so when it can; see its log"))
    }
}

fn commit(
    inbox: &mut (dyn ReceiverInbox + 'static),
    deposited: Deposited,
    handed_over: Option<i64>,
) -> Result<u64, StoreError> {
    let receipt = |inbox: &mut (dyn ReceiverInbox + 'static)| match handed_over {
        Some(number) => inbox.take_receipt(number),
        None => Ok(None),
    };
    if let Some(stored) = receipt(inbox)? {
        return Ok(stored);
    }
    let Deposited { delivery, quarantined, recipients } = deposited;
    let routes = recipients.own_routes().map_or_else(|| inbox.routes(), Ok)?;
    let encoded = EncodedDelivery::encode(delivery);
    let encoded = match quarantined {
        Some(number) => encoded.out_of_quarantine(number, Timestamp::now()),
        None => encoded,
    };
    let receipts = inbox.commit(&[encoded], &routes)?;
    let new = receipts.iter().map(Receipt::stored).sum::<usize>() as u64;
    if let Some(number) = handed_over {
        inbox.note_taken(number, new)?;
        receipt(inbox)?;
    }
    Ok(new)
}
