//! Bodies as they are stored: compressed where that saves something.
//!
//! Every byte of a body is written twice, into the log and from there into the file, and that is what a commit spends
//! most of its time on. JSON has a half or less left of it.

use std::ops::Range;

use lz4_flex::block::{self, CompressTable};
use rusqlite::{CachedStatement, Connection};

use super::Fault;
use crate::store::error::Problem;

/// Shorter ones are stored as they are: there is nothing to gain. In bytes.
const SHORTEST: usize = 128;

/// Longer ones are, too: parts of them can be read without the rest. In bytes.
const LONGEST: usize = 64 * 1024 - 1;

/// Compresses bodies, with memory that it has for all of them.
pub(super) struct Packer {
    table: CompressTable,
    room: Vec<u8>,
}

/// A body to be stored.
pub(super) struct Packed<'a> {
    /// What is stored.
    pub(super) bytes: &'a [u8],
    /// The length of the body, if it is compressed.
    pub(super) length: Option<i64>,
}

impl Packer {
    pub(super) fn new() -> Self {
        Self { table: CompressTable::small(), room: Vec::new() }
    }

    pub(super) fn pack<'a>(&'a mut self, body: &'a [u8]) -> Packed<'a> {
        let as_it_is = Packed { bytes: body, length: None };
        if !(SHORTEST..=LONGEST).contains(&body.len()) {
            return as_it_is;
        }
        self.room.resize(block::get_maximum_output_size(body.len()).max(self.room.len()), 0);
        let packed = block::compress_into_with_table(body, &mut self.room, &mut self.table);
        match (packed, i64::try_from(body.len())) {
            (Ok(size), Ok(length)) if size < body.len() => Packed { bytes: &self.room[..size], length: Some(length) },
            _ => as_it_is,
        }
    }
}

impl std::fmt::Debug for Packer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Packer").finish_non_exhaustive()
    }
}

/// The body that was stored so.
fn unpack(stored: Vec<u8>, length: Option<i64>) -> Result<Vec<u8>, Fault> {
    let damaged = || Fault::Rule(Problem::Damaged);
    let Some(length) = length else { return Ok(stored) };
    // Not more memory than any has, whatever the file says.
    let length = usize::try_from(length).ok().filter(|length| *length <= LONGEST).ok_or_else(damaged)?;
    let mut body = vec![0; length];
    let size = block::decompress_into(&stored, &mut body).map_err(|_| damaged())?;
    if size == length { Ok(body) } else { Err(damaged()) }
}

/// Reads bodies, or parts of them.
pub(super) struct Bodies<'c> {
    connection: &'c Connection,
    length: CachedStatement<'c>,
    whole: CachedStatement<'c>,
    /// The last one that was unpacked: the events of a delivery are mostly asked for one after the other.
    last: Option<(i64, Vec<u8>)>,
}

impl<'c> Bodies<'c> {
    pub(super) fn of(connection: &'c Connection) -> Result<Self, Fault> {
        let length = connection.prepare_cached("SELECT length FROM deliveries WHERE id = ?")?;
        let whole = connection.prepare_cached("SELECT body FROM deliveries WHERE id = ?")?;
        Ok(Self { connection, length, whole, last: None })
    }

    /// The whole body of a delivery.
    pub(super) fn whole(&mut self, delivery: i64) -> Result<Vec<u8>, Fault> {
        let length = self.length.query_row([delivery], |row| row.get(0))?;
        unpack(self.whole.query_row([delivery], |row| row.get(0))?, length)
    }

    /// A part of it, or what there is of that. Of a long one no more is read.
    pub(super) fn part(&mut self, delivery: i64, part: Range<usize>) -> Result<Vec<u8>, Fault> {
        if let Some((id, body)) = &self.last
            && *id == delivery
        {
            return Ok(within(body, part).to_vec());
        }
        let length: Option<i64> = self.length.query_row([delivery], |row| row.get(0))?;
        if length.is_some() {
            let body = self.whole(delivery)?;
            let (_, body) = self.last.insert((delivery, body));
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
    use proptest::prelude::*;

    use super::*;

    fn stored_and_read(packer: &mut Packer, body: &[u8]) -> (usize, Vec<u8>) {
        let Packed { bytes, length } = packer.pack(body);
        (bytes.len(), unpack(bytes.to_vec(), length).unwrap())
    }

    #[test]
    fn what_repeats_itself_is_stored_shorter() {
        let mut packer = Packer::new();
        for (length, is_packed) in [(SHORTEST - 1, false), (SHORTEST, true), (LONGEST, true), (LONGEST + 1, false)] {
            let body = vec![b'x'; length];
            let (size, read) = stored_and_read(&mut packer, &body);
            assert!((size < length) == is_packed && read == body, "{length}: {size}");
        }
        let noise: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..)).take(2000).collect();
        assert_eq!(stored_and_read(&mut packer, &noise), (noise.len(), noise));
    }

    #[test]
    fn what_was_damaged_is_no_body() {
        let mut packer = Packer::new();
        let Packed { bytes, length } = packer.pack(&[b'x'; 1000]);
        let is_refused = |bytes: &[u8], length: i64| unpack(bytes.to_vec(), Some(length)).is_err();
        assert_eq!(length, Some(1000));
        for length in [-1, 0, 999, 1001, 65_536, i64::MAX] {
            assert!(is_refused(bytes, length), "{length}");
        }
        assert!(is_refused(&bytes[1..], 1000) && is_refused(b"", 1000));
    }

    proptest! {
        #[test]
        fn every_body_is_read_as_it_came(pieces in prop::collection::vec("[a-c]{0,9}|.{0,40}", 0..200)) {
            let body = pieces.concat().into_bytes();
            let mut packer = Packer::new();
            for _ in 0..2 {
                prop_assert_eq!(&stored_and_read(&mut packer, &body).1, &body);
            }
        }
    }
}
