//! Subscriptions and their records in the registry.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;

use super::{ApiOrigin, AppId, EventKind, HookId, Label, ManifestName, TargetUrl};
use crate::error::Error;

/// A subscription, identified by installation, app, event and endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Subscription {
    /// The installation.
    pub origin: ApiOrigin,
    /// The app.
    pub app_id: AppId,
    /// The kind of event.
    pub event: EventKind,
    /// The endpoint.
    pub target_url: TargetUrl,
}

impl Subscription {
    /// Whether it is a subscription to the same events at the same endpoint.
    pub fn is_same_as(&self, other: &Self) -> bool {
        (&self.origin, self.app_id, self.event) == (&other.origin, other.app_id, other.event)
            && self.target_url.is_same_endpoint(&other.target_url)
    }
}

impl fmt::Display for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of app {} to {}", self.event, self.app_id, self.target_url)
    }
}

/// The status of a hook in the registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HookStatus {
    /// A running process is subscribing: the intent is recorded and the request may be in flight.
    Pending,
    /// The hook exists and its id is known.
    Active,
    /// The request may have created a hook whose id is unknown.
    Unknown,
    /// A removal has started and its outcome is not recorded.
    Removing,
    /// This tool removed the hook.
    Removed,
    /// The server reported that the hook does not exist.
    Gone,
}

impl HookStatus {
    /// All statuses, in the order of the life cycle.
    pub const ALL: [Self; 6] = [Self::Pending, Self::Active, Self::Unknown, Self::Removing, Self::Removed, Self::Gone];

    /// The name in the registry, in output and for `--status`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Active => "active",
            Self::Unknown => "unknown",
            Self::Removing => "removing",
            Self::Removed => "removed",
            Self::Gone => "gone",
        }
    }

    /// Whether the hook certainly no longer exists.
    pub const fn is_ended(self) -> bool {
        matches!(self, Self::Removed | Self::Gone)
    }
}

impl fmt::Display for HookStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for HookStatus {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::ALL.into_iter().find(|status| status.as_str() == text).ok_or_else(|| {
            let names = Self::ALL.map(Self::as_str).join(", ");
            Error::usage(format!("unknown status; the statuses are {names}"))
        })
    }
}

/// The id of a row in the registry. Rows without a hook id have only this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowId(pub i64);

/// A row of the registry.
#[derive(Debug, Clone, PartialEq)]
pub struct HookRecord {
    /// The id of the row.
    pub row: RowId,
    /// The id of the hook, once known.
    pub hook_id: Option<HookId>,
    /// The subscription.
    pub subscription: Subscription,
    /// The status when the record was read.
    pub status: HookStatus,
    /// The label.
    pub label: Option<Label>,
    /// The manifest that owns it, if one does.
    pub managed_by: Option<ManifestName>,
    /// The hook that this one takes the place of, which is to be removed once this one exists.
    pub replaces: Option<HookId>,
    /// Why the status is `unknown` or `removing`.
    pub reason: Option<String>,
    /// When the row was created.
    pub created_at: Timestamp,
    /// When the row last changed.
    pub updated_at: Timestamp,
}

impl HookRecord {
    /// The name of the hook in messages.
    pub fn name(&self) -> String {
        match self.hook_id {
            Some(id) => format!("hook {id}"),
            None => format!("the subscription for {}", self.subscription),
        }
    }

    /// The hook and what it is, on one line.
    pub fn description(&self) -> String {
        let label = self.label.as_ref().map(|label| format!(" ({label})")).unwrap_or_default();
        match self.hook_id {
            Some(id) => format!("hook {id}: {}{label}", self.subscription),
            None => format!("{}: {}{label}", self.status, self.subscription),
        }
    }
}
