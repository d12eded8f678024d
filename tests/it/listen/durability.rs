//! What was answered with 200 is there, however the receiver ends.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::client::{connect, read_reply};
use super::{Receiver, Sink, ids, inbox};
use crate::support::{Home, wait_until};
use std::io::Write;

const KILLS: u32 = 100;
const SENDERS: u32 = 4;

/// What the senders know.
#[derive(Default)]
struct Log {
    next: AtomicU32,
    taken: Mutex<Vec<String>>,
    over: AtomicBool,
}

impl Log {
    /// Sends events, a few in a call, over one connection after the other until told to stop.
    fn send(&self, address: &str, path: &str) {
        while !self.over.load(Ordering::Relaxed) {
            let Ok(mut stream) = std::net::TcpStream::connect(address) else { return };
            stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            loop {
                let number = self.next.fetch_add(1, Ordering::Relaxed);
                let new: Vec<String> = (0..=number % 3).map(|part| format!("e{number}-{part}")).collect();
                let event = |id: &String| format!(r#"{{"id":"{id}","type":"crash","text":"{}"}}"#, "x".repeat(500));
                let body = format!("[{}]", new.iter().map(event).collect::<Vec<_>>().join(","));
                let length = body.len();
                let call = format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n{body}");
                if stream.write_all(call.as_bytes()).is_err() {
                    break;
                }
                match read_reply(&mut stream) {
                    Some(reply) => {
                        assert_eq!((reply.status, &reply.json()["duplicates"]), (200, &0.into()), "{reply:?}");
                        self.taken.lock().unwrap().extend(new);
                    }
                    None => break,
                }
            }
        }
    }
}

/// Every event once, and those that were answered with 200 among them.
fn check(home: &Home, log: &Log) -> Vec<String> {
    let there = ids(home);
    let mut counts: HashMap<&str, u32> = HashMap::new();
    for id in &there {
        *counts.entry(id).or_default() += 1;
    }
    assert!(counts.values().all(|count| *count == 1), "an event is there twice");
    let taken = log.taken.lock().unwrap();
    let lost: Vec<_> = taken.iter().filter(|id| !counts.contains_key(id.as_str())).collect();
    assert!(lost.is_empty(), "{} of {} are lost: {lost:?}", lost.len(), taken.len());
    there
}

#[test]
fn a_hundred_kills_lose_nothing() {
    let home = Home::new();
    let log = Arc::<Log>::default();
    let sink = Sink::always("200 OK");
    for round in 0..KILLS {
        let args = ["--forward-to", &sink.url, "--retry-wait", "0.05"];
        // Half of them hand on while they are killed, the others do not.
        let receiver = Receiver::start(&home, if round % 2 == 0 { &[] } else { &args });
        log.over.store(false, Ordering::Relaxed);
        let senders: Vec<_> = (0..SENDERS)
            .map(|_| {
                let (log, address, path) = (Arc::clone(&log), receiver.address.clone(), receiver.path.clone());
                std::thread::spawn(move || log.send(&address, &path))
            })
            .collect();
        // Not a wait for something: the moment of death is what varies.
        std::thread::sleep(Duration::from_micros(fastrand::u64(0..120_000)));
        log.over.store(true, Ordering::Relaxed);
        drop(receiver);
        for sender in senders {
            sender.join().unwrap();
        }
    }
    check(&home, &log);
    let taken = log.taken.lock().unwrap().len();
    assert!(taken > 1000, "{taken} events in {KILLS} runs: nothing was tested");
    inbox(&home).check().unwrap();
}

/// Those of a receiver with a target are handed on, at least once each, whenever it was killed.
#[test]
fn what_was_stored_is_handed_on_after_kills() {
    let home = Home::new();
    let log = Arc::<Log>::default();
    // It answers nothing for a while, so that there is always something under way.
    let good = Arc::new(AtomicBool::new(false));
    let is_good = Arc::clone(&good);
    let sink = Sink::start(move |before, _| {
        if is_good.load(Ordering::Relaxed) || before % 2 == 0 { ("200 OK", vec![]) } else { ("500 Oops", vec![]) }
    });
    let args = ["--forward-to", &sink.url, "--retry-wait", "0.02"];
    for _ in 0..15 {
        let receiver = Receiver::start(&home, &args);
        log.over.store(false, Ordering::Relaxed);
        let (sender_log, address, path) = (Arc::clone(&log), receiver.address.clone(), receiver.path.clone());
        let sender = std::thread::spawn(move || sender_log.send(&address, &path));
        std::thread::sleep(Duration::from_micros(fastrand::u64(20_000..120_000)));
        log.over.store(true, Ordering::Relaxed);
        drop(receiver);
        sender.join().unwrap();
    }
    let there: HashSet<String> = check(&home, &log).into_iter().collect();
    assert!(there.len() > 50, "{}", there.len());
    good.store(true, Ordering::Relaxed);
    let receiver = Receiver::start(&home, &args);
    wait_until("everything is handed on", || super::pending(&home) == 0);
    assert_eq!(sink.ids(), there);
    // The same message has the same id, whoever sends it.
    let mut ids: HashMap<String, HashSet<String>> = HashMap::new();
    for call in sink.calls() {
        ids.entry(call.body.clone()).or_default().insert(call.header("webhook-id").to_owned());
    }
    assert!(ids.values().all(|ids| ids.len() == 1));
    assert_eq!(receiver.end().0, 0);
    assert_eq!(super::events(&home).iter().filter(|event| event.state.as_str() != "forwarded").count(), 0);
}

#[test]
fn what_is_under_way_at_the_end_is_finished() {
    let home = Home::new();
    let receiver = Receiver::start(&home, &[]);
    let head =
        |length: usize| format!("POST {} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n", receiver.path);
    let body = r#"[{"id":"late"}]"#;
    let mut stream = connect(&receiver.address);
    stream.write_all(head(body.len()).as_bytes()).unwrap();
    stream.write_all(&body.as_bytes()[..5]).unwrap();
    // Others that it need not wait for: silent, in the middle of a head, after an answer.
    let silent = connect(&receiver.address);
    let mut half = connect(&receiver.address);
    half.write_all(b"POST /bug").unwrap();
    let mut kept = connect(&receiver.address);
    kept.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    assert_eq!(read_reply(&mut kept).unwrap().status, 200);
    wait_until("all are there", || receiver.metric("bugfender_hooks_open_connections") == 5);
    receiver.signal(rustix::process::Signal::TERM);
    wait_until("it accepts nobody", || std::net::TcpStream::connect(&receiver.address).is_err());
    stream.write_all(&body.as_bytes()[5..]).unwrap();
    let reply = read_reply(&mut stream).unwrap();
    assert_eq!((reply.status, reply.header("connection")), (200, Some("close")), "{reply:?}");
    let start = Instant::now();
    let (code, log) = receiver.wait();
    assert_eq!(code, 0, "{log}");
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    assert_eq!(ids(&home), ["late"]);
    drop((silent, half));
}

#[test]
fn who_takes_longer_than_the_drain_timeout_is_cut_off() {
    let home = Home::new();
    let sink = Sink::start(|_, _| {
        std::thread::sleep(Duration::from_secs(20));
        ("200 OK", vec![])
    });
    let receiver = Receiver::start(&home, &["--drain-timeout", "0.3", "--forward-to", &sink.url]);
    receiver.event("1");
    sink.wait_for(1);
    let mut stream = connect(&receiver.address);
    let head = format!("POST {} HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n[", receiver.path);
    stream.write_all(head.as_bytes()).unwrap();
    wait_until("it is there", || receiver.metric("bugfender_hooks_open_connections") == 2);
    let (code, log) = receiver.end();
    assert_eq!(code, 1, "{log}");
    assert!(log.contains("stopped after --drain-timeout with 1 requests") && log.contains("1 forwards"), "{log}");
    assert!(read_reply(&mut stream).is_none());
    // The forward is still in line.
    assert_eq!(inbox(&home).backlog().unwrap().pending, 1);
    let receiver = Receiver::start(&home, &["--forward-to", &sink.url, "--drain-timeout", "0.1"]);
    assert_eq!(sink.wait_for(2)[1].id(), "1");
    drop(receiver);
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let home = Home::new();
    let receiver = Receiver::start(&home, &["--drain-timeout", "60"]);
    let mut stream = connect(&receiver.address);
    let head = format!("POST {} HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n[", receiver.path);
    stream.write_all(head.as_bytes()).unwrap();
    wait_until("it is there", || receiver.metric("bugfender_hooks_open_connections") == 2);
    receiver.signal(rustix::process::Signal::INT);
    wait_until("it accepts nobody", || std::net::TcpStream::connect(&receiver.address).is_err());
    let start = Instant::now();
    // What comes right after the first may be taken for the same wish.
    wait_until("it heeds the second", || {
        receiver.signal(rustix::process::Signal::INT);
        receiver.log().contains("interrupted before")
    });
    let (code, log) = receiver.wait();
    assert!(code != 0 && start.elapsed() < Duration::from_secs(10), "{code}: {log}");
}
