//! Events that no webhook brought: fetched through the API, once, whatever happens.

mod drifting;
mod fetching;
mod ids;
mod kills;
mod story;

use std::collections::BTreeMap;

use serde_json::Value;

use crate::listen::Receiver;
use crate::support::issue_api::IssueApi;
use crate::support::postgres::{Server, server};
use crate::support::{Home, Run};

/// The app of most tests.
const APP: i64 = 1001;

fn home(api: &IssueApi) -> Home {
    Home::at(&api.url, "t")
}

/// A home whose store is in a new database, which the test's PostgreSQL server has.
fn home_on_postgres(api: &IssueApi) -> Option<(Home, &'static Server, String)> {
    let server = server()?;
    let database = server.new_database();
    let home = home(api).set("BUGFENDER_HOOKS_STORE", &server.url(&database));
    Some((home, server, database))
}

/// Tells a story with a store in files.
fn on_sqlite(story: fn(&IssueApi, &Home)) {
    let api = IssueApi::start();
    story(&api, &home(&api));
}

/// Tells it with a store in PostgreSQL.
fn on_postgresql(story: fn(&IssueApi, &Home)) {
    let api = IssueApi::start();
    let Some((home, ..)) = home_on_postgres(&api) else { return };
    story(&api, &home);
}

/// A hook of the receiver for all crashes of the app.
fn subscribe(home: &Home, receiver: &Receiver, event: &str) {
    home.subscribe(&APP.to_string(), event, &format!("http://{}{}", receiver.address, receiver.path));
}

fn fetch(home: &Home, args: &[&str]) -> Run {
    home.run(["events", "fetch", "--output", "json"].iter().chain(args))
}

/// What came of the only app.
fn fetched(home: &Home, args: &[&str]) -> Value {
    let run = fetch(home, args);
    assert_eq!(run.code, 0, "{run}");
    run.json()[0].clone()
}

/// The numbers of a row: found, known, left out, new.
fn numbers(row: &Value) -> [u64; 4] {
    ["found", "known", "left_out", "new"].map(|key| row[key].as_u64().unwrap())
}

/// How each event of the inbox came, by its id. None is there twice.
fn inbox(home: &Home) -> BTreeMap<String, String> {
    let events = home.json(&["events", "list", "--limit", "0"]);
    let (events, mut found) = (events.as_array().unwrap().clone(), BTreeMap::new());
    for event in events {
        let (id, via) = (event["id"].as_str().unwrap().to_owned(), event["via"].as_str().unwrap().to_owned());
        assert_eq!(found.insert(id, via), None, "{event}");
    }
    found
}

/// How many events came so.
fn came(home: &Home, via: &str) -> usize {
    inbox(home).values().filter(|known| *known == via).count()
}
