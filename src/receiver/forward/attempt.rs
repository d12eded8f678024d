//! One attempt to forward, from a lease to the record of its outcome.

use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::oneshot;

use super::queue::ForwardQueue;
use super::response::{FailureScope, TargetAnswer, TargetResponse};
use super::target::Deliver;
use super::{MAX_RETRY_AFTER, POLL_INTERVAL, Policy};
use crate::domain::excerpt;
use crate::receiver::clock::{Clock, Moment};
use crate::receiver::in_flight::InFlightGuard;
use crate::receiver::metrics::Metrics;
use crate::receiver::outcomes::{ForwardOutcome, OutcomeSender};
use crate::store::{AttemptOutcome, AttemptReport, Forward, Lease, Leased, Settled, Settlement};

/// After this many failures of one event, a further one says more about the event than about the target.
const FAILURES_OF_ONE_EVENT: u32 = 3;

/// What an attempt says about its target.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Finding {
    Accepted,
    /// It wants none of the events.
    Skipped,
    /// It failed, with the error.
    Failed(FailureScope, String),
    /// The same event had failed several times before, so this says nothing about the target.
    FailedAgain,
}

/// The end of an attempt.
pub(super) struct Ended<Q: ForwardQueue> {
    pub(super) lease: Lease,
    pub(super) finding: Finding,
    /// The outcome, if it could not be recorded.
    pub(super) unsettled: Option<Unsettled<Q>>,
}

/// An outcome that is to be recorded again. Its attempt counts as in flight until then.
pub(super) struct Unsettled<Q: ForwardQueue> {
    settlement: Settlement,
    claim: Claim<Q>,
    _in_flight: (InFlightGuard, Option<InFlightGuard>),
}

impl<Q: ForwardQueue> Unsettled<Q> {
    /// Records the outcome; returns it if that fails again.
    pub(super) async fn settle(mut self) -> Option<Self> {
        match self.claim.queue.settle(self.settlement.clone()).await {
            Ok(settled) => {
                self.claim.end(settled);
                None
            }
            Err(error) => {
                tracing::debug!("an outcome could not be recorded: {error}");
                Some(self)
            }
        }
    }
}

/// A lease that is released if its attempt does not complete, as after a panic.
struct Claim<Q: ForwardQueue> {
    lease: Option<Lease>,
    queue: Q,
}

impl<Q: ForwardQueue> Claim<Q> {
    fn end(&mut self, settled: Settled) {
        if settled == Settled::LeaseLost {
            tracing::info!("the lease of a forward was lost during the attempt: its outcome is not recorded");
        }
        self.lease = None;
    }
}

impl<Q: ForwardQueue> Drop for Claim<Q> {
    fn drop(&mut self) {
        if let Some(lease) = self.lease {
            self.queue.release(lease);
        }
    }
}

/// One attempt to forward.
pub(super) struct Attempt<Q: ForwardQueue, T: Deliver> {
    forward: Forward,
    target: Arc<T>,
    policy: Policy,
    metrics: Arc<Metrics>,
    outcomes: Option<OutcomeSender>,
    clock: Clock,
    claim: Claim<Q>,
    lease: Lease,
    in_flight: (InFlightGuard, Option<InFlightGuard>),
}

impl<Q: ForwardQueue, T: Deliver> Attempt<Q, T> {
    pub(super) fn new(
        leased: Leased,
        target: Arc<T>,
        (policy, metrics, queue, clock): (Policy, Arc<Metrics>, Q, Clock),
        in_flight: (InFlightGuard, Option<InFlightGuard>),
    ) -> Self {
        let lease = leased.lease();
        let claim = Claim { lease: Some(lease), queue };
        Self { forward: leased.forward, target, policy, metrics, outcomes: None, clock, claim, lease, in_flight }
    }

    /// The same, and tells the outcome.
    pub(super) fn telling(self, outcomes: Option<OutcomeSender>) -> Self {
        Self { outcomes, ..self }
    }

    /// Makes the attempt once the previous one has begun: tasks start in any order, and events are sent in theirs.
    pub(super) async fn make_in_turn(
        self,
        before: Option<oneshot::Receiver<()>>,
        begun: oneshot::Sender<()>,
    ) -> Ended<Q> {
        if let Some(before) = before {
            // The sender is dropped if that attempt never began.
            let _ = before.await;
        }
        let clock = self.clock.clone();
        // Before the next attempt begins: what the filter takes must not change the order.
        let is_wanted = self.is_wanted().await;
        let mut work = std::pin::pin!(self.make_if(is_wanted, || clock.now()));
        let first_step = poll_fn(|context| Poll::Ready(work.as_mut().poll(context))).await;
        let _ = begun.send(());
        match first_step {
            Poll::Ready(end) => end,
            Poll::Pending => work.await,
        }
    }

    /// Makes the attempt, and records its outcome.
    #[cfg(test)]
    pub(super) async fn make(self, clock: impl Fn() -> Moment) -> Ended<Q> {
        let is_wanted = self.is_wanted().await;
        self.make_if(is_wanted, clock).await
    }

    /// Makes the attempt if the target wants the events, and records its outcome.
    async fn make_if(self, is_wanted: bool, clock: impl Fn() -> Moment) -> Ended<Q> {
        let started = clock();
        let (at, (outcome, finding), report) = if is_wanted {
            let TargetAnswer { outcome: response, status, answer } = self.target.deliver(&self.forward).await;
            let now = clock();
            let took = now.instant - started.instant;
            let is_accepted = matches!(response, TargetResponse::Accepted);
            let (outcome, finding) = self.judge(response, took, now);
            self.tell(&outcome, status.filter(|_| is_accepted), took, now);
            (now.wall, (outcome, finding), AttemptReport { took, status, answer })
        } else {
            (started.wall, (AttemptOutcome::Skipped, Finding::Skipped), AttemptReport::default())
        };
        let settlement = Settlement { lease: self.lease, at, outcome, report };
        let Self { claim, in_flight, lease, .. } = self;
        let unsettled = Unsettled { settlement, claim, _in_flight: in_flight }.settle().await;
        Ended { lease, finding, unsettled }
    }

    /// Whether the target wants the events. What its filter fails over is forwarded: no event is lost for it.
    async fn is_wanted(&self) -> bool {
        self.target.wants(&self.forward).await.unwrap_or_else(|error| {
            let (shown, event) = (self.target.shown(), self.forward.events.first().map(|event| event.id.as_str()));
            self.metrics.filter_failed(shown);
            tracing::warn!(event, "{shown}: its filter failed, and the event is forwarded");
            // It may quote the event.
            tracing::debug!(event, "{shown}: {}", excerpt(&error.to_string(), 200));
            true
        })
    }

    /// What a response means for the forward and for its target.
    fn judge(&self, response: TargetResponse, took: Duration, now: Moment) -> (AttemptOutcome, Finding) {
        let (shown, forward) = (self.target.shown(), &self.forward);
        let TargetResponse::Failed { error, scope } = response else {
            self.metrics.forwarded(shown, took);
            return (AttemptOutcome::Delivered, Finding::Accepted);
        };
        let is_last = now.trusted.is_some_and(|time| time.duration_since(forward.queued_at) >= self.policy.max_age);
        self.metrics.failed(shown, is_last, took);
        let (attempt, event) = (forward.attempts + 1, shown_events(forward));
        if is_last {
            tracing::warn!(event, attempt, "{shown}: dead-lettered, as it was queued for too long: {error}");
        } else {
            tracing::info!(event, attempt, "{shown}: {error}");
        }
        let is_of_the_event = forward.attempts >= FAILURES_OF_ONE_EVENT && scope.is_an_answer();
        let finding = if is_of_the_event { Finding::FailedAgain } else { Finding::Failed(scope, error.clone()) };
        if is_last {
            return (AttemptOutcome::DeadLettered { error }, finding);
        }
        let pause = match scope {
            FailureScope::Target { pause, .. } => pause.unwrap_or_default().min(MAX_RETRY_AFTER),
            // It is to be known as gone before this is due again.
            FailureScope::Gone => POLL_INTERVAL,
            FailureScope::Event => Duration::ZERO,
        };
        let wait = self.policy.wait_after(forward.attempts).max(pause);
        let at = now.time.checked_add(wait).unwrap_or(now.time);
        (AttemptOutcome::Retry { at, error }, finding)
    }

    /// Tells the outcome to whoever watches.
    fn tell(&self, outcome: &AttemptOutcome, status: Option<u16>, took: Duration, now: Moment) {
        let (Some(outcomes), [event, more @ ..]) = (&self.outcomes, self.forward.events.as_slice()) else { return };
        let (error, retry_after) = match outcome {
            AttemptOutcome::Skipped => return,
            AttemptOutcome::Delivered => (None, None),
            AttemptOutcome::DeadLettered { error } => (Some(error.clone()), None),
            AttemptOutcome::Retry { at, error } => {
                let wait = Duration::try_from(at.duration_since(now.time)).unwrap_or_default();
                (Some(error.clone()), Some(wait))
            }
        };
        let event = (event.id.clone(), more.len());
        outcomes.tell(ForwardOutcome {
            target: self.target.shown().to_owned(),
            event,
            status,
            error,
            retry_after,
            took,
        });
    }
}

/// The events of a forward, for the log: the id of the first, and how many more there are.
fn shown_events(forward: &Forward) -> String {
    match forward.events.as_slice() {
        [] => String::new(),
        [event] => event.id.clone(),
        [event, more @ ..] => format!("{} and {} more", event.id, more.len()),
    }
}
