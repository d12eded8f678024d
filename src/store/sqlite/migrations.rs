//! Schema versions. A version once released is never edited; changes come as a further file.

use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};

use super::owners::Owners;
use crate::platform;
use crate::store::StoreError;
use crate::store::error::Problem;

/// Every version's step, first to last.
const MIGRATIONS: &[&str] = &[include_str!("../../../migrations/sqlite/0001_registry.sql")];

/// Marks a file as ours in its header ("bfhk"), so that no other program's database is touched.
const APPLICATION_ID: i64 = 0x6266_686b;

/// Stands above the version in `user_version` ("bf"): one look tells both that a file is ours and up to date.
const MARK: i64 = 0x6266 << 16;

/// Brings the schema to the newest version.
pub(super) fn prepare(connection: &mut Connection, path: &Path, owners: &Owners) -> Result<(), StoreError> {
    let failed = |error| StoreError::sqlite(path, error);
    if read(connection, "PRAGMA user_version").map_err(failed)? == MARK + known() {
        return Ok(());
    }
    // In a transaction: another process may be setting the file up between one look at it and the next.
    let look = connection.transaction().map_err(failed)?;
    let found = version(&look, path)?;
    drop(look);
    if found == known() {
        return Ok(());
    }
    // One process at a time: a switch of the journal mode does not wait for others by itself.
    let _guard = owners.setup_lock().map_err(|error| StoreError::io(path, error))?;
    // A file that somebody else made empty may be open to others; it is to hold URLs with passwords.
    platform::tighten(path, platform::OTHERS).map_err(|error| StoreError::io(path, error))?;
    connection.pragma_update(None, "journal_mode", "WAL").map_err(failed)?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
    let from = usize::try_from(version(&transaction, path)?).unwrap_or(0);
    for step in MIGRATIONS.iter().skip(from) {
        transaction.execute_batch(step).map_err(failed)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID).map_err(failed)?;
    transaction.pragma_update(None, "user_version", MARK + known()).map_err(failed)?;
    transaction.commit().map_err(failed)
}

/// The newest version.
fn known() -> i64 {
    i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX)
}

fn read(connection: &Connection, sql: &str) -> Result<i64, rusqlite::Error> {
    connection.query_row(sql, [], |row| row.get(0))
}

/// The file's version: 0 for an empty file.
fn version(connection: &Connection, path: &Path) -> Result<i64, StoreError> {
    let failed = |error| StoreError::sqlite(path, error);
    let stored = read(connection, "PRAGMA user_version").map_err(failed)?;
    let owner = read(connection, "PRAGMA application_id").map_err(failed)?;
    if owner != APPLICATION_ID {
        let tables = read(connection, "SELECT count(*) FROM sqlite_schema").map_err(failed)?;
        let empty = owner == 0 && stored == 0 && tables == 0;
        return if empty { Ok(0) } else { Err(StoreError::new(path, Problem::Foreign)) };
    }
    // Whatever does not look like a version of ours was written by somebody who knows more.
    let found = if stored & !0xffff == MARK { stored & 0xffff } else { stored };
    if found != stored - MARK || found > known() {
        return Err(StoreError::new(path, Problem::Newer { found, known: known() }));
    }
    Ok(found)
}
