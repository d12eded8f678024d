//! Whose hooks are changed, and what is never removed without saying so.

use serde_json::json;

use super::{Manifest, URL, apply, apply_first, counts, for_apps, hooks_on_record, plan};
use crate::assert_shown;
use crate::support::{Home, SandboxServer};

#[test]
fn hooks_without_an_owner_are_left_unless_they_are_adopted() {
    let sandbox = SandboxServer::start();
    let home = Home::of(&sandbox);
    home.subscribe("1", "new_crash", URL);
    for_apps(1..=2).write(&home);
    assert_shown!("unowned", plan(&home, &[]));
    apply_first(&home);
    assert_eq!(sandbox.hooks().len(), 2);
    assert!(hooks_on_record(&home)[0]["managed_by"].is_null());
    let run = apply(&home, &["--yes", "--adopt", "--output", "json"]);
    assert_eq!((run.code, &counts(&run)["adopted"]), (0, &json!(1)), "{run}");
    assert_eq!(hooks_on_record(&home)[0]["managed_by"], "mobile");
    assert_eq!(sandbox.hooks().len(), 2);
    let history = home.json(&["history", "1"]);
    assert_eq!(history[0]["action"], "adopted", "{history}");
    // Only now it may go.
    for_apps(2..=2).write(&home);
    assert_eq!(apply(&home, &["--yes", "--prune"]).code, 0);
    assert_eq!(sandbox.hooks().len(), 1);
}

#[test]
fn hooks_of_another_manifest_are_a_refusal() {
    let sandbox = SandboxServer::start();
    let home = Home::of(&sandbox);
    for_apps(1..=1).write(&home);
    apply_first(&home);
    Manifest { name: "web", hooks: vec![(vec![1, 2], "new_crash", URL.to_owned())] }.write(&home);
    let before = sandbox.requests("").len();
    assert_shown!("foreign_in_a_plan", plan(&home, &["--adopt"]));
    let run = apply(&home, &["--yes", "--initial", "--adopt"]);
    assert_eq!(run.code, 2, "{run}");
    assert!(run.stderr.contains("hook 1 belongs to the manifest mobile"), "{run}");
    assert_eq!(sandbox.requests("").len(), before);
    // Whatever it does not name is nobody's business.
    Manifest { name: "web", hooks: vec![(vec![2], "new_crash", URL.to_owned())] }.write(&home);
    assert_eq!(apply(&home, &["--yes", "--initial", "--prune"]).code, 0);
    assert_eq!(sandbox.hooks().len(), 2);
}

#[test]
fn many_hooks_are_removed_only_when_that_is_said() {
    let sandbox = SandboxServer::start();
    let home = Home::of(&sandbox);
    for_apps(1..=10).write(&home);
    apply_first(&home);
    for_apps(1..=6).write(&home);
    assert_eq!(apply(&home, &["--yes"]).code, 0);
    assert_eq!(sandbox.hooks().len(), 10);
    assert_shown!("large_removal", apply(&home, &["--yes", "--prune"]));
    assert!(plan(&home, &["--prune"]).stderr.contains("apply needs --allow-large-removal"));
    assert_eq!(sandbox.hooks().len(), 10);
    assert_eq!(apply(&home, &["--yes", "--prune", "--allow-large-removal"]).code, 0);
    assert_eq!(sandbox.hooks().len(), 6);
}

#[test]
fn a_manifest_that_names_nothing_removes_nothing() {
    let sandbox = SandboxServer::start();
    let home = Home::of(&sandbox);
    for_apps(1..=2).write(&home);
    apply_first(&home);
    Manifest { name: "mobile", hooks: Vec::new() }.write(&home);
    assert_shown!("empty_manifest", apply(&home, &["--yes", "--prune", "--allow-large-removal"]));
    assert_eq!(apply(&home, &["--yes"]).code, 0);
    assert_eq!(sandbox.hooks().len(), 2);
}

#[test]
fn a_registry_that_was_lost_is_not_filled_again_unasked() {
    let sandbox = SandboxServer::start();
    let home = Home::of(&sandbox);
    for_apps(1..=2).write(&home);
    apply_first(&home);
    let other = Home::of(&sandbox);
    for_apps(1..=2).write(&other);
    let run = apply(&other, &["--yes"]);
    assert_eq!(run.code, 2, "{run}");
    assert!(run.stderr.contains("give --initial"), "{run}");
    assert!(!other.registry().exists());
    assert_eq!(sandbox.hooks().len(), 2);
    // Once it holds hooks, --initial does no harm.
    assert_eq!(apply(&home, &["--yes", "--initial"]).code, 0);
    assert_eq!(sandbox.hooks().len(), 2);
}

#[test]
fn a_manifest_that_cannot_be_read_is_not_one_that_names_nothing() {
    let sandbox = SandboxServer::start();
    let home = Home::of(&sandbox);
    std::fs::create_dir(home.path().join("hooks")).unwrap();
    for_apps(1..=1).write(&home);
    std::fs::rename(home.path().join("hooks.toml"), home.path().join("hooks/a.toml")).unwrap();
    let hook = format!("[[hook]]\napp_id = 2\nevents = \"new_crash\"\ntarget_url = \"{URL}\"\n");
    std::fs::write(home.path().join("shared.toml"), hook).unwrap();
    std::os::unix::fs::symlink("../shared.toml", home.path().join("hooks/b.toml")).unwrap();
    let apply = |more: &[&str]| home.run([&["apply", "-f", "hooks", "--yes"], more].concat());
    assert_eq!(apply(&["--initial"]).code, 0);
    std::fs::remove_file(home.path().join("shared.toml")).unwrap();
    let run = apply(&["--prune"]);
    assert!(run.code == 2 && run.stderr.contains("hooks/b.toml: No such file"), "{run}");
    assert_eq!(sandbox.hooks().len(), 2);
}
