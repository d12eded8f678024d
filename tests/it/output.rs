//! Formats, filters, colour, closed pipes, and text that would act on a terminal.

use std::process::Stdio;

use crate::assert_shown;
use crate::support::{Home, SandboxServer, Scripted, Terminal, answer, free_address};

const URL: &str = "https://hooks.example.com/bf";

fn filled() -> (SandboxServer, Home) {
    let sandbox = SandboxServer::start();
    let home = Home::of(&sandbox);
    home.json(&["subscribe", "--app-id", "1001", "--event", "all", "--target-url", URL, "--label", "ci"]);
    (sandbox, home)
}

#[test]
fn tables_fit_the_terminal_and_are_whole_elsewhere() {
    let home = Home::holding("https://bf.example", 3);
    let url = format!("https://hooks.example.com/{}/日本語", "x".repeat(90));
    let args =
        ["import", "77", "--app-id", "1001", "--event", "new_issue_separate", "--label", "a label of some length"];
    home.json(&[&args[..], &["--target-url", &url]].concat());
    for columns in [80, 100, 60] {
        let (code, screen) = Terminal::of_width(&home, columns, &["list", "--color", "never"]).end();
        let widest = screen.lines().map(|line| line.chars().count()).max();
        assert!(code == 0 && widest.is_some_and(|widest| widest <= usize::from(columns)), "{screen}");
        assert!(screen.contains('…') && screen.contains("77 "), "{screen}");
        assert_eq!(screen.lines().count(), 5, "{screen}");
    }
    let (_, wide) = Terminal::of_width(&home, 250, &["list", "--color", "never"]).end();
    assert!(wide.contains(&"x".repeat(90)) && !wide.contains('…'), "{wide}");
    let piped = home.run(["list"]);
    assert!(piped.stdout.contains(&"x".repeat(90)) && !piped.stdout.contains('…'), "{piped}");
}

#[test]
fn jq_filters_the_json() {
    let (_sandbox, home) = filled();
    assert_eq!(home.run(["list", "--jq", ".[].hook_id"]).stdout, "1\n2\n3\n");
    assert_eq!(home.run(["list", "--jq", ".[0].event", "--output", "json"]).stdout, "new_crash\n");
    assert_eq!(home.run(["list", "--jq", ".hook_id", "--output", "ndjson"]).stdout, "1\n2\n3\n");
    assert_eq!(home.run(["auth", "status", "--jq", ".signed_in"]).stdout, "true\n");
    assert_shown!("jq_wrong", home.run(["list", "--jq", ".["]));
    assert_shown!("jq_unknown", home.run(["list", "--jq", "nope(1)"]));
    assert_shown!("jq_csv", home.run(["list", "--jq", ".", "--output", "csv"]));
    let run = home.run(["list", "--jq", ".[0] + 1"]);
    assert_eq!((run.code, run.stdout.as_str()), (1, ""), "{run}");
    for endless in ["def f: [f]; f", "def f: f; f", "reduce range(1000000) as $i (0; [.])"] {
        let run = home.run(["list", "--jq", endless]);
        assert_eq!((run.code, run.stdout.as_str()), (2, ""), "{endless}: {}", run.stderr);
        assert!(run.stderr.starts_with("error: --jq: the expression"), "{}", run.stderr);
    }
    // A wrong expression is found before anything is done.
    let args = ["subscribe", "--app-id", "9", "--event", "new_crash", "--target-url", URL, "--jq", ".["];
    assert_eq!(home.run(args).code, 2);
    assert_eq!(home.statuses().len(), 3);
}

#[test]
fn an_unknown_format_is_a_usage_error() {
    assert_shown!("format", Home::new().run(["list", "--output", "yaml"]));
}

#[test]
fn usage_errors_are_for_programs_too() {
    let run = Home::new().run(["subscribe", "--output", "json"]);
    assert_eq!(run.code, 2);
    assert_eq!(run.error()["category"], "usage");
    let run = Home::new().run(["list", "--output=ndjson", "--nope"]);
    assert_eq!(
        (&run.error()["code"], &run.error()["message"]),
        (&2.into(), &"unexpected argument '--nope' found".into())
    );
    let run = Home::new().run(["list", "--api-url", "nope", "--output", "json"]);
    assert_eq!(run.error()["category"], "usage");
    assert!(run.error()["hint"].is_string());
}

#[test]
fn what_cannot_be_seen_of_a_word_is_shown() {
    for (word, shown) in [("a\u{7f}b", "a\\u{7f}b"), ("\u{1b}[31mgood", "\\u{1b}[31mgood")] {
        let run = Home::new().run(["forget", "--yes", "--label", word]);
        assert!(run.code == 2 && run.stderr.contains(&format!("'{shown}'")), "{run}");
    }
    let run = Home::new().run(["subscribe", "--event", "https://u:s3cr\u{7f}et@h.example"]);
    assert!(run.code == 2 && !run.stderr.contains("s3cr"), "{run}");
}

#[test]
fn a_closed_pipe_is_no_error() {
    let (_sandbox, home) = filled();
    let mut child = home.command(["list", "--output", "ndjson"]).stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn a_full_output_is_an_error() {
    let (_sandbox, home) = filled();
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let output = home.command(["list"]).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("could not write the output"));
}

#[test]
fn help_that_cannot_be_shown_is_an_error() {
    let full = || std::fs::File::options().write(true).open("/dev/full").unwrap();
    assert_eq!(Home::new().command(["--help"]).stdout(full()).output().unwrap().status.code(), Some(1));
    let run = Home::new().set("BUGFENDER_HOOKS_COMPLETE", "tcsh").run(["list"]);
    assert_eq!(run.code, 2);
    assert!(run.stderr.contains("tcsh"), "{run}");
}

#[test]
fn colour_is_for_terminals_unless_asked_for() {
    let (_sandbox, home) = filled();
    let escape = '\u{1b}';
    assert!(!home.run(["list"]).stdout.contains(escape));
    assert!(home.run(["list", "--color", "always"]).stdout.contains(escape));
    assert!(home.run(["unsubscribe", "99", "--color", "always"]).stderr.contains(escape));
    assert!(home.run(["list", "--nope", "--color=always"]).stderr.contains(escape));
    let forced = home.set("CLICOLOR_FORCE", "1");
    assert!(forced.run(["list"]).stdout.contains(escape));
    assert!(!forced.run(["list", "--color", "never"]).stdout.contains(escape));
    assert!(!forced.run(["list", "--nope", "--color", "never"]).stderr.contains(escape));
    let none = forced.unset("CLICOLOR_FORCE").set("NO_COLOR", "1");
    let (code, shown) = Terminal::run(&none, &["list"]).end();
    assert_eq!(code, 0);
    assert!(!shown.contains(escape), "{shown:?}");
    let (_, shown) = Terminal::run(&none.unset("NO_COLOR"), &["list"]).end();
    assert!(shown.contains(escape), "{shown:?}");
}

#[test]
fn nothing_from_data_acts_on_a_terminal() {
    let evil = "e\u{1b}]0;owned\u{7}\u{9b}31m\u{202e}x";
    let server = Scripted::always(answer("400 Bad Request", &["content-type: text/plain; charset=utf-8"], evil));
    let home = Home::at(&server.url, "t");
    home.json(&["import", "5", "--app-id", "1", "--event", "new_crash", "--target-url", URL]);
    // Somebody else's hand in the registry.
    let registry = rusqlite::Connection::open(home.registry()).unwrap();
    registry.execute("UPDATE hooks SET label = ?1, target_url = ?1", [evil]).unwrap();
    drop(registry);
    let subscribe = ["subscribe", "--app-id", "2", "--event", "new_crash", "--target-url", URL];
    for args in [
        &["list"][..],
        &["list", "--output", "json"],
        &["list", "--output", "ndjson"],
        &["list", "--output", "csv"],
        &["list", "--jq", ".[].label"],
        &subscribe,
        &["subscribe", "--label", evil],
        &[evil],
    ] {
        let args = [args, &["--color", "never"]].concat();
        let (_, shown) = Terminal::run(&home, &args).end();
        let unsafe_char =
            shown.chars().find(|c| !matches!(c, '\n' | '\r') && bugfender_hooks::domain::is_unsafe_char(*c));
        assert_eq!(unsafe_char, None, "{args:?}: {shown:?}");
        assert!(shown.contains("31m"), "{args:?}: {shown:?}");
    }
    // JSON loses nothing by it; off a terminal CSV is the data itself.
    assert_eq!(home.json(&["list"])[0]["label"], evil);
    assert!(home.run(["list", "--output", "csv"]).stdout.contains(evil));
}

#[test]
fn logs_go_to_standard_error_and_only_when_asked_for() {
    let (_sandbox, home) = filled();
    assert_eq!(home.run(["doctor"]).stderr, "");
    let run = home.run(["doctor", "-vv"]);
    assert!(run.stderr.contains("/api/me") && !run.stderr.contains("hyper"), "{run}");
    assert!(!run.stdout.contains("DEBUG"), "{run}");
    let run = home.run(["doctor", "-vvv"]);
    assert!(run.stderr.contains("/api/me") && run.stderr.contains("hyper"), "{run}");
}

/// With what caused them, and no secret of the URL; where that was is shown to those who ask Rust for it.
#[test]
fn errors_are_shown_with_their_causes_when_everything_is() {
    let url = format!("http://user:s3cret-password@{}/s3cret-path?key=s3cret-key", free_address());
    let run = |home: &Home, args: &[&str]| {
        let args = [&["trigger", "new_crash", "--to", "-"], args].concat();
        let run = home.run_with_input(&args, &url);
        assert_eq!(run.code, 7, "{run}");
        assert!(!run.to_string().contains("s3cret"), "{run}");
        run
    };
    let (plain, asking) = (Home::new(), Home::new().set("RUST_BACKTRACE", "1"));
    for run in [run(&plain, &[]), run(&plain, &["-vv"]), run(&asking, &["-vv"])] {
        assert!(!run.stderr.contains("caused by:") && !run.stderr.contains("backtrace:"), "{run}");
    }
    let told = run(&plain, &["-vvv", "--output", "json"]);
    let causes: Vec<_> = told.stderr.lines().filter_map(|line| line.strip_prefix("  caused by: ")).collect();
    assert_eq!(causes.first(), Some(&"error sending request"), "{told}");
    assert!(causes.last().unwrap().contains("Connection refused"), "{told}");
    assert!(!told.stderr.contains("backtrace:"), "{told}");
    assert_eq!(told.error()["code"], 7);
    let told = run(&asking, &["-vvv"]);
    let (_, backtrace) = told.stderr.split_once("\n  backtrace:\n").unwrap();
    assert!(backtrace.contains("bugfender_hooks::"), "{told}");
    let told = run(&Home::new().set("RUST_BACKTRACE", "1").set("RUST_LIB_BACKTRACE", "0"), &["-vvv"]);
    assert!(told.stderr.contains("caused by:") && !told.stderr.contains("backtrace:"), "{told}");
}

/// A label and a target by somebody who would like to be more than text.
fn with_strangers_text() -> Home {
    let home = Home::new();
    for (id, label, url) in [
        ("1", "::error::mine", "https://hooks.example.com/a|b`c`?@octocat=GH-12"),
        ("2", "<b>@octocat</b> [x](http://e)", "https://hooks.example.com/_x_*y*~z~"),
    ] {
        let args = ["import", id, "--app-id", "1001", "--event", "new_crash", "--label", label, "--target-url", url];
        let run = home.run(args);
        assert_eq!(run.code, 0, "{run}");
    }
    home
}

#[test]
fn markdown_is_a_table_of_texts() {
    let home = with_strangers_text();
    assert_shown!("markdown", home.run(["list", "--output", "markdown"]));
    let run = Home::new().run(["list", "--output", "markdown"]);
    assert_eq!((run.code, run.stdout.as_str()), (0, ""), "{run}");
}

#[test]
fn results_are_no_commands_of_github() {
    let home = with_strangers_text();
    let labels = ["list", "--output", "github", "--jq", ".[].label"];
    assert_eq!(home.run(labels).stdout, "<b>@octocat</b> [x](http://e)\n: :error::mine\n");
    assert_eq!(home.run(["list", "--output", "github"]).stdout, home.run(["list"]).stdout);
    // What is wrong is one, whoever finds it.
    let run = home.run(["list", "--api-url", "nope", "--output", "github"]);
    assert!(run.code == 2 && run.stderr.starts_with("::error::"), "{run}");
    let run = home.run(["list", "--nope", "--output", "github"]);
    assert!(run.code == 2 && run.stderr.ends_with("\n::error::unexpected argument '--nope' found\n"), "{run}");
}
