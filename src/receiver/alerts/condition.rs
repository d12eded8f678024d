//! What alerts are about.

use std::fmt;

use crate::domain::{AppId, EventKind};

/// Something that is good or not. Alerts tell of its changes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum AlertCondition {
    /// This target, by its name for people, keeps failing.
    TargetFailing(String),
    /// Forwards to this target are dead-lettered.
    DeadLetters(String),
    /// Deliveries cannot be stored.
    Storage,
    /// This receiver is not reached by its public URL.
    SelfCheck,
    /// A hook has brought nothing for long.
    SilentHook {
        /// Its app.
        app_id: AppId,
        /// Its event.
        event: EventKind,
    },
    /// Catching up found events of this app that no webhook brought.
    CaughtUp {
        /// The app.
        app_id: AppId,
    },
}

impl AlertCondition {
    /// What kind of condition this is, for programs.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::TargetFailing(_) => "target_failing",
            Self::DeadLetters(_) => "dead_letters",
            Self::Storage => "storage",
            Self::SelfCheck => "self_check",
            Self::SilentHook { .. } => "silent_hook",
            Self::CaughtUp { .. } => "caught_up",
        }
    }

    /// What it is about.
    pub(super) fn subject(&self) -> String {
        match self {
            Self::TargetFailing(target) | Self::DeadLetters(target) => target.clone(),
            Self::Storage => "inbox".to_owned(),
            Self::SelfCheck => "public URL".to_owned(),
            Self::SilentHook { app_id, event } => format!("app {app_id}, {event}"),
            Self::CaughtUp { app_id } => format!("app {app_id}"),
        }
    }

    pub(super) fn app_id(&self) -> Option<AppId> {
        match self {
            Self::SilentHook { app_id, .. } | Self::CaughtUp { app_id } => Some(*app_id),
            _ => None,
        }
    }

    pub(super) fn event(&self) -> Option<EventKind> {
        match self {
            Self::SilentHook { event, .. } => Some(*event),
            _ => None,
        }
    }

    /// Whether all receivers of a store see the same, so that one of them tells it.
    pub(super) fn is_of_store(&self) -> bool {
        matches!(self, Self::DeadLetters(_) | Self::SilentHook { .. } | Self::CaughtUp { .. })
    }

    /// A headline.
    pub(super) fn title(&self, state: AlertState) -> String {
        let words = match (self, state) {
            (Self::TargetFailing(_), AlertState::Firing) => "Target failing",
            (Self::TargetFailing(_), AlertState::Resolved) => "Target recovered",
            (Self::DeadLetters(_), AlertState::Firing) => "Dead letters",
            (Self::DeadLetters(_), AlertState::Resolved) => "No dead letters left",
            (Self::Storage, AlertState::Firing) => "Deliveries cannot be stored",
            (Self::Storage, AlertState::Resolved) => "Deliveries are stored again",
            (Self::SelfCheck, AlertState::Firing) => "Receiver not reachable",
            (Self::SelfCheck, AlertState::Resolved) => "Receiver reachable again",
            (Self::SilentHook { .. }, AlertState::Firing) => "Hook silent",
            (Self::SilentHook { .. }, AlertState::Resolved) => "Hook heard again",
            (Self::CaughtUp { .. }, AlertState::Firing) => "Events that no webhook brought",
            (Self::CaughtUp { .. }, AlertState::Resolved) => "Webhooks bring all events again",
        };
        match self {
            Self::Storage | Self::SelfCheck => words.to_owned(),
            _ => format!("{words}: {}", self.subject()),
        }
    }

    /// What is to be said when it is good again.
    pub(super) fn all_clear(&self) -> String {
        match self {
            Self::TargetFailing(target) => format!("{target} has recovered"),
            Self::DeadLetters(target) => format!("no dead letters of {target} are left"),
            Self::Storage => "deliveries can be stored again".to_owned(),
            Self::SelfCheck => "the receiver is reached by its public URL again".to_owned(),
            Self::SilentHook { app_id, event } => format!("{event} of app {app_id} arrives again"),
            Self::CaughtUp { app_id } => {
                format!("catching up finds no more events of app {app_id} that no webhook brought")
            }
        }
    }
}

/// What an alert says of its condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AlertState {
    /// It is not good.
    Firing,
    /// It is good again.
    Resolved,
}

impl fmt::Display for AlertState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Firing => "firing",
            Self::Resolved => "resolved",
        })
    }
}
