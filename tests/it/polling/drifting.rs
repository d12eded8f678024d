//! Hooks that may not deliver any more.

use serde_json::{Value, json};

use super::{APP, fetched, home, on_postgresql, on_sqlite, subscribe};
use crate::listen::Receiver;
use crate::listen::sink::Sink;
use crate::support::issue_api::{IssueApi, Listing};
use crate::support::{Home, Run, free_address, wait_until};

fn drift(home: &Home, args: &[&str]) -> (Run, Vec<String>) {
    let run = home.run(["drift", "--output", "json"].iter().chain(args));
    let kinds = run.json().as_array().unwrap().iter().map(|row| row["drift"].as_str().unwrap().to_owned()).collect();
    (run, kinds)
}

fn a_dead_hook_is_found_and_made_anew(api: &IssueApi, home: &Home) {
    let receiver = Receiver::start(home, &[]);
    subscribe(home, &receiver, "new_crash");
    api.emit(APP, "crash", 1);
    let listed = home.json(&["list"])[0].clone();
    assert!(!listed["last_event_at"].is_null() && listed["last_event_at"] == listed["verified_at"], "{listed}");
    assert_eq!(listed["shares_events"], false);
    let (run, kinds) = drift(home, &[]);
    assert_eq!((run.code, kinds.len()), (0, 0), "{run}");
    api.deactivate_all();
    api.emit(APP, "crash", 4);
    fetched(home, &[]);
    let (run, kinds) = drift(home, &[]);
    assert_eq!((run.code, kinds), (10, vec!["missed".to_owned()]), "{run}");
    assert!(run.json()[0]["detail"].as_str().unwrap().starts_with("4 events that no webhook brought"), "{run}");
    assert_eq!(home.run(["drift", "--exit-zero"]).code, 0);
    assert_eq!(drift(home, &["--event", "new_user_feedback"]).0.code, 0);
    // Made anew, it is as good as its first event.
    let id = run.json()[0]["hook_id"].to_string();
    let replaced = home.run(["subscribe", "--replace", "--id", &id]);
    assert_eq!((replaced.code, api.active_hooks()), (0, 1), "{replaced}");
    assert_eq!(drift(home, &[]).0.code, 0);
    api.emit(APP, "crash", 1);
    assert_eq!(drift(home, &[]).0.code, 0);
    assert_eq!(receiver.end().0, 0);
}

#[test]
fn a_dead_hook_is_found_on_sqlite() {
    on_sqlite(a_dead_hook_is_found_and_made_anew);
}

#[test]
fn a_dead_hook_is_found_on_postgresql() {
    on_postgresql(a_dead_hook_is_found_and_made_anew);
}

#[test]
fn groups_of_issues_tell_too() {
    let api = IssueApi::start();
    let home = home(&api);
    let receiver = Receiver::start(&home, &[]);
    subscribe(&home, &receiver, "new_crash");
    api.deactivate_all();
    api.emit(APP, "crash", 4);
    api.set(Listing { status: 403, ..Listing::default() });
    assert_eq!(fetched(&home, &[])["silent_groups"], json!({"crash": 1}));
    let (run, kinds) = drift(&home, &[]);
    assert_eq!((run.code, kinds), (10, vec!["missed".to_owned()]), "{run}");
    assert_eq!(receiver.end().0, 0);
}

#[test]
fn a_webhook_that_comes_later_clears_it() {
    let api = IssueApi::start();
    let home = home(&api);
    let receiver = Receiver::start(&home, &[]);
    subscribe(&home, &receiver, "new_crash");
    let address = receiver.address.clone();
    assert_eq!(receiver.end().0, 0);
    // It came while nothing listened, and is no sign for ever.
    api.emit(APP, "crash", 1);
    fetched(&home, &[]);
    assert_eq!(drift(&home, &[]).1, ["missed"]);
    let receiver = Receiver::start_at(&home, &address, &[]);
    let soon = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(1);
    wait_until("a second is over", || jiff::Timestamp::now() > soon);
    api.emit(APP, "crash", 1);
    assert_eq!(drift(&home, &[]).0.code, 0);
    assert_eq!(receiver.end().0, 0);
}

#[test]
fn every_kind_of_drift_is_told() {
    let api = IssueApi::start();
    let home = home(&api);
    let receiver = Receiver::start(&home, &[]);
    let (sink, closed) = (Sink::always("404 Not Found"), free_address());
    let own = format!("http://{}{}", receiver.address, receiver.path);
    let subscribe = |app: &str, url: &str| home.subscribe(app, "new_crash", url);
    subscribe("1", &own);
    subscribe("2", &format!("http://{closed}/secret-path"));
    subscribe("3", &sink.url);
    subscribe("4", &sink.url);
    let removed = home.run(["unsubscribe", "--app-id", "4", "--yes"]);
    assert_eq!(removed.code, 0, "{removed}");
    let rows = rusqlite::Connection::open(home.registry()).unwrap();
    rows.execute("UPDATE hooks SET created_at = created_at - 864000 WHERE app_id = 1", []).unwrap();
    rows.execute("INSERT INTO hooks (id, api_url, hook_id, app_id, event, target_url, status, created_at, updated_at)
                  SELECT 100, api_url, 99, 5, event, target_url, 'gone', created_at, updated_at FROM hooks WHERE app_id = 3", []).unwrap();
    rows.execute("INSERT INTO hooks (id, api_url, app_id, event, target_url, status, reason, created_at, updated_at)
                  SELECT 101, api_url, 6, event, target_url, 'unknown', 'x', created_at, updated_at FROM hooks WHERE app_id = 3", []).unwrap();
    drop(rows);
    let by_app = |run: &Run| -> Vec<(i64, String)> {
        let row = |row: &Value| (row["app_id"].as_i64().unwrap(), row["drift"].as_str().unwrap().to_owned());
        run.json().as_array().unwrap().iter().map(row).collect()
    };
    let found = |list: &[(i64, &str)]| list.iter().map(|(app, drift)| (*app, (*drift).to_owned())).collect::<Vec<_>>();
    let run = drift(&home, &[]).0;
    assert_eq!(by_app(&run), found(&[(1, "silent"), (5, "ended"), (6, "unknown")]));
    assert!(run.stderr.contains("2 hooks deliver elsewhere"), "{run}");
    let run = drift(&home, &["--probe", "--silent-for", "30d"]).0;
    assert_eq!(by_app(&run), found(&[(2, "unreachable"), (3, "unreachable"), (5, "ended"), (6, "unknown")]));
    assert_eq!(sink.calls().len(), 1, "a shared endpoint is called once");
    assert_eq!(sink.calls()[0].body, "[]");
    let details = ["0", "1"].map(|index: &str| run.json()[index.parse::<usize>().unwrap()]["detail"].to_string());
    assert!(!details.concat().contains("secret-path"), "{run}");
    assert_eq!(receiver.end().0, 0);
}

#[test]
fn of_two_hooks_for_the_same_it_is_not_known_which_delivers() {
    let api = IssueApi::start();
    let home = home(&api);
    let receiver = Receiver::start(&home, &[]);
    subscribe(&home, &receiver, "new_crash");
    home.subscribe(&APP.to_string(), "new_crash", "https://elsewhere.example.com/x");
    api.deactivate_all();
    receiver.post(json!([{"id": "a", "type": "crash", "app": {"id": APP}}]).to_string());
    for row in home.json(&["list"]).as_array().unwrap() {
        assert_eq!((&row["shares_events"], &row["verified_at"]), (&json!(true), &Value::Null));
        assert!(!row["last_event_at"].is_null());
    }
    wait_until("both are silent", || drift(&home, &["--silent-for", "1s"]).1.len() == 2);
    let (run, kinds) = drift(&home, &["--silent-for", "1s"]);
    assert_eq!(kinds, ["silent", "silent"]);
    assert!(run.stdout.contains("which of the hooks for this app and event is not known"), "{run}");
    assert_eq!(receiver.end().0, 0);
}
