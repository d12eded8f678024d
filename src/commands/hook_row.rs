//! How a hook is shown: the record of the JSON schema, and the line of the table.

use jiff::Timestamp;
use serde::Serialize;

use crate::domain::{ApiOrigin, AppId, EventKind, HookId, HookRecord, HookStatus, Label};
use crate::render::{Cell, Row, Tone};

/// A hook, in the fields of the documented schema. Every key is always present.
#[derive(Serialize)]
pub struct HookRow {
    pub hook_id: Option<HookId>,
    pub app_id: Option<AppId>,
    pub event: Option<EventKind>,
    pub target_url: Option<String>,
    #[serde(serialize_with = "status_name")]
    pub status: HookStatus,
    pub label: Option<Label>,
    #[serde(rename = "api_url")]
    pub origin: ApiOrigin,
    #[serde(serialize_with = "seconds")]
    pub created_at: Option<Timestamp>,
    #[serde(serialize_with = "seconds")]
    pub updated_at: Option<Timestamp>,
}

/// The fields of [`HookRow`] with further ones behind them.
macro_rules! fields {
    ($($further:literal)?) => {
        &["hook_id", "app_id", "event", "target_url", "status", "label", "api_url", "created_at", "updated_at" $(, $further)?]
    };
}
pub(super) use fields;

impl HookRow {
    /// A row of the registry.
    pub fn of(record: HookRecord, show_secrets: bool) -> Self {
        let subscription = record.subscription;
        Self {
            hook_id: record.hook_id,
            app_id: Some(subscription.app_id),
            event: Some(subscription.event),
            target_url: Some(subscription.target_url.into_shown(show_secrets)),
            status: record.status,
            label: record.label,
            origin: subscription.origin,
            created_at: Some(record.created_at),
            updated_at: Some(record.updated_at),
        }
    }

    /// A hook that the registry does not hold.
    pub fn elsewhere(hook: HookId, origin: &ApiOrigin, status: HookStatus) -> Self {
        Self {
            hook_id: Some(hook),
            app_id: None,
            event: None,
            target_url: None,
            status,
            label: None,
            origin: origin.clone(),
            created_at: None,
            updated_at: None,
        }
    }
}

impl Row for HookRow {
    const FIELDS: &'static [&'static str] = fields!();
    const HEADERS: &'static [&'static str] = &["HOOK", "APP", "EVENT", "STATUS", "LABEL", "CREATED", "TARGET URL"];

    fn cells(&self) -> Vec<Cell> {
        let tone = match self.status {
            HookStatus::Active => Tone::Good,
            HookStatus::Pending | HookStatus::Unknown | HookStatus::Removing => Tone::Caution,
            HookStatus::Removed | HookStatus::Gone => Tone::Faint,
        };
        vec![
            Cell::maybe(self.hook_id),
            Cell::maybe(self.app_id),
            Cell::maybe(self.event),
            Cell::toned(self.status.as_str(), tone),
            Cell::maybe(self.label.as_ref()),
            Cell::maybe(self.created_at),
            Cell::maybe(self.target_url.as_ref()),
        ]
    }

    fn id(&self) -> Option<String> {
        self.hook_id.map(|id| id.to_string())
    }
}

/// A time in whole seconds. Done by hand: a long list is mostly times, and the general way takes eight times as long.
// serde passes fields by reference.
#[allow(clippy::trivially_copy_pass_by_ref, clippy::ref_option)]
pub(super) fn seconds<S: serde::Serializer>(time: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    let Some(time) = time else { return serializer.serialize_none() };
    let civil = jiff::tz::Offset::UTC.to_datetime(*time);
    let mut text = *b"0000-00-00T00:00:00Z";
    let mut put = |at: usize, digits: usize, number: i16| {
        let mut rest = number.unsigned_abs();
        for place in text[at..at + digits].iter_mut().rev() {
            // A digit is less than ten.
            *place = b'0' + u8::try_from(rest % 10).unwrap_or_default();
            rest /= 10;
        }
    };
    put(0, 4, civil.year());
    for (at, number) in
        [(5, civil.month()), (8, civil.day()), (11, civil.hour()), (14, civil.minute()), (17, civil.second())]
    {
        put(at, 2, number.into());
    }
    serializer.serialize_str(str::from_utf8(&text).unwrap_or_default())
}

// serde passes fields by reference.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn status_name<S: serde::Serializer>(status: &HookStatus, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(status.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Serialize)]
    struct Times(#[serde(serialize_with = "seconds")] Option<Timestamp>);

    proptest! {
        #[test]
        fn times_are_written_as_the_library_would(second in 0_i64..253_402_300_799) {
            let time = Timestamp::from_second(second).unwrap();
            prop_assert_eq!(serde_json::to_value(Times(Some(time))).unwrap(), time.to_string());
        }
    }
}
