//! JSON that is safe for a terminal: unsafe characters are written as `\u` escapes, which lose nothing.

use std::io::{self, Write};

use serde::Serialize;

use crate::domain::{is_unsafe_char, pretty_json};
use crate::error::Result;

/// Writes a value on one line, without a line break at the end.
pub(super) fn write_compact(out: &mut dyn Write, value: &impl Serialize) -> io::Result<()> {
    write_safe(out, &serde_json::to_vec(value)?)
}

/// Writes a value with indentation, without a line break at the end.
pub(super) fn write_pretty(out: &mut dyn Write, value: &impl Serialize) -> io::Result<()> {
    write_safe(out, &serde_json::to_vec_pretty(value)?)
}

/// The function that a source calls with each record.
type Each<'a, T> = &'a mut dyn FnMut(&T) -> Result<()>;

/// Writes the records of `source` as an array, one per line, without a line break at the end.
pub(super) fn write_list<T: Serialize>(
    out: &mut dyn Write,
    source: impl FnOnce(Each<'_, T>) -> Result<()>,
) -> Result<()> {
    let mut buffer = Buffer::new();
    let mut before: &[u8] = b"[\n  ";
    let result = source(&mut |row| {
        buffer.0.extend_from_slice(before);
        before = b",\n  ";
        serde_json::to_writer(&mut buffer, row).map_err(io::Error::from)?;
        Ok(buffer.flush_if_full(out)?)
    });
    if result.is_ok() {
        let empty = before.starts_with(b"[");
        buffer.0.extend_from_slice(if empty { b"[]" } else { b"\n]" });
    }
    buffer.end(out, result)
}

/// Writes the records of `source`, one per line.
pub(super) fn write_lines<T: Serialize>(
    out: &mut dyn Write,
    source: impl FnOnce(Each<'_, T>) -> Result<()>,
) -> Result<()> {
    let mut buffer = Buffer::new();
    let result = source(&mut |row| {
        serde_json::to_writer(&mut buffer, row).map_err(io::Error::from)?;
        buffer.0.push(b'\n');
        Ok(buffer.flush_if_full(out)?)
    });
    buffer.end(out, result)
}

/// The size of the output buffer in bytes. The serializer writes a few bytes at a time.
pub(super) const BUFFER_SIZE: usize = 32 * 1024;

/// A buffer for the pieces that the serializer writes, many of which are a single byte.
struct Buffer(Vec<u8>);

impl Buffer {
    fn new() -> Self {
        Self(Vec::with_capacity(BUFFER_SIZE))
    }

    fn flush_if_full(&mut self, out: &mut dyn Write) -> io::Result<()> {
        if self.0.len() >= BUFFER_SIZE {
            write_safe(out, &self.0)?;
            self.0.clear();
        }
        Ok(())
    }

    /// Writes the rest of the buffer, even after an error, as the records before it are valid.
    fn end(self, out: &mut dyn Write, result: Result<()>) -> Result<()> {
        let written = write_safe(out, &self.0);
        result?;
        Ok(written?)
    }
}

impl Write for Buffer {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        self.write_all(piece).map(|()| piece.len())
    }

    // This dominates the time for long lists, and most pieces are constants in the caller.
    #[allow(clippy::inline_always)]
    #[inline(always)]
    fn write_all(&mut self, piece: &[u8]) -> io::Result<()> {
        match piece {
            [byte] => self.0.push(*byte),
            piece => self.0.extend_from_slice(piece),
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// JSON indented with one value per line; digits and escapes are unchanged.
pub fn indented(json: &str) -> String {
    escape(&pretty_json(json, usize::MAX))
}

/// JSON with unsafe characters escaped, except for line breaks.
fn escape(json: &str) -> String {
    let mut safe = Vec::with_capacity(json.len());
    // Writing to memory cannot fail.
    let _ = write_safe(&mut safe, json.as_bytes());
    String::from_utf8(safe).unwrap_or_default()
}

/// Writes JSON with unsafe characters escaped.
///
/// Valid JSON contains no control characters below the space except line breaks between values. DEL and non-ASCII
/// characters occur only in strings, where an escape is equivalent.
fn write_safe(out: &mut dyn Write, json: &[u8]) -> io::Result<()> {
    // Not `memchr`, whose CPU detection costs more than the search in the short output of most commands.
    if json.is_ascii() && !json.contains(&DEL) {
        return out.write_all(json);
    }
    let mut rest = str::from_utf8(json).map_err(io::Error::other)?;
    while let Some((at, c)) = rest.char_indices().find(|(_, c)| *c > '~' && is_unsafe_char(*c)) {
        out.write_all(&rest.as_bytes()[..at])?;
        let mut units = [0; 2];
        for unit in c.encode_utf16(&mut units) {
            write!(out, "\\u{unit:04x}")?;
        }
        rest = &rest[at + c.len_utf8()..];
    }
    out.write_all(rest.as_bytes())
}

const DEL: u8 = 0x7f;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event::on_one_line;
    use proptest::prelude::*;

    #[test]
    fn indenting_adds_only_white_space() {
        let json = r#"{"a":[1e999,{"b":{}},[]],"c: [,\"\\":"\u0041\\"}"#;
        let shown = indented(json);
        assert_eq!(on_one_line(&shown), json);
        let start = "{\n  \"a\": [\n    1e999,\n    {\n      \"b\": {}\n    },\n    []\n  ],\n  \"c: [";
        assert!(shown.starts_with(start), "{shown}");
        assert_eq!(indented("{\"a\":\"\u{202e}\"}"), "{\n  \"a\": \"\\u202e\"\n}");
    }

    proptest! {
        #[test]
        fn json_is_lossless_and_harmless(text in any::<String>()) {
            let mut written = Vec::new();
            write_compact(&mut written, &text).unwrap();
            let written = String::from_utf8(written).unwrap();
            prop_assert!(!written.chars().any(is_unsafe_char), "{written:?}");
            prop_assert_eq!(serde_json::from_str::<String>(&written).unwrap(), text);
        }
    }
}
