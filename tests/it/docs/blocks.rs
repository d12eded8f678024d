//! Shell blocks run. What stands behind `sh` says how: nothing, and the blocks of a page are one script, in a home that is
//! signed in to a sandbox; `serves`, and each line is a receiver that starts and stops; `no-run`, for what needs more than
//! a test has, and clap reads its commands.

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use bugfender_hooks::cli::Cli;
use clap::ColorChoice;
use clap::error::ErrorKind;

use super::pages::{DocPage, documentation, pages};
use crate::support::{Home, Run, SandboxServer, Scripted, Signal, answer, free_address, signal, wait_until};

/// The blocks that have tests of their own, in `readme`.
const RUN_BY_NAME: [&str; 5] = ["quick start", "receive", "profiles", "ci", "hooks as code"];

/// Where blocks find an endpoint of the reader's.
const ENDPOINT: &str = "http://127.0.0.1:3000";

/// The longest that the blocks of a page may take, in seconds.
const PATIENCE: &str = "120";

/// Runs a script with the binary on the path, as a shell would that stops at the first error.
pub fn run_script(home: &Home, script: &str) -> Run {
    let binary = Path::new(env!("CARGO_BIN_EXE_bugfender-hooks"));
    let inner = home.command::<&str>([]);
    let mut command = Command::new("/usr/bin/timeout");
    command.args([PATIENCE, "/bin/sh", "-eu", "-c", script]).env_clear().current_dir(home.path());
    command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.env("PATH", format!("{}:/usr/bin:/bin", binary.parent().unwrap().display()));
    Run::of(command.output().unwrap())
}

/// A home with the files that blocks name.
fn furnished(sandbox: &SandboxServer, endpoint: &str) -> Home {
    let home = Home::of(sandbox);
    let text = documentation();
    let targets = text.split_once("```toml targets\n").unwrap().1.split_once("```").unwrap().0;
    for (name, content) in [
        ("secret.txt", "0123456789abcdef0123456789abcdef"),
        ("new.txt", "fedcba9876543210fedcba9876543210"),
        ("body.json", "[]"),
        ("crashes.txt", endpoint),
        ("slack.txt", endpoint),
        ("crm-url.txt", endpoint),
        ("crm-token.txt", "Bearer token"),
        ("targets.toml", targets),
        ("on-event", "#!/bin/sh\ncat > /dev/null\n"),
    ] {
        std::fs::write(home.path().join(name), content).unwrap();
    }
    let executable = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(home.path().join("on-event"), executable).unwrap();
    home
}

/// The text of the blocks of a page with this info.
fn of_kind(page: &DocPage, info: &str) -> Vec<String> {
    let blocks = page.blocks().into_iter();
    blocks.filter(|block| block.info == info && block.name.is_none()).map(|block| block.text).collect()
}

/// Runs the script of a page. Receivers are on an address of their own.
fn run_page(page: &DocPage, script: &str) {
    let (sandbox, endpoint) = (SandboxServer::start(), Scripted::always(answer("200 OK", &[], "")));
    let home = furnished(&sandbox, &endpoint.url);
    let listen = format!("bugfender-hooks listen --listen {} ", free_address());
    let own = |line: &str| {
        if line.contains("--listen ") { line.to_owned() } else { line.replace("bugfender-hooks listen ", &listen) }
    };
    let script: Vec<String> = script.replace(ENDPOINT, &endpoint.url).lines().map(own).collect();
    let run = run_script(&home, &script.join("\n"));
    assert_eq!(run.code, 0, "{}: {run}", page.path);
}

#[test]
fn the_blocks_of_pages_run() {
    let pages = pages();
    let scripts: Vec<(&DocPage, String)> = pages
        .iter()
        .map(|page| (page, of_kind(page, "sh").concat()))
        .filter(|(_, script)| !script.is_empty())
        .collect();
    assert!(!scripts.is_empty());
    std::thread::scope(|scope| {
        for (page, script) in &scripts {
            scope.spawn(|| run_page(page, script));
        }
    });
}

#[test]
fn what_serves_starts_and_stops() {
    let (sandbox, endpoint) = (SandboxServer::start(), Scripted::always(answer("200 OK", &[], "")));
    let home = furnished(&sandbox, &endpoint.url);
    let blocks = pages().iter().flat_map(|page| of_kind(page, "sh serves")).collect::<String>();
    let commands = commands(&blocks);
    assert!(commands.len() > 4);
    for words in commands {
        let words = words.iter().skip(1).map(|word| word.replace(":9464", ":0"));
        let own = ["--listen", "127.0.0.1:0", "--ready-file", "ready.json"].map(str::to_owned);
        let args: Vec<String> = words.chain(own).collect();
        let mut receiver = home.spawn(&args.iter().map(String::as_str).collect::<Vec<_>>());
        let ready = home.path().join("ready.json");
        wait_until("it serves or ends", || ready.exists() || receiver.try_wait().unwrap().is_some());
        if receiver.try_wait().unwrap().is_none() {
            signal(&receiver, Signal::TERM);
        }
        let run = Run::of(receiver.wait_with_output().unwrap());
        assert_eq!(run.code, 0, "{args:?}: {run}");
        assert!(!ready.exists());
    }
}

#[test]
fn every_shell_block_is_run_or_read() {
    let (mut names, mut read) = (Vec::new(), 0);
    for page in pages() {
        for block in page.blocks() {
            let kind = block.info.split(' ').next().unwrap_or_default();
            assert!(!matches!(kind, "bash" | "shell" | "zsh"), "{}: a block of shell is `sh`", page.path);
            if kind != "sh" {
                continue;
            }
            assert!(matches!(block.info.as_str(), "sh" | "sh serves" | "sh no-run"), "{}: {}", page.path, block.info);
            names.extend(block.name);
            for words in commands(&block.text) {
                read += 1;
                parses(&page, &words);
            }
        }
    }
    names.sort();
    let mut known = RUN_BY_NAME.map(str::to_owned);
    known.sort();
    assert_eq!(names, known);
    assert!(read > 50, "{read}");
}

/// The commands of this tool in a script, each as its words. Variables stay as they are written.
fn commands(script: &str) -> Vec<Vec<String>> {
    let mut commands: Vec<Vec<String>> = Vec::new();
    for line in script.replace("\\\n", " ").lines() {
        let words: Vec<String> = shlex::Shlex::new(line).collect();
        for (index, word) in words.iter().enumerate() {
            if word.ends_with("bugfender-hooks") && (index == 0 || begins(&words[index - 1])) {
                commands.push(words[index..].iter().map_while(|word| argument(word)).collect());
            }
        }
    }
    commands
}

/// Whether a command can stand behind this word.
fn begins(word: &str) -> bool {
    let keyword =
        ["|", "&&", "||", "&", "--", "!", "sudo", "do", "then", "else", "if", "while", "until", "exec", "time"];
    let assigns =
        word.split_once('=').is_some_and(|(name, _)| name.chars().all(|c| c.is_ascii_uppercase() || c == '_'));
    keyword.contains(&word) || word.ends_with([';', ')']) || assigns
}

/// A word as an argument, unless the shell takes it.
fn argument(word: &str) -> Option<String> {
    let operator = matches!(word, "|" | "||" | "&&" | "&" | ";" | ";;" | "<") || word.starts_with(['>', '<']);
    (!operator && !word.starts_with("2>")).then(|| word.trim_end_matches([';', ')']).to_owned())
}

/// Whether clap knows these words. What a variable stands for is not known here.
fn parses(page: &DocPage, words: &[String]) {
    let args: Vec<OsString> = words.iter().map(OsString::from).collect();
    let Err(error) = Cli::read(&args, ColorChoice::Never) else { return };
    let unknown_value = words.iter().any(|word| word.contains(['$', '…']));
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {}
        ErrorKind::ValueValidation | ErrorKind::InvalidValue if unknown_value => {}
        _ => panic!("{}: {words:?}: {error}", page.path),
    }
}
