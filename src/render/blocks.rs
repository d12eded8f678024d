//! Results that are sentences, in blocks.

use super::records::Cell;
use super::style::{self, Styled};
use super::{Output, fit, sanitize};
use crate::error::Result;

/// A line, and lines that are indented below it.
#[derive(Debug, Clone)]
pub struct Block {
    /// The word in front, such as "ok".
    pub status: Cell,
    /// What it is about.
    pub name: String,
    /// What there is to say.
    pub detail: String,
    /// What there is to add.
    pub below: Vec<String>,
}

impl Output {
    /// Shows blocks, their first words in columns.
    ///
    /// # Errors
    /// When the output cannot be written.
    pub fn blocks(&self, blocks: &[Block]) -> Result<()> {
        let widest = |width: fn(&Block) -> usize| blocks.iter().map(width).max().unwrap_or_default();
        let statuses = widest(|block| fit::width_of(&block.status.text));
        let names = widest(|block| fit::width_of(&block.name));
        let indent = statuses + usize::from(fit::GAP);
        let mut lines = Vec::new();
        for Block { status, name, detail, below } in blocks {
            let gap = " ".repeat(indent.saturating_sub(fit::width_of(&status.text)));
            let styled = Styled { text: &status.text, style: style::of_tone(status.tone), color: self.color_out() };
            lines.push(format!("{styled}{gap}{name:names$}  {}\n", on_one_line(detail)));
            lines.extend(below.iter().map(|line| format!("{:indent$}{}\n", "", on_one_line(line))));
        }
        self.raw(&lines.concat())
    }
}

/// Safe for a terminal, on one line.
fn on_one_line(text: &str) -> String {
    sanitize(text).replace('\n', " ")
}
