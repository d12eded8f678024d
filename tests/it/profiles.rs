//! Profiles and the configuration file.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;

use crate::assert_shown;
use crate::support::{Home, Run, SandboxServer};

const URL: &str = "https://hooks.example.com/bf";

fn write(home: &Home, text: &str) {
    fs::create_dir_all(home.config().parent().unwrap()).unwrap();
    fs::write(home.config(), text).unwrap();
}

fn read(home: &Home) -> String {
    fs::read_to_string(home.config()).unwrap_or_default()
}

#[test]
fn a_profile_has_an_installation_a_sign_in_a_registry_and_defaults() {
    let (one, two) = (SandboxServer::start(), SandboxServer::start());
    let home = Home::new();
    for (name, sandbox) in [("one", &one), ("two", &two)] {
        let login = ["auth", "login", "--with-token", "--profile", name, "--api-url", &sandbox.url];
        assert_eq!(home.run_with_input(&login, &sandbox.token).code, 0);
        assert_eq!(home.run(["config", "set", "app_id", "1002", "--profile", name]).code, 0);
        assert_eq!(home.run(["config", "set", "target_url", URL, "--profile", name]).code, 0);
    }
    let subscribe = ["subscribe", "--event", "new_crash"];
    assert_shown!("switch", home.run(["auth", "switch", "one"]));
    let hook = &home.json(&subscribe)[0];
    assert_eq!((hook["app_id"].as_i64(), hook["target_url"].as_str()), (Some(1002), Some(URL)));
    // A flag wins over the profile's default, a variable over the profile that was switched to.
    home.json(&[&subscribe[..], &["--app-id", "7"]].concat());
    assert_eq!((one.hooks().len(), two.hooks().len()), (2, 0));
    let home = home.set("BUGFENDER_HOOKS_PROFILE", "two");
    assert!(home.json(&["list"]).as_array().unwrap().is_empty());
    home.json(&subscribe);
    assert_eq!((one.hooks().len(), two.hooks().len()), (2, 1));
    assert_eq!(home.json(&["list", "--profile", "one"]).as_array().unwrap().len(), 2);
    assert!(home.data().join("registry-one.db").exists() && !home.registry().exists());
    assert_shown!("list", home.run(["auth", "list"]).to_string());
    assert_shown!("list_json", home.run(["auth", "list", "--output", "json", "--jq", "map(.profile)"]));
    assert_shown!("show", home.run(["config", "show"]));

    // Signed out of one, the other is still there.
    assert_eq!(home.run(["auth", "logout"]).code, 0);
    assert_eq!(home.run(["whoami"]).code, 4);
    assert_eq!(home.run(["whoami", "--profile", "one"]).code, 0);
}

#[test]
fn a_byte_order_mark_is_not_part_of_a_text() {
    let home = Home::new();
    write(&home, "\u{feff}[profiles.default]\napp_id = 1\n");
    assert_eq!(home.run(["config", "set", "target_url", URL]).code, 0);
    let profile = &home.json(&["config", "show"]);
    assert_eq!(profile.as_array().unwrap().len(), 2, "{profile}");
    fs::write(home.path().join("url"), format!("\u{feff}{URL}\r\n")).unwrap();
    let import = ["import", "1", "--event", "new_crash", "--target-url"];
    assert_eq!(home.json(&[&import[..], &["@url"]].concat())[0]["target_url"], URL);
    let again = ["import", "2", "--event", "new_issue_separate", "--target-url", "-", "--output", "json"];
    let run = home.run_with_input(&again, &format!("\u{feff}{URL}\n"));
    assert_eq!(run.json()[0]["target_url"], URL, "{run}");
    fs::write(home.path().join("data"), "\u{feff}[{\"id\": \"1\"}]").unwrap();
    let trigger =
        ["trigger", "new_crash", "--to", "http://127.0.0.1:9/x", "--data", "data", "--set", "a=1", "--dry-run"];
    assert_eq!(home.run(trigger).code, 0);
}

#[test]
fn everything_can_be_kept_in_one_directory() {
    let sandbox = SandboxServer::start();
    let home = Home::new().set("BUGFENDER_HOOKS_HOME", "all").set("HOME", "/proc/nope");
    assert_eq!(home.run(["config", "set", "api_url", &sandbox.url]).code, 0);
    let login = ["auth", "login", "--with-token", "--credential-store", "file"];
    assert_eq!(home.run_with_input(&login, &sandbox.token).code, 0);
    home.subscribe("1001", "new_crash", URL);
    let mut kept: Vec<String> = fs::read_dir(home.path().join("all"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    kept.sort();
    assert_eq!(kept, [".config.lock", "config.toml", "credentials", "registry.db", "registry.db-locks"]);
    assert_eq!(fs::metadata(home.path().join("all")).unwrap().permissions().mode() & 0o777, 0o700);

    let findings = home.run(["doctor"]).stdout;
    assert!(findings.contains("all/registry.db (BUGFENDER_HOOKS_HOME)"), "{findings}");

    // Where a relative one leads nowhere, it is not the user's own directory that is taken.
    let gone = home.path().join("gone");
    fs::create_dir(&gone).unwrap();
    let command = home.command(["config", "path"]);
    // The shell removes the directory that it is in.
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", "rmdir ../gone && exec \"$@\"", "sh"]).arg(command.get_program()).args(command.get_args());
    shell.current_dir(&gone).env("BUGFENDER_HOOKS_HOME", "rel").env("HOME", home.path());
    let run = Run::of(shell.output().unwrap());
    assert_eq!(run.stdout, "rel/config.toml\n", "{run}");
}

#[test]
fn a_path_that_the_file_cannot_hold_is_refused() {
    let home = Home::new();
    let odd = home.path().join(std::ffi::OsStr::from_bytes(b"odd\xff"));
    fs::create_dir(&odd).unwrap();
    for (key, value) in [("store", "sqlite:x.db"), ("ca_file", "ca.pem")] {
        let run = Run::of(home.command(["config", "set", key, value]).current_dir(&odd).output().unwrap());
        assert!(run.code == 2 && run.stderr.contains("not valid Unicode"), "{run}");
    }
    assert_eq!(read(&home), "");
}

#[test]
fn a_credential_is_never_sent_to_another_installation() {
    let (mine, other) = (SandboxServer::start(), SandboxServer::start());
    let home = Home::new();
    let login = ["auth", "login", "--with-token", "--profile", "work", "--api-url", &mine.url];
    assert_eq!(home.run_with_input(&login, &mine.token).code, 0);
    assert_eq!(home.run(["whoami", "--profile", "work", "--api-url", &other.url]).code, 4);
    home.run(["config", "set", "api_url", &other.url, "--profile", "work"]);
    assert_eq!(home.run(["whoami", "--profile", "work"]).code, 4);
    assert!(other.requests("GET").is_empty());
}

#[test]
fn a_profile_that_is_not_there_is_an_error() {
    let home = Home::new();
    assert_shown!("unknown", home.run(["list", "--profile", "nope"]));
    assert_eq!(home.run(["auth", "switch", "nope"]).code, 2);
    assert_eq!(home.run(["list", "--profile", "No/pe"]).code, 2);
    assert_eq!(home.run(["list", "--profile", "default"]).code, 0);
    let home = home.set("BUGFENDER_HOOKS_PROFILE", "nope");
    assert_eq!(home.run(["list"]).code, 2);
    assert!(!home.config().exists());
}

#[test]
fn comments_and_order_survive_a_change() {
    let home = Home::new();
    let text = "# mine\nprofile = \"work\"   # at work\n\n[profiles.work]\n# the company's own\napi_url = \"https://a.example\" # old\n\
                app_id = 1\n\n[profiles.home]\nstore = 'sqlite:h.db'\n";
    write(&home, text);
    home.run(["config", "set", "api_url", "https://b.example/api"]);
    home.run(["config", "set", "ca_file", "ca.pem"]);
    home.run(["config", "unset", "app_id"]);
    home.run(["auth", "switch", "home"]);
    home.run(["config", "set", "credential_store", "file", "--profile", "new"]);
    assert_shown!("edited", read(&home));
    assert_eq!(crate::auth::mode(&home.config()), 0o600);
}

#[test]
fn a_wrong_file_is_named_with_the_line() {
    let home = Home::new();
    write(&home, "[profiles.work]\napi_url = 'https://a.example'\napi_key = 's3cret'\n");
    let run = home.run(["list"]);
    assert_shown!("unknown_key", run);
    assert!(!run.to_string().contains("s3cret"));
    assert_eq!(home.run(["config", "set", "app_id", "1"]).code, 2);
    assert_eq!(home.run(["auth", "login", "--with-token"]).code, 2);
    // Whoever has to mend it must find it; what needs no configuration works.
    assert_eq!(home.run(["config", "path"]).stdout.trim(), home.config().to_str().unwrap());
    assert_eq!(home.run(["completions", "bash"]).code, 0);
    write(&home, "[profiles.work\n");
    assert!(home.run(["list"]).stderr.contains("config.toml, line 1: "));
}

#[test]
fn values_are_checked_when_they_are_set() {
    let home = Home::new();
    for (key, value) in [
        ("api_url", "nope"),
        ("store", "postgres://u:s3cret@db/x"),
        ("credential_store", "vault"),
        ("app_id", "0"),
        ("target_url", "ftp://u:s3cret@x"),
        ("target_url", "https://u:****@x/"),
        ("nope", "1"),
    ] {
        let run = home.run(["config", "set", key, value]);
        assert_eq!(run.code, 2, "{key}: {run}");
        assert!(!run.to_string().contains("s3cret"), "{run}");
    }
    assert_eq!(read(&home), "");
    assert_shown!("show_nothing", home.run(["config", "show"]));
    assert_shown!("unset_nothing", home.run(["config", "unset", "app_id"]));
}

#[test]
fn a_password_in_the_default_target_url_is_hidden_and_used() {
    let sandbox = SandboxServer::start();
    let home = Home::of(&sandbox);
    let url = "https://user:s3cret@hooks.example.com/bf";
    let run = home.run_with_input(&["config", "set", "target_url", "-", "-vvv"], url);
    assert_eq!(run.code, 0, "{run}");
    assert!(!format!("{run}{}", home.run(["config", "show", "--output", "json"])).contains("s3cret"));
    home.json(&["subscribe", "--app-id", "1", "--event", "new_crash"]);
    let shown = home.json(&["list", "--show-secrets"]);
    assert_eq!(shown[0]["target_url"], url);
}

#[test]
fn paths_in_the_file_are_seen_from_the_file_and_paths_that_are_set_from_here() {
    let sandbox = SandboxServer::start();
    let home = Home::of(&sandbox);
    write(&home, "[profiles.default]\nstore = 'sqlite:mine.db'\n");
    home.subscribe("1", "new_crash", URL);
    assert!(home.config().with_file_name("mine.db").exists());
    home.run(["config", "set", "store", "sqlite:here.db"]);
    home.subscribe("1", "new_crash", URL);
    assert!(home.path().join("here.db").exists());
}

#[test]
fn many_changes_at_once_lose_none() {
    let home = Home::new();
    let set = |name: usize| home.spawn(&["config", "set", "app_id", "7", "--profile", &format!("p{name}")]);
    for child in (0..20).map(set).collect::<Vec<_>>() {
        assert!(child.wait_with_output().unwrap().status.success());
    }
    assert_eq!(home.json(&["config", "show"]).as_array().unwrap().len(), 20);
}

#[test]
fn a_link_to_the_file_stays_a_link() {
    let home = Home::new();
    write(&home, "");
    let kept = home.path().join("dotfiles.toml");
    fs::rename(home.config(), &kept).unwrap();
    std::os::unix::fs::symlink(&kept, home.config()).unwrap();
    assert_eq!(home.run(["config", "set", "app_id", "7"]).code, 0);
    assert!(home.config().is_symlink());
    assert!(fs::read_to_string(kept).unwrap().contains("app_id = 7"));
}

#[test]
fn what_is_missing_and_has_no_default_is_named() {
    let home = Home::new();
    assert_shown!("no_app", home.run(["subscribe", "--event", "new_crash", "--target-url", URL]));
    assert_shown!("no_target", home.run(["subscribe", "--event", "new_crash", "--app-id", "1"]));
}

#[test]
fn comments_stay_where_they_are_said() {
    let home = Home::new();
    let text = "# at the top\r\n\r\n[profiles.work]\r\n# ask before changing\r\napp_id = 1\r\nstore = 'sqlite:/w.db'\r\n# api_url = 'x'\r\n";
    write(&home, text);
    home.run(["config", "unset", "app_id", "--profile", "work"]);
    home.run(["config", "set", "app_id", "2", "--profile", "new"]);
    let expected = "# at the top\r\n\r\n[profiles.work]\r\n# ask before changing\r\nstore = 'sqlite:/w.db'\r\n# api_url = 'x'\r\n\r\n\
                    [profiles.new]\r\napp_id = 2\r\n";
    assert_eq!(read(&home), expected);
    home.run(["config", "unset", "store", "--profile", "work"]);
    assert!(read(&home).contains("# ask before changing"), "{}", read(&home));
    write(
        &home,
        "[profiles.a]\r\ntarget_url = \"\"\"\r\nhttps://x.example/\"\"\"\r\n# the app\r\napp_id = 5\r\n\r\n[profiles.b]\r\n",
    );
    home.run(["config", "unset", "app_id", "--profile", "a"]);
    home.run(["config", "set", "app_id", "1", "--profile", "b"]);
    assert_eq!(home.json(&["config", "show"]).as_array().unwrap().len(), 2);
    assert!(read(&home).find("# the app") < read(&home).find("[profiles.b]"), "{}", read(&home));
    write(&home, "# all of mine\n\n# at work\n[profiles.work]\napp_id = 1\n");
    home.run(["auth", "switch", "work"]);
    assert_eq!(read(&home), "# all of mine\n\nprofile = \"work\"\n\n# at work\n[profiles.work]\napp_id = 1\n");
    write(&home, "# nothing yet\n");
    home.run(["config", "set", "app_id", "2"]);
    home.run(["auth", "switch", "default"]);
    assert!(read(&home).contains("# nothing yet"), "{}", read(&home));
    assert_eq!(home.json(&["config", "show"]).as_array().unwrap().len(), 1);
}

#[test]
fn a_sign_in_outlives_its_profile_and_can_still_be_forgotten() {
    let home = Home::new();
    home.run_with_input(&["auth", "login", "--with-token", "--profile", "work", "--api-url", "https://a.example"], "t");
    write(&home, "");
    assert_eq!(home.json(&["auth", "list"]).as_array().unwrap().len(), 2);
    let run = home.run(["auth", "logout", "--profile", "work", "--api-url", "https://a.example"]);
    assert!(run.code == 0 && run.stderr.contains("signed out"), "{run}");
    // One that cannot be read does not hide the others.
    home.run_with_input(&["auth", "login", "--with-token", "--api-url", "https://b.example"], "t");
    fs::write(home.data().join("credentials/broken@x.json"), "{").unwrap();
    let run = home.run(["auth", "list"]);
    assert!(run.code == 9 && run.stdout.contains("https://b.example"), "{run}");
}

#[test]
fn a_login_says_when_commands_use_something_else() {
    let home = Home::new();
    let run = home.run_with_input(&["auth", "login", "--with-token", "--api-url", "https://a.example"], "t");
    assert!(run.stderr.contains("commands use https://dashboard.bugfender.com unless --api-url is given"), "{run}");
    let run = home
        .run_with_input(&["auth", "login", "--with-token", "--profile", "p", "--api-url", "https://a.example"], "t");
    assert!(run.stderr.contains("commands use profile default unless --profile p is given"), "{run}");
    let run = home.run(["whoami", "--profile", "p", "--api-url", "https://c.example"]);
    assert!(run.stderr.contains("auth login --profile p --api-url https://c.example"), "{run}");
}

#[test]
fn the_environment_wins_over_the_authority_of_a_profile() {
    let home = Home::at("https://bf.invalid", "t").set("SSL_CERT_FILE", "/dev/null");
    home.run(["config", "set", "ca_file", "/nonexistent.pem"]);
    let run = home.run(["whoami"]);
    assert!(run.stderr.contains("SSL_CERT_FILE"), "{run}");
    assert!(home.run(["whoami", "--ca-file", "other.pem"]).stderr.contains("other.pem"));
}

#[test]
fn doctor_says_what_is_wrong_with_the_configuration() {
    let sandbox = SandboxServer::start();
    let home = Home::of(&sandbox);
    write(&home, "[profiles.default]\napp = 1\n");
    let run = home.run(["doctor"]);
    assert_eq!(run.code, 2, "{run}");
    assert!(run.stdout.contains("config.toml, line 2") && run.stdout.contains("accepts the token"), "{run}");
    write(&home, "[profiles.default]\nca_file = 'none.pem'\n");
    let run = home.run(["doctor"]);
    assert!(run.code == 2 && run.stdout.contains("none.pem"), "{run}");
}

#[test]
fn a_file_with_a_password_is_made_private() {
    use std::os::unix::fs::PermissionsExt;
    let home = Home::new();
    write(&home, "[profiles.default]\ntarget_url = 'https://u:p4ss@hooks.example.com/x'\n");
    fs::set_permissions(home.config(), fs::Permissions::from_mode(0o644)).unwrap();
    let run = home.run(["list"]);
    assert!(run.stderr.contains("was accessible to other users"), "{run}");
    assert_eq!(crate::auth::mode(&home.config()), 0o600);
}

#[test]
fn defaults_of_a_profile_for_one_installation_are_for_no_other() {
    let (mine, other) = (SandboxServer::start(), SandboxServer::start());
    let home = Home::at(&other.url, &other.token);
    write(&home, &format!("[profiles.default]\napi_url = '{}'\napp_id = 7\n", mine.url));
    let run = home.run(["subscribe", "--event", "new_crash", "--target-url", URL]);
    assert_eq!(run.code, 2, "{run}");
}
