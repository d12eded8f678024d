//! The rows of a page.

use std::borrow::Cow;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::walk::RowOrder;
use crate::domain::{IdForm, decode_polled};

/// An issue as the API lists it, which has what an event has that is delivered.
#[derive(Debug)]
pub(super) struct IssueRow {
    /// The object as it came, but for the form of its id.
    pub(super) raw: Box<RawValue>,
    /// Its id.
    pub(super) id: String,
    /// Its type, in lower case.
    pub(super) event_type: Option<String>,
    /// When it was made.
    pub(super) created_at: Option<Timestamp>,
}

#[derive(Deserialize)]
struct RowTime {
    #[serde(default)]
    created_at: Value,
}

impl IssueRow {
    /// Reads a row, whose id is written as webhooks do; `None` if it is no event.
    fn read(raw: Box<RawValue>, form: IdForm) -> Option<Self> {
        let raw = match form.apply(raw.get()) {
            Cow::Owned(rewritten) => RawValue::from_string(rewritten).ok()?,
            Cow::Borrowed(_) => raw,
        };
        let facts = decode_polled(["[", raw.get(), "]"].concat().as_bytes()).ok()?.pop()?;
        let RowTime { created_at } = serde_json::from_str(raw.get()).ok()?;
        let created_at = created_at.as_str().and_then(time);
        let event_type = facts.event_type.map(|name| name.to_ascii_lowercase());
        Some(Self { raw, id: facts.id, event_type, created_at })
    }

    /// Its size, in bytes.
    pub(super) fn size(&self) -> usize {
        self.raw.get().len()
    }
}

/// A time with an offset; one without is taken for UTC.
fn time(text: &str) -> Option<Timestamp> {
    let civil = || text.parse::<DateTime>().ok()?.to_zoned(TimeZone::UTC).ok().map(|time| time.timestamp());
    text.parse().ok().or_else(civil)
}

/// The rows of a page, oldest first, their order on the page, and how many are no events. Their ids are
/// written as webhooks do.
pub(super) fn read_rows(raw: Vec<Box<RawValue>>, form: IdForm) -> (Vec<IssueRow>, Option<RowOrder>, u64) {
    let all = raw.len();
    let mut rows: Vec<IssueRow> = raw.into_iter().filter_map(|raw| IssueRow::read(raw, form)).collect();
    let times = rows.first().zip(rows.last()).and_then(|(first, last)| first.created_at.zip(last.created_at));
    let order = times.and_then(|(first, last)| match first.cmp(&last) {
        std::cmp::Ordering::Less => Some(RowOrder::OldestFirst),
        std::cmp::Ordering::Equal => None,
        std::cmp::Ordering::Greater => Some(RowOrder::NewestFirst),
    });
    let unreadable = (all - rows.len()) as u64;
    if order != Some(RowOrder::OldestFirst) {
        rows.reverse();
    }
    rows.sort_by_key(|row| row.created_at);
    (rows, order, unreadable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read_in_whatever_form() {
        let rows = r#"[{"id":"c","type":1,"created_at":"2026-11-28T10:00:00Z"},{"title":"no id"},
            {"id":7,"type":"Issue","created_at":"2026-11-28T11:00:00.5+02:00"},{"id":"x","created_at":"2026-11-28 08:00:00"},7]"#;
        let (rows, order, unreadable) = read_rows(serde_json::from_str(rows).unwrap(), IdForm::Number);
        let found: Vec<_> = rows.iter().map(|row| (row.id.as_str(), row.event_type.as_deref())).collect();
        assert_eq!(found, [("x", None), ("7", Some("issue")), ("c", Some("crash"))]);
        assert_eq!((order, unreadable), (Some(RowOrder::NewestFirst), 2));
        assert_eq!(rows[1].created_at, "2026-11-28T09:00:00.5Z".parse().ok());
        assert_eq!(rows[1].raw.get(), r#"{"id":7,"type":"Issue","created_at":"2026-11-28T11:00:00.5+02:00"}"#);
    }
}
