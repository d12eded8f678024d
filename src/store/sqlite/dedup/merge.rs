//! Keeping the index small: keys in memory become a run, and runs of one size become a longer one.
//!
//! A new event asks the filter of each run, so their number has to stay small: eight neighbours of a tier are merged into
//! a run of the next, up to a size. Each key is written three times at the most. A merge is made in pieces, a commit each,
//! between which deliveries are stored; until its last one, nothing points to what it wrote. What is not part of any run,
//! after a merge or a crash, is removed a little at a time.

use std::ops::Range;

use rusqlite::Connection;

use super::filter::BloomFilter;
use super::run::{self, CHUNK, DedupRun, Entry, number};
use super::{ByKey, DedupIndex};
use crate::store::sqlite::fault::StoreFault;

/// How many keys make a run. A run of so many is written in a few milliseconds.
pub(super) const RUN: usize = 65_536;

/// How many runs of a tier make one of the next.
const FANOUT: usize = 8;

/// Runs of this tier are not merged: some four million keys, which a day's events may be.
const LAST_TIER: u32 = 2;

/// How many chunks of a merge are written in a commit.
const PIECE: usize = 256;

/// How many chunks that belong to no run are removed in a commit.
const REMOVED_AT_ONCE: i64 = 500;

/// A merge that is being made.
#[derive(Debug)]
pub(super) struct Merge {
    /// The runs that are merged, by their places in the index.
    inputs: Range<usize>,
    /// How far each was read: a chunk, and an entry in it.
    positions: Vec<(usize, usize)>,
    first_chunk: i64,
    fences: Vec<u64>,
    filter: BloomFilter,
}

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store::sqlite) enum MaintenanceStep {
    /// The keys in memory become a run.
    WriteTail,
    /// A merge goes on, or begins.
    Merge,
    /// Chunks that belong to no run are removed.
    RemoveGarbage,
}

/// What was written for a step, and is in force once it is committed.
#[derive(Debug)]
pub(in crate::store::sqlite) struct WrittenStep(IndexChange);

#[derive(Debug)]
enum IndexChange {
    Tail(DedupRun),
    Piece { inputs: Range<usize>, positions: Vec<(usize, usize)>, entries: Vec<Entry>, fences: Vec<u64> },
    Merged(DedupRun),
    Garbage { is_all: bool },
}

impl DedupIndex {
    /// What is due, if anything is.
    pub(in crate::store::sqlite) fn next_step(&self) -> Option<MaintenanceStep> {
        if self.tail.len() >= RUN {
            return Some(MaintenanceStep::WriteTail);
        }
        if self.merge.is_some() || mergeable(&self.runs).is_some() {
            return Some(MaintenanceStep::Merge);
        }
        (!self.garbage.is_empty()).then_some(MaintenanceStep::RemoveGarbage)
    }

    /// Writes what is due, within a transaction. It is in force when it is given to [`DedupIndex::apply`].
    pub(in crate::store::sqlite) fn write(
        &self,
        step: MaintenanceStep,
        connection: &Connection,
    ) -> Result<WrittenStep, StoreFault> {
        match step {
            MaintenanceStep::WriteTail => self.write_tail(connection),
            MaintenanceStep::Merge => self.write_piece(connection),
            MaintenanceStep::RemoveGarbage => self.remove_garbage(connection),
        }
    }

    /// Takes what was written and committed into use.
    pub(in crate::store::sqlite) fn apply(&mut self, written: WrittenStep) {
        match written.0 {
            IndexChange::Tail(run) => {
                self.next_chunk = run.end_chunk();
                self.runs.push(run);
                self.tail = ByKey::default();
            }
            IndexChange::Piece { inputs, positions, entries, fences } => {
                let chunks: usize = self.runs[inputs.clone()].iter().map(|run| run.fences.len()).sum();
                let next_chunk = &mut self.next_chunk;
                let merge = self.merge.get_or_insert_with(|| {
                    // Numbers for all of its chunks: a run that is written meanwhile is numbered from behind them.
                    let first_chunk = std::mem::replace(next_chunk, *next_chunk + number(chunks));
                    let filter = BloomFilter::with_room_for(chunks * CHUNK);
                    Merge { inputs, positions: Vec::new(), first_chunk, fences: Vec::new(), filter }
                });
                merge.positions = positions;
                merge.fences.extend(fences);
                for (key, _) in entries {
                    merge.filter.insert(key);
                }
            }
            IndexChange::Merged(run) => {
                let Some(merge) = self.merge.take() else { return };
                let inputs: Vec<_> = self.runs.splice(merge.inputs, [run]).collect();
                self.garbage.extend(inputs.iter().map(|run| run.first_chunk..run.end_chunk()));
            }
            IndexChange::Garbage { is_all: true } => drop(self.garbage.pop()),
            IndexChange::Garbage { is_all: false } => {}
        }
    }

    /// Leaves out the runs that are not there anymore, with the merge that they may be part of.
    pub(in crate::store::sqlite) fn forget_purged(&mut self, connection: &Connection) -> Result<(), StoreFault> {
        let mut statement = connection.prepare_cached("SELECT id FROM runs")?;
        let ids = statement.query_map([], |row| row.get::<_, i64>(0))?.collect::<Result<Vec<_>, _>>()?;
        if self.runs.iter().all(|run| ids.contains(&run.id)) {
            return Ok(());
        }
        self.runs.retain(|run| ids.contains(&run.id));
        self.abandon_merge();
        Ok(())
    }

    /// What a merge wrote so far belongs to no run.
    fn abandon_merge(&mut self) {
        if let Some(merge) = self.merge.take() {
            self.garbage.push(merge.first_chunk..merge.first_chunk + number(merge.fences.len()));
        }
    }

    fn next_run(&self) -> i64 {
        self.runs.iter().map(|run| run.id).max().unwrap_or(0) + 1
    }

    fn write_tail(&self, connection: &Connection) -> Result<WrittenStep, StoreFault> {
        let mut entries: Vec<Entry> = self.tail.iter().map(|(key, event)| (*key, *event)).collect();
        entries.sort_unstable();
        let mut filter = BloomFilter::with_room_for(entries.len());
        for (key, _) in &entries {
            filter.insert(*key);
        }
        let fences = run::write_chunks(connection, self.next_chunk, &entries)?;
        let last_event = entries.iter().map(|(_, event)| *event).max().unwrap_or_default();
        let run = DedupRun { id: self.next_run(), first_chunk: self.next_chunk, last_event, fences, filter };
        run.insert(connection)?;
        Ok(WrittenStep(IndexChange::Tail(run)))
    }

    /// The next piece of the merge that is being made or begins; behind the last piece, the run itself.
    fn write_piece(&self, connection: &Connection) -> Result<WrittenStep, StoreFault> {
        let begun = self.merge.as_ref();
        let inputs = begun.map(|merge| merge.inputs.clone()).or_else(|| mergeable(&self.runs)).unwrap_or_default();
        let runs = &self.runs[inputs.clone()];
        let positions = begun.map_or_else(|| vec![(0, 0); runs.len()], |merge| merge.positions.clone());
        let mut readers = Vec::with_capacity(runs.len());
        for (run, position) in runs.iter().zip(positions) {
            readers.push(RunReader::at(connection, run, position)?);
        }
        let entries = merge_entries(&mut readers, PIECE * CHUNK)?;
        if let (true, Some(merge)) = (entries.is_empty(), begun) {
            return self.finish_merge(connection, merge);
        }
        let next_chunk = begun.map_or(self.next_chunk, |merge| merge.first_chunk + number(merge.fences.len()));
        let fences = run::write_chunks(connection, next_chunk, &entries)?;
        let positions = readers.iter().map(RunReader::position).collect();
        Ok(WrittenStep(IndexChange::Piece { inputs, positions, entries, fences }))
    }

    fn finish_merge(&self, connection: &Connection, merge: &Merge) -> Result<WrittenStep, StoreFault> {
        let inputs = &self.runs[merge.inputs.clone()];
        let run = DedupRun {
            id: self.next_run(),
            first_chunk: merge.first_chunk,
            last_event: inputs.iter().map(|run| run.last_event).max().unwrap_or_default(),
            fences: merge.fences.clone(),
            filter: merge.filter.clone(),
        };
        run.insert(connection)?;
        let mut delete = connection.prepare_cached("DELETE FROM runs WHERE id = ?")?;
        for input in inputs {
            delete.execute([input.id])?;
        }
        Ok(WrittenStep(IndexChange::Merged(run)))
    }

    fn remove_garbage(&self, connection: &Connection) -> Result<WrittenStep, StoreFault> {
        let range = self.garbage.last().cloned().unwrap_or_default();
        Ok(WrittenStep(IndexChange::Garbage { is_all: remove_chunks(connection, &range)? }))
    }
}

/// Removes some chunks of this range. Returns whether none are left.
pub(in crate::store::sqlite) fn remove_chunks(connection: &Connection, range: &Range<i64>) -> Result<bool, StoreFault> {
    let some = "DELETE FROM run_chunks
                WHERE id IN (SELECT id FROM run_chunks WHERE id >= ? AND id < ? ORDER BY id LIMIT ?)";
    let removed = connection.prepare_cached(some)?.execute((range.start, range.end, REMOVED_AT_ONCE))?;
    Ok(number(removed) < REMOVED_AT_ONCE)
}

/// The newest runs that are due to be merged, by their places.
fn mergeable(runs: &[DedupRun]) -> Option<Range<usize>> {
    let (mut end, mut start) = (runs.len(), runs.len());
    while let Some(run) = runs[..start].last() {
        if tier(run) != tier(&runs[end - 1]) {
            end = start;
        }
        start -= 1;
        if end - start == FANOUT && tier(run) < LAST_TIER {
            return Some(start..end);
        }
    }
    None
}

/// How often about as many keys as are in a run were merged.
fn tier(run: &DedupRun) -> u32 {
    // A run of the first tier has at least `RUN` keys, and far less than half of what eight of them have.
    let unit = RUN / CHUNK * FANOUT / 2;
    match run.fences.len() {
        few if few < unit => 0,
        more if more < unit * FANOUT => 1,
        _ => LAST_TIER,
    }
}

/// Reads a run from a position on.
struct RunReader<'a> {
    connection: &'a Connection,
    run: &'a DedupRun,
    chunk: usize,
    entry: usize,
    entries: Vec<Entry>,
}

impl<'a> RunReader<'a> {
    fn at(connection: &'a Connection, run: &'a DedupRun, (chunk, entry): (usize, usize)) -> Result<Self, StoreFault> {
        let mut reader = Self { connection, run, chunk, entry, entries: Vec::new() };
        reader.load()?;
        Ok(reader)
    }

    fn position(&self) -> (usize, usize) {
        (self.chunk, self.entry)
    }

    fn peek(&self) -> Option<Entry> {
        self.entries.get(self.entry).copied()
    }

    fn advance(&mut self) -> Result<(), StoreFault> {
        self.entry += 1;
        if self.entry < self.entries.len() {
            return Ok(());
        }
        (self.chunk, self.entry) = (self.chunk + 1, 0);
        self.load()
    }

    /// Loads the chunk, or the next one that is there.
    fn load(&mut self) -> Result<(), StoreFault> {
        self.entries.clear();
        while self.entries.is_empty() && self.chunk < self.run.fences.len() {
            self.entries = run::read_chunk(self.connection, self.run.first_chunk + number(self.chunk))?;
            if self.entries.is_empty() {
                (self.chunk, self.entry) = (self.chunk + 1, 0);
            }
        }
        Ok(())
    }
}

/// The next entries of all these together, in order, at most this many. Of a key that is there twice, the newest event.
fn merge_entries(readers: &mut [RunReader<'_>], limit: usize) -> Result<Vec<Entry>, StoreFault> {
    let mut merged: Vec<Entry> = Vec::new();
    while merged.len() < limit {
        let heads = readers.iter().enumerate().filter_map(|(index, reader)| Some((reader.peek()?, index)));
        let Some(((key, event), index)) = heads.min() else { break };
        readers[index].advance()?;
        match merged.last_mut() {
            Some((last, newest)) if *last == key => *newest = event.max(*newest),
            _ => merged.push((key, event)),
        }
    }
    Ok(merged)
}

#[cfg(test)]
mod tests;
