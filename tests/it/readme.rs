//! README and documentation keep their word: examples run, tables agree with the code.

use bugfender_hooks::store::sqlite::SqliteStore;
use bugfender_hooks::store::{ReceiverInbox, Route, Store, TargetName};

use crate::docs::blocks::run_script;
use crate::docs::pages::{DocPage, documentation, root};
use crate::support::{Home, Run, SandboxServer, Scripted, answer, free_address, http_get, wait_until};

/// The shell block behind a marker.
fn block(marker: &str) -> String {
    let text = documentation();
    let rest = text.split_once(&format!("<!-- {marker}")).unwrap().1;
    let block = rest.split_once("```sh\n").unwrap().1.split_once("```").unwrap().0;
    block.to_owned()
}

/// Runs a block as a shell would, with the binary on the path and a sandbox for Bugfender.
fn run_block(marker: &str, sandbox: &SandboxServer) -> (Home, Run) {
    let home = Home::new().set("BUGFENDER_API_URL", &sandbox.url).set("BUGFENDER_CLIENT_ID", "sandbox-client");
    run_block_in(home.set("BUGFENDER_CLIENT_SECRET", "sandbox-secret"), marker)
}

fn run_block_in(home: Home, marker: &str) -> (Home, Run) {
    run_script_in(home, &block(marker))
}

fn run_script_in(home: Home, script: &str) -> (Home, Run) {
    let run = run_script(&home, script);
    (home, run)
}

#[test]
fn the_quick_start_runs() {
    let sandbox = SandboxServer::start();
    let (_home, run) = run_block("quick start", &sandbox);
    assert_eq!(run.code, 0, "{run}");
    assert_eq!(sandbox.requests("POST /api/hook").len(), 2);
    assert!(sandbox.hooks().is_empty());
}

#[test]
fn the_receive_example_runs() {
    let home = Home::new();
    // The page has the address that `listen` takes by itself; every run of this test has one of its own.
    let listen = "bugfender-hooks listen ";
    let script = block("receive").replace(listen, &format!("{listen}--listen {} ", free_address()));
    let (_home, run) = run_script_in(home, &script);
    assert_eq!(run.code, 0, "{run}");
    assert_eq!(run.stdout.lines().filter(|line| line.contains(" stored ")).count(), 3, "{run}");
    // Each came twice.
    let stats = run.stdout.lines().last().unwrap();
    assert_eq!(stats.split_whitespace().take(5).collect::<Vec<_>>(), ["bugfender", "crash", "1001", "3", "3"], "{run}");
}

#[test]
fn the_tables_of_the_receiver_agree_with_it() {
    let home = Home::new();
    let ready = home.path().join("ready.json");
    let mut receiver = home.spawn(&["listen", "--listen", "127.0.0.1:0", "--ready-file", "ready.json"]);
    wait_until("it serves", || ready.exists());
    let urls: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&ready).unwrap()).unwrap();
    let url = |path: &str| format!("{}{path}", urls["url"].as_str().unwrap());
    let (metrics, readiness) = (http_get(&url("/metrics")), http_get(&url("/readyz")));
    receiver.kill().unwrap();
    receiver.wait().unwrap();
    let text = documentation();
    let names = metrics.lines().filter_map(|line| line.strip_prefix("# TYPE bugfender_hooks_")?.split_once(' '));
    let mut seen = 0;
    for (name, _) in names {
        assert!(text.contains(&format!("`{name}`")), "{name}");
        seen += 1;
    }
    assert!(seen > 5, "{metrics}");
    let readiness: serde_json::Value = serde_json::from_str(&readiness).unwrap();
    for key in readiness.as_object().unwrap().keys() {
        assert!(text.contains(&format!("`{key}`")), "{key}");
    }
}

#[test]
fn the_session_with_a_manifest_is_a_real_one() {
    let sandbox = SandboxServer::start();
    let text = documentation();
    let manifest = text.split_once("```toml hooks\n").unwrap().1.split_once("```").unwrap().0;
    let home = Home::of(&sandbox);
    std::fs::write(home.path().join("hooks.toml"), manifest).unwrap();
    let (home, run) = run_block_in(home, "hooks as code");
    assert_eq!(run.code, 0, "{run}");
    assert_eq!(sandbox.hooks().len(), 8);
    // What is shown of it is what the last two commands showed.
    let session = text.split_once("```console session\n").unwrap().1.split_once("```").unwrap().0;
    let shown: Vec<&str> = session.split_inclusive('\n').filter(|line| !line.starts_with("$ ")).collect();
    // Hooks are subscribed at the same time: which one gets which number is the server's choice.
    let without_number = |line: &str| match line.strip_prefix("~ replace  ").and_then(|rest| rest.split_once(' ')) {
        Some((_, rest)) => rest.trim_start().to_owned(),
        None => line.to_owned(),
    };
    let without_numbers = |text: &str| text.lines().map(without_number).collect::<Vec<_>>().join("\n");
    assert!(without_numbers(&run.stdout).ends_with(&without_numbers(&shown.concat())), "{run}");
    let again = home.set("BUGFENDER_KEY", "another-key").run(["plan", "-f", "hooks.toml", "--detailed-exitcode"]);
    assert_eq!(again.code, 0, "{again}");
}

#[test]
fn the_profiles_example_runs() {
    let sandbox = SandboxServer::start();
    let home = Home::new().set("COMPANY_URL", &sandbox.url).set("COMPANY_CLIENT", "sandbox-client");
    std::fs::write(home.path().join("secret.txt"), "sandbox-secret\n").unwrap();
    let (_home, run) = run_block_in(home, "profiles");
    assert_eq!(run.code, 0, "{run}");
    assert!(run.stdout.contains("service_account"), "{run}");
    assert_eq!(sandbox.hooks().len(), 1);
}

#[test]
fn the_configuration_example_is_a_configuration() {
    let text = documentation();
    let block = text.split_once("```toml configuration\n").unwrap().1.split_once("```").unwrap().0;
    let home = Home::new();
    std::fs::create_dir_all(home.config().parent().unwrap()).unwrap();
    std::fs::write(home.config(), block).unwrap();
    assert_eq!(home.json(&["config", "show"]).as_array().unwrap().len(), 6);
}

#[test]
fn the_ci_example_runs_in_good_times_and_bad() {
    let sandbox = SandboxServer::start();
    let (home, run) = run_block("ci", &sandbox);
    // A service account, as the text says.
    assert_eq!(sandbox.requests("POST /auth/token").len(), 1);
    assert_eq!((run.code, run.stdout.as_str()), (0, "subscribed: 3 hooks\n"), "{run}");
    assert!(home.path().join("hooks/registry.db").exists());
    let (_home, run) = run_block("ci", &SandboxServer::with_faults(&["subscribe=401"]));
    assert_eq!((run.code, run.stdout.as_str()), (1, "the client id or secret is wrong\n"), "{run}");
    let (_home, run) = run_block("ci", &SandboxServer::with_faults(&["subscribe=drop"]));
    assert_eq!(run.code, 8, "{run}");
    assert!(run.stderr.contains("import HOOK_ID"), "{run}");
    let (_home, run) = run_block("ci", &SandboxServer::with_faults(&["subscribe=403"]));
    assert_eq!(run.code, 5, "{run}");
}

#[test]
fn the_readme_is_short() {
    let readme = DocPage::read(&root().join("README.md"));
    assert!(readme.text.lines().count() <= 200, "what is longer belongs into docs");
    assert!(["demo.svg", "ui.png"].iter().all(|name| readme.links().iter().any(|link| link.ends_with(name))));
}

#[test]
fn the_two_commands_are_named() {
    // Their parts run elsewhere: `demo` in its own test, `cargo test` right now.
    let text = DocPage::read(&root().join("README.md")).text;
    assert!(text.contains("\ncargo run --release -- demo "));
    assert!(text.contains("\ncargo test "));
}

#[test]
fn the_codes_that_are_no_errors_stand_behind_the_table() {
    // As they do where the command shows it.
    let (text, findings) = (documentation(), Home::new().run(["exit-codes"]).stderr);
    assert!(findings.starts_with("With 10, ") && text.contains(&format!("\n{findings}")), "{findings}");
}

#[test]
fn the_schema_agrees_with_the_output() {
    let text = documentation();
    let table = text.split_once("\n# JSON\n").unwrap().1.split_once("`--jq").unwrap().0;
    let documented: Vec<&str> = table.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    let sandbox = SandboxServer::start();
    let home = Home::of(&sandbox);
    let url = "https://hooks.example.com/bf";
    let args = ["--app-id", "1001", "--event", "new_crash", "--target-url", url];
    let keys = |record: &serde_json::Value| record.as_object().unwrap().keys().cloned().collect::<Vec<String>>();
    let subscribed = keys(&home.json(&[&["subscribe"], &args[..]].concat())[0]);
    let listed = keys(&home.json(&["list"])[0]);
    let imported = keys(&home.json(&[&["import", "1"], &args[..]].concat())[0]);
    let unsubscribed = keys(&home.json(&["unsubscribe", "1"])[0]);
    let (common, extra) = documented.split_at(10);
    let (of_list, extra) = extra.split_at(3);
    assert_eq!(listed, [common, of_list].concat());
    assert_eq!(imported, common);
    assert_eq!(subscribed, [common, &extra[..2]].concat());
    assert_eq!(unsubscribed, [common, &extra[2..]].concat());
}

/// A command of the table of keys, with arguments that make it show something.
fn command_line(command: &str, url: &str) -> Vec<String> {
    let line = match command {
        "apply" => "apply -f hooks.toml --yes --initial".to_owned(),
        "check" => format!("check {url} --timeout 5"),
        "events fetch" => "events fetch --app-id 1001 --since 1h --dry-run".to_owned(),
        "events delete" => "events delete x --yes".to_owned(),
        "events purge" => "events purge --older-than 1d --yes".to_owned(),
        "events replay" => format!("events replay --all --yes --to {url}"),
        "events reread" => "events reread --all".to_owned(),
        "events retry" => "events retry --all".to_owned(),
        "plan" => "plan -f hooks.toml".to_owned(),
        "store copy" => "store copy --to sqlite:copy.db".to_owned(),
        "targets test" => "targets test nobody --timeout 0.1".to_owned(),
        "trigger" => format!("trigger new_crash --to {url}"),
        "verify" => "verify --secret-file secret -H x-ibg-signature-256:00 secret".to_owned(),
        "with `--dry-run" => "unsubscribe 1 --dry-run".to_owned(),
        _ => command.trim_matches('`').to_owned(),
    };
    line.split(' ').map(str::to_owned).collect()
}

/// Puts a target on record that the last receiver forwarded to.
fn on_record(inbox: &mut dyn ReceiverInbox, name: &str) {
    let target = inbox.targets(&[TargetName { key: name.to_owned(), shown: name.to_owned() }]).unwrap()[0];
    inbox.set_routes(&[Route { target, types: Vec::new(), together: true }]).unwrap();
}

#[test]
fn the_keys_of_results_are_those_that_come() {
    let sandbox = SandboxServer::start();
    let home = Home::of(&sandbox);
    on_record(&mut *SqliteStore::at(&home.registry()).receiver_inbox().unwrap(), "nobody");
    std::fs::write(home.path().join("secret"), "0123456789abcdef").unwrap();
    std::fs::write(home.path().join("hooks.toml"), "name = \"empty\"\n").unwrap();
    let endpoint = Scripted::always(answer("200 OK", &[], ""));
    let text = documentation();
    let table = text.split("| command | | keys |\n|---|---|---|\n").nth(1).unwrap();
    let lines: Vec<&str> = table.lines().take_while(|line| line.starts_with('|')).collect();
    assert_eq!(lines.len(), 29);
    for line in lines {
        let [command, shape, keys] = line.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>()[..] else {
            panic!("{line}")
        };
        let run = |format| {
            let line = command_line(command.trim_matches('`'), &endpoint.url);
            home.run(line.iter().map(String::as_str).chain(["--output", format]))
        };
        let csv = run("csv");
        assert_eq!(csv.stdout.lines().next(), Some(keys.replace(['`', ' '], "").as_str()), "{command}: {csv}");
        assert_eq!(run("json").json().is_array(), shape == "list", "{command}");
    }
}
