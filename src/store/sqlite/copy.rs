//! The rows of a store in files, to be copied into another store or out of it.

use std::fs::File;
use std::path::Path;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, Row, ToSql, params_from_iter};

use super::dedup::DedupIndex;
use super::fault::{Problem, StoreFault};
use super::inbox::receiver_lock;
use super::migrations::{INBOX, REGISTRY, Schema};
use super::owners::Owners;
use super::{BUSY_TIMEOUT, SqliteStore, commit, create_file, has_content, open_database};
use crate::domain::event::EventKey;
use crate::error::Result;
use crate::store::copy::{Batch, TABLES};
use crate::store::error::Part;
use crate::store::{
    ColumnKind, CopiedRow, CopiedTable, CopiedValue, CopyState, KeyFile, Keys, LastNumbers, StoreError, StoreExport,
    StoreImport,
};

/// Which store this one was copied from, and whether all of it is here. The table is there in copies only.
const COPIED: &str = "CREATE TABLE IF NOT EXISTS copied (
    id     INTEGER PRIMARY KEY CHECK (id = 1),
    source TEXT    NOT NULL,
    done   INTEGER NOT NULL
) STRICT";

/// The microseconds in the times that the registry has in seconds.
const SECOND: i64 = 1_000_000;

/// A store that nobody receives into as long as this is there.
pub(super) struct SqliteCopy {
    store: SqliteStore,
    registry: Option<Connection>,
    inbox: Option<Connection>,
    /// The keys of the events of a target.
    known: Option<DedupIndex>,
    lock: File,
}

/// A program that is being started has the file open too, until it is that program: closing the file is not enough.
impl Drop for SqliteCopy {
    fn drop(&mut self) {
        // If it fails, closing it is what is left.
        let _ = self.lock.unlock();
    }
}

impl SqliteCopy {
    /// The store, of which a part at least has to be there.
    pub(super) fn of_existing(store: &SqliteStore) -> Result<Self, StoreError> {
        let existing = |part: Part, schema: &Schema, path: &Path| {
            let open = || if has_content(path)? { open_file(schema, path).map(Some) } else { Ok(None) };
            open().map_err(|fault: StoreFault| fault.at(part, path))
        };
        let registry = existing(Part::Registry, &REGISTRY, &store.registry)?;
        let inbox = existing(Part::Inbox, &INBOX, &store.inbox_path())?;
        if registry.is_none() && inbox.is_none() {
            return Err(StoreFault::from(Problem::NoStore).at(Part::Registry, &store.registry));
        }
        Self::of(store, registry, inbox)
    }

    /// The store, made if need be.
    pub(super) fn of_target(store: &SqliteStore) -> Result<Self, StoreError> {
        let made = |part: Part, schema: &Schema, path: &Path| {
            let open = || create_file(path).map_err(StoreFault::from).and_then(|()| open_file(schema, path));
            open().map(Some).map_err(|fault| fault.at(part, path))
        };
        let registry = made(Part::Registry, &REGISTRY, &store.registry)?;
        let inbox = made(Part::Inbox, &INBOX, &store.inbox_path())?;
        Self::of(store, registry, inbox)
    }

    fn of(store: &SqliteStore, registry: Option<Connection>, inbox: Option<Connection>) -> Result<Self, StoreError> {
        let path = store.inbox_path();
        let lock = receiver_lock(&Owners::beside(&path)).map_err(|fault| fault.at(Part::Inbox, &path))?;
        Ok(Self { store: store.clone(), registry, inbox, known: None, lock })
    }

    fn key_file(&self) -> KeyFile {
        KeyFile::at(self.store.key_path())
    }

    /// Does something with the file of the registry, or of the inbox, if it is there.
    fn with<T: Default>(
        &self,
        is_registry: bool,
        work: impl FnOnce(&Connection) -> Result<T, StoreFault>,
    ) -> Result<T, StoreError> {
        let connection = if is_registry { &self.registry } else { &self.inbox };
        let Some(connection) = connection else { return Ok(T::default()) };
        work(connection).map_err(|fault| {
            if is_registry {
                fault.at(Part::Registry, &self.store.registry)
            } else {
                fault.at(Part::Inbox, &self.store.inbox_path())
            }
        })
    }

    /// Whether there is anything in it.
    fn is_empty(&self) -> Result<bool> {
        for table in &TABLES {
            let sql = format!("SELECT NOT EXISTS (SELECT 1 FROM {})", table.name);
            let is_empty = |connection: &Connection| Ok(Some(connection.query_row(&sql, [], |row| row.get(0))?));
            if self.with(table.is_of_registry, is_empty)? == Some(false) {
                return Ok(false);
            }
        }
        Ok(self.key_file().existing()?.is_none())
    }

    /// Makes the deduplication index know events that were added.
    fn index(&mut self, events: &[CopiedRow]) -> Result<(), StoreError> {
        let Some(mut known) = self.known.take() else { return Ok(()) };
        known.add(events.iter().filter_map(|row| key_of_event(row)));
        self.with(false, |inbox| {
            while let Some(step) = known.next_step() {
                let written = commit(inbox, |connection| known.write(step, connection))?;
                known.apply(written);
            }
            Ok(())
        })?;
        self.known = Some(known);
        Ok(())
    }
}

fn open_file(schema: &Schema, path: &Path) -> Result<Connection, StoreFault> {
    open_database(path, schema, &Owners::beside(path), BUSY_TIMEOUT)
}

/// The key of an event, and its number.
fn key_of_event(row: &[CopiedValue]) -> Option<(EventKey, i64)> {
    let key = row.iter().find_map(CopiedValue::bytes)?;
    Some((EventKey::from_bytes(key.try_into().ok()?), row.first()?.number()?))
}

/// The column that the rows are in the order of.
fn key_column(table: &CopiedTable) -> &'static str {
    if table.is_of_attempts() { "id" } else { table.key_column() }
}

/// What a column is here.
fn expression(table: &CopiedTable, column: &'static str) -> &'static str {
    match column {
        "forward" if table.is_of_attempts() => "id / 16",
        "slot" if table.is_of_attempts() => "id % 16",
        column => column,
    }
}

fn read(row: &Row<'_>, table: &CopiedTable) -> Result<CopiedRow, rusqlite::Error> {
    let value = |(place, (_, kind)): (usize, &(&str, ColumnKind))| {
        Ok(match (row.get_ref(place)?, kind) {
            (ValueRef::Null, _) => CopiedValue::Empty,
            (_, ColumnKind::Number) => CopiedValue::Number(row.get(place)?),
            (_, ColumnKind::Second) => CopiedValue::Number(row.get::<_, i64>(place)?.saturating_mul(SECOND)),
            // Other databases have no NUL in texts.
            (_, ColumnKind::Text) => CopiedValue::Text(row.get::<_, String>(place)?.replace('\0', "\u{fffd}")),
            (_, ColumnKind::Bytes) => CopiedValue::Bytes(row.get(place)?),
        })
    };
    table.columns.iter().enumerate().map(value).collect()
}

fn insert(connection: &Connection, table: &CopiedTable, rows: &[CopiedRow]) -> Result<(), StoreFault> {
    // An attempt has one number, which is made of two.
    let columns = table.columns.iter().map(|(name, _)| *name).filter(|name| !table.is_of_attempts() || *name != "slot");
    let columns: Vec<_> = columns.map(|name| if name == "forward" { "id" } else { name }).collect();
    let places = vec!["?"; columns.len()].join(", ");
    let sql = format!("INSERT INTO {} ({}) VALUES ({places})", table.name, columns.join(", "));
    let mut statement = connection.prepare_cached(&sql)?;
    for row in rows {
        let key = CopiedValue::Number(table.key(row));
        let rest = if table.is_of_attempts() { 2 } else { 1 };
        let kinds = table.columns.iter().map(|(_, kind)| *kind);
        let values = kinds.zip(row).skip(rest).map(|(kind, value)| stored(kind, value));
        statement.execute(params_from_iter(std::iter::once(stored(ColumnKind::Number, &key)).chain(values)))?;
    }
    Ok(())
}

fn stored(kind: ColumnKind, value: &CopiedValue) -> Box<dyn ToSql + '_> {
    match value {
        CopiedValue::Empty => Box::new(rusqlite::types::Null),
        CopiedValue::Number(number) if kind == ColumnKind::Second => Box::new(number.div_euclid(SECOND)),
        CopiedValue::Number(number) => Box::new(number),
        CopiedValue::Text(text) => Box::new(text),
        CopiedValue::Bytes(bytes) => Box::new(bytes),
    }
}

fn number(connection: &Connection, sql: &str) -> Result<i64, StoreFault> {
    Ok(connection.query_row(sql, [], |row| row.get::<_, Option<i64>>(0)).optional()?.flatten().unwrap_or(0))
}

impl StoreExport for SqliteCopy {
    fn place(&self) -> String {
        let path = &self.store.registry;
        let real = path.canonicalize().or_else(|_| std::path::absolute(path));
        format!("sqlite:{}", real.unwrap_or_else(|_| path.clone()).display())
    }

    fn count(&mut self, table: &'static CopiedTable) -> Result<u64> {
        let sql = format!("SELECT count(*) FROM {}", table.name);
        let count = self.with(table.is_of_registry, |connection| number(connection, &sql))?;
        Ok(u64::try_from(count).unwrap_or(0))
    }

    fn rows(&mut self, table: &'static CopiedTable, after: i64) -> Result<Vec<CopiedRow>> {
        let columns: Vec<_> = table.columns.iter().map(|(name, _)| expression(table, name)).collect();
        let (key, rows) = (key_column(table), Batch::ROWS);
        let (columns, name) = (columns.join(", "), table.name);
        let sql = format!("SELECT {columns} FROM {name} WHERE {key} > ? ORDER BY {key} LIMIT {rows}");
        let read = |connection: &Connection| {
            let mut statement = connection.prepare_cached(&sql)?;
            let mut found = statement.query([after])?;
            let mut batch = Batch::default();
            while let (false, Some(row)) = (batch.is_full(), found.next()?) {
                batch.add(read(row, table)?);
            }
            Ok(batch.into_rows())
        };
        Ok(self.with(table.is_of_registry, read)?)
    }

    fn last_numbers(&mut self) -> Result<LastNumbers> {
        let registry = self.with(true, |registry| {
            let changes = number(registry, "SELECT max(number) FROM history")?;
            let rows =
                "SELECT max(coalesce((SELECT max(id) FROM hooks), 0), coalesce((SELECT max(row_id) FROM history), 0))";
            Ok(LastNumbers { rows: number(registry, rows)?, changes, ..LastNumbers::default() })
        })?;
        let both = self.with(false, |inbox| {
            let gone = "SELECT max(coalesce((SELECT max(last_event) FROM runs), 0),
                                   coalesce((SELECT last_event FROM purged), 0))";
            Ok(Some(LastNumbers {
                deliveries: number(inbox, "SELECT max(id) FROM deliveries")?,
                events: number(inbox, "SELECT max(id) FROM events")?.max(number(inbox, gone)?),
                forwards: number(inbox, "SELECT max(id) FROM forwards")?,
                targets: number(inbox, "SELECT max(id) FROM targets")?,
                quarantined: number(inbox, "SELECT seq FROM sqlite_sequence WHERE name = 'quarantine'")?,
                ..registry
            }))
        })?;
        Ok(both.unwrap_or(registry))
    }

    fn keys(&mut self) -> Result<Option<Keys>> {
        self.key_file().existing()
    }

    /// The lock keeps others from it.
    fn check_idle(&mut self) -> Result<()> {
        Ok(())
    }
}

impl StoreImport for SqliteCopy {
    fn begin(&mut self, source: &str) -> Result<CopyState> {
        let is_empty = self.is_empty()?;
        let begin = |inbox: &Connection| {
            inbox.execute_batch(COPIED)?;
            let found = inbox.query_row("SELECT source, done FROM copied", [], |row| Ok((row.get(0)?, row.get(1)?)));
            let state = match found.optional()? {
                Some((known, done)) if String::eq(&known, source) => {
                    if done {
                        CopyState::Complete
                    } else {
                        CopyState::Interrupted
                    }
                }
                _ if !is_empty => return Err(Problem::NotEmptyStore.into()),
                _ => {
                    let note = "INSERT OR REPLACE INTO copied (id, source, done) VALUES (1, ?, 0)";
                    inbox.execute(note, [source])?;
                    CopyState::New
                }
            };
            Ok((Some(state), Some(DedupIndex::load(inbox)?)))
        };
        let (state, known) = self.with(false, |inbox| commit(inbox, begin))?;
        self.known = known;
        Ok(state.unwrap_or(CopyState::New))
    }

    fn reached(&mut self, table: &'static CopiedTable) -> Result<i64> {
        let sql = format!("SELECT max({}) FROM {}", key_column(table), table.name);
        Ok(self.with(table.is_of_registry, |connection| number(connection, &sql))?)
    }

    fn write(&mut self, table: &'static CopiedTable, rows: &[CopiedRow]) -> Result<()> {
        self.with(table.is_of_registry, |connection| commit(connection, |connection| insert(connection, table, rows)))?;
        if table.name == "events" {
            self.index(rows)?;
        }
        Ok(())
    }

    /// Other numbers than these are behind those of the rows that are there.
    fn raise_numbers(&mut self, numbers: &LastNumbers) -> Result<()> {
        Ok(self.with(false, |inbox| {
            commit(inbox, |inbox| {
                let events = "INSERT INTO purged (id, last_event) VALUES (1, ?)
                              ON CONFLICT DO UPDATE SET last_event = max(last_event, excluded.last_event)";
                inbox.execute(events, [numbers.events])?;
                let raised = "UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = 'quarantine'";
                if inbox.execute(raised, [numbers.quarantined])? == 0 {
                    let first = "INSERT INTO sqlite_sequence (name, seq) VALUES ('quarantine', ?)";
                    inbox.execute(first, [numbers.quarantined])?;
                }
                Ok(())
            })
        })?)
    }

    fn put_keys(&mut self, keys: &Keys) -> Result<()> {
        self.key_file().put(keys)
    }

    fn finish(&mut self) -> Result<()> {
        let done = |inbox: &Connection| Ok(inbox.execute_batch("UPDATE copied SET done = 1")?);
        Ok(self.with(false, |inbox| commit(inbox, done))?)
    }
}
