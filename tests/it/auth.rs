//! Signing in with a token, seeing who is signed in, signing out.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::assert_shown;
use crate::support::{Home, SandboxServer, Terminal};

pub fn mode(path: &std::path::Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_token_is_stored_for_its_owner_alone_and_used() {
    let sandbox = SandboxServer::start();
    let home = Home::new().set("BUGFENDER_API_URL", &sandbox.url);
    let login = home.run_with_input(&["auth", "login", "--with-token"], &format!("{}\n", sandbox.token));
    assert_shown!("login", login);
    assert_eq!(mode(&home.credentials()), 0o600);
    assert_eq!(mode(&home.data()), 0o700);

    assert_shown!("status", home.run(["auth", "status", "--output", "json"]));
    assert_eq!(home.run(["auth", "token"]).stdout, format!("{}\n", sandbox.token));
    home.subscribe("1001", "new_crash", "https://hooks.example.com/bf");

    assert_shown!("logout", home.run(["auth", "logout"]));
    assert_shown!("signed_out", home.run(["auth", "status", "--output", "json"]));
    assert_eq!(home.run(["auth", "token"]).code, 4);
    assert_shown!("logout_again", home.run(["auth", "logout"]));
}

#[test]
fn the_environment_wins_over_the_stored_token() {
    let home = Home::new().set("BUGFENDER_API_URL", "http://127.0.0.1:9/api");
    home.run_with_input(&["auth", "login", "--with-token"], "stored");
    let home = home.set("BUGFENDER_API_TOKEN", "from-env");
    assert_eq!(home.run(["auth", "token"]).stdout, "from-env\n");
    let status = home.json(&["auth", "status"]);
    assert_eq!(status["token_source"], "environment");
    assert_eq!(status["token_location"], "BUGFENDER_API_TOKEN");
    assert!(home.run(["auth", "logout"]).stderr.contains("BUGFENDER_API_TOKEN is still set"));
}

#[test]
fn a_stored_token_is_for_its_installation_only() {
    let home = Home::new();
    let one = ["--api-url", "https://one.example"];
    let two = ["--api-url", "https://two.example/api"];
    for (api, token) in [(one, "token-one"), (two, "token-two")] {
        assert_eq!(home.run_with_input(&[&["auth", "login", "--with-token"], &api[..]].concat(), token).code, 0);
    }
    assert_eq!(home.run([&["auth", "token"], &one[..]].concat()).stdout, "token-one\n");
    assert_eq!(home.run([&["auth", "token"], &two[..]].concat()).stdout, "token-two\n");
    assert_eq!(home.run(["auth", "token", "--api-url", "https://three.example"]).code, 4);
    assert_eq!(home.run([&["auth", "logout"], &one[..]].concat()).code, 0);
    assert_eq!(home.run([&["auth", "token"], &two[..]].concat()).stdout, "token-two\n");
}

#[test]
fn loose_permissions_are_tightened() {
    let home = Home::new();
    home.run_with_input(&["auth", "login", "--with-token"], "tight");
    fs::set_permissions(home.credentials(), fs::Permissions::from_mode(0o644)).unwrap();
    let dir = home.data().join("credentials");
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
    let run = home.run(["auth", "token"]);
    assert_eq!(run.stdout, "tight\n");
    assert!(run.stderr.contains("was accessible to other users"), "{run}");
    assert_eq!((mode(&home.credentials()), mode(&dir)), (0o600, 0o700));
    assert_eq!(home.run(["auth", "token"]).stderr, "");
}

#[test]
fn tokens_that_cannot_be_ones_are_refused() {
    let home = Home::new();
    for (input, said) in [("", "the token is empty"), ("two words", "contains a space")] {
        let run = home.run_with_input(&["auth", "login", "--with-token"], input);
        assert_eq!(run.code, 2, "{run}");
        assert!(run.stderr.contains(said), "{run}");
    }
    assert!(!home.credentials().exists());
    let run = home.set("BUGFENDER_API_TOKEN", "bad\ttoken").run(["auth", "token"]);
    assert_eq!(run.code, 2, "{run}");
    assert!(run.stderr.contains("BUGFENDER_API_TOKEN"), "{run}");
}

#[test]
fn a_damaged_or_newer_credential_file_is_left_alone() {
    let home = Home::new();
    home.run_with_input(&["auth", "login", "--with-token"], "good");
    for (contents, said) in [("{ nope", "is damaged"), (r#"{"version":99}"#, "newer bugfender-hooks")] {
        fs::write(home.credentials(), contents).unwrap();
        for run in [home.run(["auth", "token"]), home.run_with_input(&["auth", "login", "--with-token"], "other")] {
            assert_eq!(run.code, 9, "{run}");
            assert!(run.stderr.contains(said), "{run}");
        }
        assert_eq!(fs::read_to_string(home.credentials()).unwrap(), contents);
    }
}

#[test]
fn nothing_is_stored_on_a_dry_run() {
    let home = Home::new();
    let run = home.run_with_input(&["auth", "login", "--with-token", "--dry-run"], "dry");
    assert_shown!("login_dry_run", run);
    assert!(!home.credentials().exists());
    home.run_with_input(&["auth", "login", "--with-token"], "wet");
    assert_shown!("logout_dry_run", home.run(["auth", "logout", "--dry-run"]));
    assert_eq!(home.run(["auth", "token"]).stdout, "wet\n");
}

#[test]
fn on_a_terminal_the_token_is_asked_for_and_not_shown() {
    let home = Home::new();
    let mut terminal = Terminal::run(&home, &["auth", "login", "--with-token"]);
    terminal.wait_for("it is not shown").wait_for_no_echo().type_line("typed-token");
    terminal.wait_for("signed in");
    let (code, shown) = terminal.end();
    assert_eq!(code, 0, "{shown}");
    assert!(!shown.contains("typed-token"), "{shown}");
    assert_eq!(home.run(["auth", "token"]).stdout, "typed-token\n");
}

#[test]
fn a_file_piped_in_by_mistake_is_refused() {
    let home = Home::new();
    let run = home.run_with_input(&["auth", "login", "--with-token"], &"a".repeat(65_537));
    assert_eq!(run.code, 2, "{run}");
    assert!(run.stderr.contains("longer than 65536 bytes"), "{run}");
    assert!(!home.credentials().exists());
}
