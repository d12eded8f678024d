//! The history of the registry: who changed which row, how and when.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;

use crate::domain::{HookId, RowId, Subscription, is_unsafe_char};
use crate::error::Error;

/// How many changes a registry keeps, the newest.
pub const KEPT_CHANGES: i64 = 100_000;

/// Who changes the registry: `user@host`, or the address of a CI job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor(String);

impl Actor {
    /// The maximum length, in characters; the rest is cut.
    pub const MAX_CHARS: usize = 200;

    /// The actor of this name, without control characters and others that disguise text. One without a name is unknown.
    pub fn new(name: impl Into<String>) -> Self {
        let name: String = name.into().chars().filter(|c| !is_unsafe_char(*c)).take(Self::MAX_CHARS).collect();
        if name.trim().is_empty() { Self::default() } else { Self(name) }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Nobody that is known.
impl Default for Actor {
    fn default() -> Self {
        Self("unknown".to_owned())
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What was done to a row of the registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// The intent to subscribe was recorded.
    BeganSubscribe,
    /// The request made the hook.
    Subscribed,
    /// The request may have made a hook.
    LeftInDoubt,
    /// The request surely made no hook; the row went.
    Abandoned,
    /// The request made a hook that another row of the same subscription holds; this row went.
    Merged,
    /// The server gave the number of the row's hook anew, to another subscription: the hook is gone.
    Displaced,
    /// The intent to remove was recorded.
    BeganRemoval,
    /// The server removed the hook.
    Removed,
    /// The server said that the hook is not there.
    Gone,
    /// The removal surely was not carried out: the hook is active as before.
    RemovalRefused,
    /// The removal may have been carried out.
    RemovalInDoubt,
    /// A hook made elsewhere was recorded.
    Imported,
    /// The hook got another label.
    Relabeled,
    /// A manifest owns the hook from now on.
    Adopted,
    /// The row was deleted, whatever became of the hook.
    Forgotten,
}

impl Action {
    /// All of them, in the order of a row's life.
    pub const ALL: [Self; 15] = [
        Self::BeganSubscribe,
        Self::Subscribed,
        Self::LeftInDoubt,
        Self::Abandoned,
        Self::Merged,
        Self::Displaced,
        Self::BeganRemoval,
        Self::Removed,
        Self::Gone,
        Self::RemovalRefused,
        Self::RemovalInDoubt,
        Self::Imported,
        Self::Relabeled,
        Self::Adopted,
        Self::Forgotten,
    ];

    /// The name in the registry and in output.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BeganSubscribe => "began_subscribe",
            Self::Subscribed => "subscribed",
            Self::LeftInDoubt => "left_in_doubt",
            Self::Abandoned => "abandoned",
            Self::Merged => "merged",
            Self::Displaced => "displaced",
            Self::BeganRemoval => "began_removal",
            Self::Removed => "removed",
            Self::Gone => "gone",
            Self::RemovalRefused => "removal_refused",
            Self::RemovalInDoubt => "removal_in_doubt",
            Self::Imported => "imported",
            Self::Relabeled => "relabeled",
            Self::Adopted => "adopted",
            Self::Forgotten => "forgotten",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Action {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let named = Self::ALL.into_iter().find(|action| action.as_str() == text);
        named.ok_or_else(|| Error::usage("unknown action"))
    }
}

/// A change of a row of the registry. It outlives the row.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// Its number: a later change has a higher one.
    pub number: i64,
    /// When it was made.
    pub at: Timestamp,
    /// Who made it.
    pub actor: Actor,
    /// What was done.
    pub action: Action,
    /// The row.
    pub row: RowId,
    /// The hook that the row held then.
    pub hook_id: Option<HookId>,
    /// The subscription.
    pub subscription: Subscription,
    /// Why it is not known how a request ended.
    pub reason: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actors_are_one_short_line() {
        let name = |text: &str| Actor::new(text).as_str().to_owned();
        assert_eq!(name("ada@\u{1b}[31mbuild\r\n\u{202e}"), "ada@[31mbuild");
        assert_eq!(name(&"é".repeat(300)), "é".repeat(200));
        assert_eq!(
            (name("\n"), name(""), Actor::default().to_string()),
            ("unknown".into(), "unknown".into(), "unknown".into())
        );
    }

    #[test]
    fn actions_are_read_as_they_are_written() {
        for action in Action::ALL {
            assert_eq!(action.as_str().parse::<Action>().unwrap(), action);
        }
        assert!("subscribe".parse::<Action>().is_err());
    }
}
