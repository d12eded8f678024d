//! TOML.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::super::tree::{DECIMAL, LARGE, Position, Positions, SyntaxError, TreeEntry, TreeNode, TreeValue};

pub(super) fn parse(text: &str) -> Result<TreeNode<'_>, SyntaxError> {
    let mut positions = Positions::of(text);
    let table = DeTable::parse(text).map_err(|error| {
        let position = error.span().map_or(Position::START, |span| positions.at(span.start));
        SyntaxError::new(position, error.message().lines().next().unwrap_or_default())
    })?;
    Ok(TreeNode { position: Position::START, value: of_table(table.into_inner(), &mut positions) })
}

/// Takes the values one by one, so that the parser's tables, which are large, make room.
fn of_table<'a>(table: DeTable<'a>, positions: &mut Positions) -> TreeValue<'a> {
    let mut entries: Vec<_> = table.into_iter().collect();
    // The parser has sorted them by name.
    entries.sort_unstable_by_key(|(key, _)| key.span().start);
    let entry = |(key, value): (Spanned<_>, _)| {
        let position = positions.at(key.span().start);
        TreeEntry { key: key.into_inner(), position, node: of_value(value, positions) }
    };
    TreeValue::Table(entries.into_iter().map(entry).collect())
}

fn of_value<'a>(value: Spanned<DeValue<'a>>, positions: &mut Positions) -> TreeNode<'a> {
    let position = positions.at(value.span().start);
    let value = match value.into_inner() {
        DeValue::String(text) => TreeValue::Text(text),
        DeValue::Integer(number) => {
            i64::from_str_radix(number.as_str(), number.radix()).map_or(TreeValue::Other(LARGE), TreeValue::Integer)
        }
        DeValue::Float(_) => TreeValue::Other(DECIMAL),
        DeValue::Boolean(_) => TreeValue::Other("a boolean"),
        DeValue::Datetime(_) => TreeValue::Other("a date or time"),
        DeValue::Array(list) => TreeValue::List(list.into_iter().map(|value| of_value(value, positions)).collect()),
        DeValue::Table(table) => of_table(table, positions),
    };
    TreeNode { position, value }
}
