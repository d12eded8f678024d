//! HTTP: what is repeated and what is not, redirects, limits, proxies.

use std::io::{Read, Write};
use std::net::{TcpListener, ToSocketAddrs};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use bugfender_hooks::http::{Client, ClientOptions, Method, Peer, Repeat, Request, Roots};

use crate::support::{Home, Scripted, Signal, answer, free_address, read, signal};

const SUBSCRIBE: [&str; 7] =
    ["subscribe", "--app-id", "1", "--event", "new_crash", "--target-url", "https://hooks.example.com/bf"];
const POST: &str = "POST /api/hook/subscribe";

fn created() -> String {
    answer("201 Created", &["content-type: application/json"], r#"{"id":5}"#)
}

#[test]
fn a_post_is_repeated_only_when_it_surely_was_not_carried_out() {
    for busy in ["503 Service Unavailable", "429 Too Many Requests"] {
        let server = Scripted::start(move |before, exchange| {
            exchange.send(if before < 2 { answer(busy, &[], "") } else { created() });
        });
        let home = Home::at(&server.url, "t");
        assert_eq!(home.run(SUBSCRIBE).code, 0, "{busy}");
        assert_eq!(server.seen(), [POST; 3], "{busy}");
        assert_eq!(home.statuses(), ["active"]);
    }
}

#[test]
fn four_attempts_and_no_more() {
    let server = Scripted::always(answer("503 Service Unavailable", &["retry-after: 0"], ""));
    let home = Home::at(&server.url, "t");
    let run = home.run(SUBSCRIBE.iter().chain(&["--output", "json"]));
    assert_eq!(run.code, 7, "{run}");
    assert!(run.stderr.contains("HTTP 503) after 4 attempts"), "{run}");
    assert_eq!(run.error()["retryable"], true);
    assert_eq!(server.seen(), [POST; 4]);
    assert!(home.statuses().is_empty());
}

#[test]
fn retry_after_is_waited_for() {
    let server = Scripted::start(|before, exchange| {
        exchange.send(if before == 0 { answer("429 Too Many Requests", &["retry-after: 1"], "") } else { created() });
    });
    let start = Instant::now();
    assert_eq!(Home::at(&server.url, "t").run(SUBSCRIBE).code, 0);
    assert!(start.elapsed() >= Duration::from_secs(1));
}

#[test]
fn a_wait_beyond_the_timeout_is_not_begun() {
    let server = Scripted::always(answer("429 Too Many Requests", &["retry-after: 3600"], ""));
    for extra in [&["--timeout", "5"][..], &[]] {
        let run = Home::at(&server.url, "t").run(SUBSCRIBE.iter().chain(extra));
        assert_eq!(run.code, 7, "{run}");
    }
    assert_eq!(server.seen().len(), 2);
}

#[test]
fn what_has_ended_leaves_what_comes_next_without_doubt() {
    let server = Scripted::always(answer("500 Internal Server Error", &[], ""));
    let options = ClientOptions {
        attempt_timeout: crate::support::PATIENCE,
        total_timeout: None,
        tls: false,
        proxy: false,
        loopback_only: false,
        roots: Roots::System,
        peer: Peer::Api,
    };
    let client = Client::new(options).unwrap();
    let (method, url) = (Method::POST, server.url.parse().unwrap());
    let request = Request { method, url, body: None, repeat: Repeat::OnlyIfNotCarriedOut };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let answer = runtime.block_on(client.send(&request, None)).unwrap();
    assert_eq!((answer.status.as_u16(), client.is_in_doubt()), (500, false));
}

#[test]
fn a_refused_connection_leaves_nothing_behind() {
    let home = Home::at(&format!("http://{}", free_address()), "t");
    let run = home.run(SUBSCRIBE);
    assert_eq!(run.code, 7, "{run}");
    assert!(run.stderr.contains("could not connect: Connection refused"), "{run}");
    assert!(home.statuses().is_empty());
}

#[test]
fn a_connection_that_never_stands_leaves_nothing_behind() {
    // A full backlog: the kernel answers no further SYN, as a firewall that drops packets would.
    let socket = std::process::Command::new("python3")
        .args(["-c", "import socket,sys,time\ns=socket.socket();s.bind(('127.0.0.1',0));s.listen(0)\nc=[]\nfor _ in range(4):\n  k=socket.socket();k.setblocking(False);k.connect_ex(s.getsockname());c.append(k)\nprint(s.getsockname()[1],flush=True)\nsys.stdin.read()"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn();
    if !crate::support::have("python3") {
        return;
    }
    let mut blocker = socket.unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(blocker.stdout.take().unwrap()), &mut line).unwrap();
    let home = Home::at(&format!("http://127.0.0.1:{}", line.trim()), "t");
    let run = home.run(SUBSCRIBE.iter().chain(&["--timeout", "1"]));
    blocker.kill().unwrap();
    blocker.wait().unwrap();
    assert_eq!(run.code, 7, "{run}");
    assert!(run.stderr.contains("timed out while connecting"), "{run}");
    assert!(home.statuses().is_empty());
}

#[test]
fn the_timeout_is_for_all_attempts_together() {
    let server = Scripted::always(answer("503 Service Unavailable", &["retry-after: 1"], ""));
    let run = Home::at(&server.url, "t").run(SUBSCRIBE.iter().chain(&["--timeout", "2"]));
    assert_eq!(run.code, 7, "{run}");
    assert!(server.seen().len() < 4, "{:?}", server.seen());
}

#[test]
fn a_delete_is_repeated_on_any_transient_failure() {
    let server = Scripted::start(|before, exchange| match before {
        0 => exchange.send(answer("502 Bad Gateway", &[], "")),
        1 => exchange.send(""),
        2 => exchange.send("HTTP/1.1 200 "),
        _ => exchange.send(answer("200 OK", &[], "")),
    });
    let run = Home::at(&server.url, "t").run(["unsubscribe", "5"]);
    assert_eq!(run.code, 0, "{run}");
    assert_eq!(server.seen(), ["DELETE /api/hook/5/"; 4]);
}

#[test]
fn a_redirect_to_the_same_path_is_followed_with_method_and_body() {
    for status in ["301 Moved", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"] {
        let (bodies, arrived) = channel();
        let server = Scripted::start(move |before, exchange| {
            bodies.send((exchange.body.clone(), exchange.header("authorization").map(str::to_owned))).unwrap();
            exchange.send(if before == 0 {
                answer(status, &["location: /api/hook/subscribe/"], "")
            } else {
                created()
            });
        });
        assert_eq!(Home::at(&server.url, "t").run(SUBSCRIBE).code, 0, "{status}");
        assert_eq!(server.seen(), [POST, "POST /api/hook/subscribe/"], "{status}");
        let (first, second) = (arrived.recv().unwrap(), arrived.recv().unwrap());
        assert_eq!(first, second);
        assert_eq!(first.1.as_deref(), Some("Bearer t"));
    }
}

#[test]
fn after_see_other_a_post_is_not_sent_again() {
    let server = Scripted::always(answer("303 See Other", &["location: /api/hook/subscribe/"], ""));
    let home = Home::at(&server.url, "t");
    assert_eq!(home.run(SUBSCRIBE).code, 8);
    assert_eq!(server.seen(), [POST]);
    assert_eq!(home.statuses(), ["unknown"]);
}

#[test]
fn redirects_do_not_stretch_the_timeout() {
    let server = Scripted::start(|before, exchange| {
        // The second answer would come long after the time is up.
        if before == 0 {
            exchange.send(answer("307 Temporary Redirect", &["location: /api/hook/subscribe/"], ""));
        } else {
            let _ = exchange.stream.set_read_timeout(Some(Duration::from_secs(20)));
            let _ = std::io::Read::read(&mut exchange.stream, &mut [0]);
        }
    });
    let start = Instant::now();
    assert_eq!(Home::at(&server.url, "t").run(SUBSCRIBE.iter().chain(&["--timeout", "1"])).code, 8);
    assert!(start.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_retry_that_fits_the_timeout_is_made() {
    let server = Scripted::start(|before, exchange| {
        exchange.send(if before == 0 { answer("503 Busy", &["retry-after: 1"], "") } else { created() });
    });
    let run = Home::at(&server.url, "t").run(SUBSCRIBE.iter().chain(&["--timeout", "3"]));
    assert_eq!(run.code, 0, "{run}");
}

#[test]
fn a_retry_that_could_end_in_doubt_is_not_made() {
    // The answer takes longer than what would be left of the time.
    let server = Scripted::start(|before, exchange| {
        let _ = exchange.stream.set_read_timeout(Some(Duration::from_millis(600)));
        let _ = std::io::Read::read(&mut exchange.stream, &mut [0]);
        exchange.send(if before == 0 { answer("503 Busy", &["retry-after: 0"], "") } else { created() });
    });
    let home = Home::at(&server.url, "t");
    assert_eq!(home.run(SUBSCRIBE.iter().chain(&["--timeout", "1"])).code, 7);
    assert!(home.statuses().is_empty());
}

#[test]
fn sigterm_ends_a_subscription_as_ctrl_c_does() {
    let (arrive, arrived) = channel();
    let server = Scripted::start(move |_, exchange| {
        arrive.send(()).unwrap();
        let _ = std::io::Read::read(&mut exchange.stream, &mut [0]);
    });
    let home = Home::at(&server.url, "t");
    let child = home.spawn(&SUBSCRIBE);
    arrived.recv().unwrap();
    signal(&child, Signal::TERM);
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(130));
    assert_eq!(home.statuses(), ["unknown"]);
    // The record is in the database file itself: there is nothing beside it.
    assert!(!home.data().join("registry.db-wal").exists());
}

#[test]
fn no_other_redirect_is_followed() {
    let elsewhere = Scripted::always(created());
    let other = elsewhere.url.clone();
    for place in [
        format!("{other}/api/hook/subscribe"),
        "/login?next=s3cret".into(),
        "//bf.invalid/api/hook/subscribe".into(),
        "::".into(),
    ] {
        let server = Scripted::always(answer("307 Temporary Redirect", &[&format!("location: {place}")], ""));
        let home = Home::at(&server.url, "t");
        let run = home.run(SUBSCRIBE);
        assert_eq!(run.code, 1, "{run}");
        assert!(run.stderr.contains("redirects to") && !run.stderr.contains("s3cret"), "{run}");
        assert!(home.statuses().is_empty());
    }
    assert!(elsewhere.seen().is_empty());
}

#[test]
fn a_circle_of_redirects_ends() {
    let server = Scripted::always(answer("307 Temporary Redirect", &["location: /api/hook/subscribe"], ""));
    let run = Home::at(&server.url, "t").run(SUBSCRIBE);
    assert_eq!(run.code, 1, "{run}");
    assert!(run.stderr.contains("too many redirects"), "{run}");
}

#[test]
fn plain_http_is_for_this_machine() {
    let home = Home::at("http://bf.invalid", "t");
    let run = home.run(SUBSCRIBE);
    assert_eq!(run.code, 2, "{run}");
    assert!(run.stderr.contains("--allow-http"), "{run}");
    assert_eq!(home.run_with_input(&["auth", "login", "--with-token"], "t").code, 2);
    // Allowed, it is tried; the name does not exist.
    assert_eq!(home.run(SUBSCRIBE.iter().chain(&["--allow-http", "--timeout", "4"])).code, 7);
}

#[test]
fn a_name_below_localhost_is_this_machine_only_where_it_resolves_so() {
    let server = Scripted::always(answer("201 Created", &[], r#"{"id":5}"#));
    let port = server.url.rsplit(':').next().unwrap().to_owned();
    let at = |host: &str| Home::at(&format!("http://{host}:{port}"), "t");
    assert_eq!(at("localhost").run(SUBSCRIBE).code, 0);
    let resolved = ("x.localhost", 0).to_socket_addrs().map(Iterator::collect::<Vec<_>>).unwrap_or_default();
    let here = !resolved.is_empty() && resolved.iter().all(|address| address.ip().is_loopback());
    let home = at("x.localhost");
    let run = home.run(SUBSCRIBE);
    assert_eq!(run.code, if here { 0 } else { 2 }, "{run}");
    if !here {
        assert!(run.stderr.contains("x.localhost does not resolve to this machine"), "{run}");
        assert!(run.stderr.contains("--allow-http"), "{run}");
        assert_eq!((server.seen().len(), home.statuses().len()), (1, 0));
    }
}

#[test]
fn a_compressed_answer_is_read_and_a_bomb_is_not() {
    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut child = std::process::Command::new("gzip")
            .arg("-c")
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let bytes = bytes.to_vec();
        let writer = std::thread::spawn(move || stdin.write_all(&bytes));
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap().unwrap();
        output.stdout
    }
    let bomb = [br#"{"id":5,"x":""#.to_vec(), vec![b'x'; 64 << 20], br#""}"#.to_vec()].concat();
    for (body, code) in [(gzip(br#"{"id":5}"#), 0), (gzip(&bomb), 8)] {
        let server = Scripted::start(move |_, exchange| {
            assert_eq!(exchange.header("accept-encoding"), Some("gzip"));
            let length = body.len();
            exchange
                .send(format!("HTTP/1.1 201 Created\r\ncontent-encoding: gzip\r\ncontent-length: {length}\r\n\r\n"));
            exchange.send(&body);
        });
        let run = Home::at(&server.url, "t").run(SUBSCRIBE);
        assert_eq!(run.code, code, "{run}");
    }
}

#[test]
fn proxies_are_obeyed_but_not_for_this_machine() {
    let proxy = Scripted::always(answer("403 Forbidden", &[], ""));
    let server = Scripted::always(created());
    let proxied = |url: &str| {
        Home::at(url, "t").set("HTTPS_PROXY", &proxy.url).set("HTTP_PROXY", &proxy.url).set("https_proxy", &proxy.url)
    };
    assert_eq!(proxied(&server.url).run(SUBSCRIBE).code, 0);
    assert!(proxy.seen().is_empty());
    let home = proxied("https://bf.invalid");
    let run = home.run(SUBSCRIBE.iter().chain(&["--timeout", "4"]));
    assert_eq!(run.code, 7, "{run}");
    assert_eq!(proxy.seen()[0], "CONNECT bf.invalid:443");
    assert!(home.statuses().is_empty());
    assert!(run.stderr.contains(&format!("could not connect through the proxy {}", proxy.url)), "{run}");
    assert!(run.stderr.contains("check HTTPS_PROXY"), "{run}");
    let secret = proxy.url.replace("//", "//joe:s3cret@");
    let run = Home::at("https://bf.invalid", "t").set("https_proxy", &secret).run(["doctor", "--timeout", "4"]);
    assert!(run.stdout.contains(&format!("{} (environment or system)", proxy.url)), "{run}");
    assert!(!run.stdout.contains("s3cret"), "{run}");
    // NO_PROXY takes the host out again.
    let seen = proxy.seen().len();
    let home = home.set("NO_PROXY", "bf.invalid");
    let run = home.run(SUBSCRIBE.iter().chain(&["--timeout", "4"]));
    assert_eq!(run.code, 7, "{run}");
    assert!(!run.stderr.to_lowercase().contains("proxy"), "{run}");
    assert_eq!(proxy.seen().len(), seen);
}

#[test]
fn a_proxy_may_be_one_of_socks() {
    let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = proxy.local_addr().unwrap();
    let serving = std::thread::spawn(move || {
        let (mut stream, _) = proxy.accept().unwrap();
        // RFC 1928 and 1929: a user name and a password, then the name of the host, which the proxy looks up.
        let mut exchange = |asked: &[u8], said: &[u8]| {
            let mut heard = vec![0; asked.len()];
            stream.read_exact(&mut heard).unwrap();
            assert_eq!(heard, asked);
            stream.write_all(said).unwrap();
        };
        exchange(b"\x05\x01\x02", b"\x05\x02");
        exchange(b"\x01\x03joe\x06s3cret", b"\x01\x00");
        exchange(b"\x05\x01\x00\x03\x0abf.invalid\x00\x50", b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00");
        let mut request = read(stream).unwrap();
        request.send(created());
        request.line
    });
    let through = format!("socks5h://joe:s3cret@{address}");
    let home = Home::at("http://bf.invalid", "t").set("HTTP_PROXY", &through);
    let run = home.run(SUBSCRIBE.iter().chain(&["--allow-http", "-vvv"]));
    assert_eq!(run.code, 0, "{run}");
    assert_eq!(serving.join().unwrap(), POST);
    assert!(!run.stderr.contains("s3cret"), "{run}");
    // With nobody there the proxy is named, and nothing is in doubt.
    let run = home.run(SUBSCRIBE.iter().chain(&["--allow-http", "--force", "--timeout", "3", "-vvv"]));
    assert_eq!(run.code, 7, "{run}");
    assert!(run.stderr.contains(&format!("could not connect through the proxy socks5h://{address}: ")), "{run}");
    assert!(!run.stderr.contains("s3cret"), "{run}");
    assert_eq!(home.statuses(), ["active"]);
}
