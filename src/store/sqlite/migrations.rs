//! Schema versions. A version once released is never edited; changes come as a further file.

use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};

use super::fault::{of_io, of_problem, of_sqlite};
use super::owners::Owners;
use crate::platform;
use crate::store::StoreError;
use crate::store::error::Problem;

/// What a file of ours holds.
#[derive(Debug)]
pub(super) struct Schema {
    /// Every version's step, first to last.
    steps: &'static [&'static str],
    /// Marks a file as one of these in its header, so that no other program's database is touched.
    application_id: i64,
    /// Stands above the version in `user_version`: one look tells both what a file is and that it is up to date.
    mark: i64,
    /// What is set before anything is in the file.
    first: &'static str,
}

/// The registry of hooks: "bfhk" and "bf".
pub(super) const REGISTRY: Schema = Schema {
    steps: &[include_str!("../../../migrations/sqlite/0001_registry.sql")],
    application_id: 0x6266_686b,
    mark: 0x6266 << 16,
    first: "",
};

/// The inbox of events: "bfhi" and "bi".
pub(super) const INBOX: Schema = Schema {
    steps: &[include_str!("../../../migrations/sqlite/0001_inbox.sql")],
    application_id: 0x6266_6869,
    mark: 0x6269 << 16,
    // What is purged is given back to the disk.
    first: "PRAGMA auto_vacuum = INCREMENTAL;",
};

/// Brings the schema to the newest version.
pub(super) fn prepare(
    connection: &mut Connection,
    schema: &Schema,
    path: &Path,
    owners: &Owners,
) -> Result<(), StoreError> {
    let failed = |error| of_sqlite(path, error);
    if read(connection, "PRAGMA user_version").map_err(failed)? == schema.mark + schema.known() {
        return Ok(());
    }
    // In a transaction: another process may be setting the file up between one look at it and the next.
    let look = connection.transaction().map_err(failed)?;
    let found = schema.version(&look, path)?;
    drop(look);
    if found == schema.known() {
        return Ok(());
    }
    // One process at a time: a switch of the journal mode does not wait for others by itself.
    let _guard = owners.setup_lock().map_err(|error| of_io(path, error))?;
    // A file that somebody else made empty may be open to others; it is to hold URLs with passwords.
    platform::tighten(path, platform::OTHERS).map_err(|error| of_io(path, error))?;
    connection.execute_batch(schema.first).map_err(failed)?;
    connection.pragma_update(None, "journal_mode", "WAL").map_err(failed)?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
    let from = usize::try_from(schema.version(&transaction, path)?).unwrap_or(0);
    for step in schema.steps.iter().skip(from) {
        transaction.execute_batch(step).map_err(failed)?;
    }
    transaction.pragma_update(None, "application_id", schema.application_id).map_err(failed)?;
    transaction.pragma_update(None, "user_version", schema.mark + schema.known()).map_err(failed)?;
    transaction.commit().map_err(failed)
}

fn read(connection: &Connection, sql: &str) -> Result<i64, rusqlite::Error> {
    connection.query_row(sql, [], |row| row.get(0))
}

impl Schema {
    /// The newest version.
    fn known(&self) -> i64 {
        i64::try_from(self.steps.len()).unwrap_or(i64::MAX)
    }

    /// The file's version: 0 for an empty file.
    fn version(&self, connection: &Connection, path: &Path) -> Result<i64, StoreError> {
        let failed = |error| of_sqlite(path, error);
        let stored = read(connection, "PRAGMA user_version").map_err(failed)?;
        let owner = read(connection, "PRAGMA application_id").map_err(failed)?;
        if owner != self.application_id {
            let tables = read(connection, "SELECT count(*) FROM sqlite_schema").map_err(failed)?;
            let empty = owner == 0 && stored == 0 && tables == 0;
            return if empty { Ok(0) } else { Err(of_problem(path, Problem::Foreign)) };
        }
        // Whatever does not look like a version of ours was written by somebody who knows more.
        let found = if stored & !0xffff == self.mark { stored & 0xffff } else { stored };
        if found != stored - self.mark || found > self.known() {
            return Err(of_problem(path, Problem::Newer { found, known: self.known() }));
        }
        Ok(found)
    }
}
