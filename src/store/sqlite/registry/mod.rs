//! The registry in an SQLite file: each change is one transaction.

mod rows;

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, ErrorCode, params};

use self::rows::{FoundRow, Reader};
use super::fault::StoreFault;
use super::owners::Owners;
use super::{BUSY_TIMEOUT, migrations};
use crate::domain::{ApiOrigin, HookId, HookRecord, HookStatus, Label, RowId, Subscription, TargetUrl};
use crate::store::error::{Part, Rule};
use crate::store::{Activated, Conflict, Registry, Removal, RemovalReservation, Reservation, StoreError};

/// The order of [`Registry::hooks`], which is that of the table itself.
const ORDER: &str = "ORDER BY api_url, app_id, event, target_url, id";

/// How many pages to keep in memory while listing.
const PAGES_FOR_LISTS: i64 = 32;

/// The subscriptions to an event of an app that are not known to be over, oldest first.
const ALIKE: &str = "SELECT id, target_url FROM hooks WHERE api_url = ?1 AND app_id = ?2 AND event = ?3 \
                     AND status NOT IN ('removed', 'gone') ORDER BY id";

/// What changes when a subscription has become a hook.
const ACTIVATE: &str = "hook_id = ?2, status = 'active', reason = NULL, owner = NULL, updated_at = ?3";

/// A registry in a file.
#[derive(Debug)]
pub struct SqliteRegistry {
    path: PathBuf,
    connection: Connection,
    owners: Owners,
}

impl SqliteRegistry {
    /// Opens the registry, creating the file (mode 0600) and its directory (mode 0700) if need be.
    ///
    /// # Errors
    /// When the file is damaged, foreign, newer than this program or cannot be written; it is then as it was.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        super::create_file(path).map_err(|error| StoreFault::from(error).at(Part::Registry, path))?;
        Self::open_file(path, BUSY_TIMEOUT)
    }

    /// Opens the registry if its file exists and is not empty, which is no registry yet. Waits at most `timeout` for
    /// other processes.
    ///
    /// # Errors
    /// As [`SqliteRegistry::open`].
    pub fn open_existing(path: &Path, timeout: Duration) -> Result<Option<Self>, StoreError> {
        if super::has_content(path).map_err(|error| StoreFault::from(error).at(Part::Registry, path))? {
            return Self::open_file(path, timeout).map(Some);
        }
        Ok(None)
    }

    fn open_file(path: &Path, timeout: Duration) -> Result<Self, StoreError> {
        let owners = Owners::beside(path);
        let connection = super::open_database(path, &migrations::REGISTRY, &owners, timeout)
            .map_err(|fault| fault.at(Part::Registry, path))?;
        Ok(Self { path: path.to_path_buf(), connection, owners })
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
        let endpoint = wanted.target_url.endpoint();
        let mut same = Vec::new();
        while let Some(row) = rows.next()? {
            if TargetUrl::from_stored(row.get(1)?).endpoint() == endpoint {
                same.push(RowId(row.get(0)?));
            }
        }
        let mut reader = self.reader(connection);
        same.into_iter().filter_map(|row| reader.row(row).transpose()).collect()
    }

    fn conflict(&self, connection: &Connection, wanted: &Subscription) -> Result<Option<Conflict>, StoreFault> {
        let mut same = self.rows_of_endpoint(connection, wanted)?;
        if let Some(index) = same.iter().position(|found| found.record.status == HookStatus::Active) {
            return Ok(Some(Conflict::Exists(Box::new(same.swap_remove(index).record))));
        }
        if same.iter().any(|found| found.in_progress) {
            return Ok(Some(Conflict::InProgress));
        }
        Ok(same.into_iter().next().map(|found| Conflict::Unresolved(Box::new(found.record))))
    }

    fn begin_one_removal(
        &self,
        reader: &mut Reader<'_>,
        row: RowId,
        now: Timestamp,
    ) -> Result<RemovalReservation, StoreFault> {
        let Some(found) = reader.row(row)? else { return Ok(RemovalReservation::Forgotten) };
        if found.record.status.is_ended() {
            return Ok(RemovalReservation::Ended(Box::new(found.record)));
        }
        if found.in_progress {
            return Ok(RemovalReservation::InProgress);
        }
        let change = "status = 'removing', owner = ?2, reason = NULL, updated_at = ?3";
        reader.set(change, params![row.0, self.owners.own()?, now.as_second()])?;
        Ok(RemovalReservation::Reserved { resumed: found.record.status == HookStatus::Removing })
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
        let conflict = self.conflict(&self.connection, wanted).map_err(|fault| self.store_error(fault))?;
        match conflict {
            // Between reading the row and finding its process gone, that process may have finished its work: only
            // with everybody kept from writing is it certain.
            Some(Conflict::Unresolved(_)) => self.write(|connection| self.conflict(connection, wanted)),
            certain => Ok(certain),
        }
    }

    fn begin_subscribe(
        &self,
        wanted: &Subscription,
        label: Option<&Label>,
        force: bool,
        now: Timestamp,
    ) -> Result<Reservation, StoreError> {
        self.write(|connection| {
            let conflict = if force { None } else { self.conflict(connection, wanted)? };
            if let Some(conflict) = conflict {
                return Ok(Reservation::Conflict(conflict));
            }
            let owner = self.owners.own()?;
            insert(connection, wanted, HookStatus::Pending, label, Some(owner), now).map(Reservation::Reserved)
        })
    }

    fn activate(&self, row: RowId, hook: HookId, now: Timestamp) -> Result<Activated, StoreError> {
        let changed = self.reader(&self.connection).change(row, ACTIVATE, params![row.0, hook.get(), now.as_second()]);
        match changed {
            Ok(Some(record)) => Ok(record.into()),
            Err(StoreFault::Sqlite(error)) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {
                self.write(|connection| self.take_over(connection, row, hook, now))
            }
            Ok(None) => Err(self.store_error(lost(row))),
            Err(fault) => Err(self.store_error(fault)),
        }
    }

    fn leave_in_doubt(&self, row: RowId, reason: &str, now: Timestamp) -> Result<HookRecord, StoreError> {
        self.write(|connection| settle(&mut self.reader(connection), row, HookStatus::Unknown, Some(reason), now))
    }

    fn abandon(&self, row: RowId) -> Result<(), StoreError> {
        self.write(|connection| {
            connection.execute("DELETE FROM hooks WHERE id = ?1 AND status = 'pending'", [row.0])?;
            Ok(())
        })
    }

    fn record_removals(
        &self,
        ends: &[(RowId, Removal)],
        intents: &[RowId],
        now: Timestamp,
    ) -> Result<(Vec<Option<HookRecord>>, Vec<RemovalReservation>), StoreError> {
        self.write(|connection| {
            let mut reader = self.reader(connection);
            let end = |(row, end): &(RowId, Removal)| {
                let (status, reason) = match end {
                    Removal::Removed => (HookStatus::Removed, None),
                    Removal::Gone => (HookStatus::Gone, None),
                    Removal::Refused => (HookStatus::Active, None),
                    Removal::InDoubt(reason) => (HookStatus::Removing, Some(reason.as_str())),
                };
                match settle(&mut reader, *row, status, reason, now) {
                    Err(StoreFault::Rule(Rule::Lost(_))) => Ok(None),
                    settled => settled.map(Some),
                }
            };
            let ended = ends.iter().map(end).collect::<Result<_, _>>()?;
            let begun =
                intents.iter().map(|row| self.begin_one_removal(&mut reader, *row, now)).collect::<Result<_, _>>()?;
            Ok((ended, begun))
        })
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
            let row = self.row_for_import(connection, subscription, now)?;
            let mut reader = self.reader(connection);
            let change = "hook_id = ?2, label = coalesce(?3, label)";
            reader.set(change, params![row.0, hook.get(), label.map(Label::as_str)])?;
            Ok((settle(&mut reader, row, HookStatus::Active, None, now)?, true))
        })
    }

    fn forget(&self, row: RowId) -> Result<(), StoreError> {
        self.write(|connection| {
            let Some(found) = self.reader(connection).row(row)? else { return Ok(()) };
            if found.in_progress {
                return Err(Rule::InUse.into());
            }
            connection.execute("DELETE FROM hooks WHERE id = ?1", [row.0])?;
            Ok(())
        })
    }

    fn set_lock_timeout(&self, timeout: Duration) -> Result<(), StoreError> {
        self.connection.busy_timeout(timeout).map_err(|error| self.store_error(error.into()))
    }

    fn check(&self) -> Result<(), StoreError> {
        super::check_integrity(&self.connection).map_err(|fault| self.store_error(fault))
    }
}

impl SqliteRegistry {
    /// Imports a hook that a row holds already: the same one again, or one that was taken for ended.
    fn import_again(
        &self,
        connection: &Connection,
        holder: FoundRow,
        subscription: &Subscription,
        label: Option<&Label>,
        now: Timestamp,
    ) -> Result<(HookRecord, bool), StoreFault> {
        let record = holder.record;
        let known = &record.subscription;
        let same = (known.app_id, known.event) == (subscription.app_id, subscription.event)
            && subscription.target_url.selects(&known.target_url);
        let Some(hook) = record.hook_id.filter(|_| !same) else {
            if record.status == HookStatus::Active && (label.is_none() || record.label.as_ref() == label) {
                return Ok((record, false));
            }
            if holder.in_progress {
                return Err(Rule::InUse.into());
            }
            let mut reader = self.reader(connection);
            set_label(&reader, record.row, label)?;
            return Ok((settle(&mut reader, record.row, HookStatus::Active, None, now)?, true));
        };
        Err(Rule::Conflict { hook, recorded: known.to_string() }.into())
    }

    /// The server gave a new hook a number that is on record.
    fn take_over(
        &self,
        connection: &Connection,
        pending: RowId,
        hook: HookId,
        now: Timestamp,
    ) -> Result<Activated, StoreFault> {
        let wanted = self.reader(connection).row(pending)?.ok_or_else(|| lost(pending))?.record;
        let origin = &wanted.subscription.origin;
        let holder = self.reader(connection).hook(origin, hook)?.ok_or_else(|| lost(pending))?.record;
        if holder.subscription.is_same_as(&wanted.subscription) {
            connection.execute("DELETE FROM hooks WHERE id = ?1", [pending.0])?;
            let mut reader = self.reader(connection);
            set_label(&reader, holder.row, wanted.label.as_ref())?;
            return Ok(settle(&mut reader, holder.row, HookStatus::Active, None, now)?.into());
        }
        let displaced = Some(settle(&mut self.reader(connection), holder.row, HookStatus::Gone, None, now)?);
        let record =
            self.reader(connection).change(pending, ACTIVATE, params![pending.0, hook.get(), now.as_second()])?;
        Ok(Activated { record: record.ok_or_else(|| lost(pending))?, displaced })
    }

    /// The unresolved row that an import settles, or a fresh one.
    fn row_for_import(
        &self,
        connection: &Connection,
        subscription: &Subscription,
        now: Timestamp,
    ) -> Result<RowId, StoreFault> {
        let condition = "WHERE api_url = ?1 AND app_id = ?2 AND event = ?3 AND hook_id IS NULL ORDER BY id";
        let key = (subscription.origin.as_str(), subscription.app_id.get(), subscription.event.as_str());
        let mut unresolved = self.reader(connection).all(condition, key)?;
        let target = &subscription.target_url;
        unresolved.retain(|found| !found.in_progress && target.selects(&found.record.subscription.target_url));
        let mut targets: Vec<_> = unresolved.iter().map(|found| &found.record.subscription.target_url).collect();
        targets.dedup();
        match (unresolved.first(), targets.len()) {
            (Some(found), 1) => Ok(found.record.row),
            (Some(_), _) => Err(Rule::Ambiguous.into()),
            (None, _) if target.is_redacted() => Err(Rule::HiddenPassword.into()),
            (None, _) => insert(connection, subscription, HookStatus::Unknown, None, None, now),
        }
    }
}

/// Adds a row that holds no hook yet.
fn insert(
    connection: &Connection,
    wanted: &Subscription,
    status: HookStatus,
    label: Option<&Label>,
    owner: Option<&str>,
    now: Timestamp,
) -> Result<RowId, StoreFault> {
    // Never one that was given before, though its row be gone: somebody may still mean that one.
    let at_least = now.as_millisecond();
    let next = "SELECT max(coalesce(max(id), 0) + 1, ?1) FROM hooks";
    let id: i64 = connection.query_row(next, [at_least], |row| row.get(0))?;
    let sql = "INSERT INTO hooks (id, api_url, app_id, event, target_url, status, label, owner, created_at, updated_at) \
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?9)";
    let values = params![
        id,
        wanted.origin.as_str(),
        wanted.app_id.get(),
        wanted.event.as_str(),
        wanted.target_url.expose(),
        status.as_str(),
        label.map(Label::as_str),
        owner,
        now.as_second(),
    ];
    connection.execute(sql, values)?;
    Ok(RowId(id))
}

/// Sets status and reason, and gives the row back.
fn settle(
    reader: &mut Reader<'_>,
    row: RowId,
    status: HookStatus,
    reason: Option<&str>,
    now: Timestamp,
) -> Result<HookRecord, StoreFault> {
    let change = "status = ?2, reason = ?3, owner = NULL, updated_at = ?4";
    let changed = reader.change(row, change, params![row.0, status.as_str(), reason, now.as_second()])?;
    changed.ok_or_else(|| lost(row))
}

/// Gives the row a label, if there is one.
fn set_label(reader: &Reader<'_>, row: RowId, label: Option<&Label>) -> Result<(), StoreFault> {
    reader.set("label = coalesce(?2, label)", params![row.0, label.map(Label::as_str)])
}

/// The row, which was there, is not there any more.
fn lost(row: RowId) -> StoreFault {
    Rule::Lost(row.0).into()
}
