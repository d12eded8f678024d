//! From an answer's status to an error: the one place that knows what Bugfender's statuses mean.

use super::Effect;
use crate::error::{Error, ErrorKind};
use crate::http::{CarriedOut, Failure, HttpResponse};

/// The failure that an answer other than 2xx stands for.
///
/// None of `secrets`, which the server may repeat, gets into it.
pub(super) fn failure(doing: &str, answer: &HttpResponse, effect: Effect, secrets: &[&str]) -> Failure {
    let status = answer.status.as_u16();
    let carried_out = answer.carried_out;
    let (kind, meaning, hint) = match (status, carried_out) {
        (400 | 422, _) => (ErrorKind::NotUnderstood, "the server did not understand the request", BAD_REQUEST),
        (401, _) => (ErrorKind::NotSignedIn, "the server does not accept the token", LOGIN),
        (403, _) if effect == Effect::Reads => (ErrorKind::Refused, "the server refused", REFUSED_TO_READ),
        (403, _) => (ErrorKind::Refused, "the server refused", REFUSED),
        (404, _) => (ErrorKind::NotFound, "there is no such place at the server", WRONG_PLACE),
        (408 | 429, _) => (ErrorKind::Unavailable, "the server asks to try later", LATER),
        (500.., CarriedOut::Maybe) if effect == Effect::Creates => {
            (ErrorKind::OutcomeUnknown, "the server failed, perhaps after doing it", "")
        }
        (500.., _) => (ErrorKind::Unavailable, "the server failed", LATER),
        _ => (ErrorKind::Other, "the server gave an unexpected answer", WRONG_PLACE),
    };
    let attempts = if answer.attempts > 1 { format!(" after {} attempts", answer.attempts) } else { String::new() };
    let quote = answer.quote(secrets).map_or_else(String::new, |quote| format!(": “{quote}”"));
    let mut error = Error::new(kind, format!("{doing}: {meaning} (HTTP {status}){attempts}{quote}")).status(status);
    if !hint.is_empty() {
        error = error.hint(hint);
    }
    Failure { error, carried_out, transient: false }
}

const BAD_REQUEST: &str = "check the event, the app id and the target URL; `--dry-run` shows the request";
const LOGIN: &str = "sign in again with `bugfender-hooks auth login`, or set BUGFENDER_API_TOKEN; a token lasts about an hour, a service account renews its own";
const REFUSED: &str = "check that the token is a valid one (they last about an hour) and may manage this app's hooks, and \
                       that the app id is right: it is the last number in the app's dashboard URL";
const REFUSED_TO_READ: &str = "check that the token is a valid one (they last about an hour) and may do this";
const WRONG_PLACE: &str = "check --api-url: `bugfender-hooks doctor` shows which installation is used";
const LATER: &str = "try again later";

/// A 2xx answer to a subscription from which no id could be read: a hook exists that nobody can name.
pub(super) fn unreadable(doing: &str, answer: &HttpResponse, problem: &str) -> Failure {
    let status = answer.status.as_u16();
    let message = format!("{doing}: {problem} (HTTP {status})");
    let error = Error::new(ErrorKind::OutcomeUnknown, message).status(status);
    Failure { error, carried_out: answer.carried_out, transient: false }
}

/// A 2xx answer to a question that cannot be understood.
pub(super) fn unexpected(doing: &str, answer: &HttpResponse, problem: &str) -> Failure {
    let status = answer.status.as_u16();
    let error = Error::new(ErrorKind::Other, format!("{doing}: {problem} (HTTP {status})")).status(status);
    Failure { error: error.hint(WRONG_PLACE), carried_out: answer.carried_out, transient: false }
}

/// A web page where the API should have answered: some other server, which surely knows no hooks.
pub(super) fn web_page(doing: &str, answer: &HttpResponse) -> Failure {
    let status = answer.status.as_u16();
    let message = format!("{doing}: a web page answered in place of the API (HTTP {status})");
    let error = Error::new(ErrorKind::Other, message).hint(WRONG_PLACE).status(status);
    Failure { error, carried_out: answer.carried_out, transient: false }
}
