//! Parses JSON one level at a time, with every piece kept as written.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use memchr::{memchr, memchr_iter, memchr2};
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::error::Category;
use serde_json::value::RawValue;

/// The maximum nesting depth of a body, which common JSON readers support.
pub const MAX_DEPTH: usize = 127;

/// One level of an object or array.
///
/// Names of an object are kept as written too, as one that is not valid Unicode, such as `"\ud800"`, must not make the
/// rest unreadable.
pub(super) enum Parts<'a> {
    Object(Vec<(&'a RawValue, &'a RawValue)>),
    Array(Vec<&'a RawValue>),
}

impl<'de> Deserialize<'de> for Parts<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PartsVisitor)
    }
}

struct PartsVisitor;

impl<'de> Visitor<'de> for PartsVisitor {
    type Value = Parts<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or an array")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = Vec::new();
        while let Some(field) = map.next_entry()? {
            fields.push(field);
        }
        Ok(Parts::Object(fields))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        Ok(Parts::Array(items))
    }
}

/// Whether a JSON string, as written, has this value.
pub(super) fn says(written: &RawValue, text: &str) -> bool {
    self::text(written).is_some_and(|read| read == text)
}

/// The value of a JSON string; `None` if it has an unpaired surrogate, or is not a string.
pub(super) fn text(written: &RawValue) -> Option<Cow<'_, str>> {
    let inside = written.get().strip_prefix('"')?.strip_suffix('"')?;
    if memchr(b'\\', inside.as_bytes()).is_none() {
        return Some(Cow::Borrowed(inside));
    }
    serde_json::from_str(written.get()).ok().map(Cow::Owned)
}

/// The value of a JSON string, with half a surrogate pair replaced; `None` if it is not a string.
pub(super) fn lossy_text(written: &RawValue) -> Option<Cow<'_, str>> {
    text(written).or_else(|| serde_json::from_str(&repaired(written.get())).ok().map(Cow::Owned))
}

/// Parses an event, which was parsed piece by piece before: what no [`Value`] can hold is replaced, and the rest stays.
pub fn value(json: &[u8]) -> Value {
    serde_json::from_slice(json).unwrap_or_else(|_| {
        let text = str::from_utf8(json).unwrap_or_default();
        serde_json::from_str(&repaired(text)).unwrap_or_default()
    })
}

/// Valid JSON that every reader can parse: half a surrogate pair becomes U+FFFD, and a number beyond doubles a string.
pub fn repaired(json: &str) -> Cow<'_, str> {
    let mut out = String::new();
    let (mut copied, mut at) = (0, 0);
    let bytes = json.as_bytes();
    while let Some(byte) = bytes.get(at) {
        let (end, replacement) = match byte {
            b'"' => {
                let (end, changed) = repaired_string(json, at);
                (end, changed)
            }
            b'-' | b'0'..=b'9' => {
                let is_part = |byte: &u8| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
                let end = at + bytes[at..].iter().take_while(|byte| is_part(byte)).count();
                let number = &json[at..end];
                let is_finite = number.parse::<f64>().is_ok_and(f64::is_finite);
                (end, (!is_finite).then(|| format!("\"{number}\"")))
            }
            _ => (at + 1, None),
        };
        if let Some(replacement) = replacement {
            out.push_str(&json[copied..at]);
            out.push_str(&replacement);
            copied = end;
        }
        at = end;
    }
    if copied == 0 {
        return Cow::Borrowed(json);
    }
    out.push_str(&json[copied..]);
    Cow::Owned(out)
}

/// The end of the string that begins here, and what takes its place if half a surrogate pair is in it.
fn repaired_string(json: &str, start: usize) -> (usize, Option<String>) {
    let bytes = json.as_bytes();
    let unit = |at: usize| {
        let digits = json.get(at..at + 6)?.strip_prefix("\\u")?;
        u16::from_str_radix(digits, 16).ok()
    };
    let mut out = String::new();
    let (mut copied, mut at) = (start, start + 1);
    loop {
        match bytes.get(at) {
            Some(b'\\') => match (unit(at), unit(at + 6)) {
                (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => at += 12,
                (Some(0xd800..=0xdfff), _) => {
                    out.push_str(&json[copied..at]);
                    out.push_str("\\ufffd");
                    at += 6;
                    copied = at;
                }
                _ => at += 2,
            },
            Some(b'"') | None => break,
            Some(_) => at += 1,
        }
    }
    let end = bytes.len().min(at + 1);
    if copied == start {
        return (end, None);
    }
    out.push_str(&json[copied..end]);
    (end, Some(out))
}

/// The values of these fields of an object. Of a repeated field it is the last, as in most JSON readers; `null` counts
/// as absent.
pub(super) fn fields<'a, const N: usize>(
    object: &'a str,
    names: [&str; N],
) -> Result<[Option<&'a RawValue>; N], serde_json::Error> {
    Fields(names).deserialize(&mut serde_json::Deserializer::from_str(object))
}

/// The position of a piece of the body in it.
pub(super) fn place(body: &[u8], piece: &RawValue) -> Range<usize> {
    let start = piece.get().as_ptr().addr() - body.as_ptr().addr();
    start..start + piece.get().len()
}

struct Fields<'n, const N: usize>([&'n str; N]);

impl<'de, const N: usize> DeserializeSeed<'de> for Fields<'_, N> {
    type Value = [Option<&'de RawValue>; N];

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, const N: usize> Visitor<'de> for Fields<'_, N> {
    type Value = [Option<&'de RawValue>; N];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = [None; N];
        // Names as they were written: read as bytes, they could hold what JSON does not allow; as text, half a character
        // in one would make the rest unreadable.
        while let Some((name, value)) = map.next_entry::<&RawValue, &RawValue>()? {
            let name = text(name);
            if let Some(index) = self.0.iter().position(|wanted| name.as_deref() == Some(wanted)) {
                fields[index] = Some(value).filter(|value| value.get() != "null");
            }
        }
        Ok(fields)
    }
}

/// The items of a list, or `None` when there are more than `max`.
pub(super) fn items(list: &str, max: usize) -> Result<Option<Vec<&RawValue>>, serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_str(list);
    let items = reader.deserialize_seq(Items(max))?;
    reader.end()?;
    Ok(items)
}

struct Items(usize);

impl<'de> Visitor<'de> for Items {
    type Value = Option<Vec<&'de RawValue>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            if items.len() == self.0 {
                while list.next_element::<IgnoredAny>()?.is_some() {}
                return Ok(None);
            }
            items.push(item);
        }
        Ok(Some(items))
    }
}

/// Whether anything is nested deeper than [`MAX_DEPTH`]. The JSON is not validated otherwise.
pub(super) fn is_too_deep(body: &[u8]) -> bool {
    // Most bodies have fewer arrays and objects than this in total.
    let opened = |byte| memchr_iter(byte, body).count();
    if opened(b'[') + opened(b'{') <= MAX_DEPTH {
        return false;
    }
    let (mut depth, mut place) = (0_usize, 0);
    while let Some(byte) = body.get(place) {
        match byte {
            b'[' | b'{' if depth == MAX_DEPTH => return true,
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            b'"' => {
                place = body.len() - behind_text(&body[place + 1..]).len();
                continue;
            }
            _ => {}
        }
        place += 1;
    }
    false
}

/// What follows the string that starts here.
fn behind_text(mut rest: &[u8]) -> &[u8] {
    while let Some(end) = memchr2(b'"', b'\\', rest) {
        if rest[end] == b'"' {
            return &rest[end + 1..];
        }
        rest = rest.get(end + 2..).unwrap_or_default();
    }
    &[]
}

/// What is wrong with some JSON, and where. The error of `serde_json` itself would quote the input.
pub(super) fn problem(error: &serde_json::Error) -> String {
    let what = match error.classify() {
        Category::Eof => "unexpected end of input",
        Category::Syntax => "invalid syntax",
        Category::Data => "unexpected value",
        Category::Io => "read error",
    };
    format!("{what} at line {} column {}", error.line(), error.column())
}

/// JSON on one line, without white space between its parts; digits and escapes are unchanged.
pub fn on_one_line(json: &str) -> String {
    let (mut in_text, mut escaped) = (false, false);
    let keep = |c: &char| {
        let inside = in_text;
        match (in_text, c) {
            (true, _) if escaped => escaped = false,
            (true, '\\') => escaped = true,
            (_, '"') => in_text = !in_text,
            _ => {}
        }
        inside || !matches!(c, ' ' | '\t' | '\r' | '\n')
    };
    json.chars().filter(keep).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_reader_takes_is_replaced_where_it_stands() {
        for (json, expected) in [
            (r#"{"a":"\ud83d!","\udc00":1,"b":"\ud83d\ude00"}"#, r#"{"a":"\ufffd!","\ufffd":1,"b":"\ud83d\ude00"}"#),
            (r#"["\\ud83d","\"\ud83d","\ud83d\ud83d\ude00"]"#, r#"["\\ud83d","\"\ufffd","\ufffd\ud83d\ude00"]"#),
            ("[1e400,-1E+999,12345678901234567890123,1.5]", r#"["1e400","-1E+999",12345678901234567890123,1.5]"#),
            (r#"{"é1e400":"1e400"}"#, r#"{"é1e400":"1e400"}"#),
        ] {
            assert_eq!(repaired(json), expected);
            assert!(value(json.as_bytes()) != Value::Null, "{json}");
        }
    }

    proptest::proptest! {
        #[test]
        fn every_json_that_was_accepted_can_be_parsed(pieces in proptest::collection::vec(0..PIECES.len(), 0..12)) {
            let inside: String = pieces.into_iter().map(|piece| PIECES[piece]).collect();
            let json = format!(r#"["{inside}",1e{}]"#, inside.len() * 40);
            let valid = serde_json::from_str::<IgnoredAny>(&json).is_ok();
            proptest::prop_assert!(!valid || serde_json::from_str::<Value>(&repaired(&json)).is_ok(), "{json}");
        }
    }

    const PIECES: [&str; 8] = ["\\ud83d", "\\ude00", "\\\\", "\\\"", "u", "é", "\\u0041", "d83d"];

    #[test]
    fn one_line_is_the_same_json() {
        let text = "{ \"a b\" : [1.0e400,\n\t\"x \\\" y\\n\" ] }";
        assert_eq!(on_one_line(text), "{\"a b\":[1.0e400,\"x \\\" y\\n\"]}");
    }
}
