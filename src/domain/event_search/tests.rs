//! Tests of searches.

use std::fmt::Write as _;

use proptest::prelude::*;
use serde_json::Value;

use super::*;

fn search(text: &str) -> EventSearch {
    EventSearch::parse(text).unwrap()
}

fn finds(text: &str, json: &str) -> bool {
    search(text).matches(&[], json.as_bytes())
}

const EVENT: &str = r#"{"id":"crash-1","title":"Out of m\u00e9mory","type":"crash","app":{"id":30525,"name":"Shop"},
    "device":{"name":"Pixel 9","user_data":{"plan.name":"Gold","tags":["a b",{"deep":"GRÜN"}]}},
    "text":"line 1\nat \"com/Shop\"\tMain.kt:12 https:\/\/x.example/a?b=c","n":12345678901234567890123,"ok":true,"no":null}"#;

#[test]
fn all_words_must_be_there_in_any_order() {
    for found in [
        "shop",
        "PIXEL shop crash-1",
        "mémory",
        "MÉMORY out",
        "\"out of\"",
        "out\" of \"",
        "grün",
        "\"Grün",
        "12345678901234567890123",
        "30525",
        "\"com/shop\"",
        "https://x.example/a?b=c",
        "\"Main.kt:12\"",
        "line",
    ] {
        assert!(finds(found, EVENT), "{found}");
    }
    // Names of fields are no words of an event, nor are what joins two values.
    for lost in
        ["memory", "user_data", "deep", "null", "true", "pixel galaxy", "\"memory crash\"", "1at", "\\u00e9", "\\n"]
    {
        assert!(!finds(lost, EVENT), "{lost}");
    }
}

#[test]
fn a_word_may_be_about_one_field() {
    for found in [
        "app.id=30525",
        "App.ID:305",
        "device.name:pixel",
        "device:pixel",
        "device.name=\"pixel 9\"",
        "device.user_data.plan.name=gold",
        "device.user_data.tags:b",
        "device.user_data.tags.deep=grün",
        "title:mémory type=crash",
        "ok=true no=null",
        "title:\"of m\"",
    ] {
        assert!(finds(found, EVENT), "{found}");
    }
    for lost in [
        "app.id=3052",
        "name:pixel",
        "device.name=pixel",
        "device.nam:pixel",
        "dev:pixel",
        "app:pixel",
        "device.user_data.deep:grün",
        "title:shop",
        "\"app.id=30525\"",
        "Main.kt:12",
    ] {
        assert!(!finds(lost, EVENT), "{lost}");
    }
    // What no field has a path for is a word like others.
    for plain in ["java.lang.Error:", "std::string", "12:30", "=", ":x", "a..b:c"] {
        assert!(finds(plain, &format!(r#"{{"t":"x{plain}y"}}"#)), "{plain}");
    }
}

#[test]
fn what_else_is_known_counts() {
    let (facts, json) = (["Out of memory", "crash"], br#"{"Exception":"boom"}"#);
    assert!(search("memory BOOM crash").matches(&facts, json));
    assert!(!search("title:memory").matches(&facts, json));
    assert!(!search("\"memory crash\"").matches(&facts, json));
}

#[test]
fn without_a_word_there_is_nothing_to_look_for() {
    for text in ["", "  \t\n", "\"\"", "\" ", "\"\" \"\""] {
        assert!(EventSearch::parse(text).is_none() || text == "\" ", "{text:?}");
    }
    assert_eq!(search("  a  b ").as_str(), "a  b");
    assert!(!format!("{:?}", search("jo@example.com")).contains("jo@"));
}

#[test]
fn hostile_json_does_no_harm() {
    let half = r#"{"t":"a\ud83d b","\udc00":"c","k":1e999}"#;
    assert!(finds("b c", half) && finds("t:a", half) && finds("k=1e999", half) && finds("1E999", half));
    let deep = format!("{}{}\"x\"{}", "[".repeat(100_000), "{\"a\":".repeat(1000), "}".repeat(1000));
    assert!(finds("x", &deep) && !finds("y", &deep));
    assert!(search("x").matches(&[], b"{\"t\":\"\xff x\"}"));
    for broken in ["\"", "\"\\", "{\"a", "{\"a\\\"", "}]}]", "\\u", "\"\\u12", "é\"é\\é", "[1,"] {
        finds("zz a:zz", broken);
        finds("\\u", broken);
    }
}

#[test]
fn letters_without_a_pair_are_found() {
    for (word, text) in [("σας", "ΣΑΣ"), ("ΣΑΣ", "σασα σας"), ("straße", "STRAßE"), ("k", "\u{212a}"), ("İ", "i̇x")]
    {
        let json = format!("{{\"t\":\"{text}\"}}");
        assert!(finds(word, &json), "{word} {text}");
    }
}

/// Every string and number of a value, with its path.
fn leaves(value: &Value, path: &str, found: &mut Vec<(String, String)>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                leaves(value, &path, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| leaves(item, path, found)),
        Value::String(text) => found.push((path.to_owned(), text.clone())),
        Value::Number(number) => found.push((path.to_owned(), number.to_string())),
        Value::Bool(_) | Value::Null => {}
    }
}

fn any_event() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[a-cA-C éÉ\"\\\\/\n\u{1}:=.{}\\[\\],]{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::hash_map("[a-cé]{1,3}", inner, 0..4)
                .prop_map(|fields| { Value::Object(fields.into_iter().collect()) }),
        ]
    })
}

/// JSON with every character of its strings escaped, names too.
fn all_escaped(json: &str) -> String {
    let (mut out, mut in_text, mut chars) = (String::new(), false, json.chars());
    while let Some(c) = chars.next() {
        match c {
            '"' => in_text = !in_text,
            '\\' => {
                out.extend([Some('\\'), chars.next()].into_iter().flatten());
                continue;
            }
            c if in_text && !c.is_ascii_hexdigit() => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    let _ = write!(out, "\\u{unit:04X}");
                }
                continue;
            }
            _ => {}
        }
        out.push(c);
    }
    out
}

proptest! {
    #[test]
    fn what_an_event_says_is_found_however_it_is_written(event in any_event(), pick in any::<prop::sample::Index>()) {
        let mut found = Vec::new();
        leaves(&event, "", &mut found);
        found.retain(|(_, text)| !text.trim().is_empty() && !text.contains('"'));
        if !found.is_empty() {
            let (path, text) = &found[pick.index(found.len())];
            let plain = format!("\"{}\"", text.to_uppercase());
            let field = format!("{path}=\"{text}\"");
            for json in [event.to_string(), serde_json::to_string_pretty(&event).unwrap(), all_escaped(&event.to_string())] {
                prop_assert!(finds(&plain, &json), "{plain} {json}");
                prop_assert!(path.is_empty() || finds(&field, &json), "{field} {json}");
            }
        }
    }

    #[test]
    fn nothing_is_found_that_is_not_there(event in any_event(), word in "[a-c éÉ1-9]{1,3}") {
        let mut found = Vec::new();
        leaves(&event, "", &mut found);
        if let Some(looked) = EventSearch::parse(&format!("\"{word}\"")) {
            let is_there = found.iter().any(|(_, text)| folded(text).contains(&folded(&word)));
            prop_assert_eq!(looked.matches(&[], event.to_string().as_bytes()), is_there);
            prop_assert_eq!(looked.matches(&[], all_escaped(&event.to_string()).as_bytes()), is_there);
        }
    }

    #[test]
    fn no_bytes_are_too_much(text in "\\PC{0,20}", json in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Some(looked) = EventSearch::parse(&text) {
            looked.matches(&[], &json);
        }
    }

    #[test]
    fn no_text_is_too_much(text in "[a\":=. ]{0,9}", json in "[{}\\[\\],:\"\\\\uéa0-9]{0,40}") {
        if let Some(looked) = EventSearch::parse(&text) {
            looked.matches(&[], json.as_bytes());
        }
    }
}
