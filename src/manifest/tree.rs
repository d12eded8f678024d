//! What a manifest says, whatever its format: values with their places.

use std::borrow::Cow;
use std::collections::HashSet;

use crate::config::toml_text::shown_key;

/// How deep values may be nested; a manifest needs four levels.
pub(super) const MAX_DEPTH: usize = 32;

/// What errors call a number that is not whole.
pub(super) const DECIMAL: &str = "a decimal number";

/// What errors call a number that is out of range.
pub(super) const LARGE: &str = "a number that is too large";

/// A line and a column in characters, both from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Position {
    pub(super) line: u32,
    pub(super) column: u32,
}

impl Position {
    pub(super) const START: Self = Self { line: 1, column: 1 };
}

/// A value.
#[derive(Debug)]
pub(super) struct TreeNode<'a> {
    pub(super) position: Position,
    pub(super) value: TreeValue<'a>,
}

#[derive(Debug)]
pub(super) enum TreeValue<'a> {
    Text(Cow<'a, str>),
    Integer(i64),
    List(Vec<TreeNode<'a>>),
    /// The keys in the order of the file, each once.
    Table(Vec<TreeEntry<'a>>),
    /// A value that no key of a manifest takes, as errors call it.
    Other(&'static str),
}

impl TreeValue<'_> {
    /// What it is, for errors.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "a string",
            Self::Integer(_) => "a number",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
            Self::Other(kind) => kind,
        }
    }
}

/// A key and its value.
#[derive(Debug)]
pub(super) struct TreeEntry<'a> {
    pub(super) key: Cow<'a, str>,
    pub(super) position: Position,
    pub(super) node: TreeNode<'a>,
}

/// Why a text is not of its format. The message repeats no value.
#[derive(Debug)]
pub(super) struct SyntaxError {
    pub(super) position: Position,
    pub(super) message: String,
    pub(super) hint: Option<&'static str>,
}

impl SyntaxError {
    pub(super) fn new(position: Position, message: impl Into<String>) -> Self {
        Self { position, message: message.into(), hint: None }
    }
}

/// Refuses a table that has a key twice.
pub(super) fn check_keys(entries: &[TreeEntry]) -> Result<(), SyntaxError> {
    let mut seen = HashSet::new();
    match entries.iter().find(|entry| !seen.insert(&*entry.key)) {
        None => Ok(()),
        Some(entry) => {
            let message = format!("the key `{}` is there twice in one table", shown_key(&entry.key));
            Err(SyntaxError::new(entry.position, message))
        }
    }
}

/// Turns offsets in a text into positions: quickly if they are asked for in their order.
pub(super) struct Positions<'a> {
    text: &'a [u8],
    at: usize,
    position: Position,
}

impl<'a> Positions<'a> {
    pub(super) fn of(text: &'a str) -> Self {
        Self { text: text.as_bytes(), at: 0, position: Position::START }
    }

    /// The position of the character at this offset in bytes.
    pub(super) fn at(&mut self, offset: usize) -> Position {
        let offset = offset.min(self.text.len());
        if offset < self.at {
            let line_start = memchr::memrchr(b'\n', &self.text[..offset]).map_or(0, |end| end + 1);
            self.position.line -= newlines(&self.text[line_start..self.at]);
            self.position.column = 1;
            self.at = line_start;
        }
        let passed = &self.text[self.at..offset];
        let new_lines = newlines(passed);
        if new_lines > 0 {
            self.position.line += new_lines;
            self.position.column = 1;
        }
        let in_line = memchr::memrchr(b'\n', passed).map_or(passed, |end| &passed[end + 1..]);
        self.position.column += count(in_line.iter().filter(|byte| **byte & 0xC0 != 0x80).count());
        self.at = offset;
        self.position
    }
}

fn newlines(text: &[u8]) -> u32 {
    count(memchr::memchr_iter(b'\n', text).count())
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_lines_and_characters_in_any_order() {
        let text = "aé\r\nb\n\nç d";
        let slow = |offset: usize| {
            let before = &text[..offset];
            let line_start = before.rfind('\n').map_or(0, |end| end + 1);
            let (line, column) = (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1);
            Position { line: count(line), column: count(column) }
        };
        let offsets: Vec<usize> = (0..=text.len()).filter(|offset| text.is_char_boundary(*offset)).collect();
        for first in &offsets {
            for second in &offsets {
                let mut positions = Positions::of(text);
                assert_eq!((positions.at(*first), positions.at(*second)), (slow(*first), slow(*second)));
            }
        }
    }
}
