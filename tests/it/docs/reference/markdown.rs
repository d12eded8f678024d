//! Markdown of what was written for a terminal.

/// A table with these heads.
pub fn table(heads: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let heads: Vec<String> = heads.iter().map(|&head| head.to_owned()).collect();
    let rule = "|---".repeat(heads.len());
    let rows: String = rows.map(|cells| line(&cells)).collect();
    format!("{}{rule}|\n{rows}", line(&heads))
}

/// Prose that means what it says: nothing in it is markup but code between backticks.
pub fn prose(text: &str) -> String {
    let mut shown = String::new();
    let mut in_code = false;
    for c in text.chars() {
        in_code ^= c == '`';
        if !in_code && matches!(c, '<' | '>' | '*' | '_' | '[' | ']' | '\\') {
            shown.push('\\');
        }
        shown.push(c);
    }
    shown
}

/// Prose of any number of paragraphs in a cell of a table.
pub fn cell(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(str::trim).filter(|line| !line.is_empty()).map(prose).collect();
    lines.join("<br>").replace('|', "\\|")
}

/// Code in a cell of a table.
pub fn code_cell(text: &str) -> String {
    format!("`{}`", text.replace('|', "\\|"))
}
