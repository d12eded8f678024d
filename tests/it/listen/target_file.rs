//! Named targets in a file.

use std::fs;
use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;

use super::{Receiver, Sink, files, pending};
use crate::support::{Home, have, wait_until};

fn write(home: &Home, targets: &str) {
    fs::write(home.path().join("targets.toml"), targets).unwrap();
}

fn target(name: &str, sink: &Sink, rest: &str) -> String {
    format!("[[target]]\nname = '{name}'\nurl = '{}'\n{rest}\n", sink.url)
}

const CONFIG: [&str; 4] = ["--config", "targets.toml", "--retry-wait", "0.05"];

/// Asks it to read its files again, and waits until it has: so many times in all.
fn reload(receiver: &Receiver, says: &str, times: usize) {
    receiver.signal(Signal::HUP);
    wait_until(says, || receiver.log().matches(says).count() >= times);
}

#[test]
fn targets_are_as_the_file_says() {
    let home = Home::new();
    let (crm, chat) = (Sink::always("200 OK"), Sink::always("204 No Content"));
    fs::write(home.path().join("token"), "Bearer t0ken-0123\n").unwrap();
    fs::write(home.path().join("chat-url"), &chat.url).unwrap();
    let own = "events = ['new_crash']\nheaders = { Authorization = { file = 'token' }, X-Team = 'mobile' }\nsign_with = 'key'\n";
    let chat_target = "[[target]]\nname = 'chat'\nurl_file = 'chat-url'\ntemplate = 'own.txt'\n";
    fs::write(home.path().join("own.txt"), "{{ type }} {{ id }}").unwrap();
    let script = "[[target]]\nname = 'run'\nexec = ['./run', 'a b']\nevents = ['issue']\n";
    fs::write(home.path().join("run"), "#!/bin/sh\ncat > \"ran $1\"\n").unwrap();
    fs::set_permissions(home.path().join("run"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    write(&home, &[&target("crm", &crm, own), chat_target, script].concat());
    let receiver = Receiver::start(&home, &[&CONFIG[..], &["-vv", "--forward-to", &crm.url]].concat());
    receiver.post(r#"[{"id":"1","type":"crash"},{"id":"2","type":"issue"}]"#);
    wait_until("everything is forwarded", || pending(&home) == 0);
    let calls = crm.wait_for(2);
    let crm_call = calls.iter().find(|call| call.headers.iter().any(|(name, _)| name == "x-team")).unwrap();
    assert_eq!(
        (crm_call.body.as_str(), crm_call.header("authorization")),
        (r#"[{"id":"1","type":"crash"}]"#, "Bearer t0ken-0123")
    );
    assert!(crm_call.header("webhook-signature").starts_with("v1,"));
    let mut messages: Vec<_> = chat.wait_for(2).into_iter().map(|call| call.body).collect();
    messages.sort();
    assert_eq!(messages, ["crash 1", "issue 2"]);
    assert_eq!(fs::read_to_string(home.path().join("ran a b")).unwrap(), r#"{"id":"2","type":"issue"}"#);
    assert_eq!(receiver.metric("bugfender_hooks_forwarded_total{target=\"chat\"}"), 2);
    let listed = home.run(["targets", "list", "-q"]).stdout;
    let names: Vec<&str> = listed.lines().filter(|name| !name.starts_with("http")).collect();
    assert_eq!(names, ["chat", "crm", "run"]);
    let forwards = home.json(&["events", "show", "1"])["forwards"].clone();
    assert_eq!(forwards[0]["target"], "chat");
    assert_eq!(home.run(["events", "list", "-q", "--target", "run"]).stdout, "2\n");
    let (code, log) = receiver.end();
    assert!(code == 0 && !log.contains("t0ken"), "{log}");
}

#[test]
fn the_file_is_read_again_and_nothing_pending_is_lost() {
    let home = Home::new();
    let (first, second) = (Sink::always("503 Busy"), Sink::always("200 OK"));
    write(&home, &target("first", &first, "max_age = '9d'"));
    let receiver = Receiver::start(&home, &CONFIG);
    receiver.event("a");
    first.wait_for(1);
    // A wrong file changes nothing.
    write(&home, &target("first", &second, "max_inflight = 3"));
    reload(&receiver, "the targets were not reloaded: ", 1);
    assert!(receiver.log().contains("line 4: unknown key `max_inflight`"), "{}", receiver.log());
    // Another takes its place: what is pending for the first is kept, and events go to the other from now on.
    write(&home, &target("second", &second, ""));
    reload(&receiver, "reloaded the targets", 1);
    wait_until("what is left is said", || receiver.log().contains("forwards pending for first, which is not a target"));
    receiver.event("b");
    assert_eq!(second.wait_for(1)[0].id(), "b");
    wait_until("one is pending", || pending(&home) == 1);
    // It is there again, elsewhere.
    write(
        &home,
        &[target("first", &second, "max_in_flight = 2"), target("second", &first, "events = ['issue']")].concat(),
    );
    reload(&receiver, "reloaded the targets", 2);
    wait_until("everything is forwarded", || pending(&home) == 0);
    assert_eq!(second.ids().len(), 2);
    receiver.event("c");
    assert_eq!(second.wait_for(3)[2].id(), "c");
    let (code, log) = receiver.end();
    assert!(code == 0 && log.contains("ERROR"), "{log}");
    let backlog = super::inbox(&home).backlog().unwrap();
    assert_eq!((backlog.pending, backlog.dead), (0, 0));
}

#[test]
fn a_filter_picks_events_and_loses_none() {
    let home = Home::new();
    let sink = Sink::always("200 OK");
    let other = Sink::always("200 OK");
    let picky = target("picky", &sink, "filter = '.n > 1 or (.type == \"odd\" and error(\"odd\"))'\nrate = 1000");
    let deep = target("deep", &other, "filter = 'def f: 1 + f; f'");
    write(&home, &[picky, deep].concat());
    let receiver = Receiver::start(&home, &CONFIG);
    receiver.post(r#"[{"id":"1","n":1},{"id":"2","n":2},{"id":"3","n":3},{"id":"4","n":0,"type":"odd"}]"#);
    wait_until("everything is forwarded", || pending(&home) == 0);
    let mut bodies: Vec<_> = sink.calls().into_iter().map(|call| call.body).collect();
    bodies.sort();
    let expected = [r#"[{"id":"2","n":2}]"#, r#"[{"id":"3","n":3}]"#, r#"[{"id":"4","n":0,"type":"odd"}]"#];
    assert_eq!(bodies, expected);
    // What it fails over is forwarded, and what recurses without end takes nothing down.
    assert_eq!(other.ids().len(), 4);
    let failed = |name: &str| receiver.metric(&format!("bugfender_hooks_failed_filters_total{{target=\"{name}\"}}"));
    assert_eq!((failed("picky"), failed("deep")), (1, 4));
    let log = receiver.log();
    assert!(log.contains("picky: its filter failed, and the event is forwarded"), "{log}");
    // An event that it does not match never was on its way there.
    let skipped = home.json(&["events", "show", "1"]);
    let targets: Vec<_> =
        skipped["forwards"].as_array().unwrap().iter().map(|forward| forward["target"].clone()).collect();
    assert_eq!((targets, skipped["status"].as_str()), (vec!["deep".into()], Some("forwarded")));
    assert_eq!(receiver.end().0, 0);
}

#[test]
fn what_is_pending_together_is_taken_apart_by_a_new_filter() {
    let home = Home::new();
    let (down, up) = (Sink::always("503 Busy"), Sink::always("200 OK"));
    write(&home, &target("crm", &down, ""));
    let receiver = Receiver::start(&home, &CONFIG);
    receiver.post(r#"[{"id":"1","n":1},{"id":"2","n":2},{"id":"3","n":3}]"#);
    down.wait_for(1);
    write(&home, &target("crm", &up, "filter = '.n != 1'"));
    reload(&receiver, "reloaded the targets", 1);
    wait_until("everything is forwarded", || pending(&home) == 0);
    let bodies: Vec<_> = up.calls().into_iter().map(|call| call.body).collect();
    assert_eq!(bodies, [r#"[{"id":"2","n":2}]"#, r#"[{"id":"3","n":3}]"#]);
    assert_eq!(receiver.end().0, 0);
}

#[test]
fn a_secret_that_is_gone_is_not_made_anew_by_a_reload() {
    let home = Home::new();
    let sink = Sink::always("200 OK");
    write(&home, &target("crm", &sink, "sign_with = 'key'"));
    let receiver = Receiver::start(&home, &CONFIG);
    fs::remove_file(home.path().join("key")).unwrap();
    reload(&receiver, "the targets were not reloaded: ", 1);
    assert!(!home.path().join("key").exists());
    receiver.event("1");
    assert!(sink.wait_for(1)[0].header("webhook-signature").starts_with("v1,"));
    let refused = super::refused(&home, &[&CONFIG[..], &["--forward-to", "-"]].concat());
    assert!(refused.code == 2 && refused.stderr.contains("standard input"), "{refused}");
}

#[test]
fn no_more_events_a_second_go_than_the_rate() {
    let home = Home::new();
    let sink = Sink::always("200 OK");
    write(&home, &target("slow", &sink, "rate = 5"));
    let receiver = Receiver::start(&home, &CONFIG);
    for number in 0..10 {
        receiver.event(number);
    }
    let calls = sink.wait_for(10);
    // Five at once, and then one each 200 ms.
    let took = calls[9].at - calls[0].at;
    assert!(took >= Duration::from_millis(850), "{took:?}");
    assert_eq!(receiver.end().0, 0);
}

#[test]
fn a_file_is_checked_without_a_receiver() {
    let home = Home::new();
    let sink = Sink::always("200 OK");
    let check = ["listen", "--config", "targets.toml", "--check"];
    write(&home, &[target("a", &sink, "sign_with = 'key'"), target("b", &sink, "template = 'slack'")].concat());
    let run = home.run(check);
    assert!(run.code == 0 && run.stderr.contains("targets.toml is valid: 2 targets"), "{run}");
    assert!(!home.path().join("key").exists() && !files(home.path()).iter().any(|file| file.ends_with("inbox.db")));
    for (wrong, said) in [
        ("rat = 3", "line 4: unknown key `rat`"),
        ("template = 'none.txt'", "target a: the template"),
        ("headers = { x = { file = 'none' } }", "none: No such file"),
    ] {
        write(&home, &target("a", &sink, wrong));
        let run = home.run(check);
        assert!(run.code == 2 && run.stderr.contains(said), "{run}");
    }
    write(&home, "[[target]]\nname = 'a'\nexec = ['./no-such-program']\n");
    let run = home.run(check);
    assert!(run.code == 2 && run.stderr.contains("there is no such program"), "{run}");
    assert_eq!(home.run(["listen", "--check"]).code, 2);
    assert_eq!(super::refused(&home, &["--config", "missing.toml"]).code, 2);
}

/// Whether the schema allows what the examples say, and not what is wrong.
const VALIDATE: &str = r#"
import json, jsonschema, pathlib, sys, tomllib
dir = pathlib.Path(sys.argv[1])
schema = json.loads((dir / "targets.schema.json").read_text())
jsonschema.Draft202012Validator.check_schema(schema)
validator = jsonschema.Draft202012Validator(schema)
good = tomllib.loads((dir / "targets.toml").read_text())
validator.validate(good)
for change in [{"rat": 1}, {"rate": 0}, {"exec": ["x"]}, {"url_file": "x"}, {"name": "a b"}, {"timeout": 0}, {"headers": {"x": {"flie": "y"}}}]:
    assert not validator.is_valid({"target": [good["target"][0] | change]}), change
assert not validator.is_valid({"target": [good["target"][2] | {"template": "slack"}]})
"#;

#[test]
fn the_example_is_valid() {
    let contrib = Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib/listen");
    let home = Home::new();
    let run = home.run(["listen", "--check", "--config", contrib.join("targets.toml").to_str().unwrap()]);
    assert!(run.code == 0 && run.stderr.contains("3 targets"), "{run}");
    let has_validator = || {
        std::process::Command::new("python3")
            .args(["-c", "import jsonschema"])
            .output()
            .is_ok_and(|out| out.status.success())
    };
    if have("python3") && has_validator() {
        super::run_program("python3", &["-c", VALIDATE, contrib.to_str().unwrap()], b"");
    }
}
