//! The receiver with another inbox behind it: what it is measured against.
//!
//! `nothing` stores nothing: the limit of what the server can answer. `single` commits each delivery by itself.

use std::path::Path;
use std::time::Duration;

use bugfender_hooks::domain::Secret;
use bugfender_hooks::domain::delivery::{Delivery, Gate};
use bugfender_hooks::platform::StopSignals;
use bugfender_hooks::receiver::{self, Access, Limits, Options, Policy, Receiver};
use bugfender_hooks::store::sqlite::SqliteStore;
use bugfender_hooks::store::{
    Backlog, EventCount, EventPage, EventRecord, EventSelection, Forward, ForwardId, Inbox, PurgeRule, Purged,
    Quarantined, Receipt, Registry, Route, Settlement, Store, StoreError, TargetId, TargetName, Wish,
};
use jiff::Timestamp;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [mode, address, key, path] = arguments.as_slice() else {
        return Err("usage: receiver nothing|single ADDRESS KEY STORE".into());
    };
    let store = Behind { store: SqliteStore::at(Path::new(path)), stores: mode == "single" };
    let options = Options {
        gate: Gate::new(&Secret::parse("the key", key)?, Vec::new())?,
        access: Access::default(),
        limits: Limits::default(),
        redaction: None,
        tls: None,
        targets: Vec::new(),
        policy: Policy::default(),
        retention: None,
        drain_timeout: Duration::from_secs(1),
    };
    let threads = std::thread::available_parallelism()?.get().min(4);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build()?;
    runtime.block_on(async {
        let listener = receiver::bind(address.parse()?).await?;
        let receiver = Receiver::open(&store, options)?;
        let mut signals = StopSignals::listen()?;
        let stop = async move {
            let _ = signals.next().await;
        };
        tokio::spawn(receiver.serve(listener, stop, None)).await?;
        Ok(())
    })
}

/// A store whose inbox is not used as it is meant to be.
struct Behind {
    store: SqliteStore,
    stores: bool,
}

impl Store for Behind {
    fn registry(&self) -> Result<Box<dyn Registry>, StoreError> {
        self.store.registry()
    }

    fn existing_registry(&self) -> Result<Option<Box<dyn Registry>>, StoreError> {
        self.store.existing_registry()
    }

    fn inbox(&self) -> Result<Box<dyn Inbox>, StoreError> {
        Ok(Box::new(Singly { inbox: self.store.inbox()?, stores: self.stores }))
    }

    fn existing_inbox(&self) -> Result<Option<Box<dyn Inbox>>, StoreError> {
        self.store.existing_inbox()
    }
}

struct Singly {
    inbox: Box<dyn Inbox>,
    stores: bool,
}

impl Inbox for Singly {
    fn begin_receiving(&mut self) -> Result<(), StoreError> {
        self.inbox.begin_receiving()
    }

    fn targets(&mut self, names: &[TargetName]) -> Result<Vec<TargetId>, StoreError> {
        self.inbox.targets(names)
    }

    fn commit_deliveries(&mut self, deliveries: &[Delivery], routes: &[Route]) -> Result<Vec<Receipt>, StoreError> {
        let mut receipts = Vec::with_capacity(deliveries.len());
        for delivery in deliveries {
            if self.stores {
                receipts.append(&mut self.inbox.commit_deliveries(std::slice::from_ref(delivery), routes)?);
            } else {
                receipts.push(Receipt { events: vec![None; delivery.events().len()] });
            }
        }
        Ok(receipts)
    }

    fn claim_forwards(&mut self, target: TargetId, now: Timestamp, wish: Wish) -> Result<Vec<Forward>, StoreError> {
        self.inbox.claim_forwards(target, now, wish)
    }

    fn waiting(&self) -> Result<Vec<(TargetId, String, u64)>, StoreError> {
        self.inbox.waiting()
    }

    fn next_due(&self, target: TargetId) -> Result<Option<Timestamp>, StoreError> {
        self.inbox.next_due(target)
    }

    fn settle_forwards(&mut self, settlements: &[Settlement]) -> Result<(), StoreError> {
        self.inbox.settle_forwards(settlements)
    }

    fn release_forwards(&mut self, forwards: &[ForwardId]) {
        self.inbox.release_forwards(forwards);
    }

    fn expire_forwards(&mut self, queued_before: Timestamp) -> Result<u64, StoreError> {
        self.inbox.expire_forwards(queued_before)
    }

    fn requeue_forwards(&mut self, selection: &EventSelection, now: Timestamp) -> Result<u64, StoreError> {
        self.inbox.requeue_forwards(selection, now)
    }

    fn backlog(&self) -> Result<Backlog, StoreError> {
        self.inbox.backlog()
    }

    fn events(
        &self,
        selection: &EventSelection,
        page: EventPage,
        each: &mut dyn FnMut(EventRecord) -> bool,
    ) -> Result<(), StoreError> {
        self.inbox.events(selection, page, each)
    }

    fn count_events(&self, selection: &EventSelection) -> Result<Vec<EventCount>, StoreError> {
        self.inbox.count_events(selection)
    }

    fn quarantined(&self, number: Option<i64>, limit: Option<u64>) -> Result<Vec<Quarantined>, StoreError> {
        self.inbox.quarantined(number, limit)
    }

    fn purge(&mut self, rule: &PurgeRule) -> Result<Purged, StoreError> {
        self.inbox.purge(rule)
    }

    fn tend(&mut self) -> Result<(), StoreError> {
        self.inbox.tend()
    }

    fn probe(&mut self) -> Result<(), StoreError> {
        self.inbox.probe()
    }

    fn check(&self) -> Result<(), StoreError> {
        self.inbox.check()
    }
}
