//! YAML. Aliases, tags and several documents are refused: they make a file that says something else than it seems to.

use std::borrow::Cow;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Span};

use super::super::tree::{
    DECIMAL, LARGE, MAX_DEPTH, Position, SyntaxError, TreeEntry, TreeNode, TreeValue, check_keys,
};

pub(super) fn parse(text: &str) -> Result<TreeNode<'_>, SyntaxError> {
    let mut builder = TreeBuilder::default();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| {
            let wrong = SyntaxError::new(position(*error.marker()), error.info());
            // `@FILE` must be quoted here, as the character is reserved.
            let hint = error.info().contains('@').then_some("put the value in quotes");
            SyntaxError { hint, ..wrong }
        })?;
        builder.take(event, span)?;
    }
    let empty = TreeNode { position: Position::START, value: TreeValue::Table(Vec::new()) };
    Ok(builder.root.unwrap_or(empty))
}

fn position(marker: Marker) -> Position {
    let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    Position { line: number(marker.line()), column: number(marker.col()).saturating_add(1) }
}

/// A list or table that has not ended yet.
struct OpenNode<'a> {
    position: Position,
    value: TreeValue<'a>,
    /// The key that the next value is of.
    key: Option<(Cow<'a, str>, Position)>,
}

#[derive(Default)]
struct TreeBuilder<'a> {
    root: Option<TreeNode<'a>>,
    open: Vec<OpenNode<'a>>,
    documents: usize,
}

impl<'a> TreeBuilder<'a> {
    fn take(&mut self, event: Event<'a>, span: Span) -> Result<(), SyntaxError> {
        let at = position(span.start);
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
            Event::DocumentStart(_) => {
                self.documents += 1;
                if self.documents > 1 {
                    return Err(SyntaxError::new(at, "a manifest is one document: this is another"));
                }
                Ok(())
            }
            Event::Alias(_) => {
                let wrong = SyntaxError::new(at, "aliases (`*name`) are not allowed");
                Err(SyntaxError { hint: Some("what hooks have in common can stand in `defaults`"), ..wrong })
            }
            Event::Scalar(_, _, _, Some(_)) | Event::SequenceStart(_, Some(_)) | Event::MappingStart(_, Some(_)) => {
                Err(SyntaxError::new(at, "tags (`!name`) are not allowed"))
            }
            Event::Scalar(text, style, _, None) => {
                self.scalar(text, style, at);
                Ok(())
            }
            Event::SequenceStart(..) => self.begin(TreeValue::List(Vec::new()), at),
            Event::MappingStart(..) => self.begin(TreeValue::Table(Vec::new()), at),
            Event::SequenceEnd | Event::MappingEnd => self.end(),
        }
    }

    fn scalar(&mut self, text: Cow<'a, str>, style: ScalarStyle, at: Position) {
        if let Some(OpenNode { value: TreeValue::Table(_), key: key @ None, .. }) = self.open.last_mut() {
            *key = Some((text, at));
            return;
        }
        let value = if style == ScalarStyle::Plain { plain(text) } else { TreeValue::Text(text) };
        self.add(TreeNode { position: at, value });
    }

    fn begin(&mut self, value: TreeValue<'a>, position: Position) -> Result<(), SyntaxError> {
        if let Some(OpenNode { value: TreeValue::Table(_), key: None, .. }) = self.open.last() {
            return Err(SyntaxError::new(position, "a key must be a string"));
        }
        if self.open.len() > MAX_DEPTH {
            return Err(SyntaxError::new(position, "this is nested too deep"));
        }
        self.open.push(OpenNode { position, value, key: None });
        Ok(())
    }

    fn end(&mut self) -> Result<(), SyntaxError> {
        let Some(OpenNode { position, value, .. }) = self.open.pop() else { return Ok(()) };
        if let TreeValue::Table(entries) = &value {
            check_keys(entries)?;
        }
        self.add(TreeNode { position, value });
        Ok(())
    }

    fn add(&mut self, node: TreeNode<'a>) {
        match self.open.last_mut() {
            None => self.root = Some(node).filter(|node| !matches!(node.value, TreeValue::Other("nothing"))),
            Some(OpenNode { value: TreeValue::List(list), .. }) => list.push(node),
            Some(OpenNode { value: TreeValue::Table(entries), key, .. }) => {
                entries.extend(key.take().map(|(key, position)| TreeEntry { key, position, node }));
            }
            Some(_) => {}
        }
    }
}

/// What a text without quotes is by YAML's core schema.
fn plain(text: Cow<'_, str>) -> TreeValue<'_> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(&text);
    match &*text {
        "" | "~" | "null" | "Null" | "NULL" => return TreeValue::Other("nothing"),
        "true" | "True" | "TRUE" | "false" | "False" | "FALSE" => return TreeValue::Other("a boolean"),
        _ => {}
    }
    if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().map_or(TreeValue::Other(LARGE), TreeValue::Integer);
    }
    let radix = |prefix: &str, radix| digits.strip_prefix(prefix).map(|digits| i64::from_str_radix(digits, radix));
    if let Some(Ok(number)) = radix("0x", 16).or_else(|| radix("0o", 8)) {
        return TreeValue::Integer(number);
    }
    let is_float = digits.contains(|c: char| c.is_ascii_digit()) && text.parse::<f64>().is_ok();
    if is_float || matches!(digits, ".inf" | ".Inf" | ".INF" | ".nan" | ".NaN" | ".NAN") {
        return TreeValue::Other(DECIMAL);
    }
    TreeValue::Text(text)
}
