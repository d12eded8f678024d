//! The inbox for the page: what is quick never waits behind what is slow, and both behind no change.

use crate::error::Result;
use crate::store::worker::StoreWorker;
use crate::store::{Inbox, Store};

/// An inbox behind a thread of its own.
pub(super) type InboxReader = StoreWorker<dyn Inbox>;

/// The connections to the inbox.
pub(super) struct Readers {
    /// For lists, events, and what streams.
    pub(super) quick: InboxReader,
    /// For searches and charts.
    pub(super) slow: InboxReader,
    /// For changes.
    pub(super) changes: InboxReader,
}

impl Readers {
    /// Opens them; the inbox is made if need be.
    ///
    /// # Errors
    /// When the inbox cannot be opened.
    pub(super) fn open(store: &dyn Store) -> Result<Self> {
        let open = |name: &str| -> Result<InboxReader> { Ok(StoreWorker::start(name, store.inbox()?)?.0) };
        Ok(Self { quick: open("page")?, slow: open("page-slow")?, changes: open("page-changes")? })
    }
}
