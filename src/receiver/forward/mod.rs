//! Handing on: a forwarder for each target, which takes what is due from the inbox and says what became of it.

mod breaker;
mod exec;
mod http;
mod target;
mod template;

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Notify, oneshot, watch};
use tokio::task::{JoinError, JoinSet};

pub use self::exec::ExecTarget;
pub use self::http::HttpTarget;
pub use self::target::{Target, TargetKind};
pub use self::template::{BUILT_IN_TEMPLATES, Template};

use self::breaker::Breaker;
use self::target::{FailureScope, TargetResponse};
use super::in_flight::{InFlight, InFlightGuard};
use super::metrics::Metrics;
use super::writer::Writer;
use crate::store::{AttemptOutcome, ClaimRequest, Forward, ForwardId, Settlement, TargetId};

/// How often the inbox is looked at though nothing was heard: another process may have put something in line.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// How long to wait before an outcome that could not be stored is stored again.
const STORE_AGAIN: Duration = Duration::from_secs(1);

/// The longest `Retry-After` that is heeded.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(3600);

/// How events are handed on.
#[derive(Debug, Clone)]
pub struct Policy {
    /// The most attempts under way at once, for each target.
    pub max_in_flight: usize,
    /// For how long it is tried.
    pub max_age: SignedDuration,
    /// The upper bound of the first wait; it doubles with each failure.
    pub first_wait: Duration,
    /// The upper bound of all waits.
    pub longest_wait: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            max_in_flight: 8,
            max_age: SignedDuration::from_hours(72),
            first_wait: Duration::from_secs(2),
            longest_wait: Duration::from_secs(15 * 60),
        }
    }
}

impl Policy {
    /// A random time up to a bound that doubles with each failure ("full jitter").
    fn wait_after(&self, attempts: u32) -> Duration {
        let bound = self.first_wait.saturating_mul(1 << attempts.min(20)).min(self.longest_wait);
        bound.mul_f64(fastrand::f64())
    }
}

/// What hands on to one target.
pub(super) struct Forwarder {
    target: Arc<Target>,
    id: TargetId,
    policy: Policy,
    writer: Writer,
    metrics: Arc<Metrics>,
    stored: Arc<Notify>,
    /// How many attempts are under way, to all targets together.
    count: InFlight,
    breaker: Breaker,
    /// How many under way failed before.
    retries: InFlight,
    /// Hears when the newest attempt has begun.
    last_begun: Option<oneshot::Receiver<()>>,
    stopped: bool,
}

impl Forwarder {
    pub(super) fn new(
        target: Target,
        id: TargetId,
        policy: Policy,
        writer: Writer,
        (metrics, stored, count): (Arc<Metrics>, Arc<Notify>, InFlight),
    ) -> Self {
        let breaker = Breaker::default();
        let (target, retries) = (Arc::new(target), InFlight::default());
        Self { target, id, policy, writer, metrics, stored, count, breaker, retries, last_begun: None, stopped: false }
    }

    /// Hands on until told to stop, and then finishes what is under way.
    pub(super) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut in_flight = JoinSet::new();
        let stored = Arc::clone(&self.stored);
        loop {
            // Heard from now on: what is stored between looking and waiting is not missed.
            let mut heard = std::pin::pin!(stored.notified());
            heard.as_mut().enable();
            let wait = self.fill(&mut in_flight).await;
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => break,
                Some(ended) = in_flight.join_next() => self.note(&ended),
                () = heard => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
        while let Some(ended) = in_flight.join_next().await {
            self.note(&ended);
        }
    }

    /// Starts what may be started; says how long there is nothing more to do.
    async fn fill(&mut self, in_flight: &mut JoinSet<End>) -> Duration {
        let room = self.policy.max_in_flight.saturating_sub(in_flight.len());
        let room = room.min(self.breaker.room(Instant::now(), in_flight.len()));
        if self.stopped || room == 0 {
            return POLL_INTERVAL;
        }
        // Half of the places are for what was not tried yet: events that fail slowly leave room for the others.
        let for_retries = self.policy.max_in_flight.div_ceil(2).saturating_sub(self.retries.get());
        let request = ClaimRequest { limit: room, retries: for_retries, newest: self.breaker.is_probing() };
        let claimed = match self.writer.claim(self.id, request).await {
            Ok(claimed) => claimed,
            Err(error) => {
                tracing::debug!("nothing could be claimed: {error}");
                return POLL_INTERVAL;
            }
        };
        let full = claimed.len() == room;
        for forward in claimed {
            let attempt = Attempt {
                target: Arc::clone(&self.target),
                policy: self.policy.clone(),
                writer: self.writer.clone(),
                metrics: Arc::clone(&self.metrics),
                claim: Claim { forward: Some(forward.id), writer: self.writer.clone() },
                in_flight: (self.count.begin(), (forward.attempts > 0).then(|| self.retries.begin())),
            };
            let (begun, next) = oneshot::channel();
            let before = self.last_begun.replace(next);
            in_flight.spawn(attempt.make_in_turn(forward, before, begun));
        }
        // With no place for those that failed before, it is no matter when the next of them is due: what ends makes one.
        if full || for_retries == 0 {
            return POLL_INTERVAL;
        }
        match self.writer.next_due(self.id).await {
            Ok(Some(due)) => {
                Duration::try_from(due.duration_since(Timestamp::now())).unwrap_or_default().min(POLL_INTERVAL)
            }
            _ => POLL_INTERVAL,
        }
    }

    /// What an attempt says about the target.
    fn note(&mut self, ended: &Result<End, JoinError>) {
        let shown = &self.target.name.shown;
        match ended {
            Ok(End::Accepted) if self.breaker.succeeded() => tracing::warn!("{shown} takes events again"),
            // One that was aborted, or met a bug, says nothing; nor does an event that had failed several times.
            Ok(End::Accepted | End::FailedAgain) | Err(_) => {}
            Ok(End::Failed(FailureScope::Gone, _)) => {
                if !self.stopped {
                    tracing::error!(
                        "{shown} answers that it is gone (410): nothing more is handed on to it until the next start"
                    );
                }
                self.stopped = true;
            }
            Ok(End::Failed(FailureScope::Target { pause, .. }, error)) => {
                let pause = pause.map(|pause| pause.min(MAX_RETRY_AFTER));
                if let Some(wait) = self.breaker.failed(Instant::now(), pause) {
                    tracing::warn!("{shown} fails; it is left alone for {} s: {error}", wait.as_secs_f32().ceil());
                }
            }
            // It fails over this event: the others go on, unless it is so with all of them.
            Ok(End::Failed(FailureScope::Event, error)) => {
                if let Some(wait) = self.breaker.refused(Instant::now()) {
                    let seconds = wait.as_secs_f32().ceil();
                    tracing::warn!("{shown} takes no event; it is left alone for {seconds} s: {error}");
                }
            }
        }
    }
}

/// How an attempt ended.
enum End {
    Accepted,
    /// With what was wrong.
    Failed(FailureScope, String),
    /// The same event had failed several times before.
    FailedAgain,
}

/// So many failures of one event say no more about the target than about the event.
const ITS_OWN_FAULT: u32 = 3;

/// A claim that is given back if its attempt does not come to its end, as when a bug ends it.
struct Claim {
    forward: Option<ForwardId>,
    writer: Writer,
}

impl Claim {
    fn end(mut self) {
        self.forward = None;
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Some(forward) = self.forward {
            self.writer.release(forward);
        }
    }
}

/// One attempt to hand on.
struct Attempt {
    target: Arc<Target>,
    policy: Policy,
    writer: Writer,
    metrics: Arc<Metrics>,
    claim: Claim,
    in_flight: (InFlightGuard, Option<InFlightGuard>),
}

impl Attempt {
    /// Makes it, beginning when the one before has begun: tasks run in any order, and some start with the last.
    async fn make_in_turn(
        self,
        forward: Forward,
        before: Option<oneshot::Receiver<()>>,
        begun: oneshot::Sender<()>,
    ) -> End {
        if let Some(before) = before {
            // It is gone if that one never came to begin.
            let _ = before.await;
        }
        let mut work = std::pin::pin!(self.make(forward));
        let first_step = poll_fn(|context| Poll::Ready(work.as_mut().poll(context))).await;
        let _ = begun.send(());
        match first_step {
            Poll::Ready(end) => end,
            Poll::Pending => work.await,
        }
    }

    /// Makes it, and has its outcome stored.
    async fn make(self, forward: Forward) -> End {
        let started = Instant::now();
        let verdict = self.target.deliver(&forward).await;
        let shown = &self.target.name.shown;
        let now = Timestamp::now();
        let (outcome, end) = match verdict {
            TargetResponse::Accepted => {
                self.metrics.forwarded(shown, started.elapsed());
                (AttemptOutcome::Delivered, End::Accepted)
            }
            TargetResponse::Failed { error, scope } => {
                let dead = now.duration_since(forward.queued_at) >= self.policy.max_age;
                self.metrics.failed(shown, dead, started.elapsed());
                let attempt = forward.attempts + 1;
                if dead {
                    tracing::warn!(attempt, "{shown}: given up, its time is over: {error}");
                } else {
                    tracing::info!(attempt, "{shown}: {error}");
                }
                let pause = match scope {
                    FailureScope::Target { pause, .. } => pause.unwrap_or_default().min(MAX_RETRY_AFTER),
                    // It is to be known as gone before this is due again.
                    FailureScope::Gone => POLL_INTERVAL,
                    FailureScope::Event => Duration::ZERO,
                };
                let wait = self.policy.wait_after(forward.attempts).max(pause);
                let at = now.checked_add(wait).unwrap_or(now);
                let own_fault = forward.attempts >= ITS_OWN_FAULT && scope.is_an_answer();
                let end = if own_fault { End::FailedAgain } else { End::Failed(scope, error.clone()) };
                (if dead { AttemptOutcome::Dead { error } } else { AttemptOutcome::Again { at, error } }, end)
            }
        };
        let settlement = Settlement { forward: forward.id, at: now, outcome };
        while let Err(error) = self.writer.settle(settlement.clone()).await {
            tracing::debug!("an outcome could not be stored: {error}");
            tokio::time::sleep(STORE_AGAIN).await;
        }
        // The settlement ended it.
        self.claim.end();
        drop(self.in_flight);
        end
    }
}
