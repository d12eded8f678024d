//! Redaction of personal data in events before they are stored. For that of URLs see [`TargetUrl`](super::TargetUrl).

use std::str::FromStr;

use super::event::EventFacts;
use super::json::{Parts, says};
use crate::error::Error;

/// The replacement for a redacted value.
const REDACTED: &str = "\"[redacted]\"";

/// The fields to redact, such as `device.user_data`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Redaction(Vec<Vec<String>>);

impl FromStr for Redaction {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let path = |path: &str| -> Result<Vec<String>, Error> {
            let steps: Vec<String> = path.trim().split('.').map(str::to_owned).collect();
            if steps.iter().any(String::is_empty) {
                return Err(Error::usage("a field to redact is a path of names separated by dots")
                    .hint("for example device.user_data,session or, for Luciq, Email,User Attributes"));
            }
            if steps.len() == 1 && (steps[0] == "id" || steps[0] == "uid") {
                return Err(Error::usage("the id of events cannot be redacted, as it identifies duplicates"));
            }
            Ok(steps)
        };
        text.split(',').map(path).collect::<Result<Vec<_>, Error>>().map(Self)
    }
}

impl Redaction {
    /// The fields of several redactions.
    pub fn joined(all: impl IntoIterator<Item = Self>) -> Self {
        Self(all.into_iter().flat_map(|one| one.0).collect())
    }

    /// Whether there are no fields to redact.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The body with the fields of its events redacted, and the events with their new positions in it.
    ///
    /// Everything else is unchanged, byte for byte.
    pub fn apply(&self, body: &[u8], mut events: Vec<EventFacts>) -> (Vec<u8>, Vec<EventFacts>) {
        let paths: Vec<&[String]> = self.0.iter().map(Vec::as_slice).collect();
        let titles = ["title", "Title", "Exception"];
        let hides_title = self.0.iter().any(|path| path.len() == 1 && titles.contains(&path[0].as_str()));
        let hides_app = self.0.iter().any(|path| path[0] == "app" && path.get(1).is_none_or(|name| name == "id"));
        let mut redacted = Vec::with_capacity(body.len());
        let mut end = 0;
        for event in &mut events {
            redacted.extend_from_slice(&body[end..event.span.start]);
            end = event.span.end;
            let start = redacted.len();
            let text = std::str::from_utf8(&body[event.span.clone()]).unwrap_or_default();
            let mut changed = String::with_capacity(text.len());
            rewrite(text, &paths, &mut changed);
            redacted.extend_from_slice(changed.as_bytes());
            event.span = start..redacted.len();
            if hides_title {
                event.title = None;
            }
            if hides_app {
                (event.app_id, event.app) = (None, None);
            }
        }
        redacted.extend_from_slice(&body[end..]);
        (redacted, events)
    }
}

/// Writes `json` with the values at `paths` redacted, including those inside arrays on the way.
///
/// A value with a path into it that cannot be parsed is redacted completely, as the field cannot be located.
fn rewrite(json: &str, paths: &[&[String]], out: &mut String) {
    if paths.iter().any(|path| path.is_empty()) {
        out.push_str(REDACTED);
        return;
    }
    // Numbers, strings and other scalars have no fields.
    if paths.is_empty() || !json.starts_with(['{', '[']) {
        out.push_str(json);
        return;
    }
    let Ok(parts) = serde_json::from_str::<Parts<'_>>(json) else { return out.push_str(REDACTED) };
    match parts {
        Parts::Object(fields) => {
            out.push('{');
            for (index, (name, value)) in fields.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                out.push_str(name.get());
                out.push(':');
                let below: Vec<&[String]> =
                    paths.iter().filter(|path| says(name, &path[0])).map(|path| &path[1..]).collect();
                if below.is_empty() { out.push_str(value.get()) } else { rewrite(value.get(), &below, out) }
            }
            out.push('}');
        }
        Parts::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                rewrite(item.get(), paths, out);
            }
            out.push(']');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event::{Sender, decode};

    fn redact(paths: &str, sender: Sender, body: &str) -> (String, Vec<EventFacts>) {
        let events = decode(sender, body.as_bytes()).unwrap();
        let (bytes, events) = paths.parse::<Redaction>().unwrap().apply(body.as_bytes(), events);
        (String::from_utf8(bytes).unwrap(), events)
    }

    #[test]
    fn only_the_named_fields_are_redacted() {
        let body = r#" [ {"id":1,"big":1e999, "device":{ "user_data":{"a":[1]},"name":"Pixel"}},{"id":2,"device":7}] "#;
        let (text, events) = redact("device.user_data,device.none", Sender::Bugfender, body);
        assert_eq!(
            text,
            r#" [ {"id":1,"big":1e999,"device":{"user_data":"[redacted]","name":"Pixel"}},{"id":2,"device":7}] "#
        );
        assert_eq!(&text[events[1].span.clone()], r#"{"id":2,"device":7}"#);
        assert_eq!(events[0].id, "1");
    }

    #[test]
    fn arrays_are_traversed_and_titles_removed() {
        let body = r#"{"Exception":"of Jo","Email":"jo@example.com","Console Log":[{"x":1},{"x":2}]}"#;
        let (text, events) = redact("Email,Exception,Console Log.x", Sender::Instabug, body);
        let expected =
            r#"{"Exception":"[redacted]","Email":"[redacted]","Console Log":[{"x":"[redacted]"},{"x":"[redacted]"}]}"#;
        assert_eq!(text, expected);
        assert_eq!(events[0].title, None);
    }

    #[test]
    fn a_name_with_an_unpaired_surrogate_hides_nothing() {
        let body = r#"[{"id":1,"\ud800":1,"device":{"\ud800":2,"us\u0065r":"Jo","x":3},"user":["\ud800",{"user":4}]}]"#;
        let (text, events) = redact("device.user,user.user", Sender::Bugfender, body);
        let expected = r#"[{"id":1,"\ud800":1,"device":{"\ud800":2,"us\u0065r":"[redacted]","x":3},"user":["\ud800",{"user":"[redacted]"}]}]"#;
        assert_eq!(text, expected);
        assert_eq!(events.len(), 1);
    }

    #[test]
    fn what_cannot_be_parsed_is_redacted_completely() {
        let rewritten = |json: &str| {
            let (path, mut out) = (["a".to_owned()], String::new());
            rewrite(json, &[&path], &mut out);
            out
        };
        for broken in [r#"{"a":"Jo""#, r#"{"x":1,"a":"Jo",}"#, r#"["Jo" "a"]"#] {
            assert_eq!(rewritten(broken), REDACTED, "{broken}");
        }
        for scalar in ["7", "null", r#""Jo""#] {
            assert_eq!(rewritten(scalar), scalar);
        }
    }

    #[test]
    fn paths_are_checked() {
        for wrong in ["", "a..b", "a,", ".a", "id"] {
            assert!(wrong.parse::<Redaction>().is_err(), "{wrong}");
        }
        let joined = Redaction::joined(["a,b.c".parse().unwrap(), "d".parse().unwrap()]);
        assert_eq!(joined.0.len(), 3);
    }
}
