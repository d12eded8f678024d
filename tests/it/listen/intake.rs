//! What is taken, how it is stored, what is counted.

use bugfender_hooks::domain::event::Sender;
use rusqlite::Connection;
use serde_json::json;

use super::{Receiver, events, ids, inbox_file, quarantined};
use crate::support::Home;

/// Both shapes, fields nobody knows, numbers and escapes that no reader writes back as they were.
const BATCH: &str = " [ {\"id\" : \"crash-1\",\"title\":\"b\\u00fcm \\ud83d\\udca5\",\"app\":{\"id\":7},\"type\":\"crash\",
  \"big\":1.0e400, \"new\":{\"deep\":[{}]}} ,\n{\"id\":12345,\"title\":\"old\",\"app\":{\"name\":\"n\",\"key\":\"k\"},\"status\":0,\"session_id\":3}\t]\r\n";

/// The bodies of all deliveries, from what is on the disk.
fn bodies(home: &Home) -> Vec<Vec<u8>> {
    let connection = Connection::open(inbox_file(home)).unwrap();
    let mut statement = connection.prepare("SELECT length, body FROM deliveries ORDER BY id").unwrap();
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    let body = |row: rusqlite::Result<(Option<u32>, Vec<u8>)>| match row.unwrap() {
        (None, body) => body,
        (Some(length), packed) => lz4_flex::block::decompress(&packed, length as usize).unwrap(),
    };
    rows.map(body).collect()
}

#[test]
fn both_shapes_are_stored_byte_for_byte() {
    let home = Home::new();
    let receiver = Receiver::start(&home, &[]);
    let reply = receiver.post_to(&receiver.path, &["content-type: application/json; charset=utf-8"], BATCH);
    assert_eq!((reply.status, reply.json()), (200, json!({"stored": 2, "duplicates": 0})));
    let stored = events(&home);
    let facts = |index: usize| {
        let event = &stored[index];
        (event.id.as_str(), event.event_type.as_deref(), event.app_id, event.title.as_deref())
    };
    assert_eq!(facts(0), ("crash-1", Some("crash"), Some(7), Some("büm 💥")));
    assert_eq!(facts(1), ("12345", None, None, Some("old")));
    assert!(stored.iter().all(|event| event.sender == Sender::Bugfender && event.duplicates == 0));
    let json = |index: usize| std::str::from_utf8(stored[index].json.as_deref().unwrap()).unwrap();
    assert!(BATCH.contains(json(0)) && json(0).ends_with(r#""new":{"deep":[{}]}}"#), "{}", json(0));
    assert!(json(1).starts_with(r#"{"id":12345"#) && json(1).ends_with("3}"), "{}", json(1));
    assert_eq!(bodies(&home), [BATCH.as_bytes()]);
    assert_eq!(receiver.end().0, 0);
}

#[test]
fn duplicates_are_counted_and_dropped() {
    let home = Home::new();
    let receiver = Receiver::start(&home, &[]);
    let sent = |receiver: &Receiver, body: &str| {
        let reply = receiver.post(body);
        assert_eq!(reply.status, 200, "{reply:?}");
        (reply.json()["stored"].as_i64().unwrap(), reply.json()["duplicates"].as_i64().unwrap())
    };
    // In one call; in a later one, with everything else changed; the number and the text are two ids.
    assert_eq!(sent(&receiver, r#"[{"id":"a"},{"id":"b"},{"id":"a","title":"x"},{"id":"a"}]"#), (2, 2));
    assert_eq!(sent(&receiver, r#"[{"title":"new","created_at":"1999","id":"\u0062"},{"id":"c"}]"#), (1, 1));
    assert_eq!(sent(&receiver, r#"[{"id":7},{"id":"7"}]"#), (2, 0));
    assert_eq!(receiver.metric(r#"bugfender_hooks_duplicate_events_total{source="bugfender"}"#), 3);
    assert_eq!(receiver.end().0, 0);
    // Another process knows them too.
    let receiver = Receiver::start(&home, &[]);
    assert_eq!(sent(&receiver, r#"[{"id":"c"},{"id":"d"},{"id":7}]"#), (1, 2));
    assert_eq!(receiver.end().0, 0);
    let counts: Vec<_> = events(&home).into_iter().map(|event| (event.id, event.duplicates)).collect();
    let expected = [("a", 2), ("b", 1), ("c", 1), ("7", 1), ("7", 0), ("d", 0)];
    assert_eq!(counts, expected.map(|(id, count)| (id.to_owned(), count)));
}

#[test]
fn what_cannot_be_read_is_refused_and_kept_apart() {
    let home = Home::new();
    let receiver = Receiver::start(&home, &[]);
    let deep = format!(r#"[{{"id":1,"x":{}{}}}]"#, "[".repeat(200_000), "]".repeat(200_000));
    let bad: [&[u8]; 9] = [
        b"",
        b"nonsense",
        b"[{\"id\":\"a\",\"title\":\"\xff\xfe\"}]",
        b"[{\"id\":\"cut",
        deep.as_bytes(),
        b"{\"id\":\"no array\"}",
        b"[{\"title\":\"no id\"}]",
        b"[{\"id\":\"good\"},{\"id\":null}]",
        b"[{\"id\":[1]}]",
    ];
    for body in bad {
        let reply = receiver.post(body);
        assert_eq!(reply.status, 400, "{reply:?}");
        assert!(!reply.json()["error"].as_str().unwrap().is_empty());
    }
    let mut kept = quarantined(&home);
    kept.reverse();
    assert_eq!(kept.iter().map(|kept| kept.body.as_slice()).collect::<Vec<_>>(), bad);
    assert!(
        kept.iter().all(|kept| !kept.reason.is_empty() && kept.content_type.as_deref() == Some("application/json"))
    );
    assert!(kept[4].reason.contains("deep"), "{}", kept[4].reason);
    assert!(events(&home).is_empty());
    assert_eq!(receiver.metric(r#"bugfender_hooks_rejected_calls_total{reason="malformed"}"#), 9);
    // It goes on as if nothing had been; an array of nothing is an array.
    receiver.event("good");
    let reply = receiver.post("[ ]");
    assert_eq!((reply.status, reply.json()), (200, json!({"stored": 0, "duplicates": 0})));
    assert_eq!(ids(&home), ["good"]);
    assert_eq!(receiver.end().0, 0);
}

#[test]
fn compressed_bodies_are_refused_and_not_opened() {
    let home = Home::new();
    let receiver = Receiver::start(&home, &[]);
    let bomb = "head -c 300000000 /dev/zero | gzip -1";
    let bomb = super::run_program("sh", &["-c", bomb], b"");
    assert!(bomb.len() < 4_000_000, "{}", bomb.len());
    let before = receiver.memory("VmHWM");
    for (encoding, body) in [("gzip", &bomb[..]), ("GZIP", b"x"), ("br", b"x"), ("zstd, gzip", b"x")] {
        let header = format!("content-encoding: {encoding}");
        let reply = receiver.post_to(&receiver.path, &["content-type: application/json", &header], body);
        assert_eq!(reply.status, 415, "{reply:?}");
    }
    let grown = receiver.memory("VmHWM") - before;
    assert!(grown < 40_000, "{grown} KiB");
    // Nothing is lost: what came is kept.
    let kept = quarantined(&home);
    assert_eq!((kept.len(), kept[3].body == bomb), (4, true));
    let reply = receiver.post_to(&receiver.path, &["content-encoding: Identity"], r#"[{"id":"plain"}]"#);
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(ids(&home), ["plain"]);
}

#[test]
fn what_is_redacted_is_nowhere() {
    let home = Home::new();
    let args = ["--redact", "device.user_data,title,session.user", "--redact", "app.name", "-vvv"];
    let receiver = Receiver::start(&home, &args);
    let body = r#"[{"id":"1","title":"of s3cret-1","type":"crash","app":{"id":7,"name":"s3cret-2"},"device":{"user_data":
        {"mail":"s3cret-3"},"name":"Pixel"},"session":[{"user":"s3cret-4"}],"\u0074itle2":1}]"#;
    assert_eq!(receiver.post(body).status, 200);
    assert_eq!(receiver.post(body).json()["duplicates"], 1);
    let broken =
        ["\"s3cret-5\"", "[\"s3cret-6\"]", "[{\"id\":true,\"title\":\"s3cret-7\"}]", "{\"s3cret-8\"", "s3cret-9"];
    let replies = broken.map(|body| receiver.post(body));
    let reply = receiver.post_to(&receiver.path, &["content-encoding: x"], "s3cret-10");
    assert_eq!(reply.status, 415, "{reply:?}");
    let kept = quarantined(&home);
    assert!(kept.len() == 6 && kept.iter().all(|kept| kept.body.is_empty()), "{kept:?}");
    let event = &events(&home)[0];
    assert_eq!((event.title.as_deref(), event.app_id), (None, Some(7)));
    let json = String::from_utf8(event.json.clone().unwrap()).unwrap();
    assert!(json.contains("\"name\":\"Pixel\"") && json.matches("[redacted]").count() == 4, "{json}");
    for reply in &replies {
        assert!(reply.status == 400 && !reply.body.contains("s3cret"), "{reply:?}");
    }
    // While it runs and when it has ended: no file of the store and no word of it has them.
    let look = || {
        for file in super::files(&home.data()) {
            let text = String::from_utf8_lossy(&std::fs::read(&file).unwrap()).into_owned();
            assert!(!text.contains("s3cret"), "{}", file.display());
        }
    };
    look();
    let (code, log) = receiver.end();
    assert!(code == 0 && log.contains("quarantine") && !log.contains("s3cret"), "{log}");
    look();
}
