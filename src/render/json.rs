//! JSON that is safe to look at: what could act on a terminal is written as a `\u` escape, which loses nothing.

use std::io::{self, Write};

use serde::Serialize;

use crate::domain::event::on_one_line;
use crate::domain::is_unsafe_char;
use crate::error::Result;

/// Writes a value on one line, without a line break at the end.
pub(super) fn write_compact(out: &mut dyn Write, value: &impl Serialize) -> io::Result<()> {
    write_safe(out, &serde_json::to_vec(value)?)
}

/// Writes a value with indentation, without a line break at the end.
pub(super) fn write_pretty(out: &mut dyn Write, value: &impl Serialize) -> io::Result<()> {
    write_safe(out, &serde_json::to_vec_pretty(value)?)
}

/// A function that hands every record to the one it is given.
type Each<'a, T> = &'a mut dyn FnMut(&T) -> Result<()>;

/// Writes the records of `source` as an array, each on a line of its own, without a line break at the end.
pub(super) fn write_list<T: Serialize>(
    out: &mut dyn Write,
    source: impl FnOnce(Each<'_, T>) -> Result<()>,
) -> Result<()> {
    let mut gathered = Gathered::new();
    let mut before: &[u8] = b"[\n  ";
    let ended = source(&mut |row| {
        gathered.0.extend_from_slice(before);
        before = b",\n  ";
        serde_json::to_writer(&mut gathered, row).map_err(io::Error::from)?;
        Ok(gathered.flush_if_full(out)?)
    });
    if ended.is_ok() {
        let empty = before.starts_with(b"[");
        gathered.0.extend_from_slice(if empty { b"[]" } else { b"\n]" });
    }
    gathered.end(out, ended)
}

/// Writes the records of `source`, each on a line.
pub(super) fn write_lines<T: Serialize>(
    out: &mut dyn Write,
    source: impl FnOnce(Each<'_, T>) -> Result<()>,
) -> Result<()> {
    let mut gathered = Gathered::new();
    let ended = source(&mut |row| {
        serde_json::to_writer(&mut gathered, row).map_err(io::Error::from)?;
        gathered.0.push(b'\n');
        Ok(gathered.flush_if_full(out)?)
    });
    gathered.end(out, ended)
}

/// How many bytes are gathered before they are written: the serializer writes a few at a time.
pub(super) const GATHERED: usize = 32 * 1024;

/// What is to be written. The serializer hands it over in pieces, every other one of them a single byte.
struct Gathered(Vec<u8>);

impl Gathered {
    fn new() -> Self {
        Self(Vec::with_capacity(GATHERED))
    }

    fn flush_if_full(&mut self, out: &mut dyn Write) -> io::Result<()> {
        if self.0.len() >= GATHERED {
            write_safe(out, &self.0)?;
            self.0.clear();
        }
        Ok(())
    }

    /// Writes what is left, however it ended: what came before an error is good.
    fn end(self, out: &mut dyn Write, ended: Result<()>) -> Result<()> {
        let written = write_safe(out, &self.0);
        ended?;
        Ok(written?)
    }
}

impl Write for Gathered {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        self.write_all(piece).map(|()| piece.len())
    }

    // A long list is mostly calls of this, most of them with a piece that is known where it is called.
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

/// JSON for people: each value on a line of its own, otherwise as it was written, digits and escapes included.
pub fn indented(json: &str) -> String {
    let (mut out, mut depth, mut in_text, mut escaped) = (String::new(), 0_usize, false, false);
    let compact = on_one_line(json);
    let mut rest = compact.chars().peekable();
    while let Some(c) = rest.next() {
        let was_in_text = in_text;
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = in_text,
            '"' => in_text = !in_text,
            _ => {}
        }
        if was_in_text || c == '"' {
            out.push(c);
            continue;
        }
        let line = |out: &mut String, depth: usize| out.extend(["\n", &"  ".repeat(depth)]);
        match c {
            '{' | '[' => {
                out.push(c);
                if let Some(end) = rest.next_if(|next| matches!(next, '}' | ']')) {
                    out.push(end);
                } else {
                    depth += 1;
                    line(&mut out, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                line(&mut out, depth);
                out.push(c);
            }
            ',' => {
                out.push(c);
                line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            _ => out.push(c),
        }
    }
    escape(&out)
}

/// JSON with what could act on a terminal written as escapes; its line breaks stay.
fn escape(json: &str) -> String {
    let mut safe = Vec::with_capacity(json.len());
    // Writing to memory cannot fail.
    let _ = write_safe(&mut safe, json.as_bytes());
    String::from_utf8(safe).unwrap_or_default()
}

/// Writes JSON, by whomever it was made, with what could act on a terminal as escapes.
///
/// JSON has no controls below the space, but for the line breaks between values; DEL and what is beyond ASCII stand in
/// texts alone, where an escape means the same.
fn write_safe(out: &mut dyn Write, json: &[u8]) -> io::Result<()> {
    // Not `memchr`: it asks the processor first what it can do, and most commands write little.
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
    use proptest::prelude::*;

    #[test]
    fn indentation_is_all_that_is_added() {
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
