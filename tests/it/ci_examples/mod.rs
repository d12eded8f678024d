//! `action.yml` and `contrib/ci`: what CI systems run, on fresh machines, against a sandbox and a release server of the test's
//! own.

mod action;
mod git_job;
mod install;
mod yaml;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::assert_shown;
use crate::support::postgres::server;
use crate::support::{Home, Run, SandboxServer, have};

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn contrib(name: &str) -> PathBuf {
    repository().join("contrib/ci").join(name)
}

const MANIFEST: &str = "name = \"mobile\"\n\n[[hook]]\napp_id = [1001, 1002]\nevents = \"new_crash\"\n\
                        target_url = \"https://hooks.example.com/${BUGFENDER_KEY}\"\n";

/// A runner's home, with the files and variables that GitHub gives a step.
fn runner(sandbox: &SandboxServer, store: &str) -> Home {
    let home = Home::of(sandbox);
    for file in ["output", "summary", "path"] {
        fs::write(home.path().join(file), "").unwrap();
    }
    fs::write(home.path().join("hooks.toml"), MANIFEST).unwrap();
    let file = |name: &str| home.path().join(name).to_str().unwrap().to_owned();
    let (output, summary, path, temp) = (file("output"), file("summary"), file("path"), file(""));
    home.set("GITHUB_OUTPUT", &output)
        .set("GITHUB_STEP_SUMMARY", &summary)
        .set("GITHUB_PATH", &path)
        .set("RUNNER_TEMP", &temp)
        .set("BUGFENDER_HOOKS_STORE", store)
        .set("BUGFENDER_KEY", "k3y-of-the-team")
}

/// Runs a script, or lines of one, as a runner does, with `programs` first on the path.
fn run(home: &Home, script: &str, programs: &Path) -> Run {
    let inner = home.command::<&str>([]);
    let mut command = Command::new("bash");
    command.args(["-e", "-c", script]).env_clear().current_dir(home.path());
    command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.env("PATH", format!("{}:/usr/local/bin:/usr/bin:/bin", programs.display()));
    Run::of(command.output().unwrap())
}

fn run_with_binary(home: &Home, script: &str) -> Run {
    run(home, script, Path::new(env!("CARGO_BIN_EXE_bugfender-hooks")).parent().unwrap())
}

fn step(name: &str) -> String {
    format!("'{}'", contrib(name).display())
}

#[test]
fn a_pull_request_and_main_twice_on_fresh_runners() {
    let Some(server) = server() else { return };
    let sandbox = SandboxServer::start();
    let store = server.url(&server.new_database());
    let planned = runner(&sandbox, &store);
    let plan = run_with_binary(&planned, &step("plan.sh"));
    assert_eq!(plan.code, 0, "{plan}");
    let output = fs::read_to_string(planned.path().join("output")).unwrap();
    assert!(output.contains("changes=true\n") && output.contains("\nplan="), "{output}");
    let comment = fs::read_to_string(planned.path().join("bugfender-hooks-plan.md")).unwrap();
    assert_eq!(comment, fs::read_to_string(planned.path().join("summary")).unwrap());
    let sum = output.lines().find_map(|line| line.strip_prefix("checksum=")).unwrap();
    // The sum is of a plan for this sandbox.
    assert_shown!("comment", comment.replace(&sandbox.url, "[SANDBOX]").replace(sum, "[CHECKSUM]"));
    // What was reviewed is applied, once, whoever runs it how often.
    let first = runner(&sandbox, &store).set("BFH_ARGS", &format!("--initial\n--checksum\n{sum}"));
    let applied = run_with_binary(&first, &step("apply.sh"));
    assert_eq!(applied.code, 0, "{applied}");
    let second = runner(&sandbox, &store).set("BFH_ARGS", "--prune\n");
    let applied = run_with_binary(&second, &step("apply.sh"));
    assert_eq!(applied.code, 0, "{applied}");
    assert_eq!(sandbox.requests("POST /api/hook").len(), 2);
    assert_eq!(sandbox.hooks().len(), 2);
    let summary = fs::read_to_string(second.path().join("summary")).unwrap();
    assert_eq!(summary, "### Hooks of Bugfender\n\n    mobile: 2 unchanged.\n\n");
    let last = runner(&sandbox, &store);
    assert_eq!(run_with_binary(&last, &step("plan.sh")).code, 0);
    assert!(fs::read_to_string(last.path().join("output")).unwrap().starts_with("changes=false\n"));
}

#[test]
fn a_runner_that_lost_its_registry_subscribes_nothing() {
    let sandbox = SandboxServer::start();
    let home = runner(&sandbox, "sqlite:registry.db").set("BFH_ARGS", "--initial");
    assert_eq!(run_with_binary(&home, &step("apply.sh")).code, 0);
    let fresh = runner(&sandbox, "sqlite:registry.db");
    let run = run_with_binary(&fresh, &step("apply.sh"));
    assert_eq!(run.code, 2, "{run}");
    assert!(run.stderr.contains("::error::the registry holds no hook of this manifest"), "{run}");
    assert_eq!(sandbox.hooks().len(), 2);
    // Why is in the summary, too.
    let summary = fs::read_to_string(fresh.path().join("summary")).unwrap();
    let why = "### Hooks of Bugfender\n\n    error: the registry holds no hook of this manifest, and the plan creates 2\n    hint: ";
    assert!(summary.starts_with(why), "{summary}");
    fs::write(fresh.path().join("hooks.toml"), MANIFEST.replace("events", "100%")).unwrap();
    assert_eq!(run_with_binary(&fresh, &step("apply.sh")).code, 2);
    let summary = fs::read_to_string(fresh.path().join("summary")).unwrap();
    assert!(summary.contains("\n    error file=hooks.toml,line=5,col=4: "), "{summary}");
}

/// The arguments of one job are good for the other.
#[test]
fn a_plan_leaves_out_the_flags_of_apply() {
    let sandbox = SandboxServer::start();
    let home = runner(&sandbox, "sqlite:registry.db");
    let of_apply = "--initial\n--allow-large-removal\n--yes\n-y\n--concurrency\n4\n--lock-timeout=1m\n";
    let output = |home: &Home| fs::read_to_string(home.path().join("output")).unwrap();
    let checksum = |home: &Home, arguments: &str| {
        fs::write(home.path().join("output"), "").unwrap();
        let script = format!("export BFH_ARGS=$'{}'; {}", arguments.replace('\n', "\\n"), step("plan.sh"));
        let run = run_with_binary(home, &script);
        assert_eq!(run.code, 0, "{run}");
        output(home).lines().find_map(|line| line.strip_prefix("checksum=")).unwrap().to_owned()
    };
    let plain = checksum(&home, "");
    assert_eq!(plain.len(), 64);
    assert_eq!(checksum(&home, of_apply), plain);
    // A plan is what there is to show.
    assert_eq!(checksum(&home, "--quiet\n-q"), plain);
    assert_ne!(checksum(&home, &format!("{of_apply}--prune\n")), plain);
    fs::write(home.path().join("output"), "").unwrap();
    let strange = home.set("BFH_ARGS", "--jq=.name");
    let run = run_with_binary(&strange, &step("plan.sh"));
    assert!(run.code != 0 && output(&strange).is_empty(), "{run}");
    let applied = runner(&sandbox, "sqlite:registry.db").set("BFH_ARGS", &format!("{of_apply}--prune\n"));
    let run = run_with_binary(&applied, &step("apply.sh"));
    assert_eq!(run.code, 0, "{run}");
    assert_eq!(sandbox.hooks().len(), 2);
}

#[test]
fn mistakes_in_a_manifest_are_annotations() {
    let sandbox = SandboxServer::start();
    let home = runner(&sandbox, "sqlite:registry.db");
    let text = MANIFEST.replace("events", "evnts").replace("app_id = [1001, 1002]", "app_id = 0");
    fs::write(home.path().join("hooks.toml"), text).unwrap();
    let run = run_with_binary(&home, &step("plan.sh"));
    assert_eq!(run.code, 2, "{run}");
    assert_shown!("annotations", run.stderr);
    assert_eq!(fs::read_to_string(home.path().join("output")).unwrap(), "");
    let error = home.run(["plan", "-f", "hooks.toml", "--output", "json"]).error();
    assert_eq!((&error["file"], &error["line"], &error["column"]), (&"hooks.toml".into(), &3.into(), &1.into()));
}

#[test]
fn the_lines_of_the_gitlab_jobs_run_twice() {
    let Some(server) = server() else { return };
    let sandbox = SandboxServer::start();
    let store = server.url(&server.new_database());
    let text = fs::read_to_string(contrib("gitlab-ci.yml")).unwrap();
    let lines: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("    - bugfender-hooks ")).collect();
    assert_eq!(lines.len(), 3, "{text}");
    for arguments in ["--initial", ""] {
        let home = runner(&sandbox, &store).set("HOOKS_ARGS", arguments);
        for line in &lines {
            let run = run_with_binary(&home, &format!("bugfender-hooks {line}"));
            assert_eq!(run.code, 0, "{line}: {run}");
        }
        assert!(fs::read_to_string(home.path().join("plan.md")).unwrap().starts_with("### Plan for"));
        assert_eq!(sandbox.hooks().len(), 2);
    }
    assert_eq!(sandbox.requests("POST /api/hook").len(), 2);
}

/// With it, a job that lost its registry would make every hook a second time.
#[test]
fn no_example_has_initial_in_every_run() {
    for name in ["gitlab-ci.yml", "github-workflow.yml"] {
        let text = fs::read_to_string(contrib(name)).unwrap();
        let lines = text.lines().filter(|line| line.contains("--initial") && !line.starts_with('#'));
        let lines: Vec<&str> = lines.map(str::trim).collect();
        let by_hand = ["${{ inputs.initial && '--initial' || '' }}"];
        assert_eq!(lines, if name == "gitlab-ci.yml" { &[][..] } else { &by_hand });
    }
    let help = Home::new().run(["apply", "--help"]).stdout;
    assert!(!help.contains("harmless"), "{help}");
    let examples = help.lines().filter(|line| line.starts_with("  bugfender-hooks ") && line.contains("--initial"));
    assert!(examples.clone().count() == 1 && examples.clone().all(|line| line.contains("the first time")), "{help}");
}

/// Every variable that the scripts read is given by the action, and no input stands in a script, where it could be code.
#[test]
fn the_action_gives_its_scripts_what_they_read() {
    let action = fs::read_to_string(repository().join("action.yml")).unwrap();
    let mut read = BTreeSet::new();
    for script in ["install.sh", "plan.sh", "apply.sh"] {
        let text = fs::read_to_string(contrib(script)).unwrap();
        assert!(text.starts_with("#!/usr/bin/env bash\n") && text.contains("\nset -euo pipefail\n"), "{script}");
        assert!(action.contains(&format!("run: '\"$GITHUB_ACTION_PATH/contrib/ci/{script}\"'")), "{script}");
        let names = text.match_indices("BFH_").map(|(start, _)| &text[start..]);
        let end = |rest: &str| rest.find(|c: char| !c.is_ascii_uppercase() && c != '_').unwrap_or(rest.len());
        read.extend(names.map(|rest| rest[..end(rest)].to_owned()));
    }
    for name in read {
        assert!(action.contains(&format!("        {name}: ${{{{ ")), "{name}");
    }
    for line in action.lines().filter(|line| line.trim_start().starts_with("run:")) {
        assert!(!line.contains("${{"), "{line}");
    }
}

#[test]
fn shell_scripts_are_clean() {
    if !have("shellcheck") {
        return;
    }
    let find = "git ls-files -z contrib .ci | xargs -0 grep -lZE '^#!/.*\\bsh$|^#!/.*bash$' | xargs -0 shellcheck";
    let output = Command::new("bash").args(["-c", find]).current_dir(repository()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

/// The examples use inputs and outputs that the action has.
#[test]
fn the_workflow_uses_the_action_as_it_is() {
    let action = yaml::read(&repository().join("action.yml"));
    let workflow = yaml::read(&contrib("github-workflow.yml"));
    let mut uses = 0;
    for job in workflow["jobs"].as_object().unwrap().values() {
        for step in job["steps"].as_array().unwrap() {
            if step["uses"].as_str().is_some_and(|name| name.starts_with("OWNER/bugfender-hooks@")) {
                uses += 1;
                for input in step["with"].as_object().unwrap().keys() {
                    assert!(action["inputs"][input].is_object(), "{input}");
                }
            }
        }
    }
    assert_eq!(uses, 2);
    let text = fs::read_to_string(contrib("github-workflow.yml")).unwrap();
    for (start, _) in text.match_indices("steps.hooks.outputs.") {
        let name = text[start..].split_whitespace().next().unwrap().rsplit('.').next().unwrap();
        assert!(action["outputs"][name].is_object(), "{name}");
    }
    yaml::read(&contrib("gitlab-ci.yml"));
    yaml::read(&repository().join(".github/workflows/ci.yml"));
}

/// The step of the workflow that comments: the first time, and when there is a comment already.
#[test]
fn one_comment_is_made_and_then_replaced() {
    let workflow = yaml::read(&contrib("github-workflow.yml"));
    let steps = workflow["jobs"]["plan"]["steps"].as_array().unwrap();
    let step = steps.iter().find(|step| step["name"] == "Comment").unwrap();
    let sandbox = SandboxServer::start();
    for (ids, made) in [
        ("", "pr comment 7 --body-file plan.md\n"),
        ("41\n42\n", "api --silent -X PATCH repos/acme/app/issues/comments/41 -F body=@plan.md\n"),
    ] {
        let home = runner(&sandbox, "sqlite:registry.db").set("IDS", ids).set("GITHUB_REPOSITORY", "acme/app");
        let home = home.set("NUMBER", "7").set("PLAN", "plan.md");
        fs::write(home.path().join("plan.md"), "### Plan for mobile at `x`\n\nmobile: nothing to do.\n").unwrap();
        // Looks for the heading by the environment: a filter that holds it could be another one.
        let looks = "case $* in *--paginate*) test \"$HEADING\" = '### Plan for mobile at `x`' && printf '%s' \"$IDS\"; \
                     exit ;; esac\necho \"$*\" >> made";
        let programs = install::with_gh(&home, looks);
        let run = run(&home, step["run"].as_str().unwrap(), &programs);
        assert_eq!(run.code, 0, "{run}");
        assert_eq!(fs::read_to_string(home.path().join("made")).unwrap(), made);
    }
}

/// More rows than a comment may have: the last are left out, and the counts and the checksum are not.
#[test]
fn a_comment_is_as_long_as_github_allows() {
    let sandbox = SandboxServer::start();
    let home = runner(&sandbox, "sqlite:registry.db");
    let apps: Vec<u32> = (1..=1500).collect();
    fs::write(home.path().join("hooks.toml"), MANIFEST.replace("[1001, 1002]", &format!("{apps:?}"))).unwrap();
    let run = run_with_binary(&home, &step("plan.sh"));
    assert_eq!(run.code, 0, "{run}");
    let comment = fs::read_to_string(home.path().join("bugfender-hooks-plan.md")).unwrap();
    assert!(comment.len() < 65_536, "{}", comment.len());
    let rows = comment.lines().filter(|line| line.contains("create`")).count();
    let left =
        format!("\n\n{} more: the log of the job has all.\n\nmobile: 1500 to create.\n\n**`apply` will", 1500 - rows);
    assert!(comment.contains(&left) && comment.contains("\n\nChecksum: `"), "{comment}");
    let summary = fs::read_to_string(home.path().join("summary")).unwrap();
    assert_eq!(summary.lines().filter(|line| line.contains("create`")).count(), 1500);
}
