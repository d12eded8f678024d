//! Rules for untrusted text.

/// Whether a character could affect a terminal or disguise text: control characters, line and paragraph separators,
/// bidirectional overrides, zero-width characters.
pub fn is_unsafe_char(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{061c}' | '\u{feff}')
}

/// The text without a byte order mark at its start, which editors on Windows write.
pub fn without_bom(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

/// The same for bytes, which need not be text.
pub fn bytes_without_bom(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)
}

/// At most `max` characters of untrusted text, on one line, without unsafe characters.
pub fn excerpt(text: &str, max: usize) -> String {
    let clean: String = text.chars().map(|c| if is_unsafe_char(c) { ' ' } else { c }).collect();
    let mut line = clean.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some((end, _)) = line.char_indices().nth(max) {
        line.truncate(end);
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn excerpts_are_short_and_harmless() {
        assert_eq!(excerpt("  a\u{1b}[31mb\r\nc\u{202e}d ", 50), "a [31mb c d");
        assert_eq!(excerpt("ééééé", 3), "ééé…");
        assert_eq!(excerpt("exact", 5), "exact");
    }
}
