//! Targets that fail: tried again, paused, dead-lettered; and nobody else waits for them.

use std::collections::HashMap;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bugfender_hooks::store::{EventPage, EventSelection, EventState};

use super::{Call, Receiver, Sink, events, inbox};
use crate::support::inbox::requeue;
use crate::support::{Home, free_address, wait_until};

fn attempts(sink: &Sink) -> HashMap<String, usize> {
    let mut counts = HashMap::new();
    for call in sink.calls() {
        *counts.entry(call.id()).or_default() += 1;
    }
    counts
}

fn state(home: &Home, id: &str) -> EventState {
    events(home).into_iter().find(|event| event.id == id).unwrap().state
}

#[test]
fn what_fails_is_tried_again() {
    let home = Home::new();
    let hang = Duration::from_secs(3);
    let sink = Sink::start(move |before, _| match before {
        0 => ("500 Oops", vec![]),
        1 => {
            std::thread::sleep(hang);
            ("200 OK", vec![])
        }
        2 => ("302 Found", vec!["location: http://127.0.0.1:9/elsewhere"]),
        3 => ("404 Not Found", vec![]),
        _ => ("200 OK", vec![]),
    });
    let receiver = Receiver::start(&home, &["--forward-to", &sink.url, "--retry-wait", "0.05", "--timeout", "1"]);
    receiver.event("1");
    sink.wait_for(5);
    wait_until("it is handed on", || state(&home, "1") == EventState::Forwarded);
    assert_eq!(receiver.end().0, 0);
    let event = &events(&home)[0];
    assert_eq!((event.attempts, event.error.as_deref()), (5, None));
}

#[test]
fn a_target_that_is_not_there_is_left_alone_and_found_again() {
    let home = Home::new();
    let address = free_address();
    let to = format!("http://{address}/in");
    let receiver = Receiver::start(&home, &["--forward-to", &to, "--retry-wait", "0.02", "--max-in-flight", "2"]);
    for number in 0..30 {
        receiver.event(number);
    }
    wait_until("it is paused", || receiver.log().contains("it is paused"));
    // Thirty events, each due every few milliseconds, and no more than a few attempts.
    let failed = || receiver.metric_of("failed_forwards_total", &to);
    assert!(failed() <= 8, "{}", failed());
    let sink = Sink::on(TcpListener::bind(address).unwrap(), |_, _| ("200 OK", vec![]));
    wait_until("everything is handed on", || super::pending(&home) == 0);
    assert_eq!(sink.ids().len(), 30);
    assert!(failed() <= 15, "{}", failed());
    let (code, log) = receiver.end();
    assert!(code == 0 && log.contains("has recovered"), "{log}");
}

#[test]
fn retry_after_is_heeded() {
    let home = Home::new();
    let sink = Sink::start(|before, _| match before {
        0 => ("429 Slow Down", vec!["retry-after: 2"]),
        _ => ("200 OK", vec![]),
    });
    let args = ["--forward-to", &sink.url, "--retry-wait", "0.01"];
    let receiver = Receiver::start(&home, &args);
    receiver.event("1");
    sink.wait_for(1);
    wait_until("the pause is known", || events(&home)[0].attempts == 1);
    // It is the target that wants to be left alone, so that the others wait too.
    receiver.event("2");
    let calls = sink.wait_for(3);
    for call in &calls[1..] {
        let waited = call.at - calls[0].at;
        assert!(waited >= Duration::from_millis(1900) && waited < Duration::from_secs(10), "{waited:?}");
    }
    assert_eq!(receiver.end().0, 0);
}

/// An answer to a call that was under way already does not end the pause.
#[test]
fn retry_after_outlasts_what_was_under_way() {
    let home = Home::new();
    let sink = Sink::start(|_, call| match call.id().as_str() {
        "slow" => {
            std::thread::sleep(Duration::from_millis(600));
            ("200 OK", vec![])
        }
        "busy" => ("429 Slow Down", vec!["retry-after: 3"]),
        _ => ("200 OK", vec![]),
    });
    let receiver = Receiver::start(&home, &["--forward-to", &sink.url, "--retry-wait", "0.01"]);
    receiver.event("slow");
    sink.wait_for(1);
    receiver.event("busy");
    let asked = sink.wait_for(2)[1].at;
    wait_until("the slow one is through", || state(&home, "slow") == EventState::Forwarded);
    receiver.event("next");
    let next = sink.wait_for(3)[2].at - asked;
    assert!(next >= Duration::from_millis(2900), "{next:?}");
}

#[test]
fn a_poisonous_event_holds_nobody_up() {
    for in_flight in ["1", "2", "8"] {
        let home = Home::new();
        let sink =
            Sink::start(
                |_, call| {
                    if call.id().starts_with("poison") { ("400 Bad Request", vec![]) } else { ("200 OK", vec![]) }
                },
            );
        let args = ["--forward-to", &sink.url, "--retry-wait", "0.01", "--max-in-flight", in_flight];
        let receiver = Receiver::start(&home, &args);
        for number in 0..5 {
            receiver.event(format!("poison-{number}"));
        }
        for number in 0..40 {
            receiver.event(format!("good-{number}"));
        }
        wait_until("the good ones are handed on", || super::pending(&home) == 5);
        let counts = attempts(&sink);
        assert!((0..40).all(|number| counts[&format!("good-{number}")] == 1));
        // It is tried again all the while, and no breaker opens over it.
        sink.wait_for(60);
        assert!(!receiver.log().contains("paused"), "{}", receiver.log());
        assert_eq!(state(&home, "poison-0"), EventState::Pending);
        assert_eq!(receiver.end().0, 0);
    }
}

/// So many that some are always due: new ones still get their turn.
#[test]
fn many_poisonous_events_leave_room_for_new_ones() {
    let home = Home::new();
    let sink =
        Sink::start(
            |_, call| {
                if call.id().starts_with("poison") { ("400 Bad Request", vec![]) } else { ("200 OK", vec![]) }
            },
        );
    let args = ["--forward-to", &sink.url, "--retry-wait", "0.001", "--max-in-flight", "1"];
    let receiver = Receiver::start(&home, &args);
    for number in 0..60 {
        receiver.event(format!("poison-{number}"));
    }
    // With so many in a row it is left alone; what finds out that it is well is the newest.
    wait_until("it is paused", || receiver.log().contains("rejects every event; it is paused"));
    let before = sink.calls().len();
    for number in 0..10 {
        receiver.event(format!("good-{number}"));
    }
    wait_until("they are handed on", || sink.calls().iter().filter(|call| call.id().starts_with("good")).count() == 10);
    let after = sink.calls();
    let tries = after[before..].iter().filter(|call| call.id().starts_with("poison")).count();
    assert!(tries < 200, "{tries} attempts for others came before ten new events");
    drop(receiver);
}

#[test]
fn a_target_that_is_gone_is_asked_no_more() {
    let home = Home::new();
    let (gone, other) = (Sink::always("410 Gone"), Sink::always("200 OK"));
    let args = ["--forward-to", &gone.url, "--forward-to", &other.url, "--retry-wait", "0.01"];
    let receiver = Receiver::start(&home, &args);
    receiver.event("first");
    wait_until("it is known", || receiver.log().contains("it is gone (410)"));
    let before = gone.calls().len();
    for number in 0..20 {
        receiver.event(number);
    }
    other.wait_for(21);
    assert_eq!((gone.calls().len(), before), (1, 1));
    assert_eq!(receiver.end().0, 0);
    // With the next start it is asked again.
    let receiver = Receiver::start(&home, &args);
    gone.wait_for(2);
    drop(receiver);
    assert_eq!(inbox(&home).backlog().unwrap().pending, 21);
}

#[test]
fn what_waits_for_too_long_is_a_dead_letter() {
    let home = Home::new();
    let sink = Sink::start(|_, call| if call.id() == "taken" { ("200 OK", vec![]) } else { ("400 No", vec![]) });
    let args = ["--forward-to", &sink.url, "--retry-wait", "0.05", "--max-age", "1s"];
    let receiver = Receiver::start(&home, &args);
    receiver.event("refused");
    receiver.event("taken");
    wait_until("it is given up", || inbox(&home).backlog().unwrap().dead == 1);
    assert_eq!(super::pending(&home), 0);
    let tries = attempts(&sink);
    assert!(tries["refused"] >= 2, "{tries:?}");
    assert_eq!(receiver.metric_of("dead_forwards_total", &sink.url), 1);
    wait_until("it is in the log", || {
        receiver.log().contains("dead-lettered, as it was queued for too long: HTTP 400")
    });
    assert_eq!(receiver.end().0, 0);
    assert_eq!((state(&home, "refused"), state(&home, "taken")), (EventState::Dead, EventState::Forwarded));
    let mut dead = Vec::new();
    let selection = EventSelection { dead: true, ..EventSelection::default() };
    inbox(&home)
        .events(&selection, EventPage::default(), &mut |event| {
            dead.push(event);
            true
        })
        .unwrap();
    assert_eq!((dead.len(), dead[0].id.as_str(), dead[0].error.as_deref()), (1, "refused", Some("HTTP 400")));
    // Put in line again from outside, it is tried again while the receiver runs.
    let receiver = Receiver::start(&home, &args);
    let before = sink.calls().iter().filter(|call| call.id() == "refused").count();
    assert_eq!(requeue(&mut *inbox(&home), &selection, jiff::Timestamp::now()), 1);
    wait_until("it is tried again", || sink.calls().iter().filter(|call| call.id() == "refused").count() > before);
    assert_eq!(receiver.end().0, 0);
}

#[test]
fn one_sick_target_does_not_hold_up_another() {
    let home = Home::new();
    let well = Arc::new(AtomicBool::new(false));
    let is_well = Arc::clone(&well);
    let sick = Sink::start(
        move |_, _| {
            if is_well.load(Ordering::Relaxed) { ("200 OK", vec![]) } else { ("503 Busy", vec![]) }
        },
    );
    let healthy = Sink::always("200 OK");
    let args =
        ["--forward-to", &sick.url, "--forward-to", &healthy.url, "--retry-wait", "0.01", "--max-in-flight", "2"];
    let receiver = Receiver::start(&home, &args);
    for number in 0..50 {
        receiver.event(number);
    }
    healthy.wait_for(50);
    assert!(sick.calls().len() <= 12, "{}", sick.calls().len());
    well.store(true, Ordering::Relaxed);
    wait_until("it is handed on there too", || super::pending(&home) == 0);
    let ids: std::collections::HashSet<_> = healthy.calls().iter().map(Call::id).collect();
    assert_eq!((ids.len(), healthy.calls().len(), sick.ids().len()), (50, 50, 50));
    assert_eq!(receiver.end().0, 0);
}
