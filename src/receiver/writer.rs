//! The one writer: the store's worker that owns the inbox and commits the deliveries of all connections in groups. Where
//! the store lets several commits go on at once, further threads take the deliveries.

mod committer;
mod trouble;

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot};

use self::committer::{Committer, GroupCommit, IntakeCommitter};
use self::trouble::InboxTrouble;
use super::alerts::Alerts;
use super::limits::MemoryPermit;
use super::metrics::Metrics;
use crate::error::{Error, ErrorKind, Result};
use crate::store::worker::{self, Reply, StoreJob, Worker};
use crate::store::{
    Attendance, ClaimRequest, Coordination, EncodedDelivery, Intake, Lease, Leased, PurgeRule, Purged, Receipt,
    ReceiverInbox, Route, Settled, Settlement, StoreError, TargetId,
};

/// How long a delivery waits for room in the queue.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(5);

/// The memory of a delivery: that of its body, and that of its events.
pub(super) type DeliveryMemory = [MemoryPermit; 2];
/// Makes routes of what is put on record.
type MakeRoutes = Box<dyn FnOnce(&mut (dyn ReceiverInbox + 'static)) -> Result<Vec<Route>, StoreError> + Send>;

enum Job {
    /// Holds its memory until the delivery is stored.
    Deliver(Box<EncodedDelivery>, DeliveryMemory, Reply<Result<Receipt>>),
    Settle(Settlement, Reply<Result<Settled>>),
    /// Whether a delivery of as many bytes can be stored.
    Probe(u64, Reply<Result<bool>>),
    Routes(MakeRoutes, Reply<Result<Vec<Route>, StoreError>>),
    TakeHandedOver(Reply<Result<bool>>),
    Other(StoreJob<dyn ReceiverInbox>),
}

/// A handle to the writer.
#[derive(Clone)]
pub struct Writer {
    worker: Worker<Job>,
    /// Where deliveries go: to the same worker, or to one with threads for them alone.
    intake: Worker<Job>,
}

impl Writer {
    /// Starts the threads. They end when the last `Writer` is dropped and all jobs are done. Deliveries are stored by
    /// `intakes`, or by the inbox if there are none.
    ///
    /// A commit has at most `max_group` deliveries; `stored` is notified when there is something new to forward. To be
    /// called within the runtime that serves.
    ///
    /// # Errors
    /// When the system refuses a thread, or there is no runtime.
    pub fn start(
        inbox: Box<dyn ReceiverInbox>,
        intakes: Vec<Box<dyn Intake>>,
        routes: Vec<Route>,
        max_group: usize,
        (metrics, stored, alerts): (Arc<Metrics>, Arc<Notify>, Alerts),
    ) -> Result<(Self, Vec<JoinHandle<()>>)> {
        let runtime = Handle::try_current().map_err(|error| Error::new(ErrorKind::Other, error.to_string()))?;
        let (routes, trouble) = (Arc::new(ArcSwap::from_pointee(routes)), Arc::new(InboxTrouble::of(alerts)));
        let shared = GroupCommit { routes, max_group, metrics, stored, runtime, trouble };
        let committer = Committer { inbox, shared: shared.clone(), rest_until: None };
        let (worker, thread) = Worker::start("inbox", committer)?;
        if intakes.is_empty() {
            return Ok((Self { intake: worker.clone(), worker }, vec![thread]));
        }
        let committer = |inbox| IntakeCommitter { inbox, shared: shared.clone() };
        let (intake, mut threads) = Worker::start_all("intake", intakes.into_iter().map(committer).collect())?;
        threads.push(thread);
        Ok((Self { worker, intake }, threads))
    }

    /// Stores a delivery. When this returns without an error, it is durable. It is stored even if the future is dropped.
    ///
    /// # Errors
    /// When it is not stored: the store failed, or too many deliveries are waiting.
    pub(super) async fn deliver(&self, delivery: EncodedDelivery, memory: DeliveryMemory) -> Result<Receipt> {
        let (reply, answer) = oneshot::channel();
        if let Some(job) = self.intake.send_now(Job::Deliver(Box::new(delivery), memory, reply))? {
            // A separate task goes on when the connection ends.
            let waiting = tokio::spawn(send_in_time(self.intake.clone(), job));
            waiting.await.map_err(|_| worker::ended())??;
        }
        answer.await.map_err(|_| worker::ended())?
    }

    pub(super) async fn claim(
        &self,
        target: TargetId,
        request: ClaimRequest,
        now: Timestamp,
        lease: Duration,
    ) -> Result<Vec<Leased>> {
        let (reply, answer) = oneshot::channel();
        let claim = move |inbox: &mut (dyn ReceiverInbox + 'static)| {
            let claimed = inbox.claim(target, request, now, lease).map_err(Error::from);
            if let Err(Ok(unclaimed)) = reply.send(claimed) {
                // The connection has ended.
                let _ = inbox.release(&unclaimed.iter().map(Leased::lease).collect::<Vec<_>>());
            }
        };
        self.worker.send(Job::Other(Box::new(claim))).await?;
        answer.await.map_err(|_| worker::ended())?
    }

    /// Renews leases; returns those that were lost.
    pub(super) async fn renew(&self, leases: Vec<Lease>, now: Timestamp, lease: Duration) -> Result<Vec<Lease>> {
        self.run(move |inbox| inbox.renew(&leases, now, lease)).await
    }

    /// Releases the lease of an attempt that was cut off. To be called within the runtime that serves.
    pub(super) fn release(&self, lease: Lease) {
        let release = move |inbox: &mut (dyn ReceiverInbox + 'static)| {
            // A lease that could not be released expires.
            let _ = inbox.release(&[lease]);
        };
        if let Ok(Some(job)) = self.worker.send_now(Job::Other(Box::new(release))) {
            let worker = self.worker.clone();
            tokio::spawn(async move { worker.send(job).await });
        }
    }

    pub(super) async fn next_due(&self, target: TargetId, now: Timestamp) -> Result<Option<Timestamp>> {
        self.run(move |inbox| inbox.next_due(target, now)).await
    }

    pub(super) async fn settle(&self, settlement: Settlement) -> Result<Settled> {
        self.worker.ask(|reply| Job::Settle(settlement, reply)).await?
    }

    /// See [`crate::store::Coordination::hold`].
    pub(super) async fn hold(&self, target: TargetId, until: Option<Timestamp>) -> Result<()> {
        self.run(move |inbox| inbox.hold(target, until)).await
    }

    /// See [`crate::store::Coordination::attend`].
    pub(super) async fn attend(&self) -> Result<Attendance> {
        self.run(Coordination::attend).await
    }

    /// Whether a delivery of as many bytes could be stored right now.
    ///
    /// # Errors
    /// When none could.
    pub async fn probe(&self, bytes: u64) -> Result<bool> {
        self.worker.ask(|reply| Job::Probe(bytes, reply)).await?
    }

    /// Whether the thread still does its jobs, be it that they fail. Waits for those before this one.
    pub(super) async fn is_alive(&self) -> bool {
        self.run(|_| Ok(())).await.is_ok()
    }

    /// Dead-letters some of what was queued before this time; returns how many, by target.
    pub(super) async fn expire(&self, queued_before: Timestamp, now: Timestamp) -> Result<Vec<(String, u64)>> {
        self.run(move |inbox| inbox.expire(queued_before, now)).await
    }

    /// Purges a little.
    pub(super) async fn purge(&self, rule: PurgeRule) -> Result<Purged> {
        self.run(move |inbox| inbox.purge(&rule)).await
    }

    /// See [`crate::store::Maintenance::keep_reserve`].
    pub(super) async fn keep_reserve(&self, bytes: u64) -> Result<()> {
        self.run(move |inbox| inbox.keep_reserve(bytes)).await
    }

    /// Stores some of what other processes handed over. Returns whether there was something.
    pub(super) async fn take_handed_over(&self) -> Result<bool> {
        self.worker.ask(Job::TakeHandedOver).await?
    }

    /// Deliveries that are stored from now on go by the routes that this returns.
    pub(super) async fn replace_routes(
        &self,
        routes: impl FnOnce(&mut (dyn ReceiverInbox + 'static)) -> Result<Vec<Route>, StoreError> + Send + 'static,
    ) -> Result<Vec<Route>> {
        Ok(self.worker.ask(|reply| Job::Routes(Box::new(routes), reply)).await??)
    }

    async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut (dyn ReceiverInbox + 'static)) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T> {
        let job = |reply: Reply<Result<T, StoreError>>| -> Job {
            Job::Other(Box::new(move |inbox| drop(reply.send(job(inbox)))))
        };
        Ok(self.worker.ask(job).await??)
    }
}

/// Waits for room in the queue, up to a timeout.
async fn send_in_time(worker: Worker<Job>, job: Job) -> Result<()> {
    let Ok(sent) = tokio::time::timeout(QUEUE_TIMEOUT, worker.send(job)).await else {
        return Err(Error::new(ErrorKind::Unavailable, "too many deliveries are waiting to be stored"));
    };
    sent
}

#[cfg(test)]
mod tests;
