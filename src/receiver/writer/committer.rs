//! The writer's threads: deliveries that wait share a commit, and so do the outcomes of forwards.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use jiff::Timestamp;
use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc};

use super::super::metrics::Metrics;
use super::trouble::InboxTrouble;
use super::{DeliveryMemory, Job};
use crate::domain::event::Sender;
use crate::error::{Error, Result};
use crate::store::worker::{Reply, Work};
use crate::store::{
    EncodedDelivery, HandedOver, Intake, Receipt, ReceiverInbox, Route, Settled, Settlement, StoreError,
};

/// The most bytes of bodies in a commit.
const GROUP_BYTES: usize = 16 * 1024 * 1024;

/// How long maintenance waits after a failure.
const MAINTENANCE_RETRY_DELAY: Duration = Duration::from_secs(10);

/// What the threads of a writer share.
#[derive(Clone)]
pub(super) struct GroupCommit {
    pub(super) routes: Arc<ArcSwap<Vec<Route>>>,
    /// The most deliveries of a commit.
    pub(super) max_group: usize,
    pub(super) metrics: Arc<Metrics>,
    /// Notified when there is something new to forward.
    pub(super) stored: Arc<Notify>,
    /// The runtime that replies are sent on.
    pub(super) runtime: Handle,
    pub(super) trouble: Arc<InboxTrouble>,
}

/// Jobs that share a commit.
#[derive(Default)]
pub(super) struct WriteGroup {
    deliveries: Vec<EncodedDelivery>,
    receipts: Vec<Reply<Result<Receipt>>>,
    memory: Vec<DeliveryMemory>,
    settlements: Vec<Settlement>,
    settled: Vec<Reply<Result<Settled>>>,
    others: Vec<Job>,
    bytes: usize,
}

impl WriteGroup {
    fn with_room_for(deliveries: usize) -> Self {
        Self {
            deliveries: Vec::with_capacity(deliveries),
            receipts: Vec::with_capacity(deliveries),
            memory: Vec::with_capacity(deliveries),
            ..Self::default()
        }
    }

    fn add(&mut self, job: Job) {
        match job {
            Job::Deliver(delivery, memory, reply) => {
                self.bytes += delivery.stored_size();
                self.deliveries.push(*delivery);
                self.receipts.push(reply);
                self.memory.push(memory);
            }
            Job::Settle(settlement, reply) => {
                self.settlements.push(settlement);
                self.settled.push(reply);
            }
            other => self.others.push(other),
        }
    }
}

impl GroupCommit {
    /// Takes jobs that wait, as many as share a commit.
    fn gather(&self, job: Job, waiting: &mut mpsc::Receiver<Job>) -> WriteGroup {
        let mut group = WriteGroup::with_room_for((waiting.len() + 1).min(self.max_group));
        group.add(job);
        while group.deliveries.len() < self.max_group
            && group.bytes < GROUP_BYTES
            && let Ok(job) = waiting.try_recv()
        {
            group.add(job);
        }
        group
    }

    /// Commits the deliveries of a group, and replies. Returns what the rest of the group would fail over too, each after
    /// its own wait.
    fn store_group(&self, inbox: &mut dyn Intake, group: &mut WriteGroup) -> Option<Error> {
        let deliveries = std::mem::take(&mut group.deliveries);
        let (receipts, memory) = (std::mem::take(&mut group.receipts), std::mem::take(&mut group.memory));
        if deliveries.is_empty() {
            return None;
        }
        let outcome = self.store(inbox, &deliveries);
        let one_spoils_it = deliveries.len() > 1 && outcome.as_ref().is_err_and(StoreError::may_be_of_one);
        let outcome = outcome.map_err(Error::from);
        if one_spoils_it {
            self.store_singly(inbox, &deliveries, receipts);
            return None;
        }
        let failed = outcome.as_ref().err().map(Error::again);
        // From here each answer would wake a thread; from there, one does for all. The memory goes back where it came from,
        // too.
        self.runtime.spawn(async {
            answer_all(receipts, outcome);
            drop((deliveries, memory));
        });
        failed
    }

    /// Commits one by one, so that one delivery that cannot be stored does not fail the others.
    fn store_singly(
        &self,
        inbox: &mut dyn Intake,
        deliveries: &[EncodedDelivery],
        receipts: Vec<Reply<Result<Receipt>>>,
    ) {
        for (delivery, reply) in deliveries.iter().zip(receipts) {
            let outcome = self.store(inbox, std::slice::from_ref(delivery));
            answer_all(vec![reply], outcome.map_err(Error::from));
        }
    }

    fn store(&self, inbox: &mut dyn Intake, deliveries: &[EncodedDelivery]) -> Result<Vec<Receipt>, StoreError> {
        let started = Instant::now();
        let outcome = inbox.commit(deliveries, &self.routes.load());
        self.trouble.note(&outcome, deliveries.len());
        let receipts = outcome?;
        self.metrics.committed(started.elapsed());
        for sender in Sender::ALL {
            let theirs =
                || deliveries.iter().zip(&receipts).filter(|(delivery, _)| delivery.delivery().sender() == sender);
            let (new, known) =
                (theirs().map(|(_, receipt)| receipt.stored()), theirs().map(|(_, receipt)| receipt.duplicates()));
            self.metrics.stored(sender, theirs().count(), new.sum(), known.sum());
        }
        if receipts.iter().any(|receipt| receipt.stored() > 0) {
            self.stored.notify_waiters();
        }
        Ok(receipts)
    }
}

/// Stores deliveries, and nothing else, by a connection of its own.
pub(super) struct IntakeCommitter {
    pub(super) inbox: Box<dyn Intake>,
    pub(super) shared: GroupCommit,
}

impl Work<Job> for IntakeCommitter {
    type Batch = WriteGroup;

    fn gather(&mut self, job: Job, waiting: &mut mpsc::Receiver<Job>) -> WriteGroup {
        self.shared.gather(job, waiting)
    }

    fn work(&mut self, mut group: WriteGroup) {
        self.shared.store_group(&mut *self.inbox, &mut group);
    }
}

/// Does all that the inbox is written for.
pub(super) struct Committer {
    pub(super) inbox: Box<dyn ReceiverInbox>,
    pub(super) shared: GroupCommit,
    /// Until when there is no maintenance.
    pub(super) rest_until: Option<Instant>,
}

impl Work<Job> for Committer {
    type Batch = WriteGroup;

    fn gather(&mut self, job: Job, waiting: &mut mpsc::Receiver<Job>) -> WriteGroup {
        self.shared.gather(job, waiting)
    }

    fn work(&mut self, group: WriteGroup) {
        self.work_on(group);
        self.maintain();
    }

    fn idle(&mut self) -> bool {
        self.maintain()
    }
}

impl Committer {
    fn work_on(&mut self, mut group: WriteGroup) {
        let mut failed = self.shared.store_group(&mut *self.inbox, &mut group);
        let WriteGroup { settlements, settled, others, .. } = group;
        if !settlements.is_empty() {
            let settle = || self.inbox.settle(&settlements).map_err(Error::from);
            let outcome = failed.take().map_or_else(settle, Err);
            failed = outcome.as_ref().err().map(Error::again);
            answer_all(settled, outcome);
        }
        for job in others {
            match (job, &failed) {
                (Job::Probe(_, reply), Some(error)) => drop(reply.send(Err(error.again()))),
                (Job::Probe(bytes, reply), None) => {
                    let outcome = self.inbox.probe(Timestamp::now(), bytes);
                    let trouble = &self.shared.trouble;
                    trouble.note(&outcome, 1);
                    if let Ok(has_room) = &outcome {
                        trouble.note_room(*has_room, bytes);
                    }
                    drop(reply.send(outcome.map_err(Error::from)));
                }
                (Job::Routes(make, reply), _) => {
                    let routes = make(&mut *self.inbox);
                    if let Ok(routes) = &routes {
                        self.shared.routes.store(Arc::new(routes.clone()));
                    }
                    drop(reply.send(routes));
                }
                (Job::TakeHandedOver(reply), _) => drop(reply.send(self.take_handed_over())),
                (Job::Other(job), _) => job(&mut *self.inbox),
                // Deliveries and settlements are committed with the group.
                (Job::Deliver(..) | Job::Settle(..), _) => {}
            }
        }
    }

    /// Stores what another process has handed over. Returns whether there was something.
    ///
    /// Killed before it is noted, it is done again: what is stored then is known.
    fn take_handed_over(&mut self) -> Result<bool> {
        let Some(handed) = self.inbox.next_handed_over()? else { return Ok(false) };
        let HandedOver { number, recipients, .. } = handed;
        let new = match handed.encode(Timestamp::now()) {
            Ok(delivery) => {
                let routes = recipients.own_routes().map(|routes| Arc::new(ArcSwap::from_pointee(routes)));
                let routes = routes.unwrap_or_else(|| Arc::clone(&self.shared.routes));
                let shared = GroupCommit { routes, ..self.shared.clone() };
                let receipts = shared.store(&mut *self.inbox, &[delivery])?;
                receipts.iter().map(Receipt::stored).sum::<usize>()
            }
            Err(malformed) => {
                tracing::error!("what another process has handed over can't be read: {malformed}");
                0
            }
        };
        self.inbox.note_taken(number, new as u64)?;
        Ok(true)
    }

    /// Does a piece of the inbox's maintenance. Returns whether there is more to do at once.
    fn maintain(&mut self) -> bool {
        if self.rest_until.is_some_and(|until| Instant::now() < until) {
            return false;
        }
        let done = self.inbox.maintain();
        self.rest_until = done.as_ref().err().map(|error| {
            tracing::debug!("maintenance of the inbox failed: {error}");
            Instant::now() + MAINTENANCE_RETRY_DELAY
        });
        done.unwrap_or(false)
    }
}

/// Replies to each job with its result, or to all with the error.
fn answer_all<T>(replies: Vec<Reply<Result<T>>>, outcome: Result<impl IntoIterator<Item = T>>) {
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
