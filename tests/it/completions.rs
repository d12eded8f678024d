//! Completions: the files at the top level are current, and real shells complete with them.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::{Home, SandboxServer, have};

const FILES: [(&str, &str); 5] = [
    ("bash", "bugfender-hooks.bash"),
    ("zsh", "_bugfender-hooks"),
    ("fish", "bugfender-hooks.fish"),
    ("powershell", "_bugfender-hooks.ps1"),
    ("elvish", "bugfender-hooks.elv"),
];

#[test]
fn the_files_are_up_to_date() {
    let home = Home::new();
    for (shell, file) in FILES {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("completions").join(file);
        let run = home.run(["completions", shell]);
        assert_eq!(run.code, 0, "{run}");
        let stored = fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(stored, run.stdout, "stale: run `bugfender-hooks completions {shell} > completions/{file}`");
    }
}

fn filled(sandbox: &SandboxServer) -> Home {
    let home = Home::of(sandbox);
    let url = "https://hooks.example.com/bf";
    home.json(&["subscribe", "--app-id", "4711", "--event", "new_crash", "--target-url", url, "--label", "nightly"]);
    home
}

/// Runs a shell script with the binary on the path and gives what it printed.
fn shell(home: &Home, program: &str, args: &[&str], script: &str) -> String {
    let binary = Path::new(env!("CARGO_BIN_EXE_bugfender-hooks"));
    let path = format!("{}:/usr/bin:/bin", binary.parent().unwrap().display());
    let inner = home.command::<&str>([]);
    let mut command = Command::new(program);
    command.args(args).arg(script).env_clear().current_dir(home.path());
    command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?)))).env("PATH", path);
    let output = command.env("TERM", "dumb").output().unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{stdout}{}", String::from_utf8_lossy(&output.stderr));
    stdout
}

/// What is typed, and what must be offered for it.
const CASES: [(&[&str], &str); 6] = [
    (&["unsub"], "unsubscribe"),
    (&["unsubscribe", ""], "1"),
    (&["list", "--app-id", "47"], "4711"),
    (&["list", "--label", ""], "nightly"),
    (&["subscribe", "--event", "new_i"], "new_issue_separate"),
    (&["events", "list", "--type", "feed"], "feedback"),
];

#[test]
fn bash_completes() {
    let sandbox = SandboxServer::start();
    let home = filled(&sandbox);
    for (typed, offered) in CASES {
        let words = typed.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" ");
        let script = format!(
            "source <(bugfender-hooks completions bash); COMP_WORDS=(bugfender-hooks {words}); COMP_CWORD={}; \
             COMP_TYPE=9; _clap_complete_bugfender_hooks bugfender-hooks '{}' ''; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
            typed.len(),
            typed.last().unwrap(),
        );
        let shown = shell(&home, "/bin/bash", &["--norc", "-c"], &script);
        assert!(shown.lines().any(|line| line.trim() == offered), "{typed:?}: {shown}");
    }
}

/// Labels that a shell splits or would act on, and what is typed of them.
const LABELS: [(&str, &str); 9] = [
    ("--label nig", "nightly"),
    ("--label prod:e", "prod:eu"),
    ("--label team@e", "team@example"),
    ("--label a=", "a=b"),
    ("--label two", "two words"),
    ("--label 'prod:e", "prod:eu"),
    ("--label \"two", "two words"),
    ("--label=prod:e", "--label=prod:eu"),
    ("--label it", "it's \"$(touch pwned)\" `touch pwned` & *"),
];

#[test]
fn a_label_is_completed_as_it_is_in_every_shell() {
    if !have("python3") {
        return;
    }
    let sandbox = SandboxServer::start();
    let home = filled(&sandbox);
    for (index, label) in ["prod:eu", "team@example", "a=b", "two words", LABELS[8].1].into_iter().enumerate() {
        let url = format!("https://h.example/{index}");
        home.json(&["subscribe", "--app-id", "1", "--event", "new_crash", "--target-url", &url, "--label", label]);
    }
    let show = home.path().join("show");
    std::fs::write(&show, "#!/bin/sh\nfor last; do :; done\nprintf 'LAST %s\\n' \"$last\"\n").unwrap();
    std::fs::set_permissions(&show, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    for name in ["bash", "zsh", "fish"].into_iter().filter(|name| have(name)) {
        for (typed, completed) in LABELS {
            let line = format!("bugfender-hooks list {typed}");
            let python = ["-c", include_str!("support/tab.py"), name];
            let shown = shell(&home, "/usr/bin/python3", &python, &line);
            assert_eq!(shown.trim_end(), completed, "{name}: {typed}");
        }
    }
    assert!(!home.path().join("pwned").exists());
}

#[test]
fn bash_takes_a_label_for_what_it_is() {
    let sandbox = SandboxServer::start();
    let home = filled(&sandbox);
    let evil = "it's $(touch${IFS}pwned) `touch pwned`; \"*\" & two";
    home.json(&[
        "subscribe",
        "--app-id",
        "4711",
        "--event",
        "new_issue_separate",
        "--target-url",
        "https://h.example",
        "--label",
        evil,
    ]);
    let lines = offered(&home, "list --label it");
    assert_eq!(lines.len(), 1);
    // As if it had been typed, in quotes too.
    for (quote, is_whole) in [("", true), ("\"", false)] {
        let shown = shell(&home, "/bin/bash", &["--norc", "-c"], &format!("printf %s {quote}{}{quote}", lines[0]));
        assert!(shown == evil || !is_whole, "{lines:?}: {shown}");
        assert!(!home.path().join("pwned").exists(), "{lines:?}");
    }
}

#[test]
fn zsh_completes() {
    if !have("zsh") {
        return;
    }
    let sandbox = SandboxServer::start();
    let home = filled(&sandbox);
    for (typed, offered) in CASES {
        // A real interactive zsh on a pseudo-terminal of zsh's own, with Tab pressed twice to list what fits.
        let script = format!(
            "zmodload zsh/zpty; zpty z zsh -f -i; zpty -w z \"PS1=''; autoload -Uz compinit; compinit -u -d $PWD/dump; \
             zstyle ':completion:*' list-prompt ''; source <(bugfender-hooks completions zsh); LISTMAX=1000; \
             bindkey '^I' list-choices; print re''ady\"; zpty -r -m z line '*ready*'; print -r -- $line; \
             zpty -w -n z 'bugfender-hooks {}'$'\\t'$'\\t'; zpty -r -m z line '*{offered}*'; print -r -- $line; zpty -d z",
            typed.join(" "),
        );
        let shown = shell(&home, "/usr/bin/timeout", &["30", "zsh", "-f", "-c"], &script);
        assert!(shown.contains(offered), "{typed:?}: {shown}");
    }
}

#[test]
fn fish_completes() {
    if !have("fish") {
        return;
    }
    let sandbox = SandboxServer::start();
    let home = filled(&sandbox);
    for (typed, offered) in CASES {
        let line = format!("bugfender-hooks {}", typed.join(" "));
        let script = format!("bugfender-hooks completions fish | source; complete --do-complete '{line}'");
        let shown = shell(&home, "/usr/bin/fish", &["--no-config", "-c"], &script);
        assert!(shown.lines().any(|line| line.split('\t').next() == Some(offered)), "{typed:?}: {shown}");
    }
}

/// What bash is offered for the last word.
pub fn offered(home: &Home, words: &str) -> Vec<String> {
    let last = words.rsplit(' ').next().unwrap();
    let script = format!(
        "source <(bugfender-hooks completions bash); COMP_WORDS=(bugfender-hooks {words}); COMP_CWORD={}; COMP_TYPE=9; \
         _clap_complete_bugfender_hooks bugfender-hooks '{last}' ''; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        words.split(' ').count(),
    );
    let shown = shell(home, "/bin/bash", &["--norc", "-c"], &format!("{{ {script}; }} 2>&1"));
    shown.lines().map(|line| line.trim().to_owned()).collect()
}

#[test]
fn the_apps_of_the_account_are_offered_and_remembered() {
    let sandbox = SandboxServer::start();
    let home = Home::of(&sandbox);
    for _ in 0..3 {
        assert_eq!(offered(&home, "subscribe --app-id 10"), ["1001", "1002"]);
    }
    assert_eq!(sandbox.requests("GET /api/app").len(), 1);
    // A server that fails is left in peace too.
    let sandbox = SandboxServer::with_faults(&["apps=500"]);
    let home = Home::of(&sandbox);
    for _ in 0..3 {
        assert_eq!(offered(&home, "subscribe --app-id 10"), [""]);
    }
    assert!(sandbox.requests("GET /api/app").len() <= 4);
    // So is one that has to be asked for a token first.
    let home = Home::new().set("BUGFENDER_API_URL", &sandbox.url);
    let home = home.set("BUGFENDER_CLIENT_ID", "sandbox-client").set("BUGFENDER_CLIENT_SECRET", "sandbox-secret");
    assert_eq!(offered(&home, "subscribe --app-id 10"), [""]);
    assert!(sandbox.requests("POST").is_empty());
}

#[test]
fn what_the_line_says_of_the_installation_is_heeded() {
    let (mine, other) = (SandboxServer::start(), SandboxServer::start());
    let home = Home::new();
    for (name, sandbox) in [("mine", &mine), ("other", &other)] {
        let login = ["auth", "login", "--with-token", "--profile", name, "--api-url", &sandbox.url];
        assert_eq!(home.run_with_input(&login, &sandbox.token).code, 0);
    }
    home.run(["auth", "switch", "mine"]);
    home.json(&[
        "subscribe",
        "--app-id",
        "1077",
        "--event",
        "new_crash",
        "--target-url",
        "https://hooks.example.com/x",
    ]);
    assert_eq!(offered(&home, "subscribe --app-id 10"), ["1001", "1002", "1077"]);
    assert_eq!(offered(&home, "--profile other subscribe --app-id 10"), ["1001", "1002"]);
    // Whoever signs in next is somebody else.
    home.run(["auth", "logout"]);
    assert_eq!(offered(&home, "list --app-id 100"), [""]);
}

#[test]
fn a_token_that_is_refused_is_not_renewed_for_a_shell() {
    let sandbox = SandboxServer::with_faults(&["apps=401"]);
    let home = Home::new().set("BUGFENDER_API_URL", &sandbox.url);
    let tokens = serde_json::json!({"access_token": sandbox.token, "refresh_token": "refresh-0"});
    home.run_with_input(&["auth", "login", "--with-token"], &tokens.to_string());
    assert_eq!(offered(&home, "subscribe --app-id 10"), [""]);
    assert_eq!(sandbox.requests("GET /api/app").len(), 1);
    assert!(sandbox.requests("POST").is_empty());
}

#[test]
fn profiles_are_offered() {
    let home = Home::new();
    home.run(["config", "set", "app_id", "1", "--profile", "work"]);
    assert_eq!(offered(&home, "auth switch d"), ["default"]);
    assert_eq!(offered(&home, "list --profile w"), ["work"]);
}

#[test]
fn a_registry_that_somebody_holds_is_not_waited_for() {
    let sandbox = SandboxServer::start();
    let home = filled(&sandbox);
    let held = rusqlite::Connection::open(home.registry()).unwrap();
    held.execute_batch("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE").unwrap();
    let (send, done) = std::sync::mpsc::channel();
    let shell = std::thread::spawn(move || send.send(offered(&home, "unsubscribe 1")).unwrap());
    // Far less than others wait for a registry.
    assert_eq!(done.recv_timeout(std::time::Duration::from_secs(5)).unwrap(), [""]);
    shell.join().unwrap();
}

#[test]
fn trouble_is_silent() {
    let home = Home::new().set("BUGFENDER_HOOKS_STORE", "sqlite:/proc/nope").set("BUGFENDER_API_URL", "nope");
    let script = "source <(bugfender-hooks completions bash); COMP_WORDS=(bugfender-hooks unsubscribe ''); COMP_CWORD=2; \
                  COMP_TYPE=9; _clap_complete_bugfender_hooks bugfender-hooks '' unsubscribe 2>&1";
    assert_eq!(shell(&home, "/bin/bash", &["--norc", "-c"], script), "");
}

#[test]
fn an_unknown_shell_is_a_usage_error() {
    assert_eq!(Home::new().run(["completions", "tcsh"]).code, 2);
}
