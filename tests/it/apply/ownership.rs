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
    let warning = "warning: the plan removes 4 of 10 hooks, more than 30 %: apply needs --allow-large-removal\n";
    assert_eq!(plan(&home, &["--prune"]).stderr, warning);
    let annotation = warning.replace("warning: ", "::warning::").replace('%', "%25");
    assert_eq!(plan(&home, &["--prune", "--output", "github"]).stderr, annotation);
    // Programs and reviewers know it, too.
    let brakes = home.json(&["plan", "-f", "hooks.toml", "--prune"])["brakes"].clone();
    assert_eq!(
        brakes,
        json!([{"brake": "large_removal", "message": "the plan removes 4 of 10 hooks, more than 30 %",
                "flag": "--allow-large-removal"}])
    );
    let comment = plan(&home, &["--prune", "--output", "markdown"]).stdout;
    let paragraph = "\n\nmobile: 4 to remove; 6 up to date.\n\n**`apply` will refuse this:** the plan removes 4 of 10 \
                     hooks, more than 30 %: it needs `--allow-large-removal`.\n\nChecksum: `";
    assert!(comment.contains(paragraph), "{comment}");
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
fn a_plan_says_what_apply_will_refuse() {
    let sandbox = SandboxServer::start();
    let home = Home::of(&sandbox);
    for_apps(1..=2).write(&home);
    let brakes = |more: &[&str]| home.json(&[&["plan", "-f", "hooks.toml"], more].concat())["brakes"].clone();
    assert_eq!((&brakes(&[])[0]["brake"], &brakes(&[])[0]["flag"]), (&json!("initial"), &json!("--initial")));
    let run = plan(&home, &["--output", "github"]);
    assert!(run.stderr.starts_with("::warning::the registry holds no hook of this manifest"), "{run}");
    let comment = plan(&home, &["--output", "markdown"]).stdout;
    assert!(comment.contains("\n**`apply` will refuse this:** the registry holds no hook of"), "{comment}");
    apply_first(&home);
    assert_eq!(brakes(&[]), json!([]));
    Manifest { name: "mobile", hooks: Vec::new() }.write(&home);
    let brake = &brakes(&["--prune"])[0];
    assert_eq!((&brake["brake"], &brake["flag"]), (&json!("empty"), &json!(null)));
    let comment = plan(&home, &["--prune", "--output", "markdown"]).stdout;
    assert!(
        comment.contains("\n**`apply` will refuse this:** the manifest names no hooks: nothing is removed.\n"),
        "{comment}"
    );
    assert_eq!(apply(&home, &["--yes", "--prune"]).code, 2);
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
