//! Which events are there: by sender and id alone, whatever their timestamps say.
//!
//! Ids are random, and an index on them would change a page anywhere in it for each event: a commit of some events
//! would write as many pages as events, and the log would swell. Here a commit only adds to the end of the file. The
//! keys of the newest events are in memory (and, after a start, read from the events themselves). When there are
//! enough of them they are written once, sorted, as a run: in one piece, at the end of the file. A run has a Bloom
//! filter in memory, two bytes a key, so that a new event asks no run; a repeated one asks the run that has it, with a
//! single read. All the runs of an inbox together take 26 bytes an event on the disk.

mod filter;

use std::collections::{HashMap, HashSet};

use foldhash::fast::RandomState;
use rusqlite::{Connection, OptionalExtension, params};

use self::filter::BloomFilter;
use super::fault::StoreFault;
use crate::domain::event::EventKey;

/// How many keys make a run. A run of so many is written in a few milliseconds.
const RUN: usize = 65_536;

/// Keys in a chunk: as many as fit in one page with their events.
const CHUNK: usize = 160;

/// Bytes of a key and the id of its event.
const ENTRY: usize = 24;

/// The place of a run's first chunk; no run has so many.
const CHUNKS: i64 = 65_536;

/// Events by their keys. These are hashes already, for which a quick hasher, seeded anew in each process, is enough.
pub(super) type ByKey = HashMap<EventKey, i64, RandomState>;

/// The keys of all events of an inbox.
#[derive(Debug)]
pub(super) struct DedupIndex {
    runs: Vec<DedupRun>,
    tail: ByKey,
}

/// Keys that were written, with what is kept of them in memory.
#[derive(Debug)]
pub(super) struct DedupRun {
    id: i64,
    /// The start of the first key of each chunk.
    fences: Vec<u64>,
    filter: BloomFilter,
}

impl DedupIndex {
    /// Reads what is known of all events.
    pub(super) fn load(connection: &Connection) -> Result<Self, StoreFault> {
        let mut seen = Self { runs: Vec::new(), tail: ByKey::default() };
        let mut in_runs = 0;
        let mut statement = connection.prepare("SELECT id, fences, filter, last_event FROM runs ORDER BY id")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            seen.runs.push(DedupRun::read(row.get(0)?, &row.get::<_, Vec<u8>>(1)?, &row.get::<_, Vec<u8>>(2)?)?);
            in_runs = row.get::<_, i64>(3)?.max(in_runs);
        }
        let mut statement = connection.prepare("SELECT key, id FROM events WHERE id > ?")?;
        let mut rows = statement.query([in_runs])?;
        while let Some(row) = rows.next()? {
            seen.tail.insert(EventKey::from_bytes(row.get(0)?), row.get(1)?);
        }
        Ok(seen)
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

    /// Whether it is time to write a run.
    pub(super) fn is_due(&self) -> bool {
        self.tail.len() >= RUN
    }

    /// Writes the keys in memory as a run, within a transaction, and gives it to be passed to [`DedupIndex::forget_tail`].
    pub(super) fn write_run(&self, connection: &Connection) -> Result<DedupRun, StoreFault> {
        let mut entries: Vec<(EventKey, i64)> = self.tail.iter().map(|(key, event)| (*key, *event)).collect();
        entries.sort_unstable();
        let last = entries.iter().map(|(_, event)| *event).max().unwrap_or_default();
        let filter = BloomFilter::of(entries.iter().map(|(key, _)| *key));
        let fences: Vec<u64> = entries.chunks(CHUNK).map(|chunk| fence(chunk[0].0)).collect();
        let fence_bytes: Vec<u8> = fences.iter().flat_map(|fence| fence.to_le_bytes()).collect();
        let id = self.runs.last().map_or(1, |run| run.id + 1);
        connection
            .prepare_cached("INSERT INTO runs (id, last_event, fences, filter) VALUES (?, ?, ?, ?)")?
            .execute(params![id, last, fence_bytes, filter.to_bytes()])?;
        let mut insert = connection.prepare_cached("INSERT INTO run_chunks (id, entries) VALUES (?, ?)")?;
        for (place, chunk) in (id * CHUNKS..).zip(entries.chunks(CHUNK)) {
            let bytes: Vec<u8> =
                chunk.iter().flat_map(|(key, event)| key.bytes().iter().copied().chain(event.to_le_bytes())).collect();
            insert.execute(params![place, bytes])?;
        }
        Ok(DedupRun { id, fences, filter })
    }

    /// Takes a run that was committed in place of the keys in memory.
    pub(super) fn forget_tail(&mut self, run: DedupRun) {
        self.runs.push(run);
        self.tail = ByKey::default();
    }

    /// Leaves out runs that are not there any more.
    pub(super) fn reload_runs(&mut self, connection: &Connection) -> Result<(), StoreFault> {
        let mut statement = connection.prepare_cached("SELECT id FROM runs")?;
        let ids = statement.query_map([], |row| row.get::<_, i64>(0))?.collect::<Result<Vec<_>, _>>()?;
        self.runs.retain(|run| ids.contains(&run.id));
        Ok(())
    }
}

/// Removes the runs all of whose events are gone, as many as are before `event`.
pub(super) fn drop_runs_before(connection: &Connection, event: i64) -> Result<(), StoreFault> {
    let mut statement = connection.prepare_cached("SELECT id FROM runs WHERE last_event < ?")?;
    let ids = statement.query_map([event], |row| row.get::<_, i64>(0))?.collect::<Result<Vec<_>, _>>()?;
    for id in ids {
        connection.execute("DELETE FROM run_chunks WHERE id >= ? AND id < ?", [id * CHUNKS, (id + 1) * CHUNKS])?;
        connection.execute("DELETE FROM runs WHERE id = ?", [id])?;
    }
    Ok(())
}

/// The events with these keys, for who looks something up once and keeps nothing in memory.
pub(super) fn look_up(connection: &Connection, keys: impl Iterator<Item = EventKey>) -> Result<Vec<i64>, StoreFault> {
    let mut missing: HashSet<EventKey> = keys.collect();
    let mut found = Vec::new();
    let mut statement = connection.prepare_cached("SELECT id, fences, filter FROM runs ORDER BY id DESC")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let run = DedupRun::read(row.get(0)?, &row.get::<_, Vec<u8>>(1)?, &row.get::<_, Vec<u8>>(2)?)?;
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
    Ok(found)
}

impl DedupRun {
    fn read(id: i64, fences: &[u8], filter: &[u8]) -> Result<Self, StoreFault> {
        let damaged = || StoreFault::Rule(crate::store::error::Problem::Damaged);
        let fences = fences.as_chunks::<8>().0.iter().map(|fence| u64::from_le_bytes(*fence)).collect();
        Ok(Self { id, fences, filter: BloomFilter::from_bytes(filter).ok_or_else(damaged)? })
    }

    fn find(&self, connection: &Connection, key: EventKey) -> Result<Option<i64>, StoreFault> {
        let wanted = fence(key);
        // The last chunk that begins at or before the key; those that begin alike are all looked at.
        let after = self.fences.partition_point(|fence| *fence <= wanted);
        for place in (0..after).rev() {
            let id = self.id * CHUNKS + i64::try_from(place).unwrap_or_default();
            let mut statement = connection.prepare_cached("SELECT entries FROM run_chunks WHERE id = ?")?;
            let entries: Option<Vec<u8>> = statement.query_row([id], |row| row.get(0)).optional()?;
            let found = entries.as_deref().and_then(|entries| find_in_chunk(entries, key));
            if found.is_some() || self.fences[place] < wanted {
                return Ok(found);
            }
        }
        Ok(None)
    }
}

fn find_in_chunk(entries: &[u8], key: EventKey) -> Option<i64> {
    let (entries, _) = entries.as_chunks::<ENTRY>();
    let place = entries.binary_search_by(|entry| entry[..16].cmp(key.bytes())).ok()?;
    Some(i64::from_le_bytes(entries[place][16..].try_into().ok()?))
}

/// The start of a key, as a number that is in order as keys are.
fn fence(key: EventKey) -> u64 {
    let mut start = [0; 8];
    start.copy_from_slice(&key.bytes()[..8]);
    u64::from_be_bytes(start)
}
