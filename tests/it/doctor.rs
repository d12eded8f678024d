//! `doctor`: what it looks at, and what it says to do.

use crate::assert_shown;
use crate::support::{Home, SandboxServer};

const URL: &str = "https://hooks.example.com/bf";

#[test]
fn all_is_well() {
    let sandbox = SandboxServer::start();
    let home = Home::of(&sandbox);
    home.subscribe("1001", "new_crash", URL);
    assert_shown!("well", home.run(["doctor", "--output", "json", "--timeout", "10"]));
}

#[test]
fn an_empty_home() {
    assert_shown!("empty", Home::new().run(["doctor", "--jq", ".[] | .check + \": \" + .status"]));
}

#[test]
fn trouble_is_named_with_what_to_do() {
    let sandbox = SandboxServer::with_faults(&["subscribe=drop", "unsubscribe=500x4", "me=401"]);
    let home = Home::of(&sandbox);
    home.run(["subscribe", "--app-id", "1001", "--event", "new_crash", "--target-url", URL]);
    home.json(&["import", "9", "--app-id", "1001", "--event", "new_user_feedback", "--target-url", URL]);
    home.run(["unsubscribe", "9"]);
    assert_shown!("trouble", home.run(["doctor", "--output", "json"]));
    assert_shown!("trouble_in_blocks", home.run(["doctor"]));
}

#[test]
fn a_damaged_registry_is_found() {
    let sandbox = SandboxServer::start();
    let home = Home::of(&sandbox);
    for event in ["new_crash", "new_user_feedback"] {
        home.subscribe("1001", event, URL);
    }
    let mut bytes = std::fs::read(home.registry()).unwrap();
    // The beginning of a page, which says what is in it.
    let page = bytes.len() / 2 / 4096 * 4096;
    bytes[page..page + 2048].fill(0x5a);
    std::fs::write(home.registry(), &bytes).unwrap();
    let run = home.run(["doctor"]);
    assert_eq!(run.code, 9, "{run}");
    assert!(run.stderr.contains("damaged"), "{run}");
    assert_eq!(std::fs::read(home.registry()).unwrap(), bytes);
}

#[test]
fn a_place_where_no_registry_can_be_made_is_found() {
    let home = Home::new().set("BUGFENDER_HOOKS_STORE", "sqlite:/proc/nope/registry.db");
    let run = home.run(["doctor", "--output", "json"]);
    let checks = run.json();
    let registry = checks.as_array().unwrap().iter().find(|check| check["check"] == "registry").unwrap();
    assert_eq!(registry["status"], "failed", "{run}");
    let detail = registry["detail"].as_str().unwrap();
    assert!(detail.starts_with("the registry /proc/nope/registry.db: it cannot be created in /proc: "), "{run}");
    assert_eq!(home.run(["list"]).code, 0);
}
