//! What holds of any text.

use proptest::prelude::*;

use super::*;

/// A text that may be one of a manifest.
fn arbitrary_text() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec![
        "name",
        "apps",
        "defaults",
        "hook",
        "app",
        "app_id",
        "events",
        "target_url",
        "label",
        "=",
        ":",
        "[",
        "]",
        "[[",
        "]]",
        "{",
        "}",
        ",",
        "\"",
        "'",
        "'''",
        "- ",
        "\n",
        "\n  ",
        "\r\n",
        "1001",
        "-1",
        "1.5",
        "true",
        "null",
        "all",
        "new_crash",
        "https://h.example/${KEY}",
        "@url.txt",
        "$",
        "é",
        "\u{feff}",
        "#",
        "&a",
        "*a",
        "!t",
        "|",
        ">",
        "---",
        "\t",
        "\\u12",
        "0x",
        "\0",
    ]);
    prop_oneof![
        ".{0,200}",
        prop::collection::vec(word, 0..60).prop_map(|words| words.concat()),
        (
            prop::sample::select(vec![TOML, YAML, JSON]),
            any::<prop::sample::Index>(),
            any::<prop::sample::Index>(),
            ".{0,3}"
        )
            .prop_map(|(text, from, to, put)| {
                let at = |index: prop::sample::Index| {
                    let index = index.index(text.len());
                    (0..=index).rev().find(|index| text.is_char_boundary(*index)).unwrap_or(0)
                };
                let (from, to) = (at(from), at(to));
                format!("{}{put}{}", &text[..from.min(to)], &text[from.max(to)..])
            }),
    ]
}

/// One hook, as a line of YAML.
fn hook_line() -> impl Strategy<Value = String> {
    let event = prop::sample::select(vec!["new_crash", "[new_issue_separate, new_user_feedback]", "all"]);
    (1..4_u8, event, 0..3_u8, prop::option::of(0..2_u8)).prop_map(|(app, event, target, label)| {
        let label = label.map_or(String::new(), |label| format!(", label: l{label}"));
        format!("  - {{app_id: {app}, events: {event}, target_url: 'https://h.example/{target}'{label}}}\n")
    })
}

proptest! {
    #[test]
    fn any_text_is_a_manifest_or_wrong(text in arbitrary_text()) {
        for name in ["a.toml", "a.yaml", "a.json"] {
            if let Err(errors) = read_files(&[(name, &text)]) {
                prop_assert!(!errors.is_empty());
                // A carriage return ends a line in YAML.
                let lines = text.split(['\n', '\r']).count();
                for error in &errors {
                    let place = error.place().unwrap();
                    prop_assert!((1..=lines + 1).contains(&place.line) && place.column >= 1, "{error}");
                }
            }
        }
    }

    #[test]
    fn the_order_of_hooks_makes_no_other_set(lines in prop::collection::vec(hook_line(), 1..8), seed in any::<u64>()) {
        let mut others = lines.clone();
        let len = others.len();
        others.rotate_left(usize::try_from(seed % len as u64).unwrap());
        if seed % 3 == 0 {
            others.reverse();
        }
        let read = |lines: &[String]| {
            let text = format!("name: a\nhook:\n{}", lines.concat());
            let mut rows = read_files(&[("a.yaml", &text)]).map_err(|errors| errors.len()).map(|loaded| rows(&loaded))?;
            for row in &mut rows {
                row.truncate(row.rfind(' ').unwrap());
            }
            rows.sort();
            Ok::<_, usize>(rows)
        };
        prop_assert_eq!(read(&lines), read(&others));
    }
}
