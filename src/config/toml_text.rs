//! Places in a TOML file, for errors that name the line and repeat no value.

use std::ops::Range;
use std::path::Path;

use toml_edit::TableLike;

use crate::error::Error;

/// A TOML file and its text.
pub struct TomlText<'a> {
    /// The text.
    pub text: &'a str,
    /// The file.
    pub path: &'a Path,
}

impl TomlText<'_> {
    /// The directory of the file, from which relative paths in it are resolved.
    pub fn dir(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("."))
    }

    /// A usage error at a position in the text. The text is not repeated, as it may contain a secret.
    pub fn error(&self, span: Option<Range<usize>>, message: &str) -> Error {
        let line = span.map(|span| self.text.bytes().take(span.start).filter(|byte| *byte == b'\n').count() + 1);
        let line = line.map_or_else(String::new, |line| format!(", line {line}"));
        let message = message.lines().next().unwrap_or_default();
        Error::usage(format!("{}{line}: {message}", self.path.display()))
    }
}

/// Where a key of a table is, or else its value.
pub fn span_of(table: &dyn TableLike, name: &str) -> Option<Range<usize>> {
    table.get_key_value(name).and_then(|(key, item)| key.span().or_else(|| item.span()))
}

/// A key for an error message; one that does not look like a name may be a misplaced secret and is replaced.
pub fn shown_key(name: &str) -> &str {
    let plain = name.len() <= 40 && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
    if plain { name } else { "…" }
}

/// The key among these that was probably meant.
pub fn nearest_key<'a>(key: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let likeness = known.into_iter().map(|known| (strsim::jaro_winkler(known, key), known));
    let nearest = likeness.max_by(|one, other| one.0.total_cmp(&other.0));
    nearest.filter(|(likeness, _)| *likeness > 0.7).map(|(_, nearest)| nearest)
}
