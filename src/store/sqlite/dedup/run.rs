//! A run: keys that were written once, in order.

use rusqlite::{Connection, OptionalExtension, Row};

use super::filter::BloomFilter;
use crate::domain::event::EventKey;
use crate::store::sqlite::fault::{Problem, StoreFault};

/// Keys in a chunk: as many as fit in one page with their events.
pub(super) const CHUNK: usize = 160;

/// Bytes of a key and the id of its event.
const ENTRY: usize = 24;

/// A key and the id of its event.
pub(super) type Entry = (EventKey, i64);

/// A run on the disk, with what is kept of it in memory.
#[derive(Debug)]
pub(super) struct DedupRun {
    pub(super) id: i64,
    pub(super) first_chunk: i64,
    /// The newest event in it.
    pub(super) last_event: i64,
    /// The start of the first key of each chunk.
    pub(super) fences: Vec<u64>,
    pub(super) filter: BloomFilter,
}

/// The number of a run's first chunk. A receiver of the version before, which goes on while the schema is brought up to date
/// beside it, says none: its chunks are numbered by its run.
pub(super) const FIRST_CHUNK: &str = "coalesce(nullif(first_chunk, 0), id * 65536)";

/// What [`DedupRun::read`] reads.
pub(super) fn columns() -> String {
    format!("id, {FIRST_CHUNK}, last_event, fences, filter")
}

impl DedupRun {
    pub(super) fn read(row: &Row<'_>) -> Result<Self, StoreFault> {
        let fences: Vec<u8> = row.get(3)?;
        Ok(Self {
            id: row.get(0)?,
            first_chunk: row.get(1)?,
            last_event: row.get(2)?,
            fences: fences.as_chunks::<8>().0.iter().map(|fence| u64::from_le_bytes(*fence)).collect(),
            filter: BloomFilter::from_bytes(&row.get::<_, Vec<u8>>(4)?).ok_or(Problem::Damaged)?,
        })
    }

    /// Records it. Its chunks are written by themselves.
    pub(super) fn insert(&self, connection: &Connection) -> Result<(), StoreFault> {
        let fences: Vec<u8> = self.fences.iter().flat_map(|fence| fence.to_le_bytes()).collect();
        let sql = "INSERT INTO runs (id, first_chunk, last_event, fences, filter) VALUES (?, ?, ?, ?, ?)";
        let values = (self.id, self.first_chunk, self.last_event, fences, self.filter.to_bytes());
        connection.prepare_cached(sql)?.execute(values)?;
        Ok(())
    }

    /// The number behind that of its last chunk.
    pub(super) fn end_chunk(&self) -> i64 {
        self.first_chunk + number(self.fences.len())
    }

    /// The event with this key, if it is in the run.
    pub(super) fn find(&self, connection: &Connection, key: EventKey) -> Result<Option<i64>, StoreFault> {
        let wanted = fence(key);
        // The last chunk that begins at or before the key; those that begin alike are all looked at.
        let after = self.fences.partition_point(|fence| *fence <= wanted);
        for place in (0..after).rev() {
            let entries = read_chunk(connection, self.first_chunk + number(place))?;
            let found = entries.binary_search_by(|(entry, _)| entry.cmp(&key)).ok().map(|index| entries[index].1);
            if found.is_some() || self.fences[place] < wanted {
                return Ok(found);
            }
        }
        Ok(None)
    }
}

/// Writes chunks with these entries, which are in order, from this number on. Returns the fence of each.
pub(super) fn write_chunks(connection: &Connection, first: i64, entries: &[Entry]) -> Result<Vec<u64>, StoreFault> {
    let mut insert = connection.prepare_cached("INSERT INTO run_chunks (id, entries) VALUES (?, ?)")?;
    let mut fences = Vec::with_capacity(entries.len().div_ceil(CHUNK));
    for (id, chunk) in (first..).zip(entries.chunks(CHUNK)) {
        let bytes = |(key, event): &Entry| key.bytes().iter().copied().chain(event.to_le_bytes()).collect::<Vec<_>>();
        let bytes: Vec<u8> = chunk.iter().flat_map(bytes).collect();
        insert.execute((id, bytes))?;
        fences.push(fence(chunk[0].0));
    }
    Ok(fences)
}

/// The entries of a chunk: none of one that is not there, as those of a run that was purged meanwhile.
pub(super) fn read_chunk(connection: &Connection, id: i64) -> Result<Vec<Entry>, StoreFault> {
    let mut statement = connection.prepare_cached("SELECT entries FROM run_chunks WHERE id = ?")?;
    let bytes: Option<Vec<u8>> = statement.query_row([id], |row| row.get(0)).optional()?;
    let bytes = bytes.unwrap_or_default();
    let entry = |entry: &[u8; ENTRY]| {
        let (mut key, mut event) = ([0; 16], [0; 8]);
        key.copy_from_slice(&entry[..16]);
        event.copy_from_slice(&entry[16..]);
        (EventKey::from_bytes(key), i64::from_le_bytes(event))
    };
    Ok(bytes.as_chunks::<ENTRY>().0.iter().map(entry).collect())
}

/// The start of a key, as a number that is in order as keys are.
fn fence(key: EventKey) -> u64 {
    let mut start = [0; 8];
    start.copy_from_slice(&key.bytes()[..8]);
    u64::from_be_bytes(start)
}

/// A count as SQLite has it.
pub(super) fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
