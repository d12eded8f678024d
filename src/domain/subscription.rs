//! A subscription and what the registry knows of it.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;

use super::{ApiOrigin, AppId, EventKind, HookId, Label, TargetUrl};
use crate::error::Error;

/// What makes two subscriptions the same: installation, app, event and endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Subscription {
    /// The installation that delivers.
    pub origin: ApiOrigin,
    /// The app whose events are delivered.
    pub app_id: AppId,
    /// The kind of event.
    pub event: EventKind,
    /// Where to.
    pub target_url: TargetUrl,
}

impl fmt::Display for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of app {} to {}", self.event, self.app_id, self.target_url)
    }
}

/// Where a row of the registry stands in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HookStatus {
    /// A living process is subscribing: the intent is recorded, the request under way.
    Pending,
    /// The hook exists; its id is known.
    Active,
    /// The request may have been carried out; if it was, its id is not known.
    Unknown,
    /// A removal has begun and its end is not known.
    Removing,
    /// Removed by this tool.
    Removed,
    /// The server says that it is not there.
    Gone,
}

impl HookStatus {
    /// Every status, in the order of a hook's life.
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

    /// Whether the hook surely is no more.
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
            Error::usage(format!("there is no such status; the statuses are {names}"))
        })
    }
}

/// The registry's own name of a row. Rows without a hook id have only this.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowId(pub i64);

/// A row of the registry.
#[derive(Debug, Clone, PartialEq)]
pub struct HookRecord {
    /// The row.
    pub row: RowId,
    /// The hook at the server, once known.
    pub hook_id: Option<HookId>,
    /// What was subscribed.
    pub subscription: Subscription,
    /// Where it stands, as seen when it was read.
    pub status: HookStatus,
    /// The name given to it.
    pub label: Option<Label>,
    /// Why the status is `unknown` or `removing`.
    pub reason: Option<String>,
    /// When the intent was recorded.
    pub created_at: Timestamp,
    /// When the row last changed.
    pub updated_at: Timestamp,
}

impl HookRecord {
    /// How to name this hook in a message.
    pub fn name(&self) -> String {
        match self.hook_id {
            Some(id) => format!("hook {id}"),
            None => format!("the subscription for {}", self.subscription),
        }
    }
}
