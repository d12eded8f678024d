//! The registry: a row for every hook that may exist at a server, whatever happens to the process that asked for it.

use std::time::Duration;

use jiff::Timestamp;

use super::{Actor, Change, StoreError};
use crate::domain::{ApiOrigin, HookId, HookRecord, Label, ManifestName, RowId, Subscription, TargetUrl};

/// What the registry holds of a subscription that somebody wants to make.
#[derive(Debug)]
pub enum Conflict {
    /// This hook does it already.
    Exists(Box<HookRecord>),
    /// An earlier request for the same may have been carried out, or a removal of it has no known end.
    Unresolved(Box<HookRecord>),
    /// A living process is at work on the same: ask again later.
    InProgress,
}

/// A row that a hook made anew would take the place of, or that stands in its way.
#[derive(Debug)]
pub struct RelatedRow {
    /// The row.
    pub record: HookRecord,
    /// Whether a living process is at work on it.
    pub in_progress: bool,
}

/// A subscription that has become a hook.
#[derive(Debug)]
pub struct Activated {
    /// Its row.
    pub record: HookRecord,
    /// The row of another subscription whose number the server gave anew; it is `gone` now.
    pub displaced: Option<HookRecord>,
}

impl From<HookRecord> for Activated {
    fn from(record: HookRecord) -> Self {
        Self { record, displaced: None }
    }
}

/// What the registry says to an intent to subscribe.
#[derive(Debug)]
pub enum Reservation {
    /// The intent is committed as `pending`: send the request, then say how it ended.
    Reserved(RowId),
    /// Something stands in the way.
    Conflict(Conflict),
}

/// What the registry says to an intent to remove.
#[derive(Debug)]
pub enum RemovalReservation {
    /// The intent is committed as `removing`: send the request, then say how it ended.
    Reserved {
        /// Whether an earlier removal has no known end: the hook may be gone already.
        resumed: bool,
    },
    /// It ended before.
    Ended(Box<HookRecord>),
    /// Somebody has dropped the record in the meantime.
    Forgotten,
    /// A living process is at work on it: ask again later.
    InProgress,
}

/// The intent to subscribe.
#[derive(Debug, Clone)]
pub struct SubscriptionIntent {
    /// What to subscribe.
    pub wanted: Subscription,
    /// The label of the hook.
    pub label: Option<Label>,
    /// The manifest that owns the hook.
    pub managed_by: Option<ManifestName>,
    /// The hook that it takes the place of.
    pub replaces: Option<HookId>,
    /// Whether conflicts are ignored.
    pub force: bool,
}

impl SubscriptionIntent {
    /// The intent to subscribe this, without a label, for nobody, and only if nothing conflicts.
    pub fn of(wanted: Subscription) -> Self {
        Self { wanted, label: None, managed_by: None, replaces: None, force: false }
    }
}

/// How the request for a subscription ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SubscriptionEnd {
    /// It made this hook.
    Made(HookId),
    /// It may have made a hook, for this reason.
    InDoubt(String),
    /// It surely made no hook.
    Abandoned,
}

/// What a manifest says of a hook on record.
#[derive(Debug, Clone)]
pub struct OwnershipChange {
    /// The row.
    pub row: RowId,
    /// The manifest, which owns it from now on.
    pub managed_by: ManifestName,
    /// The label; none removes the one that there is.
    pub label: Option<Label>,
    /// The endpoint with its password, if the one on record is redacted.
    pub target_url: Option<TargetUrl>,
}

/// What became of a hook that another registry holds, and that was brought into this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restored {
    /// It was not on record.
    Added,
    /// It was changed: what the other registry says is newer.
    Changed,
    /// It is as it was: the same, or newer.
    Unchanged,
    /// A living process is at work on it: it is as it was.
    InProgress,
    /// Its number is on record for another subscription: it is as it was.
    Conflict,
}

/// What the registry says to somebody who wants to apply a manifest.
#[derive(Debug)]
pub enum ManifestLock {
    /// Nobody else applies it until this one has ended, or is taken for dead.
    Granted,
    /// Somebody is applying it.
    HeldBy {
        /// Who.
        actor: Actor,
        /// Since when.
        since: Timestamp,
        /// When the lock is free if the holder says nothing more; none where the end of a process is noticed.
        free_at: Option<Timestamp>,
    },
}

/// How a removal ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removal {
    /// The server removed it.
    Removed,
    /// The server says that it is not there.
    Gone,
    /// It surely was not carried out: the hook is active as before.
    Refused,
    /// It may have been carried out, for this reason.
    InDoubt(String),
}

/// The registry, in plain types; a database is behind it. Every change is durable when its call returns, and so is what
/// the history says of it: who did it is known to the registry since it was opened.
///
/// Time is the caller's: rows say when they were made and changed. Only when a row was deleted the clock says, in the history.
///
/// A row belongs to an installation: calls that name an origin neither see nor touch the rows of others.
pub trait Registry: Send {
    /// Calls `each` with every row of `origin`, or of all installations, in a stable order:
    /// by installation, app, event, endpoint and age. A `pending` row of a dead process is given as `unknown`.
    fn hooks(&self, origin: Option<&ApiOrigin>, each: &mut dyn FnMut(HookRecord)) -> Result<(), StoreError>;

    /// The conflict of a subscription with one on record, if there is one.
    fn find_conflict(&self, wanted: &Subscription) -> Result<Option<Conflict>, StoreError>;

    /// The rows of a subscription that have not ended, oldest first; then those for the same event of the app whose place
    /// these take.
    fn related(&self, wanted: &Subscription) -> Result<Vec<RelatedRow>, StoreError>;

    /// Records the intent to subscribe, unless one on record conflicts and it is not forced. An active hook that it
    /// replaces is no conflict, nor are others beside that one, unless one of them has taken its place already.
    fn begin_subscribe(&self, intent: &SubscriptionIntent, now: Timestamp) -> Result<Reservation, StoreError>;

    /// The request made this hook: `pending` → `active`. If a row of the same subscription holds it already, it becomes
    /// this one; if one of another does, the server has given its number anew, and that one is `gone`.
    fn activate(&self, row: RowId, hook: HookId, now: Timestamp) -> Result<Activated, StoreError>;

    /// The request may have made a hook: `pending` → `unknown`.
    fn leave_in_doubt(&self, row: RowId, reason: &str, now: Timestamp) -> Result<HookRecord, StoreError>;

    /// The request surely made no hook: the `pending` row goes.
    fn abandon(&self, row: RowId) -> Result<(), StoreError>;

    /// Says how some removals ended and records the intents of others (→ `removing`), all in one commit.
    ///
    /// Returns the ended rows as they are now (`None` for one that is gone) and an answer to each intent, in order.
    fn record_removals(
        &self,
        ends: &[(RowId, Removal)],
        intents: &[RowId],
        now: Timestamp,
    ) -> Result<(Vec<Option<HookRecord>>, Vec<RemovalReservation>), StoreError>;

    /// Says how some requests to subscribe ended and records the intents of others, all in one commit.
    ///
    /// Returns an answer to each end and to each intent, in order: the row of a hook that was made, or may have been; none if
    /// there is no row any more.
    fn record_subscriptions(
        &self,
        ends: &[(RowId, SubscriptionEnd)],
        intents: &[SubscriptionIntent],
        now: Timestamp,
    ) -> Result<(Vec<Option<Activated>>, Vec<Reservation>), StoreError>;

    /// Gives hooks an owner and a label, all in one commit: active ones that nobody or the same manifest owns. Returns the
    /// rows as they are now; none for another row, which stays as it is. A row that says all of it already is not touched.
    fn manage(&self, changes: &[OwnershipChange], now: Timestamp) -> Result<Vec<Option<HookRecord>>, StoreError>;

    /// Reserves the applying of a manifest to an installation. Does not wait for whoever does it now.
    fn lock_manifest(
        &self,
        origin: &ApiOrigin,
        name: &ManifestName,
        now: Timestamp,
    ) -> Result<ManifestLock, StoreError>;

    /// Says that the holder of such a lock lives, at least every ten seconds. False if it is not the holder any more.
    fn renew_manifest_lock(&self, origin: &ApiOrigin, name: &ManifestName) -> Result<bool, StoreError>;

    /// Gives such a lock back.
    fn unlock_manifest(&self, origin: &ApiOrigin, name: &ManifestName) -> Result<(), StoreError>;

    /// Records a hook made elsewhere as `active`, in place of an unresolved row for the same if there is one.
    /// The flag says whether anything changed.
    fn import(
        &self,
        hook: HookId,
        subscription: &Subscription,
        label: Option<&Label>,
        now: Timestamp,
    ) -> Result<(HookRecord, bool), StoreError>;

    /// Brings in hooks of another registry, all in one commit: those that are not on record, and what is not older of others.
    /// None goes, and none that has ended comes back by what is not newer. Their row numbers do not count; their times do.
    fn restore(&self, hooks: &[HookRecord], now: Timestamp) -> Result<Vec<Restored>, StoreError>;

    /// What [`restore`](Self::restore) would answer now. Nothing is changed.
    fn try_restore(&self, hooks: &[HookRecord], now: Timestamp) -> Result<Vec<Restored>, StoreError>;

    /// Deletes a row whose hook may exist. Refused while a living process is at work on it.
    fn forget(&self, row: RowId) -> Result<(), StoreError>;

    /// Calls `each` with the changes of `origin`'s rows, or of all, newest first, and at most `limit` of them; of one hook
    /// if it is named: those of all rows that hold or held it. The newest [`KEPT_CHANGES`](super::KEPT_CHANGES) are kept,
    /// whatever becomes of the rows.
    fn history(
        &self,
        origin: Option<&ApiOrigin>,
        hook: Option<HookId>,
        limit: Option<u64>,
        each: &mut dyn FnMut(Change),
    ) -> Result<(), StoreError>;

    /// From now on, waits no longer than this for another process's write. How long a server has to answer is another
    /// matter.
    fn set_lock_timeout(&self, timeout: Duration) -> Result<(), StoreError>;

    /// From now on, waits no longer than this for anything: another process's write, or the answer of a server.
    fn set_timeout(&self, timeout: Duration) -> Result<(), StoreError>;

    /// Reads the whole registry for damage.
    fn check(&self) -> Result<(), StoreError>;
}
