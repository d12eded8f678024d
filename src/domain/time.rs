//! Times as they are kept and shown.

use std::fmt;

use jiff::Timestamp;
use jiff::tz::Offset;
use serde::{Serialize, Serializer};

/// The second that a time is in: people and files do with whole ones.
pub fn whole_second(time: Timestamp) -> Timestamp {
    // A time without its fraction is as much in range as with it.
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

/// A time as it is shown: RFC 3339, in UTC and whole seconds.
///
/// Made by hand: a long list is mostly times, and the general way takes eight times as long.
#[derive(Clone, Copy)]
pub struct ShownTime([u8; "0000-00-00T00:00:00Z".len()]);

impl ShownTime {
    fn as_str(&self) -> &str {
        // It is digits and what stands between them.
        str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl From<Timestamp> for ShownTime {
    fn from(time: Timestamp) -> Self {
        let civil = Offset::UTC.to_datetime(time);
        // Nothing happened before; a limit may lie there.
        let year = civil.year().max(0);
        let (century, year) = (digits(year / 100), digits(year % 100));
        let (month, day) = (digits(civil.month()), digits(civil.day()));
        let (hour, minute, second) = (digits(civil.hour()), digits(civil.minute()), digits(civil.second()));
        let mut text = *b"0000-00-00T00:00:00Z";
        text[0..2].copy_from_slice(&century);
        text[2..4].copy_from_slice(&year);
        text[5..7].copy_from_slice(&month);
        text[8..10].copy_from_slice(&day);
        text[11..13].copy_from_slice(&hour);
        text[14..16].copy_from_slice(&minute);
        text[17..19].copy_from_slice(&second);
        Self(text)
    }
}

/// The digits of a part of a time, which is below a hundred.
fn digits(part: impl TryInto<u8>) -> [u8; 2] {
    let part = part.try_into().unwrap_or_default();
    [b'0' + part / 10, b'0' + part % 10]
}

impl fmt::Display for ShownTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Serialize for ShownTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_lies_before_all_years_is_in_the_first() {
        assert!(ShownTime::from(Timestamp::MIN).to_string().starts_with("0000-"));
    }

    proptest! {
        #[test]
        fn times_are_written_as_the_library_would(second in -62_167_219_200..=Timestamp::MAX.as_second()) {
            let time = Timestamp::from_second(second).unwrap();
            prop_assert_eq!(ShownTime::from(time).to_string(), time.to_string());
        }
    }
}
