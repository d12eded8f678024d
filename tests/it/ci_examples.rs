//! `action.yml` and `contrib/ci`: what CI systems run, on fresh machines, against a sandbox and a release server of the test's
//! own.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::assert_shown;
use crate::support::postgres::server;
use crate::support::{Exchange, Home, Run, SandboxServer, Scripted, have};

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
    assert_shown!("comment", comment.replace(&sandbox.url, "[SANDBOX]"));
    let sum = output.lines().find_map(|line| line.strip_prefix("checksum=")).unwrap();
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
    assert_eq!(summary, "### Hooks of Bugfender\n\n    mobile: 2 unchanged.\n");
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
    let find = "git ls-files -z 'contrib/*.sh' .ci/run | xargs -0 shellcheck";
    let output = Command::new("bash").args(["-c", find]).current_dir(repository()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

/// A server of releases, with this archive and this list of checksums.
fn releases(archive: Vec<u8>, sums: impl Fn(&str) -> String + Send + 'static) -> Scripted {
    Scripted::start(move |_, exchange: &mut Exchange| {
        let path = exchange.line.split(' ').nth(1).unwrap().to_owned();
        let name = path.rsplit('/').next().unwrap();
        let body = match name {
            "latest" => {
                let found = "HTTP/1.1 302 Found\r\nlocation: /acme/tool/releases/tag/v9.8.7\r\nconnection: close\r\n";
                return exchange.send(format!("{found}content-length: 0\r\n\r\n"));
            }
            "v9.8.7" => Vec::new(),
            "SHA256SUMS" => sums("bugfender-hooks-9.8.7-x86_64-unknown-linux-gnu.tar.gz").into_bytes(),
            _ => archive.clone(),
        };
        exchange.send(format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len()));
        exchange.send(body);
    })
}

/// An archive of a release, and its checksum.
fn archive(home: &Home) -> (Vec<u8>, String) {
    let program = home.path().join("bugfender-hooks");
    fs::write(&program, "#!/bin/sh\necho bugfender-hooks 9.8.7\n").unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let pack = "tar -czf release.tar.gz bugfender-hooks && sha256sum release.tar.gz && rm bugfender-hooks";
    let output = Command::new("sh").args(["-c", pack]).current_dir(home.path()).output().unwrap();
    let sum = String::from_utf8(output.stdout).unwrap().split(' ').next().unwrap().to_owned();
    (fs::read(home.path().join("release.tar.gz")).unwrap(), sum)
}

/// A GitHub CLI that verifies so.
fn with_gh(home: &Home, says: &str) -> PathBuf {
    let programs = home.path().join("programs");
    fs::create_dir_all(&programs).unwrap();
    fs::write(programs.join("gh"), format!("#!/bin/sh\necho \"$*\" >> gh.log\n{says}\n")).unwrap();
    fs::set_permissions(programs.join("gh"), fs::Permissions::from_mode(0o755)).unwrap();
    programs
}

#[test]
fn a_release_is_installed_if_it_is_what_was_built() {
    if !have("curl") || cfg!(not(target_arch = "x86_64")) {
        return;
    }
    let sandbox = SandboxServer::start();
    let installing = |sums: &dyn Fn(&str, &str) -> String, gh: &str, version: &str| {
        let home = runner(&sandbox, "sqlite:registry.db");
        let (archive, sum) = archive(&home);
        let list = sums(&sum, "bugfender-hooks-9.8.7-x86_64-unknown-linux-gnu.tar.gz");
        let server = releases(archive, move |_| list.clone());
        let home = home.set("GITHUB_SERVER_URL", &server.url).set("BFH_REPOSITORY", "acme/tool");
        let home = home.set("BFH_VERSION", version);
        let programs = with_gh(&home, gh);
        let run = run(&home, &step("install.sh"), &programs);
        let path = fs::read_to_string(home.path().join("path")).unwrap();
        (home, run, path)
    };
    let right = |sum: &str, name: &str| format!("{:064}  other.tar.gz\n{sum}  {name}\n", 0);
    for version in ["latest", "v9.8.7", "9.8.7"] {
        let (home, run, path) = installing(&right, "exit 0", version);
        assert_eq!((run.code, run.stdout.as_str()), (0, "bugfender-hooks 9.8.7\n"), "{run}");
        assert!(Path::new(path.trim()).join("bugfender-hooks").is_file(), "{path}");
        let asked = fs::read_dir(path.trim()).unwrap().flatten().any(|entry| entry.file_name() == "gh.log");
        assert!(asked, "{}", home.path().display());
    }
    for (wrong, says) in [
        (installing(&|_, name| format!("{:064}  {name}\n", 0), "exit 0", "latest"), "the checksum of"),
        (installing(&|sum, _| format!("{sum}  other.tar.gz\n"), "exit 0", "latest"), "SHA256SUMS does not name"),
        (installing(&right, "exit 1", "latest"), "the build provenance of"),
        (installing(&right, "exit 0", "9.8.7/../../evil"), "there is no version"),
    ] {
        let (_home, run, path) = wrong;
        assert!(run.code == 1 && run.stderr.contains(says), "{says}: {run}");
        assert_eq!(path, "", "{says}");
    }
}
