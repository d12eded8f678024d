//! Reading bodies, which are mostly compressed.

use std::collections::VecDeque;
use std::ops::Range;

use rusqlite::{Connection, Row};

use crate::store::codec::StoredBody;
use crate::store::sqlite::fault::{Problem, StoreFault};

/// How many deliveries are remembered, and how many bytes of bodies.
const RECENT: usize = 8;
const RECENT_BYTES: usize = 16 * 1024 * 1024;

/// Reads bodies, or parts of them: the events of a delivery are mostly asked for one after the other, and what is asked for
/// repeatedly is read from the file once.
#[derive(Debug, Default)]
pub(super) struct Bodies {
    /// The deliveries that were asked for last, the last one first, with their bodies if they were read whole.
    recent: VecDeque<(i64, Option<Vec<u8>>)>,
    /// How many bodies, or parts, were read from the file.
    reads: usize,
}

impl Bodies {
    /// The whole body of a delivery.
    pub(super) fn whole(&mut self, connection: &Connection, delivery: i64) -> Result<Vec<u8>, StoreFault> {
        match self.known(delivery) {
            Some((_, Some(body))) => Ok(body.clone()),
            _ => self.read_whole(connection, delivery),
        }
    }

    /// A part of it, or what there is of that. Of a long one no more is read, the first time.
    pub(super) fn part(
        &mut self,
        connection: &Connection,
        delivery: i64,
        part: Range<usize>,
    ) -> Result<Vec<u8>, StoreFault> {
        let is_known = match self.known(delivery) {
            Some((_, Some(body))) => return Ok(within(body, part).to_vec()),
            known => known.is_some(),
        };
        let (length, is_packed) = size(connection, delivery)?;
        if is_packed || is_known && length <= RECENT_BYTES {
            let body = self.read_whole(connection, delivery)?;
            let asked = within(&body, part).to_vec();
            self.remember(delivery, Some(body));
            return Ok(asked);
        }
        self.remember(delivery, None);
        self.reads += 1;
        let blob = connection.blob_open("main", "deliveries", "body", delivery, true)?;
        let end = part.end.min(blob.len());
        let start = part.start.min(end);
        let mut bytes = vec![0; end - start];
        blob.read_at_exact(&mut bytes, start)?;
        Ok(bytes)
    }

    /// Forgets everything: what is stored may be changed.
    pub(super) fn forget(&mut self) {
        self.recent.clear();
    }

    fn known(&self, delivery: i64) -> Option<&(i64, Option<Vec<u8>>)> {
        self.recent.iter().find(|(id, _)| *id == delivery)
    }

    fn remember(&mut self, delivery: i64, body: Option<Vec<u8>>) {
        self.recent.retain(|(id, _)| *id != delivery);
        self.recent.push_front((delivery, body));
        let mut bytes = 0;
        self.recent.retain(|(_, body)| {
            bytes += body.as_ref().map_or(0, Vec::len);
            bytes <= RECENT_BYTES
        });
        self.recent.truncate(RECENT);
    }

    fn read_whole(&mut self, connection: &Connection, delivery: i64) -> Result<Vec<u8>, StoreFault> {
        self.reads += 1;
        let sql = "SELECT length, body FROM deliveries WHERE id = ?";
        let row = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
        let (length, bytes) = connection.prepare_cached(sql)?.query_row([delivery], row)?;
        read(bytes, length)
    }
}

/// How long what is stored of a body is, and whether that is compressed.
fn size(connection: &Connection, delivery: i64) -> Result<(usize, bool), StoreFault> {
    let sql = "SELECT length(body), length IS NOT NULL FROM deliveries WHERE id = ?";
    let row = |row: &Row<'_>| Ok((row.get::<_, i64>(0)?, row.get(1)?));
    let (length, is_packed) = connection.prepare_cached(sql)?.query_row([delivery], row)?;
    Ok((usize::try_from(length).unwrap_or(usize::MAX), is_packed))
}

/// The body that was stored so.
pub(super) fn read(bytes: Vec<u8>, length: Option<i64>) -> Result<Vec<u8>, StoreFault> {
    let length = length.map(usize::try_from).transpose().map_err(|_| Problem::Damaged)?;
    StoredBody::read(bytes, length).ok_or(StoreFault::Problem(Problem::Damaged))
}

/// The place of an event in its body, as it is stored.
pub(super) fn place(start: i64, length: i64) -> Range<usize> {
    let (start, length) = (usize::try_from(start).unwrap_or(0), usize::try_from(length).unwrap_or(0));
    start..start.saturating_add(length)
}

fn within(body: &[u8], part: Range<usize>) -> &[u8] {
    let end = part.end.min(body.len());
    &body[part.start.min(end)..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_read_a_few_times_however_many_events_are_in_it() {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(include_str!("../../../../migrations/sqlite/0001_inbox.sql")).unwrap();
        let body: Vec<u8> = (0..100_000).map(|_| fastrand::u8(..)).collect();
        let insert = "INSERT INTO deliveries (id, sender, received_at, events, first_event, last_event, body)
                      VALUES (?, 'bugfender', 0, 0, 0, 0, ?)";
        for id in 1..=3 {
            connection.execute(insert, (id, &body)).unwrap();
        }
        let mut bodies = Bodies::default();
        for start in (0..100_000).step_by(10) {
            // Three targets at three deliveries.
            for id in 1..=3 {
                let part = start..start + 10;
                assert_eq!(bodies.part(&connection, id, part.clone()).unwrap(), &body[part]);
            }
        }
        assert_eq!(bodies.reads, 6);
        assert_eq!(bodies.whole(&connection, 2).unwrap(), body);
        assert_eq!(bodies.reads, 6);
    }
}
