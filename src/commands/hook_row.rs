//! How a hook is shown: the record of the JSON schema, and the line of the table.

use serde::Serialize;

use crate::domain::{ApiOrigin, AppId, EventKind, HookId, HookRecord, HookStatus, Label, ManifestName, ShownTime};
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
    pub managed_by: Option<ManifestName>,
    #[serde(rename = "api_url")]
    pub origin: ApiOrigin,
    pub created_at: Option<ShownTime>,
    pub updated_at: Option<ShownTime>,
}

/// The fields of [`HookRow`] with further ones behind them.
macro_rules! fields {
    ($($further:literal),*) => {
        &["hook_id", "app_id", "event", "target_url", "status", "label", "managed_by", "api_url", "created_at", "updated_at" $(, $further)*]
    };
}
pub(super) use fields;

impl HookRow {
    /// A row of the registry.
    pub fn of(record: HookRecord, show_secrets: bool) -> Self {
        let subscription = record.subscription;
        let created_at = ShownTime::from(record.created_at);
        // Most hooks never change: the time is then converted once.
        let unchanged = record.updated_at == record.created_at;
        let updated_at = if unchanged { created_at } else { ShownTime::from(record.updated_at) };
        Self {
            hook_id: record.hook_id,
            app_id: Some(subscription.app_id),
            event: Some(subscription.event),
            target_url: Some(subscription.target_url.into_shown(show_secrets)),
            status: record.status,
            label: record.label,
            managed_by: record.managed_by,
            origin: subscription.origin,
            created_at: Some(created_at),
            updated_at: Some(updated_at),
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
            managed_by: None,
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

// serde passes fields by reference.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn status_name<S: serde::Serializer>(status: &HookStatus, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(status.as_str())
}
