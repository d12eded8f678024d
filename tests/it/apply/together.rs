//! Several at once: one hook for each that is named, whoever makes it.

use std::time::Duration;

use super::{apply, for_apps, hooks_on_record};
use crate::support::bugfender::{Bugfender, Trouble};
use crate::support::postgres::server;
use crate::support::{Home, Run, Signal, signal, wait_for_line, wait_until};

const SLOW: Trouble = Trouble {
    unavailable: 0,
    too_fast: 0,
    broken: 0,
    cut_short: 0,
    refused: 0,
    most_at_once: None,
    latency: Duration::from_millis(100),
};

const ARGUMENTS: [&str; 7] = ["apply", "-f", "hooks.toml", "--yes", "--initial", "--concurrency", "2"];

#[test]
fn two_homes_on_one_postgresql() {
    let Some(server) = server() else { return };
    let store = server.url(&server.new_database());
    let bugfender = Bugfender::start(SLOW);
    let homes: Vec<Home> = (0..2).map(|_| Home::at(&bugfender.url, "t").set("BUGFENDER_HOOKS_STORE", &store)).collect();
    apply_together(&bugfender, &homes.iter().collect::<Vec<_>>());
}

#[test]
fn three_on_one_sqlite_file() {
    let bugfender = Bugfender::start(SLOW);
    let home = Home::at(&bugfender.url, "t");
    apply_together(&bugfender, &[&home, &home, &home]);
}

fn apply_together(bugfender: &Bugfender, homes: &[&Home]) {
    // Before any of them reads it.
    for home in homes {
        for_apps(1..=8).write(home);
    }
    let children: Vec<_> = homes.iter().map(|home| home.spawn(&ARGUMENTS)).collect();
    let runs: Vec<Run> = children.into_iter().map(|child| Run::of(child.wait_with_output().unwrap())).collect();
    for run in &runs {
        assert_eq!(run.code, 0, "{run}");
    }
    assert_eq!(bugfender.hooks().len(), 8);
    assert_eq!(bugfender.requests(), 8);
    assert_eq!(hooks_on_record(homes[0]).len(), 8);
    // All but one waited, and said for whom.
    let waited = runs.iter().filter(|run| run.stderr.contains("has been applying mobile since")).count();
    assert!(waited < homes.len(), "{runs:?}");
}

#[test]
fn who_waits_for_too_long_says_for_whom() {
    let bugfender = Bugfender::start(Trouble { latency: Duration::from_secs(20), ..SLOW });
    let home = Home::at(&bugfender.url, "t").set("CI_JOB_URL", "https://ci.example.com/job/7");
    for_apps(1..=1).write(&home);
    let mut first = home.spawn(&ARGUMENTS);
    wait_until("the first is at work", || bugfender.requests() == 1);
    let run = apply(&home, &["--yes", "--lock-timeout", "0"]);
    assert_eq!(run.code, 9, "{run}");
    assert!(run.stderr.contains("https://ci.example.com/job/7 has been applying mobile since 20"), "{run}");
    // The lock of one that is killed is free at once.
    first.kill().unwrap();
    first.wait().unwrap();
    let run = apply(&home, &["--yes", "--lock-timeout", "0"]);
    assert_eq!(run.code, 8, "{run}");
}

#[test]
fn an_interruption_leaves_what_is_in_flight_in_doubt_and_says_so() {
    let bugfender = Bugfender::start(Trouble { latency: Duration::from_secs(20), ..SLOW });
    let home = Home::at(&bugfender.url, "t");
    for_apps(1..=6).write(&home);
    let mut first = home.spawn(&ARGUMENTS);
    wait_until("it is at work", || bugfender.requests() == 2);
    signal(&first, Signal::INT);
    wait_for_line(&mut first, "interrupt again not to wait");
    signal(&first, Signal::INT);
    let run = Run::of(first.wait_with_output().unwrap());
    assert_eq!(run.code, 130, "{run}");
    assert!(run.stdout.contains("mobile: 2 unknown, 4 skipped."), "{run}");
    assert_eq!(home.statuses(), ["unknown", "unknown"]);
}

#[test]
fn an_interruption_waits_for_answers_that_come_soon() {
    let bugfender = Bugfender::start(Trouble { latency: Duration::from_millis(700), ..SLOW });
    let home = Home::at(&bugfender.url, "t");
    for_apps(1..=6).write(&home);
    let first = home.spawn(&ARGUMENTS);
    wait_until("it is at work", || bugfender.requests() == 2);
    signal(&first, Signal::TERM);
    let run = Run::of(first.wait_with_output().unwrap());
    assert_eq!(run.code, 130, "{run}");
    assert!(run.stdout.contains("mobile: 2 created, 4 skipped."), "{run}");
    assert!(run.stderr.contains("waiting for the answers to 2 requests"), "{run}");
    assert_eq!((bugfender.hooks().len(), home.statuses()), (2, vec!["active".to_owned(); 2]));
    // Nothing is in doubt: the next run makes the rest.
    let run = apply(&home, &["--yes"]);
    assert_eq!((run.code, bugfender.hooks().len(), bugfender.requests()), (0, 6, 6), "{run}");
}

#[test]
fn who_waits_goes_on_when_the_other_has_ended() {
    let bugfender = Bugfender::start(Trouble { latency: Duration::from_millis(500), ..SLOW });
    let home = Home::at(&bugfender.url, "t");
    for_apps(1..=1).write(&home);
    let first = home.spawn(&ARGUMENTS);
    wait_until("the first is at work", || bugfender.requests() == 1);
    for_apps(1..=2).write(&home);
    let mut second = home.spawn(&ARGUMENTS);
    wait_for_line(&mut second, "has been applying mobile since");
    assert_eq!(second.wait().unwrap().code(), Some(0));
    assert_eq!(first.wait_with_output().unwrap().status.code(), Some(0));
    assert_eq!((bugfender.hooks().len(), bugfender.requests()), (2, 2));
}
