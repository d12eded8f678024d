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

/// Brings the schema to the newest version.
pub(super) fn prepare(connection: &mut Connection, path: &Path, owners: &Owners) -> Result<(), StoreError> {
    let failed = |error| StoreError::sqlite(path, error);
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    // In a transaction: another process may be setting the file up between one look at it and the next.
    let look = connection.transaction().map_err(failed)?;
    let found = version(&look, path)?;
    drop(look);
    if found == known {
        return Ok(());
    }
    // One process at a time: a switch of the journal mode does not wait for others by itself.
    let _guard = owners.setup_lock().map_err(|error| StoreError::io(path, error))?;
    // A file that somebody else made empty may be open to others; it is to hold URLs with passwords.
    platform::tighten(path).map_err(|error| StoreError::io(path, error))?;
    connection.pragma_update(None, "journal_mode", "WAL").map_err(failed)?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
    let from = usize::try_from(version(&transaction, path)?).unwrap_or(0);
    for step in MIGRATIONS.iter().skip(from) {
        transaction.execute_batch(step).map_err(failed)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID).map_err(failed)?;
    transaction.pragma_update(None, "user_version", known).map_err(failed)?;
    transaction.commit().map_err(failed)
}

/// The file's version: 0 for an empty file.
fn version(connection: &Connection, path: &Path) -> Result<i64, StoreError> {
    let read = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
    let failed = |error| StoreError::sqlite(path, error);
    let found = read("PRAGMA user_version").map_err(failed)?;
    let owner = read("PRAGMA application_id").map_err(failed)?;
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    if owner != APPLICATION_ID {
        let empty = owner == 0 && found == 0 && read("SELECT count(*) FROM sqlite_schema").map_err(failed)? == 0;
        return if empty { Ok(0) } else { Err(StoreError::new(path, Problem::Foreign)) };
    }
    if found > known {
        return Err(StoreError::new(path, Problem::Newer { found, known }));
    }
    Ok(found)
}
