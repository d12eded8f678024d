//! The colours of the output.

use std::fmt;

use anstyle::{AnsiColor, Style};

use super::records::Tone;

/// For `error:`.
pub(super) const ERROR: Style = AnsiColor::Red.on_default().bold();
/// For `warning:`.
pub(super) const WARNING: Style = AnsiColor::Yellow.on_default().bold();
/// For `hint:`.
pub(super) const HINT: Style = AnsiColor::Cyan.on_default();

/// For a tone.
pub(super) const fn of_tone(tone: Tone) -> Style {
    match tone {
        Tone::Plain => Style::new(),
        Tone::Good => AnsiColor::Green.on_default(),
        Tone::Caution => AnsiColor::Yellow.on_default(),
        Tone::Bad => AnsiColor::Red.on_default(),
        Tone::Faint => AnsiColor::BrightBlack.on_default(),
    }
}

/// Text in a style, or plain.
pub(super) struct Styled<'a> {
    pub(super) text: &'a str,
    pub(super) style: Style,
    pub(super) color: bool,
}

impl fmt::Display for Styled<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { text, style, color } = self;
        if *color { write!(f, "{style}{text}{style:#}") } else { f.write_str(text) }
    }
}
