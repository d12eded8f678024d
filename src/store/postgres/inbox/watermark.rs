//! How far the order of arrival is complete.
//!
//! Events are numbered when they are stored, and seen when their transaction has ended, which may be in another order. A
//! number is complete when every transaction has ended that may have been given it, or one before it: those that were
//! storing events when it was the last. Each of them holds a lock for that, which hinders nobody and which the server
//! lists. (A snapshot lists them too, but with every other transaction of the server's: one that takes hours, of whatever
//! program in whatever database, would hold up all who follow events.)

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::time::Duration;

use super::super::fault::PostgresFault;
use super::super::session::{BEGIN, Link, ServerSession, values};

/// How long to wait for transactions that are about to end: the pauses between looks grow up to here.
const LONGEST_PAUSE: Duration = Duration::from_millis(512);

/// The number of the lock, from the name of the schema.
const LOCK: &str = "pg_catalog.hashtextextended('bugfender-hooks intake of ' || ";

/// Begins a transaction that stores events.
pub(super) fn begin(schema: &str) -> String {
    let name = schema.replace('\'', "''");
    format!("{BEGIN}; SELECT pg_catalog.pg_advisory_xact_lock_shared({LOCK}'{name}', 0))")
}

/// What is known of the order so far.
#[derive(Debug, Default)]
pub(super) struct Watermark {
    complete: Cell<Option<i64>>,
    /// A number, and the transactions that may have been given it, or one before it.
    next: RefCell<Option<(i64, HashSet<String>)>>,
}

impl Watermark {
    /// The last number that is complete.
    pub(super) fn get(&self, session: &ServerSession) -> Result<i64, PostgresFault> {
        let mut pause = Duration::from_millis(1);
        loop {
            if let Some(last) = self.advance(session)? {
                return Ok(last);
            }
            if let Some(complete) = self.complete.get().filter(|_| pause > FIRST_PAUSES) {
                return Ok(complete);
            }
            if pause > LONGEST_PAUSE {
                return Err(PostgresFault::Contended);
            }
            std::thread::sleep(pause);
            pause *= 2;
        }
    }

    /// The last number that is known to be complete, if one is, without waiting for any transaction.
    pub(super) fn so_far(&self, session: &ServerSession) -> Result<Option<i64>, PostgresFault> {
        self.advance(session)?;
        Ok(self.complete.get())
    }

    /// Looks once. Returns the last number that was given, if it is complete.
    fn advance(&self, session: &ServerSession) -> Result<Option<i64>, PostgresFault> {
        let (last, storing) = session.try_run(look)?;
        let (number, mut waiting) = self.next.take().unwrap_or_else(|| (last, storing.clone()));
        waiting.retain(|transaction| storing.contains(transaction));
        if !waiting.is_empty() {
            self.next.replace(Some((number, waiting)));
            return Ok(None);
        }
        self.complete.set(Some(number));
        if number >= last {
            return Ok(Some(number));
        }
        // What has begun since is for the next look.
        self.next.replace(Some((last, storing)));
        Ok(None)
    }
}

/// The pauses after which what was complete before will do.
const FIRST_PAUSES: Duration = Duration::from_millis(16);

/// The last number that was given, and then the transactions that are storing events.
async fn look(link: &Link) -> Result<(i64, HashSet<String>), PostgresFault> {
    let last = "SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM @event_ids";
    let last = link.number(last, values![]).await?;
    let sql = format!(
        "SELECT l.virtualtransaction FROM pg_catalog.pg_locks l, (SELECT {LOCK}$1, 0) AS number) k
         WHERE l.locktype = 'advisory' AND l.objsubid = 1 AND l.granted
             AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
             AND l.classid::bigint = (k.number >> 32) & 4294967295 AND l.objid::bigint = k.number & 4294967295"
    );
    let rows = link.rows(&sql, values![link.schema() => TEXT]).await?;
    Ok((last, rows.iter().map(|row| row.get(0)).collect()))
}
