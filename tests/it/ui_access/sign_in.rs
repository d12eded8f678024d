//! Signing in and out: by the token, by a password, by a proxy's word.

use std::fs;
use std::io::Read;
use std::time::{Duration, Instant};

use super::client::{ask, stream};
use super::{CHANGES, OWN, PAGES, received};
use crate::support::browser::Browser;
use crate::support::{Home, wait_until};
use crate::ui::PageServer;

#[test]
fn strangers_get_nothing() {
    let home = Home::new();
    let _receiver = received(&home, "Boom");
    let page = PageServer::start(&home, &[]);
    let port = page.address().rsplit_once(':').unwrap().1;
    let wrong = format!("cookie: bugfender_hooks_{port}=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
    let token = format!("cookie: bugfender_hooks_{port}={}", page.token());
    for headers in [&[][..], &[wrong.as_str()], &[token.as_str()], &["authorization: Bearer x"]] {
        for path in PAGES.iter().chain(&["/events/stream", "/nothing", "/events/1?note=1"]) {
            let answer = page.ask(path, headers);
            assert_eq!(answer.status, 401, "{path} {headers:?}: {answer:?}");
            assert!(!answer.body.contains("Boom") && answer.body.contains("Sign in"), "{path}: {answer:?}");
            assert_eq!(answer.header("set-cookie"), None, "{path}");
        }
        for (path, form) in CHANGES.iter().chain(&[("/sign-out", "")]) {
            let answer = page.post(path, &[headers, &[OWN]].concat(), form);
            assert_eq!(answer.status, 401, "{path} {headers:?}: {answer:?}");
        }
    }
    assert_eq!(home.json(&["events", "list"])[0]["title"], "Boom");
    // The form says nothing, and there is no password to try.
    assert_eq!(page.post("/sign-in", &[OWN], "password=").status, 401);
    assert_eq!(page.ask(&format!("/sign-in?token={}", page.token()), &[]).header("set-cookie"), None);
}

#[test]
fn the_token_is_exchanged_for_a_cookie_and_seen_nowhere() {
    let home = Home::new();
    let _receiver = received(&home, "Boom");
    let page = PageServer::start(&home, &[]);
    let token = page.token().to_owned();
    for wrong in ["", "x", &token[1..], &format!("{token}x"), &token.to_lowercase()] {
        let answer = page.ask(&format!("/?token={wrong}"), &[]);
        assert_eq!((answer.status, answer.header("location")), (303, Some("/")), "{answer:?}");
        assert_eq!(answer.header("set-cookie"), None, "{wrong}");
    }
    for path in ["/", "/events/1", "/nothing"] {
        let answer = page.ask(&format!("{path}?token={token}&q=x"), &[]);
        assert_eq!((answer.status, answer.header("location")), (303, Some("/")), "{answer:?}");
        let attributes = answer.header("set-cookie").unwrap().split_once("; ").unwrap().1;
        assert_eq!(attributes, "Path=/; HttpOnly; SameSite=Strict");
        assert!(!answer.head.contains(&token) && !answer.body.contains(&token), "{answer:?}");
    }
    // What is asked with a token is not done.
    assert_eq!(page.post(&format!("/events/1/delete?token={token}"), &[OWN], "").status, 303);
    assert_eq!(home.json(&["events", "list"]).as_array().unwrap().len(), 1);
    let cookie = page.sign_in();
    assert!(!cookie.contains(&token));
    for path in PAGES {
        let answer = page.ask(path, &[&cookie]);
        assert!(answer.status == 200 || path.starts_with("/jobs"), "{path}: {answer:?}");
        assert!(!answer.head.contains(&token) && !answer.body.contains(&token), "{path}");
    }
    let secure = page.ask(&format!("/?token={token}"), &["x-forwarded-proto: https"]);
    assert!(secure.header("set-cookie").unwrap().ends_with("; SameSite=Strict; Secure"), "{secure:?}");
    assert!(!page.log().contains(&token), "{}", page.log());
}

/// Everybody on a machine sees what programs are told to open.
#[test]
fn what_is_opened_signs_in_once() {
    let home = Home::new();
    let program = home.path().join("xdg-open");
    fs::write(&program, "#!/bin/sh\necho \"$1\" > opening && mv opening opened\n").unwrap();
    fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let path = format!("{}:/usr/bin:/bin", home.path().display());
    let home = home.set("PATH", &path);
    let page = PageServer::start(&home, &["--open"]);
    let mut opened = String::new();
    wait_until("it is opened", || {
        opened = fs::read_to_string(home.path().join("opened")).unwrap_or_default();
        !opened.is_empty()
    });
    let once = opened.trim().strip_prefix(&page.base).unwrap();
    assert!(once.starts_with("/?token=") && !once.contains(page.token()), "{once}");
    let answer = page.ask(once, &[]);
    assert_eq!(page.ask("/", &[&answer.cookie().unwrap()]).status, 200);
    assert_eq!(page.ask(once, &[]).cookie(), None);
    assert_eq!(page.ask("/", &[&page.sign_in()]).status, 200);
}

#[test]
fn whoever_signs_out_is_out() {
    let home = Home::new();
    let page = PageServer::start(&home, &[]);
    let (one, other) = (page.sign_in(), page.sign_in());
    let mut open = stream(page.address(), &[&one]).unwrap();
    assert_eq!(page.post("/sign-out", &[&one, OWN], "").status, 200);
    assert_eq!(page.ask("/", &[&one]).status, 401);
    assert_eq!(page.ask("/", &[&other]).status, 200);
    // What was open ends too.
    let mut rest = String::new();
    open.read_to_string(&mut rest).unwrap();
    assert!(rest.ends_with("0\r\n\r\n"), "{rest}");
    // A cookie that was signed out is not needed to be signed in elsewhere.
    assert_eq!(page.post("/sign-out", &[&one, OWN], "").status, 401);
}

#[test]
fn the_browser_that_signed_in_first_is_forgotten_after_a_thousand() {
    let page = PageServer::start(&Home::new(), &[]);
    let first = page.sign_in();
    for _ in 1..1000 {
        page.sign_in();
    }
    assert_eq!(page.ask("/", &[&first]).status, 200);
    let last = page.sign_in();
    assert_eq!((page.ask("/", &[&first]).status, page.ask("/", &[&last]).status), (401, 200));
}

fn with_password(home: &Home, args: &[&str]) -> PageServer {
    fs::write(home.path().join("password"), "correct horse\n").unwrap();
    PageServer::start(home, &[&["--password-file", "password"], args].concat())
}

#[test]
fn passwords_are_tried_slowly() {
    let home = Home::new();
    let page = with_password(&home, &[]);
    let html = "accept: text/html";
    let asked = page.ask("/", &[html]);
    assert_eq!((asked.status, asked.header("location")), (303, Some("/sign-in")));
    assert!(page.ask("/sign-in", &[html]).body.contains("type=\"password\""));
    let attempt = |password: &str| page.post("/sign-in", &[OWN], &format!("password={password}"));
    for wrong in ["", "correct", "Correct+horse", "correct+horsE", "correct%00horse"] {
        let answer = attempt(wrong);
        assert!(answer.status == 401 && answer.header("set-cookie").is_none(), "{answer:?}");
        assert!(answer.body.contains("The password is wrong."), "{answer:?}");
    }
    // Those that come at once are not looked at together.
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| assert_eq!(attempt("guess").status, 401));
        }
    });
    assert!(begun.elapsed() >= Duration::from_secs(3), "{:?}", begun.elapsed());
    let answer = attempt("correct+horse");
    assert_eq!((answer.status, answer.header("location")), (303, Some("/")), "{answer:?}");
    assert_eq!(page.ask("/", &[&answer.cookie().unwrap()]).status, 200);
    // So does the address.
    assert_eq!(page.ask("/", &[&page.sign_in()]).status, 200);
    let log = page.log();
    assert!(log.contains("somebody at 127.0.0.1 tried to sign in with a wrong password"), "{log}");
    assert!(!log.contains("guess") && !log.contains("horse"), "{log}");
}

#[test]
fn a_crowd_of_passwords_is_turned_away() {
    let home = Home::new();
    let page = with_password(&home, &[]);
    let attempt = || page.post("/sign-in", &[OWN], "password=x").status;
    for _ in 0..5 {
        assert_eq!(attempt(), 401);
    }
    let answers: Vec<u16> = std::thread::scope(|scope| {
        let asked: Vec<_> = (0..25).map(|_| scope.spawn(attempt)).collect();
        asked.into_iter().map(|asked| asked.join().unwrap()).collect()
    });
    assert!(answers.contains(&429) && answers.contains(&401), "{answers:?}");
}

/// By plain http under a name browsers do not say where a form comes from, and hide its origin if they may say nothing.
#[test]
fn a_password_is_sent_by_plain_http_too() {
    let home = Home::new();
    let _receiver = received(&home, "Boom");
    let page = with_password(&home, &["--host", "page.example"]);
    let Some(browser) = Browser::with_host("page.example") else { return };
    browser.open(&format!("http://page.example:{}/", page.address().rsplit_once(':').unwrap().1));
    browser.fill("input[name=password]", "correct horse");
    browser.press("Enter");
    browser.wait_for_text("#rows", "Boom");
    browser.click("#rows .title a");
    browser.wait_for("#json");
    browser.click(".bulk summary");
    browser.click(".bulk .danger");
    browser.wait_for_text(".notice.good", "deleted");
}

#[test]
fn other_machines_need_more_than_a_token() {
    let home = Home::new();
    for address in ["0.0.0.0:0", "[::]:0", "10.0.0.1:0"] {
        let run = home.run(["ui", "--listen", address]);
        assert!(run.code == 2 && run.stderr.contains("--password-file"), "{run}");
    }
    fs::write(home.path().join("empty"), "").unwrap();
    fs::write(home.path().join("blank"), " \n").unwrap();
    for file in ["missing", "empty", "blank", "."] {
        let run = home.run(["ui", "--listen", "127.0.0.1:0", "--password-file", file]);
        assert!(run.code == 2 && run.stdout.is_empty(), "{file}: {run}");
    }
    fs::write(home.path().join("password"), "x").unwrap();
    let both = ["--password-file", "password", "--user-header", "x-user"];
    assert_eq!(home.run([&["ui", "--listen", "127.0.0.1:0"][..], &both].concat()).code, 2);
}

#[test]
fn a_proxy_says_who_it_is() {
    let home = Home::new();
    let _receiver = received(&home, "Boom");
    let page = PageServer::start(&home, &["--user-header", "X-Forwarded-User"]);
    assert!(!page.url.contains("token"), "{}", page.url);
    let own = "x-forwarded-user: alice";
    for headers in [
        &[][..],
        &["x-forwarded-user:"],
        &["x-forwarded-user:   "],
        &[own, "x-forwarded-user: mallory"],
        &[own, own],
        &["x-forwarded-users: alice"],
    ] {
        for path in PAGES.iter().chain(&["/events/stream"]) {
            assert_eq!(page.ask(path, headers).status, 401, "{path} {headers:?}");
        }
        for (path, form) in CHANGES {
            assert_eq!(page.post(path, &[headers, &[OWN]].concat(), form).status, 401, "{path} {headers:?}");
        }
    }
    let answer = page.ask("/", &[own]);
    assert!(answer.status == 200 && !answer.body.contains("Sign out"), "{answer:?}");
    // Whatever they are called.
    let endless = format!("x-forwarded-user: {}", "x".repeat(5000));
    for name in ["X-FORWARDED-USER: José", "x-forwarded-user: \u{202e}live\tx", &endless] {
        assert_eq!(page.post("/targets/1/pause", &[name, OWN], "").status, 303, "{name}");
        assert_eq!(page.post("/targets/1/resume", &[own, OWN], "").status, 303, "{name}");
    }
    for name in ["x-forwarded-user: a\x1b[31m", "x-forwarded-user: a\x07"] {
        assert_eq!(ask(page.address(), "GET /", &[name], "").status, 400, "{name}");
    }
    wait_until("the last change is logged", || page.log().matches("alice changed a target").count() == 3);
    let log = page.log();
    assert!(log.contains("José changed a target") && log.contains("\u{fffd}live\u{fffd}x changed"), "{log}");
    assert!(!log.contains(&"x".repeat(200)) && !log.contains('\u{202e}'), "{log}");
}
