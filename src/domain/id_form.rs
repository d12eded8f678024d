//! Whether ids are strings or numbers: the number 7 and the string "7" are different ids, and both senders' calls need not
//! write them alike.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::json;

/// How an event's id is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IdForm {
    /// As a string (documented).
    #[default]
    Text,
    /// As a number (documented for the older shape).
    Number,
}

impl IdForm {
    /// How the id of this event is written; `None` if it has none.
    pub fn of(event: &str) -> Option<Self> {
        id(event).map(|(form, _)| form)
    }

    /// The event, with its id written so: it is known as the same event then. One whose id cannot be stays as it is.
    pub fn apply(self, event: &str) -> Cow<'_, str> {
        let Some((form, id)) = id(event) else { return Cow::Borrowed(event) };
        let written = match (form, self) {
            (Self::Number, Self::Text) => Some(format!("\"{}\"", id.get())),
            (Self::Text, Self::Number) => json::text(id).filter(|text| is_number(text)).map(Cow::into_owned),
            (Self::Text, Self::Text) | (Self::Number, Self::Number) => None,
        };
        let Some(written) = written else { return Cow::Borrowed(event) };
        let place = json::place(event.as_bytes(), id);
        Cow::Owned([&event[..place.start], &written, &event[place.end..]].concat())
    }
}

/// The id of an event, or its deprecated twin.
fn id(event: &str) -> Option<(IdForm, &RawValue)> {
    let [id, uid] = json::fields(event, ["id", "uid"]).ok()?;
    let form = |raw: &RawValue| match raw.get().as_bytes().first()? {
        b'"' if raw.get().len() > 2 => Some(IdForm::Text),
        b'-' | b'0'..=b'9' => Some(IdForm::Number),
        _ => None,
    };
    [id, uid].into_iter().flatten().find_map(|raw| Some((form(raw)?, raw)))
}

fn is_number(text: &str) -> bool {
    text.starts_with(|c: char| c == '-' || c.is_ascii_digit())
        && serde_json::from_str::<&RawValue>(text).is_ok_and(|raw| raw.get() == text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event::{Sender, decode};

    #[test]
    fn an_id_is_written_otherwise_and_nothing_else() {
        for (event, as_text, as_number) in [
            (r#"{"id": 7 ,"a":{"id":7}}"#, r#"{"id": "7" ,"a":{"id":7}}"#, r#"{"id": 7 ,"a":{"id":7}}"#),
            (r#"{"a":1,"id":"7"}"#, r#"{"a":1,"id":"7"}"#, r#"{"a":1,"id":7}"#),
            (r#"{"id":"","uid":7}"#, r#"{"id":"","uid":"7"}"#, r#"{"id":"","uid":7}"#),
            (r#"{"id":"crash-7"}"#, r#"{"id":"crash-7"}"#, r#"{"id":"crash-7"}"#),
            (r#"{"id":"7 "}"#, r#"{"id":"7 "}"#, r#"{"id":"7 "}"#),
            (r#"{"title":"no id"}"#, r#"{"title":"no id"}"#, r#"{"title":"no id"}"#),
        ] {
            assert_eq!(IdForm::Text.apply(event), as_text);
            assert_eq!(IdForm::Number.apply(event), as_number);
        }
        let key = |event: &str| decode(Sender::Bugfender, format!("[{event}]").as_bytes()).unwrap()[0].key;
        assert_eq!(key(&IdForm::Text.apply(r#"{"id":7}"#)), key(r#"{"id":"7"}"#));
        assert_eq!(key(&IdForm::Number.apply(r#"{"id":"7"}"#)), key(r#"{"id":7}"#));
        assert_eq!([IdForm::of("{}"), IdForm::of(r#"{"id":7}"#)], [None, Some(IdForm::Number)]);
    }
}
