//! The label of a hook.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use super::text::is_unsafe_char;
use crate::error::Error;

/// A label: one line of text to find hooks by. It is never sent to Bugfender.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Label(String);

impl Label {
    /// The maximum length of a label, in characters.
    pub const MAX_CHARS: usize = 200;

    /// A label from the registry, which was validated when it was stored.
    pub fn from_stored(text: String) -> Self {
        Self(text)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Label {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let text = text.trim();
        if text.is_empty() || text.chars().count() > Self::MAX_CHARS || text.chars().any(is_unsafe_char) {
            let limit = Self::MAX_CHARS;
            return Err(Error::usage(format!("a label must be one line of 1 to {limit} printable characters")));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
