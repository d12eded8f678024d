//! Injected faults, by operation: `OP=WHAT[xN]`. The `guard` applies them, and the latency of all requests.

use std::str::FromStr;

use axum::http::{Method, StatusCode};

use crate::error::Error;

/// An operation of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    Token,
    Authorize,
    Subscribe,
    Unsubscribe,
    Me,
    Apps,
    Issues,
    Summary,
}

impl Operation {
    const NAMED: [(&'static str, Self); 8] = [
        ("token", Self::Token),
        ("authorize", Self::Authorize),
        ("subscribe", Self::Subscribe),
        ("unsubscribe", Self::Unsubscribe),
        ("me", Self::Me),
        ("apps", Self::Apps),
        ("issues", Self::Issues),
        ("summary", Self::Summary),
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
            (_, ["api", "app", _, "issues-aggregation", ..]) => Some(Self::Summary),
            (_, ["api", "app", ..]) => Some(Self::Apps),
            _ => None,
        }
    }
}

/// How an operation fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FaultKind {
    /// Does nothing and responds with this status, optionally with `Retry-After` in seconds.
    Status(StatusCode, Option<u32>),
    /// Does nothing and never responds.
    Hang,
    /// Carries out the request, then closes the connection without a response.
    Drop,
    /// Carries out the request, then closes the connection in the middle of the response.
    Truncate,
    /// Does nothing and redirects to another path.
    Redirect,
}

/// A fault: which operation fails, how, and how often (`None`: always).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub(super) operation: Operation,
    pub(super) kind: FaultKind,
    pub(super) left: Option<u32>,
}

impl Fault {
    /// The syntax of faults, for help texts.
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
            Some(Self { operation, kind: parse_kind(what)?, left })
        };
        read().ok_or_else(|| {
            let names = Operation::NAMED.map(|(name, _)| name).join(", ");
            let what = "WHAT is a status (200 to 599; 503@2 adds Retry-After: 2), hang, drop, truncate or redirect";
            Error::usage(format!("a fault has the form {}, where OP is one of {names}; {what}", Self::SYNTAX))
                .hint("for example --fault subscribe=503x2 --fault unsubscribe=drop")
        })
    }
}

fn parse_kind(text: &str) -> Option<FaultKind> {
    match text {
        "hang" => Some(FaultKind::Hang),
        "drop" => Some(FaultKind::Drop),
        "truncate" => Some(FaultKind::Truncate),
        "redirect" => Some(FaultKind::Redirect),
        _ => {
            let (status, after) = match text.split_once('@') {
                Some((status, after)) => (status, Some(after.parse().ok()?)),
                None => (text, None),
            };
            let code: u16 = status.parse().ok().filter(|code| (200..=599).contains(code))?;
            Some(FaultKind::Status(StatusCode::from_u16(code).ok()?, after))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_parsed() {
        let fault = |text: &str| text.parse::<Fault>().unwrap();
        assert_eq!(
            fault("subscribe=503x2"),
            Fault {
                operation: Operation::Subscribe,
                kind: FaultKind::Status(StatusCode::SERVICE_UNAVAILABLE, None),
                left: Some(2)
            }
        );
        assert_eq!(fault("me=429@3").kind, FaultKind::Status(StatusCode::TOO_MANY_REQUESTS, Some(3)));
        assert_eq!(
            fault("unsubscribe=dropx1"),
            Fault { operation: Operation::Unsubscribe, kind: FaultKind::Drop, left: Some(1) }
        );
        assert_eq!(fault("token=hang").left, None);
        for wrong in ["", "subscribe", "subscribe=", "nope=500", "subscribe=99", "subscribe=hangx", "subscribe=500@x"] {
            assert!(wrong.parse::<Fault>().is_err(), "{wrong}");
        }
    }
}
