//! Every help text, the help topics, the manual pages.

use crate::assert_shown;
use crate::docs::pages::{DocPage, root};
use crate::support::Home;

/// Every command, as it is typed.
const COMMANDS: &[&[&str]] = &[
    &[],
    &["auth"],
    &["auth", "login"],
    &["auth", "status"],
    &["auth", "token"],
    &["auth", "logout"],
    &["auth", "list"],
    &["auth", "switch"],
    &["whoami"],
    &["apps"],
    &["subscribe"],
    &["unsubscribe"],
    &["list"],
    &["drift"],
    &["history"],
    &["import"],
    &["forget"],
    &["manifest"],
    &["manifest", "init"],
    &["manifest", "validate"],
    &["manifest", "schema"],
    &["plan"],
    &["apply"],
    &["registry"],
    &["registry", "export"],
    &["registry", "import"],
    &["registry", "merge"],
    &["config"],
    &["config", "path"],
    &["config", "show"],
    &["config", "get"],
    &["config", "set"],
    &["config", "unset"],
    &["listen"],
    &["trigger"],
    &["check"],
    &["verify"],
    &["healthcheck"],
    &["events"],
    &["events", "list"],
    &["events", "show"],
    &["events", "tail"],
    &["events", "stats"],
    &["events", "export"],
    &["events", "fetch"],
    &["events", "replay"],
    &["events", "retry"],
    &["events", "reread"],
    &["events", "purge"],
    &["events", "delete"],
    &["store"],
    &["store", "info"],
    &["store", "backup"],
    &["store", "restore"],
    &["store", "copy"],
    &["store", "migrate"],
    &["targets"],
    &["targets", "list"],
    &["targets", "pause"],
    &["targets", "resume"],
    &["targets", "drop"],
    &["targets", "test"],
    &["ui"],
    &["doctor"],
    &["sandbox"],
    &["sandbox", "run"],
    &["demo"],
    &["completions"],
    &["man"],
    &["exit-codes"],
    &["environment"],
];

#[test]
fn every_command_explains_itself() {
    let home = Home::new();
    for command in COMMANDS {
        let run = home.run(command.iter().chain(&["--help"]));
        assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{run}");
        let name = if command.is_empty() { "root".to_owned() } else { command.join("_") };
        assert_shown!(format!("help_{name}"), run.stdout);
    }
}

#[test]
fn help_ends_with_the_page_of_the_command() {
    let home = Home::new();
    for command in COMMANDS {
        let long = home.run(command.iter().chain(&["--help"])).stdout;
        let address = long.trim_end().rsplit_once("Documentation: ").unwrap_or_else(|| panic!("{long}")).1;
        let (path, anchor) = address.split_once('#').unwrap_or((address, ""));
        let inside = path.split_once("docs/src/").unwrap().1;
        let page = DocPage::read(&root().join("docs/src").join(inside));
        assert!(anchor.is_empty() || page.anchors().contains(anchor), "{address}");
        assert!(!home.run(command.iter().chain(&["-h"])).stdout.contains("Documentation:"));
    }
}

#[test]
fn help_topics() {
    let home = Home::new();
    assert_shown!("topic_exit_codes", home.run(["help", "exit-codes"]).stdout);
    assert_shown!("topic_environment", home.run(["help", "environment"]).stdout);
    assert_eq!(home.json(&["exit-codes"]).as_array().unwrap().len(), 11);
}

#[test]
fn no_command_is_missing_here() {
    let root = Home::new().run(["--help"]).stdout;
    let listed = root.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    for line in listed {
        let name = line.split_whitespace().next().unwrap();
        assert!(name == "help" || COMMANDS.iter().any(|command| command.first() == Some(&name)), "{name}");
    }
}

#[test]
fn manual_pages_are_printed_and_written() {
    let home = Home::new();
    let root = home.run(["man"]);
    assert!(root.stdout.contains(".TH bugfender-hooks 1"), "{root}");
    let login = home.run(["man", "auth", "login"]);
    assert!(login.stdout.contains("bugfender-hooks-auth-login") && login.stdout.contains("with\\-token"), "{login}");
    assert_eq!(home.run(["man", "nope"]).code, 2);
    assert_eq!(home.run(["man", "--dir", "pages"]).code, 0);
    let pages: Vec<_> = std::fs::read_dir(home.path().join("pages")).unwrap().flatten().collect();
    assert!(pages.len() >= COMMANDS.len(), "{}", pages.len());
}

#[test]
fn without_a_command_help_is_a_usage_error() {
    let run = Home::new().run::<&str>([]);
    assert_eq!((run.code, run.stdout.as_str()), (2, ""));
    assert!(run.stderr.contains("Usage:"), "{run}");
}

#[test]
fn the_short_help_is_a_screen() {
    let home = Home::new().set("COLUMNS", "80");
    for command in COMMANDS {
        let run = home.run(command.iter().chain(&["-h"]));
        let lines = run.stdout.lines().count();
        assert!(run.code == 0 && lines <= 40, "{lines}: {run}");
        assert!(!run.stdout.contains("--credential-store"), "{run}");
        assert!(run.stdout.lines().all(|line| line.starts_with("Usage:") || line.chars().count() <= 80), "{run}");
        let long = home.run(command.iter().chain(&["--help"])).stdout;
        assert!(long.contains("--credential-store <STORE>") && long.contains("-o, --output"), "{long}");
        if let (Some(examples), Some(options)) = (long.find("\nExamples:"), long.find("\nOptions:")) {
            assert!(examples < options, "{long}");
        }
    }
}

#[test]
fn short_names_stand_for_long_ones() {
    let home = Home::at("https://bf.example", "t");
    assert_eq!(home.run(["ls", "-o", "json"]).stdout, "[]\n");
    assert_eq!(home.run(["ls", "-ojson"]).stdout, "[]\n");
    assert_eq!(home.run(["events", "ls", "-q"]).code, 0);
    let run = home.run(["rm", "x", "-o", "json"]);
    assert_eq!((run.code, run.error()["code"].as_i64()), (2, Some(2)), "{run}");
}

#[test]
fn tips_are_about_what_was_typed() {
    let home = Home::new();
    for (args, tip) in [
        (&["lst"][..], Some("'list'")),
        (&["subscribe", "--evnt", "all"], Some("'--event'")),
        (&["list", "--colour", "never"], Some("'--color'")),
        (&["subscribe", "--event", "new_crsh"], Some("'new_crash'")),
        (&["hooks"], None),
        (&["login"], None),
        (&["status"], None),
        (&["unsubscribe", "--force"], None),
        (&["list", "--tags", "x"], None),
    ] {
        let run = home.run(args);
        assert_eq!(run.code, 2, "{run}");
        let tips: Vec<_> = run.stderr.lines().filter(|line| line.contains("tip:")).collect();
        match tip {
            Some(tip) => assert!(tips.iter().any(|line| line.contains(tip)), "{run}"),
            None => assert!(tips.is_empty(), "{run}"),
        }
    }
}
