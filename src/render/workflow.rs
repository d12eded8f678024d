//! Workflow commands of GitHub Actions, by which a run annotates files. They are lines of its log that begin with `::`
//! (seen in the source of @actions/core and of the runner, which takes `##[` anywhere in a line too).

use std::borrow::Cow;
use std::io::{self, Write};

use crate::error::Error;

/// The command that makes an annotation of this error, with its hints.
pub(super) fn annotation(level: &str, error: &Error) -> String {
    let mut message = error.message().to_owned();
    for hint in error.hints() {
        message.push_str("\nhint: ");
        message.push_str(hint);
    }
    let place = error.place().map(|place| {
        let file = property(&place.file);
        format!(" file={file},line={},col={}", place.line, place.column)
    });
    format!("::{level}{}::{}", place.unwrap_or_default(), data(&message))
}

/// The command that makes an annotation of this text.
pub(super) fn plain_annotation(level: &str, text: &str) -> String {
    format!("::{level}::{}", data(text))
}

/// The text without commands, whatever it says.
pub(super) fn harmless(text: &str) -> Cow<'_, str> {
    if !text.contains("::") && !text.contains("##[") {
        return Cow::Borrowed(text);
    }
    // The runner ends a line at a carriage return, too.
    Cow::Owned(text.split_inclusive(['\n', '\r']).map(harmless_line).collect())
}

fn harmless_line(line: &str) -> String {
    let line = line.replace("##[", "## [");
    let start = line.len() - line.trim_start().len();
    if line[start..].starts_with("::") { format!("{}: :{}", &line[..start], &line[start + 2..]) } else { line }
}

/// A writer of results, in which no line is a command. It keeps a line until its end, or until it is flushed.
pub(super) struct CommandFree<W: Write> {
    out: W,
    line: Vec<u8>,
}

impl<W: Write> CommandFree<W> {
    /// Writes to this.
    pub(super) fn new(out: W) -> Self {
        Self { out, line: Vec::new() }
    }

    fn write_line(&mut self) -> io::Result<()> {
        let line = std::mem::take(&mut self.line);
        match harmless(&String::from_utf8_lossy(&line)) {
            // What need not change keeps bytes that are no text.
            Cow::Borrowed(_) => self.out.write_all(&line),
            Cow::Owned(text) => self.out.write_all(text.as_bytes()),
        }
    }
}

impl<W: Write> Drop for CommandFree<W> {
    fn drop(&mut self) {
        // After a failure, the beginning of a line may not have been flushed. Nobody is left to hear of another one.
        let _ = self.write_line();
    }
}

impl<W: Write> Write for CommandFree<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match bytes.iter().rposition(|byte| *byte == b'\n') {
            Some(end) => {
                self.line.extend_from_slice(&bytes[..=end]);
                self.write_line()?;
                self.line.extend_from_slice(&bytes[end + 1..]);
            }
            None => self.line.extend_from_slice(bytes),
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.write_line()?;
        self.out.flush()
    }
}

fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::TextPlace;

    #[test]
    fn annotations_are_escaped() {
        let place = TextPlace { file: "a,b:c.toml".to_owned(), line: 3, column: 5 };
        let error = Error::usage("100% wrong\n::error::x").hint("mend it").at(place);
        assert_eq!(
            annotation("error", &error),
            "::error file=a%2Cb%3Ac.toml,line=3,col=5::100%25 wrong%0A::error::x%0Ahint: mend it"
        );
        assert_eq!(annotation("error", &Error::usage("no")), "::error::no");
    }

    #[test]
    fn texts_of_others_are_no_commands() {
        for (text, shown) in [
            ("  ::set-output name=x::y", "  : :set-output name=x::y"),
            ("a ::b ##[error]c", "a ::b ## [error]c"),
            ("HOOK  APP", "HOOK  APP"),
            ("a\r::error::b\n\u{a0}::error::c\n", "a\r: :error::b\n\u{a0}: :error::c\n"),
        ] {
            assert_eq!(harmless(text), shown);
            // However it is cut into pieces.
            for at in (0..=text.len()).filter(|at| text.is_char_boundary(*at)) {
                let mut out = CommandFree::new(Vec::new());
                out.write_all(&text.as_bytes()[..at]).unwrap();
                out.write_all(&text.as_bytes()[at..]).unwrap();
                out.flush().unwrap();
                assert_eq!(String::from_utf8_lossy(&out.out), shown, "{at}");
            }
        }
        let mut out = CommandFree::new(Vec::new());
        out.write_all(b"\xff\x00\n").unwrap();
        assert_eq!(out.out, b"\xff\x00\n");
    }
}
