//! The one writer: a thread with the inbox, which stores what all connections bring in groups, a commit a group.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::runtime::Handle;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Notify, mpsc, oneshot};

use super::limits::MemoryPermit;
use super::metrics::Metrics;
use crate::domain::delivery::Delivery;
use crate::domain::event::Sender;
use crate::error::{Error, ErrorKind, Result};
use crate::store::{
    ClaimRequest, Forward, ForwardId, Inbox, PurgeRule, Receipt, Route, Settlement, StoreError, TargetId,
};

/// How many jobs may wait; who brings another waits too.
const QUEUE: usize = 4096;

/// The most bytes of bodies in a commit.
const GROUP_BYTES: usize = 16 * 1024 * 1024;

/// How long who brings a delivery waits for a place in the queue.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long upkeep rests after a failure.
const MAINTENANCE_RETRY_DELAY: Duration = Duration::from_secs(10);

type Reply<T> = oneshot::Sender<Result<T>>;

enum Job {
    /// The memory of its body is held for as long as the delivery is here.
    Deliver(Box<Delivery>, MemoryPermit, Reply<Receipt>),
    Settle(Settlement, Reply<()>),
    Claim(TargetId, ClaimRequest, Reply<Vec<Forward>>),
    Release(ForwardId),
    NextDue(TargetId, Reply<Option<Timestamp>>),
    Probe(Reply<()>),
    Expire(Timestamp, Reply<Vec<(String, u64)>>),
    Purge(PurgeRule, Reply<bool>),
}

/// The way to the writer.
#[derive(Clone)]
pub struct Writer {
    jobs: mpsc::Sender<Job>,
}

impl Writer {
    /// Starts the thread. It ends when the last `Writer` is dropped and all that was brought is done.
    ///
    /// `inbox` is ready to receive; a commit has at most `max_group` deliveries; `stored` is notified when there is
    /// something new to hand on. To be called within the runtime that serves.
    ///
    /// # Errors
    /// When the system refuses a thread, or there is no runtime.
    pub fn start(
        inbox: Box<dyn Inbox>,
        routes: Vec<Route>,
        max_group: usize,
        metrics: Arc<Metrics>,
        stored: Arc<Notify>,
    ) -> Result<(Self, JoinHandle<()>)> {
        let (jobs, queue) = mpsc::channel(QUEUE);
        let log = tracing::dispatcher::get_default(Clone::clone);
        let runtime = Handle::try_current().map_err(|error| Error::new(ErrorKind::Other, error.to_string()))?;
        let mut thread =
            Thread { inbox, routes, max_group, metrics, stored, runtime, failing: false, rest_until: None };
        let work = move || tracing::dispatcher::with_default(&log, || thread.run(queue));
        let thread = std::thread::Builder::new().name("inbox".to_owned()).spawn(work)?;
        Ok((Self { jobs }, thread))
    }

    /// Stores a delivery. When this returns without an error, it is on the disk. It is stored too when nobody waits for
    /// that any more.
    ///
    /// # Errors
    /// When it is not: the store failed, or there is too much going on.
    pub(super) async fn deliver(&self, delivery: Delivery, permit: MemoryPermit) -> Result<Receipt> {
        let (reply, answer) = oneshot::channel();
        match self.jobs.try_send(Job::Deliver(Box::new(delivery), permit, reply)) {
            Ok(()) => {}
            Err(TrySendError::Closed(_)) => return Err(ended()),
            Err(TrySendError::Full(job)) => {
                // In a task of its own, which goes on when who brought it does not.
                let waiting = tokio::spawn(send_in_time(self.jobs.clone(), job));
                waiting.await.map_err(|_| ended())??;
            }
        }
        answer.await.map_err(|_| ended())?
    }

    pub(super) async fn claim(&self, target: TargetId, request: ClaimRequest) -> Result<Vec<Forward>> {
        self.ask(|reply| Job::Claim(target, request, reply)).await
    }

    /// Gives a claim back whose attempt did not come to its end.
    pub(super) fn release(&self, forward: ForwardId) {
        // With a full queue it stays claimed until the next start.
        let _ = self.jobs.try_send(Job::Release(forward));
    }

    pub(super) async fn next_due(&self, target: TargetId) -> Result<Option<Timestamp>> {
        self.ask(|reply| Job::NextDue(target, reply)).await
    }

    pub(super) async fn settle(&self, settlement: Settlement) -> Result<()> {
        self.ask(|reply| Job::Settle(settlement, reply)).await
    }

    /// Whether the store can be written right now.
    ///
    /// # Errors
    /// When it cannot.
    pub async fn probe(&self) -> Result<()> {
        self.ask(Job::Probe).await
    }

    /// Makes some dead letters; says how many, by target.
    pub(super) async fn expire(&self, queued_before: Timestamp) -> Result<Vec<(String, u64)>> {
        self.ask(|reply| Job::Expire(queued_before, reply)).await
    }

    /// Purges a little; says whether there is more.
    pub(super) async fn purge(&self, rule: PurgeRule) -> Result<bool> {
        self.ask(|reply| Job::Purge(rule, reply)).await
    }

    async fn ask<T>(&self, job: impl FnOnce(Reply<T>) -> Job) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        self.jobs.send(job(reply)).await.map_err(|_| ended())?;
        answer.await.map_err(|_| ended())?
    }
}

/// Waits for a place in the queue, though not for ever.
async fn send_in_time(jobs: mpsc::Sender<Job>, job: Job) -> Result<()> {
    let Ok(sent) = tokio::time::timeout(QUEUE_TIMEOUT, jobs.send(job)).await else {
        return Err(Error::new(ErrorKind::Unavailable, "too many deliveries wait to be stored"));
    };
    sent.map_err(|_| ended())
}

fn ended() -> Error {
    Error::new(ErrorKind::Store, "the writer of the inbox has ended")
}

struct Thread {
    inbox: Box<dyn Inbox>,
    routes: Vec<Route>,
    max_group: usize,
    metrics: Arc<Metrics>,
    stored: Arc<Notify>,
    /// Where those are who wait for answers.
    runtime: Handle,
    /// Whether the last commit failed: said once, not for every delivery.
    failing: bool,
    rest_until: Option<Instant>,
}

/// What is done together.
#[derive(Default)]
struct WriteGroup {
    deliveries: Vec<Delivery>,
    receipts: Vec<Reply<Receipt>>,
    permit: Vec<MemoryPermit>,
    settlements: Vec<Settlement>,
    settled: Vec<Reply<()>>,
    others: Vec<Job>,
    bytes: usize,
}

impl WriteGroup {
    fn with_room_for(deliveries: usize) -> Self {
        Self {
            deliveries: Vec::with_capacity(deliveries),
            receipts: Vec::with_capacity(deliveries),
            permit: Vec::with_capacity(deliveries),
            ..Self::default()
        }
    }

    fn add(&mut self, job: Job) {
        match job {
            Job::Deliver(delivery, permit, reply) => {
                self.bytes += delivery.body().bytes().len();
                self.deliveries.push(*delivery);
                self.receipts.push(reply);
                self.permit.push(permit);
            }
            Job::Settle(settlement, reply) => {
                self.settlements.push(settlement);
                self.settled.push(reply);
            }
            other => self.others.push(other),
        }
    }
}

impl Thread {
    fn run(&mut self, mut queue: mpsc::Receiver<Job>) {
        while let Some(job) = queue.blocking_recv() {
            let mut group = WriteGroup::with_room_for((queue.len() + 1).min(self.max_group));
            group.add(job);
            while group.deliveries.len() < self.max_group
                && group.bytes < GROUP_BYTES
                && let Ok(job) = queue.try_recv()
            {
                group.add(job);
            }
            // A bug in one group must not end the receiver. Its transaction is rolled back, and who waits is told no.
            if catch_unwind(AssertUnwindSafe(|| self.work(group))).is_err() {
                tracing::error!("a group of deliveries could not be stored: this is a bug");
            }
        }
    }

    fn work(&mut self, group: WriteGroup) {
        let WriteGroup { deliveries, receipts, permit, settlements, settled, others, .. } = group;
        // What one of them failed over, the rest of the group would too, each after its own wait for a locked database.
        let mut failed = None;
        if !deliveries.is_empty() {
            let outcome = self.store(&deliveries);
            let one_spoils_it = deliveries.len() > 1 && outcome.as_ref().is_err_and(StoreError::may_be_of_one);
            let outcome = outcome.map_err(Error::from);
            failed = outcome.as_ref().err().filter(|_| !one_spoils_it).map(Error::again);
            if one_spoils_it {
                self.store_singly(&deliveries, receipts);
            } else {
                // From here each answer would wake a thread; from there, one does for all. The memory goes back where
                // it came from, too.
                self.runtime.spawn(async {
                    answer_all(receipts, outcome);
                    drop((deliveries, permit));
                });
            }
        }
        if !settlements.is_empty() {
            let settle = || self.inbox.settle_forwards(&settlements).map_err(Error::from);
            let outcome = failed.take().map_or_else(settle, Err);
            failed = outcome.as_ref().err().map(Error::again);
            answer_all(settled, outcome.map(|()| std::iter::repeat(())));
        }
        for job in others {
            match (job, &failed) {
                (Job::Probe(reply), Some(error)) => drop(reply.send(Err(error.again()))),
                (job, _) => self.do_other(job),
            }
        }
        self.maintain();
    }

    /// The others of a group need not fail with the one that cannot be stored.
    fn store_singly(&mut self, deliveries: &[Delivery], receipts: Vec<Reply<Receipt>>) {
        for (delivery, reply) in deliveries.iter().zip(receipts) {
            let outcome = self.store(std::slice::from_ref(delivery));
            answer_all(vec![reply], outcome.map_err(Error::from));
        }
    }

    fn store(&mut self, deliveries: &[Delivery]) -> Result<Vec<Receipt>, StoreError> {
        let started = Instant::now();
        let outcome = self.inbox.commit_deliveries(deliveries, &self.routes);
        self.note(&outcome);
        let receipts = outcome?;
        self.metrics.committed(started.elapsed());
        for sender in Sender::ALL {
            let theirs = || deliveries.iter().zip(&receipts).filter(|(delivery, _)| delivery.sender() == sender);
            let (new, known) =
                (theirs().map(|(_, receipt)| receipt.stored()), theirs().map(|(_, receipt)| receipt.duplicates()));
            self.metrics.stored(sender, theirs().count(), new.sum(), known.sum());
        }
        if receipts.iter().any(|receipt| receipt.stored() > 0) {
            self.stored.notify_waiters();
        }
        Ok(receipts)
    }

    fn note<T>(&mut self, outcome: &Result<T, StoreError>) {
        match outcome {
            Err(error) if !self.failing => {
                tracing::error!("nothing can be stored; senders are told to come again: {error}");
                self.failing = true;
            }
            Ok(_) if self.failing => {
                tracing::warn!("the inbox can be written again");
                self.failing = false;
            }
            _ => {}
        }
    }

    fn do_other(&mut self, job: Job) {
        // Who does not wait for an answer any more does not need one.
        match job {
            Job::Deliver(..) | Job::Settle(..) => {}
            Job::Release(forward) => self.inbox.release_forwards(&[forward]),
            Job::Claim(target, request, reply) => {
                let claimed = self.inbox.claim_forwards(target, Timestamp::now(), request).map_err(Error::from);
                if let Err(Ok(unclaimed)) = reply.send(claimed) {
                    self.inbox.release_forwards(&unclaimed.iter().map(|forward| forward.id).collect::<Vec<_>>());
                }
            }
            Job::NextDue(target, reply) => drop(reply.send(self.inbox.next_due(target).map_err(Error::from))),
            Job::Probe(reply) => {
                let outcome = self.inbox.probe();
                self.note(&outcome);
                drop(reply.send(outcome.map_err(Error::from)));
            }
            Job::Expire(before, reply) => drop(reply.send(self.inbox.expire_forwards(before).map_err(Error::from))),
            Job::Purge(rule, reply) => {
                drop(reply.send(self.inbox.purge(&rule).map(|purged| purged.more).map_err(Error::from)));
            }
        }
    }

    fn maintain(&mut self) {
        if self.rest_until.is_some_and(|until| Instant::now() < until) {
            return;
        }
        self.rest_until = self.inbox.maintain().err().map(|error| {
            tracing::debug!("upkeep of the inbox failed: {error}");
            Instant::now() + MAINTENANCE_RETRY_DELAY
        });
    }
}

/// Gives everybody an answer, or everybody the error.
fn answer_all<T>(replies: Vec<Reply<T>>, outcome: Result<impl IntoIterator<Item = T>>) {
    match outcome {
        Ok(answers) => {
            for (reply, answer) in replies.into_iter().zip(answers) {
                let _ = reply.send(Ok(answer));
            }
        }
        Err(error) => {
            for reply in replies {
                let _ = reply.send(Err(error.again()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::limits::{Budgets, Limits};
    use super::*;
    use crate::domain::Secret;
    use crate::domain::delivery::DeliveryKeys;

    fn delivery() -> Delivery {
        let key = "a-key-of-the-receiver-0123456789";
        let delivery_keys = DeliveryKeys::new(&Secret::parse("the key", key).unwrap(), Vec::new()).unwrap();
        Delivery::read(&delivery_keys.verify_bugfender(key).unwrap(), Timestamp::now(), None, b"[]".to_vec(), None)
    }

    #[tokio::test]
    async fn what_was_brought_is_stored_when_its_bringer_has_gone() {
        let (jobs, mut queue) = mpsc::channel(1);
        let writer = Writer { jobs };
        for _ in 0..2 {
            // The second finds no place, and waits for one.
            let gone =
                tokio::time::timeout(Duration::from_millis(1), writer.deliver(delivery(), MemoryPermit::default()))
                    .await;
            assert!(gone.is_err());
        }
        for _ in 0..2 {
            let job = tokio::time::timeout(QUEUE_TIMEOUT, queue.recv()).await;
            assert!(matches!(job, Ok(Some(Job::Deliver(..)))));
        }
    }

    #[tokio::test]
    async fn a_body_that_waits_holds_its_memory_when_its_bringer_has_gone() {
        let limits = Limits { max_body: 1, ..Limits::default() };
        let budget = Budgets::new(&limits).unverified;
        let all = 64 * 1024 * 1024;
        let (jobs, mut queue) = mpsc::channel(1);
        let writer = Writer { jobs };
        let mut permit = MemoryPermit::default();
        permit.grow(&budget, all).unwrap();
        let gone = tokio::time::timeout(Duration::from_millis(1), writer.deliver(delivery(), permit)).await;
        assert!(gone.is_err());
        assert!(MemoryPermit::default().grow(&budget, 1).is_none());
        drop(queue.recv().await);
        assert!(MemoryPermit::default().grow(&budget, all).is_some());
    }
}
