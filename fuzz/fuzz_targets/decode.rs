//! Reading bodies: whatever comes, what is taken for events can be found in the body again and read by others.

#![no_main]

use bugfender_hooks::domain::Redaction;
use bugfender_hooks::domain::event::{Sender, decode, on_one_line};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|data: &[u8]| {
    let Some((first, body)) = data.split_first() else { return };
    let sender = if first % 2 == 0 { Sender::Bugfender } else { Sender::Instabug };
    let Ok(events) = decode(sender, body) else { return };
    let whole: Value = serde_json::from_slice(body).expect("what was taken is JSON");
    if sender == Sender::Bugfender {
        assert_eq!(whole.as_array().map(Vec::len), Some(events.len()));
    }
    for (index, event) in events.iter().enumerate() {
        let json = std::str::from_utf8(&body[event.span.clone()]).expect("a piece of valid text");
        let value: Value = serde_json::from_str(json).expect("an event is JSON");
        let expected = if sender == Sender::Bugfender { &whole[index] } else { &whole };
        assert_eq!(&value, expected);
        assert!(value.is_object() && !event.id.is_empty());
        let line = on_one_line(json);
        assert!(!line.contains('\n'));
        assert_eq!(serde_json::from_str::<Value>(&line).expect("one line is JSON"), value);
    }
    let redaction: Redaction = "title,device.user_data,app.id".parse().expect("good paths");
    let (redacted, moved) = redaction.apply(body, events.clone());
    assert_eq!(moved.len(), events.len());
    for (before, after) in events.iter().zip(&moved) {
        assert_eq!(before.key, after.key);
        let value: Value = serde_json::from_slice(&redacted[after.span.clone()]).expect("redacted events are JSON");
        assert!(value.get("title").is_none_or(|title| title == "[redacted]"));
    }
});
