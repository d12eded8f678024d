//! JSON.

use jsonc_parser::ast::{ObjectPropName, Value};
use jsonc_parser::common::Ranged;
use jsonc_parser::{CollectOptions, ParseOptions, parse_to_ast};

use super::super::tree::{
    DECIMAL, LARGE, MAX_DEPTH, Position, Positions, SyntaxError, TreeEntry, TreeNode, TreeValue, check_keys,
};

/// As in RFC 8259: the parser would allow more.
const STRICT: ParseOptions = ParseOptions {
    allow_comments: false,
    allow_loose_object_property_names: false,
    allow_trailing_commas: false,
    allow_missing_commas: false,
    allow_single_quoted_strings: false,
    allow_hexadecimal_numbers: false,
    allow_unary_plus_numbers: false,
    allow_bare_decimal_point_numbers: false,
    allow_non_finite_numbers: false,
    allow_extended_string_escapes: false,
};

pub(super) fn parse(text: &str) -> Result<TreeNode<'_>, SyntaxError> {
    let mut positions = Positions::of(text);
    let parsed = parse_to_ast(text, &CollectOptions::default(), &STRICT).map_err(|error| {
        let message = error.kind().to_string();
        let mut letters = message.chars();
        let first = letters.next().map(|letter| letter.to_ascii_lowercase());
        SyntaxError::new(positions.at(error.range().start), first.into_iter().chain(letters).collect::<String>())
    })?;
    let empty = || SyntaxError::new(Position::START, "there is nothing in the file");
    of_value(parsed.value.ok_or_else(empty)?, &mut positions, 0)
}

fn of_value<'a>(value: Value<'a>, positions: &mut Positions, depth: usize) -> Result<TreeNode<'a>, SyntaxError> {
    let position = positions.at(value.range().start);
    if depth > MAX_DEPTH {
        return Err(SyntaxError::new(position, "this is nested too deep"));
    }
    let value = match value {
        Value::StringLit(text) => TreeValue::Text(text.value),
        Value::NumberLit(number) => {
            let is_decimal = number.value.contains(['.', 'e', 'E']);
            let other = TreeValue::Other(if is_decimal { DECIMAL } else { LARGE });
            number.value.parse().map_or(other, TreeValue::Integer)
        }
        Value::BooleanLit(_) => TreeValue::Other("a boolean"),
        Value::NullKeyword(_) => TreeValue::Other("null"),
        Value::Array(list) => {
            let values = list.elements.into_iter().map(|value| of_value(value, positions, depth + 1));
            TreeValue::List(values.collect::<Result<_, _>>()?)
        }
        Value::Object(object) => {
            let mut entries = Vec::with_capacity(object.properties.len());
            for property in object.properties {
                let position = positions.at(property.name.range().start);
                let key = match property.name {
                    ObjectPropName::String(name) => name.value,
                    ObjectPropName::Word(name) => name.value.into(),
                };
                entries.push(TreeEntry { key, position, node: of_value(property.value, positions, depth + 1)? });
            }
            check_keys(&entries)?;
            TreeValue::Table(entries)
        }
    };
    Ok(TreeNode { position, value })
}
