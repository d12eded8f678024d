//! Callers that go away, strangers that want everything, the moment of the end.

use std::fs;
use std::io::Write;
use std::net::Shutdown;
use std::time::{Duration, Instant};

use super::client::{connect, read_reply};
use super::{Receiver, ids};
use rustix::process::Signal;

use crate::support::{Home, PATIENCE, wait_until};

const MIB: usize = 1024 * 1024;

/// The head of a POST; what follows is the body.
fn head(path: &str, headers: &str, length: usize) -> Vec<u8> {
    format!("POST {path} HTTP/1.1\r\nhost: x\r\n{headers}content-length: {length}\r\n\r\n").into_bytes()
}

#[test]
fn strangers_do_not_take_the_memory_of_known_senders() {
    let home = Home::new();
    fs::write(home.path().join("secret"), "someSecretOfInstabug").unwrap();
    let receiver = Receiver::start(&home, &["--instabug-secret-file", "secret", "--max-body", "40MiB"]);
    let signature = format!("x-ibg-signature-256: sha256={}\r\n", "ab".repeat(32));
    let body = vec![b'x'; 40 * MIB];
    // Each holds what it sent, and never comes to its end.
    let strangers: Vec<_> = (0..6)
        .map(|_| {
            let mut stream = connect(&receiver.address);
            stream.write_all(&head("/instabug", &signature, body.len())).unwrap();
            // Who does not fit is told so, and finds the connection closed.
            let _ = stream.write_all(&body[1..]);
            stream
        })
        .collect();
    let text = "x".repeat(38 * MIB);
    assert_eq!(receiver.post(format!(r#"[{{"id":"known","text":"{text}"}}]"#)).status, 200);
    drop(strangers);
    assert_eq!(ids(&home), ["known"]);
}

#[test]
fn what_cannot_be_a_signature_is_refused_before_the_body_comes() {
    let home = Home::new();
    fs::write(home.path().join("secret"), "someSecretOfInstabug").unwrap();
    let receiver = Receiver::start(&home, &["--instabug-secret-file", "secret", "--body-timeout", "2"]);
    for signature in ["", "x", "sha256=", &"ab".repeat(31), &"xy".repeat(32), &format!("sha1={}", "ab".repeat(32))] {
        let mut stream = connect(&receiver.address);
        let header = format!("x-ibg-signature-256: {signature}\r\n");
        stream.write_all(&head("/instabug", &header, 1000)).unwrap();
        assert_eq!(read_reply(&mut stream).unwrap().status, 401, "{signature}");
    }
}

#[test]
fn a_whole_call_is_stored_though_its_sender_has_gone() {
    let home = Home::new();
    let receiver = Receiver::start(&home, &[]);
    for id in 0..50 {
        let size = if id % 2 == 0 { 10 } else { 300_000 };
        let body = format!(r#"[{{"id":"{id}","text":"{}"}}]"#, "x".repeat(size));
        let mut stream = connect(&receiver.address);
        stream.write_all(&[head(&receiver.path, "", body.len()), body.into_bytes()].concat()).unwrap();
    }
    wait_until("all are stored", || ids(&home).len() == 50);
    // Closed with an answer that was not read, which the other side takes for a failure.
    let mut stream = connect(&receiver.address);
    stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    stream.peek(&mut [0]).unwrap();
    let body = br#"[{"id":"reset"}]"#;
    stream.write_all(&[&head(&receiver.path, "", body.len())[..], body].concat()).unwrap();
    drop(stream);
    wait_until("it is stored", || ids(&home).len() == 51);
    // Closed on one side only: the answer comes on the other.
    let mut stream = connect(&receiver.address);
    let body = br#"[{"id":"half"}]"#;
    stream.write_all(&[&head(&receiver.path, "", body.len())[..], body].concat()).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_reply(&mut stream).unwrap().status, 200);
    assert_eq!(receiver.end().0, 0);
}

/// What came before the end was asked for is taken, though the receiver has had no time for it yet.
#[test]
fn calls_that_came_before_the_end_are_stored() {
    let home = Home::new();
    let receiver = Receiver::start(&home, &[]);
    let call = |id: usize| {
        let body = format!(r#"[{{"id":"{id}"}}]"#);
        [head(&receiver.path, "", body.len()), body.into_bytes()].concat()
    };
    let mut kept = connect(&receiver.address);
    kept.write_all(&call(0)).unwrap();
    assert_eq!(read_reply(&mut kept).unwrap().status, 200);
    let silent = connect(&receiver.address);
    wait_until("all are accepted", || receiver.metric("bugfender_hooks_open_connections") == 3);
    // Nothing is accepted or read while it sleeps; the system says yes in its place.
    receiver.signal(Signal::STOP);
    let mut callers = vec![kept, silent];
    callers.extend((2..300).map(|_| connect(&receiver.address)));
    for (id, stream) in callers.iter_mut().enumerate() {
        stream.write_all(&call(id + 1)).unwrap();
    }
    receiver.signal(Signal::TERM);
    receiver.signal(Signal::CONT);
    let answered = callers.iter_mut().filter_map(|stream| Some(read_reply(stream)?.status)).collect::<Vec<_>>();
    assert_eq!(answered, vec![200; 300]);
    assert_eq!(receiver.wait().0, 0);
    assert_eq!(ids(&home).len(), 301);
}

/// Connections that bring nothing neither hold the end up nor count as calls.
#[test]
fn the_end_waits_for_calls_and_not_for_connections() {
    let home = Home::new();
    let receiver = Receiver::start(&home, &["--drain-timeout", "20"]);
    let mut half = connect(&receiver.address);
    half.write_all(b"POST /bug").unwrap();
    // Answers that nobody reads.
    let mut deaf = connect(&receiver.address);
    deaf.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    let many = "GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(1000);
    while deaf.write_all(many.as_bytes()).is_ok() {}
    // A call whose body is still to come.
    let body = br#"[{"id":"late"}]"#;
    let mut late = connect(&receiver.address);
    late.write_all(&head(&receiver.path, "", body.len())).unwrap();
    wait_until("all are accepted", || receiver.metric("bugfender_hooks_open_connections") == 4);
    receiver.signal(Signal::TERM);
    wait_until("nothing is accepted", || std::net::TcpStream::connect(&receiver.address).is_err());
    // Later than those without a call are cut off.
    std::thread::sleep(Duration::from_millis(800));
    late.write_all(body).unwrap();
    assert_eq!(read_reply(&mut late).unwrap().status, 200);
    let start = Instant::now();
    let (code, log) = receiver.wait();
    assert!(code == 0 && start.elapsed() < Duration::from_secs(5), "{code}, {:?}: {log}", start.elapsed());
    assert_eq!(ids(&home), ["late"]);

    // However little time there is, half a head is no call.
    let receiver = Receiver::start(&home, &["--drain-timeout", "0.1"]);
    let mut half = connect(&receiver.address);
    half.write_all(b"POST /bug").unwrap();
    wait_until("all are accepted", || receiver.metric("bugfender_hooks_open_connections") == 2);
    let (code, log) = receiver.end();
    assert_eq!(code, 0, "{log}");
}

#[test]
fn plain_bodies_are_taken_however_they_are_said_to_be_plain() {
    let home = Home::new();
    let receiver = Receiver::start(&home, &[]);
    let post =
        |id: &str, headers: &[&str]| receiver.post_to(&receiver.path, headers, format!(r#"[{{"id":"{id}"}}]"#)).status;
    assert_eq!(post("1", &["content-encoding: IDENTITY"]), 200);
    assert_eq!(post("2", &["content-encoding:"]), 200);
    assert_eq!(post("3", &["content-encoding: identity, Identity", "content-encoding: "]), 200);
    assert_eq!(post("4", &["content-encoding: identity", "content-encoding: gzip"]), 415);
    assert_eq!(ids(&home), ["1", "2", "3"]);
}

#[test]
fn both_headers_of_a_proxy_must_be_good() {
    let home = Home::new();
    let receiver = Receiver::start(&home, &["--allow-from", "10.0.0.0/8", "--trust-proxy"]);
    let post = |plain: &str, full: &str| {
        let headers = [format!("x-forwarded-for: {plain}"), format!("forwarded: for={full}")];
        receiver.post_to(&receiver.path, &[&headers[0], &headers[1]], "[]").status
    };
    assert_eq!(post("10.0.0.1", "10.0.0.1"), 200);
    assert_eq!((post("10.0.0.1", "11.0.0.1"), post("11.0.0.1", "10.0.0.1"), post("10.0.0.1", "_x")), (403, 403, 403));
}

/// As many connections are open as leave file handles for handing on; the rest wait.
#[test]
fn connections_leave_file_handles_for_handing_on() {
    let home = Home::new();
    // 256 - 64 - 4 * 40 = 32.
    let limited = ["/bin/sh", "-c", "ulimit -n 256; exec \"$@\"", "sh"];
    let args = ["--exec", "true", "--max-in-flight", "40", "--header-timeout", "20"];
    let receiver = Receiver::of(&home, Receiver::command_of(&limited, &home, &args));
    // What is on its way from a known sender makes room for nobody.
    let begun = || {
        let mut stream = connect(&receiver.address);
        stream.write_all(&head(&receiver.path, "", 100)).unwrap();
        stream
    };
    let mut open: Vec<_> = (0..31).map(|_| begun()).collect();
    // There is a place left for one at a time.
    receiver.event("1");
    wait_until("all are accepted", || receiver.metric("bugfender_hooks_open_connections") == 32);
    open.push(begun());
    let mut waits = connect(&receiver.address);
    waits.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    waits.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    assert!(read_reply(&mut waits).is_none());
    open.clear();
    waits.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(read_reply(&mut waits).unwrap().status, 200);
}

#[test]
fn an_output_that_takes_nothing_does_not_end_it() {
    for args in [&["--print"][..], &["--print", "--output", "ndjson"]] {
        let home = Home::new();
        let redirected = ["/bin/sh", "-c", "exec \"$@\" >/dev/full", "sh"];
        let receiver = Receiver::of(&home, Receiver::command_of(&redirected, &home, args));
        receiver.event("1");
        wait_until("the warning", || receiver.log().contains("warning: events are stored but "));
        receiver.event("2");
        assert_eq!(receiver.end().0, 0);
    }
}
