//! Filters of templates: text for chat services, cut to their limits and escaped by their rules.
//!
//! Text is cut before it is escaped, so that no escape is cut in two, and lengths are those after escaping, in UTF-16 units,
//! which is never less than what a service counts. A value that is missing stays missing.

use minijinja::value::{Kwargs, StringInput, Value};
use minijinja::{Error, ErrorKind, State};
use url::{Host, Url};

/// Adds them all.
pub(super) fn add_to(environment: &mut minijinja::Environment<'_>) {
    environment.add_filter("short", |value: Value, max: usize| over(&value, |text| short(text, max)));
    environment.add_filter("plain", |value: Value, max: Option<usize>| over(&value, |text| plain(text, max)));
    environment.add_filter("slack", |value: Value, max: Option<usize>| over(&value, |text| slack(text, max)));
    environment.add_filter("discord", |value: Value, max: Option<usize>| over(&value, |text| discord(text, max)));
    environment.add_filter("teams", |value: Value, max: Option<usize>| over(&value, |text| teams(text, max)));
    // Those of the library build as much as an event asks for, and fuel does not count it.
    environment.add_filter("replace", replace);
    environment.add_filter("join", join);
    environment.add_filter("indent", indent);
    environment.add_filter("link", |value: Value, max: Option<usize>| {
        let link = value.as_str().and_then(|text| link(text, max.unwrap_or(MAX_LINK)));
        link.map_or(Value::from(()), Value::from)
    });
}

/// The longest link that all services accept: Discord's limit, and less than Slack's 3000.
const MAX_LINK: usize = 2048;

/// The longest text that a filter builds, in bytes.
const MAX_TEXT: usize = 16 * 1024 * 1024;

/// Checks how long a text will be before it is built.
fn check_length(length: Option<usize>) -> Result<(), Error> {
    match length {
        Some(length) if length <= MAX_TEXT => Ok(()),
        _ => Err(Error::new(ErrorKind::InvalidOperation, "the text is longer than 16 MiB")),
    }
}

fn text_of(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn replace(value: &Value, from: &Value, to: &Value) -> Result<Value, Error> {
    let (text, from, to) = (text_of(value), text_of(from), text_of(to));
    let found = text.matches(&from).count();
    check_length(found.checked_mul(to.len()).and_then(|added| added.checked_add(text.len())))?;
    Ok(text.replace(&from, &to).into())
}

fn join(
    state: &mut State,
    value: &Value,
    joiner: Option<StringInput<'_>>,
    attribute: Option<&str>,
    kwargs: Kwargs,
) -> Result<Value, Error> {
    let joiner_length = joiner.as_ref().map_or(0, |joiner| joiner.as_str().len());
    check_length(value.len().unwrap_or(0).checked_mul(joiner_length))?;
    minijinja::filters::join(state, value, joiner, attribute, kwargs)
}

fn indent(
    value: StringInput<'_>,
    width: Option<usize>,
    first_line: Option<bool>,
    blank_lines: Option<bool>,
    kwargs: Kwargs,
) -> Result<Value, Error> {
    let width_asked = width.map_or_else(|| kwargs.peek("width"), Ok).unwrap_or(4);
    check_length(value.as_str().lines().count().checked_mul(width_asked))?;
    minijinja::filters::indent(value, width, first_line, blank_lines, kwargs)
}

/// Applies a filter to a text, or to what a number and the like look like.
fn over(value: &Value, filter: impl FnOnce(&str) -> String) -> Value {
    if value.is_undefined() || value.is_none() {
        return Value::from(());
    }
    Value::from(match value.as_str() {
        Some(text) => filter(text),
        None => filter(&value.to_string()),
    })
}

/// At most `max` characters.
fn short(text: &str, max: usize) -> String {
    match text.char_indices().nth(max) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Text for a field that is not marked up.
fn plain(text: &str, max: Option<usize>) -> String {
    cut(text.chars().map(Piece::Char), max)
}

/// Text for Slack, with links and mentions escaped.
/// <https://docs.slack.dev/messaging/formatting-message-text#escaping>
fn slack(text: &str, max: Option<usize>) -> String {
    let pieces = text.chars().map(|c| match c {
        '&' => Piece::Text("&amp;"),
        '<' => Piece::Text("&lt;"),
        '>' => Piece::Text("&gt;"),
        c => Piece::Char(c),
    });
    cut(pieces, max)
}

/// Text for Discord, with its Markdown escaped.
fn discord(text: &str, max: Option<usize>) -> String {
    cut(plain_markdown(text, "\n"), max)
}

/// Text for a card in Teams, with its Markdown escaped. A line break takes two there.
fn teams(text: &str, max: Option<usize>) -> String {
    cut(plain_markdown(text, "\n\n"), max)
}

/// A URL if a chat service would accept it as a link: with a host that has a dot, and not too long. Others would cost the
/// whole message.
fn link(text: &str, max: usize) -> Option<String> {
    let text = Some(text.trim()).filter(|text| !text.contains(char::is_control))?;
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"))?;
    let is_public = match url.host()? {
        Host::Domain(name) => name.trim_end_matches('.').contains('.'),
        Host::Ipv4(_) => true,
        Host::Ipv6(_) => false,
    };
    (is_public && url.as_str().len() <= max).then(|| url.into())
}

/// A piece of escaped text, which is never cut in two.
enum Piece {
    Char(char),
    Escaped(char),
    Text(&'static str),
}

impl Piece {
    /// The length in UTF-16 units.
    fn len(&self) -> usize {
        match self {
            Self::Char(c) => c.len_utf16(),
            Self::Escaped(c) => 1 + c.len_utf16(),
            Self::Text(text) => text.len(),
        }
    }

    fn push_to(&self, out: &mut String) {
        match self {
            Self::Char(c) => out.push(*c),
            Self::Escaped(c) => out.extend(['\\', *c]),
            Self::Text(text) => out.push_str(text),
        }
    }
}

/// The pieces that fit, and an ellipsis if not all do.
fn cut(pieces: impl Iterator<Item = Piece>, max: Option<usize>) -> String {
    let Some(max) = max else {
        return pieces.fold(String::new(), |mut out, piece| {
            piece.push_to(&mut out);
            out
        });
    };
    let (mut out, mut length, mut end) = (String::new(), 0, 0);
    for piece in pieces {
        if length + piece.len() > max {
            out.truncate(end);
            out.push('…');
            return out;
        }
        length += piece.len();
        piece.push_to(&mut out);
        if length < max {
            end = out.len();
        }
    }
    out
}

/// The characters that mean something in Markdown wherever they stand.
const MARKUP: &str = r"*_~`|>[]()#\<@";

/// Markdown that shows the text as it is. URLs in it stay whole, as escapes would become part of them.
fn plain_markdown<'a>(text: &'a str, line_break: &'static str) -> impl Iterator<Item = Piece> + 'a {
    let (mut rest, mut url_left, mut at_start) = (text, 0_usize, true);
    std::iter::from_fn(move || {
        let c = rest.chars().next()?;
        if url_left == 0 {
            url_left = url_length(rest);
        }
        let piece = match c {
            '\r' if rest[1..].starts_with('\n') => Piece::Text(""),
            '\n' | '\r' => Piece::Text(line_break),
            c if url_left > 0 => Piece::Char(c),
            c if MARKUP.contains(c) => Piece::Escaped(c),
            // The mark of a list.
            '-' | '+' if at_start => Piece::Escaped(c),
            '.' if is_number_of_list(text, rest) => Piece::Escaped(c),
            c => Piece::Char(c),
        };
        url_left = url_left.saturating_sub(c.len_utf8());
        at_start = matches!(c, '\n' | '\r') || at_start && c == ' ';
        rest = &rest[c.len_utf8()..];
        Some(piece)
    })
}

/// Whether the line up to here is a number: with a dot it would be an item of a list.
fn is_number_of_list(text: &str, rest: &str) -> bool {
    let before = &text[..text.len() - rest.len()];
    let line = before.rsplit(['\n', '\r']).next().unwrap_or_default().trim_start();
    (1..=9).contains(&line.len()) && line.bytes().all(|byte| byte.is_ascii_digit())
}

/// The length in bytes of the URL that the text begins with, or 0.
fn url_length(text: &str) -> usize {
    if !text.starts_with("http://") && !text.starts_with("https://") {
        return 0;
    }
    text.find(|c: char| c.is_whitespace() || c.is_control() || r#"<>"`|\[]()"#.contains(c)).unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn text_shows_as_it_is() {
        assert_eq!(slack("a<b> & c", None), "a&lt;b&gt; &amp; c");
        assert_eq!(discord("*a* `b`\n- c\n 12. d 1.5", None), "\\*a\\* \\`b\\`\n\\- c\n 12\\. d 1.5");
        assert_eq!(teams("a\r\nb\rc", None), "a\n\nb\n\nc");
        assert_eq!(
            discord("see https://x.example/a_b?c=*d*, [e](f_g)", None),
            "see https://x.example/a_b?c=*d*, \\[e\\]\\(f\\_g\\)"
        );
        assert_eq!(
            discord("_https://x.example/_a (http://y.example/b_c)", None),
            "\\_https://x.example/_a \\(http://y.example/b_c\\)"
        );
    }

    #[test]
    fn what_is_cut_is_cut_between_escapes() {
        assert_eq!(slack("a<<<", Some(9)), "a&lt;…");
        assert_eq!(slack("a<<", Some(9)), "a&lt;&lt;");
        assert_eq!(discord("****", Some(6)), "\\*\\*…");
        assert_eq!(discord("ab", Some(2)), "ab");
        assert_eq!(discord("abc", Some(2)), "a…");
        assert_eq!(discord("😀😀😀", Some(5)), "😀😀…");
    }

    proptest! {
        #[test]
        fn limits_hold_after_escaping(text in any::<String>(), max in 1..50_usize) {
            for cut in [slack(&text, Some(max)), discord(&text, Some(max)), teams(&text, Some(max))] {
                prop_assert!(cut.encode_utf16().count() <= max, "{cut:?}");
            }
        }
    }

    #[test]
    fn a_link_that_a_service_refuses_is_none() {
        for (text, shown) in [
            ("https://d.example.com/1?a=b&c", "https://d.example.com/1?a=b&c"),
            (" https://d.example.com/a b ", "https://d.example.com/a%20b"),
            ("https://bücher.example/ü", "https://xn--bcher-kva.example/%C3%BC"),
            ("http://192.0.2.1:8080/", "http://192.0.2.1:8080/"),
        ] {
            assert_eq!(link(text, MAX_LINK).as_deref(), Some(shown));
        }
        let long = format!("https://d.example.com/{}", "x".repeat(MAX_LINK));
        for text in [
            "http://bugfender:8080/1",
            "https://localhost/1",
            "https://",
            "javascript:1",
            "ftp://d.example.com/",
            "http://[::1]/",
            "https://d.example.com/\n1",
            &long,
            "",
        ] {
            assert_eq!(link(text, MAX_LINK), None, "{text}");
        }
    }
}
