//! Service accounts, against a real OAuth 2 server: by secret and by key, logged in and from the environment.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::assert_shown;
use crate::support::{Home, OauthServer, SandboxServer, Scripted, Terminal, answer, have};

const SECRET: &str = "service-secret";

fn home(server: &OauthServer) -> Home {
    Home::new().set("BUGFENDER_API_URL", &server.url)
}

fn login(home: &Home) {
    let args = ["auth", "login", "--client-id", "service", "--client-secret-file", "-"];
    let run = home.run_with_input(&args, &format!("{SECRET}\n"));
    assert_eq!(run.code, 0, "{run}");
}

fn openssl(dir: &Path, args: &str) {
    let output = Command::new("openssl").args(args.split(' ')).current_dir(dir).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn ten_commands_ask_for_one_token() {
    let Some(server) = OauthServer::start() else { return };
    let home = home(&server);
    login(&home);
    for _ in 0..5 {
        assert_eq!(home.json(&["whoami"])["name"], "Test user");
        assert_eq!(home.json(&["apps"])[0]["id"], 1001);
    }
    assert_eq!(server.grants("client_credentials"), [200]);
    let request = &server.requests("/auth/token")[0];
    assert_eq!(request["client_auth"], "client_secret_post");
    assert_eq!(request["form_keys"], json!(["grant_type", "client_id", "client_secret"]));
    assert_eq!(request["has_authorization"], false);
    let status = home.json(&["auth", "status"]);
    assert_eq!((&status["kind"], &status["renewable"]), (&json!("service_account"), &json!(true)));
    assert!(status["expires_at"].is_string(), "{status}");
}

#[test]
fn ci_needs_no_login() {
    let Some(server) = OauthServer::start() else { return };
    let home = home(&server).set("BUGFENDER_CLIENT_ID", "service").set("BUGFENDER_CLIENT_SECRET", SECRET);
    for _ in 0..10 {
        home.json(&["whoami"]);
    }
    home.subscribe("1001", "new_crash", "https://hooks.example.com/bf");
    assert_eq!(server.grants("client_credentials"), [200]);
    let status = home.json(&["auth", "status"]);
    assert_eq!(
        (&status["token_source"], &status["token_location"]),
        (&json!("environment"), &json!("BUGFENDER_CLIENT_ID"))
    );
    // Neither the secret nor a sign-in is kept, but the token is, for its owner alone.
    assert!(!home.data().join("credentials").exists());
    let kept = fs::read_dir(home.data().join("tokens")).unwrap().flatten().map(|file| file.path());
    for path in kept.filter(|path| path.extension().is_some_and(|kind| kind == "json")) {
        assert!(!fs::read_to_string(&path).unwrap().contains(SECRET));
        assert_eq!(crate::auth::mode(&path), 0o600);
    }
    // Another secret is another credential: the token of the right one is not used for it.
    let run = home.set("BUGFENDER_CLIENT_SECRET", "wrong-secret").run(["whoami"]);
    assert_eq!(run.code, 4, "{run}");
    assert_eq!(server.grants("client_credentials"), [200, 401]);
}

#[test]
fn the_secret_may_be_in_a_file() {
    let Some(server) = OauthServer::start() else { return };
    let home = home(&server).set("BUGFENDER_CLIENT_ID", "service").set("BUGFENDER_CLIENT_SECRET_FILE", "secret.txt");
    // With a byte order mark, as editors on Windows write it.
    fs::write(home.path().join("secret.txt"), format!("\u{feff}{SECRET}\r\n")).unwrap();
    home.json(&["whoami"]);
    let login = ["auth", "login", "--client-id", "service", "--client-secret-file", "secret.txt"];
    let home = home.unset("BUGFENDER_CLIENT_ID").unset("BUGFENDER_CLIENT_SECRET_FILE");
    assert_eq!(home.run(login).code, 0);
    home.json(&["whoami"]);
}

#[test]
fn a_home_that_cannot_be_written_does_not_stop_ci() {
    let Some(server) = OauthServer::start() else { return };
    let home = home(&server).set("BUGFENDER_CLIENT_ID", "service").set("BUGFENDER_CLIENT_SECRET", SECRET);
    // Permissions do not stop root, which tests may run as: a file where the directory should be stops anybody.
    fs::create_dir_all(home.data()).unwrap();
    fs::write(home.data().join("tokens"), "").unwrap();
    let run = home.run(["whoami"]);
    assert_eq!(run.code, 0, "{run}");
    assert!(run.stderr.contains("the token was not stored"), "{run}");
}

#[test]
fn a_wrong_secret_is_said_so_and_nothing_is_kept() {
    let Some(server) = OauthServer::start() else { return };
    let home = home(&server);
    for (client, secret) in [("service", "wrong-secret"), ("nobody", SECRET)] {
        let args = ["auth", "login", "--client-id", client, "--client-secret-file", "-", "--output", "json"];
        let run = home.run_with_input(&args, secret);
        assert_eq!((run.code, run.error()["http_status"].as_i64()), (4, Some(401)), "{run}");
        assert!(!run.to_string().contains(secret), "{run}");
    }
    assert!(!home.credentials().exists());
}

#[test]
fn keys_in_both_forms_are_taken() {
    if !have("openssl") {
        return;
    }
    let keys = tempfile::tempdir().unwrap();
    openssl(keys.path(), "genrsa -traditional -out pkcs1.pem 2048");
    openssl(keys.path(), "pkcs8 -topk8 -nocrypt -in pkcs1.pem -out pkcs8.pem");
    openssl(keys.path(), "rsa -in pkcs1.pem -pubout -out public.pem");
    let public = keys.path().join("public.pem");
    let Some(server) = OauthServer::with(&json!({ "service_key": public })) else { return };
    let marked = [b"\xef\xbb\xbf", &*fs::read(keys.path().join("pkcs8.pem")).unwrap()].concat();
    fs::write(keys.path().join("marked.pem"), marked).unwrap();
    for name in ["pkcs1.pem", "pkcs8.pem", "marked.pem"] {
        let path = keys.path().join(name);
        let home = home(&server);
        let run = home.run(["auth", "login", "--client-id", "service-key", "--private-key", path.to_str().unwrap()]);
        assert_eq!(run.code, 0, "{run}");
        assert_eq!(home.json(&["auth", "status"])["kind"], "service_account_key");
        home.json(&["whoami"]);
        // Each time with a fresh assertion: this server takes none twice.
        server.revoke_access();
        home.json(&["whoami"]);
        let home = Home::new().set("BUGFENDER_API_URL", &server.url).set("BUGFENDER_CLIENT_ID", "service-key");
        home.set("BUGFENDER_PRIVATE_KEY_FILE", path.to_str().unwrap()).json(&["whoami"]);
    }
    assert_eq!(server.grants("client_credentials"), [200; 9]);
    let request = &server.requests("/auth/token")[0];
    assert_eq!(request["client_auth"], "private_key_jwt");
    let keys = json!(["grant_type", "client_id", "client_assertion_type", "client_assertion"]);
    assert_eq!(request["form_keys"], keys);
}

#[test]
fn the_sandbox_takes_a_key_too() {
    if !have("openssl") {
        return;
    }
    let home = Home::new();
    openssl(home.path(), "genrsa -out key.pem 2048");
    openssl(home.path(), "genrsa -out other.pem 2048");
    openssl(home.path(), "pkey -in key.pem -pubout -out public.pem");
    let key = Some(home.path().join("public.pem"));
    let sandbox =
        SandboxServer::with(bugfender_hooks::sandbox::SandboxOptions { client_key: key, ..Default::default() });
    let home = home.set("BUGFENDER_API_URL", &sandbox.url);
    let login = |key| home.run(["auth", "login", "--client-id", "sandbox-client", "--private-key", key]);
    assert_eq!(login("other.pem").code, 4);
    assert_eq!(login("key.pem").code, 0);
    home.json(&["whoami"]);
    let run = home.run(["sandbox", "--client-key", "key.pem"]);
    assert!(run.code == 2 && run.stderr.contains("BEGIN PUBLIC KEY"), "{run}");
    // One that was made by hand does not do.
    let forged = "eyJhbGciOiJub25lIn0.eyJpc3MiOiJzYW5kYm94LWNsaWVudCJ9.";
    let form = format!("grant_type=client_credentials&client_assertion={forged}");
    let output =
        Command::new("curl").args(["-s", "-d", &form, &format!("{}/auth/token", sandbox.url)]).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains("invalid_client"));
}

#[test]
fn other_files_than_keys_are_named_for_what_they_are() {
    if !have("openssl") {
        return;
    }
    let home = Home::new();
    let dir = home.path();
    openssl(dir, "genrsa -out good.pem 2048");
    openssl(dir, "rsa -in good.pem -pubout -out public.pem");
    openssl(dir, "pkcs8 -topk8 -in good.pem -out encrypted.pem -passout pass:x");
    openssl(dir, "ecparam -name prime256v1 -genkey -noout -out ec.pem");
    openssl(dir, "pkcs8 -topk8 -nocrypt -in ec.pem -out ec8.pem");
    openssl(dir, "genrsa -out short.pem 1024");
    fs::write(dir.join("text.pem"), "no key at all\n").unwrap();
    fs::write(dir.join("broken.pem"), "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n").unwrap();
    let mut said = String::new();
    for file in ["public.pem", "encrypted.pem", "ec.pem", "ec8.pem", "short.pem", "text.pem", "broken.pem", "none.pem"]
    {
        let run = home.run(["auth", "login", "--client-id", "x", "--private-key", file, "--dry-run"]);
        assert_eq!(run.code, 2, "{run}");
        said.push_str(run.stderr.lines().find(|line| line.starts_with("error:")).unwrap());
        said.push('\n');
    }
    assert_shown!("not_keys", said);
    assert_shown!(
        "key_dry_run",
        home.run(["auth", "login", "--client-id", "x", "--private-key", "good.pem", "--dry-run"])
    );
}

#[test]
fn variables_that_contradict_each_other_are_named() {
    let home = Home::new().set("BUGFENDER_CLIENT_SECRET", "s");
    let run = home.run(["whoami"]);
    assert_eq!(run.code, 2, "{run}");
    assert!(run.stderr.contains("BUGFENDER_CLIENT_SECRET is set without BUGFENDER_CLIENT_ID"), "{run}");
    let home = home.set("BUGFENDER_CLIENT_ID", "x").set("BUGFENDER_PRIVATE_KEY_FILE", "key.pem");
    assert_eq!(home.run(["whoami"]).code, 2);
    let home = Home::new().set("BUGFENDER_CLIENT_ID", "x").set("BUGFENDER_CLIENT_SECRET_FILE", "none");
    let run = home.run(["whoami"]);
    assert!(run.code == 2 && run.stderr.contains("BUGFENDER_CLIENT_SECRET_FILE: none: "), "{run}");
}

#[test]
fn a_login_says_what_it_lacks() {
    let home = Home::new();
    assert_shown!("no_way_in", home.run(["auth", "login"]));
    assert_shown!("no_secret", home.run(["auth", "login", "--client-id", "x"]));
    assert_shown!("no_client", home.run(["auth", "login", "--web"]));
    assert_shown!("secret_dry_run", home.run(["auth", "login", "--client-id", "x", "--dry-run"]));
}

#[test]
fn on_a_terminal_the_secret_is_asked_for_and_not_shown() {
    let sandbox = SandboxServer::start();
    let home = Home::new().set("BUGFENDER_API_URL", &sandbox.url);
    let mut terminal = Terminal::run(&home, &["auth", "login", "--client-id", "sandbox-client"]);
    terminal.wait_for("it is not shown").wait_for_no_echo().type_line("sandbox-secret");
    terminal.wait_for("signed in");
    let (code, shown) = terminal.end();
    assert_eq!(code, 0, "{shown}");
    assert!(!shown.contains("sandbox-secret"), "{shown}");
    home.json(&["whoami"]);
}

#[test]
fn a_terminal_shows_again_what_is_typed_after_an_interruption() {
    let home = Home::new();
    let mut terminal = Terminal::run(&home, &["auth", "login", "--client-id", "x"]);
    terminal.wait_for("it is not shown").wait_for_no_echo();
    terminal.interrupt().wait_for_echo();
    assert_eq!(terminal.end().0, 130);
    let mut terminal = Terminal::run(&home, &["auth", "login", "--client-id", "x"]);
    terminal.wait_for("it is not shown").wait_for_no_echo().type_line("\u{3}").wait_for_echo();
    let (code, shown) = terminal.end();
    assert_eq!(code, 130, "{shown}");
}

#[test]
fn unknown_fields_of_the_account_and_its_apps_do_no_harm() {
    let Some(server) = OauthServer::start() else { return };
    let home = home(&server);
    login(&home);
    assert_shown!("whoami", home.run(["whoami", "--output", "json"]));
    assert_shown!("whoami_table", home.run(["whoami"]));
    assert_shown!("apps", home.run(["apps"]));
    assert_shown!("apps_csv", home.run(["apps", "--output", "csv"]));
    assert_eq!(home.run(["apps", "-q"]).stdout, "1001\n1002\n");
}

#[test]
fn a_secret_of_the_environment_is_for_its_client_and_no_other() {
    let Some(server) = OauthServer::start() else { return };
    let home = home(&server).set("BUGFENDER_CLIENT_ID", "hosted").set("BUGFENDER_CLIENT_SECRET", SECRET);
    let run = home.run(["auth", "login", "--client-id", "service"]);
    assert_eq!(run.code, 2, "{run}");
    assert!(server.requests("/auth/token").is_empty());
    // Of the same client, or of none that is named, it is.
    let home = home.set("BUGFENDER_CLIENT_ID", "service");
    assert_eq!(home.run(["auth", "login", "--client-id", "service"]).code, 0);
    let home = home.unset("BUGFENDER_CLIENT_ID");
    assert_eq!(home.run(["auth", "login", "--client-id", "service"]).code, 0);
}

#[test]
fn apps_without_an_id_are_left_out_and_answers_that_are_none_are_errors() {
    let apps = r#"[{"id":1},{"id":null,"name":"x"},{"id":"2","name":5},{"id":-3},7]"#;
    for (path, body, code, said) in [
        ("apps", apps, 0, "3 apps were left out"),
        ("apps", r#"{"apps":[]}"#, 1, "the response has an unexpected form"),
        ("whoami", "{}", 1, "the response has an unexpected form"),
        ("whoami", r#"[{"id":1}]"#, 1, "the response has an unexpected form"),
        ("whoami", r#"{"id":{"a":1},"teams":"none","name":null}"#, 0, ""),
    ] {
        let server = Scripted::always(answer("200 OK", &["content-type: application/json"], body));
        let run = Home::at(&server.url, "t").run([path, "--output", "json"]);
        assert_eq!(run.code, code, "{body}: {run}");
        assert!(run.stderr.contains(said), "{run}");
    }
}

#[test]
fn values_for_programs_have_names() {
    let home = Home::at("http://127.0.0.1:9", "tok3n");
    assert_eq!(home.json(&["auth", "token"]), json!({"access_token": "tok3n"}));
    assert_eq!(home.run(["auth", "token"]).stdout, "tok3n\n");
    assert_eq!(home.run(["auth", "token", "--jq", ".access_token"]).stdout, "tok3n\n");
    assert!(home.json(&["config", "path"])["path"].is_string());
}
