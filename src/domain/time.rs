//! Times as they are kept and shown.

use jiff::Timestamp;

/// The second that a time is in: people and files do with whole ones.
pub fn whole_second(time: Timestamp) -> Timestamp {
    // A time without its fraction is as much in range as with it.
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}
