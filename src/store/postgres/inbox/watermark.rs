//! How far the order of arrival is complete.
//!
//! Events are numbered when they are stored, and seen when their transaction has ended, which may be in another order. A
//! number is complete when every transaction that may have been given it, or one before it, has ended: those that had
//! begun when it was the last number. Transactions that store events have a number of their own before any event has.

use std::cell::Cell;
use std::time::Duration;

use super::super::fault::PostgresFault;
use super::super::session::{Link, Session, values};

/// How long to wait for transactions that are about to end: the pauses between looks grow up to here.
const LONGEST_PAUSE: Duration = Duration::from_millis(128);

/// What is known of the order so far.
#[derive(Debug, Default)]
pub(super) struct Watermark {
    complete: Cell<Option<i64>>,
    /// The last number when it was looked at, and the first transaction that cannot have been given it.
    next: Cell<Option<(i64, i64)>>,
}

impl Watermark {
    /// The last number that is complete.
    pub(super) fn get(&self, session: &Session) -> Result<i64, PostgresFault> {
        let mut pause = Duration::from_millis(1);
        loop {
            let (last, begun, running) = session.try_run(look)?;
            let (number, begun) = self.next.get().unwrap_or((last, begun));
            if running >= begun {
                self.complete.set(Some(number));
                // All that has begun since is for the next time.
                self.next.set(None);
                if number >= last {
                    return Ok(number);
                }
            } else {
                self.next.set(Some((number, begun)));
            }
            if pause > LONGEST_PAUSE {
                // A transaction of whatever program has been writing for long: what was complete before is so still.
                return self.complete.get().ok_or(PostgresFault::Contended);
            }
            std::thread::sleep(pause);
            pause *= 2;
        }
    }
}

/// The last number that was given; the first transaction that has not begun after that; and the first that has not ended.
async fn look(link: &Link) -> Result<(i64, i64, i64), PostgresFault> {
    // In this order: whoever was given the number had begun before.
    let last = link.number("SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM @event_ids", values![]).await?;
    let snapshot = "SELECT pg_snapshot_xmax(s)::text::bigint, pg_snapshot_xmin(s)::text::bigint
                    FROM pg_current_snapshot() AS s";
    let row = link.row(snapshot, values![]).await?.ok_or(PostgresFault::Contended)?;
    Ok((last, row.try_get(0)?, row.try_get(1)?))
}
