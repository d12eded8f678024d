//! A registry or inbox that does not exist: made and said, or refused.

use std::fs;

use crate::support::{Home, SandboxServer, Signal, signal, wait_for_line};

const SUBSCRIBE: [&str; 7] =
    ["subscribe", "--app-id", "1001", "--event", "new_crash", "--target-url", "https://hooks.example.com/bf"];

#[test]
fn a_new_registry_is_said_once_and_on_standard_error() {
    let sandbox = SandboxServer::start();
    let home = Home::of(&sandbox);
    let said = format!("made a new registry at {}", home.registry().display());
    let first = home.run([&SUBSCRIBE[..], &["--output", "json"]].concat());
    assert_eq!(first.code, 0, "{first}");
    assert!(first.stderr.contains(&said) && first.json().is_array(), "{first}");
    let again = home.run(SUBSCRIBE);
    assert!(again.code == 0 && !again.to_string().contains("made a new"), "{again}");
    let quiet = Home::of(&sandbox).run([&SUBSCRIBE[..], &["-q"]].concat());
    assert_eq!((quiet.code, quiet.stderr.as_str()), (0, ""), "{quiet}");
}

#[test]
fn a_required_registry_is_not_made() {
    let sandbox = SandboxServer::start();
    let strict = || Home::of(&sandbox).set("BUGFENDER_HOOKS_REQUIRE_STORE", "1");
    let removal = ["unsubscribe", "7"];
    for (home, args) in [
        (strict(), SUBSCRIBE.to_vec()),
        (strict(), removal.to_vec()),
        (Home::of(&sandbox), [&SUBSCRIBE[..], &["--require-store"]].concat()),
        // A file that is empty is no registry.
        (strict(), [&["--store", "sqlite:empty.db"], &SUBSCRIBE[..]].concat()),
    ] {
        fs::write(home.path().join("empty.db"), "").unwrap();
        let run = home.run(args.iter().chain(&["--output", "json"]));
        assert_eq!((run.code, run.error()["category"].as_str()), (9, Some("store")), "{run}");
        assert!(run.error()["message"].as_str().unwrap().contains(".db does not exist"), "{run}");
        assert!(run.error()["hint"].as_str().unwrap().contains("BUGFENDER_HOOKS_REQUIRE_STORE"), "{run}");
        assert!(!home.registry().exists());
    }
    assert_eq!(sandbox.hooks().len(), 0);
    let home = Home::of(&sandbox);
    home.json(&SUBSCRIBE);
    assert_eq!(home.run([&SUBSCRIBE[..], &["--require-store"]].concat()).code, 0);
    let odd = home.set("BUGFENDER_HOOKS_REQUIRE_STORE", "maybe").run(["list"]);
    assert!(odd.code == 2 && odd.stderr.contains("BUGFENDER_HOOKS_REQUIRE_STORE must be 1 or 0"), "{odd}");
}

#[test]
fn listen_says_that_its_inbox_is_new_or_refuses() {
    let home = Home::new();
    let listen = ["listen", "--listen", "127.0.0.1:0"];
    let strict = home.run([&listen[..], &["--require-store"]].concat());
    assert_eq!(strict.code, 9, "{strict}");
    assert!(strict.stderr.contains("registry.inbox.db does not exist"), "{strict}");
    // Nor is there a new key, which no hook delivers to.
    assert!(!home.registry().with_extension("receiver-key").exists());
    let mut child = home.spawn(&listen);
    wait_for_line(&mut child, "made a new inbox at");
    signal(&child, Signal::TERM);
    child.wait().unwrap();
    let mut child = home.spawn(&[&listen[..], &["--require-store"]].concat());
    wait_for_line(&mut child, "istening");
    signal(&child, Signal::TERM);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn list_says_when_the_store_that_was_named_is_not_there() {
    let home = Home::new();
    let run = home.run(["--store", "sqlite:nope.db", "list", "--output", "json"]);
    assert_eq!((run.code, run.stdout.as_str()), (0, "[]\n"), "{run}");
    assert!(run.stderr.contains("the registry nope.db does not exist (--store)"), "{run}");
    let home = home.set("BUGFENDER_HOOKS_STORE", "sqlite:gone.db");
    let run = home.run(["list"]);
    assert!(run.stderr.contains("the registry gone.db does not exist (BUGFENDER_HOOKS_STORE)"), "{run}");
    let run = home.unset("BUGFENDER_HOOKS_STORE").run(["list"]);
    assert!(run.code == 0 && !run.stderr.contains("does not exist"), "{run}");
}
