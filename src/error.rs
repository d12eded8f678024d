//! What can go wrong: a kind, a message, hints, and the one table from kind to exit code.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::error::Error as StdError;
use std::fmt;
use std::io;

/// What a failed command means to the script that ran it. Each kind has one exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// None of the others: a bug, an unexpected answer, a failed write of the output.
    Other,
    /// The command line, an environment variable or an input file is wrong.
    Usage,
    /// The server did not understand the request (HTTP 400, 422).
    NotUnderstood,
    /// There is no token, or the server does not take it (HTTP 401).
    NotSignedIn,
    /// The server refuses: wrong credentials or no permission (HTTP 403).
    Refused,
    /// The hook, event or path is not there (HTTP 404, or not in the registry or the inbox).
    NotFound,
    /// The network failed, or the server was overloaded after every retry.
    Unavailable,
    /// The request may or may not have been carried out.
    OutcomeUnknown,
    /// The local registry, inbox, key or credential file cannot be used.
    Store,
    /// Stopped by Ctrl-C or SIGTERM.
    Interrupted,
}

impl ErrorKind {
    /// What it means that an address cannot be listened on. In use, or not there yet when a machine starts: that may pass,
    /// and who starts this again is right to.
    pub fn of_bind(error: &std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::AddrInUse | std::io::ErrorKind::AddrNotAvailable => Self::Unavailable,
            _ => Self::Usage,
        }
    }
}

/// A row of the exit-code table.
#[derive(Debug, Clone, Copy)]
pub struct ExitCode {
    /// The process's exit status.
    pub code: u8,
    /// The stable name that scripts can match in `error.category`.
    pub category: &'static str,
    /// What it means, for people.
    pub meaning: &'static str,
    /// The kind of error that ends so; success has none.
    pub kind: Option<ErrorKind>,
}

const fn row(code: u8, kind: ErrorKind, category: &'static str, meaning: &'static str) -> ExitCode {
    ExitCode { code, category, meaning, kind: Some(kind) }
}

/// Every exit code of the tool. `help exit-codes`, the README and the JSON errors all come from here.
pub const EXIT_CODES: &[ExitCode] = &[
    ExitCode { code: 0, category: "done", meaning: "Done", kind: None },
    row(1, ErrorKind::Other, "other", "Another error"),
    row(2, ErrorKind::Usage, "usage", "Wrong usage: a flag, variable or input file"),
    row(3, ErrorKind::NotUnderstood, "not_understood", "The server did not understand the request (HTTP 400, 422)"),
    row(4, ErrorKind::NotSignedIn, "not_signed_in", "Not signed in: no token, or it is not accepted (HTTP 401)"),
    row(5, ErrorKind::Refused, "refused", "Refused: wrong credentials or no permission (HTTP 403)"),
    row(6, ErrorKind::NotFound, "not_found", "Not there (HTTP 404, or not in the registry or the inbox)"),
    row(7, ErrorKind::Unavailable, "unavailable", "Network failure, or HTTP 429/5xx after all retries"),
    row(8, ErrorKind::OutcomeUnknown, "outcome_unknown", "Outcome unknown: the request may have been carried out"),
    row(9, ErrorKind::Store, "store", "The local registry, inbox, key or credential file cannot be used"),
    row(130, ErrorKind::Interrupted, "interrupted", "Interrupted"),
];

impl ErrorKind {
    /// This kind's row of [`EXIT_CODES`].
    pub fn exit_code(self) -> &'static ExitCode {
        EXIT_CODES.iter().find(|row| row.kind == Some(self)).unwrap_or(&EXIT_CODES[1])
    }

    /// Whether the same command may succeed later with nothing changed.
    pub fn retryable(self) -> bool {
        matches!(self, Self::Unavailable | Self::Interrupted)
    }
}

/// A failure: what happened, what to do about it, and how it ends the process.
///
/// Messages, hints and causes never hold a secret; text from a server in them is already shortened.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    hints: Vec<String>,
    http_status: Option<u16>,
    source: Option<anyhow::Error>,
    closed_pipe: bool,
    in_doubt: bool,
}

/// The result of everything in this crate that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of this kind; the message says what happened, to what.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            hints: Vec::new(),
            http_status: None,
            source: None,
            closed_pipe: false,
            in_doubt: false,
        }
    }

    /// A mistake in a flag, variable or input.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Usage, message)
    }

    /// What Ctrl-C or SIGTERM stopped, such as "while renewing the token".
    pub fn interrupted(what: impl fmt::Display) -> Self {
        Self::new(ErrorKind::Interrupted, format!("interrupted {what}"))
    }

    /// Adds a line that says what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// The same error for somebody else, without its cause.
    #[must_use]
    pub fn again(&self) -> Self {
        let Self { kind, http_status, closed_pipe, in_doubt, .. } = *self;
        let (message, hints) = (self.message.clone(), self.hints.clone());
        Self { kind, message, hints, http_status, source: None, closed_pipe, in_doubt }
    }

    /// The same error without `secret` in its words, and without its cause.
    #[must_use]
    pub fn hiding(&self, secret: &str) -> Self {
        let hide = |text: &String| text.replace(secret, "****");
        let hints = self.hints.iter().map(hide).collect();
        Self { message: hide(&self.message), hints, ..self.again() }
    }

    /// Says before the message what was being done, or what it is about.
    #[must_use]
    pub fn about(self, what: impl fmt::Display) -> Self {
        Self { message: format!("{what}: {}", self.message), ..self }
    }

    /// Notes the HTTP status that the server answered with.
    #[must_use]
    pub fn status(mut self, status: u16) -> Self {
        self.http_status = Some(status);
        self
    }

    /// Notes that what failed may have been done: somebody has to look first.
    #[must_use]
    pub fn in_doubt(self) -> Self {
        Self { in_doubt: true, ..self }
    }

    /// Whether the same command may succeed later with nothing changed.
    pub fn retryable(&self) -> bool {
        self.kind.retryable() && !self.in_doubt
    }

    /// Keeps the cause, and with it the place where that was done if `RUST_BACKTRACE` or `RUST_LIB_BACKTRACE` asks for it.
    #[must_use]
    pub fn source(mut self, source: impl Into<anyhow::Error>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The kind, which decides the exit code.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The hints, in the order to show them.
    pub fn hints(&self) -> &[String] {
        &self.hints
    }

    /// The HTTP status behind this error, if a server answered.
    pub fn http_status(&self) -> Option<u16> {
        self.http_status
    }

    /// The causes, each of them that of the one before it.
    pub fn causes(&self) -> impl Iterator<Item = &(dyn StdError + 'static)> {
        self.source.iter().flat_map(anyhow::Error::chain)
    }

    /// Where the cause was kept, if that was asked for.
    pub fn backtrace(&self) -> Option<&Backtrace> {
        let backtrace = self.source.as_ref().map(anyhow::Error::backtrace);
        backtrace.filter(|backtrace| backtrace.status() == BacktraceStatus::Captured)
    }

    /// Whether somebody closed the pipe that the output went to (`… | head`), which is no failure.
    pub fn is_closed_pipe(&self) -> bool {
        self.closed_pipe
    }

    /// The same error, told as one of writing the output if it is one of I/O.
    #[must_use]
    pub fn of_output(self) -> Self {
        let Some(error) = self.source.as_ref().and_then(|source| source.downcast_ref::<io::Error>()) else {
            return self;
        };
        let closed_pipe = error.kind() == io::ErrorKind::BrokenPipe;
        Self { message: format!("could not write the output: {error}"), closed_pipe, ..self }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

/// A failed operation of the system that needs no further words.
impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::new(ErrorKind::Other, error.to_string()).source(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_own_row() {
        let mut codes: Vec<u8> = EXIT_CODES.iter().map(|row| row.code).collect();
        codes.dedup();
        assert_eq!(codes.len(), EXIT_CODES.len());
        assert_eq!(ErrorKind::Interrupted.exit_code().code, 130);
        assert_eq!(ErrorKind::NotSignedIn.exit_code().category, "not_signed_in");
    }

    #[test]
    fn a_broken_pipe_is_told_from_other_write_errors() {
        let error = |kind: io::ErrorKind| Error::from(io::Error::from(kind));
        assert!(error(io::ErrorKind::BrokenPipe).of_output().is_closed_pipe());
        assert!(!error(io::ErrorKind::StorageFull).of_output().is_closed_pipe());
        assert!(!error(io::ErrorKind::BrokenPipe).is_closed_pipe());
    }
}
