//! JSON taken apart one level at a time, with every piece left as it was written.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use memchr::{memchr, memchr_iter, memchr2};
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::error::Category;
use serde_json::value::RawValue;

/// How deep the arrays and objects of a body may be nested: as deep as the usual JSON readers go.
pub const MAX_DEPTH: usize = 127;

/// An object or a list, one level of it.
///
/// The names of an object are as they were written too: a name may be one that no text can hold, such as `"\ud800"`,
/// and must not make the rest unreadable.
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
        f.write_str("an object or a list")
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

/// Whether a text in JSON, as it was written, says this.
pub(super) fn says(written: &RawValue, text: &str) -> bool {
    self::text(written).is_some_and(|read| read == text)
}

/// What a text in JSON says, unless it has half a character in it, or it is no text.
pub(super) fn text(written: &RawValue) -> Option<Cow<'_, str>> {
    let inside = written.get().strip_prefix('"')?.strip_suffix('"')?;
    if memchr(b'\\', inside.as_bytes()).is_none() {
        return Some(Cow::Borrowed(inside));
    }
    serde_json::from_str(written.get()).ok().map(Cow::Owned)
}

/// What these fields of an object hold. Of a field that is there several times it is the last, as most readers take it. A
/// `null` is as good as nothing.
pub(super) fn fields<'a, const N: usize>(
    object: &'a str,
    names: [&str; N],
) -> Result<[Option<&'a RawValue>; N], serde_json::Error> {
    Fields(names).deserialize(&mut serde_json::Deserializer::from_str(object))
}

/// Where a piece of the body stands in it.
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

/// Whether anything is nested deeper than [`MAX_DEPTH`]. Whatever else may be wrong with the JSON is not looked at.
pub(super) fn is_too_deep(body: &[u8]) -> bool {
    // Most bodies have not even so many arrays and objects.
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

/// What follows a text that begins here.
fn behind_text(mut rest: &[u8]) -> &[u8] {
    while let Some(end) = memchr2(b'"', b'\\', rest) {
        if rest[end] == b'"' {
            return &rest[end + 1..];
        }
        rest = rest.get(end + 2..).unwrap_or_default();
    }
    &[]
}

/// What is wrong with some JSON, and where. What the reader itself says of it repeats what was sent.
pub(super) fn problem(error: &serde_json::Error) -> String {
    let what = match error.classify() {
        Category::Eof => "it ends too early",
        Category::Syntax => "wrong syntax",
        Category::Data => "an unexpected value",
        Category::Io => "it cannot be read",
    };
    format!("{what} at line {} column {}", error.line(), error.column())
}

/// JSON without the white space between its parts: on one line, and otherwise as it was, digits and escapes included.
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
    fn one_line_is_the_same_json() {
        let text = "{ \"a b\" : [1.0e400,\n\t\"x \\\" y\\n\" ] }";
        assert_eq!(on_one_line(text), "{\"a b\":[1.0e400,\"x \\\" y\\n\"]}");
    }
}
