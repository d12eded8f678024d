//! The deduplication index: which events are stored, by sender and id alone.
//!
//! Ids are random, and an index on them would change a page anywhere in it for each event: a commit of some events
//! would write as many pages as events, and the log would swell. Here a commit only adds to the end of the file. The
//! keys of the newest events are in memory (and, after a start, read from the events themselves). When there are
//! enough of them they are written once, sorted, as a run: in one piece, at the end of the file. A run has a Bloom
//! filter in memory, two bytes a key, so that a new event asks no run; a repeated one asks the run that has it, with a
//! single read. All the runs of an inbox together take 26 bytes an event on the disk.

mod filter;
mod merge;
mod run;

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use foldhash::fast::RandomState;
use rusqlite::{Connection, OptionalExtension};

pub(super) use self::merge::remove_chunks;

use self::merge::Merge;
use self::run::{DedupRun, FIRST_CHUNK};
use super::fault::StoreFault;
use crate::domain::event::EventKey;

/// Events by their keys. These are hashes already, for which a quick hasher, seeded anew in each process, is enough.
pub(super) type ByKey = HashMap<EventKey, i64, RandomState>;

/// The keys of all events of an inbox.
#[derive(Debug)]
pub(super) struct DedupIndex {
    /// In the order of their events, oldest first.
    runs: Vec<DedupRun>,
    /// The newest keys, which are in no run yet.
    tail: ByKey,
    merge: Option<Merge>,
    /// Numbers of chunks that belong to no run.
    garbage: Vec<Range<i64>>,
    /// The number of the next chunk: none that is on the disk has one as high.
    next_chunk: i64,
}

impl DedupIndex {
    /// Reads what is known of all events.
    pub(super) fn load(connection: &Connection) -> Result<Self, StoreFault> {
        let runs = read_runs(connection)?;
        let next_chunk =
            connection.query_row("SELECT coalesce(max(id), 0) + 1 FROM run_chunks", [], |row| row.get(0))?;
        let garbage = unused_chunks(connection, &runs, next_chunk)?;
        let in_runs = runs.iter().map(|run| run.last_event).max().unwrap_or_default();
        let mut tail = ByKey::default();
        let mut statement = connection.prepare("SELECT key, id FROM events WHERE id > ?")?;
        let mut rows = statement.query([in_runs])?;
        while let Some(row) = rows.next()? {
            tail.insert(EventKey::from_bytes(row.get(0)?), row.get(1)?);
        }
        Ok(Self { runs, tail, merge: None, garbage, next_chunk })
    }

    /// The event with this key, if it was there.
    pub(super) fn find(&self, connection: &Connection, key: EventKey) -> Result<Option<i64>, StoreFault> {
        if let Some(event) = self.tail.get(&key) {
            return Ok(Some(*event));
        }
        for run in self.runs.iter().rev().filter(|run| run.filter.may_hold(key)) {
            if let Some(event) = run.find(connection, key)? {
                return Ok(Some(event));
            }
        }
        Ok(None)
    }

    /// Notes events that were committed.
    pub(super) fn add(&mut self, events: impl IntoIterator<Item = (EventKey, i64)>) {
        self.tail.extend(events);
    }
}

/// All runs, in the order of their events.
fn read_runs(connection: &Connection) -> Result<Vec<DedupRun>, StoreFault> {
    let mut statement = connection.prepare(&format!("SELECT {} FROM runs ORDER BY last_event", run::columns()))?;
    let mut rows = statement.query([])?;
    let mut runs = Vec::new();
    while let Some(row) = rows.next()? {
        runs.push(DedupRun::read(row)?);
    }
    Ok(runs)
}

/// The numbers, below this one, of chunks that are there and belong to no run.
fn unused_chunks(connection: &Connection, runs: &[DedupRun], end: i64) -> Result<Vec<Range<i64>>, StoreFault> {
    let mut used: Vec<Range<i64>> = runs.iter().map(|run| run.first_chunk..run.end_chunk()).collect();
    used.sort_unstable_by_key(|range| range.start);
    let starts = std::iter::once(0).chain(used.iter().map(|range| range.end));
    let ends = used.iter().map(|range| range.start).chain([end]);
    let mut statement = connection.prepare("SELECT EXISTS (SELECT 1 FROM run_chunks WHERE id >= ? AND id < ?)")?;
    let mut unused = Vec::new();
    for (start, end) in starts.zip(ends).filter(|(start, end)| start < end) {
        if statement.query_row([start, end], |row| row.get(0))? {
            unused.push(start..end);
        }
    }
    Ok(unused)
}

/// A run all of whose events are gone, if there is one: those before the oldest event that is there.
pub(super) fn run_of_purged(connection: &Connection) -> Result<Option<i64>, StoreFault> {
    let sql =
        "SELECT id FROM runs WHERE last_event < coalesce((SELECT min(id) FROM events), 9223372036854775807) LIMIT 1";
    Ok(connection.prepare_cached(sql)?.query_row([], |row| row.get(0)).optional()?)
}

/// Removes a run but for its chunks; returns the numbers of these, which belong to no run from then on.
pub(super) fn remove_run(connection: &Connection, run: i64) -> Result<Range<i64>, StoreFault> {
    let sql = format!("SELECT {FIRST_CHUNK}, {FIRST_CHUNK} + length(fences) / 8 FROM runs WHERE id = ?");
    let chunks = connection.prepare_cached(&sql)?.query_row([run], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    connection.prepare_cached("DELETE FROM runs WHERE id = ?")?.execute([run])?;
    let (start, end) = chunks.unwrap_or((0, 0));
    Ok(start..end)
}

/// The events with these keys, for whoever looks something up once and keeps nothing in memory.
pub(super) fn look_up(connection: &Connection, keys: impl Iterator<Item = EventKey>) -> Result<Vec<i64>, StoreFault> {
    let mut missing: HashSet<EventKey> = keys.collect();
    let mut found = Vec::new();
    let sql = format!("SELECT {} FROM runs ORDER BY last_event DESC", run::columns());
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let run = DedupRun::read(row)?;
        for key in missing.iter().copied().filter(|key| run.filter.may_hold(*key)).collect::<Vec<_>>() {
            if let Some(event) = run.find(connection, key)? {
                missing.remove(&key);
                found.push(event);
            }
        }
    }
    let newest = "SELECT id, key FROM events WHERE id > (SELECT coalesce(max(last_event), 0) FROM runs)";
    let mut statement = connection.prepare_cached(newest)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        if missing.contains(&EventKey::from_bytes(row.get(1)?)) {
            found.push(row.get(0)?);
        }
    }
    // The index has the newest of several events with one key.
    let mut previous = connection.prepare_cached("SELECT previous FROM events WHERE id = ?")?;
    for place in 0.. {
        let Some(event) = found.get(place) else { break };
        found.extend(previous.query_row([event], |row| row.get::<_, Option<i64>>(0)).optional()?.flatten());
    }
    Ok(found)
}
