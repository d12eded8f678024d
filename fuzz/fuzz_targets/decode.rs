//! Reading bodies: whatever comes, what is taken for events can be found in the body again and read by others.

#![no_main]

use bugfender_hooks::domain::Redaction;
use bugfender_hooks::domain::event::{Sender, decode, on_one_line};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use serde_json::value::RawValue;

fuzz_target!(|data: &[u8]| {
    let Some((first, body)) = data.split_first() else { return };
    let sender = if first % 2 == 0 { Sender::Bugfender } else { Sender::Instabug };
    let Ok(events) = decode(sender, body) else { return };
    // Numbers beyond all bounds and broken escapes are kept as they are, though not everybody can read them.
    let whole: Option<Value> = serde_json::from_slice(body).ok();
    let list = sender == Sender::Bugfender;
    if let Some(whole) = whole.as_ref().filter(|_| list) {
        assert_eq!(whole.as_array().map(Vec::len), Some(events.len()));
    }
    for (index, event) in events.iter().enumerate() {
        assert!(!event.id.is_empty());
        let json = std::str::from_utf8(&body[event.span.clone()]).expect("a piece of valid text");
        assert!(serde_json::from_str::<&RawValue>(json).is_ok_and(|event| event.get() == json));
        let line = on_one_line(json);
        assert!(!line.contains('\n'));
        if list {
            for text in [json, &line] {
                let again = decode(sender, format!("[{text}]").as_bytes()).expect("an event stands by itself");
                assert_eq!((again.len(), again[0].key, &again[0].title), (1, event.key, &event.title));
            }
        }
        if let Some(whole) = &whole {
            let expected = if list { &whole[index] } else { whole };
            assert!(expected.is_object());
            for text in [json, &line] {
                assert_eq!(&serde_json::from_str::<Value>(text).expect("a part of JSON"), expected);
            }
        }
    }
    let redaction: Redaction = "title,device.user_data,app.id".parse().expect("good paths");
    let (redacted, moved) = redaction.apply(body, events.clone());
    assert_eq!(moved.len(), events.len());
    for (before, after) in events.iter().zip(&moved) {
        assert_eq!(before.key, after.key);
        let after = &redacted[after.span.clone()];
        assert!(after.starts_with(b"{") && serde_json::from_slice::<&RawValue>(after).is_ok());
        let value = serde_json::from_slice::<Value>(after);
        assert!(value.is_ok() || whole.is_none());
        if let Ok(value) = value {
            assert!(value.get("title").is_none_or(|title| title == "[redacted]"));
        }
    }
});
