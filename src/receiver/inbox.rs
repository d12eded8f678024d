//! Opening the inbox to receive into.

use std::time::{Duration, Instant};

use jiff::SignedDuration;

use crate::error::Result;
use crate::store::{Intake, ReceiverInbox, Store, StoreError, StoreErrorKind};

/// How long to wait for the inbox. Whoever stores into it what was fetched, or read again, has it for a moment each time; a
/// receiver has it for good.
const INBOX_TIMEOUT: Duration = Duration::from_secs(3);

/// How often to try meanwhile.
const INBOX_RETRY_DELAY: Duration = Duration::from_millis(5);

/// An inbox to receive into, and further connections to store deliveries by.
pub(super) type OpenedInbox = (Box<dyn ReceiverInbox>, Vec<Box<dyn Intake>>);

/// Opens the inbox to receive into, as soon as nobody else does.
fn receiver_inbox(store: &dyn Store) -> Result<Box<dyn ReceiverInbox>, StoreError> {
    let until = Instant::now() + INBOX_TIMEOUT;
    loop {
        match store.receiver_inbox() {
            Err(error) if error.kind() == StoreErrorKind::InUse && Instant::now() < until => {
                std::thread::sleep(INBOX_RETRY_DELAY);
            }
            outcome => return outcome,
        }
    }
}

/// Opens the inbox to receive into, with the connections that deliveries are stored by, if they are others.
pub(super) fn open_inbox(store: &dyn Store, dedupe_window: SignedDuration, reserve: u64) -> Result<OpenedInbox> {
    let (mut inbox, mut intakes) = (receiver_inbox(store)?, store.intakes()?);
    inbox.dedupe_within(dedupe_window);
    for intake in &mut intakes {
        intake.dedupe_within(dedupe_window);
    }
    for warning in inbox.warnings()? {
        tracing::warn!("{warning}");
    }
    if let Err(error) = inbox.keep_reserve(reserve) {
        tracing::warn!("no space is kept in reserve for a full disk: {error}");
    }
    Ok((inbox, intakes))
}
