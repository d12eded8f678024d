//! HTTP responses, with bodies read up to a limit, and the wait that `Retry-After` asks for.

use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::rfc2822;
use reqwest::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use reqwest::{Response, StatusCode};

use super::CarriedOut;
use crate::domain::excerpt;

/// The largest body that is read unless more is asked for, in bytes after decompression.
pub const MAX_BODY: usize = 1024 * 1024;

/// The maximum length of a quote from a response, in characters.
const MAX_QUOTE: usize = 200;

/// A response of any status.
#[derive(Debug)]
pub struct HttpResponse {
    /// The status.
    pub status: StatusCode,
    /// The body, or why it could not be read completely.
    pub body: Result<Vec<u8>, BodyProblem>,
    /// The wait that `Retry-After` asks for.
    pub retry_after: Option<Duration>,
    /// How often the request was sent.
    pub attempts: u32,
    /// Whether any of these attempts may have been carried out.
    pub carried_out: CarriedOut,
    pub(super) html: bool,
}

/// Why a body could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyProblem {
    /// The connection was closed or timed out before the end of the body, or its encoding is invalid.
    Cut,
    /// The body is larger than what is read.
    TooLarge,
}

impl HttpResponse {
    /// Reads the body of a response.
    pub(super) async fn read(mut response: Response, carried_out: CarriedOut, max_body: usize) -> Self {
        let status = response.status();
        let retry_after = retry_after(response.headers(), Timestamp::now());
        let content_type = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let html = content_type.is_some_and(|kind| kind.contains("html"));
        let body = read_body(&mut response, max_body).await;
        Self { status, body, retry_after, attempts: 1, carried_out, html }
    }

    /// The response with the attempts and the doubt of an earlier send of the same request added.
    #[must_use]
    pub fn after(self, attempts: u32, before: CarriedOut) -> Self {
        Self { attempts: self.attempts + attempts, carried_out: self.carried_out.or(before), ..self }
    }

    /// Whether the body is HTML, which the API never returns.
    pub fn is_html(&self) -> bool {
        self.html
    }

    /// A short quote of the server's error text, with `secrets` replaced; HTML is not quoted.
    pub fn quote(&self, secrets: &[&str]) -> Option<String> {
        let text = std::str::from_utf8(self.body.as_deref().ok()?).ok()?.trim();
        if text.is_empty() || self.html || text.starts_with('<') {
            return None;
        }
        let message = match serde_json::from_str::<serde_json::Value>(text) {
            Ok(value) => message_field(&value).map_or_else(|| value.to_string(), str::to_owned),
            Err(_) => text.to_owned(),
        };
        let hide = |message: String, secret: &&str| message.replace(*secret, "****");
        // Replacing shorter texts would garble ordinary words.
        let message = secrets.iter().filter(|secret| secret.len() >= 4).fold(message, hide);
        Some(excerpt(&message, MAX_QUOTE)).filter(|quote| !quote.is_empty())
    }
}

/// The human-readable message of a JSON error object.
fn message_field(value: &serde_json::Value) -> Option<&str> {
    ["message", "error_description", "detail", "error"].iter().find_map(|name| value.get(name)?.as_str())
}

async fn read_body(response: &mut Response, max_body: usize) -> Result<Vec<u8>, BodyProblem> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|_| BodyProblem::Cut)? {
        if body.len() + chunk.len() > max_body {
            return Err(BodyProblem::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// `Retry-After` in seconds or as a date (RFC 9110, section 10.2.3), the longest if there are several.
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let values = headers.get_all(RETRY_AFTER).iter().filter_map(|value| value.to_str().ok());
    values.filter_map(|text| until_date(text.trim(), now).or_else(|| longest(text))).max()
}

/// The time until a date, in one of the three forms of section 5.6.7 or another of electronic mail; none if it is past.
fn until_date(text: &str, now: Timestamp) -> Option<Duration> {
    let of_http = || Timestamp::try_from(httpdate::parse_http_date(text).ok()?).ok();
    let of_mail = || rfc2822::DateTimeParser::new().relaxed_weekday(true).parse_timestamp(text).ok();
    let date = of_http().or_else(of_mail)?;
    Some(Duration::try_from(date.duration_since(now)).unwrap_or_default())
}

/// The longest of some numbers of seconds: a proxy may have added its own. Fractions are not in the standard, but sent.
fn longest(text: &str) -> Option<Duration> {
    let seconds = |part: &str| Duration::try_from_secs_f64(part.trim().parse().ok()?).ok();
    text.split(',').filter_map(seconds).max()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(value: &str, now: &str) -> Option<Duration> {
        let headers = HeaderMap::from_iter([(RETRY_AFTER, value.parse().unwrap())]);
        retry_after(&headers, now.parse().unwrap())
    }

    #[test]
    fn retry_after_is_read_in_all_forms() {
        let now = "2026-11-21T08:49:37Z";
        assert_eq!(asked("3", now), Some(Duration::from_secs(3)));
        assert_eq!(asked("Sat, 21 Nov 2026 08:49:42 GMT", now), Some(Duration::from_secs(5)));
        assert_eq!(asked("Sat, 21 Nov 2026 08:00:00 GMT", now), Some(Duration::ZERO));
        assert_eq!(asked("Saturday, 21-Nov-26 08:49:42 GMT", now), Some(Duration::from_secs(5)));
        assert_eq!(asked("Sat Nov 21 08:49:42 2026", now), Some(Duration::from_secs(5)));
        assert_eq!(asked("Sun Dec  6 08:49:37 2026", now), Some(Duration::from_secs(15 * 24 * 3600)));
        assert_eq!(asked("4.5", now), Some(Duration::from_millis(4500)));
        assert_eq!(asked("2, 4", now), Some(Duration::from_secs(4)));
        for wrong in ["soon", "", ",", "nan", "inf", "1e400", "-3"] {
            assert_eq!(asked(wrong, now), None, "{wrong}");
        }
    }
}
