//! What can be wrong with a store, and what to do about it.

use thiserror::Error;

use crate::domain::HookId;
use crate::error::{Error, ErrorKind};

/// A failure of the registry or the inbox. The file is as it was before.
#[derive(Debug, Error)]
#[error("the {part} {place}: {problem}")]
pub struct StoreError {
    part: &'static str,
    place: String,
    problem: Problem,
    #[source]
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// The kinds of failure.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum Problem {
    #[error("the file is damaged")]
    Damaged,
    #[error("the file is not a registry of bugfender-hooks")]
    Foreign,
    #[error("the file is not an inbox of bugfender-hooks")]
    NoInbox,
    #[error("another `bugfender-hooks listen` receives into it")]
    Receiving,
    #[error("the file was moved or removed while it was in use")]
    Moved,
    #[error("it was written by a newer bugfender-hooks (schema {found}, this version knows {known})")]
    Newer { found: i64, known: i64 },
    #[error("the disk is full")]
    Full,
    #[error("it cannot be written: {0}")]
    ReadOnly(String),
    #[error("another process kept it locked for too long")]
    Busy,
    #[error("it cannot be opened: {0}")]
    Unopenable(String),
    #[error("{0}")]
    Failed(String),
    #[error("the system fails: {0}")]
    System(String),
    #[error("row {0} is not there any more")]
    Lost(i64),
    #[error("a process is at work on that row")]
    InUse,
    #[error("hook {hook} is recorded already, as {recorded}")]
    Conflict { hook: HookId, recorded: String },
    #[error("several records fit, with different passwords in their target URLs")]
    Ambiguous,
    #[error("no record fits, and the password in the target URL is hidden (****)")]
    HiddenPassword,
}

impl StoreError {
    /// A failure of the registry at `place`, which is what people know it by.
    pub(super) fn new(place: impl Into<String>, problem: Problem) -> Self {
        Self { part: "registry", place: place.into(), problem, source: None }
    }

    /// The same, with its cause.
    pub(super) fn source(self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { source: Some(source.into()), ..self }
    }

    /// Whether another process is in the way, which may pass.
    pub fn is_busy(&self) -> bool {
        self.problem == Problem::Busy
    }

    /// Whether what was to be stored may be to blame: others may then be stored without it.
    pub fn may_be_of_one(&self) -> bool {
        matches!(self.problem, Problem::Failed(_))
    }

    /// The same of the inbox.
    pub(super) fn of_inbox(mut self) -> Self {
        self.part = "inbox";
        if self.problem == Problem::Foreign {
            self.problem = Problem::NoInbox;
        }
        self
    }

    fn advice(&self) -> &'static str {
        match self.problem {
            Problem::Damaged if self.part == "inbox" => "move the file away: `listen` makes a new one",
            Problem::Damaged => "restore a copy, or move the file away and `import` the hooks whose ids you know",
            Problem::Receiving => "give this one an inbox of its own, with --store sqlite:PATH",
            Problem::Moved => "start `listen` again: it makes a new inbox, or finds one put in its place",
            Problem::Foreign | Problem::NoInbox => "name another file with --store sqlite:PATH",
            Problem::Newer { .. } => "update bugfender-hooks, or name another file with --store sqlite:PATH",
            Problem::Full => "free some space and run the same command again",
            Problem::ReadOnly(_) | Problem::Unopenable(_) => {
                "make the file and its directory writable for this user, or name another with --store sqlite:PATH"
            }
            Problem::Busy | Problem::InUse => "wait for the other bugfender-hooks to end, then try again",
            Problem::System(_) => "see to the disk and the memory of this machine, then run the same command again",
            Problem::Failed(_) | Problem::Lost(_) => "`bugfender-hooks doctor` checks the registry",
            Problem::Ambiguous | Problem::HiddenPassword => "give the whole URL, by --target-url - or @FILE",
            Problem::Conflict { .. } => "`bugfender-hooks forget HOOK_ID` drops a record that is wrong",
        }
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        let kind = match error.problem {
            // Nothing is wrong with the registry here.
            Problem::InUse | Problem::Conflict { .. } => ErrorKind::Other,
            Problem::Ambiguous | Problem::HiddenPassword => ErrorKind::Usage,
            _ => ErrorKind::Store,
        };
        Self::new(kind, error.to_string()).hint(error.advice()).source(error)
    }
}
