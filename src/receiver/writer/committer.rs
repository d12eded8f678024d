//! The writer's thread: deliveries that wait share a commit, and so do the outcomes of forwards.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc};

use super::super::metrics::Metrics;
use super::{DeliveryMemory, Job};
use crate::domain::event::Sender;
use crate::error::{Error, Result};
use crate::store::worker::{Reply, Work};
use crate::store::{EncodedDelivery, Receipt, ReceiverInbox, Route, Settled, Settlement, StoreError};

/// The most bytes of bodies in a commit.
const GROUP_BYTES: usize = 16 * 1024 * 1024;

/// How long maintenance waits after a failure.
const MAINTENANCE_RETRY_DELAY: Duration = Duration::from_secs(10);

/// The state of the writer's thread.
pub(super) struct Committer {
    pub(super) inbox: Box<dyn ReceiverInbox>,
    pub(super) routes: Vec<Route>,
    /// The most deliveries of a commit.
    pub(super) max_group: usize,
    pub(super) metrics: Arc<Metrics>,
    /// Notified when there is something new to forward.
    pub(super) stored: Arc<Notify>,
    /// The runtime that replies are sent on.
    pub(super) runtime: Handle,
    pub(super) trouble: LoggedTrouble,
    /// Until when there is no maintenance.
    pub(super) rest_until: Option<Instant>,
}

/// What is wrong with the inbox: logged once, not for every delivery.
#[derive(Default)]
pub(super) struct LoggedTrouble {
    /// Whether the last commit failed.
    failing: bool,
    /// Whether there was no room for a large delivery.
    is_low: bool,
}

impl LoggedTrouble {
    fn note<T>(&mut self, outcome: &Result<T, StoreError>) {
        match outcome {
            Err(error) if !self.failing => {
                tracing::error!("nothing can be stored; senders are asked to retry: {error}");
                self.failing = true;
            }
            Ok(_) if self.failing => {
                tracing::warn!("the inbox can be written again");
                self.failing = false;
            }
            _ => {}
        }
    }

    /// Logs once that there is little room, and once that there is enough.
    fn note_room(&mut self, has_room: bool, bytes: u64) {
        if has_room && self.is_low {
            tracing::warn!("there is room for deliveries of every size again");
        } else if !has_room && !self.is_low && !self.failing {
            tracing::error!("the disk is nearly full: a delivery of {bytes} bytes could not be stored");
        }
        self.is_low = !has_room;
    }
}

/// Jobs that share a commit.
#[derive(Default)]
struct WriteGroup {
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

impl Work<Job> for Committer {
    fn work(&mut self, job: Job, waiting: &mut mpsc::Receiver<Job>) {
        let mut group = WriteGroup::with_room_for((waiting.len() + 1).min(self.max_group));
        group.add(job);
        while group.deliveries.len() < self.max_group
            && group.bytes < GROUP_BYTES
            && let Ok(job) = waiting.try_recv()
        {
            group.add(job);
        }
        self.work_on(group);
        self.maintain();
    }

    fn idle(&mut self) -> bool {
        self.maintain()
    }
}

impl Committer {
    fn work_on(&mut self, group: WriteGroup) {
        let WriteGroup { deliveries, receipts, memory, settlements, settled, others, .. } = group;
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
                    drop((deliveries, memory));
                });
            }
        }
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
                    self.trouble.note(&outcome);
                    self.trouble.note_room(outcome.as_ref().is_ok_and(|has_room| *has_room), bytes);
                    drop(reply.send(outcome.map_err(Error::from)));
                }
                (Job::Routes(make, reply), _) => {
                    let routes = make(&mut *self.inbox);
                    if let Ok(routes) = &routes {
                        self.routes.clone_from(routes);
                    }
                    drop(reply.send(routes));
                }
                (Job::Other(job), _) => job(&mut *self.inbox),
                // Deliveries and settlements are committed with the group.
                (Job::Deliver(..) | Job::Settle(..), _) => {}
            }
        }
    }

    /// Commits one by one, so that one delivery that cannot be stored does not fail the others.
    fn store_singly(&mut self, deliveries: &[EncodedDelivery], receipts: Vec<Reply<Result<Receipt>>>) {
        for (delivery, reply) in deliveries.iter().zip(receipts) {
            let outcome = self.store(std::slice::from_ref(delivery));
            answer_all(vec![reply], outcome.map_err(Error::from));
        }
    }

    fn store(&mut self, deliveries: &[EncodedDelivery]) -> Result<Vec<Receipt>, StoreError> {
        let started = Instant::now();
        let outcome = self.inbox.commit(deliveries, &self.routes);
        self.trouble.note(&outcome);
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
