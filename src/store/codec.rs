//! How deliveries are stored: their bodies compressed where that saves space.
//!
//! Every byte that is stored is written twice, into a log and from there into its place, and that is what storing spends
//! most of its time on. Of JSON with a stack trace in it a half is left or less.

use std::cell::RefCell;

use lz4_flex::block::{self, CompressTable};

use crate::domain::delivery::Delivery;

/// Shorter ones stay as they are: there is nothing to gain. In bytes.
const SHORTEST: usize = 128;

/// Longer ones do, too: a part of them can be read without the rest. In bytes, and for what LZ4 has a small table.
const LONGEST: usize = 64 * 1024 - 2;

/// A verified delivery, ready to be stored. Made where the delivery came in, so that the thread that commits has less to do.
#[derive(Debug, Clone)]
pub struct EncodedDelivery {
    delivery: Delivery,
    body: StoredBody,
}

impl EncodedDelivery {
    /// Encodes a delivery. The body of one that could not be read is kept as it came.
    pub fn encode(mut delivery: Delivery) -> Self {
        let body = delivery.take_body();
        let is_readable = delivery.malformed().is_none();
        let body = if is_readable { StoredBody::packed(body) } else { StoredBody::plain(body) };
        Self { delivery, body }
    }

    /// The delivery, without its body.
    pub fn delivery(&self) -> &Delivery {
        &self.delivery
    }

    /// The size of what is stored of the body, in bytes.
    pub fn stored_size(&self) -> usize {
        self.body.bytes.len()
    }

    pub(super) fn body(&self) -> &StoredBody {
        &self.body
    }
}

/// A body, compressed or as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StoredBody {
    bytes: Vec<u8>,
    length: Option<usize>,
}

impl StoredBody {
    /// A body that stays as it is.
    pub fn plain(body: Vec<u8>) -> Self {
        Self { bytes: body, length: None }
    }

    /// A body that is compressed if that saves something.
    pub fn packed(body: Vec<u8>) -> Self {
        if !(SHORTEST..=LONGEST).contains(&body.len()) {
            return Self::plain(body);
        }
        match ROOM.with_borrow_mut(|room| room.compress(&body)) {
            Some(packed) => Self { bytes: packed, length: Some(body.len()) },
            None => Self::plain(body),
        }
    }

    /// The bytes to store: the body itself, or an LZ4 block without a header.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The length of the body in bytes, if it is compressed.
    pub fn packed_from(&self) -> Option<usize> {
        self.length
    }

    /// The body as it came, from what [`StoredBody::bytes`] and [`StoredBody::packed_from`] were; `None` if that is damaged.
    pub fn read(bytes: Vec<u8>, packed_from: Option<usize>) -> Option<Vec<u8>> {
        let Some(length) = packed_from else { return Some(bytes) };
        // Not more memory than any has, whatever is said.
        let mut body = vec![0; Some(length).filter(|length| *length <= LONGEST)?];
        let size = block::decompress_into(&bytes, &mut body).ok()?;
        (size == length).then_some(body)
    }
}

thread_local! {
    /// Kept for the next body: there are many, and what they need is too large to be had quickly.
    static ROOM: RefCell<Room> = RefCell::default();
}

/// Memory for compressing.
#[derive(Default)]
struct Room {
    table: CompressTable,
    output: Vec<u8>,
}

impl Room {
    /// The body compressed, if that is shorter.
    fn compress(&mut self, body: &[u8]) -> Option<Vec<u8>> {
        let most = block::get_maximum_output_size(body.len());
        self.output.resize(most.max(self.output.len()), 0);
        let size = block::compress_into_with_table(body, &mut self.output, &mut self.table).ok()?;
        (size < body.len()).then(|| self.output[..size].to_vec())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// How many bytes are stored of a body, and what is read of them.
    fn stored_and_read(body: &[u8]) -> (usize, Vec<u8>) {
        let packed = StoredBody::packed(body.to_vec());
        let read = StoredBody::read(packed.bytes().to_vec(), packed.packed_from()).unwrap();
        (packed.bytes().len(), read)
    }

    #[test]
    fn what_repeats_itself_is_stored_shorter() {
        for (length, is_packed) in [(SHORTEST - 1, false), (SHORTEST, true), (LONGEST, true), (LONGEST + 1, false)] {
            let body = vec![b'x'; length];
            let (size, read) = stored_and_read(&body);
            assert!((size < length) == is_packed && read == body, "{length}: {size}");
        }
        let noise: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..)).take(2000).collect();
        assert_eq!(stored_and_read(&noise), (noise.len(), noise));
    }

    #[test]
    fn what_was_damaged_is_no_body() {
        let packed = StoredBody::packed(vec![b'x'; 1000]);
        let read = |bytes: &[u8], length| StoredBody::read(bytes.to_vec(), Some(length));
        assert_eq!(read(packed.bytes(), 1000).unwrap().len(), 1000);
        for length in [0, 999, 1001, LONGEST + 1, usize::MAX] {
            assert_eq!(read(packed.bytes(), length), None, "{length}");
        }
        assert!(read(&packed.bytes()[1..], 1000).is_none() && read(b"", 1000).is_none());
    }

    proptest! {
        #[test]
        fn every_body_is_read_as_it_came(pieces in prop::collection::vec("[a-c]{0,9}|.{0,40}", 0..200)) {
            let body = pieces.concat().into_bytes();
            prop_assert_eq!(stored_and_read(&body).1, body);
        }
    }
}
