//! What a person looks for in events: words that an event must have.

use std::borrow::Cow;
use std::fmt;

use memchr::memmem::Finder;
use memchr::{memchr, memchr2};

use super::json::repaired;

/// Words that an event must have, all of them and in any order.
///
/// Words are separated by white space; a part in double quotes is one word. `path:word` must stand in the field with that
/// path (names separated by dots), or in a field of it, and `path=value` be the whole of one; other words may stand in any
/// string or number. Of lists, each element is tried. Case does not matter.
#[derive(Clone)]
pub struct EventSearch {
    text: String,
    terms: Vec<SearchTerm>,
}

/// A word, and where it must stand.
#[derive(Clone)]
struct SearchTerm {
    /// The names on the way to the field, separated by dots.
    path: Option<String>,
    is_whole: bool,
    /// The word as [`folded`].
    word: String,
    finder: Finder<'static>,
}

/// What is searched is personal data as often as not.
impl fmt::Debug for EventSearch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventSearch").field("terms", &self.terms.len()).finish_non_exhaustive()
    }
}

impl EventSearch {
    /// Reads what a person wrote; `None` if there is no word in it.
    pub fn parse(text: &str) -> Option<Self> {
        let terms: Vec<SearchTerm> = words(text).iter().map(SearchTerm::of).collect();
        (!terms.is_empty()).then(|| Self { text: text.trim().to_owned(), terms })
    }

    /// What was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether an event is meant: by what else is known of it, such as its title, or by its JSON.
    pub fn matches(&self, facts: &[&str], json: &[u8]) -> bool {
        let facts: Vec<String> = facts.iter().map(|fact| folded(fact)).collect();
        let is_fact = |term: &SearchTerm| {
            term.path.is_none() && facts.iter().any(|fact| term.finder.find(fact.as_bytes()).is_some())
        };
        let mut left: Vec<&SearchTerm> = self.terms.iter().filter(|term| !is_fact(term)).collect();
        if left.is_empty() {
            return true;
        }
        let json = String::from_utf8_lossy(json);
        if is_ruled_out(&left, &json) {
            return false;
        }
        let mut walk = JsonWalk::new(&json, left.iter().any(|term| term.path.is_some()));
        while let Some((kind, value)) = walk.next_value() {
            let value = folded(&value);
            left.retain(|term| !term.is_met_by(&walk.path, kind, &value));
            if left.is_empty() {
                return true;
            }
        }
        false
    }
}

/// A word of a search as it was written, in parts that were quoted or not.
type WrittenWord = Vec<(bool, String)>;

/// The words of a text. A quote that does not end goes on to the end of the text.
fn words(text: &str) -> Vec<WrittenWord> {
    let (mut words, mut word, mut is_quoted) = (Vec::new(), WrittenWord::new(), false);
    for c in text.chars() {
        match c {
            '"' => is_quoted = !is_quoted,
            c if c.is_whitespace() && !is_quoted => words.push(std::mem::take(&mut word)),
            c => match word.last_mut() {
                Some((quoted, part)) if *quoted == is_quoted => part.push(c),
                _ => word.push((is_quoted, c.to_string())),
            },
        }
    }
    words.push(word);
    words.retain(|word| !word.is_empty());
    words
}

impl SearchTerm {
    fn of(word: &WrittenWord) -> Self {
        let whole: String = word.iter().map(|(_, part)| part.as_str()).collect();
        // Only what is not quoted names a field.
        let unquoted = word.first().filter(|(quoted, _)| !quoted).map_or("", |(_, part)| part);
        let end = unquoted.find([':', '=']).filter(|end| is_path(&unquoted[..*end]) && whole.len() > end + 1);
        // As in an address, or in a name of C++.
        let end = end.filter(|end| !["://", "::"].iter().any(|other| unquoted[*end..].starts_with(other)));
        let (path, is_whole, word) = match end {
            Some(end) => (Some(folded(&whole[..end])), whole[end..].starts_with('='), folded(&whole[end + 1..])),
            None => (None, false, folded(&whole)),
        };
        let finder = Finder::new(word.as_bytes()).into_owned();
        Self { path, is_whole, word, finder }
    }

    fn is_met_by(&self, at: &str, kind: ValueKind, value: &str) -> bool {
        let is_here = match &self.path {
            None => kind == ValueKind::Text,
            Some(path) => at.strip_prefix(path.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')),
        };
        is_here && if self.is_whole { self.word == value } else { self.finder.find(value.as_bytes()).is_some() }
    }

    /// Whether JSON without `\u` writes the word as it is.
    fn is_written_plainly(&self) -> bool {
        !self.word.contains(|c: char| matches!(c, '"' | '\\' | '/') || c.is_control())
    }
}

/// Whether a text is the names of fields, separated by dots.
fn is_path(text: &str) -> bool {
    let is_name = |name: &str| {
        name.starts_with(|c: char| c.is_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '$'))
    };
    text.split('.').all(is_name)
}

/// A text in lower case, each character by itself: a part of a text stays a part of it.
fn folded(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    // Sigma has two small letters.
    text.chars().flat_map(char::to_lowercase).map(|c| if c == 'ς' { 'σ' } else { c }).collect()
}

/// Whether one of these words stands nowhere in some JSON, as far as that can be told without reading it.
fn is_ruled_out(terms: &[&SearchTerm], json: &str) -> bool {
    let is_plain = memchr(b'\\', json.as_bytes()).is_none();
    if !is_plain && json.contains("\\u") {
        return false;
    }
    let json = folded(json);
    let is_missing =
        |term: &&SearchTerm| (is_plain || term.is_written_plainly()) && term.finder.find(json.as_bytes()).is_none();
    terms.iter().any(is_missing)
}

/// What a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ValueKind {
    /// A string or a number.
    Text,
    /// `true`, `false` or `null`.
    Word,
}

/// Where a walk is: in an object, where the path ends that leads to it, or in a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    Object(usize),
    List,
}

/// Goes from value to value through JSON, which is valid: it was parsed before. Of any other text it finds something, and an
/// end.
struct JsonWalk<'a> {
    json: &'a str,
    at: usize,
    levels: Vec<Level>,
    /// Whether the next string is a name.
    is_name: bool,
    /// The names on the way to the last value, as [`folded`] and separated by dots; empty if nobody needs them.
    path: String,
    needs_path: bool,
}

impl<'a> JsonWalk<'a> {
    fn new(json: &'a str, needs_path: bool) -> Self {
        Self { json, at: 0, levels: Vec::new(), is_name: false, path: String::new(), needs_path }
    }

    /// The next string, number or word.
    fn next_value(&mut self) -> Option<(ValueKind, Cow<'a, str>)> {
        loop {
            let byte = *self.json.as_bytes().get(self.at)?;
            match byte {
                b'"' => {
                    let text = self.string();
                    if !self.is_name {
                        return Some((ValueKind::Text, text));
                    }
                    self.enter_field(&text);
                }
                b'-' | b'0'..=b'9' | b'a'..=b'z' => {
                    let rest = &self.json[self.at..];
                    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
                    let word = &rest[..rest.find(|c| !is_part(c)).unwrap_or(rest.len())];
                    self.at += word.len();
                    let kind = if byte.is_ascii_lowercase() { ValueKind::Word } else { ValueKind::Text };
                    return Some((kind, Cow::Borrowed(word)));
                }
                _ => self.step(byte),
            }
        }
    }

    /// Passes a byte between values.
    fn step(&mut self, byte: u8) {
        self.at += 1;
        match byte {
            b'{' => {
                self.levels.push(Level::Object(self.path.len()));
                self.is_name = true;
            }
            b'[' => {
                self.levels.push(Level::List);
                self.is_name = false;
            }
            b'}' | b']' => {
                if let Some(Level::Object(end)) = self.levels.pop() {
                    self.path.truncate(end);
                }
                self.is_name = false;
            }
            b',' => {
                if let Some(Level::Object(end)) = self.levels.last() {
                    self.path.truncate(*end);
                    self.is_name = true;
                }
            }
            _ => {}
        }
    }

    /// The string that begins here.
    fn string(&mut self) -> Cow<'a, str> {
        let start = self.at;
        let bytes = self.json.as_bytes();
        let mut end = start + 1;
        loop {
            match bytes.get(end..).and_then(|rest| memchr2(b'"', b'\\', rest)) {
                Some(found) if bytes[end + found] == b'"' => {
                    end += found;
                    break;
                }
                Some(found) => end += found + 2,
                None => {
                    end = bytes.len();
                    break;
                }
            }
        }
        self.at = (end + 1).min(bytes.len());
        let inside = self.json.get(start + 1..end).unwrap_or_default();
        if memchr(b'\\', inside.as_bytes()).is_none() {
            return Cow::Borrowed(inside);
        }
        let written = self.json.get(start..self.at).unwrap_or_default();
        let read = serde_json::from_str(written).or_else(|_| serde_json::from_str(&repaired(written)));
        Cow::Owned(read.unwrap_or_default())
    }

    /// What follows is the value of this field.
    fn enter_field(&mut self, name: &str) {
        self.is_name = false;
        if !self.needs_path {
            return;
        }
        if !self.path.is_empty() {
            self.path.push('.');
        }
        self.path.push_str(&folded(name));
    }
}

#[cfg(test)]
mod tests;
