//! Makes text from any source safe for a terminal.

use std::borrow::Cow;

use crate::domain::is_unsafe_char;

/// Replaces unsafe characters with visible escapes, except for line breaks.
pub fn sanitize(text: &str) -> Cow<'_, str> {
    let unsafe_here = |c: char| c != '\n' && is_unsafe_char(c);
    if !text.contains(unsafe_here) {
        return Cow::Borrowed(text);
    }
    let escaped = text.chars().flat_map(|c| {
        let hidden = unsafe_here(c).then(|| c.escape_unicode());
        let plain = hidden.is_none().then_some(c);
        hidden.into_iter().flatten().chain(plain)
    });
    Cow::Owned(escaped.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn escapes_are_made_visible() {
        assert_eq!(sanitize("plain\ntext – ü"), "plain\ntext – ü");
        assert_eq!(sanitize("a\u{1b}[2Jb\r\u{9b}\u{202e}"), "a\\u{1b}[2Jb\\u{d}\\u{9b}\\u{202e}");
    }

    proptest! {
        #[test]
        fn nothing_unsafe_is_left(text in any::<String>()) {
            let clean = sanitize(&text);
            prop_assert!(!clean.chars().any(|c| c != '\n' && is_unsafe_char(c)));
        }
    }
}
