//! Many processes at once.

use std::collections::HashSet;

use crate::support::{Home, Run, SandboxServer};

const URL: &str = "https://hooks.example.com/bf";

fn finish(children: Vec<std::process::Child>) -> Vec<Run> {
    children.into_iter().map(|child| Run::of(child.wait_with_output().unwrap())).collect()
}

#[test]
fn many_that_subscribe_the_same_send_one_request() {
    let sandbox = SandboxServer::slow(200);
    let home = Home::of(&sandbox);
    let args = ["subscribe", "--app-id", "1", "--event", "new_crash", "--target-url", URL, "--output", "json"];
    let runs = finish((0..20).map(|_| home.spawn(&args)).collect());
    for run in &runs {
        assert_eq!(run.code, 0, "{run}");
        assert_eq!(run.json()[0]["hook_id"], 1, "{run}");
    }
    assert_eq!(runs.iter().filter(|run| run.json()[0]["created"] == true).count(), 1);
    assert_eq!(sandbox.hooks().len(), 1);
    assert_eq!(home.statuses(), ["active"]);
}

#[test]
fn when_the_first_is_refused_the_next_tries() {
    let sandbox = SandboxServer::with_faults(&["subscribe=403x1"]);
    let home = Home::of(&sandbox);
    let args = ["subscribe", "--app-id", "1", "--event", "new_crash", "--target-url", URL];
    let codes: Vec<i32> = finish((0..6).map(|_| home.spawn(&args)).collect()).iter().map(|run| run.code).collect();
    assert_eq!(codes.iter().filter(|code| **code == 5).count(), 1, "{codes:?}");
    assert_eq!(codes.iter().filter(|code| **code == 0).count(), 5, "{codes:?}");
    assert_eq!(sandbox.hooks().len(), 1);
}

#[test]
fn many_at_once_lose_nothing() {
    let sandbox = SandboxServer::start();
    let home = Home::of(&sandbox);
    // The registry does not exist yet: they also race to make it.
    let spawn = |index: usize| {
        let target = format!("{URL}/{index}");
        home.spawn(&["subscribe", "--app-id", "1", "--event", "all", "--target-url", &target, "-q"])
    };
    let runs = finish((0..30).map(spawn).collect());
    let mut ids = HashSet::new();
    for run in &runs {
        assert_eq!(run.code, 0, "{run}");
        ids.extend(run.stdout.lines().map(str::to_owned));
    }
    assert_eq!(ids.len(), 90);
    assert_eq!(home.statuses(), vec!["active"; 90]);

    // Several remove everything at the same time: each hook is removed once, and everybody is content.
    let runs = finish((0..4).map(|_| home.spawn(&["unsubscribe", "--all", "--yes"])).collect());
    for run in &runs {
        assert_eq!(run.code, 0, "{run}");
    }
    assert!(sandbox.hooks().is_empty());
    let statuses: HashSet<String> = home.statuses().into_iter().collect();
    assert_eq!(statuses, HashSet::from(["removed".to_owned()]));
}
