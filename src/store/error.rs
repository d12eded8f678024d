//! What can be wrong with a store, and what to do about it.

use std::borrow::Cow;
use std::fmt;

use thiserror::Error;

use crate::domain::{DocTopic, HookId};
use crate::error::{Error, ErrorKind};

/// A failure of the registry or the inbox. What is stored is as it was before.
#[derive(Debug, Error)]
#[error("the {part} {place}: {message}")]
pub struct StoreError {
    kind: StoreErrorKind,
    part: Part,
    place: String,
    message: String,
    advice: Cow<'static, str>,
    may_pass: bool,
    #[source]
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// What kind of failure it is, whatever the backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreErrorKind {
    /// Another process is in the way, which may pass.
    Busy,
    /// The store cannot be reached or opened.
    Unavailable,
    /// What is stored is damaged.
    Damaged,
    /// It is not a store of this tool, or not the part that was asked for.
    Foreign,
    /// It was written by a newer version of this tool.
    NewerSchema,
    /// There is no space left.
    Full,
    /// It cannot be written.
    ReadOnly,
    /// The system that it runs on fails.
    System,
    /// A row that was there is gone.
    Lost,
    /// A living process is at work on the row, or receives into the inbox.
    InUse,
    /// The hook is on record as something else.
    Conflict,
    /// What was asked for names no record, or more than one.
    Ambiguous,
    /// A statement failed: what was to be stored may be to blame.
    Failed,
}

/// What to do about a store that cannot be copied into.
pub(super) const NAME_AN_EMPTY_STORE: &str = "name a store with --to that does not exist, or that is empty";

/// What to do about a store that is received into, and therefore cannot be copied.
pub(super) const STOP_RECEIVERS: &str = "stop all receivers of both stores, then try again";

/// The two parts of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Registry,
    Inbox,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Registry => "registry",
            Self::Inbox => "inbox",
        })
    }
}

/// A rule of the registry that a call would break. The same for every backend.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum Rule {
    #[error("row {0} is not there anymore")]
    Lost(i64),
    #[error("another process is working on that row")]
    InUse,
    #[error("hook {hook} is recorded already, as {recorded}")]
    Conflict { hook: HookId, recorded: String },
    #[error("several records match, with different passwords in their target URLs")]
    Ambiguous,
    #[error("no record matches, and the password in the target URL is hidden (****)")]
    HiddenPassword,
}

impl Rule {
    fn kind(&self) -> StoreErrorKind {
        match self {
            Self::Lost(_) => StoreErrorKind::Lost,
            Self::InUse => StoreErrorKind::InUse,
            Self::Conflict { .. } => StoreErrorKind::Conflict,
            Self::Ambiguous | Self::HiddenPassword => StoreErrorKind::Ambiguous,
        }
    }

    fn advice(&self) -> &'static str {
        match self {
            Self::Lost(_) => "`bugfender-hooks doctor` checks the registry",
            Self::InUse => "wait for the other bugfender-hooks to end, then try again",
            Self::Conflict { .. } => "`bugfender-hooks forget HOOK_ID` drops a record that is wrong",
            Self::Ambiguous | Self::HiddenPassword => "give the whole URL, by --target-url - or @FILE",
        }
    }
}

impl StoreError {
    /// A failure of the part at `place`, which is what people know it by. The advice is the backend's.
    pub(super) fn new(
        part: Part,
        place: impl Into<String>,
        kind: StoreErrorKind,
        message: impl Into<String>,
        advice: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            kind,
            part,
            place: place.into(),
            message: message.into(),
            advice: advice.into(),
            may_pass: false,
            source: None,
        }
    }

    /// A call that would break a rule.
    pub(super) fn of_rule(part: Part, place: impl Into<String>, rule: &Rule) -> Self {
        Self::new(part, place, rule.kind(), rule.to_string(), rule.advice())
    }

    /// The same, with its cause.
    pub(super) fn source(self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { source: Some(source.into()), ..self }
    }

    /// The same, with whether its reason may pass by itself.
    #[cfg(feature = "postgres")]
    pub(super) fn passing(self, may_pass: bool) -> Self {
        Self { may_pass, ..self }
    }

    /// Whether the same may succeed later without any change.
    pub fn retryable(&self) -> bool {
        self.may_pass
    }

    /// What kind of failure it is.
    pub fn kind(&self) -> StoreErrorKind {
        self.kind
    }

    /// Whether another process is in the way, which may pass.
    pub fn is_busy(&self) -> bool {
        self.kind == StoreErrorKind::Busy
    }

    /// Whether one of several things that were to be stored may be to blame: the others may then be stored without it.
    pub fn may_be_of_one(&self) -> bool {
        self.kind == StoreErrorKind::Failed
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        let kind = match (error.kind, error.part) {
            // Nothing is wrong with the registry here.
            (StoreErrorKind::InUse, Part::Registry) | (StoreErrorKind::Conflict, _) => ErrorKind::Other,
            (StoreErrorKind::Ambiguous, _) => ErrorKind::Usage,
            _ => ErrorKind::Store,
        };
        let advice = error.advice.clone().into_owned();
        let retryable = error.retryable();
        let full = error.kind == StoreErrorKind::Full;
        let shown = Self::new(kind, error.to_string()).hint(advice).source(error);
        let shown = if full { shown.hint(DocTopic::FullDisk.hint()) } else { shown };
        if retryable { shown.may_pass() } else { shown }
    }
}
