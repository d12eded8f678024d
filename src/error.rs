//! Errors: a kind, a message, hints, and the one table that maps kinds to exit codes.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::error::Error as StdError;
use std::fmt;
use std::io;

/// The kind of a failure, which decides the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// Anything else: a bug, an unexpected response, a failure to write the output.
    Other,
    /// The command line, an environment variable or an input file is invalid.
    Usage,
    /// The server rejected the request as invalid (HTTP 400, 422).
    NotUnderstood,
    /// There is no token, or the server rejected it (HTTP 401).
    NotSignedIn,
    /// The server denied access: invalid credentials or missing permission (HTTP 403).
    Refused,
    /// The hook, event or path does not exist (HTTP 404, or not in the registry or the inbox).
    NotFound,
    /// The network failed, or the server was still unavailable after all retries.
    Unavailable,
    /// The request may or may not have been carried out.
    OutcomeUnknown,
    /// The local registry, inbox, key or credential file cannot be used.
    Store,
    /// Interrupted by Ctrl-C or SIGTERM.
    Interrupted,
}

impl ErrorKind {
    /// The kind for a failure to listen on an address. An address that is in use, or not yet available while a machine
    /// boots, may work later, so a supervisor should restart the process.
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
    /// The stable name in `error.category` of JSON errors.
    pub category: &'static str,
    /// The description in help and README.
    pub meaning: &'static str,
    /// The kind of error with this code; success has none.
    pub kind: Option<ErrorKind>,
}

const fn row(code: u8, kind: ErrorKind, category: &'static str, meaning: &'static str) -> ExitCode {
    ExitCode { code, category, meaning, kind: Some(kind) }
}

/// All exit codes, the source for `help exit-codes`, the README and JSON errors.
pub const EXIT_CODES: &[ExitCode] = &[
    ExitCode { code: 0, category: "done", meaning: "Success", kind: None },
    row(1, ErrorKind::Other, "other", "Any other error"),
    row(2, ErrorKind::Usage, "usage", "Invalid usage: a flag, environment variable or input file"),
    row(3, ErrorKind::NotUnderstood, "not_understood", "The server rejected the request as invalid (HTTP 400, 422)"),
    row(4, ErrorKind::NotSignedIn, "not_signed_in", "Not signed in: no token, or the server rejected it (HTTP 401)"),
    row(5, ErrorKind::Refused, "refused", "Access denied: invalid credentials or missing permission (HTTP 403)"),
    row(6, ErrorKind::NotFound, "not_found", "Not found: HTTP 404, or not in the registry or the inbox"),
    row(7, ErrorKind::Unavailable, "unavailable", "Network failure, or HTTP 429/5xx after all retries"),
    row(8, ErrorKind::OutcomeUnknown, "outcome_unknown", "Outcome unknown: the request may have been carried out"),
    row(9, ErrorKind::Store, "store", "The local registry, inbox, key or credential file cannot be used"),
    row(130, ErrorKind::Interrupted, "interrupted", "Interrupted by Ctrl-C or SIGTERM"),
];

impl ErrorKind {
    /// This kind's row of [`EXIT_CODES`].
    pub fn exit_code(self) -> &'static ExitCode {
        EXIT_CODES.iter().find(|row| row.kind == Some(self)).unwrap_or(&EXIT_CODES[1])
    }

    /// Whether the same command may succeed later without any change.
    pub fn retryable(self) -> bool {
        matches!(self, Self::Unavailable | Self::Interrupted)
    }
}

/// A place in a text file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextPlace {
    /// The file, as it was named.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
}

impl fmt::Display for TextPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, column } = self;
        write!(f, "{file}:{line}:{column}")
    }
}

/// A failure: what happened, what to do about it, and the exit code.
///
/// Messages, hints and causes never contain a secret, and text from a server in them is shortened.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    hints: Vec<String>,
    http_status: Option<u16>,
    source: Option<anyhow::Error>,
    closed_pipe: bool,
    in_doubt: bool,
    may_pass: bool,
    place: Option<TextPlace>,
}

/// The result type of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of this kind; the message says what failed and why.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            hints: Vec::new(),
            http_status: None,
            source: None,
            closed_pipe: false,
            in_doubt: false,
            may_pass: false,
            place: None,
        }
    }

    /// An error in a flag, variable or input.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Usage, message)
    }

    /// The error of a command that Ctrl-C or SIGTERM interrupted, such as "while renewing the token".
    pub fn interrupted(what: impl fmt::Display) -> Self {
        Self::new(ErrorKind::Interrupted, format!("interrupted {what}"))
    }

    /// Adds a hint about what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// A copy of the error without its cause, to report it more than once.
    #[must_use]
    pub fn again(&self) -> Self {
        let Self { kind, http_status, closed_pipe, in_doubt, may_pass, .. } = *self;
        let (message, hints, place) = (self.message.clone(), self.hints.clone(), self.place.clone());
        Self { kind, message, hints, http_status, source: None, closed_pipe, in_doubt, may_pass, place }
    }

    /// A copy with `secret` replaced in message and hints, without its cause.
    #[must_use]
    pub fn hiding(&self, secret: &str) -> Self {
        self.rewritten(|text| text.replace(secret, "****"))
    }

    /// A copy with message and hints rewritten, without its cause.
    #[must_use]
    pub fn rewritten(&self, rewrite: impl Fn(&str) -> String) -> Self {
        let hints = self.hints.iter().map(|hint| rewrite(hint)).collect();
        Self { message: rewrite(&self.message), hints, ..self.again() }
    }

    /// Prefixes the message with its context.
    #[must_use]
    pub fn about(self, what: impl fmt::Display) -> Self {
        Self { message: format!("{what}: {}", self.message), ..self }
    }

    /// Names the place in a file where it was found, which the message begins with.
    #[must_use]
    pub fn at(self, place: TextPlace) -> Self {
        Self { place: Some(place), ..self }
    }

    /// The place in a file where it was found.
    pub fn place(&self) -> Option<&TextPlace> {
        self.place.as_ref()
    }

    /// The message without the place.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Records the HTTP status of the response.
    #[must_use]
    pub fn status(mut self, status: u16) -> Self {
        self.http_status = Some(status);
        self
    }

    /// Marks the operation as possibly carried out, so that it is not retryable.
    #[must_use]
    pub fn in_doubt(self) -> Self {
        Self { in_doubt: true, ..self }
    }

    /// Marks the reason as one that may pass by itself, whatever the kind of error.
    #[must_use]
    pub fn may_pass(self) -> Self {
        Self { may_pass: true, ..self }
    }

    /// Whether the same command may succeed later without any change.
    pub fn retryable(&self) -> bool {
        (self.kind.retryable() || self.may_pass) && !self.in_doubt
    }

    /// Sets the cause, and captures a backtrace if `RUST_BACKTRACE` or `RUST_LIB_BACKTRACE` asks for one.
    #[must_use]
    pub fn source(mut self, source: impl Into<anyhow::Error>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The kind.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The hints, in the order to show them.
    pub fn hints(&self) -> &[String] {
        &self.hints
    }

    /// The HTTP status, if there was a response.
    pub fn http_status(&self) -> Option<u16> {
        self.http_status
    }

    /// The chain of causes, beginning with that of this error.
    pub fn causes(&self) -> impl Iterator<Item = &(dyn StdError + 'static)> {
        self.source.iter().flat_map(anyhow::Error::chain)
    }

    /// Where the cause was set, if a backtrace was asked for.
    pub fn backtrace(&self) -> Option<&Backtrace> {
        let backtrace = self.source.as_ref().map(anyhow::Error::backtrace);
        backtrace.filter(|backtrace| backtrace.status() == BacktraceStatus::Captured)
    }

    /// Whether the reader of the output closed the pipe, as in `… | head`, which is not a failure.
    pub fn is_closed_pipe(&self) -> bool {
        self.closed_pipe
    }

    /// Turns an I/O error into one about writing the output; others stay as they are.
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
        if let Some(place) = &self.place {
            write!(f, "{place}: ")?;
        }
        f.write_str(&self.message)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

/// For I/O errors that need no context.
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
    fn a_reason_that_may_pass_makes_an_error_retryable_unless_the_outcome_is_in_doubt() {
        let error = || Error::new(ErrorKind::Store, "the server is starting up");
        assert!(!error().retryable());
        assert!(error().may_pass().retryable() && error().may_pass().again().retryable());
        assert!(!error().may_pass().in_doubt().retryable());
    }

    #[test]
    fn a_broken_pipe_differs_from_other_write_errors() {
        let error = |kind: io::ErrorKind| Error::from(io::Error::from(kind));
        assert!(error(io::ErrorKind::BrokenPipe).of_output().is_closed_pipe());
        assert!(!error(io::ErrorKind::StorageFull).of_output().is_closed_pipe());
        assert!(!error(io::ErrorKind::BrokenPipe).is_closed_pipe());
    }
}
