//! What other processes than the receiver change in the inbox, or learn of it, on both stores.

mod failing;
mod reread;
mod testing;

use bugfender_hooks::domain::delivery::Delivery;
use bugfender_hooks::store::{EventPage, EventRecord, EventSelection, Inbox, Store};
use serde_json::{Value, json};

use crate::listen::Receiver;
use crate::listen::sink::Sink;
use crate::support::inbox::{at, encoded, of_ids, unreadable};
use crate::support::postgres::{Server, server, store_of};
use crate::support::{Home, Run, wait_until};

/// Somebody with a store.
pub struct World {
    pub home: Home,
    /// The database, if the store is in PostgreSQL.
    database: Option<(&'static Server, String)>,
}

impl World {
    pub fn on_sqlite() -> Self {
        Self { home: Home::new(), database: None }
    }

    fn on_postgres() -> Option<Self> {
        let server = server()?;
        let database = server.new_database();
        let home = Home::new().set("BUGFENDER_HOOKS_STORE", &server.url(&database));
        Some(Self { home, database: Some((server, database)) })
    }

    /// One on each store.
    pub fn each(test: impl Fn(&Self)) {
        test(&Self::on_sqlite());
        if let Some(world) = Self::on_postgres() {
            test(&world);
        }
    }

    fn store(&self) -> Box<dyn Store> {
        store_of(&self.home, self.database.as_ref())
    }

    pub fn inbox(&self) -> Box<dyn Inbox> {
        self.store().existing_inbox().unwrap().unwrap()
    }

    /// Stores deliveries while nobody receives.
    pub fn commit(&self, deliveries: &[Delivery]) {
        self.store().receiver_inbox().unwrap().commit(&encoded(deliveries), &[]).unwrap();
    }

    pub fn receiver(&self, sinks: &[&Sink], args: &[&str]) -> Receiver {
        let to = sinks.iter().flat_map(|sink| ["--forward-to", sink.url.as_str()]);
        Receiver::start(&self.home, &to.chain(args.iter().copied()).collect::<Vec<_>>())
    }

    pub fn events(&self) -> Vec<EventRecord> {
        let mut events = Vec::new();
        let each = &mut |event| {
            events.push(event);
            true
        };
        self.inbox().events(&EventSelection::default(), EventPage::default(), each).unwrap();
        events
    }

    /// The numbers of what is in quarantine, newest first.
    pub fn quarantined(&self) -> Vec<i64> {
        self.inbox().quarantined(None, None).unwrap().iter().map(|found| found.number).collect()
    }

    /// The record of the target that is this sink.
    fn target(&self, sink: &Sink) -> Value {
        let origin = sink.url.trim_end_matches("/in");
        let targets = self.home.json(&["targets", "list"]);
        let found = targets.as_array().unwrap().iter().find(|one| one["name"].as_str().unwrap().starts_with(origin));
        found.unwrap_or_else(|| panic!("{targets}")).clone()
    }

    /// The name of the target that is this sink.
    fn name_of(&self, sink: &Sink) -> String {
        self.target(sink)["name"].as_str().unwrap().to_owned()
    }
}

/// The ids of all events that arrived at a target, as often as they did, sorted.
fn arrived(sink: &Sink) -> Vec<String> {
    let ids = |call: &crate::listen::sink::Call| {
        let events = call.json();
        events.as_array().unwrap().iter().map(|event| event["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let mut ids: Vec<String> = sink.calls().iter().flat_map(ids).collect();
    ids.sort();
    ids
}
