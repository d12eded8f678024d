//! From answers to outcomes: what was expected, what came, what to do about it.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use percent_encoding::percent_decode_str;
use serde_json::Value;
use url::Url;

use super::cases::{Case, Expected};
use super::{CaseRow, Outcome};
use crate::commands::calls::{Endpoint, Timed};

/// Says what is to be made of answers, and remembers the slowest.
pub struct Judge {
    max_latency: u64,
    slowest: Option<(u64, &'static str)>,
    secrets: Vec<String>,
}

impl Judge {
    pub fn new(endpoint: &Endpoint, max_latency: u64) -> Self {
        let mut secrets = secrets_in(&endpoint.url);
        secrets.extend(endpoint.secret.as_ref().map(|secret| secret.expose().to_owned()));
        secrets.extend(secrets.clone().into_iter().map(in_json));
        // The longest first: a part of one that was hidden would leave the rest.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        Self { max_latency, slowest: None, secrets }
    }

    /// The row of a case whose calls were made at once: of the first that went wrong, or of the first.
    pub fn judge(&mut self, case: &Case, calls: &[Timed]) -> CaseRow {
        let ms = calls.iter().map(|call| call.ms).max();
        // A call without an answer tells of the receiver's speed only if it was waited for.
        let waited = |call: &&Timed| call.outcome.is_ok() || call.ms > self.max_latency;
        let times = calls.iter().filter(waited).map(|call| (call.ms, case.name));
        self.slowest = self.slowest.into_iter().chain(times).max_by_key(|(ms, _)| *ms);
        let bad = calls.iter().filter(|call| !is_right(case.expected, call)).count();
        let shown = calls.iter().find(|call| !is_right(case.expected, call)).or(calls.first());
        let status = shown.and_then(status);
        let of_them =
            if calls.len() > 1 && bad > 0 { format!(" for {bad} of {} calls", calls.len()) } else { String::new() };
        let answer = shown.map(|call| self.in_words(call)).unwrap_or_default();
        let mut message = format!("expected {}, got {answer}{of_them}", wanted(case.expected));
        if bad > 0 {
            message = format!("{message}: {}", advice(case, status));
        }
        let outcome = if bad > 0 { Outcome::Failed } else { Outcome::Passed };
        CaseRow { case: case.name, outcome, status, ms, message }
    }

    /// The row of the time that answers took.
    pub fn latency(&self) -> CaseRow {
        let max = self.max_latency;
        let Some((ms, case)) = self.slowest else {
            return skipped("latency", format!("expected at most {max} ms, but no answer came"));
        };
        let message = format!("expected at most {max} ms, the slowest answer took {ms} ms ({case})");
        let row = |outcome, message| CaseRow { case: "latency", outcome, status: None, ms: Some(ms), message };
        if ms <= max {
            return row(Outcome::Passed, message);
        }
        row(Outcome::Failed, format!("{message}: store the event, answer, and do the work afterwards"))
    }

    /// What came, in words.
    fn in_words(&self, call: &Timed) -> String {
        match &call.outcome {
            Ok(answer) => {
                let secrets: Vec<&str> = self.secrets.iter().map(String::as_str).collect();
                let quote = (!answer.status.is_success()).then(|| answer.quote(&secrets)).flatten();
                let quote = quote.map(|quote| format!(" (\"{quote}\")")).unwrap_or_default();
                format!("HTTP {}{quote}", answer.status.as_u16())
            }
            Err(failure) => format!("no answer ({})", failure.error),
        }
    }
}

/// The row of a case that was left out.
pub fn skipped(case: &'static str, message: String) -> CaseRow {
    CaseRow { case, outcome: Outcome::Skipped, status: None, ms: None, message }
}

fn status(call: &Timed) -> Option<u16> {
    call.outcome.as_ref().ok().map(|answer| answer.status.as_u16())
}

fn is_right(expected: Expected, call: &Timed) -> bool {
    call.outcome.as_ref().is_ok_and(|answer| match expected {
        Expected::Taken => answer.status.is_success(),
        Expected::Refused => answer.status.is_client_error(),
    })
}

fn wanted(expected: Expected) -> &'static str {
    match expected {
        Expected::Taken => "2xx",
        Expected::Refused => "4xx",
    }
}

fn advice(case: &Case, status: Option<u16>) -> &'static str {
    match status {
        Some(300..400) => "give the URL that it redirects to; senders are not known to follow",
        _ => case.advice,
    }
}

/// What of a URL a receiver must not be quoted with, as it stands there and decoded: user name and password, as in the
/// header that they are sent in too, the values of the query, and the segments of the path that may be keys.
fn secrets_in(url: &Url) -> Vec<String> {
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let (user, password) = (url.username(), url.password().unwrap_or_default());
    let mut found = vec![if password.is_empty() { user } else { password }.to_owned()];
    if !(user.is_empty() && password.is_empty()) {
        found.push(BASE64_STANDARD.encode(format!("{}:{}", decoded(user), decoded(password))));
    }
    let pairs = url.query().unwrap_or_default().split('&');
    found.extend(pairs.map(|pair| pair.split_once('=').map_or(pair, |(_, value)| value).to_owned()));
    found.extend(url.query_pairs().map(|(_, value)| value.into_owned()));
    let segments = url.path_segments().into_iter().flatten().filter(|segment| !segment.is_empty());
    let last = segments.clone().next_back();
    found.extend(segments.filter(|segment| segment.len() >= LONG || Some(*segment) == last).map(str::to_owned));
    let plain: Vec<String> = found.iter().map(|text| decoded(text)).collect();
    found.extend(plain);
    found.retain(|text| !text.is_empty());
    found
}

/// As many characters as make a segment of a path a likely key.
const LONG: usize = 12;

/// As it stands in JSON that is quoted.
fn in_json(text: String) -> String {
    Value::String(text).to_string().trim_matches('"').to_owned()
}
