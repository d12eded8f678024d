//! The texts of events are Markdown that strangers wrote: what is rendered holds no markup of theirs, loads nothing and
//! leads nowhere but to the web.

use minijinja::value::Value;
use pulldown_cmark::{CowStr, Event, Options, Parser, Tag, TagEnd, html};
use url::Url;

/// The longest text that is rendered, in bytes.
const MAX_TEXT: usize = 512 * 1024;

/// Renders a text as HTML for a template.
pub(super) fn rendered(text: &str) -> Value {
    Value::from_safe_string(to_html(text))
}

fn to_html(text: &str) -> String {
    let end = (0..=text.len().min(MAX_TEXT)).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    let mut links = Vec::new();
    let events = Parser::new_ext(&text[..end], Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH);
    let safe = events.filter_map(|event| match event {
        // What would be markup is text.
        Event::Html(html) | Event::InlineHtml(html) => Some(Event::Text(html)),
        Event::Start(Tag::Link { link_type, dest_url, id, .. }) => {
            let is_safe = is_web(&dest_url);
            links.push(is_safe);
            is_safe.then_some(Event::Start(Tag::Link { link_type, dest_url, title: CowStr::Borrowed(""), id }))
        }
        Event::End(TagEnd::Link) => links.pop().unwrap_or(false).then_some(Event::End(TagEnd::Link)),
        // An image would be loaded from elsewhere: its text is enough.
        Event::Start(Tag::Image { .. }) => Some(Event::Text(CowStr::Borrowed("[image: "))),
        Event::End(TagEnd::Image) => Some(Event::Text(CowStr::Borrowed("]"))),
        Event::Start(Tag::MetadataBlock(_)) | Event::End(TagEnd::MetadataBlock(_)) => None,
        event => Some(event),
    });
    let mut rendered = String::new();
    html::push_html(&mut rendered, safe);
    rendered
}

fn is_web(link: &str) -> bool {
    Url::parse(link).is_ok_and(|url| matches!(url.scheme(), "http" | "https"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn markdown_is_rendered() {
        let html =
            to_html("# Boom\n\n`a<b>` **x** [more](https://example.com/?a=1&b=2)\n\n- one\n\n|a|b|\n|-|-|\n|1|2|\n");
        for part in ["<h1>Boom</h1>", "<code>a&lt;b&gt;</code>", "<strong>x</strong>", "<li>one</li>", "<td>2</td>"] {
            assert!(html.contains(part), "{html}");
        }
        assert!(html.contains(r#"<a href="https://example.com/?a=1&amp;b=2">more</a>"#), "{html}");
    }

    const HOSTILE: [&str; 12] = [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "[x](javascript:alert(1))",
        "[x](JaVaScRiPt:alert(1))",
        "[x](data:text/html,<script>alert(1)</script>)",
        "![x](https://evil.example/beacon.png)",
        "[x]( java\tscript:alert(1))",
        "[x](//evil.example)",
        "<https://example.com/\"onmouseover=alert(1)>",
        "[x](https://example.com \"\\\" onmouseover=alert(1)\")",
        "<svg/onload=alert(1)>",
        "a\n<div>\n*b*\n</div>\n<style>*{}</style>",
    ];

    #[test]
    fn nothing_of_strangers_is_markup() {
        for text in HOSTILE {
            assert_harmless(&to_html(text), text);
        }
    }

    fn assert_harmless(html: &str, text: &str) {
        let known = [
            "p",
            "a",
            "em",
            "strong",
            "code",
            "pre",
            "ul",
            "ol",
            "li",
            "blockquote",
            "hr",
            "br",
            "table",
            "thead",
            "tbody",
            "tr",
            "th",
            "td",
            "del",
            "h1",
            "h2",
            "h3",
            "h4",
            "h5",
            "h6",
        ];
        for tag in html.split('<').skip(1) {
            let inside = tag.split('>').next().unwrap_or_default();
            let name = inside.trim_start_matches('/').split([' ', '/']).next().unwrap_or_default();
            assert!(known.contains(&name), "{text:?} became {html:?}");
            let attributes = inside.strip_prefix(name).unwrap_or_default().trim();
            let is_link =
                name == "a" && (attributes.starts_with("href=\"http") && attributes.matches('"').count() == 2);
            let is_plain = attributes.is_empty() || attributes == "/" || attributes.starts_with("style=\"text-align: ");
            let is_code =
                name == "code" && attributes.starts_with("class=\"language-") && attributes.matches('"').count() == 2;
            let is_list = name == "ol" && attributes.starts_with("start=\"");
            assert!(inside.starts_with('/') || is_link || is_plain || is_code || is_list, "{text:?} became {html:?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_written(text in "[ \\[\\]()<>!\"'`*_#|:/a-c\\n&;=-]{0,60}", hostile in 0..HOSTILE.len()) {
            let text = format!("{text}{}{text}", HOSTILE[hostile]);
            assert_harmless(&to_html(&text), &text);
        }
    }
}
