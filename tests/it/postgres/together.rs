//! Receivers that share a store: what both get is stored once, and who follows events sees each of them once.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStdout};
use std::sync::Barrier;

use super::senders::delivery;
use crate::listen::Receiver;
use crate::listen::client::call;
use crate::support::postgres::{PgBouncer, Server, server};
use crate::support::{Home, Run, Signal, signal};

/// Two machines with one store.
fn homes(url: &str) -> [Home; 2] {
    [(); 2].map(|()| Home::new().set("BUGFENDER_HOOKS_STORE", url))
}

/// Posts events that must be taken; returns how many of them were new.
fn post(receiver: &Receiver, ids: &[String]) -> u64 {
    let bytes = delivery(&receiver.path, ids.iter().map(String::as_str));
    let reply = call(&receiver.address, &bytes).unwrap();
    assert_eq!(reply.status, 200, "{reply:?}");
    let json = reply.json();
    let (stored, duplicates) = (json["stored"].as_u64().unwrap(), json["duplicates"].as_u64().unwrap());
    assert_eq!(stored + duplicates, ids.len() as u64, "{json}");
    stored
}

const ROUNDS: usize = 150;
const EVENTS_A_ROUND: usize = 7;
const SENDERS_A_RECEIVER: usize = 3;

#[test]
fn what_both_receive_at_once_is_stored_once() {
    let Some(server) = server() else { return };
    let database = server.new_database();
    let homes = homes(&server.url(&database));
    let receivers = homes.each_ref().map(|home| Receiver::start(home, &[]));
    assert_eq!(receivers[0].path, receivers[1].path);
    let together = Barrier::new(2 * SENDERS_A_RECEIVER);
    let send = |receiver: &Receiver, turn: usize| {
        let mut stored = 0;
        for round in 0..ROUNDS {
            let mut ids: Vec<String> = (0..EVENTS_A_ROUND).map(|event| format!("e{round}-{event}")).collect();
            // In another order each: who waits for whom is not the same.
            ids.rotate_left(turn);
            together.wait();
            stored += post(receiver, &ids);
        }
        stored
    };
    let stored: u64 = std::thread::scope(|scope| {
        let turns = (0..2 * SENDERS_A_RECEIVER).map(|turn| (turn, &receivers[turn % 2]));
        let threads: Vec<_> = turns.map(|(turn, receiver)| scope.spawn(move || send(receiver, turn))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    // Each was new to one of those who sent it, and is counted as a duplicate for the others.
    assert_eq!(stored, (ROUNDS * EVENTS_A_ROUND) as u64);
    let sql = "SELECT count(*), count(DISTINCT event_id), min(duplicates), max(duplicates) FROM bugfender_hooks.events";
    let others = 2 * SENDERS_A_RECEIVER - 1;
    assert_eq!(server.psql(&database, sql), format!("{stored}|{stored}|{others}|{others}"));
    for receiver in &receivers {
        assert!(
            receiver.metric(r#"bugfender_hooks_committed_events_total{source="bugfender"}"#) > 0,
            "one stored it all"
        );
    }
}

/// `events tail`, which prints ids as they come.
struct Tail {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Tail {
    /// Starts it, and posts events until it shows one.
    fn start(home: &Home, receiver: &Receiver) -> Self {
        let mut child = home.spawn(&["events", "tail", "--lines", "0", "-q"]);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (shown, is_shown) = std::sync::mpsc::channel();
        let first = std::thread::spawn(move || {
            let line = lines.next();
            shown.send(()).unwrap();
            (line, lines)
        });
        for number in 0.. {
            post(receiver, &[format!("first-{number}")]);
            if is_shown.recv_timeout(std::time::Duration::from_millis(100)).is_ok() {
                break;
            }
            assert!(number < 300, "it shows nothing");
        }
        let (line, lines) = first.join().unwrap();
        assert!(line.unwrap().unwrap().starts_with("first-"));
        Self { child, lines }
    }

    /// The ids up to this one, but for those of the start.
    fn ids_until(&mut self, last: &str) -> Vec<String> {
        let ids = self.lines.by_ref().map(|line| line.unwrap()).take_while(|id| id != last);
        ids.filter(|id| !id.starts_with("first-")).collect()
    }

    /// Ends it with Ctrl-C; gives the ids that it showed since.
    fn end(self) -> Vec<String> {
        let Self { child, lines } = self;
        signal(&child, Signal::INT);
        let rest = lines.map(|line| line.unwrap()).collect();
        let run = Run::of(child.wait_with_output().unwrap());
        assert_eq!(run.code, 0, "{run}");
        rest
    }
}

const DELIVERIES_A_SENDER: usize = 250;
const EVENTS_A_DELIVERY: usize = 10;
const SENDERS: usize = 4;

/// Two receivers store 5,000 events each, while somebody follows them.
fn every_event_is_shown_once(server: &Server, url: &str, database: &str) {
    let homes = homes(url);
    let receivers = homes.each_ref().map(|home| Receiver::start(home, &[]));
    let mut tail = Tail::start(&homes[0], &receivers[0]);
    let send = |sender: usize| {
        let receiver = &receivers[sender % 2];
        for delivery in 0..DELIVERIES_A_SENDER {
            let ids: Vec<String> =
                (0..EVENTS_A_DELIVERY).map(|event| format!("s{sender}-{delivery}-{event}")).collect();
            assert_eq!(post(receiver, &ids), EVENTS_A_DELIVERY as u64);
        }
    };
    let shown = std::thread::scope(|scope| {
        let senders: Vec<_> = (0..SENDERS).map(|sender| scope.spawn(move || send(sender))).collect();
        let end = scope.spawn(|| {
            for sender in senders {
                sender.join().unwrap();
            }
            post(&receivers[1], &["last".to_owned()]);
        });
        let shown = tail.ids_until("last");
        end.join().unwrap();
        shown
    });
    let ids: HashSet<&String> = shown.iter().collect();
    assert_eq!(ids.len(), shown.len(), "an event was shown twice");
    let count = SENDERS * DELIVERIES_A_SENDER * EVENTS_A_DELIVERY;
    assert_eq!(ids.len(), count, "not every event was shown");
    assert_eq!(tail.end(), [""; 0]);
    let sql = "SELECT count(*) FROM bugfender_hooks.events WHERE event_id LIKE 's%'";
    assert_eq!(server.psql(database, sql), count.to_string());
}

#[test]
fn who_follows_two_receivers_sees_every_event_once() {
    let Some(server) = server() else { return };
    let database = server.new_database();
    every_event_is_shown_once(server, &server.url(&database), &database);
}

#[test]
fn the_same_holds_through_a_pooler() {
    let Some(server) = server() else { return };
    // Fewer connections than there are clients: transactions of one and the same client get others each time.
    let lines = ["default_pool_size = 3"];
    let Some(bouncer) = PgBouncer::with(server, &lines) else { return };
    let database = server.new_database();
    every_event_is_shown_once(server, &bouncer.url(&database), &database);
}
