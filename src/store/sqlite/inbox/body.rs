//! Reading bodies, which are mostly compressed.

use std::ops::Range;

use rusqlite::{Connection, Row};

use crate::store::codec::StoredBody;
use crate::store::sqlite::fault::{Problem, StoreFault};

/// Reads bodies, or parts of them.
pub(super) struct Bodies<'c> {
    connection: &'c Connection,
    /// The last one that was unpacked: the events of a delivery are mostly asked for one after the other.
    last: Option<(i64, Vec<u8>)>,
}

impl<'c> Bodies<'c> {
    pub(super) fn of(connection: &'c Connection) -> Self {
        Self { connection, last: None }
    }

    /// The whole body of a delivery.
    pub(super) fn whole(&self, delivery: i64) -> Result<Vec<u8>, StoreFault> {
        let sql = "SELECT length, body FROM deliveries WHERE id = ?";
        let row = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
        let (length, bytes) = self.connection.prepare_cached(sql)?.query_row([delivery], row)?;
        read(bytes, length)
    }

    /// A part of it, or what there is of that. Of a long one no more is read.
    pub(super) fn part(&mut self, delivery: i64, part: Range<usize>) -> Result<Vec<u8>, StoreFault> {
        if let Some((id, body)) = &self.last
            && *id == delivery
        {
            return Ok(within(body, part).to_vec());
        }
        let sql = "SELECT length, CASE WHEN length IS NOT NULL THEN body END FROM deliveries WHERE id = ?";
        let row = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
        let (length, packed): (_, Option<Vec<u8>>) = self.connection.prepare_cached(sql)?.query_row([delivery], row)?;
        if let Some(packed) = packed {
            let (_, body) = self.last.insert((delivery, read(packed, length)?));
            return Ok(within(body, part).to_vec());
        }
        let blob = self.connection.blob_open("main", "deliveries", "body", delivery, true)?;
        let end = part.end.min(blob.len());
        let start = part.start.min(end);
        let mut bytes = vec![0; end - start];
        blob.read_at_exact(&mut bytes, start)?;
        Ok(bytes)
    }
}

/// The body that was stored so.
fn read(bytes: Vec<u8>, length: Option<i64>) -> Result<Vec<u8>, StoreFault> {
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
