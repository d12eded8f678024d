//! Deliveries that could not be read: why, and what they hold.

use std::fmt::Write;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;

use super::SharedPage;
use super::failure::WebFailure;
use super::templates::content;
use crate::domain::{ShownTime, is_unsafe_char};
use crate::store::Quarantined;

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

/// Lists the newest.
pub(super) async fn list(State(page): State<SharedPage>) -> Response<Body> {
    match page.readers.quick.run(|inbox| inbox.quarantined(None, Some(LISTED))).await {
        Ok(deliveries) => {
            let lines: Vec<_> = deliveries.iter().map(QuarantinedLine::of).collect();
            let content = content! { current => "quarantine", lines, is_cut => deliveries.len() as u64 == LISTED };
            page.templates.respond(&page, StatusCode::OK, "quarantine.html", content)
        }
        Err(error) => WebFailure::from(error).response(&page),
    }
}

/// Shows one with its body.
pub(super) async fn show(State(page): State<SharedPage>, Path(number): Path<i64>) -> Response<Body> {
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
                };
                page.templates.respond(&page, StatusCode::OK, "quarantined.html", content)
            }
            None => WebFailure::not_found("there is no such delivery: it may have been removed").response(&page),
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
    use super::*;

    #[test]
    fn bytes_are_shown_with_their_places() {
        let expected = "00000000  7b 22 69 64 22 3a ff 00  0a 41 42 43 44 45 46 47";
        let dump = hex_dump(b"{\"id\":\xff\0\nABCDEFGHI");
        assert_eq!(dump.lines().next().unwrap().replace("00 0a", "00  0a").split("  {").next(), Some(expected));
        assert_eq!(dump.lines().nth(1).unwrap().split_whitespace().collect::<Vec<_>>(), ["00000010", "48", "49", "HI"]);
        assert!(dump.contains("{\"id\":...ABCDEFG\n"));
    }
}
