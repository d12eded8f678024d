//! JSON on several lines, with everything in it as it came: numbers with all their digits, escapes, names that occur twice.

/// Puts JSON on several lines, with this many levels indented further than the one before. Of text that is not JSON, every
/// character that is no white space stays.
pub fn pretty_json(json: &str, max_indent: usize) -> String {
    let mut text = String::with_capacity(json.len() + json.len() / 2);
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    let mut chars = json.chars().peekable();
    let line = |text: &mut String, depth: usize| {
        text.push('\n');
        text.extend(std::iter::repeat_n("  ", depth.min(max_indent)));
    };
    while let Some(c) = chars.next() {
        if in_string {
            text.push(c);
            in_string = escaped || c != '"';
            escaped = c == '\\' && !escaped;
            continue;
        }
        match c {
            '"' => {
                in_string = true;
                text.push(c);
            }
            '{' | '[' => {
                text.push(c);
                while chars.next_if(char::is_ascii_whitespace).is_some() {}
                let end = if c == '{' { '}' } else { ']' };
                if let Some(end) = chars.next_if_eq(&end) {
                    text.push(end);
                } else {
                    depth += 1;
                    line(&mut text, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                line(&mut text, depth);
                text.push(c);
            }
            ',' => {
                text.push(c);
                line(&mut text, depth);
            }
            ':' => text.push_str(": "),
            c if c.is_ascii_whitespace() => {}
            c => text.push(c),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn everything_stays_as_it_came() {
        let json = r#"{"n":12345678901234567890.10,"n":-0e-5,"e":{ },"l":[ ],"t":"a\"b\\","x":[1, {"y":"{:,}"}]}"#;
        let expected = "{\n  \"n\": 12345678901234567890.10,\n  \"n\": -0e-5,\n  \"e\": {},\n  \"l\": [],\n  \
                        \"t\": \"a\\\"b\\\\\",\n  \"x\": [\n    1,\n    {\n      \"y\": \"{:,}\"\n    }\n  ]\n}";
        assert_eq!(pretty_json(json, 40), expected);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_whatever_it_is(text in "[ \\[\\]{}:,\"\\\\a1\n]{0,60}") {
            let without = |text: &str| text.chars().filter(|c| !c.is_ascii_whitespace()).collect::<String>();
            prop_assert_eq!(without(&pretty_json(&text, 40)), without(&text));
        }

        #[test]
        fn a_value_stays_the_same(numbers in proptest::collection::vec("-?[1-9][0-9]{0,3}", 0..4), text in ".{0,8}") {
            let json = serde_json::json!({"n": numbers, "t": text, "o": {"a": [], "b": {}}}).to_string();
            let read = |json: &str| serde_json::from_str::<serde_json::Value>(json).unwrap();
            prop_assert_eq!(read(&pretty_json(&json, 40)), read(&json));
        }
    }
}
