//! Tables in GitHub-flavoured Markdown, in which a cell is text and nothing else: it breaks no table, links nothing and
//! mentions nobody.

use std::io::{self, Write};

use super::sanitize;

/// Writes a line of a table.
pub(super) fn write_row<T: AsRef<str>>(out: &mut dyn Write, cells: impl IntoIterator<Item = T>) -> io::Result<()> {
    for cell in cells {
        write!(out, "| {} ", cell_text(cell.as_ref()))?;
    }
    writeln!(out, "|")
}

/// Writes the line below the head.
pub(super) fn write_rule(out: &mut dyn Write, columns: usize) -> io::Result<()> {
    writeln!(out, "{}|", "|---".repeat(columns))
}

/// A text as it stands in a cell: plain if nothing in it could mean anything, else as code. In code GitHub finds neither
/// mentions nor issues, commits or addresses; a backslash would not keep it from that.
pub fn cell_text(text: &str) -> String {
    let text = sanitize(text).replace(['\n', '\r', '\t'], " ");
    let text = text.trim();
    let is_plain = |c: char| c.is_alphabetic() || matches!(c, ' ' | ';' | '→' | '…');
    let words = text.split(' ').all(|word| word.len() < 40);
    let number = !text.is_empty() && text.len() < 7 && text.bytes().all(|byte| byte.is_ascii_digit());
    if number || text == "-" || (words && text.chars().all(is_plain)) {
        return text.to_owned();
    }
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest + 1);
    // A space on both sides belongs to the fence.
    let pad = if text.starts_with('`') || text.ends_with('`') { " " } else { "" };
    // Tables are cut at bars before code is looked at.
    format!("{fence}{pad}{}{pad}{fence}", text.replace('|', r"\|"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_mean_something_is_code() {
        for (text, shown) in [
            ("create", "create"),
            ("1001", "1001"),
            ("-", "-"),
            ("", ""),
            ("new_crash", "`new_crash`"),
            ("@octocat", "`@octocat`"),
            ("#12 GH-3", "`#12 GH-3`"),
            ("a|b", r"`a\|b`"),
            ("`a``b", "``` `a``b ```"),
            ("<img src=x>\n[x](y)", "`<img src=x> [x](y)`"),
            ("1234567", "`1234567`"),
            ("\u{1b}[31mred", r"`\u{1b}[31mred`"),
        ] {
            assert_eq!(cell_text(text), shown, "{text}");
        }
    }
}
