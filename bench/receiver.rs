//! The receiver as it is measured against.
//!
//! `nothing` stores nothing: the limit of what the server can answer. `single` commits each delivery by itself, and
//! answers it then.

use std::path::Path;
use std::time::Duration;

use bugfender_hooks::domain::delivery::DeliveryKeys;
use bugfender_hooks::domain::{ApiOrigin, AppId, IssueList, Secret};
use bugfender_hooks::platform::StopSignals;
use bugfender_hooks::receiver::{self, Limits, Receiver, ReceiverOptions};
use bugfender_hooks::store::sqlite::SqliteStore;
use bugfender_hooks::store::{
    Arrival, Backlog, ClaimRequest, Coordination, EncodedDelivery, EventBucket, EventCount, EventPage, EventRecord,
    EventSelection, EventSeq, Events, ForwardLatency, ForwardRecord, HandOver, Inbox, Intake, Lease, Leased,
    Maintenance, MissedEvents, Polling, PurgeRule, Purged, Quarantined, Queue, Receipt, ReceiverInbox, ReceiverKeys,
    Registry, Requeued, Route, SchemaState, Settled, Settlement, Store, StoreError, StoreExport, StoreImport,
    StoreInfo, StoredDelivery, TargetId, TargetName, TargetRecord, Targets, Usage,
};
use jiff::{SignedDuration, Timestamp};

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
        tokio::spawn(receiver.serve(vec![listener], stop)).await?;
        Ok(())
    })
}

/// A store whose inbox keeps nothing.
struct Nothing(SqliteStore);

impl Store for Nothing {
    fn registry_place(&self) -> String {
        "nowhere".to_owned()
    }

    fn inbox_place(&self) -> String {
        "nowhere".to_owned()
    }

    fn registry(&self) -> Result<Box<dyn Registry>, StoreError> {
        self.0.registry()
    }

    fn existing_registry(&self, lock_timeout: Option<Duration>) -> Result<Option<Box<dyn Registry>>, StoreError> {
        self.0.existing_registry(lock_timeout)
    }

    fn check_creatable(&self) -> Result<(), StoreError> {
        self.0.check_creatable()
    }

    fn inbox(&self) -> Result<Box<dyn Inbox>, StoreError> {
        self.0.inbox()
    }

    fn existing_inbox(&self) -> Result<Option<Box<dyn Inbox>>, StoreError> {
        self.0.existing_inbox()
    }

    fn receiver_inbox(&self) -> Result<Box<dyn ReceiverInbox>, StoreError> {
        Ok(Box::new(KeepsNothing(self.0.receiver_inbox()?)))
    }

    fn info(&self) -> Result<StoreInfo, StoreError> {
        self.0.info()
    }

    fn back_up(&self, directory: &Path) -> Result<(), StoreError> {
        self.0.back_up(directory)
    }

    fn restore(&self, directory: &Path, replace: bool) -> Result<(), StoreError> {
        self.0.restore(directory, replace)
    }

    fn schemas(&self) -> Result<Vec<SchemaState>, StoreError> {
        self.0.schemas()
    }

    fn migrate(&self) -> Result<(), StoreError> {
        self.0.migrate()
    }

    fn export(&self) -> Result<Box<dyn StoreExport>, StoreError> {
        self.0.export()
    }

    fn import(&self) -> Result<Box<dyn StoreImport>, StoreError> {
        self.0.import()
    }

    fn free_reserve(&self) -> Result<bool, StoreError> {
        self.0.free_reserve()
    }

    fn receiver_keys(&self) -> Box<dyn ReceiverKeys> {
        self.0.receiver_keys()
    }
}

struct KeepsNothing(Box<dyn ReceiverInbox>);

impl Coordination for KeepsNothing {}

impl Intake for KeepsNothing {
    fn dedupe_within(&mut self, window: SignedDuration) {
        self.0.dedupe_within(window);
    }

    fn commit(&mut self, deliveries: &[EncodedDelivery], _routes: &[Route]) -> Result<Vec<Receipt>, StoreError> {
        let events = |delivery: &EncodedDelivery| vec![None; delivery.delivery().events().len()];
        Ok(deliveries.iter().map(|delivery| Receipt { events: events(delivery) }).collect())
    }

    fn probe(&mut self, now: Timestamp, bytes: u64) -> Result<bool, StoreError> {
        self.0.probe(now, bytes)
    }
}

impl Queue for KeepsNothing {
    fn targets(&mut self, names: &[TargetName]) -> Result<Vec<TargetId>, StoreError> {
        self.0.targets(names)
    }

    fn claim(
        &mut self,
        target: TargetId,
        request: ClaimRequest,
        now: Timestamp,
        lease: Duration,
    ) -> Result<Vec<Leased>, StoreError> {
        self.0.claim(target, request, now, lease)
    }

    fn renew(&mut self, leases: &[Lease], now: Timestamp, lease: Duration) -> Result<Vec<Lease>, StoreError> {
        self.0.renew(leases, now, lease)
    }

    fn settle(&mut self, settlements: &[Settlement]) -> Result<Vec<Settled>, StoreError> {
        self.0.settle(settlements)
    }

    fn release(&mut self, leases: &[Lease]) -> Result<(), StoreError> {
        self.0.release(leases)
    }

    fn next_due(&self, target: TargetId, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        self.0.next_due(target, now)
    }

    fn set_max_ages(&mut self, ages: Vec<(TargetId, SignedDuration)>) {
        self.0.set_max_ages(ages);
    }

    fn expire(&mut self, queued_before: Timestamp, now: Timestamp) -> Result<Vec<(String, u64)>, StoreError> {
        self.0.expire(queued_before, now)
    }
}

impl Events for KeepsNothing {
    fn events(
        &self,
        selection: &EventSelection,
        page: EventPage,
        each: &mut dyn FnMut(EventRecord) -> bool,
    ) -> Result<Option<EventSeq>, StoreError> {
        self.0.events(selection, page, each)
    }

    fn watermark(&self) -> Result<EventSeq, StoreError> {
        self.0.watermark()
    }

    fn count_events(&self, selection: &EventSelection) -> Result<Vec<EventCount>, StoreError> {
        self.0.count_events(selection)
    }

    fn histogram(
        &self,
        since: Timestamp,
        until: Timestamp,
        step: SignedDuration,
    ) -> Result<Vec<EventBucket>, StoreError> {
        self.0.histogram(since, until, step)
    }

    fn forward_latency(&self, since: Timestamp) -> Result<Option<ForwardLatency>, StoreError> {
        self.0.forward_latency(since)
    }

    fn delivery_of(&self, event: EventSeq) -> Result<Option<StoredDelivery>, StoreError> {
        self.0.delivery_of(event)
    }

    fn quarantined(&self, number: Option<i64>, limit: Option<u64>) -> Result<Vec<Quarantined>, StoreError> {
        self.0.quarantined(number, limit)
    }

    fn backlog(&self) -> Result<Backlog, StoreError> {
        self.0.backlog()
    }

    fn usage(&self) -> Result<Usage, StoreError> {
        self.0.usage()
    }
}

impl Targets for KeepsNothing {
    fn target_records(&self) -> Result<Vec<TargetRecord>, StoreError> {
        self.0.target_records()
    }

    fn forwards_of(&self, event: EventSeq) -> Result<Vec<ForwardRecord>, StoreError> {
        self.0.forwards_of(event)
    }

    fn pause_target(&mut self, target: TargetId, now: Timestamp) -> Result<bool, StoreError> {
        self.0.pause_target(target, now)
    }

    fn resume_target(&mut self, target: TargetId, now: Timestamp) -> Result<bool, StoreError> {
        self.0.resume_target(target, now)
    }

    fn drop_pending(&mut self, target: TargetId, now: Timestamp) -> Result<u64, StoreError> {
        self.0.drop_pending(target, now)
    }
}

impl Polling for KeepsNothing {
    fn arrivals(&self) -> Result<Vec<Arrival>, StoreError> {
        self.0.arrivals()
    }

    fn polled_until(&self, origin: &ApiOrigin, app: AppId, list: IssueList) -> Result<Option<Timestamp>, StoreError> {
        self.0.polled_until(origin, app, list)
    }

    fn note_polled(
        &mut self,
        origin: &ApiOrigin,
        app: AppId,
        list: IssueList,
        until: Timestamp,
    ) -> Result<(), StoreError> {
        self.0.note_polled(origin, app, list, until)
    }

    fn missed_events(&self, origin: &ApiOrigin) -> Result<Vec<MissedEvents>, StoreError> {
        self.0.missed_events(origin)
    }

    fn note_missed(&mut self, origin: &ApiOrigin, missed: &[MissedEvents]) -> Result<(), StoreError> {
        self.0.note_missed(origin, missed)
    }

    fn routes(&self) -> Result<Vec<Route>, StoreError> {
        self.0.routes()
    }

    fn set_routes(&mut self, routes: &[Route]) -> Result<(), StoreError> {
        self.0.set_routes(routes)
    }
}

impl HandOver for KeepsNothing {}

impl Maintenance for KeepsNothing {
    fn purge(&mut self, rule: &PurgeRule) -> Result<Purged, StoreError> {
        self.0.purge(rule)
    }

    fn requeue(&mut self, selection: &EventSelection, now: Timestamp) -> Result<Requeued, StoreError> {
        self.0.requeue(selection, now)
    }

    fn forward_again(&mut self, events: &[EventSeq], target: TargetId, now: Timestamp) -> Result<u64, StoreError> {
        self.0.forward_again(events, target, now)
    }

    fn delete(&mut self, events: &[EventSeq]) -> Result<u64, StoreError> {
        self.0.delete(events)
    }

    fn keep_reserve(&mut self, bytes: u64) -> Result<(), StoreError> {
        self.0.keep_reserve(bytes)
    }

    fn maintain(&mut self) -> Result<bool, StoreError> {
        self.0.maintain()
    }

    fn check(&self) -> Result<(), StoreError> {
        self.0.check()
    }
}
