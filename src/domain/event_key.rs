//! The senders of events, and the key that identifies duplicates.

use std::fmt;

use ring::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// The sender of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sender {
    /// Bugfender: an array of events per delivery.
    Bugfender = 0,
    /// Instabug, now Luciq: one report per delivery.
    Instabug = 1,
}

impl Sender {
    /// All senders.
    pub const ALL: [Self; 2] = [Self::Bugfender, Self::Instabug];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bugfender => "bugfender",
            Self::Instabug => "instabug",
        }
    }
}

impl fmt::Display for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The key that identifies duplicates of an event: a hash of its sender and its id.
///
/// Other fields may differ between duplicates and are not included. The number 7 and the string "7" are different ids.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventKey([u8; 16]);

impl EventKey {
    /// The key of an event of `sender` with the id `text`, which may be a number.
    pub(super) fn of(sender: Sender, is_number: bool, text: &[u8]) -> Self {
        let mut context = Context::new(&SHA256);
        // Stored keys depend on these bytes, so they must not change.
        context.update(&[sender as u8, u8::from(is_number)]);
        context.update(text);
        let mut key = [0; 16];
        key.copy_from_slice(&context.finish().as_ref()[..16]);
        Self(key)
    }

    /// The keys that an id given by a user may have: as a string, and as a number if it is one.
    pub fn candidates(sender: Sender, id: &str) -> impl Iterator<Item = Self> {
        let number = is_number(id).then(|| Self::of(sender, true, id.as_bytes()));
        [Self::of(sender, false, id.as_bytes())].into_iter().chain(number)
    }

    /// The `webhook-id` of the event when it is forwarded, the same for every target and attempt.
    pub fn message_id(&self) -> String {
        format!("evt_{}", hex::encode(self.0))
    }

    /// The key as it is stored.
    pub fn bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// The key from its stored bytes.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

impl EventKey {
    /// The key that an event is known by to targets if this one is that of an earlier event, which `previous` numbers, too.
    #[must_use]
    pub fn after(self, previous: i64) -> Self {
        let mut context = Context::new(&SHA256);
        context.update(&self.0);
        context.update(&previous.to_le_bytes());
        let mut key = [0; 16];
        key.copy_from_slice(&context.finish().as_ref()[..16]);
        Self(key)
    }
}

/// A hash of an app's id and key, to tell it from other apps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AppHash(pub i64);

impl AppHash {
    /// The hash of what is known of an app.
    pub(super) fn of(id: Option<&str>, key: Option<&str>) -> Self {
        let mut context = Context::new(&SHA256);
        // What is stored depends on these bytes, so they must not change.
        for part in [id, key] {
            context.update(&part.map_or(u64::MAX, |part| part.len() as u64).to_le_bytes());
            context.update(part.unwrap_or_default().as_bytes());
        }
        let mut hash = [0; 8];
        hash.copy_from_slice(&context.finish().as_ref()[..8]);
        Self(i64::from_le_bytes(hash))
    }
}

impl fmt::Debug for EventKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// Whether a text is a JSON number.
fn is_number(text: &str) -> bool {
    text.starts_with(|c: char| c == '-' || c.is_ascii_digit())
        && serde_json::from_str::<&RawValue>(text).is_ok_and(|raw| raw.get() == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_keys_do_not_change() {
        let key = |sender, is_number| EventKey::of(sender, is_number, b"7").message_id();
        assert_eq!(key(Sender::Bugfender, false), "evt_9e491d81337cc8f636636916904e1c7b");
        assert_eq!(key(Sender::Instabug, true), "evt_01e097b2854acddc96c54b5bbacbee7d");
    }
}
