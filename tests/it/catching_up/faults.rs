//! A server that fails, and people who interrupt.

use std::time::{Duration, Instant};

use super::*;
use crate::support::issue_server::Reply;
use crate::support::{Signal, free_address, signal};

/// An answer without more.
pub(super) fn status(status: &'static str) -> Reply {
    Reply::Status(status, Vec::new())
}

/// The longest pauses between requests for issues.
fn pauses(world: &World) -> Vec<Duration> {
    let times: Vec<Instant> = world.api.requests("/issues?").into_iter().map(|(at, _)| at).collect();
    times.windows(2).map(|pair| pair[1].duration_since(pair[0])).collect()
}

#[test]
fn what_fails_for_a_moment_is_asked_for_again() {
    World::each(|world| {
        world.without_receiver();
        world.api.make(APP, "crash", 350, ago(MINUTE));
        world.api.script(|ask, _| match ask.before {
            _ if !ask.is_for_issues() => None,
            1 => Some(Reply::Status("429 Too Many Requests", vec!["retry-after: 2"])),
            3 => Some(status("429 Too Many Requests")),
            5 => Some(Reply::Status("503 Service Unavailable", vec!["retry-after: 0"])),
            6 => Some(status("500 Internal Server Error")),
            7 => Some(status("502 Bad Gateway")),
            9 => Some(Reply::Cut),
            _ => None,
        });
        assert_eq!(world.fetched(&[]), 350);
        let pauses = pauses(world);
        assert!(pauses[1] >= Duration::from_secs(2) && pauses[1] < Duration::from_secs(4), "{pauses:?}");
        assert!(pauses[3] >= Duration::from_secs(1), "{pauses:?}");
        assert_eq!(world.events().len(), 350);
    });
}

#[test]
fn a_failure_that_stays_keeps_what_was_stored() {
    let world = World::on_sqlite();
    world.without_receiver();
    world.api.make(APP, "crash", 250, ago(MINUTE));
    world.api.script(|ask, _| (ask.is_for_issues() && ask.before >= 2).then(|| status("401 Unauthorized")));
    let run = world.fetch(&[]);
    assert_eq!(run.code, 4, "{run}");
    assert_eq!(world.events().len(), 200);
    assert!(!run.to_string().contains("token-of-the-tests"), "{run}");
    // As far as it was read in order.
    let cursor = world.cursor(APP, IssueList::Open).unwrap();
    assert!(cursor < ago(MINUTE), "{cursor}");
    world.api.unscript();
    assert_eq!(world.fetched(&["--look-back", "0"]), 50);
}

#[test]
fn a_server_that_is_gone_is_unavailable() {
    let world = World::on_sqlite();
    world.without_receiver();
    let gone = format!("http://{}", free_address());
    world.sql("registry.db", &format!("UPDATE hooks SET api_url = '{gone}'"));
    let run = world.home.run(["--api-url", &gone, "events", "fetch"]);
    assert_eq!(run.code, 7, "{run}");
    assert!(world.events().is_empty());
}

#[test]
fn a_token_that_ends_in_the_middle_is_renewed() {
    let world = World::on_sqlite();
    world.without_receiver();
    world.api.make(APP, "crash", 350, ago(MINUTE));
    let mut tokens = 0;
    world.api.script(move |ask, _| {
        if ask.line == "POST /auth/token" {
            tokens += 1;
            let token = format!("access-{tokens}");
            return Some(Reply::Object(json!({"access_token": token, "token_type": "Bearer", "expires_in": 3600})));
        }
        let is_old = ask.before >= 2 && ask.authorization == "Bearer access-1";
        (ask.is_for_issues() && is_old).then(|| status("401 Unauthorized"))
    });
    let World { home, api, database } = world;
    let home = home.unset("BUGFENDER_API_TOKEN");
    let world = World {
        home: home.set("BUGFENDER_CLIENT_ID", "service").set("BUGFENDER_CLIENT_SECRET", "s3cret-of-service"),
        api,
        database,
    };
    assert_eq!(world.fetched(&[]), 350);
    assert_eq!(world.api.requests("/auth/token").len(), 2);
}

#[test]
fn interrupted_the_next_run_goes_on() {
    World::each(|world| {
        world.without_receiver();
        world.api.make(APP, "crash", 550, ago(MINUTE));
        world.api.account().latency = Duration::from_millis(150);
        let child = world.home.spawn(&["events", "fetch"]);
        wait_until("something is stored", || !world.events().is_empty());
        signal(&child, Signal::INT);
        let run = Run::of(child.wait_with_output().unwrap());
        assert_eq!(run.code, 130, "{run}");
        let stored = world.events().len();
        assert!((100..550).contains(&stored), "{stored}");
        world.api.account().latency = Duration::ZERO;
        assert_eq!(world.fetched(&["--look-back", "0"]), 550 - stored as u64);
        assert_eq!(world.ids(Via::Poll).len(), 550);
    });
}

#[test]
fn a_pause_between_pages_is_made() {
    let world = World::on_sqlite();
    world.without_receiver();
    world.api.make(APP, "crash", 250, ago(MINUTE));
    assert_eq!(world.fetched(&["--page-pause", "1"]), 250);
    assert!(pauses(&world)[..2].iter().all(|pause| *pause >= Duration::from_secs(1)));
}
