//! Signing in with a browser, against a real OAuth 2 server: curl for the plain cases, Chromium for the real one.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use crate::assert_shown;
use crate::support::{Home, OauthServer, Run, SandboxServer, Signal, Terminal, have, http_get, signal};

const LOGIN: [&str; 6] = ["auth", "login", "--web", "--no-browser", "--client-id", "app"];

/// Begins to sign in, and gives the address for the browser.
fn begin(home: &Home, args: &[&str]) -> (Child, String) {
    let mut child = home.spawn(args);
    let mut url = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut url).unwrap();
    (child, url.trim().to_owned())
}

/// Goes where a browser would, and gives what it would show.
fn browse(url: &str) -> String {
    let output = Command::new("curl").args(["-s", "-L", "-b", "", url]).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

fn finish(child: Child) -> Run {
    Run::of(child.wait_with_output().unwrap())
}

/// Signs in as a person would.
pub fn sign_in(home: &Home) -> Run {
    let (child, url) = begin(home, &LOGIN);
    let page = browse(&url);
    let run = finish(child);
    assert_eq!(run.code, 0, "{run}");
    assert!(page.contains("return to the terminal"), "{page}");
    run
}

fn parameter(url: &str, name: &str) -> String {
    let url = url::Url::parse(url).unwrap();
    url.query_pairs().find(|(known, _)| known == name).map(|(_, value)| value.into_owned()).unwrap_or_default()
}

fn home() -> Option<(OauthServer, Home)> {
    let server = OauthServer::start()?;
    let home = Home::new().set("BUGFENDER_API_URL", &server.url);
    Some((server, home))
}

#[test]
fn a_code_is_exchanged_with_its_verifier() {
    let Some((server, home)) = home() else { return };
    let (child, url) = begin(&home, &LOGIN);
    assert!(url.starts_with(&format!("{}/auth/authorize?", server.url)), "{url}");
    assert_eq!(parameter(&url, "response_type"), "code");
    assert_eq!(parameter(&url, "scope"), "all");
    assert_eq!(parameter(&url, "code_challenge_method"), "S256");
    assert!(parameter(&url, "redirect_uri").starts_with("http://127.0.0.1:"), "{url}");
    assert!(parameter(&url, "state").len() >= 16, "{url}");
    assert_shown!("page", browse(&url));
    assert_shown!("login", finish(child));
    assert_eq!(home.json(&["whoami"])["name"], "Test user");
    assert_eq!(server.grants("authorization_code"), [200]);
    assert_eq!(home.json(&["auth", "status"])["kind"], "browser");
}

#[test]
fn a_client_with_a_secret_sends_it() {
    let Some((server, home)) = home() else { return };
    std::fs::write(home.path().join("secret"), "app-secret").unwrap();
    let args = ["auth", "login", "--web", "--no-browser", "--client-id", "confidential-app"];
    let (child, url) = begin(&home, &[&args[..], &["--client-secret-file", "secret"]].concat());
    browse(&url);
    assert_eq!(finish(child).code, 0);
    server.revoke_access();
    home.json(&["whoami"]);
    assert_eq!(server.grants("refresh_token"), [200]);
}

#[test]
fn a_denial_ends_it() {
    let Some((server, home)) = home() else { return };
    server.deny();
    let (child, url) = begin(&home, &LOGIN);
    let page = browse(&url);
    let run = finish(child);
    assert_eq!(run.code, 5, "{run}");
    assert_shown!("denied", run.stderr);
    assert!(page.contains("You are not signed in"), "{page}");
    assert!(!home.credentials().exists());
}

#[test]
fn a_wrong_state_ends_it_without_a_request() {
    let Some((server, home)) = home() else { return };
    for query in
        ["code=stolen&state=made-up", "code=stolen", "error=access_denied&state=", "error=%3Cscript%3E&state=x"]
    {
        let (child, url) = begin(&home, &LOGIN);
        let redirect = parameter(&url, "redirect_uri");
        let page = browse(&format!("{redirect}?{query}"));
        let run = finish(child);
        assert_eq!(run.code, 5, "{run}");
        assert!(run.stderr.contains("its state does not match"), "{run}");
        assert!(!page.contains("script") && page.contains("You are not signed in"), "{page}");
    }
    assert!(server.requests("/auth/token").is_empty());
    assert!(!home.credentials().exists());
}

#[test]
fn other_requests_do_not_end_it() {
    let Some((_server, home)) = home() else { return };
    let (child, url) = begin(&home, &LOGIN);
    let redirect = parameter(&url, "redirect_uri");
    let status = |args: &[&str]| {
        let output = Command::new("curl").args(["-s", "-o", "/dev/null", "-w", "%{http_code}"]).args(args).output();
        String::from_utf8(output.unwrap().stdout).unwrap()
    };
    assert_eq!(status(&[&redirect]), "400");
    assert_eq!(status(&[&redirect.replace("/callback", "/favicon.ico")]), "404");
    assert_eq!(status(&["-I", &format!("{redirect}?code=x&state=y")]), "405");
    browse(&url);
    assert_eq!(finish(child).code, 0);
}

#[test]
fn a_browser_that_does_not_come_back_is_not_waited_for() {
    let sandbox = SandboxServer::start();
    let home = Home::new().set("BUGFENDER_API_URL", &sandbox.url);
    let run = home.run([&LOGIN[..], &["--login-timeout", "0.2"]].concat());
    assert_eq!(run.code, 7, "{run}");
    assert!(run.stderr.contains("no response from the browser within 0.2 s"), "{run}");
    for name in [Signal::INT, Signal::TERM] {
        let (child, _) = begin(&home, &LOGIN);
        signal(&child, name);
        let run = finish(child);
        assert_eq!(run.code, 130, "{run}");
    }
    assert!(!home.credentials().exists());
}

#[test]
fn a_code_that_is_refused_ends_it() {
    let sandbox = SandboxServer::with_faults(&["token=400"]);
    let home = Home::new().set("BUGFENDER_API_URL", &sandbox.url);
    let (child, url) = begin(&home, &LOGIN);
    let page = browse(&url);
    let run = finish(child);
    assert_eq!(run.code, 1, "{run}");
    assert!(page.contains("Return to the terminal for details"), "{page}");
    assert!(!home.credentials().exists());
}

#[test]
fn on_a_terminal_a_browser_opens() {
    let Some((_server, home)) = home() else { return };
    // What desktops call to open things.
    let opener = home.path().join("xdg-open");
    std::fs::write(&opener, "#!/bin/sh\nexec curl -s -L -b '' \"$1\" > page.html\n").unwrap();
    std::fs::set_permissions(&opener, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let path = format!("{}:/usr/bin:/bin", home.path().display());
    let home = home.set("PATH", &path);
    let terminal = Terminal::run(&home, &["auth", "login", "--web", "--client-id", "app"]);
    let (code, shown) = terminal.end();
    assert_eq!(code, 0, "{shown}");
    assert!(shown.contains("Opening a browser") && shown.contains("signed in"), "{shown}");
    home.json(&["whoami"]);
}

#[test]
fn off_a_terminal_no_browser_opens() {
    let Some((_server, home)) = home() else { return };
    let opener = home.path().join("xdg-open");
    std::fs::write(&opener, "#!/bin/sh\ntouch opened\n").unwrap();
    std::fs::set_permissions(&opener, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let path = format!("{}:/usr/bin:/bin", home.path().display());
    let home = home.set("PATH", &path).set("DISPLAY", ":99");
    let (child, url) = begin(&home, &["auth", "login", "--web", "--client-id", "app"]);
    browse(&url);
    assert_eq!(finish(child).code, 0);
    assert!(!home.path().join("opened").exists());
}

#[test]
fn without_a_browser_and_a_terminal_it_fails_at_once() {
    let home = Home::new().set("BUGFENDER_API_URL", "https://bf.example");
    let run = home.run(["auth", "login", "--web", "--client-id", "app"]);
    assert_eq!((run.code, run.stdout.as_str()), (2, ""), "{run}");
    assert!(run.stderr.contains("neither a browser nor a terminal") && run.stderr.contains("--no-browser"), "{run}");
    let run = home.run(["auth", "login", "--web"]);
    assert!(run.code == 2 && run.stderr.contains("has to be asked for at Bugfender's support"), "{run}");
}

#[test]
fn a_real_browser_shows_the_page() {
    let Some((_server, home)) = home() else { return };
    if !have("chromium") {
        return;
    }
    let (child, url) = begin(&home, &LOGIN);
    let profile = home.path().join("browser");
    let output = Command::new("chromium")
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--dump-dom"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
        .arg(format!("--user-data-dir={}", profile.display()))
        .arg(&url)
        .stderr(Stdio::null())
        .output()
        .unwrap();
    let run = finish(child);
    assert_eq!(run.code, 0, "{run}");
    let page = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(page.contains("<h1>You are signed in</h1>") && page.contains("return to the terminal"), "{page}");
    home.json(&["whoami"]);
}

#[test]
fn the_sandbox_signs_in_too() {
    let sandbox = SandboxServer::start();
    let home = Home::new().set("BUGFENDER_API_URL", &sandbox.url);
    sign_in(&home);
    home.json(&["whoami"]);
    assert!(http_get(&format!("{}/sandbox/requests", sandbox.url)).contains("/auth/authorize"));
}

#[test]
fn the_page_says_what_became_of_it() {
    let Some((_server, home)) = home() else { return };
    let (child, url) = begin(&home, &LOGIN);
    // Where it is to be kept there is something else.
    std::fs::create_dir_all(home.data()).unwrap();
    std::fs::write(home.data().join("credentials"), "").unwrap();
    let page = browse(&url);
    let run = finish(child);
    assert_eq!(run.code, 9, "{run}");
    assert!(page.contains("You are not signed in"), "{page}");
}

#[test]
fn the_time_for_the_browser_is_not_that_for_the_server() {
    let Some(server) = OauthServer::with(&serde_json::json!({ "token_delay_ms": 1500 })) else { return };
    let home = Home::new().set("BUGFENDER_API_URL", &server.url);
    let (child, url) = begin(&home, &[&LOGIN[..], &["--login-timeout", "1"]].concat());
    browse(&url);
    let run = finish(child);
    assert_eq!(run.code, 0, "{run}");
}
