//! Maps the status of a response to an error: the one place that knows what Bugfender's statuses mean.

use super::Effect;
use crate::error::{Error, ErrorKind};
use crate::http::{CarriedOut, Failure, HttpResponse};

/// The failure for a response other than 2xx.
///
/// `secrets` are removed from the server's text, which may repeat them.
pub(super) fn failure(doing: &str, response: &HttpResponse, effect: Effect, secrets: &[&str]) -> Failure {
    let status = response.status.as_u16();
    let carried_out = response.carried_out;
    let (kind, meaning, hint) = match (status, carried_out) {
        (400 | 422, _) if effect == Effect::Reads => {
            (ErrorKind::NotUnderstood, "the server rejected the request as invalid", BAD_READ)
        }
        (400 | 422, _) => (ErrorKind::NotUnderstood, "the server rejected the request as invalid", BAD_REQUEST),
        (401, _) => (ErrorKind::NotSignedIn, "the server rejected the token", LOGIN),
        (403, _) if effect == Effect::Reads => (ErrorKind::Refused, "the server denied access", READ_DENIED),
        (403, _) => (ErrorKind::Refused, "the server denied access", DENIED),
        (404, _) => (ErrorKind::NotFound, "not found on the server", CHECK_URL),
        (408 | 429, _) => (ErrorKind::Unavailable, "the server asked to try again later", LATER),
        (500.., CarriedOut::Maybe) if effect == Effect::Creates => {
            (ErrorKind::OutcomeUnknown, "server error, possibly after carrying out the request", "")
        }
        (500.., _) => (ErrorKind::Unavailable, "server error", LATER),
        _ => (ErrorKind::Other, "unexpected response", CHECK_URL),
    };
    let attempts = if response.attempts > 1 { format!(" after {} attempts", response.attempts) } else { String::new() };
    let quote = response.quote(secrets).map_or_else(String::new, |quote| format!(": “{quote}”"));
    let mut error = Error::new(kind, format!("{doing}: {meaning} (HTTP {status}){attempts}{quote}")).status(status);
    if !hint.is_empty() {
        error = error.hint(hint);
    }
    Failure { error, carried_out, transient: false }
}

const BAD_REQUEST: &str = "check the event, the app id and the target URL; `--dry-run` shows the request";
const BAD_READ: &str = "check the app id and --api-url; `bugfender-hooks apps` lists the apps of the account";
const LOGIN: &str = "sign in again with `bugfender-hooks auth login`, or set BUGFENDER_API_TOKEN; a token expires after about an hour, a service account renews its own automatically";
const DENIED: &str = "check that the token is valid (it expires after about an hour) and may manage this app's hooks, and \
                      that the app id is right: it is the last number in the app's dashboard URL";
const READ_DENIED: &str = "check that the token is valid (it expires after about an hour) and has this permission";
const CHECK_URL: &str = "check --api-url; `bugfender-hooks doctor` shows which installation is used";
const LATER: &str = "try again later";

/// A 2xx response to a subscription without a readable id: a hook exists, but its id is unknown.
pub(super) fn unreadable(doing: &str, response: &HttpResponse, problem: &str) -> Failure {
    let status = response.status.as_u16();
    let message = format!("{doing}: {problem} (HTTP {status})");
    let error = Error::new(ErrorKind::OutcomeUnknown, message).status(status);
    Failure { error, carried_out: response.carried_out, transient: false }
}

/// A 2xx response to a GET whose body has an unexpected form.
pub(super) fn unexpected(doing: &str, response: &HttpResponse, problem: &str) -> Failure {
    let status = response.status.as_u16();
    let error = Error::new(ErrorKind::Other, format!("{doing}: {problem} (HTTP {status})")).status(status);
    Failure { error: error.hint(CHECK_URL), carried_out: response.carried_out, transient: false }
}

/// HTML in place of an API response, which means that some other server answered.
pub(super) fn web_page(doing: &str, response: &HttpResponse) -> Failure {
    let status = response.status.as_u16();
    let message = format!("{doing}: got a web page instead of an API response (HTTP {status})");
    let error = Error::new(ErrorKind::Other, message).hint(CHECK_URL).status(status);
    Failure { error, carried_out: response.carried_out, transient: false }
}
