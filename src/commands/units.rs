//! Values of the command line, and numbers in messages: durations, sizes, types of events.

use std::net::SocketAddr;

use bytesize::ByteSize;
use jiff::{SignedDuration, Span, SpanRelativeTo};
use url::Host;

use crate::domain::EventKind;
use crate::domain::event::EVENT_TYPES;

/// Parses a duration: `90s`, `2h`, `3d`, `1w`; days have 24 hours.
pub fn duration(text: &str) -> Result<SignedDuration, String> {
    let wrong = || "write a duration such as 90s, 2h, 3d or 1w".to_owned();
    // The parser would read the time of day 12:30:00 as 12 hours and 30 minutes.
    let span: Span =
        Some(text).filter(|text| !text.contains(':')).and_then(|text| text.parse().ok()).ok_or_else(wrong)?;
    let duration = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| wrong())?;
    if duration.is_positive() { Ok(duration) } else { Err("a duration must be longer than zero".to_owned()) }
}

/// Parses a duration, or 0.
pub fn duration_or_zero(text: &str) -> Result<SignedDuration, String> {
    if matches!(text.trim(), "0" | "0s") {
        Ok(SignedDuration::ZERO)
    } else {
        duration(text).map_err(|wrong| wrong + ", or 0")
    }
}

/// A size in bytes: a number, with a unit of powers of 1000 (kB, MB, GB, TB) or 1024 (KiB, MiB, GiB, TiB) or none.
pub fn size(text: &str) -> Result<u64, String> {
    let size = text.trim().parse::<ByteSize>().ok().map(|size| size.as_u64());
    // More bytes than can be counted are read as the most that can be.
    size.filter(|bytes| *bytes < u64::MAX).ok_or_else(|| "write a size such as 500MB or 2GiB".to_owned())
}

/// A type of events. The name of a subscription stands for what is delivered for it.
pub fn event_type(text: &str) -> Result<String, String> {
    let text = text.trim();
    if text.is_empty() {
        return Err("an event type must not be empty".to_owned());
    }
    let kind = text.parse::<EventKind>();
    let known = EVENT_TYPES.iter().find(|known| known.eq_ignore_ascii_case(text)).copied();
    Ok(kind.map_or_else(|_| known.unwrap_or(text).to_owned(), |kind| kind.delivered_type().to_owned()))
}

/// A number of things, in words.
pub fn count(number: u64, thing: &str) -> String {
    if number == 1 { format!("1 {thing}") } else { format!("{number} {thing}s") }
}

/// Reads an address with a port: an IP address, localhost, or a port alone.
pub fn address(text: &str) -> Result<SocketAddr, String> {
    let full = match text.strip_prefix("localhost:").or_else(|| text.strip_prefix(':')) {
        Some(port) => format!("127.0.0.1:{port}"),
        None if text.parse::<u16>().is_ok() => format!("127.0.0.1:{text}"),
        None => text.to_owned(),
    };
    full.parse().map_err(|_| "not an address with a port, such as 127.0.0.1:4000 or [::]:4000".to_owned())
}

/// Reads the name of a host.
pub fn host_name(text: &str) -> Result<String, String> {
    match Host::parse(text) {
        Ok(Host::Domain(name)) => Ok(name),
        Ok(_) => Err("an IP address needs no name: it is accepted anyway".to_owned()),
        Err(_) => Err("not the name of a host, such as receiver.internal".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_have_24_hours() {
        let seconds = |text: &str| duration(text).map(|duration| duration.as_secs()).ok();
        assert_eq!(seconds("90s"), Some(90));
        assert_eq!(seconds("2h"), Some(7200));
        assert_eq!(seconds("1d 12h"), Some(129_600));
        assert_eq!(seconds("1w"), Some(604_800));
        for wrong in ["", "2", "h", "1 month", "2 fortnights", "1y", "12:30", "12:30:00", "1d 12:30:00"] {
            assert_eq!(seconds(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn names_of_subscriptions_stand_for_types() {
        assert_eq!(event_type("new_issue_separate").unwrap(), "issue");
        assert_eq!(event_type(" other ").unwrap(), "other");
    }

    #[test]
    fn sizes_have_units() {
        for (text, bytes) in [
            ("500MB", 500_000_000),
            ("2GB", 2_000_000_000),
            ("1.5GB", 1_500_000_000),
            ("2 GiB", 2 << 30),
            (" 3tib ", 3 << 40),
            ("5k", 5000),
            ("7 B", 7),
            ("4096", 4096),
            ("0", 0),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for wrong in ["", "MB", "-1", "5XB", "1.2.3MB", "5 MB more", "99999999999TB", "99999999999999999999"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_name_is_a_name() {
        assert_eq!(host_name("Receiver.Internal").as_deref(), Ok("receiver.internal"));
        for wrong in ["", "a b", "a:80", "http://a", "10.0.0.1", "a/b"] {
            assert!(host_name(wrong).is_err(), "{wrong}");
        }
    }
}
