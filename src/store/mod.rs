//! The store: the registry, with a row for every hook that may exist at a server, and the inbox, with every event that
//! was received, whatever happens to the processes that wrote them.
//!
//! | trait | its role | who has it |
//! |---|---|---|
//! | [`Registry`] | hooks on record | commands that subscribe and remove, and their history |
//! | [`Intake`], [`Queue`], [`Coordination`] | commit deliveries; claim, renew and settle forwards; know other receivers | a receiver |
//! | [`Events`], [`Maintenance`], [`Targets`], [`Polling`] | read the inbox; purge, requeue, check; pause targets; poll | any process |
//!
//! All of them are synchronous: asynchronous code goes through a [`worker`].

mod codec;
mod coordination;
mod copy;
mod counting;
mod deletion;
mod depositing;
mod error;
mod events;
pub mod exchange;
mod figures;
mod first_attempt;
mod hand_over;
mod history;
mod info;
mod intake;
mod keys;
mod maintenance;
mod migration;
mod polling;
#[cfg(feature = "postgres")]
pub mod postgres;
mod queue;
mod registry;
mod registry_rules;
mod restoration;
pub mod sqlite;
mod targets;
pub mod worker;

pub use codec::EncodedDelivery;
pub use coordination::{Attendance, Coordination};
pub use copy::{
    ColumnKind, CopiedPart, CopiedRow, CopiedTable, CopiedValue, CopyState, LastNumbers, StoreExport, StoreImport,
    copy_store,
};
pub use depositing::{Reread, StoreDeposit};
pub use error::{StoreError, StoreErrorKind};
pub use events::{
    Backlog, EventCount, EventPage, EventRecord, EventSelection, EventSeq, EventState, Events, Quarantined, Usage,
    next_events,
};
pub use figures::{EventBucket, ForwardLatency, StoredDelivery};
pub use first_attempt::{FirstAttempt, first_attempt};
pub use hand_over::{HandOver, HandedOver, Recipients};
pub use history::{Action, Actor, Change, KEPT_CHANGES};
pub use info::{PartInfo, StoreInfo};
pub use intake::{DEDUPE_WINDOW, Intake, Receipt};
pub use keys::{KeyFile, Keys, ReceiverKeys};
pub use maintenance::{Maintenance, PurgeRule, Purged, Requeued};
pub use migration::SchemaState;
pub use polling::{Arrival, MissedEvents, Polling};
pub use queue::{
    AttemptOutcome, AttemptReport, ClaimRequest, Forward, ForwardId, KEPT_OF_ANSWER, Lease, LeaseToken, Leased, Queue,
    Route, Settled, Settlement, TargetId, TargetName,
};
pub use registry::{
    Activated, Conflict, ManifestLock, OwnershipChange, Registry, RelatedRow, Removal, RemovalReservation, Reservation,
    Restored, SubscriptionEnd, SubscriptionIntent,
};
pub use targets::{AttemptRecord, ForwardRecord, TargetRecord, Targets};

use std::path::Path;
use std::time::Duration;

/// An inbox, for whoever does not receive into it.
pub trait Inbox: Events + Maintenance + Targets + Polling + HandOver {}

impl<T: Events + Maintenance + Targets + Polling + HandOver> Inbox for T {}

/// An inbox, for a receiver.
pub trait ReceiverInbox: Intake + Queue + Coordination + Inbox {}

impl<T: Intake + Queue + Coordination + Inbox> ReceiverInbox for T {}

/// A place that holds both parts. Each is opened when it is asked for; either may be opened several times, by a thread
/// each.
pub trait Store: Send + Sync {
    /// Where the registry is, as people know it.
    fn registry_place(&self) -> String;

    /// Where the inbox is.
    fn inbox_place(&self) -> String;

    /// The registry, made if need be.
    ///
    /// # Errors
    /// When it is damaged, foreign, newer than this program or cannot be written; it is then as it was.
    fn registry(&self) -> Result<Box<dyn Registry>, StoreError>;

    /// The registry, if there is one. Its calls wait for other processes no longer than `lock_timeout`, or as long as the
    /// backend finds right.
    ///
    /// # Errors
    /// As [`Store::registry`].
    fn existing_registry(&self, lock_timeout: Option<Duration>) -> Result<Option<Box<dyn Registry>>, StoreError>;

    /// Checks whether a registry can be created, without creating it.
    ///
    /// # Errors
    /// When it cannot.
    fn check_creatable(&self) -> Result<(), StoreError>;

    /// The inbox, made if need be.
    ///
    /// # Errors
    /// As [`Store::registry`].
    fn inbox(&self) -> Result<Box<dyn Inbox>, StoreError>;

    /// The inbox, if there is one.
    ///
    /// # Errors
    /// As [`Store::registry`].
    fn existing_inbox(&self) -> Result<Option<Box<dyn Inbox>>, StoreError>;

    /// The inbox, made if need be, to receive into.
    ///
    /// # Errors
    /// As [`Store::registry`]; and when the backend allows one receiver at a time, and there is one.
    fn receiver_inbox(&self) -> Result<Box<dyn ReceiverInbox>, StoreError>;

    /// More connections to store deliveries by, beside that of [`Store::receiver_inbox`]: while one waits for its commit,
    /// the next group goes by another. None where one writer is as fast.
    ///
    /// # Errors
    /// As [`Store::registry`].
    fn intakes(&self) -> Result<Vec<Box<dyn Intake>>, StoreError> {
        Ok(Vec::new())
    }

    /// The inbox, for a receiver's own checks: they wait no longer than its senders do.
    ///
    /// # Errors
    /// As [`Store::registry`].
    fn watched_inbox(&self) -> Result<Box<dyn Inbox>, StoreError> {
        self.inbox()
    }

    /// What the store consists of.
    ///
    /// # Errors
    /// When a part cannot be read.
    fn info(&self) -> Result<StoreInfo, StoreError>;

    /// Writes a copy of all parts into a directory that does not exist yet, or is empty: each as it is at one moment,
    /// whoever uses it meanwhile. The copy is a store itself.
    ///
    /// # Errors
    /// When a part cannot be read, or the copy written.
    fn back_up(&self, directory: &Path) -> Result<(), StoreError>;

    /// Puts the parts that are in such a directory in the place of those of this store, which are to be used by nobody.
    ///
    /// # Errors
    /// When it is no backup, a receiver runs, or a part is there and must not be replaced; all is then as it was.
    fn restore(&self, directory: &Path, replace: bool) -> Result<(), StoreError>;

    /// The schema of each part, as it is. Nothing is changed.
    ///
    /// # Errors
    /// When a part cannot be read, or is newer than this program.
    fn schemas(&self) -> Result<Vec<SchemaState>, StoreError>;

    /// Brings the schema of each part to the newest version, made if need be: all of a part or nothing, whoever does it at
    /// the same time.
    ///
    /// # Errors
    /// As [`Store::registry`].
    fn migrate(&self) -> Result<(), StoreError>;

    /// What it holds, to be copied into another store.
    ///
    /// # Errors
    /// When there is no store, it cannot be read, or somebody receives into it.
    fn export(&self) -> Result<Box<dyn StoreExport>, StoreError>;

    /// The store, made if need be, to be filled from another one.
    ///
    /// # Errors
    /// As [`Store::registry`], and when somebody receives into it.
    fn import(&self) -> Result<Box<dyn StoreImport>, StoreError>;

    /// Gives back the space that is kept in reserve for a full disk. Returns whether there was any.
    ///
    /// # Errors
    /// When it cannot be given back.
    fn free_reserve(&self) -> Result<bool, StoreError>;

    /// The keys in the path that Bugfender delivers to.
    fn receiver_keys(&self) -> Box<dyn ReceiverKeys>;
}
