//! Senders as Bugfender is one: what is not answered with 200 is sent again. And what must have become of their events.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::listen::client::{Reply, call, request};
use crate::listen::sink::Sink;
use crate::support::postgres::Server;
use crate::support::wait_until;

/// How long a delivery is sent again.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the senders know.
#[derive(Default)]
struct Ledger {
    next: AtomicUsize,
    over: AtomicBool,
    answered: Mutex<Vec<String>>,
    refusals: AtomicUsize,
    broken: AtomicUsize,
}

/// Senders that post deliveries until they are told to end.
pub struct Senders {
    ledger: Arc<Ledger>,
    threads: Vec<JoinHandle<()>>,
}

/// What became of all that was sent.
pub struct Sent {
    /// The ids of events that were answered with 200.
    pub answered: HashSet<String>,
    /// How often a delivery was refused for now.
    pub refusals: usize,
    /// How often there was no answer.
    pub broken: usize,
}

impl Senders {
    /// So many senders, which each post a delivery, and after a pause the next.
    pub fn start(count: usize, address: &str, path: &str, pause: Duration) -> Self {
        let ledger = Arc::<Ledger>::default();
        let start = |_| {
            let (ledger, address, path) = (Arc::clone(&ledger), address.to_owned(), path.to_owned());
            std::thread::spawn(move || {
                while !ledger.over.load(Ordering::Relaxed) {
                    ledger.deliver(&address, &path);
                    std::thread::sleep(pause);
                }
            })
        };
        let threads = (0..count).map(start).collect();
        Self { ledger, threads }
    }

    /// How many events were answered with 200.
    pub fn answered(&self) -> usize {
        self.ledger.answered.lock().unwrap().len()
    }

    /// Waits until so many more events were answered.
    pub fn wait_for_more(&self, count: usize) {
        let before = self.answered();
        wait_until("more events are stored", || self.answered() >= before + count);
    }

    /// Lets each deliver what it has begun to send.
    pub fn end(self) -> Sent {
        self.ledger.over.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().unwrap();
        }
        let answered = self.ledger.answered.lock().unwrap();
        let sent = Sent {
            answered: answered.iter().cloned().collect(),
            refusals: self.ledger.refusals.load(Ordering::Relaxed),
            broken: self.ledger.broken.load(Ordering::Relaxed),
        };
        assert_eq!(sent.answered.len(), answered.len());
        sent
    }
}

impl Ledger {
    /// Sends a delivery of one to three events until it is answered with 200.
    fn deliver(&self, address: &str, path: &str) {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let ids: Vec<String> = (0..=number % 3).map(|part| format!("e{number}-{part}")).collect();
        let bytes = delivery(path, ids.iter().map(String::as_str));
        let start = Instant::now();
        loop {
            match call(address, &bytes) {
                Some(reply) if reply.status == 200 => break,
                Some(reply) => {
                    assert_refused(&reply);
                    self.refusals.fetch_add(1, Ordering::Relaxed);
                }
                None => drop(self.broken.fetch_add(1, Ordering::Relaxed)),
            }
            assert!(start.elapsed() < PATIENCE, "{ids:?} could not be delivered");
            std::thread::sleep(Duration::from_millis(20));
        }
        self.answered.lock().unwrap().extend(ids);
    }
}

/// A request with events of these ids.
pub fn delivery<'a>(path: &str, ids: impl IntoIterator<Item = &'a str>) -> Vec<u8> {
    let events: Vec<String> = ids.into_iter().map(|id| format!(r#"{{"id":"{id}","type":"crash"}}"#)).collect();
    let body = format!("[{}]", events.join(","));
    request(&format!("POST {path}"), &["content-type: application/json"], body.as_bytes())
}

/// It was not stored, and the sender is told to come again: by a receiver, or by a proxy that reaches none.
pub fn assert_refused(reply: &Reply) {
    match reply.status {
        503 => assert!(reply.header("retry-after").unwrap().parse::<u32>().unwrap() > 0, "{reply:?}"),
        502 | 504 => assert!(reply.head.contains("nginx"), "{reply:?}"),
        _ => panic!("{reply:?}"),
    }
}

/// Whatever was answered is stored, and nothing twice. Returns how many events there are.
pub fn assert_stored_once(server: &Server, database: &str, answered: &HashSet<String>) -> usize {
    let rows = server.psql(database, "SELECT event_id FROM bugfender_hooks.events");
    let there: HashSet<&str> = rows.lines().collect();
    assert_eq!(rows.lines().count(), there.len(), "an event is there twice");
    let lost: Vec<_> = answered.iter().filter(|id| !there.contains(id.as_str())).collect();
    assert!(lost.is_empty(), "{} of {} are lost: {lost:?}", lost.len(), answered.len());
    there.len()
}

/// Whatever is stored reaches the target; what a receiver had claimed that does not know of it does so at once, as if the
/// time of its lease was over.
pub fn assert_forwarded(server: &Server, database: &str, sink: &Sink) {
    let end =
        "UPDATE bugfender_hooks.forwards SET leased_until = leased_until - 90000000 WHERE leased_until IS NOT NULL";
    server.psql(database, end);
    let pending = "SELECT count(*) FROM bugfender_hooks.forwards WHERE state = 0";
    wait_until("all is forwarded", || server.psql(database, pending) == "0");
    let dead = server.psql(database, "SELECT count(*) FROM bugfender_hooks.forwards WHERE state <> 1");
    assert_eq!(dead, "0", "not all was delivered");
    let reached = sink.ids();
    let rows = server.psql(database, "SELECT event_id FROM bugfender_hooks.events");
    let missing: Vec<_> = rows.lines().filter(|id| !reached.contains(*id)).collect();
    assert!(missing.is_empty(), "not forwarded: {missing:?}");
}
