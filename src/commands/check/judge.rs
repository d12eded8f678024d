//! Compares responses with what was expected, and says what to do about the difference.

use super::cases::{Case, Expected};
use super::{CaseOutcome, CaseRow};
use crate::commands::calls::{Endpoint, Timed};
use crate::commands::quotes::Quotes;

/// Judges responses, and remembers the slowest.
pub struct Judge {
    max_latency: u64,
    slowest: Option<(u64, &'static str)>,
    quotes: Quotes,
}

impl Judge {
    pub fn new(endpoint: &Endpoint, max_latency: u64) -> Self {
        Self { max_latency, slowest: None, quotes: Quotes::of(&endpoint.url, endpoint.secret.as_ref()) }
    }

    /// The row of a case: of the first request that failed, or else of the first.
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
            if calls.len() > 1 && bad > 0 { format!(" for {bad} of {} requests", calls.len()) } else { String::new() };
        let answer = shown.map(|call| self.in_words(call)).unwrap_or_default();
        let mut message = format!("expected {}, got {answer}{of_them}", wanted(case.expected));
        if bad > 0 {
            message = format!("{message}: {}", advice(case, status));
        }
        let outcome = if bad > 0 { CaseOutcome::Failed } else { CaseOutcome::Passed };
        CaseRow { case: case.name, outcome, status, ms, message }
    }

    /// The row of the response time.
    pub fn latency(&self) -> CaseRow {
        let max = self.max_latency;
        let Some((ms, case)) = self.slowest else {
            return skipped("latency", format!("expected at most {max} ms, but no response came"));
        };
        let message = format!("expected at most {max} ms, the slowest response took {ms} ms ({case})");
        let row = |outcome, message| CaseRow { case: "latency", outcome, status: None, ms: Some(ms), message };
        if ms <= max {
            return row(CaseOutcome::Passed, message);
        }
        row(CaseOutcome::Failed, format!("{message}: store the event, respond, and do the work afterwards"))
    }

    /// What came, in words.
    fn in_words(&self, call: &Timed) -> String {
        match &call.outcome {
            Ok(answer) => {
                let quote = (!answer.status.is_success()).then(|| self.quotes.quote(answer)).flatten();
                let quote = quote.map(|quote| format!(" (\"{quote}\")")).unwrap_or_default();
                format!("HTTP {}{quote}", answer.status.as_u16())
            }
            Err(failure) => format!("no response ({})", failure.error),
        }
    }
}

/// The row of a case that was left out.
pub fn skipped(case: &'static str, message: String) -> CaseRow {
    CaseRow { case, outcome: CaseOutcome::Skipped, status: None, ms: None, message }
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
        Some(300..400) => "give the URL that it redirects to; senders may not follow redirects",
        _ => case.advice,
    }
}
