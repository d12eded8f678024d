//! Removing what is old, a little at a time: nobody waits long for the lock.
//!
//! What may go is found before the lock is taken, by ranges of an index. Under the lock a step removes few rows, of a
//! very large delivery only a part, and ends when its time is up.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::{Duration, Instant};

use rusqlite::{Connection, params};

use super::stored;
use crate::store::sqlite::fault::StoreFault;
use crate::store::sqlite::{commit, dedup};
use crate::store::{PurgeRule, Purged};

/// How many rows a step removes, about.
const ROWS: u64 = 2000;

/// How many rows one statement removes.
const ROWS_AT_ONCE: u64 = 200;

/// How many bytes of bodies a step removes, about.
const BYTES: u64 = 4 * 1024 * 1024;

/// How long a step holds the lock before it ends, apart from its commit.
const LOCK_TIME: Duration = Duration::from_millis(20);

/// How many pages are given back to the disk at once.
const PAGES: i64 = 500;

/// How many deliveries a step looks at: those that are pending are kept, however many there are.
const LOOKS: usize = 2000;

/// For how long it does.
const LOOK_TIME: Duration = Duration::from_millis(50);

/// How far a round of steps has come: what was looked at is not looked at again.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reached {
    by_time: (i64, i64),
    by_id: i64,
    /// Whether something was removed.
    removed: bool,
}

impl Default for Reached {
    fn default() -> Self {
        Self { by_time: (i64::MIN, i64::MIN), by_id: i64::MIN, removed: false }
    }
}

impl Reached {
    pub(super) fn has_removed(&self) -> bool {
        self.removed
    }
}

/// Where something is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CandidateKind {
    Delivery,
    Quarantined,
}

/// A delivery, read or not, that is looked at.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    kind: CandidateKind,
    id: i64,
    received_at: i64,
    bytes: u64,
    may_go: bool,
}

/// What a step looks at, the oldest first, and whether there is more behind it.
struct Candidates {
    ahead: VecDeque<Candidate>,
    more: bool,
}

/// Which of the two conditions of a rule a step is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PurgeCondition {
    Before(i64),
    MaxBytes(u64),
}

impl PurgeCondition {
    /// Whether nothing more has to go.
    fn is_met(self, connection: &Connection) -> Result<bool, StoreFault> {
        match self {
            Self::Before(_) => Ok(false),
            Self::MaxBytes(max) => Ok(bytes_in_use(connection)? <= max),
        }
    }
}

/// What a step may still do.
struct StepBudget {
    rows: u64,
    bytes: u64,
    until: Instant,
}

impl StepBudget {
    fn is_spent(&self) -> bool {
        self.rows == 0 || self.bytes == 0 || Instant::now() >= self.until
    }

    fn spend(&mut self, rows: u64) {
        self.rows = self.rows.saturating_sub(rows);
    }

    /// Removes rows with a statement that is told how many it may. Returns how many are gone, and whether that is all.
    fn remove(
        &mut self,
        mut statement: impl FnMut(i64) -> Result<usize, rusqlite::Error>,
    ) -> Result<(u64, bool), StoreFault> {
        let mut gone = 0;
        loop {
            let limit = self.rows.min(ROWS_AT_ONCE);
            let removed = statement(i64::try_from(limit).unwrap_or(i64::MAX))? as u64;
            gone += removed;
            self.spend(removed);
            if removed < limit {
                return Ok((gone, true));
            }
            if self.is_spent() {
                return Ok((gone, false));
            }
        }
    }
}

/// Removes some of what a rule means. `unused` are chunks of the deduplication index that nothing points to anymore: they go
/// first, as they count for the size.
pub(super) fn step(
    connection: &Connection,
    rule: &PurgeRule,
    reached: &mut Reached,
    unused: &mut Vec<Range<i64>>,
) -> Result<Purged, StoreFault> {
    if let Some(range) = unused.last() {
        if commit(connection, |connection| dedup::remove_chunks(connection, range))? {
            unused.pop();
        }
        return Ok(Purged { more: true, ..Purged::default() });
    }
    let (mut purged, mut progress) = (Purged::default(), false);
    for condition in [rule.before.map(stored).map(PurgeCondition::Before), rule.max_bytes.map(PurgeCondition::MaxBytes)]
    {
        let Some(condition) = condition.filter(|_| !purged.more) else { continue };
        if condition.is_met(connection)? {
            continue;
        }
        let Candidates { mut ahead, more } = candidates(connection, condition, rule.even_pending, reached)?;
        if ahead.is_empty() {
            continue;
        }
        progress = true;
        let remove =
            |connection: &Connection| remove_some(connection, condition, rule.even_pending, &mut ahead, reached);
        let (is_cut_short, some) = commit(connection, remove)?;
        purged.events += some.events;
        purged.quarantined += some.quarantined;
        purged.more = is_cut_short || more;
    }
    if let Some(max) = rule.max_bytes.filter(|_| !purged.more) {
        let too_large = bytes_in_use(connection)? > max;
        purged.more = too_large && progress;
        purged.too_large = too_large && !progress && has_deliveries(connection)?;
    }
    if reached.removed
        && let Some(run) = dedup::run_of_purged(connection)?
    {
        unused.push(commit(connection, |connection| dedup::remove_run(connection, run))?);
        purged.more = true;
    }
    Ok(purged)
}

/// Removes these, the oldest first, as far as a step may and the condition asks for. Returns whether some are left to a
/// further step, and what was removed.
fn remove_some(
    connection: &Connection,
    condition: PurgeCondition,
    even_pending: bool,
    ahead: &mut VecDeque<Candidate>,
    reached: &mut Reached,
) -> Result<(bool, Purged), StoreFault> {
    let mut budget = StepBudget { rows: ROWS, bytes: BYTES, until: Instant::now() + LOCK_TIME };
    let mut purged = Purged::default();
    note_last_event(connection)?;
    while let Some(next) = ahead.front().copied() {
        // Before each: one delivery may have some MB.
        if condition.is_met(connection)? {
            return Ok((false, purged));
        }
        if next.may_go {
            if budget.is_spent() {
                return Ok((true, purged));
            }
            reached.removed = true;
            if next.kind == CandidateKind::Quarantined {
                connection.prepare_cached("DELETE FROM quarantine WHERE id = ?")?.execute([next.id])?;
                purged.quarantined += 1;
                budget.spend(1);
            } else if !remove(connection, next.id, even_pending, &mut budget, &mut purged.events)? {
                return Ok((true, purged));
            }
            budget.bytes = budget.bytes.saturating_sub(next.bytes);
        }
        ahead.pop_front();
        match (next.kind, condition) {
            (CandidateKind::Delivery, PurgeCondition::Before(_)) => reached.by_time = (next.received_at, next.id),
            (CandidateKind::Delivery, PurgeCondition::MaxBytes(_)) => reached.by_id = next.id,
            // None is ever kept.
            (CandidateKind::Quarantined, _) => {}
        }
    }
    Ok((false, purged))
}

/// Removes a delivery with all that belongs to it, or a part of that. Returns whether it is done with.
fn remove(
    connection: &Connection,
    delivery: i64,
    even_pending: bool,
    budget: &mut StepBudget,
    events: &mut u64,
) -> Result<bool, StoreFault> {
    let forwards = "DELETE FROM forwards WHERE id IN
                    (SELECT id FROM forwards WHERE delivery = ?1 AND (?2 OR state <> 0) LIMIT ?3)";
    let theirs = "DELETE FROM events WHERE id IN
                  (SELECT e.id FROM deliveries d JOIN events e ON e.id BETWEEN d.first_event AND d.last_event
                       AND +e.delivery = d.id
                   WHERE d.id = ?1 LIMIT ?2)";
    let (_, is_all) =
        budget.remove(|limit| connection.prepare_cached(forwards)?.execute(params![delivery, even_pending, limit]))?;
    if !is_all {
        return Ok(false);
    }
    // Requeued since it was found: it is kept, and only the record of what was settled is gone.
    let is_pending = "SELECT EXISTS (SELECT 1 FROM forwards WHERE delivery = ?)";
    if connection.prepare_cached(is_pending)?.query_row([delivery], |row| row.get(0))? {
        return Ok(true);
    }
    let (gone, is_all) = budget.remove(|limit| connection.prepare_cached(theirs)?.execute(params![delivery, limit]))?;
    *events += gone;
    if !is_all {
        return Ok(false);
    }
    connection.prepare_cached("DELETE FROM deliveries WHERE id = ?")?.execute([delivery])?;
    budget.spend(1);
    Ok(true)
}

/// Notes the newest event: its place is not given again.
pub(super) fn note_last_event(connection: &Connection) -> Result<(), StoreFault> {
    let last: Option<i64> = connection.prepare_cached("SELECT max(id) FROM events")?.query_row([], |row| row.get(0))?;
    let note = "INSERT INTO purged (id, last_event) VALUES (1, ?)
                ON CONFLICT DO UPDATE SET last_event = max(last_event, excluded.last_event)";
    if let Some(last) = last {
        connection.prepare_cached(note)?.execute([last])?;
    }
    Ok(())
}

/// What is oldest behind what was reached.
fn candidates(
    connection: &Connection,
    condition: PurgeCondition,
    even_pending: bool,
    reached: &Reached,
) -> Result<Candidates, StoreFault> {
    let (deliveries, quarantine) = match condition {
        PurgeCondition::Before(_) => (
            "SELECT id, received_at, length(body), ?1 OR NOT EXISTS
                 (SELECT 1 FROM forwards f WHERE f.delivery = d.id AND f.state = 0)
             FROM deliveries d WHERE received_at < ?2 AND (received_at, id) > (?3, ?4) ORDER BY received_at, id",
            "SELECT id, received_at, length(body), 1 FROM quarantine WHERE received_at < ?1 ORDER BY received_at, id",
        ),
        PurgeCondition::MaxBytes(_) => (
            "SELECT id, received_at, length(body), ?1 OR NOT EXISTS
                 (SELECT 1 FROM forwards f WHERE f.delivery = d.id AND f.state = 0)
             FROM deliveries d WHERE id > ?4 ORDER BY id",
            "SELECT id, received_at, length(body), ?1 FROM quarantine ORDER BY id",
        ),
    };
    let (before, (time, id)) = match condition {
        PurgeCondition::Before(before) => (before, reached.by_time),
        PurgeCondition::MaxBytes(_) => (1, (0, reached.by_id)),
    };
    let until = Instant::now() + LOOK_TIME;
    let mut statement = connection.prepare_cached(deliveries)?;
    let (read, more_read) =
        look(statement.query(params![even_pending, before, time, id])?, CandidateKind::Delivery, until)?;
    let mut statement = connection.prepare_cached(quarantine)?;
    let (unread, more_unread) = look(statement.query([before])?, CandidateKind::Quarantined, until)?;
    let (mut read, mut unread) = (read.into_iter().peekable(), unread.into_iter().peekable());
    let mut ahead = VecDeque::new();
    loop {
        let next = match (read.peek(), unread.peek()) {
            (Some(delivery), Some(other)) if other.received_at < delivery.received_at => unread.next(),
            (Some(_), Some(_)) => read.next(),
            // What is behind the end of a list that goes on may be older.
            (Some(_), None) if !more_unread => read.next(),
            (None, Some(_)) if !more_read => unread.next(),
            _ => break,
        };
        ahead.extend(next);
    }
    Ok(Candidates { ahead, more: more_read || more_unread })
}

/// Looks at rows, up to a number and for a while. Returns whether there are more.
fn look(
    mut rows: rusqlite::Rows<'_>,
    kind: CandidateKind,
    until: Instant,
) -> Result<(Vec<Candidate>, bool), StoreFault> {
    let (mut list, mut going) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        let bytes = u64::try_from(row.get::<_, i64>(2)?).unwrap_or(0);
        let may_go = row.get(3)?;
        list.push(Candidate { kind, id: row.get(0)?, received_at: row.get(1)?, bytes, may_go });
        going += u64::from(may_go);
        if list.len() == LOOKS || going == ROWS / 2 || Instant::now() >= until {
            return Ok((list, true));
        }
    }
    Ok((list, false))
}

/// Gives some of the free pages back to the disk. Returns whether there are more.
pub(super) fn give_back(connection: &Connection) -> Result<bool, StoreFault> {
    let before = free_pages(connection)?;
    let mut statement = connection.prepare_cached(&format!("PRAGMA incremental_vacuum({PAGES})"))?;
    let mut rows = statement.query([])?;
    // A row for each page.
    while rows.next()?.is_some() {}
    drop(rows);
    // A file that gives nothing back must not be tried for ever.
    Ok((1..before).contains(&free_pages(connection)?))
}

/// Empties the write-ahead log, in which what was removed may still stand, unless somebody reads from it.
pub(super) fn empty_log(connection: &Connection) -> Result<(), StoreFault> {
    for mode in ["PASSIVE", "TRUNCATE"] {
        connection.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |_| Ok(()))?;
    }
    Ok(())
}

fn free_pages(connection: &Connection) -> Result<u64, StoreFault> {
    number(connection, "freelist_count")
}

fn has_deliveries(connection: &Connection) -> Result<bool, StoreFault> {
    Ok(connection.query_row("SELECT EXISTS (SELECT 1 FROM deliveries)", [], |row| row.get(0))?)
}

/// What the inbox takes up, without pages that are free.
pub(super) fn bytes_in_use(connection: &Connection) -> Result<u64, StoreFault> {
    Ok((number(connection, "page_count")? - free_pages(connection)?) * number(connection, "page_size")?)
}

/// A number that SQLite knows of a file.
fn number(connection: &Connection, pragma: &str) -> Result<u64, StoreFault> {
    let number: i64 = connection.prepare_cached(&format!("PRAGMA {pragma}"))?.query_row([], |row| row.get(0))?;
    Ok(u64::try_from(number).unwrap_or(0))
}
