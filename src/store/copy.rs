//! Copying a store into another one, whatever the backends: rows of plain values, in the order of their numbers, a batch
//! at a time.
//!
//! Each batch is one transaction of the target, so what it holds is always the beginning of each table: a copy that was
//! interrupted goes on behind the last row of each. At the end both sides are read once more and compared.

mod checksum;
mod tables;

pub(super) use self::tables::{Batch, TABLES};
pub use self::tables::{ColumnKind, CopiedRow, CopiedTable, CopiedValue};

use jiff::Timestamp;

use self::checksum::{Checksum, of_keys};
use super::{Keys, Store};
use crate::error::{Error, ErrorKind, Result};

/// What is copied out of a store. Nobody receives into it as long as this is there, where the backend can see to that.
pub trait StoreExport {
    /// Where the store is: for one store always the same text.
    fn place(&self) -> String;

    /// The number of rows of a table.
    ///
    /// # Errors
    /// A store error when they cannot be read.
    fn count(&mut self, table: &'static CopiedTable) -> Result<u64>;

    /// The rows of a table whose keys are behind `after`, in their order: some of them, none behind the last.
    ///
    /// # Errors
    /// A store error when they cannot be read.
    fn rows(&mut self, table: &'static CopiedTable, after: i64) -> Result<Vec<CopiedRow>>;

    /// The highest numbers that were given so far.
    ///
    /// # Errors
    /// A store error when they cannot be read.
    fn last_numbers(&mut self) -> Result<LastNumbers>;

    /// The keys of the receiver, if there are any.
    ///
    /// # Errors
    /// A store error when they cannot be read.
    fn keys(&mut self) -> Result<Option<Keys>>;

    /// Checks that nobody receives into the store.
    ///
    /// # Errors
    /// A store error when somebody does.
    fn check_idle(&mut self) -> Result<()>;
}

/// What is copied into a store.
pub trait StoreImport: StoreExport {
    /// Takes the store for a copy of the one at `source`. It has to be empty, or to hold what an earlier copy of the same
    /// store put there.
    ///
    /// # Errors
    /// A store error when it holds anything else; it is then as it was.
    fn begin(&mut self, source: &str) -> Result<CopyState>;

    /// The key of the last row of a table; 0 without any.
    ///
    /// # Errors
    /// A store error when it cannot be read.
    fn reached(&mut self, table: &'static CopiedTable) -> Result<i64>;

    /// Adds rows behind the last, all or none of them, durably.
    ///
    /// # Errors
    /// A store error when they cannot be written.
    fn write(&mut self, table: &'static CopiedTable, rows: &[CopiedRow]) -> Result<()>;

    /// Makes the store give higher numbers than these from now on.
    ///
    /// # Errors
    /// A store error when that cannot be written.
    fn raise_numbers(&mut self, numbers: &LastNumbers) -> Result<()>;

    /// Puts these keys in place of those of the receiver.
    ///
    /// # Errors
    /// A store error when they cannot be written.
    fn put_keys(&mut self, keys: &Keys) -> Result<()>;

    /// Notes that the copy is complete.
    ///
    /// # Errors
    /// A store error when that cannot be written.
    fn finish(&mut self) -> Result<()>;
}

/// How far a copy has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopyState {
    /// It begins.
    New,
    /// It was interrupted.
    Interrupted,
    /// All of it is there.
    Complete,
}

/// The highest number that was given of each kind, so that none is given again; 0 for none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LastNumbers {
    /// Of rows of the registry.
    pub rows: i64,
    /// Of changes in its history.
    pub changes: i64,
    /// Of deliveries.
    pub deliveries: i64,
    /// Of events.
    pub events: i64,
    /// Of forwards.
    pub forwards: i64,
    /// Of targets.
    pub targets: i64,
    /// Of deliveries that could not be read.
    pub quarantined: i64,
}

/// A part of a copy, which is the same on both sides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopiedPart {
    /// What it is, as the tables are called.
    pub name: &'static str,
    /// The number of its rows.
    pub rows: u64,
    /// The SHA-256 of what is in them, in hexadecimal.
    pub sha256: String,
}

/// Copies all of a store into another one, which is empty or holds a part of the same copy. Calls `progress` with the
/// number of rows that are done with, and of all; each is done with twice, once to be copied and once to be compared.
///
/// # Errors
/// A store error when either side cannot be used or somebody receives into it, when the target holds anything else, or
/// when the two differ in the end; a usage error for a store that is to be copied onto itself.
pub fn copy_store(from: &dyn Store, to: &dyn Store, progress: &mut dyn FnMut(u64, u64)) -> Result<Vec<CopiedPart>> {
    if from.registry_place() == to.registry_place() {
        return Err(Error::usage("the store cannot be copied onto itself"));
    }
    let mut source = from.export()?;
    let mut target = to.import()?;
    source.check_idle()?;
    target.check_idle()?;
    let state = target.begin(&source.place())?;
    let mut total = 0;
    for table in &TABLES {
        total += source.count(table)?;
    }
    let mut done = CopyProgress { done: 0, total: total * 2, tell: progress };
    if state != CopyState::Complete {
        fill(&mut *source, &mut *target, &mut done)?;
    }
    done.reach(total);
    let parts = compare(&mut *source, &mut *target, state, &mut done)?;
    // Whoever began to receive meanwhile may have stored what is not in the copy.
    source.check_idle()?;
    target.finish()?;
    Ok(parts)
}

/// How many rows are done with.
struct CopyProgress<'a> {
    done: u64,
    total: u64,
    tell: &'a mut dyn FnMut(u64, u64),
}

impl CopyProgress<'_> {
    fn reach(&mut self, done: u64) {
        self.done = done;
        (self.tell)(self.done, self.total);
    }

    fn add(&mut self, rows: usize) {
        self.reach(self.done + rows as u64);
    }
}

fn fill(source: &mut dyn StoreExport, target: &mut dyn StoreImport, done: &mut CopyProgress<'_>) -> Result<()> {
    // Before all else: what somebody stores in the target meanwhile is not in the way of what is copied.
    target.raise_numbers(&source.last_numbers()?)?;
    for table in &TABLES {
        let mut reached = target.reached(table)?;
        done.reach(done.done + target.count(table)?);
        loop {
            let rows = source.rows(table, reached)?;
            let Some(last) = rows.last() else { break };
            reached = table.key(last);
            target.write(table, &rows)?;
            done.add(rows.len());
        }
    }
    if let Some(keys) = source.keys()? {
        target.put_keys(&keys)?;
    }
    target.raise_numbers(&source.last_numbers()?)
}

/// Reads both sides, which must be the same.
fn compare(
    source: &mut dyn StoreExport,
    target: &mut dyn StoreImport,
    state: CopyState,
    done: &mut CopyProgress<'_>,
) -> Result<Vec<CopiedPart>> {
    let (mut parts, mut differences) = (Vec::new(), Vec::new());
    let mut add = |name: &'static str, source: Checksum, target: Checksum| {
        if source != target {
            differences.push(format!("{name} ({} rows, {} of them in the copy)", source.rows(), target.rows()));
        }
        parts.push(CopiedPart { name, rows: source.rows(), sha256: source.to_hex() });
    };
    for table in &TABLES {
        let of_source = checksum_of(source, table, |rows| done.add(rows))?;
        add(table.name, of_source, checksum_of(target, table, |_| {})?);
    }
    let now = Timestamp::now();
    add("receiver_keys", of_keys(source.keys()?, now), of_keys(target.keys()?, now));
    if differences.is_empty() {
        return Ok(parts);
    }
    Err(difference(&differences.join(", "), state))
}

fn checksum_of(
    store: &mut (impl StoreExport + ?Sized),
    table: &'static CopiedTable,
    mut each: impl FnMut(usize),
) -> Result<Checksum> {
    let (mut checksum, mut reached) = (Checksum::default(), 0);
    loop {
        let rows = store.rows(table, reached)?;
        let Some(last) = rows.last() else { return Ok(checksum) };
        reached = table.key(last);
        for row in &rows {
            checksum.add(row);
        }
        each(rows.len());
    }
}

fn difference(what: &str, state: CopyState) -> Error {
    let message = format!("the copy is not the same as the store: they differ in {what}");
    let hint = if state == CopyState::Complete {
        "the copy was complete before, and one of the two has been used since; to copy again, name a new store with --to"
    } else {
        "something changed one of the two stores meanwhile: stop what uses them, and copy into a new store with --to"
    };
    Error::new(ErrorKind::Store, message).hint(hint)
}
