//! The kinds of events that can be subscribed to.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// The `event` of a subscription, as named on Bugfender's help page on webhooks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// A crash was seen for the first time.
    NewCrash,
    /// An issue was reported from code.
    NewIssueSeparate,
    /// A user sent feedback.
    NewUserFeedback,
}

impl EventKind {
    /// All kinds, in the order of the help page.
    pub const ALL: [Self; 3] = [Self::NewCrash, Self::NewIssueSeparate, Self::NewUserFeedback];

    /// The name in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NewCrash => "new_crash",
            Self::NewIssueSeparate => "new_issue_separate",
            Self::NewUserFeedback => "new_user_feedback",
        }
    }

    /// The `type` of the events delivered for it. Assumed, as neither the help page nor a published client says so.
    pub const fn delivered_type(self) -> &'static str {
        match self {
            Self::NewCrash => "crash",
            Self::NewIssueSeparate => "issue",
            Self::NewUserFeedback => "feedback",
        }
    }
}

impl EventKind {
    /// The number of its type in requests (seen).
    pub const fn issue_type(self) -> u8 {
        match self {
            Self::NewIssueSeparate => 0,
            Self::NewCrash => 1,
            Self::NewUserFeedback => 2,
        }
    }

    /// The kind whose events have this type.
    pub fn of_type(event_type: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.delivered_type().eq_ignore_ascii_case(event_type))
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for EventKind {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::ALL.into_iter().find(|event| event.as_str() == text).ok_or_else(|| {
            let names = Self::ALL.map(Self::as_str).join(", ");
            Error::usage(format!("unknown event; the events are {names}"))
        })
    }
}
