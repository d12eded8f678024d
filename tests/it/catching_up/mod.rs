//! Catching up through the API, and hooks that may not deliver any more: the real binary, with a Bugfender of the tests' own.

mod beside;
mod drift;
mod faults;
mod ids;
mod kills;
mod lists;
mod memory;
mod starting;
mod story;

use bugfender_hooks::domain::delivery::Via;
use bugfender_hooks::domain::{ApiOrigin, AppId, IssueList};
use bugfender_hooks::store::{EventPage, EventRecord, EventSelection, Store};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::listen::Receiver;
use crate::listen::sink::Sink;
use crate::support::issue_server::IssueServer;
use crate::support::postgres::{Server, server, store_of};
use crate::support::{Home, Run, wait_until};

/// The app of most tests.
const APP: i64 = 30525;

const HOUR: SignedDuration = SignedDuration::from_hours(1);
const MINUTE: SignedDuration = SignedDuration::from_mins(1);

fn ago(duration: SignedDuration) -> Timestamp {
    Timestamp::now() - duration
}

/// A Bugfender, and somebody with a store who uses it.
struct World {
    home: Home,
    api: IssueServer,
    /// The database, if the store is in PostgreSQL.
    database: Option<(&'static Server, String)>,
}

impl World {
    fn on_sqlite() -> Self {
        let api = IssueServer::start();
        Self { home: Home::at(&api.url, "token-of-the-tests"), api, database: None }
    }

    fn on_postgres() -> Option<Self> {
        let server = server()?;
        let (api, database) = (IssueServer::start(), server.new_database());
        let home = Home::at(&api.url, "token-of-the-tests").set("BUGFENDER_HOOKS_STORE", &server.url(&database));
        Some(Self { home, api, database: Some((server, database)) })
    }

    /// One on each store.
    fn each(test: impl Fn(&Self)) {
        test(&Self::on_sqlite());
        if let Some(world) = Self::on_postgres() {
            test(&world);
        }
    }

    fn store(&self) -> Box<dyn Store> {
        store_of(&self.home, self.database.as_ref())
    }

    fn sql(&self, file: &str, sql: &str) {
        match &self.database {
            None => {
                let connection = rusqlite::Connection::open(self.home.data().join(file)).unwrap();
                connection.busy_timeout(crate::support::PATIENCE).unwrap();
                connection.execute_batch(sql).unwrap();
            }
            Some((server, database)) => {
                server.psql(database, &format!("SET search_path TO bugfender_hooks; {sql}"));
            }
        }
    }

    /// Makes the hooks on record older.
    fn age_hooks(&self, by: SignedDuration) {
        let units = if self.database.is_some() { 1_000_000 } else { 1 };
        let by = by.as_secs() * units;
        self.sql("registry.db", &format!("UPDATE hooks SET created_at = created_at - {by}"));
    }

    /// Makes the events that came, and when webhooks last brought some, older.
    fn age_arrivals(&self, by: SignedDuration) {
        let by = by.as_micros();
        self.sql("registry.inbox.db", &format!("UPDATE arrivals SET last_at = last_at - {by}"));
        self.sql("registry.inbox.db", &format!("UPDATE deliveries SET received_at = received_at - {by}"));
    }

    /// A receiver that is reached by `https://hooks.example.com`.
    fn receiver(&self, args: &[&str]) -> Receiver {
        let receiver = Receiver::start(&self.home, args);
        self.api.account().routed_to = Some(receiver.address.clone());
        receiver
    }

    /// Hooks that a receiver's events come by, made an hour ago.
    fn hooks(&self, receiver: &Receiver, events: &[&str]) {
        for event in events {
            self.subscribe(APP, event, receiver);
        }
        self.age_hooks(HOUR);
    }

    fn subscribe(&self, app: i64, event: &str, receiver: &Receiver) {
        let url = format!("https://hooks.example.com{}", receiver.path);
        self.home.subscribe(&app.to_string(), event, &url);
    }

    /// The receiver was there once, has hooks for crashes and issues, and is not there any more.
    fn without_receiver(&self) {
        let receiver = self.receiver(&[]);
        self.hooks(&receiver, &["new_crash", "new_issue_separate"]);
        self.end(receiver);
    }

    /// Ends a receiver, so that nobody is reached.
    fn end(&self, receiver: Receiver) -> String {
        let (code, log) = receiver.end();
        assert_eq!(code, 0, "{log}");
        self.api.account().routed_to = None;
        log
    }

    fn fetch(&self, args: &[&str]) -> Run {
        self.home.run([&["events", "fetch"], args].concat())
    }

    /// Fetches, which must succeed, and gives how many were new.
    fn fetched(&self, args: &[&str]) -> u64 {
        let rows = self.home.json(&[&["events", "fetch"], args].concat());
        rows.as_array().unwrap().iter().map(|row| row["new"].as_u64().unwrap()).sum()
    }

    fn events(&self) -> Vec<EventRecord> {
        let Some(inbox) = self.store().existing_inbox().unwrap() else { return Vec::new() };
        let mut events = Vec::new();
        let page = EventPage { with_json: true, ..EventPage::default() };
        let each = &mut |event| {
            events.push(event);
            true
        };
        inbox.events(&EventSelection::default(), page, each).unwrap();
        events
    }

    /// The ids of what came this way, sorted.
    fn ids(&self, via: Via) -> Vec<String> {
        sorted(self.events().into_iter().filter(|event| event.via == via).map(|event| event.id).collect())
    }

    /// Up to when a list of the app was read.
    fn cursor(&self, app: i64, list: IssueList) -> Option<Timestamp> {
        let origin: ApiOrigin = self.api.url.parse().unwrap();
        let inbox = self.store().existing_inbox().unwrap()?;
        inbox.polled_until(&origin, AppId::new(app).unwrap(), list).unwrap()
    }

    fn pending(&self) -> u64 {
        self.store().existing_inbox().unwrap().unwrap().backlog().unwrap().pending
    }

    /// The drift of all hooks, and the exit code.
    fn drift(&self, args: &[&str]) -> (Value, i32) {
        let run = self.home.run([&["drift", "--output", "json"], args].concat());
        (run.json(), run.code)
    }

    /// What the drift is, of those hooks that have some.
    fn drifts(&self, args: &[&str]) -> Vec<String> {
        let (rows, code) = self.drift(args);
        let kinds: Vec<String> =
            rows.as_array().unwrap().iter().map(|row| row["drift"].as_str().unwrap().to_owned()).collect();
        assert_eq!(code, if kinds.is_empty() { 0 } else { 10 }, "{rows}");
        kinds
    }
}

fn sorted(mut ids: Vec<String>) -> Vec<String> {
    ids.sort();
    ids
}

/// The ids of all events that arrived at a target, as often as they did, sorted.
fn arrived(sink: &Sink) -> Vec<String> {
    sorted(sink.arrivals())
}

/// Waits until the server was asked for issues again, from now on.
fn wait_for_a_round(world: &World) {
    let asked = world.api.requests("/issues?").len();
    // Both lists, and one that had begun before.
    wait_until("a round is made", || world.api.requests("/issues?").len() >= asked + 4);
}
