//! JSON taken apart one level at a time, with every piece left as it was written.

use std::fmt;

use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

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
    let written = written.get();
    if !written.contains('\\') {
        return written.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) == Some(text);
    }
    serde_json::from_str::<String>(written).is_ok_and(|read| read == text)
}
