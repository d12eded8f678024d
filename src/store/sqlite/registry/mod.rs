//! The registry in an SQLite file: each change is one transaction, in which the history records it.

mod batch;
mod changes;
mod history;
mod import;
mod locks;
mod restore;
mod rows;

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, params};

use self::rows::Reader;
use super::fault::StoreFault;
use super::owners::Owners;
use super::{BUSY_TIMEOUT, migrations};
use crate::domain::{ApiOrigin, HookId, HookRecord, HookStatus, Label, ManifestName, RowId, Subscription, TargetUrl};
use crate::store::error::{Part, Rule};
use crate::store::registry_rules::{
    Ending, FoundRow, conflict_among, ending_of, is_replaceable, removal_of, replaced_elsewhere,
};
use crate::store::{
    Action, Activated, Actor, Change, Conflict, ManifestLock, OwnershipChange, Registry, RelatedRow, Removal,
    RemovalReservation, Reservation, Restored, StoreError, SubscriptionEnd, SubscriptionIntent,
};

/// The order of [`Registry::hooks`], which is that of the table itself.
const ORDER: &str = "ORDER BY api_url, app_id, event, target_url, id";

/// How many pages to keep in memory while listing.
const PAGES_FOR_LISTS: i64 = 32;

/// The subscriptions to an event of an app that are not known to be over, oldest first.
const ALIKE: &str = "SELECT id, target_url FROM hooks WHERE api_url = ?1 AND app_id = ?2 AND event = ?3 \
                     AND status NOT IN ('removed', 'gone') ORDER BY id";

/// A registry in a file.
#[derive(Debug)]
pub struct SqliteRegistry {
    path: PathBuf,
    connection: Connection,
    owners: Owners,
    actor: Actor,
}

impl SqliteRegistry {
    /// Opens the registry for `actor`, creating the file (mode 0600) and its directory (mode 0700) if need be.
    ///
    /// # Errors
    /// When the file is damaged, foreign, newer than this program or cannot be written; it is then as it was.
    pub fn open(path: &Path, actor: Actor) -> Result<Self, StoreError> {
        super::create_file(path).map_err(|error| StoreFault::from(error).at(Part::Registry, path))?;
        Self::open_file(path, BUSY_TIMEOUT, actor)
    }

    /// Opens the registry if its file exists and is not empty, which is no registry yet. Waits at most `timeout` for
    /// other processes.
    ///
    /// # Errors
    /// As [`SqliteRegistry::open`].
    pub fn open_existing(path: &Path, timeout: Duration, actor: Actor) -> Result<Option<Self>, StoreError> {
        if super::has_content(path).map_err(|error| StoreFault::from(error).at(Part::Registry, path))? {
            return Self::open_file(path, timeout, actor).map(Some);
        }
        Ok(None)
    }

    fn open_file(path: &Path, timeout: Duration, actor: Actor) -> Result<Self, StoreError> {
        let owners = Owners::beside(path);
        let connection = super::open_database(path, &migrations::REGISTRY, &owners, timeout)
            .map_err(|fault| fault.at(Part::Registry, path))?;
        Ok(Self { path: path.to_path_buf(), connection, owners, actor })
    }

    /// Runs `work` in a write transaction and commits it durably.
    fn write<T>(&self, work: impl FnOnce(&Connection) -> Result<T, StoreFault>) -> Result<T, StoreError> {
        super::commit(&self.connection, work).map_err(|fault| self.store_error(fault))
    }

    fn store_error(&self, fault: StoreFault) -> StoreError {
        fault.at(Part::Registry, &self.path)
    }
}

impl SqliteRegistry {
    fn reader<'a>(&'a self, connection: &'a Connection) -> Reader<'a> {
        Reader::new(connection, &self.owners)
    }

    fn rows_of_endpoint(&self, connection: &Connection, wanted: &Subscription) -> Result<Vec<FoundRow>, StoreFault> {
        let mut statement = connection.prepare_cached(ALIKE)?;
        let mut rows = statement.query((wanted.origin.as_str(), wanted.app_id.get(), wanted.event.as_str()))?;
        let mut same = Vec::new();
        while let Some(row) = rows.next()? {
            if TargetUrl::from_stored(row.get(1)?).is_same_endpoint(&wanted.target_url) {
                same.push(RowId(row.get(0)?));
            }
        }
        let mut reader = self.reader(connection);
        same.into_iter().filter_map(|row| reader.row(row).transpose()).collect()
    }

    fn conflict(
        &self,
        connection: &Connection,
        wanted: &Subscription,
        replaces: Option<HookId>,
    ) -> Result<Option<Conflict>, StoreFault> {
        Ok(conflict_among(self.rows_of_endpoint(connection, wanted)?, replaces))
    }

    fn related_rows(&self, connection: &Connection, wanted: &Subscription) -> Result<Vec<RelatedRow>, StoreFault> {
        let mut rows = self.rows_of_endpoint(connection, wanted)?;
        let mut reader = self.reader(connection);
        for hook in replaced_elsewhere(&rows) {
            rows.extend(reader.hook(&wanted.origin, hook)?.filter(|found| is_replaceable(found, wanted)));
        }
        Ok(rows.into_iter().map(RelatedRow::from).collect())
    }

    fn begin_one_removal(
        &self,
        reader: &mut Reader<'_>,
        row: RowId,
        now: Timestamp,
    ) -> Result<RemovalReservation, StoreFault> {
        let reservation = removal_of(reader.row(row)?);
        if matches!(reservation, RemovalReservation::Reserved { .. }) {
            let change = "status = 'removing', owner = ?2, reason = NULL, updated_at = ?3";
            reader.set(change, params![row.0, self.owners.own()?, now.as_second()])?;
            self.record(reader.connection, row, Action::BeganRemoval, now)?;
        }
        Ok(reservation)
    }
}

impl Registry for SqliteRegistry {
    fn hooks(&self, origin: Option<&ApiOrigin>, each: &mut dyn FnMut(HookRecord)) -> Result<(), StoreError> {
        // The table is read front to back: what was read once is not needed again.
        let small = self.connection.pragma_update(None, "cache_size", PAGES_FOR_LISTS);
        small.map_err(|error| self.store_error(error.into()))?;
        let mut reader = self.reader(&self.connection);
        // Asked before the rows are read: a row that is still at work then, of a process that was gone before, is in
        // doubt; asked afterwards, the process might have finished it in between.
        reader.ask_owners().map_err(|fault| self.store_error(fault))?;
        let read = match origin {
            Some(origin) => {
                let condition = format!("WHERE api_url = ?1 {ORDER}");
                reader.each(&condition, [origin.as_str()], |found| each(found.record))
            }
            None => reader.each(ORDER, [], |found| each(found.record)),
        };
        read.map_err(|fault| self.store_error(fault))
    }

    fn find_conflict(&self, wanted: &Subscription) -> Result<Option<Conflict>, StoreError> {
        let conflict = self.conflict(&self.connection, wanted, None).map_err(|fault| self.store_error(fault))?;
        match conflict {
            // Between reading the row and finding its process gone, that process may have finished its work: only
            // with everybody kept from writing is it certain.
            Some(Conflict::Unresolved(_)) => self.write(|connection| self.conflict(connection, wanted, None)),
            certain => Ok(certain),
        }
    }

    fn related(&self, wanted: &Subscription) -> Result<Vec<RelatedRow>, StoreError> {
        let rows = self.related_rows(&self.connection, wanted).map_err(|fault| self.store_error(fault))?;
        // As above: another process may be finishing what was read.
        if rows.iter().all(|row| row.record.status == HookStatus::Active) {
            return Ok(rows);
        }
        self.write(|connection| self.related_rows(connection, wanted))
    }

    fn begin_subscribe(&self, intent: &SubscriptionIntent, now: Timestamp) -> Result<Reservation, StoreError> {
        self.write(|connection| self.begin_one_subscription(connection, intent, now))
    }

    fn activate(&self, row: RowId, hook: HookId, now: Timestamp) -> Result<Activated, StoreError> {
        self.write(|connection| self.hold_or_take_over(connection, row, hook, now))
    }

    fn leave_in_doubt(&self, row: RowId, reason: &str, now: Timestamp) -> Result<HookRecord, StoreError> {
        let ending = Ending::LEFT_IN_DOUBT.because(reason);
        self.write(|connection| self.settle(&mut self.reader(connection), row, ending, now))
    }

    fn abandon(&self, row: RowId) -> Result<(), StoreError> {
        self.write(|connection| self.abandon_one(connection, row, Timestamp::now()))
    }

    fn record_removals(
        &self,
        ends: &[(RowId, Removal)],
        intents: &[RowId],
        now: Timestamp,
    ) -> Result<(Vec<Option<HookRecord>>, Vec<RemovalReservation>), StoreError> {
        self.write(|connection| {
            let mut reader = self.reader(connection);
            let end = |(row, end): &(RowId, Removal)| match self.settle(&mut reader, *row, ending_of(end), now) {
                Err(StoreFault::Rule(Rule::Lost(_))) => Ok(None),
                settled => settled.map(Some),
            };
            let ended = ends.iter().map(end).collect::<Result<_, _>>()?;
            let begun =
                intents.iter().map(|row| self.begin_one_removal(&mut reader, *row, now)).collect::<Result<_, _>>()?;
            Ok((ended, begun))
        })
    }

    fn record_subscriptions(
        &self,
        ends: &[(RowId, SubscriptionEnd)],
        intents: &[SubscriptionIntent],
        now: Timestamp,
    ) -> Result<(Vec<Option<Activated>>, Vec<Reservation>), StoreError> {
        self.write(|connection| self.record_batch(connection, ends, intents, now))
    }

    fn manage(&self, changes: &[OwnershipChange], now: Timestamp) -> Result<Vec<Option<HookRecord>>, StoreError> {
        self.write(|connection| changes.iter().map(|change| self.manage_one(connection, change, now)).collect())
    }

    fn lock_manifest(
        &self,
        origin: &ApiOrigin,
        name: &ManifestName,
        now: Timestamp,
    ) -> Result<ManifestLock, StoreError> {
        self.write(|connection| self.take_lock(connection, origin, name, now))
    }

    fn renew_manifest_lock(&self, origin: &ApiOrigin, name: &ManifestName) -> Result<bool, StoreError> {
        self.has_lock(origin, name).map_err(|fault| self.store_error(fault))
    }

    fn unlock_manifest(&self, origin: &ApiOrigin, name: &ManifestName) -> Result<(), StoreError> {
        self.write(|connection| self.free_lock(connection, origin, name))
    }

    fn import(
        &self,
        hook: HookId,
        subscription: &Subscription,
        label: Option<&Label>,
        now: Timestamp,
    ) -> Result<(HookRecord, bool), StoreError> {
        self.write(|connection| {
            if let Some(holder) = self.reader(connection).hook(&subscription.origin, hook)? {
                return self.import_again(connection, holder, subscription, label, now);
            }
            Ok((self.import_anew(connection, hook, subscription, label, now)?, true))
        })
    }

    fn restore(&self, hooks: &[HookRecord], now: Timestamp) -> Result<Vec<Restored>, StoreError> {
        self.write(|connection| self.restore_all(connection, hooks, now))
    }

    fn try_restore(&self, hooks: &[HookRecord], now: Timestamp) -> Result<Vec<Restored>, StoreError> {
        self.write(|connection| self.restore_and_undo(connection, hooks, now))
    }

    fn forget(&self, row: RowId) -> Result<(), StoreError> {
        self.write(|connection| {
            let Some(found) = self.reader(connection).row(row)? else { return Ok(()) };
            if found.in_progress {
                return Err(Rule::InUse.into());
            }
            self.delete(connection, row, Action::Forgotten, Timestamp::now())
        })
    }

    fn history(
        &self,
        origin: Option<&ApiOrigin>,
        hook: Option<HookId>,
        limit: Option<u64>,
        each: &mut dyn FnMut(Change),
    ) -> Result<(), StoreError> {
        self.read_history(origin, hook, limit, each).map_err(|fault| self.store_error(fault))
    }

    fn set_lock_timeout(&self, timeout: Duration) -> Result<(), StoreError> {
        self.connection.busy_timeout(timeout).map_err(|error| self.store_error(error.into()))
    }

    fn set_timeout(&self, timeout: Duration) -> Result<(), StoreError> {
        // A file is not waited for but when it is locked.
        self.set_lock_timeout(timeout)
    }

    fn check(&self) -> Result<(), StoreError> {
        super::check_integrity(&self.connection).map_err(|fault| self.store_error(fault))
    }
}
