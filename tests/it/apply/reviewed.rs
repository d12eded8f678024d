//! What was reviewed is done, or nothing.

use std::os::unix::fs::PermissionsExt;

use super::{apply, apply_first, for_apps, plan};
use crate::assert_shown;
use crate::support::{Home, Run, SandboxServer, Terminal};

#[test]
fn a_saved_plan_is_carried_out_as_it_was_reviewed() {
    let sandbox = SandboxServer::start();
    let home = Home::of(&sandbox);
    for_apps(1..=3).write(&home);
    assert_eq!(plan(&home, &["--out", "hooks.plan"]).code, 0);
    let mode = std::fs::metadata(home.path().join("hooks.plan")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let run = home.run(["apply", "hooks.plan", "--yes", "--initial"]);
    assert_eq!(run.code, 0, "{run}");
    assert_eq!(sandbox.hooks().len(), 3);
    // It is done: a second time it is another plan.
    assert_shown!("stale_plan", home.run(["apply", "hooks.plan", "--yes"]));
}

#[test]
fn a_plan_is_refused_when_registry_or_manifest_moved() {
    let sandbox = SandboxServer::start();
    let home = Home::of(&sandbox);
    for_apps(1..=2).write(&home);
    apply_first(&home);
    for_apps(1..=4).write(&home);
    let sum = plan(&home, &["--checksum", "--quiet"]).stdout;
    let sum = sum.trim();
    assert!(sum.len() == 64 && sum.bytes().all(|byte| byte.is_ascii_hexdigit()), "{sum}");
    assert!(plan(&home, &["--checksum"]).stdout.ends_with(&format!("Checksum: {sum}\n")));
    assert_eq!(home.json(&["plan", "-f", "hooks.toml"])["checksum"], sum);
    let refused = |arguments: &[&str]| {
        let run = apply(&home, &[&["--yes", "--checksum", sum], arguments].concat());
        assert_eq!(run.code, 2, "{run}");
        assert_eq!(sandbox.requests("POST /api/hook").len(), 2);
    };
    // Another flag, another manifest, another registry.
    refused(&["--prune", "--adopt"]);
    for_apps(1..=5).write(&home);
    refused(&[]);
    for_apps(1..=4).write(&home);
    home.json(&["forget", "2", "--yes"]);
    refused(&[]);
    home.json(&["import", "2", "--app-id", "2", "--event", "new_crash", "--target-url", super::URL]);
    refused(&[]);
    assert_eq!(apply(&home, &["--yes", "--adopt"]).code, 0);
    assert_eq!(sandbox.hooks().len(), 4);
}

#[test]
fn wrong_plans_are_told() {
    let sandbox = SandboxServer::start();
    let home = Home::of(&sandbox);
    for_apps(1..=1).write(&home);
    assert_shown!("manifest_for_a_plan", home.run(["apply", "hooks.toml", "--yes"]));
    assert_shown!("no_such_plan", home.run(["apply", "missing.plan", "--yes"]));
    plan(&home, &["--out", "hooks.plan"]);
    let elsewhere = SandboxServer::start();
    let home = home.set("BUGFENDER_API_URL", &elsewhere.url);
    assert_shown!("plan_for_another_installation", home.run(["apply", "hooks.plan", "--yes"]));
    assert_eq!(home.run(["apply"]).code, 2);
    assert_eq!(home.run(["apply", "hooks.plan", "-f", "hooks.toml"]).code, 2);
    assert_eq!(home.run_with_input(&["plan", "-f", "-", "--out", "p"], "name = \"x\"\n").code, 2);
}

#[test]
fn where_the_manifest_is_is_said_only_if_it_is_not_found() {
    let home = Home::at("https://bf.example", "t");
    for_apps(1..=2).write(&home);
    assert_eq!(plan(&home, &["--out", "hooks.plan"]).code, 0);
    let hint = "hint: ../hooks.plan names its manifest from the directory where it was made";
    std::fs::create_dir(home.path().join("elsewhere")).unwrap();
    let apply = |dir: &str, plan: &str| {
        let mut command = home.command(["apply", plan, "--yes"]);
        Run::of(command.current_dir(home.path().join(dir)).output().unwrap())
    };
    let run = apply("elsewhere", "../hooks.plan");
    assert!(run.code == 2 && run.stderr.contains(hint), "{run}");
    // Whatever else is wrong has nothing to do with that.
    std::fs::write(home.path().join("hooks.toml"), "name = \"mobile\"\n[[hook]]\ntarget_url = \"@gone\"\nx = 1\n")
        .unwrap();
    let run = apply("", "hooks.plan");
    assert!(run.code == 2 && run.stderr.matches("error: ").count() > 2, "{run}");
    assert!(!run.stderr.contains("names its manifest"), "{run}");
}

#[test]
fn a_plan_replaces_nothing_that_it_is_made_from() {
    let home = Home::at("https://bf.example", "t");
    let write = |name: &str, text: &str| std::fs::write(home.path().join(name), text).unwrap();
    let link = |target: &str, name: &str| std::os::unix::fs::symlink(target, home.path().join(name)).unwrap();
    std::fs::create_dir_all(home.path().join("hooks/more")).unwrap();
    let manifest = "name = \"mobile\"\n[[hook]]\napp_id = 1\nevents = \"all\"\ntarget_url = \"@../url.txt\"\n";
    write("hooks/a.toml", manifest);
    write("url.txt", "https://hooks.example.com/key\n");
    link("hooks/a.toml", "linked.plan");
    link("hooks", "linked");
    let plan = |out: &str| home.run(["plan", "-f", "hooks", "--out", out]);
    for out in ["hooks/a.toml", "hooks/more/../a.toml", "linked/a.toml", "linked.plan", "url.txt"] {
        let run = plan(out);
        let said = format!("--out {out}: the plan would replace a file that it is made from");
        assert!(run.code == 2 && run.stderr.contains(&said), "{run}");
    }
    for out in ["hooks/p.json", "linked/p.YAML"] {
        let run = plan(out);
        let said = format!("--out {out}: it would be read as a manifest of hooks");
        assert!(run.code == 2 && run.stderr.contains(&said), "{run}");
    }
    let stdout = plan("-");
    assert!(stdout.code == 2 && stdout.stderr.contains("--out -: a plan is saved in a file"), "{stdout}");
    let files = |dir: &str| std::fs::read_dir(home.path().join(dir)).unwrap().count();
    assert_eq!((files("hooks"), home.path().join("-").exists()), (2, false));
    assert_eq!(std::fs::read_to_string(home.path().join("hooks/a.toml")).unwrap(), manifest);
    // What is not read there may be.
    for out in ["hooks/p.plan", "hooks/more/p.json", "p.json"] {
        assert_eq!(plan(out).code, 0, "{out}");
    }
    assert_eq!(home.run(["apply", "p.json", "--yes"]).code, 2);
}

#[test]
fn off_a_terminal_yes_is_needed() {
    let sandbox = SandboxServer::start();
    let home = Home::of(&sandbox);
    for_apps(1..=1).write(&home);
    assert_shown!("without_yes", apply(&home, &["--initial"]));
    assert!(sandbox.requests("POST /api/hook").is_empty());
}

#[test]
fn on_a_terminal_it_asks() {
    let sandbox = SandboxServer::start();
    let home = Home::of(&sandbox);
    for_apps(1..=2).write(&home);
    let mut terminal = Terminal::run(&home, &["apply", "-f", "hooks.toml"]);
    terminal.wait_for("mobile: 2 to create. Apply this to");
    terminal.type_line("n");
    terminal.wait_for("nothing was changed");
    assert!(sandbox.hooks().is_empty());
    let mut terminal = Terminal::run(&home, &["apply", "-f", "hooks.toml"]);
    terminal.wait_for("+ create");
    terminal.wait_for("[y/N]");
    terminal.type_line("y");
    terminal.wait_for("mobile: 2 created.");
    assert_eq!(sandbox.hooks().len(), 2);
}
