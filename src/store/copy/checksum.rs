//! Checksums over rows, the same for every backend.

use jiff::Timestamp;
use ring::digest::{Context, SHA256};

use super::tables::CopiedValue;
use crate::store::Keys;

/// The number of rows, and a hash over all that is in them, in their order.
#[derive(Clone)]
pub(super) struct Checksum {
    rows: u64,
    hash: Context,
}

impl Default for Checksum {
    fn default() -> Self {
        Self { rows: 0, hash: Context::new(&SHA256) }
    }
}

impl PartialEq for Checksum {
    fn eq(&self, other: &Self) -> bool {
        self.rows == other.rows && self.to_hex() == other.to_hex()
    }
}

impl Checksum {
    /// Adds a row. Each value has its kind and its length before it, so that no two rows are hashed alike.
    pub(super) fn add(&mut self, row: &[CopiedValue]) {
        self.rows += 1;
        for value in row {
            match value {
                CopiedValue::Empty => self.hash.update(&[0]),
                CopiedValue::Number(number) => self.add_bytes(1, &number.to_le_bytes()),
                CopiedValue::Text(text) => self.add_bytes(2, text.as_bytes()),
                CopiedValue::Bytes(bytes) => self.add_bytes(3, bytes),
            }
        }
    }

    fn add_bytes(&mut self, kind: u8, bytes: &[u8]) {
        self.hash.update(&[kind]);
        self.hash.update(&(bytes.len() as u64).to_le_bytes());
        self.hash.update(bytes);
    }

    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    pub(super) fn to_hex(&self) -> String {
        hex::encode(self.hash.clone().finish())
    }
}

/// The checksum of the keys that are accepted at `now`.
pub(super) fn of_keys(keys: Option<Keys>, now: Timestamp) -> Checksum {
    let mut checksum = Checksum::default();
    let Some(Keys { current, former }) = keys else { return checksum };
    checksum.add(&[CopiedValue::Text(current.expose().to_owned()), CopiedValue::Empty]);
    for (key, until) in former.iter().filter(|(_, until)| *until > now) {
        let until = CopiedValue::Number(until.as_microsecond());
        checksum.add(&[CopiedValue::Text(key.expose().to_owned()), until]);
    }
    checksum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(rows: &[&[CopiedValue]]) -> Checksum {
        let mut checksum = Checksum::default();
        for row in rows {
            checksum.add(row);
        }
        checksum
    }

    #[test]
    fn what_differs_in_anything_has_another_checksum() {
        let text = |text: &str| CopiedValue::Text(text.to_owned());
        let all = [
            of(&[]),
            of(&[&[text("ab"), text("c")]]),
            of(&[&[text("a"), text("bc")]]),
            of(&[&[text("ab")], &[text("c")]]),
            of(&[&[text("c")], &[text("ab")]]),
            of(&[&[CopiedValue::Bytes(b"ab".to_vec()), text("c")]]),
            of(&[&[CopiedValue::Empty]]),
            of(&[&[text("")]]),
            of(&[&[CopiedValue::Number(0)]]),
        ];
        for (place, one) in all.iter().enumerate() {
            assert!(all.iter().enumerate().all(|(other, checksum)| (one == checksum) == (place == other)), "{place}");
        }
    }
}
