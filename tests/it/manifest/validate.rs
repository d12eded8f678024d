//! `manifest validate`.

use super::write;
use crate::assert_shown;
use crate::support::Home;

const VALIDATE: [&str; 3] = ["manifest", "validate", "-f"];

const HOOKS: &str = r#"name = "mobile"
[apps]
shop = 1001

[[hook]]
app = "shop"
events = ["new_crash", "new_user_feedback"]
target_url = "https://hooks.example.com/${KEY}"
label = "ci"

[[hook]]
app_id = 7
events = "new_crash"
target_url = "@url.txt"
"#;

#[test]
fn the_hooks_of_a_manifest_are_listed_offline() {
    let home = Home::new().set("KEY", "s3cret").set("BUGFENDER_API_URL", "https://bf.example");
    write(&home, "hooks.toml", HOOKS);
    write(&home, "url.txt", "https://ci:s3cret@hooks.example.com/all\n");
    let run = |args: &[&str]| {
        let run = home.run([&VALIDATE, args].concat());
        assert!(!run.to_string().contains("s3cret"), "{run}");
        run
    };
    assert_shown!("table", run(&["hooks.toml", "--strict"]));
    assert_shown!("json", run(&["hooks.toml", "-o", "json"]));
    assert_shown!("csv", run(&["hooks.toml", "-o", "csv"]));
    assert_eq!(run(&["hooks.toml", "--jq", ".[].line"]).stdout, "5\n5\n11\n");
    assert!(!home.registry().exists());
    let yaml = "name: mobile\nhook: [{app_id: 9, events: new_crash, target_url: 'https://h.example/'}]\n";
    write(&home, "more/a.yaml", yaml);
    let both = run(&["hooks.toml", "-f", "more", "-o", "ndjson"]);
    assert!(both.code == 0 && both.stderr.contains("2 files are valid: 4 hooks of mobile"), "{both}");
    assert_eq!(both.stdout.lines().count(), 4);
}

#[test]
fn a_manifest_comes_from_standard_input_too() {
    let home = Home::new();
    let run = home.run_with_input(&["manifest", "validate", "-f", "-"], HOOKS);
    assert_shown!("stdin", run);
    let json = r#"{"name": "a", "hook": [{"app_id": 1, "events": "all", "target_url": "https://h.example/"}]}"#;
    let run = home.run_with_input(&["manifest", "validate", "-f", "-", "-q"], &format!("\n  {json}"));
    assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{run}");
    let plan = home.run_with_input(&["plan", "-f", "-", "--jq", ".counts.create"], json);
    assert_eq!((plan.code, plan.stdout.as_str()), (0, "3\n"), "{plan}");
    // Of YAML it is said what is wrong with it.
    let yaml = "name: a\nhook: []\n";
    let run = home.run_with_input(&["manifest", "validate", "-f", "-"], yaml);
    let hint = "hint: standard input is read as TOML, or as JSON if it begins with `{`: give YAML as a file\n";
    assert!(run.code == 2 && run.stderr.contains(hint), "{run}");
    write(&home, "wrong.toml", yaml);
    let run = home.run([&VALIDATE[..], &["wrong.toml"]].concat());
    assert!(run.code == 2 && !run.stderr.contains("standard input"), "{run}");
    let json = r#"{"name": "a", "hook": [{"app_id": 1, "events": "all", "target_url": 3}]}"#;
    let run = home.run_with_input(&["manifest", "validate", "-f", "-", "-o", "json"], json);
    assert_eq!(
        (run.code, run.error()["message"].as_str()),
        (2, Some("<stdin>:1:69: `target_url` must be a string, and this is a number"))
    );
}

#[test]
fn secrets_need_not_be_there_unless_it_is_strict() {
    let home = Home::new();
    write(&home, "hooks.toml", HOOKS);
    assert_shown!("without_secrets", home.run([&VALIDATE[..], &["hooks.toml"]].concat()));
    assert_shown!("without_secrets_strict", home.run([&VALIDATE[..], &["hooks.toml", "--strict"]].concat()));
}

#[test]
fn all_errors_are_shown_with_their_places() {
    let home = Home::new().set("KEY", "s3cret");
    write(&home, "a.toml", &HOOKS.replace("new_user_feedback", "new_feedback").replace("label", "lable"));
    write(&home, "b.yaml", "hook:\n  - app: shpo\n    events: all\n    target_url: https://ci:s3cret@\n  -\n");
    write(&home, "c.json", "{\"name\": \"mobile\",}");
    let args = [&VALIDATE[..], &["a.toml", "-f", "b.yaml", "-f", "c.json", "-f", "none.toml", "-f", "a.md"]].concat();
    assert_shown!("wrong", home.run(&args));
    // For programs, too: the last line has the first, as ever, and all.
    for format in ["json", "ndjson"] {
        let run = home.run(args.iter().chain(&["-o", format]));
        let last: serde_json::Value = serde_json::from_str(run.stderr.lines().last().unwrap()).unwrap();
        let all = last["errors"].as_array().unwrap();
        assert_eq!((all.len(), &all[0]), (run.stderr.matches("error: ").count(), &run.error()), "{run}");
        assert!(all.iter().all(|error| error["category"] == "usage" && error["message"].is_string()), "{run}");
        assert_eq!((&all[0]["file"], all[0]["line"].is_u64()), (&"a.toml".into(), true), "{run}");
    }
    // One error is no list.
    let one = home.run([&VALIDATE[..], &["none.toml", "-o", "json"]].concat());
    assert!(one.code == 2 && !one.stderr.contains("\"errors\""), "{one}");
    assert_eq!(home.run(["manifest", "validate"]).code, 2);
}

#[test]
fn warnings_are_annotations_at_their_places() {
    let home = Home::new();
    write(&home, "hooks.toml", HOOKS);
    let run = home.run([&VALIDATE[..], &["hooks.toml", "-o", "github"]].concat());
    let lines: Vec<&str> = run.stderr.lines().filter(|line| line.starts_with("::warning")).collect();
    assert_eq!(lines.len(), 2, "{run}");
    assert_eq!(lines[0], "::warning file=hooks.toml,line=8,col=14::the variable KEY is not set");
    assert!(lines[1].starts_with("::warning file=hooks.toml,line=14,col=14::url.txt: No such file"), "{run}");
}

#[test]
fn a_wrong_configuration_does_not_matter() {
    let home = Home::new();
    write(&home, ".config/bugfender-hooks/config.toml", "wrong = [");
    write(&home, "hooks.toml", "name = 'a'\n");
    assert_eq!(home.run(["list"]).code, 2);
    assert_eq!(home.run([&VALIDATE[..], &["hooks.toml"]].concat()).code, 0);
    assert_eq!(home.run(["manifest", "schema"]).code, 0);
}
