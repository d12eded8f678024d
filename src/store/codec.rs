//! How deliveries are stored: their bodies compressed where that saves space.
//!
//! Storing spends most of its time writing bytes, each of them twice: to the log, then to the database. JSON with a
//! stack trace compresses to half its size or less.

use std::cell::RefCell;

use jiff::Timestamp;
use lz4_flex::block::{self, CompressTable};

use crate::domain::delivery::{Delivery, Via};

/// The minimum size for compression, in bytes; smaller bodies gain nothing.
const MIN_PACKED: usize = 128;

/// The maximum size for compression, in bytes: parts of larger bodies are read separately, and LZ4 uses its small table
/// up to this size.
const MAX_PACKED: usize = 64 * 1024 - 2;

/// A verified delivery, ready to be stored. Made where the delivery came in, so that the thread that commits has less to do.
#[derive(Debug, Clone)]
pub struct EncodedDelivery {
    delivery: Delivery,
    body: StoredBody,
    /// The number that it has in quarantine, and when it was read again.
    reread: Option<(i64, Timestamp)>,
}

impl EncodedDelivery {
    /// Encodes a delivery. The body of one that could not be read is kept as it came.
    pub fn encode(mut delivery: Delivery) -> Self {
        let body = delivery.take_body();
        let is_readable = delivery.malformed().is_none();
        let body = if is_readable { StoredBody::packed(body) } else { StoredBody::plain(body) };
        Self { delivery, body, reread: None }
    }

    /// The same of a delivery that has this number in quarantine and was read again now: it leaves quarantine once its events
    /// are stored, and they are queued from now on, however old they are.
    #[must_use]
    pub fn out_of_quarantine(self, number: i64, now: Timestamp) -> Self {
        Self { reread: Some((number, now)), ..self }
    }

    /// The delivery, without its body.
    pub fn delivery(&self) -> &Delivery {
        &self.delivery
    }

    /// The size of what is stored of the body, in bytes.
    pub fn stored_size(&self) -> usize {
        self.body.bytes.len()
    }

    /// How it came, as it is stored.
    pub(super) fn via(&self) -> i16 {
        stored_via(self.delivery.via())
    }

    pub(super) fn body(&self) -> &StoredBody {
        &self.body
    }

    /// The number that it has in quarantine, if it was read again.
    pub(super) fn quarantined(&self) -> Option<i64> {
        self.reread.map(|(number, _)| number)
    }

    /// Since when its events wait to be forwarded.
    pub(super) fn queued_at(&self) -> Timestamp {
        self.reread.map_or(self.delivery.received_at(), |(_, at)| at)
    }
}

/// How something came, as it is stored.
pub(super) const fn stored_via(via: Via) -> i16 {
    match via {
        Via::Webhook => 0,
        Via::Poll => 1,
        Via::Test => 2,
    }
}

/// Reads what [`stored_via`] wrote.
pub(super) const fn read_via(stored: i16) -> Via {
    match stored {
        0 => Via::Webhook,
        2 => Via::Test,
        _ => Via::Poll,
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

    /// A body that is compressed if that saves space.
    pub fn packed(body: Vec<u8>) -> Self {
        if !(MIN_PACKED..=MAX_PACKED).contains(&body.len()) {
            return Self::plain(body);
        }
        match COMPRESSOR.with_borrow_mut(|compressor| compressor.compress(&body)) {
            Some(packed) => Self { bytes: packed, length: Some(body.len()) },
            None => Self::plain(body),
        }
    }

    /// The bytes to store: the body itself, or an LZ4 block without a header.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The original length in bytes, if the body is compressed.
    pub fn packed_from(&self) -> Option<usize> {
        self.length
    }

    /// The body as it came, from what [`StoredBody::bytes`] and [`StoredBody::packed_from`] were; `None` if that is damaged.
    pub fn read(bytes: Vec<u8>, packed_from: Option<usize>) -> Option<Vec<u8>> {
        let Some(length) = packed_from else { return Some(bytes) };
        // A damaged length must not allocate more than any body needs.
        let mut body = vec![0; Some(length).filter(|length| *length <= MAX_PACKED)?];
        let size = block::decompress_into(&bytes, &mut body).ok()?;
        (size == length).then_some(body)
    }
}

thread_local! {
    /// Reused for each body, as allocating it is slow.
    static COMPRESSOR: RefCell<Compressor> = RefCell::default();
}

/// The memory for compression.
#[derive(Default)]
struct Compressor {
    table: CompressTable,
    output: Vec<u8>,
}

impl Compressor {
    /// The compressed body, if it is shorter.
    fn compress(&mut self, body: &[u8]) -> Option<Vec<u8>> {
        let max = block::get_maximum_output_size(body.len());
        self.output.resize(max.max(self.output.len()), 0);
        let size = block::compress_into_with_table(body, &mut self.output, &mut self.table).ok()?;
        (size < body.len()).then(|| self.output[..size].to_vec())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The stored size of a body, and the body read back.
    fn stored_and_read(body: &[u8]) -> (usize, Vec<u8>) {
        let packed = StoredBody::packed(body.to_vec());
        let read = StoredBody::read(packed.bytes().to_vec(), packed.packed_from()).unwrap();
        (packed.bytes().len(), read)
    }

    #[test]
    fn repetitive_bodies_are_compressed() {
        for (length, is_packed) in
            [(MIN_PACKED - 1, false), (MIN_PACKED, true), (MAX_PACKED, true), (MAX_PACKED + 1, false)]
        {
            let body = vec![b'x'; length];
            let (size, read) = stored_and_read(&body);
            assert!((size < length) == is_packed && read == body, "{length}: {size}");
        }
        let noise: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..)).take(2000).collect();
        assert_eq!(stored_and_read(&noise), (noise.len(), noise));
    }

    #[test]
    fn damaged_bodies_are_rejected() {
        let packed = StoredBody::packed(vec![b'x'; 1000]);
        let read = |bytes: &[u8], length| StoredBody::read(bytes.to_vec(), Some(length));
        assert_eq!(read(packed.bytes(), 1000).unwrap().len(), 1000);
        for length in [0, 999, 1001, MAX_PACKED + 1, usize::MAX] {
            assert_eq!(read(packed.bytes(), length), None, "{length}");
        }
        assert!(read(&packed.bytes()[1..], 1000).is_none() && read(b"", 1000).is_none());
    }

    proptest! {
        #[test]
        fn every_body_is_read_back_unchanged(pieces in prop::collection::vec("[a-c]{0,9}|.{0,40}", 0..200)) {
            let body = pieces.concat().into_bytes();
            prop_assert_eq!(stored_and_read(&body).1, body);
        }
    }
}
