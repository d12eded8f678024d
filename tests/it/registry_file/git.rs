//! A real git merges registries with the driver that `contrib/git` describes.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::{URL, manifest};
use crate::support::{Home, Run, SandboxServer, have};

/// A repository in a home, with the driver, and one hook on record.
fn repository(sandbox: &SandboxServer) -> Home {
    let home = Home::of(sandbox);
    home.json(&["import", "1", "--app-id", "1", "--event", "new_crash", "--target-url", URL]);
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib/git/README.md")).unwrap();
    let set_up =
        readme.split("## Merging").nth(1).unwrap().split_once("```sh\n").unwrap().1.split_once("```").unwrap().0;
    sh(&home, "git init -q -b main");
    sh(&home, set_up);
    sh(&home, &format!("{EXPORT} && git add . && {COMMIT} base"));
    home
}

const EXPORT: &str = "bugfender-hooks registry export hooks.registry.json";

const COMMIT: &str = "git commit -qam";

/// Runs a script, which must succeed.
fn sh(home: &Home, script: &str) {
    let run = try_sh(home, script);
    assert_eq!(run.code, 0, "{script}: {run}");
}

fn try_sh(home: &Home, script: &str) -> Run {
    let inner = home.command::<&str>([]);
    let binary = Path::new(env!("CARGO_BIN_EXE_bugfender-hooks")).parent().unwrap();
    let mut command = Command::new("bash");
    command.args(["-eu", "-c", script]).env_clear().current_dir(home.path());
    command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.env("PATH", format!("{}:/usr/local/bin:/usr/bin:/bin", binary.display()));
    for name in ["AUTHOR", "COMMITTER"] {
        command.env(format!("GIT_{name}_NAME"), "tests").env(format!("GIT_{name}_EMAIL"), "tests@example.com");
    }
    Run::of(command.output().unwrap())
}

/// A branch from main on which this command changed the registry, which is then as it was.
fn branch(home: &Home, name: &str, command: &str) {
    let changed = format!("bugfender-hooks --store sqlite:{name}.db {command}");
    let import = format!("bugfender-hooks --store sqlite:{name}.db registry import hooks.registry.json");
    let export = format!("bugfender-hooks --store sqlite:{name}.db registry export hooks.registry.json");
    let script = format!("git checkout -q -b {name} main && {import} && {changed} && {export} && {COMMIT} {name}");
    sh(home, &script);
}

fn import_of(id: i64, rest: &str) -> String {
    format!("import {id} --app-id {id} --event new_crash --target-url {URL} {rest}")
}

fn hooks(home: &Home) -> serde_json::Value {
    let text = fs::read_to_string(home.path().join("hooks.registry.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn ids(home: &Home) -> Vec<i64> {
    hooks(home)["hooks"].as_array().unwrap().iter().filter_map(|hook| hook["hook_id"].as_i64()).collect()
}

#[test]
fn hooks_of_two_branches_are_merged_rebased_and_picked() {
    if !have("git") {
        return;
    }
    let sandbox = SandboxServer::start();
    let home = repository(&sandbox);
    branch(&home, "one", &import_of(2, ""));
    branch(&home, "two", &import_of(3, "--label x"));
    sh(&home, "git checkout -q one && git merge -q --no-edit two");
    assert_eq!(ids(&home), [1, 2, 3]);
    sh(&home, "git checkout -q -b rebased two && git rebase -q one~1");
    assert_eq!(ids(&home), [1, 2, 3]);
    sh(&home, "git checkout -q -b picked main && git cherry-pick two >/dev/null && git cherry-pick one~1 >/dev/null");
    assert_eq!(ids(&home), [1, 2, 3]);
    assert_eq!(home.run(["registry", "import", "hooks.registry.json"]).code, 0);
    assert_eq!(home.statuses().len(), 3);
}

#[test]
fn a_conflict_stops_git_and_the_import() {
    if !have("git") {
        return;
    }
    let sandbox = SandboxServer::start();
    let home = repository(&sandbox);
    branch(&home, "one", &import_of(1, "--label one"));
    branch(&home, "two", &import_of(1, "--label two"));
    let run = try_sh(&home, "git checkout -q one && git merge --no-edit two");
    assert_eq!(run.code, 1, "{run}");
    let said = "error: conflict: hook 1 of";
    assert!(run.stderr.contains(said) && run.stderr.contains("`label` is \"one\" in ours and \"two\""), "{run}");
    assert!(try_sh(&home, "git status --short").stdout.contains("UU hooks.registry.json"));
    let refused = home.run(["registry", "import", "hooks.registry.json"]);
    assert_eq!(refused.code, 2, "{refused}");
    repair(&home, "one");
    sh(&home, "git add hooks.registry.json && git commit -q --no-edit");
    assert_eq!(home.run(["registry", "import", "hooks.registry.json"]).code, 0);
    assert_eq!(home.json(&["list"])[0]["label"], "both");
}

/// The registry file has the value of the branch that git is on, and names the conflict; it is repaired as the error says.
fn repair(home: &Home, ours: &str) {
    let mut file = hooks(home);
    assert_eq!(file["hooks"][0]["label"], ours);
    let conflicts = file.as_object_mut().unwrap().remove("conflicts").unwrap();
    assert!(conflicts[0].as_str().unwrap().contains("`label` is"), "{conflicts}");
    file["hooks"][0]["label"] = "both".into();
    fs::write(home.path().join("hooks.registry.json"), file.to_string()).unwrap();
}

#[test]
fn a_conflict_stops_a_rebase_and_a_cherry_pick() {
    if !have("git") {
        return;
    }
    let sandbox = SandboxServer::start();
    let home = repository(&sandbox);
    branch(&home, "one", &import_of(1, "--label one"));
    branch(&home, "two", &import_of(1, "--label two"));
    // A rebase is on the branch that it goes to: "ours" is that one.
    for (start, proceed) in [
        ("git checkout -q -b rebased two && git rebase one", "git rebase --continue"),
        ("git checkout -q -b picked one && git cherry-pick two", "git cherry-pick --continue"),
    ] {
        let run = try_sh(&home, start);
        assert!(run.code == 1 && run.stderr.contains("error: conflict: hook 1 of"), "{run}");
        repair(&home, "one");
        sh(&home, &format!("git add hooks.registry.json && GIT_EDITOR=true {proceed} >/dev/null"));
        assert_eq!(hooks(&home)["hooks"][0]["label"], "both");
        assert_eq!(try_sh(&home, "git status --short --untracked-files=no").stdout, "");
    }
}

#[test]
fn what_both_branches_made_is_kept_and_named() {
    if !have("git") {
        return;
    }
    let sandbox = SandboxServer::start();
    let home = repository(&sandbox);
    // Both without a common store: neither knows of the other's.
    let import = |id: i64| format!("import {id} --app-id 9 --event new_crash --target-url {URL}");
    branch(&home, "one", &import(21));
    branch(&home, "two", &import(22));
    let run = try_sh(&home, "git checkout -q one && git merge --no-edit two");
    assert_eq!(run.code, 0, "{run}");
    assert!(run.stderr.contains("has the hooks 21 and 22") && run.stderr.contains("unsubscribe 2"), "{run}");
    assert_eq!(ids(&home), [1, 21, 22]);
}

#[test]
fn a_file_that_both_branches_added_is_merged_and_one_that_is_none_is_not() {
    if !have("git") {
        return;
    }
    let sandbox = SandboxServer::start();
    let home = repository(&sandbox);
    let copy = "git checkout -q --orphan";
    sh(&home, &format!("{copy} left && {COMMIT} left && {copy} right && {COMMIT} right"));
    // git has no file that both began with.
    sh(&home, "git merge -q --no-edit --allow-unrelated-histories left");
    assert_eq!(ids(&home), [1]);
    branch(&home, "one", &import_of(2, ""));
    sh(&home, "git checkout -q -b torn main && echo '{' > hooks.registry.json");
    sh(&home, &format!("{COMMIT} torn"));
    let run = try_sh(&home, "git merge --no-edit one");
    assert!(run.code == 1 && run.stderr.contains("this is no registry that"), "{run}");
    assert!(try_sh(&home, "git status --short").stdout.contains("UU hooks.registry.json"));
}

#[test]
fn a_job_without_a_database_runs_twice_on_fresh_machines() {
    if !have("git") {
        return;
    }
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib/git/README.md")).unwrap();
    let job = readme.split_once("<!-- git:").unwrap().1.split_once("```sh\n").unwrap().1.split_once("```").unwrap().0;
    let sandbox = SandboxServer::start();
    let remote = Home::new();
    sh(&remote, "git init -q -b main --bare origin.git");
    let origin = remote.path().join("origin.git");
    for (number, job) in [job.replace("--yes", "--yes --initial"), job.to_owned(), job.to_owned()].iter().enumerate() {
        let home = Home::of(&sandbox);
        sh(&home, &format!("git clone -q '{}' work 2>/dev/null", origin.display()));
        if number == 0 {
            fs::write(home.path().join("work/hooks.toml"), manifest(7)).unwrap();
            sh(
                &home,
                "cd work && bugfender-hooks registry export hooks.registry.json && git add . && git commit -qm first",
            );
        }
        sh(&home, &format!("cd work\n( {job} )\ngit push -q origin HEAD:main"));
    }
    assert_eq!(sandbox.hooks().len(), 1);
    assert_eq!(sandbox.requests("POST /api/hook").len(), 1);
}
