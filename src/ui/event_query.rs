//! Filters of events as they stand in an address, which can be shared.

use jiff::{SignedDuration, Span, SpanRelativeTo, Timestamp};
use serde::{Deserialize, Serialize};
use url::form_urlencoded::Serializer;

use crate::domain::EventSearch;
use crate::domain::delivery::Via;
use crate::domain::event::Sender;
use crate::store::{EventSelection, EventState};

/// The filters of a list of events, as they were typed. Empty ones filter nothing.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(default)]
pub(super) struct EventQuery {
    /// Words to search for.
    pub(super) q: String,
    pub(super) app: String,
    #[serde(rename = "type")]
    pub(super) event_type: String,
    pub(super) source: String,
    pub(super) status: String,
    pub(super) target: String,
    pub(super) via: String,
    pub(super) since: String,
    pub(super) until: String,
}

impl EventQuery {
    fn pairs(&self) -> [(&'static str, &str); 9] {
        [
            ("q", &self.q),
            ("app", &self.app),
            ("type", &self.event_type),
            ("source", &self.source),
            ("status", &self.status),
            ("target", &self.target),
            ("via", &self.via),
            ("since", &self.since),
            ("until", &self.until),
        ]
    }

    /// The query of an address: with `?` if there is one, and these numbers.
    pub(super) fn address(&self, more: &[(&str, i64)]) -> String {
        let mut query = Serializer::new(String::new());
        query.extend_pairs(self.pairs().into_iter().filter(|(_, value)| !value.trim().is_empty()));
        query.extend_pairs(more.iter().map(|(name, number)| (*name, number.to_string())));
        let query = query.finish();
        if query.is_empty() { query } else { format!("?{query}") }
    }

    /// Whether anything is filtered.
    pub(super) fn is_empty(&self) -> bool {
        self.pairs().iter().all(|(_, value)| value.trim().is_empty())
    }

    /// Whether the JSON of events is looked at, which takes its time.
    pub(super) fn is_slow(&self) -> bool {
        !self.q.trim().is_empty()
    }

    /// The events that are meant. Times that are told as ages count from `now`.
    ///
    /// # Errors
    /// What is wrong with a filter, for people.
    pub(super) fn selection(&self, now: Timestamp) -> Result<EventSelection, String> {
        let list = |text: &str| -> Vec<String> {
            text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
        };
        if self.pairs().iter().any(|(_, value)| value.contains('\0')) {
            return Err("a filter has a NUL character, which no event has".to_owned());
        }
        let number = |text: String| text.parse().map_err(|_| format!("“{text}” is not the number of an app"));
        Ok(EventSelection {
            search: EventSearch::parse(&self.q),
            app_ids: list(&self.app).into_iter().map(number).collect::<Result<_, _>>()?,
            types: list(&self.event_type),
            sender: named(&self.source, "source", &Sender::ALL, Sender::as_str)?,
            via: named(&self.via, "way", &[Via::Webhook, Via::Poll], Via::as_str)?,
            state: named(&self.status, "status", &STATES, EventState::as_str)?,
            target: Some(self.target.trim().to_owned()).filter(|target| !target.is_empty()),
            since: moment(&self.since, now)?,
            until: moment(&self.until, now)?,
            ..EventSelection::default()
        })
    }
}

/// The states that can be filtered by.
pub(super) const STATES: [EventState; 4] =
    [EventState::Stored, EventState::Pending, EventState::Forwarded, EventState::Dead];

fn named<T: Copy, N: Fn(T) -> &'static str>(text: &str, what: &str, all: &[T], name: N) -> Result<Option<T>, String> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let found = all.iter().copied().find(|one| name(*one) == text);
    let names = || all.iter().map(|one| name(*one)).collect::<Vec<_>>().join(", ");
    found.map(Some).ok_or_else(|| format!("“{text}” is no {what}: write one of {}", names()))
}

/// Reads a time: an age such as `24h` or `7d`, or a time in RFC 3339; one without a zone is UTC.
fn moment(text: &str, now: Timestamp) -> Result<Option<Timestamp>, String> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let zoned = [text.to_owned(), format!("{text}Z"), format!("{text}T00:00:00Z")];
    if let Some(time) = zoned.iter().find_map(|text| text.parse::<Timestamp>().ok()) {
        return Ok(Some(time));
    }
    let span = Some(text).filter(|text| !text.contains(':')).and_then(|text| text.parse::<Span>().ok());
    let age = span.and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()).ok());
    let time = age.map(SignedDuration::abs).and_then(|age| now.checked_sub(age).ok());
    time.map(Some).ok_or_else(|| {
        format!("“{text}” is no time: write an age such as 24h or 7d, or a time such as 2026-11-28T10:00Z")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-11-28T12:00:00Z".parse().unwrap()
    }

    #[test]
    fn an_address_says_what_was_filtered() {
        let query = EventQuery { q: "a b&c".to_owned(), event_type: "crash".to_owned(), ..EventQuery::default() };
        assert_eq!(query.address(&[("before", 7)]), "?q=a+b%26c&type=crash&before=7");
        assert_eq!(EventQuery::default().address(&[]), "");
        assert!(EventQuery { app: " ".to_owned(), ..EventQuery::default() }.is_empty());
    }

    #[test]
    fn filters_are_read_and_wrong_ones_are_said() {
        let query = EventQuery {
            app: "7, 8".to_owned(),
            status: "dead".to_owned(),
            since: "2d".to_owned(),
            until: "2026-11-28T11:00".to_owned(),
            ..EventQuery::default()
        };
        let selection = query.selection(now()).unwrap();
        assert_eq!((selection.app_ids, selection.state), (vec![7, 8], Some(EventState::Dead)));
        assert_eq!(selection.since.unwrap().to_string(), "2026-11-26T12:00:00Z");
        assert_eq!(selection.until.unwrap().to_string(), "2026-11-28T11:00:00Z");
        let wrong = |query: EventQuery| query.selection(now()).unwrap_err();
        assert!(wrong(EventQuery { target: "a\0".to_owned(), ..EventQuery::default() }).contains("NUL"));
        assert!(wrong(EventQuery { app: "x".to_owned(), ..EventQuery::default() }).contains("number of an app"));
        assert!(wrong(EventQuery { status: "gone".to_owned(), ..EventQuery::default() }).contains("stored, pending"));
        for text in ["tomorrow", "99999999999999d", "1x", "-"] {
            assert!(
                wrong(EventQuery { since: text.to_owned(), ..EventQuery::default() }).contains("no time"),
                "{text}"
            );
        }
        assert_eq!(moment("90m", now()).unwrap().unwrap().to_string(), "2026-11-28T10:30:00Z");
        assert_eq!(moment("2026-11-01", now()).unwrap().unwrap().to_string(), "2026-11-01T00:00:00Z");
    }
}
