//! Colours, in one place.

use std::fmt;

use anstyle::{AnsiColor, Style};

/// For `error:`.
pub(super) const ERROR: Style = AnsiColor::Red.on_default().bold();
/// For `warning:`.
pub(super) const WARNING: Style = AnsiColor::Yellow.on_default().bold();
/// For `hint:` and other side remarks.
pub(super) const HINT: Style = AnsiColor::Cyan.on_default();

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
