//! The receiver as it is measured against.
//!
//! `nothing` stores nothing: the limit of what the server can answer. `single` commits each delivery by itself, and
//! answers it then.

use std::path::Path;
use std::time::Duration;

use bugfender_hooks::domain::Secret;
use bugfender_hooks::domain::delivery::{Delivery, DeliveryKeys};
use bugfender_hooks::platform::StopSignals;
use bugfender_hooks::receiver::{self, Limits, Receiver, ReceiverOptions};
use bugfender_hooks::store::sqlite::SqliteStore;
use bugfender_hooks::store::{
    Backlog, ClaimRequest, EventCount, EventPage, EventRecord, EventSelection, Forward, ForwardId, Inbox, PurgeRule,
    Purged, Quarantined, Receipt, Registry, Route, Settlement, Store, StoreError, TargetId, TargetName,
};
use jiff::Timestamp;

const USAGE: &str = "usage: receiver nothing|single ADDRESS KEY STORE";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [mode, address, key, path] = arguments.as_slice() else {
        return Err(USAGE.into());
    };
    let store = SqliteStore::at(Path::new(path));
    let (store, max_group): (Box<dyn Store>, _) = match mode.as_str() {
        "nothing" => (Box::new(Nothing(store)), Limits::default().max_group),
        "single" => (Box::new(store), 1),
        _ => return Err(USAGE.into()),
    };
    let delivery_keys = DeliveryKeys::new(&Secret::parse("the key", key)?, Vec::new())?;
    let options =
        ReceiverOptions { limits: Limits { max_group, ..Limits::default() }, ..ReceiverOptions::new(delivery_keys) };
    let threads = std::thread::available_parallelism()?.get().min(4);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build()?;
    runtime.block_on(async {
        let listener = receiver::bind(address.parse()?).await?;
        let receiver = Receiver::open(&*store, options)?;
        let mut signals = StopSignals::listen()?;
        let stop = async move {
            let _ = signals.next().await;
        };
        tokio::spawn(receiver.serve(listener, stop)).await?;
        Ok(())
    })
}

/// A store whose inbox keeps nothing.
struct Nothing(SqliteStore);

impl Store for Nothing {
    fn registry(&self) -> Result<Box<dyn Registry>, StoreError> {
        self.0.registry()
    }

    fn existing_registry(&self, patience: Option<Duration>) -> Result<Option<Box<dyn Registry>>, StoreError> {
        self.0.existing_registry(patience)
    }

    fn inbox(&self) -> Result<Box<dyn Inbox>, StoreError> {
        Ok(Box::new(KeepsNothing(self.0.inbox()?)))
    }

    fn existing_inbox(&self) -> Result<Option<Box<dyn Inbox>>, StoreError> {
        self.0.existing_inbox()
    }
}

struct KeepsNothing(Box<dyn Inbox>);

impl Inbox for KeepsNothing {
    fn begin_receiving(&mut self) -> Result<(), StoreError> {
        self.0.begin_receiving()
    }

    fn targets(&mut self, names: &[TargetName]) -> Result<Vec<TargetId>, StoreError> {
        self.0.targets(names)
    }

    fn commit_deliveries(&mut self, deliveries: &[Delivery], _routes: &[Route]) -> Result<Vec<Receipt>, StoreError> {
        Ok(deliveries.iter().map(|delivery| Receipt { events: vec![None; delivery.events().len()] }).collect())
    }

    fn claim_forwards(
        &mut self,
        target: TargetId,
        now: Timestamp,
        request: ClaimRequest,
    ) -> Result<Vec<Forward>, StoreError> {
        self.0.claim_forwards(target, now, request)
    }

    fn waiting(&self) -> Result<Vec<(TargetId, String, u64)>, StoreError> {
        self.0.waiting()
    }

    fn next_due(&self, target: TargetId) -> Result<Option<Timestamp>, StoreError> {
        self.0.next_due(target)
    }

    fn settle_forwards(&mut self, settlements: &[Settlement]) -> Result<(), StoreError> {
        self.0.settle_forwards(settlements)
    }

    fn release_forwards(&mut self, forwards: &[ForwardId]) {
        self.0.release_forwards(forwards);
    }

    fn expire_forwards(&mut self, queued_before: Timestamp) -> Result<Vec<(String, u64)>, StoreError> {
        self.0.expire_forwards(queued_before)
    }

    fn requeue_forwards(&mut self, selection: &EventSelection, now: Timestamp) -> Result<u64, StoreError> {
        self.0.requeue_forwards(selection, now)
    }

    fn backlog(&self) -> Result<Backlog, StoreError> {
        self.0.backlog()
    }

    fn events(
        &self,
        selection: &EventSelection,
        page: EventPage,
        each: &mut dyn FnMut(EventRecord) -> bool,
    ) -> Result<(), StoreError> {
        self.0.events(selection, page, each)
    }

    fn count_events(&self, selection: &EventSelection) -> Result<Vec<EventCount>, StoreError> {
        self.0.count_events(selection)
    }

    fn quarantined(&self, number: Option<i64>, limit: Option<u64>) -> Result<Vec<Quarantined>, StoreError> {
        self.0.quarantined(number, limit)
    }

    fn purge(&mut self, rule: &PurgeRule) -> Result<Purged, StoreError> {
        self.0.purge(rule)
    }

    fn maintain(&mut self) -> Result<(), StoreError> {
        self.0.maintain()
    }

    fn probe(&mut self) -> Result<(), StoreError> {
        self.0.probe()
    }

    fn check(&self) -> Result<(), StoreError> {
        self.0.check()
    }
}
