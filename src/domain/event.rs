//! Events in the format of their senders. Only the facts that a receiver needs are parsed; the JSON stays unchanged.

use std::borrow::Cow;
use std::ops::Range;

use memchr::memchr_iter;
use ring::digest;
use serde_json::value::RawValue;

pub use super::event_key::{AppHash, EventKey, Sender};
use super::json::{self, fields, lossy_text, problem, text};
pub use super::json::{MAX_DEPTH, on_one_line, repaired, value};
use super::{bytes_without_bom, excerpt, is_unsafe_char};

/// The maximum length of an event id, in bytes. Bugfender's have about 40.
const MAX_ID: usize = 1024;

/// The maximum number of events in a body: each takes some hundred bytes of memory, however short it is.
pub const MAX_EVENTS: usize = 20_000;

/// The maximum length of the title stored with an event, in characters.
const MAX_TITLE: usize = 300;

/// The known types of events.
pub const EVENT_TYPES: [&str; 5] = ["crash", "issue", "feedback", "bug", "apm"];

/// The facts about an event that are stored with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventFacts {
    /// The sender's id; for Luciq, which has none, the SHA-256 of the body in hexadecimal (assumed).
    pub id: String,
    /// The key that identifies duplicates.
    pub key: EventKey,
    /// `crash`, `issue`, `feedback`, `bug`, `apm` or another type of the sender; Bugfender's older shape has none.
    pub event_type: Option<String>,
    /// Bugfender's app, unless the event is of the older shape.
    pub app_id: Option<i64>,
    /// What tells its app from others: a hash of its id and key, as far as it has them.
    pub app: Option<AppHash>,
    /// The start of its title.
    pub title: Option<String>,
    /// Whether its sender gives no ids: `id` is made of what it says.
    pub is_without_id: bool,
    /// The position of its JSON in the body.
    pub span: Range<usize>,
}

/// The maximum length of a reason, in characters.
const MAX_REASON: usize = 200;

/// Why a body is malformed. It quotes nothing of the body, which may contain personal data.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(String);

impl Malformed {
    /// A reason, truncated to its maximum length.
    pub fn new(what: &str) -> Self {
        Self(excerpt(what, MAX_REASON - 1))
    }

    /// The reason.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Finds the events in a body.
///
/// Accepts both shapes of Bugfender's events and the three kinds of Instabug's reports, with any unknown fields.
///
/// # Errors
/// When it is not JSON of the documented form, or an event has no id.
pub fn decode(sender: Sender, body: &[u8]) -> Result<Vec<EventFacts>, Malformed> {
    if json::is_too_deep(body) {
        return Err(Malformed::new(&format!("nested more than {MAX_DEPTH} levels deep")));
    }
    match sender {
        Sender::Bugfender => {
            let list = bytes_without_bom(body);
            if list.iter().find(|byte| !byte.is_ascii_whitespace()).is_some_and(|first| *first != b'[') {
                return Err(Malformed::new("not a JSON array"));
            }
            let text = str::from_utf8(list).map_err(|_| Malformed::new("not a JSON array: not UTF-8"))?;
            let events = json::items(text, MAX_EVENTS).map_err(|error| not_an("array", &error))?;
            let events = events.ok_or_else(|| Malformed::new(&format!("more than {MAX_EVENTS} events")))?;
            events.into_iter().enumerate().map(|(index, event)| bugfender(index, event, body)).collect()
        }
        Sender::Instabug => instabug(body).map(|event| vec![event]),
    }
}

/// The most events that there can be in a body, without reading it: each begins with a brace.
pub fn most_events(body: &[u8]) -> usize {
    memchr_iter(b'{', body).take(MAX_EVENTS).count()
}

fn not_an(what: &str, error: &serde_json::Error) -> Malformed {
    Malformed::new(&format!("not a JSON {what}: {}", problem(error)))
}

/// Reads the event at this index of the body's list.
fn bugfender(index: usize, event: &RawValue, body: &[u8]) -> Result<EventFacts, Malformed> {
    let about = |what: &str| Malformed::new(&format!("event {}: {what}", index + 1));
    if !event.get().starts_with('{') {
        return Err(about("not an object"));
    }
    let names = ["id", "uid", "type", "title", "app"];
    let [id, uid, event_type, title, app] = fields(event.get(), names).map_err(|error| about(&problem(&error)))?;
    // `uid` is the deprecated twin of `id` (documented).
    let id = id.and_then(read_id).or_else(|| uid.and_then(read_id));
    let (is_number, id) = id.ok_or_else(|| about("no id"))?;
    if id.len() > MAX_ID {
        return Err(about("the id is too long"));
    }
    Ok(EventFacts {
        key: EventKey::of(Sender::Bugfender, is_number, id.as_bytes()),
        id: clean(id, MAX_ID),
        event_type: event_type.and_then(lossy_text).map(|text| clean(text, 64)),
        app_id: app.and_then(app_id),
        app: app.and_then(app_hash),
        title: title.and_then(lossy_text).map(|text| clean(text, MAX_TITLE)),
        is_without_id: false,
        span: json::place(body, event),
    })
}

/// An id, and whether it is a number, as in Bugfender's older shape. A number is kept as written, and so is a string
/// with an unpaired surrogate, with its quotes.
fn read_id(raw: &RawValue) -> Option<(bool, Cow<'_, str>)> {
    match raw.get().as_bytes().first()? {
        b'"' => Some((false, text(raw).unwrap_or(Cow::Borrowed(raw.get())))).filter(|(_, id)| !id.is_empty()),
        b'-' | b'0'..=b'9' => Some((true, Cow::Borrowed(raw.get()))),
        _ => None,
    }
}

/// The id of the app, from a number or a string.
fn app_id(raw: &RawValue) -> Option<i64> {
    let [id] = fields(raw.get(), ["id"]).ok()?;
    let id = id?;
    id.get().parse().ok().or_else(|| text(id)?.parse().ok())
}

/// A hash of what the app is known by. The number 7 and the string "7" are one id here.
fn app_hash(raw: &RawValue) -> Option<AppHash> {
    let [id, key] = fields(raw.get(), ["id", "key"]).ok()?;
    let known = |raw: &&RawValue| raw.get() != "null";
    let plain = |raw: &RawValue| text(raw).map_or_else(|| raw.get().to_owned(), Cow::into_owned);
    let (id, key) = (id.filter(known).map(plain), key.filter(known).map(plain));
    (id.is_some() || key.is_some()).then(|| AppHash::of(id.as_deref(), key.as_deref()))
}

fn instabug(body: &[u8]) -> Result<EventFacts, Malformed> {
    let raw: &RawValue = serde_json::from_slice(bytes_without_bom(body)).map_err(|error| not_an("object", &error))?;
    if !raw.get().starts_with('{') {
        return Err(Malformed::new("not a JSON object"));
    }
    let names = ["Exception", "Title", "Reported At", "title", "metric", "trigger"];
    let [exception, bug_title, reported_at, apm_title, metric, trigger] =
        fields(raw.get(), names).map_err(|error| not_an("object", &error))?;
    let (event_type, title) = if exception.is_some() {
        (Some("crash"), exception)
    } else if bug_title.is_some() && reported_at.is_some() {
        (Some("bug"), bug_title)
    } else if metric.is_some() && trigger.is_some() {
        (Some("apm"), apm_title)
    } else {
        (None, bug_title.or(apm_title))
    };
    let id = hex::encode(digest::digest(&digest::SHA256, body));
    Ok(EventFacts {
        key: EventKey::of(Sender::Instabug, false, id.as_bytes()),
        id,
        event_type: event_type.map(str::to_owned),
        app_id: None,
        app: None,
        title: title.and_then(lossy_text).map(|text| clean(text, MAX_TITLE)),
        is_without_id: true,
        span: json::place(body, raw),
    })
}

/// At most `max` characters on one line, with unsafe ones and NUL, which a database may reject, replaced.
fn clean(text: Cow<'_, str>, max: usize) -> String {
    if text.len() <= max && text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        return text.into_owned();
    }
    let replace = |c: char| match c {
        c if !is_unsafe_char(c) => c,
        c if c.is_whitespace() => ' ',
        _ => '\u{fffd}',
    };
    text.chars().take(max).map(replace).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bugfender(body: &str) -> Result<Vec<EventFacts>, Malformed> {
        decode(Sender::Bugfender, body.as_bytes())
    }

    #[test]
    fn both_shapes_are_read_and_found_in_the_body() {
        let body = r#" [ {"id":"crash-1","title":"a\u001bb","app":{"id":7,"x":[]},"type":"crash","new":{"id":1}} ,
            {"id":12345678901,"title":"two\nlines\u2028\u0000","app":{"name":"n","key":"k"},"status":0,"session_id":3}]"#;
        let events = bugfender(body).unwrap();
        assert_eq!(events.len(), 2);
        assert_eq!((events[0].id.as_str(), events[0].event_type.as_deref()), ("crash-1", Some("crash")));
        assert_eq!((events[0].app_id, events[0].title.as_deref()), (Some(7), Some("a\u{fffd}b")));
        assert!(body[events[0].span.clone()].starts_with(r#"{"id":"crash-1""#));
        assert!(body[events[0].span.clone()].ends_with(r#""new":{"id":1}}"#));
        assert_eq!((events[1].id.as_str(), events[1].event_type.as_deref()), ("12345678901", None));
        assert_eq!((events[1].app_id, events[1].title.as_deref()), (None, Some("two lines \u{fffd}")));
    }

    proptest! {
        #[test]
        fn events_are_found_with_any_white_space_around_them(parts in proptest::collection::vec((0..OBJECTS.len(), "[ \n\t]{0,2}"), 1..5)) {
            let objects: Vec<String> =
                parts.iter().map(|(object, space)| OBJECTS[*object].replace('_', space)).collect();
            let body = format!("{0}[{0}{1}{0}]{0}", parts[0].1, objects.join(&format!(",{}", parts[0].1)));
            let found: Vec<String> =
                bugfender(&body).unwrap().into_iter().map(|event| body[event.span].to_owned()).collect();
            prop_assert_eq!(found, objects.iter().map(|object| object.trim_end().to_owned()).collect::<Vec<_>>());
        }
    }

    /// An underscore stands for optional white space.
    const OBJECTS: [&str; 5] = [
        r#"{"id":1}"#,
        r#"{_"id"_:_1_}_"#,
        r#"{"x":{},"id":"}]{["_}"#,
        r#"{"id":1,_"x":[{"a":{}},{"b":"\"}"}],"y":null_}_"#,
        r#"{"id":1,"id":"\\",_"":{"id":[_]_}_}"#,
    ];

    #[test]
    fn an_event_is_identified_by_sender_and_id_only() {
        let key = |body: &str| bugfender(body).unwrap()[0].key;
        assert_eq!(key(r#"[{"id":"7"}]"#), key(r#"[{"title":"other","id":"\u0037","created_at":"1999"}]"#));
        assert_eq!(key(r#"[{"uid":"7"}]"#), key(r#"[{"id":"7"}]"#));
        assert_ne!(key(r#"[{"id":"7"}]"#), key(r#"[{"id":7}]"#));
        assert!(EventKey::candidates(Sender::Bugfender, "7").any(|candidate| candidate == key(r#"[{"id":7}]"#)));
        assert!(EventKey::candidates(Sender::Bugfender, "7").any(|candidate| candidate == key(r#"[{"id":"7"}]"#)));
        assert!(key(r#"[{"id":"7"}]"#).message_id().strip_prefix("evt_").is_some_and(|hex| hex.len() == 32));
        assert!(EventKey::candidates(Sender::Instabug, "7").all(|candidate| candidate != key(r#"[{"id":"7"}]"#)));
    }

    #[test]
    fn apps_are_told_apart_by_id_and_key() {
        let app = |app: &str| bugfender(&format!(r#"[{{"id":"7","app":{app}}}]"#)).unwrap()[0].app;
        assert_eq!(app(r#"{"id":7,"name":"a"}"#), app(r#"{"name":"b","id":"7"}"#));
        let all = [r#"{"id":7}"#, r#"{"id":8}"#, r#"{"key":"7"}"#, r#"{"id":7,"key":"k"}"#, r#"{"id":7,"key":"l"}"#];
        for (index, one) in all.iter().enumerate() {
            assert!(app(one).is_some() && all[..index].iter().all(|other| app(other) != app(one)), "{one}");
        }
        assert_eq!([app("{}"), app("null"), app("[7]"), app(r#"{"id":null}"#)], [None; 4]);
    }

    #[test]
    fn malformed_bodies_are_rejected() {
        for body in [
            "",
            "{}",
            "[1]",
            "[[]]",
            "[{}]",
            r#"[{"id":""}]"#,
            r#"[{"id":null}]"#,
            r#"[{"id":1}"#,
            r#"[{"id":1}] x"#,
            "null",
            r#"[{"id":true}]"#,
            "[{\"id\":1,\"a\u{1}\":1}]",
            "[{\"a\n\":1,\"id\":1}]",
            "[{\"\\u0041\t\":1,\"id\":1}]",
        ] {
            assert!(bugfender(body).is_err(), "{body}");
        }
        assert_eq!(bugfender(r#"[{"\u0001\n":1,"id":1}]"#).unwrap().len(), 1);
        assert_eq!(bugfender("\"of Jo\"").unwrap_err().to_string(), "not a JSON array");
        assert!(decode(Sender::Bugfender, b"[{\"id\":\"a\",\"t\":\"\xff\"}]").is_err());
        let long = format!(r#"[{{"id":"{}"}}]"#, "x".repeat(2000));
        assert!(bugfender(&long).is_err());
        // An empty array has nothing to lose.
        assert_eq!(bugfender("[]").unwrap(), []);
    }

    #[test]
    fn an_unusual_event_does_not_affect_the_others() {
        let ids = |body: &str| bugfender(body).unwrap().into_iter().map(|event| event.id).collect::<Vec<_>>();
        let body = r#"[{"id":1.50},{"id":-1e400},{"id":12345678901234567890},{"id":"\ud800"},
            {"id":1,"title":"a","id":"last","title":"b"},{"uid":1,"uid":"u","id":""},{"\ud800":1,"\u0069d":"escaped"}]"#;
        let expected = ["1.50", "-1e400", "12345678901234567890", r#""\ud800""#, "last", "u", "escaped"];
        assert_eq!(ids(body), expected);
        for (event, id) in bugfender(body).unwrap().into_iter().zip(expected) {
            assert!(EventKey::candidates(Sender::Bugfender, id).any(|key| key == event.key), "{id}");
        }
        assert_eq!(bugfender(body).unwrap()[4].title.as_deref(), Some("b"));
        let twice = decode(Sender::Instabug, br#"{"Exception":"a","Exception":"b","\ud800":1}"#).unwrap();
        assert_eq!(twice[0].title.as_deref(), Some("b"));
        assert!(bugfender(r#"[{"id":"a","id":null}]"#).is_err());
    }

    #[test]
    fn half_a_character_costs_no_more_than_itself() {
        let event = &bugfender(r#"[{"id":"\ud83d","title":"Boom \ud83d!","type":"cra\udc00sh"}]"#).unwrap()[0];
        assert_eq!(event.title.as_deref(), Some("Boom \u{fffd}!"));
        assert_eq!(event.event_type.as_deref(), Some("cra\u{fffd}sh"));
        assert_eq!(event.id, r#""\ud83d""#);
        let report = decode(Sender::Instabug, br#"{"Exception":"Boom \ud83d"}"#).unwrap();
        assert_eq!(report[0].title.as_deref(), Some("Boom \u{fffd}"));
    }

    #[test]
    fn a_byte_order_mark_is_not_part_of_the_json() {
        let body = "\u{feff} [{\"id\":\"a\"}]";
        let event = &bugfender(body).unwrap()[0];
        assert_eq!((event.id.as_str(), &body[event.span.clone()]), ("a", "{\"id\":\"a\"}"));
        let report = "\u{feff}{\"Exception\":\"a\"}";
        let event = &decode(Sender::Instabug, report.as_bytes()).unwrap()[0];
        assert_eq!((event.title.as_deref(), &report[event.span.clone()]), (Some("a"), "{\"Exception\":\"a\"}"));
    }

    #[test]
    fn the_number_of_events_is_bounded() {
        let many = |count: usize| format!("[{}]", vec![r#"{"id":1}"#; count].join(","));
        assert_eq!(bugfender(&many(MAX_EVENTS)).unwrap().len(), MAX_EVENTS);
        let error = bugfender(&many(MAX_EVENTS + 1)).unwrap_err().to_string();
        assert_eq!(error, "more than 20000 events");
        assert!(bugfender(&many(MAX_EVENTS + 1).replace(']', "")).is_err());
    }

    #[test]
    fn reasons_quote_nothing_of_the_body() {
        let long = "jo@example.com".repeat(10_000);
        for body in [
            format!("[\"{long}\"]"),
            format!("[{{\"id\":1,\"{long}\\x\":1}}]"),
            format!("[{{\"id\":1}}] {long}"),
            format!("{{\"{long}\":1}}"),
            format!("[{{\"id\":\"{long}\"}}]"),
        ] {
            for sender in Sender::ALL {
                if let Err(malformed) = decode(sender, body.as_bytes()) {
                    let reason = malformed.to_string();
                    assert!(!reason.contains("jo@") && reason.chars().count() <= MAX_REASON, "{reason}");
                }
            }
        }
        // Here the error of serde_json itself would quote the string.
        let misplaced = format!("\"{long}\"");
        let reason = decode(Sender::Instabug, misplaced.as_bytes()).unwrap_err().to_string();
        assert_eq!(reason, "not a JSON object");
        assert_eq!(
            bugfender("[1,").unwrap_err().to_string(),
            "not a JSON array: unexpected end of input at line 1 column 3"
        );
        assert_eq!(Malformed::new(&long).as_str().chars().count(), MAX_REASON);
    }

    #[test]
    fn depth_is_bounded_and_brackets_in_text_do_not_count() {
        let nested = |depth: usize| format!(r#"[{{"id":1,"x":{}{}}}]"#, "[".repeat(depth), "]".repeat(depth));
        assert!(bugfender(&nested(MAX_DEPTH - 2)).is_ok());
        assert!(bugfender(&nested(MAX_DEPTH - 1)).is_err());
        assert!(bugfender(&nested(100_000)).is_err());
        assert!(bugfender(&format!(r#"[{{"id":1,"x":"\"{}"}}]"#, "[".repeat(1000))).is_ok());
        // Accepted bodies can be parsed by other JSON readers.
        assert!(serde_json::from_str::<serde_json::Value>(&nested(MAX_DEPTH - 2)).is_ok());
    }

    #[test]
    fn instabug_has_three_kinds_and_a_hash_for_an_id() {
        let read = |body: &str| decode(Sender::Instabug, body.as_bytes()).map(|events| events[0].clone());
        let kind = |body: &str| read(body).unwrap().event_type;
        assert_eq!(kind(r#"{"Exception":"boom","Number":1}"#).as_deref(), Some("crash"));
        assert_eq!(kind(r#"{"Title":"t","Reported At":"now"}"#).as_deref(), Some("bug"));
        assert_eq!(kind(r#"{"title":"t","metric":"m","trigger":"x"}"#).as_deref(), Some("apm"));
        assert_eq!(kind(r#"{"Exception":null,"Title":"t","Reported At":"now"}"#).as_deref(), Some("bug"));
        assert_eq!(kind("{}"), None);
        let crash = read(r#" {"Exception":"boom"} "#).unwrap();
        assert_eq!((crash.title.as_deref(), crash.id.len(), crash.span), (Some("boom"), 64, 1..21));
        assert!(read("[]").is_err() && read("1").is_err());
    }
}
