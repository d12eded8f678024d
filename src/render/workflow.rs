//! Workflow commands of GitHub Actions, by which a run annotates files. They are lines of its log that begin with `::`
//! (seen in the source of @actions/core and of the runner, which takes `##[` anywhere in a line too).

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

/// A line that is no command, whatever it says.
pub(super) fn harmless(line: &str) -> String {
    let line = line.replace("##[", "## [");
    let start = line.len() - line.trim_start().len();
    if line[start..].starts_with("::") { format!("{}: :{}", &line[..start], &line[start + 2..]) } else { line }
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
        assert_eq!(harmless("  ::set-output name=x::y"), "  : :set-output name=x::y");
        assert_eq!(harmless("a ::b ##[error]c"), "a ::b ## [error]c");
        assert_eq!(harmless("HOOK  APP"), "HOOK  APP");
    }
}
