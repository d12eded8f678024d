//! Killed at any time and run again, or run many at once: one hook, on record and at the server, and at no moment none.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{CRASHES, URL};
use crate::support::bugfender::{Bugfender, Trouble};
use crate::support::postgres::server;
use crate::support::{Home, Run, Signal, signal, wait_until};

/// How many runs are killed at times that nobody chose.
const KILLS: u32 = 60;

/// Replaces two hooks.
const TWO: [&str; 8] =
    ["subscribe", "--replace", "--app-id", "1", "--event", "new_crash,new_user_feedback", "--target-url", URL];

/// A server, what is on record of its hooks, and how to end the time that killed processes had left.
struct Scene<'a> {
    bugfender: &'a Bugfender,
    home: &'a Home,
    end_time: &'a dyn Fn(),
}

/// Tells a story on both backends.
fn on_both(story: impl Fn(&Scene<'_>)) {
    let bugfender = Bugfender::start(Trouble::default());
    story(&Scene { bugfender: &bugfender, home: &Home::at(&bugfender.url, "t"), end_time: &|| {} });
    let Some(server) = server() else { return };
    let database = server.new_database();
    let bugfender = Bugfender::start(Trouble::default());
    let home = Home::at(&bugfender.url, "t").set("BUGFENDER_HOOKS_STORE", &server.url(&database));
    let end_time = || {
        let owners = "UPDATE bugfender_hooks.hooks SET owned_until = now() WHERE owned_until IS NOT NULL";
        server.psql(&database, owners);
    };
    story(&Scene { bugfender: &bugfender, home: &home, end_time: &end_time });
}

impl Scene<'_> {
    fn hooks(&self) -> Vec<i64> {
        self.bugfender.hooks().into_keys().collect()
    }

    fn on_record(&self) -> Vec<(Option<i64>, String)> {
        super::on_record(self.home)
    }

    /// Kills a run at the moment when the server holds back the answer to its request after this many.
    fn kill_after(&self, requests: usize, args: &[&str]) {
        let due = self.bugfender.requests() + requests + 1;
        self.bugfender.hold_after(requests);
        let mut child = self.home.spawn(args);
        wait_until("it was carried out", || self.bugfender.requests() == due && self.bugfender.is_holding());
        child.kill().unwrap();
        child.wait().unwrap();
        self.bugfender.go_on();
        (self.end_time)();
    }
}

#[test]
fn killed_once_the_new_hook_is_there() {
    on_both(|scene| {
        scene.home.json(&["subscribe", "--app-id", "1", "--event", "new_crash,new_user_feedback", "--target-url", URL]);
        // The first new hook is on record by then, and nothing was removed.
        scene.kill_after(1, &TWO);
        assert_eq!(scene.hooks(), [1, 2, 3, 4]);
        let active = |hook| (Some(hook), "active".to_owned());
        assert_eq!(scene.on_record(), [active(1), active(3), active(2), (None, "unknown".to_owned())]);

        let run = scene.home.run(TWO.iter().chain(&["--output", "json"]));
        // The first is finished; of the other it is not known, and it is not sent twice.
        assert_eq!(run.code, 8, "{run}");
        assert!(run.stderr.contains("hook 3 has taken the place of hook 1 already"), "{run}");
        assert!(run.stderr.contains("the process that was subscribing ended without an answer"), "{run}");
        assert!(run.stderr.contains("import HOOK_ID --app-id 1 --event new_user_feedback"), "{run}");
        assert_eq!((&run.json()[0]["replaced"], &run.json()[1]["status"]), (&1.into(), &"unknown".into()));
        assert_eq!(scene.hooks(), [2, 3, 4]);

        scene.home.json(&["import", "4", "--app-id", "1", "--event", "new_user_feedback", "--target-url", URL]);
        let run = scene.home.run(["subscribe", "--replace", "--id", "2", "--output", "json"]);
        assert_eq!((run.code, &run.json()[0]["replaced"]), (0, &2.into()), "{run}");
        assert_eq!(scene.hooks(), [3, 4]);
        assert_eq!(scene.bugfender.gaps(), []);
        let removed = |hook| (Some(hook), "removed".to_owned());
        assert_eq!(scene.on_record(), [removed(1), active(3), removed(2), active(4)]);
    });
}

#[test]
fn killed_while_the_old_hook_goes() {
    on_both(|scene| {
        scene.home.json(&CRASHES);
        scene.kill_after(1, &[&CRASHES[..], &["--replace"]].concat());
        assert_eq!(scene.on_record(), [(Some(1), "removing".to_owned()), (Some(2), "active".to_owned())]);
        let run = super::replace(scene.home, &["--output", "json"]);
        assert_eq!(
            (run.code, &run.json()[0]["hook_id"], &run.json()[0]["replaced"]),
            (0, &2.into(), &1.into()),
            "{run}"
        );
        assert_eq!((scene.hooks(), scene.bugfender.gaps()), (vec![2], vec![]));
        assert_eq!(scene.on_record(), [(Some(1), "removed".to_owned()), (Some(2), "active".to_owned())]);
    });
}

#[test]
fn interrupted_between_two_hooks() {
    on_both(|scene| {
        scene.home.json(&["subscribe", "--app-id", "1", "--event", "new_crash,new_user_feedback", "--target-url", URL]);
        scene.bugfender.hold_after(1);
        let child = scene.home.spawn(&TWO);
        wait_until("it was carried out", || scene.bugfender.requests() == 4 && scene.bugfender.is_holding());
        signal(&child, Signal::INT);
        let run = Run::of(child.wait_with_output().unwrap());
        scene.bugfender.go_on();
        assert_eq!(run.code, 130, "{run}");
        assert!(run.stderr.contains("run the same command again, and they are removed"), "{run}");
        assert_eq!(scene.home.json(&["list"]).as_array().unwrap().len(), 4);
    });
}

#[test]
fn killed_at_any_time() {
    on_both(|scene| {
        scene.bugfender.set(Trouble { latency: std::time::Duration::from_millis(2), ..Trouble::default() });
        scene.home.json(&CRASHES);
        let args = [&CRASHES[..], &["--replace"]].concat();
        let start = std::time::Instant::now();
        assert_eq!(scene.home.run(&args).code, 0);
        let whole = start.elapsed();
        let mut interrupted = 0;
        for kill in 0..KILLS {
            let mut child = scene.home.spawn(&args);
            // Not a wait for something: the moment of death is what varies.
            std::thread::sleep(whole * (kill * 7 % 40) / 40);
            interrupted += u32::from(child.try_wait().unwrap().is_none());
            child.kill().unwrap();
            child.wait().unwrap();
            (scene.end_time)();
            settle(scene);
        }
        assert!(interrupted > KILLS / 4, "only {interrupted} were at work when they were killed");
        assert_eq!(scene.bugfender.gaps(), []);
    });
}

#[test]
fn many_at_once_take_turns() {
    on_both(|scene| {
        scene.home.json(&CRASHES);
        scene.bugfender.set(Trouble { latency: std::time::Duration::from_millis(30), ..Trouble::default() });
        let args = [&CRASHES[..], &["--replace", "--output", "json"]].concat();
        let children: Vec<_> = (0..6).map(|_| scene.home.spawn(&args)).collect();
        let runs: Vec<Run> = children.into_iter().map(|child| Run::of(child.wait_with_output().unwrap())).collect();
        let shown = runs.iter().map(Run::to_string).collect::<String>();
        assert!(runs.iter().all(|run| run.code == 0), "{shown}");
        assert!(runs.iter().all(|run| run.json()[0]["replaced"].is_i64()), "{shown}");
        // Those that looked when the first had ended replaced its hook again.
        let made = runs.iter().filter(|run| run.json()[0]["created"] == true).count();
        let last = i64::try_from(made).unwrap() + 1;
        assert_eq!((scene.hooks(), scene.bugfender.gaps()), (vec![last], vec![]), "{shown}");
        assert_eq!(scene.home.json(&["list"])[0]["hook_id"].as_i64(), Some(last));
    });
}

/// Runs it until it is done, and does for what is unknown what the errors say. There is one hook then.
fn settle(scene: &Scene<'_>) {
    let mut runs = Vec::new();
    loop {
        let run = super::replace(scene.home, &[]);
        let code = run.code;
        runs.push(run);
        match code {
            0 => break,
            8 => resolve(scene),
            _ => {}
        }
        assert!(runs.len() < 5, "{}", runs.iter().map(Run::to_string).collect::<String>());
    }
    let on_record = scene.home.json(&["list"]);
    let ids: Vec<i64> = on_record.as_array().unwrap().iter().filter_map(|row| row["hook_id"].as_i64()).collect();
    assert_eq!((scene.hooks(), ids.len()), (ids, 1), "{}", runs.iter().map(Run::to_string).collect::<String>());
}

/// Looks for the unknown hook in the dashboard, and records what is found.
fn resolve(scene: &Scene<'_>) {
    let rows = scene.home.json(&["list"]);
    let known: BTreeSet<i64> =
        rows.as_array().unwrap().iter().filter_map(|row: &Value| row["hook_id"].as_i64()).collect();
    let unknown = scene.hooks().into_iter().find(|hook| !known.contains(hook)).map(|hook| hook.to_string());
    let run = match &unknown {
        Some(hook) => scene.home.run([&["import", hook.as_str()], &CRASHES[1..]].concat()),
        None => scene.home.run([&["forget", "--yes", "--status", "unknown"], &CRASHES[1..]].concat()),
    };
    assert_eq!(run.code, 0, "{run}");
}
