//! Absurd requests: they are answered in words, and break nothing.

use super::client::ask;
use super::{OWN, received};
use crate::ui::{PageServer, on_each_store};

/// What is refused.
const REFUSED: [&str; 43] = [
    "/?before=99999999999999999999",
    "/?before=x",
    "/?before=",
    "/?note=-1",
    "/?q=a&q=b",
    "/?q=%00",
    "/?type=%00",
    "/?target=a%00b",
    "/?app=%00",
    "/?app=99999999999999999999",
    "/?status=gone",
    "/?since=99999999999999d",
    "/?until=-",
    "/?since=9999-99-99",
    "/events/abc",
    "/events/%ff",
    "/events/1.5",
    "/events/99999999999999999999",
    "/events/0",
    "/events/-1",
    "/events/9223372036854775807",
    "/events/-9223372036854775808/raw",
    "/events/x/raw",
    "/events/stream?after=x",
    "/events/stream?since=x",
    "/events/new?after=99999999999999999999",
    "/events/states",
    "/events/states?from=1",
    "/events/states?from=x&to=y",
    "/quarantine/x",
    "/quarantine/9223372036854775807",
    "/quarantine/-1",
    "/hooks/x",
    "/hooks/-1",
    "/hooks/0",
    "/jobs/x",
    "/jobs/-1",
    "/jobs/18446744073709551615",
    "/..%2f..%2fetc/passwd",
    "/assets/..%2f..%2fCargo.toml",
    "/assets/%00",
    "//evil.example/",
    "/%ff",
];

/// What is odd, and answered.
const FINE: [&str; 17] = [
    "/?before=-1",
    "/?before=0",
    "/?before=9223372036854775807",
    "/?before=-9223372036854775808",
    "/?q=%ff%fe",
    "/?q=%22%22%3A%3D%22%5C",
    "/?type=%ff&target=%F0%9F%92%A5",
    "/?=&&%&=%zz",
    "/?since=1900-01-01&until=2999-01-01",
    "/?since=0001-01-01&until=9999-12-30",
    "/?app=-9223372036854775808",
    "/overview?range=forever",
    "/targets?note=9",
    "/events/states?from=9223372036854775807&to=-9223372036854775808",
    "/events/new?after=-9223372036854775808",
    "/events/new?after=9223372036854775807",
    "/events/1?note=18446744073709551615&since=x",
];

/// Forms, with the status of their answers.
const FORMS: [(&str, &str, u16); 21] = [
    ("/events/x/delete", "", 400),
    ("/events/9223372036854775807/retry", "target=%00", 303),
    ("/events/1/retry", "target=%ff%00", 303),
    ("/events/1/replay", "target=%00", 422),
    ("/events/1/replay", "url=%00", 422),
    ("/events/1/replay", "url=http://", 422),
    ("/events/1/replay", "target=a&target=b", 422),
    ("/events/99/replay", "url=http://127.0.0.1:9/", 404),
    ("/events/1/replay", "", 422),
    ("/targets/1/explode", "", 400),
    ("/targets/-1/pause", "", 404),
    ("/targets/9223372036854775807/drop", "", 404),
    ("/jobs", "", 422),
    ("/jobs", "action=explode", 422),
    ("/jobs", "action=forward&to=%00", 422),
    ("/jobs?q=%00", "action=delete", 422),
    ("/jobs?since=x", "action=delete", 422),
    ("/jobs?app=x", "action=retry", 422),
    ("/jobs/9/cancel", "", 404),
    ("/nothing", "", 404),
    ("/", "", 405),
];

#[test]
fn absurd_requests_are_answered_in_words() {
    on_each_store(|home| {
        let receiver = received(home, "Boom");
        let page = PageServer::start(home, &["--allow-target", "127.0.0.1"]);
        let cookie = page.sign_in();
        for path in REFUSED {
            let answer = page.ask(path, &[&cookie]);
            assert!((400..500).contains(&answer.status), "{path}: {answer:?}");
            assert!(answer.body.contains("<h1"), "{path}: {answer:?}");
        }
        let (long, list) = ("x".repeat(12_000), vec!["1"; 5000].join(","));
        let search = "a:b+".repeat(3000);
        let large = [("q", &long), ("type", &long), ("app", &list), ("type", &list), ("target", &long), ("q", &search)];
        let large = large.map(|(name, value)| format!("/?{name}={value}"));
        for path in FINE.into_iter().chain(large.iter().map(String::as_str)) {
            let answer = page.ask(path, &[&cookie]);
            assert_eq!(answer.status, 200, "{path}: {answer:?}");
        }
        for (path, form, status) in FORMS {
            let answer = page.post(path, &[&cookie, OWN], form);
            assert_eq!(answer.status, status, "{path} {form}: {answer:?}");
            assert!(status == 303 || answer.body.contains("<h1"), "{path} {form}: {answer:?}");
        }
        // What is no form.
        let json = [cookie.as_str(), OWN, "content-type: application/json"];
        let answer = ask(page.address(), "POST /jobs", &json, r#"{"action":"delete"}"#);
        assert!(answer.status == 415 && answer.body.contains("<h1"), "{answer:?}");
        assert_eq!(home.json(&["events", "list"]).as_array().unwrap().len(), 1);
        assert!(!page.log().contains("panicked") && !page.log().contains("bug"), "{}", page.log());
        drop(receiver);
    });
}
