//! The platform's keyring: a real Secret Service, none, and one that does not answer.

use std::fs;
use std::io::{BufRead, BufReader, ErrorKind};
use std::os::unix::net::UnixListener;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::assert_shown;
use crate::support::{Home, OauthServer, SandboxServer, have};

/// gnome-keyring, unlocked, on a bus of its own.
struct Keyring {
    address: String,
    child: Child,
    _dir: TempDir,
}

impl Keyring {
    fn start() -> Option<Self> {
        if !have("dbus-run-session") || !have("gnome-keyring-daemon") || !have("secret-tool") {
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let script = "printf password | gnome-keyring-daemon --unlock --components=secrets >/dev/null 2>&1 && \
                      echo \"$DBUS_SESSION_BUS_ADDRESS\" && exec cat";
        let mut child = Command::new("dbus-run-session")
            .args(["--", "sh", "-c", script])
            .env("HOME", dir.path())
            .env("XDG_RUNTIME_DIR", dir.path())
            .env_remove("DBUS_SESSION_BUS_ADDRESS")
            // It ends when this does.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut address = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut address).unwrap();
        assert!(address.contains("unix:"), "{address}");
        Some(Self { address: address.trim().to_owned(), child, _dir: dir })
    }

    /// What the keyring has of ours, asked for with somebody else's tool.
    fn secrets(&self) -> String {
        let mut tool = Command::new("secret-tool");
        tool.args(["search", "--all", "service", "bugfender-hooks"]).env("DBUS_SESSION_BUS_ADDRESS", &self.address);
        String::from_utf8(tool.output().unwrap().stdout).unwrap()
    }

    fn stop(&mut self) {
        drop(self.child.stdin.take());
        self.child.wait().unwrap();
    }
}

impl Drop for Keyring {
    fn drop(&mut self) {
        self.stop();
    }
}

const LOGIN: [&str; 6] = ["auth", "login", "--client-id", "service", "--client-secret-file", "-"];

#[test]
fn a_keyring_that_answers_keeps_the_sign_in() {
    let (Some(keyring), Some(server)) = (Keyring::start(), OauthServer::start()) else { return };
    let home = Home::new().set("DBUS_SESSION_BUS_ADDRESS", &keyring.address).set("BUGFENDER_API_URL", &server.url);
    let run = home.run_with_input(&LOGIN, "service-secret");
    assert_eq!(run.code, 0, "{run}");
    assert!(run.stderr.contains("is stored in the keyring, as bugfender-hooks/default@"), "{run}");
    let note = fs::read_to_string(home.credentials()).unwrap();
    assert!(note.contains("\"kept_in\": \"keyring\"") && !note.contains("secret"), "{note}");
    assert!(keyring.secrets().contains("service-secret"));
    let status = home.json(&["auth", "status"]);
    assert_eq!((status["token_source"].as_str(), status["kind"].as_str()), (Some("keyring"), Some("service_account")));
    home.json(&["whoami"]);
    assert_eq!(server.grants("client_credentials"), [200]);

    // What is renewed is kept there too.
    server.revoke_access();
    let before = keyring.secrets();
    home.json(&["whoami"]);
    home.json(&["whoami"]);
    assert_eq!(server.grants("client_credentials"), [200, 200]);
    assert_ne!(keyring.secrets(), before);
    let note = fs::read_to_string(home.credentials()).unwrap();
    assert!(!note.contains("access_token"), "{note}");

    assert_eq!(home.run(["auth", "logout"]).code, 0);
    assert!(!keyring.secrets().contains("service-secret"));
    assert_eq!(home.run(["auth", "status"]).code, 4);
}

#[test]
fn moving_to_a_file_takes_it_out_of_the_keyring() {
    let Some(keyring) = Keyring::start() else { return };
    let home = Home::new().set("DBUS_SESSION_BUS_ADDRESS", &keyring.address);
    let login = |store| home.run_with_input(&["auth", "login", "--with-token", "--credential-store", store], "tok3n");
    assert_eq!(login("keyring").code, 0);
    assert!(keyring.secrets().contains("tok3n"));
    assert_eq!(login("file").code, 0);
    assert!(!keyring.secrets().contains("tok3n"));
    assert_eq!(home.json(&["auth", "status"])["token_source"], "file");
}

#[test]
fn a_keyring_that_has_gone_is_said_so() {
    let Some(mut keyring) = Keyring::start() else { return };
    let home = Home::new().set("DBUS_SESSION_BUS_ADDRESS", &keyring.address);
    assert_eq!(home.run_with_input(&["auth", "login", "--with-token"], "tok3n").code, 0);
    keyring.stop();
    let run = home.run(["auth", "token"]);
    assert_eq!(run.code, 9, "{run}");
    assert!(run.stderr.contains("the keyring is unavailable"), "{run}");
    // What is where is known without it.
    let listed = &home.json(&["auth", "list"])[0];
    assert_eq!((listed["signed_in"].as_bool(), listed["kept_in"].as_str()), (Some(true), Some("keyring")));
}

#[test]
fn without_a_keyring_there_is_a_file_or_an_error() {
    let sandbox = SandboxServer::start();
    let home = Home::new().set("BUGFENDER_API_URL", &sandbox.url);
    let login = ["auth", "login", "--with-token"];
    let run = home.run_with_input(&[&login[..], &["--credential-store", "keyring"]].concat(), "tok3n");
    assert_eq!(run.code, 9, "{run}");
    assert!(!home.credentials().exists());
    home.run(["config", "set", "credential_store", "keyring"]);
    assert_eq!(home.run_with_input(&login, "tok3n").code, 9);
    // A flag wins over the configuration.
    assert_shown!("auto", home.run_with_input(&[&login[..], &["--credential-store", "auto"]].concat(), "tok3n"));
    assert_shown!("file", home.run_with_input(&[&login[..], &["--credential-store", "file"]].concat(), "tok3n"));
    assert_eq!(crate::auth::mode(&home.credentials()), 0o600);
}

#[test]
fn a_keyring_that_does_not_answer_is_not_waited_for() {
    let home = Home::new();
    let socket = home.path().join("bus");
    let listener = UnixListener::bind(&socket).unwrap();
    let home = home.set("DBUS_SESSION_BUS_ADDRESS", &format!("unix:path={}", socket.display()));
    let run = home.run_with_input(&["auth", "login", "--with-token", "-v"], "tok3n");
    assert_eq!(run.code, 0, "{run}");
    assert!(run.stderr.contains("no response within 3 s"), "{run}");
    assert_eq!(home.json(&["auth", "status"])["token_source"], "file");
    drop(listener.accept().unwrap());
    // A credential in a file is read without a look at the keyring.
    listener.set_nonblocking(true).unwrap();
    assert_eq!(home.run(["auth", "token"]).stdout, "tok3n\n");
    home.json(&["auth", "list"]);
    assert_eq!(home.run(["auth", "logout"]).code, 0);
    assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
}

#[test]
fn a_keyring_that_dies_during_a_renewal_does_not_take_the_sign_in_with_it() {
    let (Some(mut keyring), Some(server)) = (Keyring::start(), OauthServer::start()) else { return };
    let home = Home::new().set("DBUS_SESSION_BUS_ADDRESS", &keyring.address).set("BUGFENDER_API_URL", &server.url);
    crate::web::sign_in(&home);
    assert_eq!(home.json(&["auth", "status"])["token_source"], "keyring");
    server.revoke_access();
    // The renewal is held up where the keyring has been read and not yet written.
    server.fault("hang");
    let child = home.spawn(&["whoami"]);
    crate::support::wait_until("the refresh is under way", || server.grants("refresh_token").len() == 1);
    server.release();
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(7));
    let slow = OauthServer::with(&serde_json::json!({ "token_delay_ms": 700 })).unwrap();
    let home = home.set("BUGFENDER_API_URL", &slow.url);
    crate::web::sign_in(&home);
    slow.revoke_access();
    let child = home.spawn(&["whoami"]);
    crate::support::wait_until("the refresh is under way", || slow.grants("refresh_token").len() == 1);
    keyring.stop();
    let run = crate::support::Run::of(child.wait_with_output().unwrap());
    assert_eq!(run.code, 0, "{run}");
    assert!(run.stderr.contains("storing the credential in"), "{run}");
    assert_eq!(home.json(&["auth", "status"])["token_source"], "file");
    slow.revoke_access();
    assert_eq!(home.run(["whoami"]).code, 0);
}

#[test]
fn a_shell_does_not_wait_for_a_keyring() {
    let Some(keyring) = Keyring::start() else { return };
    let sandbox = SandboxServer::start();
    let home = Home::new().set("DBUS_SESSION_BUS_ADDRESS", &keyring.address).set("BUGFENDER_API_URL", &sandbox.url);
    assert_eq!(home.run_with_input(&["auth", "login", "--with-token"], &sandbox.token).code, 0);
    // It is not asked: the bus that it is now to be found on never answers, and nobody calls.
    let socket = home.path().join("bus");
    let listener = UnixListener::bind(&socket).unwrap();
    listener.set_nonblocking(true).unwrap();
    let home = home.set("DBUS_SESSION_BUS_ADDRESS", &format!("unix:path={}", socket.display()));
    assert_eq!(crate::completions::offered(&home, "subscribe --app-id 1"), [""]);
    assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
}
