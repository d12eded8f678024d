//! Callers that send too much, too slowly, or nothing at all.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::client::{connect, read_reply};
use super::{Receiver, call, ids};
use crate::support::{Home, wait_until};

const MIB: usize = 1024 * 1024;

/// An event of this many bytes.
fn event_of(id: &str, size: usize) -> String {
    let start = format!(r#"[{{"id":"{id}","text":""#);
    let filler = "x".repeat(size - start.len() - 3);
    format!("{start}{filler}\"}}]")
}

#[test]
fn bodies_have_a_limit() {
    let home = Home::new();
    let receiver = Receiver::start(&home, &[]);
    let largest = event_of("largest", 5 * MIB);
    assert_eq!(receiver.post(&largest).status, 200);
    let reply = receiver.post(event_of("too large", 5 * MIB + 1));
    assert_eq!((reply.status, reply.header("connection")), (413, Some("close")), "{reply:?}");
    // Who asks first has the answer without sending anything.
    let head = |length: usize| {
        format!(
            "POST {} HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: {length}\r\n\r\n",
            receiver.path
        )
    };
    let mut stream = connect(&receiver.address);
    stream.write_all(head(5 * MIB + 1).as_bytes()).unwrap();
    assert_eq!(read_reply(&mut stream).unwrap().status, 413);
    let mut stream = connect(&receiver.address);
    let small = r#"[{"id":"small"}]"#;
    stream.write_all(head(small.len()).as_bytes()).unwrap();
    assert_eq!(read_reply(&mut stream).unwrap().status, 100);
    stream.write_all(small.as_bytes()).unwrap();
    assert_eq!(read_reply(&mut stream).unwrap().status, 200);
    assert_eq!(receiver.metric(r#"bugfender_hooks_rejected_calls_total{reason="too_large"}"#), 2);
    drop(receiver);
    let receiver = Receiver::start(&home, &["--max-body", "1kB"]);
    assert_eq!(receiver.post(event_of("a", 1000)).status, 200);
    assert_eq!(receiver.post(event_of("b", 1001)).status, 413);
    assert_eq!(ids(&home), ["largest", "small", "a"]);
}

/// A gigabyte in pieces, whose length nobody says.
#[test]
fn a_gigabyte_in_chunks_takes_no_memory() {
    let home = Home::new();
    let receiver = Receiver::start(&home, &[]);
    receiver.event("before");
    let before = receiver.memory("VmHWM");
    let mut stream = connect(&receiver.address);
    let head = format!("POST {} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n", receiver.path);
    stream.write_all(head.as_bytes()).unwrap();
    let chunk = [format!("{MIB:x}\r\n").as_bytes(), &vec![b'x'; MIB], b"\r\n"].concat();
    let mut reader = stream.try_clone().unwrap();
    let answer = std::thread::spawn(move || read_reply(&mut reader));
    // It may be told so, and find the connection closed, before it is through.
    let sent = (0..1024).take_while(|_| stream.write_all(&chunk).is_ok()).count();
    assert!(sent >= 5, "{sent}");
    if let Some(reply) = answer.join().unwrap() {
        assert_eq!(reply.status, 413);
    }
    assert_eq!(receiver.metric(r#"bugfender_hooks_rejected_calls_total{reason="too_large"}"#), 1);
    let grown = receiver.memory("VmHWM") - before;
    assert!(grown < 32 * 1024, "{grown} KiB");
    receiver.event("after");
}

/// Reads until the other side closes; says how long that took and what came.
fn until_closed(mut stream: TcpStream, start: Instant) -> (Duration, String) {
    let mut text = Vec::new();
    // A reset ends it too.
    let _ = stream.read_to_end(&mut text);
    (start.elapsed(), String::from_utf8_lossy(&text).into_owned())
}

#[test]
fn the_slow_are_cut_off_and_hold_nobody_up() {
    let home = Home::new();
    let receiver = Receiver::start(&home, &["--header-timeout", "1", "--body-timeout", "1.5"]);
    let start = Instant::now();
    let head = format!("POST {} HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n", receiver.path);
    // Each sends a byte now and then, for as long as it is let.
    let dripping = |prefix: String| {
        let mut stream = connect(&receiver.address);
        stream.write_all(prefix.as_bytes()).unwrap();
        let mut drip = stream.try_clone().unwrap();
        std::thread::spawn(move || {
            while drip.write_all(b"x").is_ok() && start.elapsed() < Duration::from_secs(20) {
                // The pace of the drip, not a wait for something.
                std::thread::sleep(Duration::from_millis(100));
            }
        });
        std::thread::spawn(move || until_closed(stream, start))
    };
    let heads: Vec<_> = (0..20).map(|_| dripping(head.clone())).collect();
    let bodies: Vec<_> = (0..20).map(|_| dripping(format!("{head}\r\n"))).collect();
    let idle = connect(&receiver.address);
    let idle = std::thread::spawn(move || until_closed(idle, start));
    let kept = {
        let mut stream = connect(&receiver.address);
        stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
        assert_eq!(read_reply(&mut stream).unwrap().status, 200);
        std::thread::spawn(move || until_closed(stream, start))
    };
    receiver.event("meanwhile");
    let served = start.elapsed();
    for slow in heads.into_iter().chain([idle, kept]) {
        let (took, text) = slow.join().unwrap();
        assert!(took >= Duration::from_millis(900) && took < Duration::from_secs(8), "{took:?}");
        assert!(!text.contains("200"), "{text}");
    }
    for slow in bodies {
        let (took, text) = slow.join().unwrap();
        assert!(took >= Duration::from_millis(1400) && took < Duration::from_secs(8), "{took:?}");
        assert!(text.starts_with("HTTP/1.1 408"), "{text}");
    }
    assert!(served < Duration::from_secs(8), "{served:?}");
    assert_eq!(receiver.metric(r#"bugfender_hooks_rejected_calls_total{reason="too_slow"}"#), 20);
    // None of them is left.
    wait_until("connections are closed", || receiver.metric("bugfender_hooks_open_connections") == 1);
    assert_eq!(receiver.end().0, 0);
}

/// Who asks and asks and never reads an answer is cut off too.
#[test]
fn who_does_not_read_is_cut_off() {
    let home = Home::new();
    let receiver = Receiver::start(&home, &["--header-timeout", "1", "--body-timeout", "1"]);
    let mut stream = connect(&receiver.address);
    stream.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    let many = "GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(1000);
    // Until it fits nowhere any more, here or there.
    while stream.write_all(many.as_bytes()).is_ok() {}
    wait_until("the connection is closed", || receiver.metric("bugfender_hooks_open_connections") == 1);
    assert_eq!(receiver.end().0, 0);
}

#[test]
fn ten_thousand_idle_connections_stop_nobody() {
    const COUNT: usize = 10_000;
    let files = bugfender_hooks::platform::raise_open_files().unwrap_or(usize::MAX);
    assert!(files > COUNT + 500, "the limit of open files is {files}: raise it");
    let home = Home::new();
    let receiver = Receiver::start(&home, &["--header-timeout", "120"]);
    receiver.event("before");
    let idle: Vec<TcpStream> = (0..COUNT).map(|_| TcpStream::connect(&receiver.address).unwrap()).collect();
    wait_until("all are accepted", || receiver.metric("bugfender_hooks_open_connections") > 10_000);
    let start = Instant::now();
    receiver.event("meanwhile");
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    let memory = receiver.memory("VmRSS");
    assert!(memory < 100 * 1024, "{memory} KiB");
    // Half a head each takes more, and within bounds.
    for mut stream in &idle {
        stream.write_all(b"POST /bugfender/").unwrap();
    }
    receiver.event("again");
    let memory = receiver.memory("VmRSS");
    assert!(memory < 250 * 1024, "{memory} KiB");
    drop(idle);
    assert_eq!(receiver.end().0, 0);
    assert_eq!(ids(&home), ["before", "meanwhile", "again"]);
}

/// At the limit the connection that has sent nothing for the longest time makes room, and nobody waits for its timeout.
#[test]
fn connections_have_a_limit_and_slow_ones_make_room() {
    let home = Home::new();
    let receiver = Receiver::start(&home, &["--max-connections", "4", "--header-timeout", "60"]);
    let mut idle: Vec<_> = (0..4).map(|_| connect(&receiver.address)).collect();
    let start = Instant::now();
    for id in 0..20 {
        receiver.event(id);
    }
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
    // The first has gone, and the last is still there.
    assert_eq!(idle[0].read(&mut [0]).unwrap_or(0), 0);
    let last = idle.last_mut().unwrap();
    last.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    assert_eq!(read_reply(last).unwrap().status, 200);
    assert!(receiver.metric(r#"bugfender_hooks_rejected_calls_total{reason="overload"}"#) >= 1);
    assert_eq!(receiver.end().0, 0);
}

/// Bodies that are verified only once they are read whole share their memory, and anybody can send some.
#[test]
fn strangers_do_not_shut_out_who_has_the_secret() {
    let secret = "someSecretOfInstabug";
    let home = Home::new().set("BUGFENDER_HOOKS_LUCIQ_SECRET", secret);
    let receiver = Receiver::start(&home, &["--body-timeout", "60"]);
    let head = |signature: &str, length: usize| {
        format!(
            "POST /luciq HTTP/1.1\r\nhost: x\r\nx-lcq-signature-256: {signature}\r\ncontent-length: {length}\r\n\r\n"
        )
    };
    let part = vec![b'x'; 5 * MIB - 1];
    let strangers: Vec<_> = (0..12)
        .map(|_| {
            let mut stream = connect(&receiver.address);
            stream.write_all(head(&"ab".repeat(32), 5 * MIB).as_bytes()).unwrap();
            stream.write_all(&part).unwrap();
            stream
        })
        .collect();
    let start = Instant::now();
    let report = format!(r#"{{"Exception":"E","text":"{}"}}"#, "x".repeat(4 * MIB + MIB / 2));
    let secret = bugfender_hooks::domain::Secret::parse("it", secret).unwrap();
    let signature = bugfender_hooks::domain::signature::sign_instabug(&secret, report.as_bytes());
    for _ in 0..3 {
        let reply = call(&receiver.address, &[head(&signature, report.len()).as_bytes(), report.as_bytes()].concat());
        assert_eq!(reply.unwrap().status, 200);
    }
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
    // One of them had to go: the first.
    let mut first = &strangers[0];
    assert!(read_reply(&mut first).is_none_or(|reply| reply.status == 503));
    assert_eq!(receiver.metric(r#"bugfender_hooks_rejected_calls_total{reason="overload"}"#), 1);
}

#[test]
fn what_is_no_http_does_no_harm() {
    let home = Home::new();
    let receiver = Receiver::start(&home, &["--header-timeout", "2"]);
    let path = &receiver.path;
    let long_head = format!("POST {path} HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(100_000));
    let both =
        format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n");
    let bad_chunk = format!("POST {path} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nZZ\r\n");
    let two = format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n[]");
    for bytes in [
        b"\x16\x03\x01\x02\x00\x01".to_vec(),
        b"\0".repeat(5000),
        long_head.into_bytes(),
        both.into_bytes(),
        bad_chunk.into_bytes(),
        two.into_bytes(),
        b"GET / HTTP/9.9\r\n\r\n".to_vec(),
    ] {
        if let Some(reply) = call(&receiver.address, &bytes) {
            assert!((400..=505).contains(&reply.status), "{reply:?}");
        }
    }
    // Gone in the middle of a body.
    let cut = format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n[{{");
    connect(&receiver.address).write_all(cut.as_bytes()).unwrap();
    receiver.event("well");
    assert_eq!(ids(&home), ["well"]);
    assert_eq!(receiver.end().0, 0);
}

/// Heads that have begun take memory, and who begins many of them does not get all of it.
#[test]
fn half_sent_heads_take_bounded_memory() {
    let home = Home::new();
    let receiver = Receiver::start(&home, &["--header-timeout", "120"]);
    let head = [b"POST /bugfender/ HTTP/1.1\r\nx: ".to_vec(), vec![b'y'; 20_000]].concat();
    let mut slow = Vec::new();
    for _ in 0..2000 {
        let mut stream = connect(&receiver.address);
        // Who has to go finds the connection closed.
        let _ = stream.write_all(&head);
        slow.push(stream);
    }
    wait_until("some have gone", || receiver.metric("bugfender_hooks_open_connections") < 1200);
    receiver.event("meanwhile");
    let memory = receiver.memory("VmRSS");
    assert!(memory < 140 * 1024, "{memory} KiB");
    // The newest are still there.
    slow.last_mut().unwrap().write_all(b"\r\n\r\n").unwrap();
    assert_eq!(read_reply(slow.last_mut().unwrap()).unwrap().status, 404);
    assert_eq!(receiver.end().0, 0);
}
