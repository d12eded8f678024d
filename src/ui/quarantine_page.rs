//! Deliveries that could not be read: why, what they hold, and reading them again.

use std::fmt::Write;

use axum::body::Body;
use axum::extract::{Extension, Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use url::form_urlencoded::Serializer;

use super::access::Visitor;
use super::failure::WebFailure;
use super::notices::Notice;
use super::redirect::see_other;
use super::templates::content;
use super::{PageState, SharedPage};
use crate::domain::{ShownTime, excerpt, is_unsafe_char};
use crate::store::{Quarantined, Reread};

/// How many are listed.
const LISTED: u64 = 200;

/// How many bytes of a body are shown.
const SHOWN: usize = 16 * 1024;

/// The bytes on a line.
const LINE: usize = 16;

/// A delivery on the page.
#[derive(Serialize)]
struct QuarantinedLine {
    number: i64,
    source: &'static str,
    received_at: ShownTime,
    content_type: Option<String>,
    reason: String,
    size: u64,
}

impl QuarantinedLine {
    fn of(delivery: &Quarantined) -> Self {
        Self {
            number: delivery.number,
            source: delivery.sender.as_str(),
            received_at: delivery.received_at.into(),
            content_type: delivery.content_type.clone(),
            reason: delivery.reason.clone(),
            size: delivery.size,
        }
    }
}

/// Which deliveries are meant, and what came of the last change.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct QuarantineQuery {
    /// What their reason, source or content type says, in whatever case; empty for all.
    q: String,
    note: Option<u64>,
}

impl QuarantineQuery {
    /// What is searched for; `None` for all.
    fn wanted(&self) -> Option<String> {
        Some(self.q.trim().to_lowercase()).filter(|wanted| !wanted.is_empty())
    }

    /// The query of an address, with `?` if there is one.
    fn address(&self) -> String {
        let q = self.q.trim();
        if q.is_empty() {
            String::new()
        } else {
            format!("?{}", Serializer::new(String::new()).append_pair("q", q).finish())
        }
    }
}

/// Whether this is said of a delivery.
fn says(delivery: &Quarantined, wanted: &str) -> bool {
    let said = [Some(delivery.reason.as_str()), Some(delivery.sender.as_str()), delivery.content_type.as_deref()];
    said.into_iter().flatten().any(|text| text.to_lowercase().contains(wanted))
}

impl PageState {
    /// The deliveries that are meant, newest first: no more than so many of all, or those that are found.
    async fn quarantine(&self, query: &QuarantineQuery, limit: Option<u64>) -> Result<Vec<Quarantined>, WebFailure> {
        let Some(wanted) = query.wanted() else {
            return Ok(self.readers.quick.run(move |inbox| inbox.quarantined(None, limit)).await?);
        };
        let mut deliveries = self.readers.slow.run(|inbox| inbox.quarantined(None, None)).await?;
        deliveries.retain(|delivery| says(delivery, &wanted));
        deliveries.truncate(limit.and_then(|limit| limit.try_into().ok()).unwrap_or(usize::MAX));
        Ok(deliveries)
    }
}

/// Lists the newest.
pub(super) async fn list(State(page): State<SharedPage>, Query(query): Query<QuarantineQuery>) -> Response<Body> {
    match page.quarantine(&query, Some(LISTED)).await {
        Ok(deliveries) => {
            let lines: Vec<_> = deliveries.iter().map(QuarantinedLine::of).collect();
            let content = content! {
                current => "quarantine",
                lines,
                is_cut => deliveries.len() as u64 == LISTED,
                q => query.q.trim(),
                address => query.address(),
                notice => page.notices.take(query.note),
            };
            page.templates.respond(&page, StatusCode::OK, "quarantine.html", content)
        }
        Err(failure) => failure.response(&page),
    }
}

/// Begins to read all that match again.
pub(super) async fn reread_all(
    State(page): State<SharedPage>,
    Extension(visitor): Extension<Visitor>,
    Query(query): Query<QuarantineQuery>,
) -> Response<Body> {
    match page.quarantine(&query, None).await {
        Ok(deliveries) => {
            // The oldest first, as they came.
            let numbers = deliveries.iter().rev().map(|delivery| delivery.number).collect();
            let number = page.begin_reread(numbers);
            let address = query.address();
            let which = if address.is_empty() { "the quarantine".to_owned() } else { excerpt(&address, 300) };
            (page.options.changes)(&format!("{} began job {number}: Reading again: {which}", visitor.0));
            see_other(&format!("{}/jobs/{number}", page.options.base_path))
        }
        Err(failure) => failure.response(&page),
    }
}

/// Reads one again.
pub(super) async fn reread(
    State(page): State<SharedPage>,
    Extension(visitor): Extension<Visitor>,
    Path(number): Path<i64>,
) -> Response<Body> {
    let bad = |reason: &str| Notice::bad(format!("Delivery {number} still cannot be read: {reason}."));
    let (path, notice) = match page.deposit().reread(number).await {
        Ok(Some(Reread::Stored { new, known })) => {
            (page.options.changes)(&format!("{} read the quarantined delivery {number} again", visitor.0));
            let text = format!("Delivery {number} was read. Of its events {new} are new, and {known} were known.");
            (String::new(), Notice::good(text))
        }
        Ok(Some(Reread::Unreadable(malformed))) => (format!("/{number}"), bad(malformed.as_str())),
        Ok(Some(Reread::Redacted)) => (format!("/{number}"), bad("it was kept without its body")),
        Ok(None) => {
            return WebFailure::gone("delivery").response(&page);
        }
        Err(error) => return WebFailure::from(error).response(&page),
    };
    page.lead_to(&format!("/quarantine{path}"), notice)
}

/// Shows one with its body.
pub(super) async fn show(
    State(page): State<SharedPage>,
    Path(number): Path<i64>,
    Query(query): Query<QuarantineQuery>,
) -> Response<Body> {
    match page.readers.quick.run(move |inbox| inbox.quarantined(Some(number), None)).await {
        Ok(deliveries) => match deliveries.first() {
            Some(delivery) => {
                let body = &delivery.body[..delivery.body.len().min(SHOWN)];
                let content = content! {
                    current => "quarantine",
                    delivery => QuarantinedLine::of(delivery),
                    hex => hex_dump(body),
                    text => String::from_utf8_lossy(body).replace(|c| is_unsafe_char(c) && c != '\n' && c != '\t', "\u{fffd}"),
                    is_empty => body.is_empty(),
                    is_cut => delivery.body.len() > SHOWN,
                    notice => page.notices.take(query.note),
                };
                page.templates.respond(&page, StatusCode::OK, "quarantined.html", content)
            }
            None => WebFailure::gone("delivery").response(&page),
        },
        Err(error) => WebFailure::from(error).response(&page),
    }
}

/// Bytes as `hexdump -C` shows them.
fn hex_dump(bytes: &[u8]) -> String {
    let mut text = String::new();
    for (number, line) in bytes.chunks(LINE).enumerate() {
        let hex: Vec<String> = line.iter().map(|byte| format!("{byte:02x}")).collect();
        let shown: String =
            line.iter().map(|byte| if (b' '..=b'~').contains(byte) { char::from(*byte) } else { '.' }).collect();
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{:08x}  {:47}  {shown}", number * LINE, hex.join(" "));
    }
    text
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::domain::event::Sender;

    #[test]
    fn deliveries_are_found_by_what_is_said_of_them() {
        let delivery = Quarantined {
            number: 1,
            sender: Sender::Bugfender,
            received_at: Timestamp::UNIX_EPOCH,
            content_type: Some("text/Plain".to_owned()),
            reason: "Not JSON".to_owned(),
            size: 2,
            body: b"secret".to_vec(),
        };
        let query = |q: &str| QuarantineQuery { q: q.to_owned(), note: None };
        for (q, is_found) in [("json", true), (" BUGF ", true), ("plain", true), ("secret", false), ("2", false)] {
            assert_eq!(says(&delivery, &query(q).wanted().unwrap()), is_found, "{q}");
        }
        assert_eq!((query(" ").wanted(), query(" ").address()), (None, String::new()));
        assert_eq!(query("a b&c").address(), "?q=a+b%26c");
    }

    #[test]
    fn bytes_are_shown_with_their_places() {
        let expected = "00000000  7b 22 69 64 22 3a ff 00  0a 41 42 43 44 45 46 47";
        let dump = hex_dump(b"{\"id\":\xff\0\nABCDEFGHI");
        assert_eq!(dump.lines().next().unwrap().replace("00 0a", "00  0a").split("  {").next(), Some(expected));
        assert_eq!(dump.lines().nth(1).unwrap().split_whitespace().collect::<Vec<_>>(), ["00000010", "48", "49", "HI"]);
        assert!(dump.contains("{\"id\":...ABCDEFG\n"));
    }
}
