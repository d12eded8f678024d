//! A Bloom filter over keys that are hashes already: whether a key may be in a run, without looking there.
//!
//! Its form is kept on the disk, so it is written down here rather than taken from a library whose next version may
//! hash otherwise: all keys that were ever put in must be found for as long as the file lives.

use crate::domain::event::EventKey;

/// The words of a block: a cache line, so that a look costs one miss.
const BLOCK: usize = 8;

/// Bits for each key. With seven of them set in one block, one look in some five hundred is wrong.
const BITS_PER_KEY: usize = 16;

/// How many bits a key sets: seven numbers of nine bits from 64.
const PROBES: u32 = 7;

/// The filter of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BloomFilter {
    words: Vec<u64>,
}

impl BloomFilter {
    /// An empty filter for this many keys.
    pub(super) fn with_room_for(keys: usize) -> Self {
        let blocks = (keys * BITS_PER_KEY).div_ceil(BLOCK * 64).max(1);
        Self { words: vec![0; blocks * BLOCK] }
    }

    /// Puts a key in.
    pub(super) fn insert(&mut self, key: EventKey) {
        for (word, bit) in self.places(key) {
            self.words[word] |= 1 << bit;
        }
    }

    /// Whether the key may be in the run. Never `false` for one that is.
    pub(super) fn may_hold(&self, key: EventKey) -> bool {
        self.places(key).all(|(word, bit)| self.words[word] >> bit & 1 == 1)
    }

    fn places(&self, key: EventKey) -> impl Iterator<Item = (usize, u32)> + use<> {
        let (first, second) = halves(key);
        let blocks = self.words.len() / BLOCK;
        // Less than the number of blocks, which is a usize.
        let block = usize::try_from(first % blocks as u64).unwrap_or_default() * BLOCK;
        (0..PROBES).map(move |probe| {
            let place = second >> (probe * 9) & 511;
            let word = usize::try_from(place >> 6).unwrap_or_default();
            (block + word, u32::try_from(place & 63).unwrap_or_default())
        })
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        self.words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    /// `None` for what no filter looks like.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (words, rest) = bytes.as_chunks::<8>();
        let words: Vec<u64> = words.iter().map(|word| u64::from_le_bytes(*word)).collect();
        (rest.is_empty() && !words.is_empty() && words.len().is_multiple_of(BLOCK)).then_some(Self { words })
    }
}

fn halves(key: EventKey) -> (u64, u64) {
    let key = u128::from_le_bytes(*key.bytes());
    // Both halves are taken whole.
    (u64::try_from(key & u128::from(u64::MAX)).unwrap_or_default(), u64::try_from(key >> 64).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_was_put_in_is_found(keys in prop::collection::vec(any::<[u8; 16]>(), 0..300)) {
            let mut filter = BloomFilter::with_room_for(keys.len());
            for key in &keys {
                filter.insert(EventKey::from_bytes(*key));
            }
            let read = BloomFilter::from_bytes(&filter.to_bytes()).unwrap();
            prop_assert_eq!(&read, &filter);
            for key in keys {
                prop_assert!(read.may_hold(EventKey::from_bytes(key)));
            }
        }
    }

    #[test]
    fn what_was_not_is_rarely_found() {
        let key =
            |number: u32| EventKey::candidates(crate::domain::event::Sender::Bugfender, &number.to_string()).next();
        let mut filter = BloomFilter::with_room_for(20_000);
        (0..20_000).filter_map(key).for_each(|key| filter.insert(key));
        let wrong = (20_000..120_000).filter_map(key).filter(|key| filter.may_hold(*key)).count();
        assert!(wrong < 500, "{wrong} of 100,000");
        assert_eq!(BloomFilter::from_bytes(&[]), None);
        assert_eq!(BloomFilter::from_bytes(&[0; 65]), None);
    }
}
