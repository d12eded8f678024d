//! Schema versions. A version once released is never edited; changes come as a further file.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, TransactionBehavior};

use super::fault::{Problem, StoreFault};
use super::owners::Owners;
use crate::platform;

/// What a file of ours holds.
#[derive(Debug)]
pub(super) struct Schema {
    /// Every version's step, first to last.
    steps: &'static [&'static str],
    /// Marks a file as one of these in its header, so that no other program's database is touched.
    application_id: i64,
    /// A tag above the version in `user_version`: one read tells both what a file is and its version.
    mark: i64,
    /// What is set before anything is in the file.
    first: &'static str,
}

/// The registry of hooks: "bfhk" and "bf".
pub(super) const REGISTRY: Schema = Schema {
    steps: &[
        include_str!("../../../migrations/sqlite/0001_registry.sql"),
        include_str!("../../../migrations/sqlite/0002_registry.sql"),
        include_str!("../../../migrations/sqlite/0003_registry.sql"),
    ],
    application_id: 0x6266_686b,
    mark: 0x6266 << 16,
    first: "",
};

/// The inbox of events: "bfhi" and "bi".
pub(super) const INBOX: Schema = Schema {
    steps: &[
        include_str!("../../../migrations/sqlite/0001_inbox.sql"),
        include_str!("../../../migrations/sqlite/0002_inbox.sql"),
        include_str!("../../../migrations/sqlite/0003_inbox.sql"),
        include_str!("../../../migrations/sqlite/0004_inbox.sql"),
        include_str!("../../../migrations/sqlite/0005_inbox.sql"),
        include_str!("../../../migrations/sqlite/0006_inbox.sql"),
    ],
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
) -> Result<(), StoreFault> {
    if read(connection, "PRAGMA user_version")? == schema.mark + schema.known() {
        return Ok(());
    }
    // In a transaction: another process may be setting the file up between one look at it and the next.
    let look = connection.transaction()?;
    let found = schema.version(&look)?;
    drop(look);
    if found == schema.known() {
        return Ok(());
    }
    // One process at a time: a switch of the journal mode does not wait for others by itself.
    let _guard = owners.setup_lock()?;
    // A file that somebody else made empty may be open to others; it is to hold URLs with passwords.
    platform::tighten(path, platform::OTHERS)?;
    connection.execute_batch(schema.first)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let from = usize::try_from(schema.version(&transaction)?).unwrap_or(0);
    for step in schema.steps.iter().skip(from) {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "application_id", schema.application_id)?;
    transaction.pragma_update(None, "user_version", schema.mark + schema.known())?;
    Ok(transaction.commit()?)
}

/// The version of the file at `path`, whatever it is: 0 if it is not there, or empty. The file stays as it is.
pub(super) fn version_of(path: &Path, schema: &Schema, lock_timeout: Duration) -> Result<i64, StoreFault> {
    if !super::has_content(path)? {
        return Ok(0);
    }
    // In a transaction: another process may be setting the file up between one look at it and the next.
    schema.version(&*super::connect(path, lock_timeout)?.transaction()?)
}

/// What has to be run by `sqlite3` to bring the file at `path` from this version to the newest.
pub(super) fn script(path: &Path, schema: &Schema, from: i64) -> String {
    if from == schema.known() {
        return String::new();
    }
    let from = usize::try_from(from).unwrap_or(0);
    let place = path.display().to_string().replace('\\', "\\\\").replace('"', "\\\"");
    let first = if from == 0 { format!("{}\nPRAGMA journal_mode = WAL;\n", schema.first) } else { String::new() };
    let steps: String = schema.steps.iter().skip(from).copied().collect();
    let (id, version) = (schema.application_id, schema.mark + schema.known());
    format!(
        ".open \"{place}\"\n{first}BEGIN IMMEDIATE;\n{steps}\
         PRAGMA application_id = {id};\nPRAGMA user_version = {version};\nCOMMIT;\n"
    )
}

fn read(connection: &Connection, sql: &str) -> Result<i64, rusqlite::Error> {
    connection.query_row(sql, [], |row| row.get(0))
}

impl Schema {
    /// The newest version.
    pub(super) fn known(&self) -> i64 {
        i64::try_from(self.steps.len()).unwrap_or(i64::MAX)
    }

    /// The file's version: 0 for an empty file.
    fn version(&self, connection: &Connection) -> Result<i64, StoreFault> {
        let stored = read(connection, "PRAGMA user_version")?;
        let owner = read(connection, "PRAGMA application_id")?;
        if owner != self.application_id {
            let tables = read(connection, "SELECT count(*) FROM sqlite_schema")?;
            let empty = owner == 0 && stored == 0 && tables == 0;
            return if empty { Ok(0) } else { Err(Problem::NoRegistry.into()) };
        }
        // Whatever does not look like a version of ours was written by somebody who knows more.
        let found = if stored & !0xffff == self.mark { stored & 0xffff } else { stored };
        if found != stored - self.mark || found > self.known() {
            return Err(Problem::Newer { found, known: self.known() }.into());
        }
        Ok(found)
    }
}
