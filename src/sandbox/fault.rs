//! Faults on demand, by operation: `OP=WHAT[xN]`.

use std::str::FromStr;

use axum::http::{Method, StatusCode};

use crate::error::Error;

/// What the API can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    Token,
    Authorize,
    Subscribe,
    Unsubscribe,
    Me,
    Apps,
    Issues,
}

impl Operation {
    const NAMED: [(&'static str, Self); 7] = [
        ("token", Self::Token),
        ("authorize", Self::Authorize),
        ("subscribe", Self::Subscribe),
        ("unsubscribe", Self::Unsubscribe),
        ("me", Self::Me),
        ("apps", Self::Apps),
        ("issues", Self::Issues),
    ];

    /// The operation of a request.
    pub(super) fn of(method: &Method, path: &str) -> Option<Self> {
        let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
        match (method.as_str(), segments.as_slice()) {
            (_, ["auth", "token"]) => Some(Self::Token),
            (_, ["auth", "authorize"]) => Some(Self::Authorize),
            ("POST", ["api", "hook", "subscribe"]) => Some(Self::Subscribe),
            ("DELETE", ["api", "hook", _]) => Some(Self::Unsubscribe),
            (_, ["api", "me"]) => Some(Self::Me),
            (_, ["api", "app", _, "issues"]) => Some(Self::Issues),
            (_, ["api", "app", ..]) => Some(Self::Apps),
            _ => None,
        }
    }
}

/// How an operation goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    /// Answers with this status and does nothing; seconds for `Retry-After` behind it.
    Status(StatusCode, Option<u32>),
    /// Does nothing and never answers.
    Hang,
    /// Does its work, then closes the connection without an answer.
    Drop,
    /// Does its work, then breaks off in the middle of the answer.
    Truncate,
    /// Does nothing and redirects to another place.
    Redirect,
}

/// A fault: of which operation, how, and how many times (forever when not said).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub(super) operation: Operation,
    pub(super) what: What,
    pub(super) left: Option<u32>,
}

impl Fault {
    /// How faults are written, for help texts.
    pub const SYNTAX: &str = "OP=WHAT[xN]";
}

impl FromStr for Fault {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let read = || {
            let (operation, rest) = text.split_once('=')?;
            let (what, left) = match rest.rsplit_once('x').and_then(|(what, n)| Some((what, n.parse().ok()?))) {
                Some((what, times)) => (what, Some(times)),
                None => (rest, None),
            };
            let (_, operation) = Operation::NAMED.into_iter().find(|(name, _)| *name == operation)?;
            Some(Self { operation, what: what_named(what)?, left })
        };
        read().ok_or_else(|| {
            let names = Operation::NAMED.map(|(name, _)| name).join(", ");
            let what = "WHAT a status (200 to 599, 503@2 with Retry-After: 2), hang, drop, truncate or redirect";
            Error::usage(format!("a fault is written {}: OP one of {names}; {what}", Self::SYNTAX))
                .hint("for example --fault subscribe=503x2 --fault unsubscribe=drop")
        })
    }
}

fn what_named(text: &str) -> Option<What> {
    match text {
        "hang" => Some(What::Hang),
        "drop" => Some(What::Drop),
        "truncate" => Some(What::Truncate),
        "redirect" => Some(What::Redirect),
        _ => {
            let (status, after) = match text.split_once('@') {
                Some((status, after)) => (status, Some(after.parse().ok()?)),
                None => (text, None),
            };
            let code: u16 = status.parse().ok().filter(|code| (200..=599).contains(code))?;
            Some(What::Status(StatusCode::from_u16(code).ok()?, after))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_read() {
        let fault = |text: &str| text.parse::<Fault>().unwrap();
        assert_eq!(
            fault("subscribe=503x2"),
            Fault {
                operation: Operation::Subscribe,
                what: What::Status(StatusCode::SERVICE_UNAVAILABLE, None),
                left: Some(2)
            }
        );
        assert_eq!(fault("me=429@3").what, What::Status(StatusCode::TOO_MANY_REQUESTS, Some(3)));
        assert_eq!(
            fault("unsubscribe=dropx1"),
            Fault { operation: Operation::Unsubscribe, what: What::Drop, left: Some(1) }
        );
        assert_eq!(fault("token=hang").left, None);
        for wrong in ["", "subscribe", "subscribe=", "nope=500", "subscribe=99", "subscribe=hangx", "subscribe=500@x"] {
            assert!(wrong.parse::<Fault>().is_err(), "{wrong}");
        }
    }
}
