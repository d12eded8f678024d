//! What goes wrong with the server, the way to it, or what is stored there, in the store's words.

use std::error::Error as StdError;
use std::io;

use thiserror::Error;
use tokio_postgres::error::{DbError, Severity, SqlState};

use super::diagnosis::{Diagnosis, no_rights, of_lost_connection, of_server, of_tls};
use crate::domain::excerpt;
use crate::store::error::{Part, Rule};
use crate::store::{StoreError, StoreErrorKind};

/// As much as is shown of what the server says.
const LONGEST_MESSAGE: usize = 300;

/// A failure of the server, of the way to it, or of what is stored there.
#[derive(Debug, Error)]
pub(super) enum PostgresFault {
    #[error("{}", message(.0))]
    Server(#[from] tokio_postgres::Error),
    /// The same while connecting.
    #[error("{}", message(.0))]
    Rejected(tokio_postgres::Error),
    #[error("the server did not answer in time")]
    TimedOut,
    #[error("the server was not available a moment ago: {0}")]
    Resting(String),
    #[error("the host {host} could not be found: {error}")]
    NotResolved { host: String, error: io::Error },
    #[error("no connection to {place}: {error}")]
    Unreachable { place: String, error: io::Error },
    #[error("the host {0} is another machine in spite of its name, and the connection would not be encrypted")]
    NotLocal(String),
    #[error("the server does not offer TLS")]
    NoTls,
    #[error("no TLS connection to the server: {0}")]
    Tls(rustls::Error),
    #[error("could not sign in: {reason}")]
    SignIn { reason: String, with_password: bool },
    #[error("the server allows no writes")]
    ReadOnlyServer,
    #[error("other transactions were in the way for too long")]
    Contended,
    #[error("what is stored is damaged: {0}")]
    Damaged(String),
    #[error("the schema was written by a newer bugfender-hooks (version {found}, this one knows {known})")]
    Newer { found: i64, known: i64 },
    #[error("this role may not make the schema {0}, or tables in it")]
    NoRights(String),
    #[error(transparent)]
    Rule(#[from] Rule),
}

impl PostgresFault {
    /// Whether the connection is of no use any more, or there is none.
    pub(super) fn ends_connection(&self) -> bool {
        match self {
            Self::Server(error) => error.as_db_error().is_none_or(ends_session),
            Self::Rejected(_)
            | Self::TimedOut
            | Self::NotResolved { .. }
            | Self::Unreachable { .. }
            | Self::NotLocal(_)
            | Self::NoTls
            | Self::Tls(_)
            | Self::SignIn { .. }
            | Self::ReadOnlyServer => true,
            Self::Resting(_)
            | Self::Contended
            | Self::Damaged(_)
            | Self::Newer { .. }
            | Self::NoRights(_)
            | Self::Rule(_) => false,
        }
    }

    /// Whether a connection that was there broke, which another may be made for at once.
    pub(super) fn is_broken_connection(&self) -> bool {
        matches!(self, Self::Server(_)) && self.ends_connection()
    }

    /// Whether the same may succeed at once: another transaction was in the way.
    pub(super) fn is_of_concurrency(&self) -> bool {
        let Self::Server(error) = self else { return false };
        let code = error.code();
        code == Some(&SqlState::T_R_DEADLOCK_DETECTED) || code == Some(&SqlState::T_R_SERIALIZATION_FAILURE)
    }

    /// The store's error about this part at this place.
    pub(super) fn at(self, part: Part, place: &str) -> StoreError {
        if let Self::Rule(rule) = &self {
            return StoreError::of_rule(part, place, rule);
        }
        let Diagnosis { kind, advice, may_pass } = self.diagnosis();
        StoreError::new(part, place, kind, self.to_string(), advice).passing(may_pass).source(Cause::of(&self))
    }

    fn diagnosis(&self) -> Diagnosis {
        use StoreErrorKind::{Busy, Damaged, Failed, NewerSchema, ReadOnly, Unavailable};
        match self {
            Self::Server(error) | Self::Rejected(error) => match error.as_db_error() {
                Some(said) => of_server(said.code(), said.message()),
                None if is_of_network(error) => of_lost_connection(),
                None => Diagnosis::lasting(Failed, "this is a bug: please report it, with the output of -vvv"),
            },
            Self::TimedOut => Diagnosis::passing(
                Unavailable,
                "check that the server is up and that no firewall is in between; --timeout gives it more time",
            ),
            Self::Resting(_) => Diagnosis::passing(Unavailable, "it is tried again soon"),
            Self::NotResolved { .. } => {
                Diagnosis::passing(Unavailable, "check the host in the URL of the store, and the network")
            }
            Self::Unreachable { .. } => Diagnosis::passing(
                Unavailable,
                "check host and port in the URL of the store, and that the server is up and listens there",
            ),
            Self::NotLocal(_) => {
                Diagnosis::lasting(Unavailable, "add sslmode=verify-full to the URL of the store, or use 127.0.0.1")
            }
            Self::NoTls => Diagnosis::lasting(
                Unavailable,
                "switch TLS on in the server (ssl = on); or add sslmode=disable to the URL of the store if you trust the \
                 network",
            ),
            Self::Tls(error) => of_tls(error),
            Self::SignIn { with_password: false, .. } => Diagnosis::lasting(
                Unavailable,
                "set PGPASSWORD, write the password to ~/.pgpass, or give the URL of the store in a file, as @FILE",
            ),
            Self::SignIn { .. } => Diagnosis::lasting(
                Unavailable,
                "the server must let the role sign in by scram-sha-256, md5, password, peer or trust (pg_hba.conf)",
            ),
            Self::ReadOnlyServer => Diagnosis::passing(
                ReadOnly,
                "it may be a standby: name the primary server in the URL of the store, or all of them",
            ),
            Self::Contended => Diagnosis::passing(Busy, "try again"),
            Self::NoRights(_) => no_rights(),
            Self::Damaged(_) => Diagnosis::lasting(Damaged, "restore the database from a backup"),
            Self::Newer { .. } => Diagnosis::lasting(NewerSchema, "update bugfender-hooks"),
            // A rule has an error of its own.
            Self::Rule(_) => Diagnosis::lasting(Failed, "`bugfender-hooks doctor` checks the store"),
        }
    }
}

/// What is shown as the cause of an error: not what the server says about values, which may be secret.
#[derive(Debug, Error)]
#[error("{0}")]
struct Cause(String);

impl Cause {
    fn of(fault: &PostgresFault) -> Self {
        let (PostgresFault::Server(error) | PostgresFault::Rejected(error)) = fault else {
            return Self(format!("{fault}"));
        };
        Self(match error.as_db_error() {
            Some(said) => format!("{} {}: {}", said.severity(), said.code().code(), brief(said.message())),
            None => format!("{error}: {}", root(error)),
        })
    }
}

/// Whether the session ends with what the server says.
fn ends_session(said: &DbError) -> bool {
    let fatal = matches!(said.parsed_severity(), Some(Severity::Fatal | Severity::Panic));
    // A pooler closes a connection by which it has said that something is wrong with it.
    fatal || said.code().code().starts_with("08")
}

/// Whether an error of no server's is about the network: there was no answer, or no end of it.
fn is_of_network(error: &tokio_postgres::Error) -> bool {
    let is_of_data = |kind| matches!(kind, io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput);
    error.is_closed() || cause::<io::Error>(error).is_some_and(|error| !is_of_data(error.kind()))
}

/// What the server said, on one line.
fn message(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(said) => format!("{} (SQLSTATE {})", brief(said.message()), said.code().code()),
        None if error.is_closed() => "the server has closed the connection".to_owned(),
        None => format!("{error}: {}", root(error)),
    }
}

fn brief(text: &str) -> String {
    excerpt(text, LONGEST_MESSAGE)
}

fn root(error: &dyn StdError) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    brief(&cause.to_string())
}

/// The error of this type among the causes of an error.
pub(super) fn cause<'a, E: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a E> {
    if let Some(error) = error.downcast_ref::<E>() {
        return Some(error);
    }
    // `io::Error::source` skips the error that it wraps.
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(inner) => cause(inner),
        None => error.source().and_then(cause),
    }
}
