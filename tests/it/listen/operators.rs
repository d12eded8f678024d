//! The paths for operators: on which port, for whom, under which names; and what is printed and warned of.

use std::fs;
use std::process::Command;

use rustix::process::Signal;

use super::{Receiver, Sink, call, refused, request};
use crate::support::{Home, have, http_get, wait_until};

const PATHS: [&str; 3] = ["/healthz", "/readyz", "/metrics"];

/// The status of a GET with this `Host`.
fn status(address: &str, path: &str, host: &str) -> u16 {
    let text = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    call(address, text.as_bytes()).unwrap().status
}

#[test]
fn a_port_of_their_own_has_them_and_nothing_else() {
    let home = Home::new();
    let args = ["--admin-listen", "127.0.0.1:0", "--admin-host", "receiver.internal", "--allow-from", "10.0.0.0/8"];
    let receiver = Receiver::start(&home, &[&args[..], &["--trust-proxy", "-v"]].concat());
    let admin_url = receiver.ready["admin_url"].as_str().unwrap();
    let admin = admin_url.strip_prefix("http://").unwrap();
    assert!(http_get(&format!("{admin_url}/metrics")).contains("bugfender_hooks_build_info"));
    let allowed = ["x-forwarded-for: 10.0.0.1"];
    for path in PATHS {
        assert_eq!(status(admin, path, "receiver.internal:9464"), 200, "{path}");
        assert_eq!(status(admin, path, "rebound.example"), 421, "{path}");
        // Even a client that may deliver does not find them there.
        let moved = call(&receiver.address, &request(&format!("GET {path}"), &allowed, b"")).unwrap();
        assert_eq!(moved.status, 404, "{path}");
    }
    assert_eq!(call(admin, &request("POST /metrics", &[], b"")).unwrap().status, 405);
    for path in [receiver.path.as_str(), "/luciq", "/"] {
        assert_eq!(call(admin, &request(&format!("POST {path}"), &[], b"[]")).unwrap().status, 404, "{path}");
    }
    assert_eq!(receiver.post_to(&receiver.path, &allowed, r#"[{"id":"1"}]"#).status, 200);
    let (code, log) = receiver.end();
    assert!(code == 0 && log.contains("reason=\"host\" peer=127.0.0.1"), "{log}");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for (given, code) in [(address.as_str(), 7), ("256.0.0.1:1", 2)] {
        let run = refused(&home, &["--admin-listen", given]);
        assert!(run.code == code && run.stderr.contains("--admin-listen"), "{run}");
    }
}

#[test]
fn without_one_this_machine_has_them_and_no_page_on_the_web() {
    let home = Home::new();
    let args = ["--allow-from", "10.0.0.0/8", "--public-url", "https://hooks.example.com"];
    let receiver = Receiver::start(&home, &args);
    assert_eq!(receiver.ready["admin_url"], receiver.ready["url"]);
    for path in PATHS {
        for host in ["127.0.0.1", "[::1]:80", "localhost", "a.localhost", "hooks.example.com"] {
            assert_eq!(status(&receiver.address, path, host), 200, "{path} {host}");
        }
        let old = call(&receiver.address, format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).unwrap();
        assert_eq!(old.status, 200, "{path}");
        assert_eq!(status(&receiver.address, path, "rebound.example"), 421, "{path}");
        let passed_on = call(&receiver.address, &request(&format!("GET {path}"), &["forwarded: for=10.0.0.1"], b""));
        assert_eq!(passed_on.unwrap().status, if path == "/healthz" { 200 } else { 403 }, "{path}");
    }
    let rebound = b"GET /metrics HTTP/1.1\r\nhost: rebound.example\r\nconnection: close\r\n\r\n";
    let hint = call(&receiver.address, rebound).unwrap().json();
    assert!(hint["error"].as_str().unwrap().contains("--admin-host"), "{hint}");
    assert_eq!(receiver.metric("bugfender_hooks_rejected_calls_total{reason=\"host\"}"), 4);
    assert_eq!(receiver.end().0, 0);
}

#[test]
fn outcomes_are_printed_after_their_events() {
    let home = Home::new();
    let sink = Sink::start(|before, _| if before == 0 { ("503 Busy", vec![]) } else { ("202 Accepted", vec![]) });
    let args = ["--print", "--forward-to", &sink.url, "--retry-wait", "0.05", "-v"];
    let receiver = Receiver::start(&home, &args);
    receiver.event("evt-1");
    let out = || fs::read_to_string(home.path().join("listen.out")).unwrap();
    wait_until("the outcome is printed", || out().contains(" 202 "));
    let text = out();
    let lines: Vec<&str> = text.lines().collect();
    let [head, event, failed, accepted] = lines.as_slice() else { panic!("{text}") };
    assert!(head.starts_with("RECEIVED") && event.contains("evt-1") && event.contains("crash"), "{text}");
    let origin = sink.url.rsplit_once('/').unwrap().0;
    let has = |line: &str, result: &str| line.starts_with(&format!("→ {origin}")) && line.contains(result);
    assert!(has(failed, " 503 ") && failed.contains(" ms, retry in ") && failed.ends_with(" evt-1"), "{text}");
    assert!(has(accepted, " 202 ") && accepted.ends_with(" ms evt-1"), "{text}");
    let (_, log) = receiver.end();
    assert!(log.contains("HTTP 503 event=\"evt-1\" attempt=1"), "{log}");

    // Other formats have nothing but events.
    let home = Home::new();
    let sink = Sink::always("200 OK");
    let receiver = Receiver::start(&home, &["--print", "--output", "ndjson", "--forward-to", &sink.url]);
    receiver.event("evt-2");
    wait_until("it is forwarded", || super::pending(&home) == 0);
    assert_eq!(receiver.end().0, 0);
    let text = fs::read_to_string(home.path().join("listen.out")).unwrap();
    let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.len() == 1 && lines[0]["id"] == "evt-2", "{text}");
}

/// Makes a certificate that is valid for so many days.
fn certificate(home: &Home, days: &str) {
    let args = format!(
        "req -x509 -subj /CN=localhost -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days {days}
         -keyout live.key -out live.pem"
    );
    let output = Command::new("openssl").args(args.split_whitespace()).current_dir(home.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_certificate_that_expires_soon_is_warned_of() {
    if !have("openssl") {
        return;
    }
    let home = Home::new();
    certificate(&home, "2");
    let args = ["--tls-cert", "live.pem", "--tls-key", "live.key", "--admin-listen", "127.0.0.1:0"];
    let receiver = Receiver::start(&home, &args);
    let warnings = || receiver.log().matches("the certificate of --tls-cert expires at ").count();
    let expiry = || {
        let text = http_get(&format!("{}/metrics", receiver.ready["admin_url"].as_str().unwrap()));
        let name = "bugfender_hooks_certificate_expiry_timestamp_seconds ";
        text.lines().find_map(|line| line.strip_prefix(name)).unwrap().parse::<i64>().unwrap()
    };
    wait_until("it is warned of", || warnings() == 1);
    let day = 24 * 3600;
    let now = jiff::Timestamp::now().as_second();
    assert!((now + day..=now + 2 * day).contains(&expiry()));
    // Renewed, and nothing is said; replaced by one that expires, and it is.
    certificate(&home, "90");
    receiver.signal(Signal::HUP);
    wait_until("it is renewed", || expiry() > now + 80 * day);
    wait_until("it is told", || receiver.log().matches("reloaded the certificate").count() == 1);
    assert_eq!(warnings(), 1);
    certificate(&home, "3");
    receiver.signal(Signal::HUP);
    wait_until("it is warned of", || warnings() == 2);
    assert_eq!(receiver.end().0, 0);
}
