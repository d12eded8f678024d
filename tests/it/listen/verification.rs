//! Who may deliver: the key, Instabug's signature, addresses; and what must not be shown.

use std::fs;

use bugfender_hooks::domain::event::Sender;
use rustix::process::Signal;

use super::{Receiver, Sink, call, events, files, ids, inbox_file, mode, quarantined, request};
use crate::support::{Home, Run, Terminal, have, wait_until};

const OLD: &str = "oldSecretOfInstabug1";
const NEW: &str = "newSecretOfInstabug2";

/// Instabug's signature, by a program that is not ours.
fn signature(secret: &str, body: &str) -> String {
    let printed = super::run_program("openssl", &["dgst", "-sha256", "-hmac", secret, "-hex"], body.as_bytes());
    String::from_utf8(printed).unwrap().trim().rsplit_once(' ').unwrap().1.to_owned()
}

#[test]
fn without_the_key_there_is_nothing() {
    let home = Home::new();
    let receiver = Receiver::start(&home, &[]);
    let nowhere = receiver.post_to("/nowhere", &[], "[]");
    assert_eq!(nowhere.status, 404);
    let key = receiver.path.rsplit('/').next().unwrap();
    let large = "x".repeat(1_000_000);
    for path in ["/bugfender/", "/bugfender", "/bugfender/wrong-key-0123456789012", "/", "/instabug"] {
        for body in ["[]", &large] {
            let reply = receiver.post_to(path, &["x-ibg-signature-256: 00"], body);
            assert_eq!((reply.status, &reply.body), (404, &nowhere.body), "{path}");
        }
    }
    for path in [format!("/bugfender/{}", &key[1..]), format!("/bugfender/{key}x"), format!("/bugfender/{key}/")] {
        assert_eq!(receiver.post_to(&path, &[], "[]").status, 404, "{path}");
    }
    // Another method says no more about a wrong key than POST does.
    assert_eq!((receiver.get("/bugfender/wrong").status, receiver.get("/instabug").status), (404, 404));
    let reply = receiver.get(&receiver.path);
    assert_eq!((reply.status, reply.header("allow")), (405, Some("POST")));
    assert_eq!(receiver.post_to("/healthz", &[], "").status, 405);
    assert_eq!(receiver.metric(r#"bugfender_hooks_rejected_calls_total{reason="path"}"#), 16);
    assert_eq!(receiver.metric(r#"bugfender_hooks_rejected_calls_total{reason="method"}"#), 1);
    assert!(events(&home).is_empty() && quarantined(&home).is_empty());
}

#[test]
fn instabugs_reports_must_be_signed() {
    if !have("openssl") {
        return;
    }
    let home = Home::new();
    fs::write(home.path().join("old"), format!("{OLD}\n")).unwrap();
    fs::write(home.path().join("new"), NEW).unwrap();
    let args = ["--instabug-secret-file", "old", "--instabug-secret-file", "new", "-vvv"];
    let receiver = Receiver::start(&home, &args);
    let post = |body: &str, headers: &[&str]| receiver.post_to("/instabug", headers, body);
    let crash = r#"{"Exception":"boom","Number":1,"Reported At":"now"}"#;
    let bug = r#"{"Title":"a bug","Reported At":"now","Type":"bug"}"#;
    let apm = "{\"title\":\"slow\", \"metric\":\"m\",\"trigger\":\"t\"}\n";
    for (body, secret, before) in [(crash, OLD, ""), (bug, NEW, "sha256="), (apm, NEW, "SHA256=")] {
        let signature = signature(secret, body);
        let reply = post(body, &[&format!("x-ibg-signature-256: {before}{}", signature.to_uppercase())]);
        assert_eq!((reply.status, reply.json()["stored"].as_i64()), (200, Some(1)), "{reply:?}");
    }
    let again = post(crash, &[&format!("X-IBG-Signature-256: {}", signature(NEW, crash))]);
    assert_eq!(again.json()["duplicates"], 1);
    let stored = events(&home);
    let kinds: Vec<_> = stored.iter().map(|event| event.event_type.as_deref().unwrap()).collect();
    assert_eq!(kinds, ["crash", "bug", "apm"]);
    assert!(stored.iter().all(|event| event.sender == Sender::Instabug && event.id.len() == 64));
    assert_eq!(stored[2].json.as_deref(), Some(apm.trim_end().as_bytes()));

    let other = format!("x-ibg-signature-256: {}", signature("anotherSecret123456", crash));
    let of_other_body = format!("x-ibg-signature-256: {}", signature(OLD, bug));
    let large = format!("{{\"x\":\"{}\"}}", "y".repeat(1_000_000));
    for (body, headers) in [
        (crash, &[other.as_str()][..]),
        (crash, &[&of_other_body]),
        (crash, &[]),
        (crash, &["x-ibg-signature-256: "]),
        ("{}", &["x-ibg-signature-256: é"]),
        (&large, &[]),
        ("not JSON", &[&other]),
    ] {
        let reply = post(body, headers);
        assert_eq!(reply.status, 401, "{reply:?}");
    }
    assert_eq!(receiver.metric(r#"bugfender_hooks_rejected_calls_total{reason="signature"}"#), 7);
    // Signed and not readable: kept apart.
    let reply = post("[]", &[&format!("x-ibg-signature-256: {}", signature(OLD, "[]"))]);
    assert_eq!((reply.status, quarantined(&home).len()), (400, 1));
    let (code, log) = receiver.end();
    assert_eq!(code, 0);
    assert!(!log.contains(OLD) && !log.contains(NEW), "{log}");
}

#[test]
fn luciq_signs_in_either_header_or_in_both() {
    let home = Home::new().set("BUGFENDER_HOOKS_LUCIQ_SECRET", OLD).set("BUGFENDER_HOOKS_INSTABUG_SECRET", NEW);
    let receiver = Receiver::start(&home, &[]);
    let luciq = |secret, body: &str| format!("x-lcq-signature-256: {}", signature(secret, body));
    let instabug = |secret, body: &str| format!("x-ibg-signature-256: {}", signature(secret, body));
    let status = |path: &str, headers: &[String], body: &str| {
        let headers: Vec<_> = headers.iter().map(String::as_str).collect();
        receiver.post_to(path, &headers, body).status
    };
    for path in ["/luciq", "/instabug"] {
        let body = format!(r#"{{"Exception":"{path}"}}"#);
        for headers in [
            vec![luciq(OLD, &body)],
            vec![luciq(NEW, &body)],
            vec![instabug(OLD, &body)],
            vec![luciq(OLD, &body), instabug(NEW, &body)],
        ] {
            assert_eq!(status(path, &headers, &body), 200, "{path} {headers:?}");
        }
        for headers in [
            vec![luciq(OLD, "other")],
            vec![luciq(OLD, &body), instabug(OLD, "other")],
            vec![luciq(OLD, "other"), instabug(OLD, &body)],
            vec![luciq(OLD, &body), "x-ibg-signature-256: none".to_owned()],
            vec![],
        ] {
            assert_eq!(status(path, &headers, &body), 401, "{path} {headers:?}");
        }
    }
    assert_eq!(events(&home).len(), 2);
}

#[test]
fn a_secret_may_come_from_the_environment() {
    let home = Home::new().set("BUGFENDER_HOOKS_INSTABUG_SECRET", &format!("{OLD},{NEW}"));
    let receiver = Receiver::start(&home, &[]);
    for secret in [OLD, NEW] {
        let header = format!("x-ibg-signature-256: {}", signature(secret, "{}"));
        assert_eq!(receiver.post_to("/instabug", &[&header], "{}").status, 200);
    }
    assert!(!receiver.end().1.contains("warning"));
    assert_eq!(super::refused(&home, &["--instabug-secret-file", "none"]).code, 2);
    // A piece of one that was pasted.
    let home = home.set("BUGFENDER_HOOKS_INSTABUG_SECRET", &OLD[..15]);
    let (code, log) = Receiver::start(&home, &[]).end();
    assert!(code == 0 && log.contains("16 to 64 letters and digits") && !log.contains(&OLD[..15]), "{log}");
}

#[test]
fn only_the_networks_named_may_call() {
    let home = Home::new();
    let args = ["--allow-from", "10.0.0.0/8", "--allow-from", "192.0.2.7"];
    let receiver = Receiver::start(&home, &args);
    let forwarded = ["x-forwarded-for: 10.1.1.1"];
    for path in [receiver.path.as_str(), "/nowhere"] {
        assert_eq!(receiver.post_to(path, &forwarded, "[]").status, 403);
    }
    // This machine asks how it is, whatever is allowed; what a proxy passes on does not come from it.
    let get = |path: &str| {
        let passed_on = request(&format!("GET {path}"), &forwarded, b"");
        (receiver.get(path).status, call(&receiver.address, &passed_on).unwrap().status)
    };
    assert_eq!((get("/readyz"), get("/healthz")), ((200, 403), (200, 200)));
    drop(receiver);
    let receiver = Receiver::start(&home, &[&args[..], &["--trust-proxy"]].concat());
    let post = |header: &str| receiver.post_to(&receiver.path, &[header], "[]").status;
    assert_eq!(post("x-forwarded-for: 10.1.1.1"), 200);
    assert_eq!(post("x-forwarded-for: 10.1.1.1, 11.1.1.1"), 403);
    assert_eq!(post("forwarded: for=11.0.0.1, for=192.0.2.7;proto=https"), 200);
    assert_eq!(post("x-other: 1"), 403);
    drop(receiver);
    let receiver = Receiver::start(&home, &["--allow-from", "127.0.0.0/8", "--allow-from", "::1"]);
    assert_eq!(receiver.post_to(&receiver.path, &["x-forwarded-for: 11.1.1.1"], "[]").status, 200);
    let wrong = super::refused(&home, &["--allow-from", "10.0.0.0/33"]);
    assert_eq!(wrong.code, 2, "{wrong}");
}

#[test]
fn the_key_is_private_and_stays_until_it_is_rotated() {
    let home = Home::new();
    let show = |args: &[&str]| {
        let run = home.run(["listen"].iter().chain(args));
        assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{run}");
        run.stdout.trim_end().to_owned()
    };
    let url = show(&["--show-url"]);
    let (base, key) = url.split_once("/bugfender/").unwrap();
    assert_eq!(base, "http://127.0.0.1:4000");
    let run = home.run(["listen", "--show-url", "--output", "json"]);
    assert_eq!((run.json()["url"].as_str(), run.code), (Some(url.as_str()), 0), "{run}");
    assert!(key.len() >= 27 && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)), "{key}");
    for (address, code, said) in [("127.0.0.1:0", 2, "give --public-url"), ("0.0.0.0:80", 0, "with --public-url")] {
        let run = home.run(["listen", "--show-url", "--listen", address]);
        assert!(run.code == code && run.stderr.contains(said), "{run}");
    }
    let public = ["--show-url", "--public-url", "https://hooks.example.com/x/"];
    assert_eq!(show(&public), format!("https://hooks.example.com/x/bugfender/{key}"));
    let receiver = Receiver::start(&home, &[]);
    assert_eq!(receiver.path, format!("/bugfender/{key}"));
    receiver.event("1");
    let key_file = home.data().join("registry.receiver-key");
    let ready = home.path().join("ready.json");
    for file in files(&home.data()).iter().chain([&key_file, &ready]) {
        assert_eq!(mode(file), 0o600, "{}", file.display());
    }
    assert_eq!((mode(&home.data()), mode(&inbox_file(&home))), (0o700, 0o600));
    // Rotated while it serves: it takes the old one alone until it is told, or started again.
    let rotate = |args: &[&str], note: &str| {
        let run = home.run(["listen", "--rotate-key"].iter().chain(args));
        assert!(run.code == 0 && run.stderr.contains(note), "{run}");
        run.stdout.trim_end().to_owned()
    };
    let new = rotate(&[], "the old one until ");
    assert_ne!(new, url);
    assert_eq!((show(&["--show-url"]), mode(&key_file)), (new.clone(), 0o600));
    receiver.event("2");
    drop(receiver);
    let receiver = Receiver::start(&home, &[]);
    assert!(new.ends_with(&receiver.path), "{new}");
    for _ in 0..2 {
        assert_eq!(receiver.post_to(&format!("/bugfender/{key}"), &[], r#"[{"id":"3"}]"#).status, 200);
    }
    receiver.event("4");
    assert_eq!(ids(&home), ["1", "2", "3", "4"]);
    let (code, log) = receiver.end();
    assert_eq!((code, log.matches("still delivers to a former URL").count()), (0, 1), "{log}");
    let newest = rotate(&["--keep-old-key", "0"], "accepts only this key");
    let receiver = Receiver::start(&home, &[]);
    assert!(newest.ends_with(&receiver.path), "{newest}");
    for old in [key, new.split_once("/bugfender/").unwrap().1] {
        assert_eq!(receiver.post_to(&format!("/bugfender/{old}"), &[], "[]").status, 404);
    }
    assert_eq!(home.run(["listen", "--keep-old-key", "1h"]).code, 2);

    // With a byte order mark, as editors on Windows write it.
    fs::write(home.path().join("own-key"), "\u{feff}my-own-key-0123456789\n").unwrap();
    let run = home.run(["listen", "--show-url", "--key-file", "own-key"]);
    assert!(run.stderr.contains("was open to others"), "{run}");
    assert!(show(&["--show-url", "--key-file", "own-key"]).ends_with("/bugfender/my-own-key-0123456789"));
    assert_eq!(mode(&home.path().join("own-key")), 0o600);
    fs::write(home.path().join("own-key"), "short\n").unwrap();
    assert_eq!(home.run(["listen", "--show-url", "--key-file", "own-key"]).code, 9);
}

#[test]
fn keys_and_secrets_are_read_again_on_a_hangup() {
    let home = Home::new();
    let secret = home.path().join("secret");
    fs::write(&secret, OLD).unwrap();
    let receiver = Receiver::start(&home, &["--instabug-secret-file", "secret"]);
    let rotate = |args: &[&str]| {
        let run = home.run(["listen", "--rotate-key"].iter().chain(args));
        run.stdout.trim_end().split_once(":4000").unwrap().1.to_owned()
    };
    let hang_up = |times: usize, what: &str| {
        receiver.signal(Signal::HUP);
        wait_until(what, || receiver.log().matches(what).count() == times);
    };
    let status = |path: &str| receiver.post_to(path, &[], "[]").status;
    let signed = |secret: &str| {
        let header = format!("x-ibg-signature-256: {}", signature(secret, "{}"));
        receiver.post_to("/instabug", &[&header], "{}").status
    };
    let first = receiver.path.clone();
    let second = rotate(&[]);
    fs::write(&secret, NEW).unwrap();
    assert_eq!([status(&first), status(&second), signed(OLD), signed(NEW)], [200, 404, 200, 401]);
    hang_up(1, "reloaded the keys");
    assert_eq!([status(&first), status(&second), signed(OLD), signed(NEW)], [200, 200, 401, 200]);
    let ready = || fs::read_to_string(home.path().join("ready.json")).unwrap();
    wait_until("the new URL is told", || ready().contains(&second));
    assert_eq!(receiver.log().matches("a former URL").count(), 1);

    let third = rotate(&["--keep-old-key", "0"]);
    hang_up(2, "reloaded the keys");
    assert_eq!([status(&first), status(&second), status(&third)], [404, 404, 200]);
    // A secret that cannot be read stays, and does not hold up a new key.
    fs::remove_file(&secret).unwrap();
    let fourth = rotate(&["--keep-old-key", "0"]);
    hang_up(3, "reloaded the keys");
    assert!(receiver.log().contains("Luciq's secrets were not reloaded: "));
    assert_eq!([status(&third), status(&fourth), signed(NEW)], [404, 200, 200]);
    let third = fourth;
    // What cannot be read changes nothing, and nothing is made in its place.
    let key_file = home.data().join("registry.receiver-key");
    fs::remove_file(&key_file).unwrap();
    hang_up(1, "the keys were not reloaded");
    fs::write(&key_file, "short").unwrap();
    hang_up(2, "the keys were not reloaded");
    fs::remove_file(&key_file).unwrap();
    hang_up(3, "the keys were not reloaded");
    assert!(!key_file.exists());
    assert_eq!([status(&second), status(&third), signed(NEW)], [404, 200, 200]);
    assert_eq!(receiver.end().0, 0);
}

#[test]
fn no_secret_is_in_a_log() {
    let home = Home::new().set("BUGFENDER_HOOKS_INSTABUG_SECRET", OLD);
    let sink = Sink::start(|before, _| if before == 0 { ("500 Oops", vec![]) } else { ("200 OK", vec![]) });
    let with_password = sink.url.replace("http://", "http://ci:s3cret-passw0rd@");
    let dead = "http://ci:s3cret-passw0rd@127.0.0.1:9/x";
    fs::write(home.path().join("url"), &with_password).unwrap();
    let route = format!("crash={dead}");
    let exec = "sh -c 'exit 1' s3cret-argument";
    let args = ["--forward-to", "@url", "--route", &route, "--exec", exec, "--retry-wait", "0.01", "-vvv"];
    let receiver = Receiver::start(&home, &args);
    receiver.event("1");
    assert_eq!(receiver.post("broken").status, 400);
    let reply = receiver.post_to("/instabug", &["x-ibg-signature-256: 00"], "{}");
    assert_eq!(reply.status, 401);
    let wrong_path = format!("GET {}x", receiver.path);
    assert_eq!(call(&receiver.address, &request(&wrong_path, &[], b"")).unwrap().status, 404);
    assert!(sink.wait_for(2)[1].header("authorization").starts_with("Basic "));
    let key = receiver.path.rsplit('/').next().unwrap().to_owned();
    let shown = receiver.get("/metrics").body + &receiver.get("/readyz").body;
    let (_, log) = receiver.end();
    assert!(log.contains("DEBUG") && log.contains("listening on http://127.0.0.1:"), "{log}");
    for secret in [key.as_str(), OLD, "s3cret"] {
        assert!(!log.contains(secret) && !shown.contains(secret), "{secret} is in:\n{log}{shown}");
    }
    // What the inbox keeps is no place for them either.
    for file in files(&home.data()).into_iter().filter(|file| !file.ends_with("registry.receiver-key")) {
        let text = String::from_utf8_lossy(&fs::read(&file).unwrap()).into_owned();
        assert!(!text.contains("s3cret") && !text.contains(&key), "{}", file.display());
    }
    let run = super::refused(&home, &["--forward-to", "http://ci:s3cret@:bad"]);
    assert!(run.code == 2 && !run.to_string().contains("s3cret"), "{run}");
}

#[test]
fn the_person_at_the_terminal_sees_where_bugfender_delivers() {
    let home = Home::new();
    let mut terminal = Terminal::run(&home, &["listen", "--listen", "127.0.0.1:0"]);
    // What Ctrl-C is on the way to a terminal.
    terminal.wait_for("/bugfender/").type_line("\u{3}");
    let (code, shown) = terminal.end();
    assert_eq!(code, 0, "{shown}");
    let key = fs::read_to_string(home.data().join("registry.receiver-key")).unwrap();
    assert!(shown.contains(key.trim()), "{shown}");
}

#[test]
fn one_receiver_has_an_inbox_and_an_address() {
    let home = Home::new();
    let receiver = Receiver::start(&home, &[]);
    let run = super::refused(&home, &[]);
    assert_eq!(run.code, 9, "{run}");
    assert!(run.stderr.contains("another `bugfender-hooks listen`"), "{run}");
    let elsewhere = Home::new();
    let run: Run = elsewhere.run(["listen", "--listen", &receiver.address]);
    assert!(run.code != 0 && run.stderr.contains("can't be listened on"), "{run}");
    receiver.event("1");
    assert_eq!(receiver.end().0, 0);
    // The lock goes with its owner, however that ended.
    drop(Receiver::start(&home, &[]));
    drop(Receiver::start(&home, &[]));
}
