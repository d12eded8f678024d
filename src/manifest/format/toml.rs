//! TOML.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::super::tree::{DECIMAL, LARGE, Position, Positions, SyntaxError, TreeEntry, TreeNode, TreeValue};

/// How much text is read at a time, in bytes. The parser needs many times as much memory.
const CHUNK: usize = 32 * 1024;

/// The line that begins a hook.
const HOOK: &str = "[[hook]]";

pub(super) fn parse(text: &str) -> Result<TreeNode<'_>, SyntaxError> {
    // Whatever is not as simple as most files is for the parser, which knows all that is wrong.
    let entries = in_chunks(text, CHUNK).map_or_else(|| whole(text), Ok)?;
    Ok(TreeNode { position: Position::START, value: TreeValue::Table(entries) })
}

fn whole(text: &str) -> Result<Vec<TreeEntry<'_>>, SyntaxError> {
    let mut positions = Positions::of(text);
    let table = DeTable::parse(text).map_err(|error| {
        let position = error.span().map_or(Position::START, |span| positions.at(span.start));
        SyntaxError::new(position, error.message().lines().next().unwrap_or_default())
    })?;
    Ok(entries(table.into_inner(), &mut positions, 0))
}

/// Reads a file that ends with its hooks some of them at a time: as documents of their own, each of which begins with the
/// header of a hook. A line that only looks like a header is in a string or list that has not ended, so that the part before it
/// does not parse.
fn in_chunks(text: &str, size: usize) -> Option<Vec<TreeEntry<'_>>> {
    let mut positions = Positions::of(text);
    let mut chunks = chunks(text, size);
    let first = chunks.next()?;
    let mut root = of_chunk(text, first, &mut positions)?;
    let mut hooks: Option<TreeEntry> = None;
    for chunk in chunks {
        let mut found = of_chunk(text, chunk, &mut positions)?;
        let (Some(entry), true) = (found.pop(), found.is_empty()) else { return None };
        match (&mut hooks, entry) {
            (hooks @ None, entry) => *hooks = Some(entry),
            (
                Some(TreeEntry { node: TreeNode { value: TreeValue::List(list), .. }, .. }),
                TreeEntry { node: TreeNode { value: TreeValue::List(more), .. }, .. },
            ) => list.extend(more),
            _ => return None,
        }
    }
    if root.iter().any(|entry| entry.key == "hook") {
        return None;
    }
    root.extend(hooks);
    Some(root)
}

fn of_chunk<'a>(text: &'a str, chunk: Range<usize>, positions: &mut Positions) -> Option<Vec<TreeEntry<'a>>> {
    let start = chunk.start;
    let table = DeTable::parse(&text[chunk]).ok()?;
    Some(entries(table.into_inner(), positions, start))
}

/// The text before the first hook, and then the hooks, at least `size` bytes at a time.
fn chunks(text: &str, size: usize) -> impl Iterator<Item = Range<usize>> {
    let header_from = move |from: usize| {
        let mut found = memchr::memmem::find_iter(text.as_bytes().get(from..)?, HOOK).map(|found| from + found);
        found.find(|start| *start == 0 || text.as_bytes()[start - 1] == b'\n')
    };
    let hooks = header_from(0).unwrap_or(text.len());
    let mut begin = hooks;
    let rest = std::iter::from_fn(move || {
        let start = begin;
        begin = header_from(start + size.max(1)).unwrap_or(text.len());
        (start < text.len()).then_some(start..begin)
    });
    std::iter::once(0..hooks).chain(rest)
}

/// Takes the values one by one, so that the parser's tables, which are large, make room. The text is at this offset in its file.
fn entries<'a>(table: DeTable<'a>, positions: &mut Positions, offset: usize) -> Vec<TreeEntry<'a>> {
    let mut entries: Vec<_> = table.into_iter().collect();
    // The parser has sorted them by name.
    entries.sort_unstable_by_key(|(key, _)| key.span().start);
    let entry = |(key, value): (Spanned<_>, _)| {
        let position = positions.at(offset + key.span().start);
        TreeEntry { key: key.into_inner(), position, node: of_value(value, positions, offset) }
    };
    entries.into_iter().map(entry).collect()
}

fn of_value<'a>(value: Spanned<DeValue<'a>>, positions: &mut Positions, offset: usize) -> TreeNode<'a> {
    let position = positions.at(offset + value.span().start);
    let value = match value.into_inner() {
        DeValue::String(text) => TreeValue::Text(text),
        DeValue::Integer(number) => {
            i64::from_str_radix(number.as_str(), number.radix()).map_or(TreeValue::Other(LARGE), TreeValue::Integer)
        }
        DeValue::Float(_) => TreeValue::Other(DECIMAL),
        DeValue::Boolean(_) => TreeValue::Other("a boolean"),
        DeValue::Datetime(_) => TreeValue::Other("a date or time"),
        DeValue::Array(list) => {
            TreeValue::List(list.into_iter().map(|value| of_value(value, positions, offset)).collect())
        }
        DeValue::Table(table) => TreeValue::Table(entries(table, positions, offset)),
    };
    TreeNode { position, value }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn hooks_are_read_some_at_a_time() {
        let hook = "[[hook]]\napp_id = 1\n\n";
        let text = format!("name = 'a'\n{}", hook.repeat(5));
        let lengths = |size| chunks(&text, size).map(|chunk| chunk.len()).collect::<Vec<_>>();
        assert_eq!(lengths(1), [11, 21, 21, 21, 21, 21]);
        assert_eq!(lengths(30), [11, 42, 42, 21]);
        assert_eq!(lengths(1000), [11, 105]);
        assert_eq!(chunks(hook, 1).collect::<Vec<_>>(), [0..0, 0..21]);
        assert!(in_chunks(&text, 1).is_some());
        for other in
            ["[[hook]]\n[apps]\n", "hook = []\n[[hook]]\n", "a = \"\"\"\n[[hook]]\n\"\"\"", "a = [\n[[hook]]\n]"]
        {
            assert!(in_chunks(other, 1).is_none(), "{other}");
        }
    }

    const LINES: [&str; 25] = [
        "[[hook]]",
        "[[hook]]",
        "[[hook]]",
        "[hook]",
        "[hook.x]",
        "[[hook.x]]",
        "[apps]",
        "a = 1",
        "\"é\" = 'é'",
        "hook = [",
        "]",
        "b = \"\"\"",
        "\"\"\"",
        "'''",
        "c = '''",
        "# [[hook]]",
        " [[hook]]",
        "[[hook]] # x",
        "[[hook]]x",
        "[[ hook ]]",
        "a.b = { c = 1,",
        "}",
        "",
        "d = [1, [",
        "]]",
    ];

    proptest! {
        #[test]
        fn parts_say_what_the_whole_says(lines in prop::collection::vec(prop::sample::select(LINES.to_vec()), 0..14), size in 0..40_usize) {
            let text = lines.join("\n");
            match (in_chunks(&text, size), whole(&text)) {
                (Some(parts), Ok(whole)) => prop_assert_eq!(format!("{parts:?}"), format!("{whole:?}")),
                (Some(_), Err(error)) => prop_assert!(false, "{:?}", error),
                (None, _) => {}
            }
        }
    }
}
