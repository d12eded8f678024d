//! Forwarding: a forwarder for each target, which claims what is due, renews its leases, and records what became of it.

mod alarm;
mod attempt;
mod breaker;
mod exec;
mod http;
mod policy;
mod queue;
mod rate;
mod response;
mod target;
mod template;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::SignedDuration;
use tokio::sync::{Notify, oneshot, watch};
use tokio::task::JoinSet;

pub use self::exec::ExecTarget;
pub use self::http::HttpTarget;
pub use self::policy::Policy;
pub use self::target::{Target, TargetKind};
pub use self::template::{BUILT_IN_TEMPLATES, Template};

use self::alarm::TargetAlarm;
use self::attempt::{Attempt, Ended, Finding, Unsettled};
use self::breaker::Breaker;
use self::queue::ForwardQueue;
use self::rate::RateLimit;
use self::response::FailureScope;
use self::target::Deliver;
use super::alerts::Alerts;
use super::clock::{Clock, Moment};
use super::in_flight::InFlight;
use super::metrics::Metrics;
use super::outcomes::OutcomeSender;
use super::peers::Peers;
use crate::store::{Attendance, ClaimRequest, Lease, TargetId};

/// How often the queue is polled without a notification: another process may have requeued something.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// How long to wait before an outcome that could not be recorded is recorded again.
const SETTLE_RETRY_DELAY: Duration = Duration::from_secs(1);

/// The longest `Retry-After` that is honored.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(3600);

/// How long a lease lasts unless renewed. The claims of a receiver that died are blocked for others until then.
const LEASE: Duration = Duration::from_secs(90);

/// How often leases are renewed: several renewals may fail before one is lost.
const RENEWAL_INTERVAL: Duration = Duration::from_secs(LEASE.as_secs() / 6);

/// When time went on by so much more than the monotonic clock, it has moved.
const MOVED: SignedDuration = SignedDuration::from_secs(1);

/// Forwards events to one target.
pub(super) struct Forwarder<Q: ForwardQueue, T: Deliver> {
    target: Arc<T>,
    id: TargetId,
    policy: Policy,
    queue: Q,
    metrics: Arc<Metrics>,
    /// Who is told the outcomes.
    outcomes: Option<OutcomeSender>,
    clock: Clock,
    /// How many attempts are in flight, to all targets together.
    in_flight: InFlight,
    /// How many retries to this target are in flight.
    retries: InFlight,
    breaker: Breaker,
    rate: Option<RateLimit>,
    /// The leases of attempts in flight, and when they are renewed.
    leases: HashSet<Lease>,
    renew_at: Option<Instant>,
    /// The moment of the last step.
    last: Option<Moment>,
    unsettled: Vec<Unsettled<Q>>,
    settle_at: Option<Instant>,
    /// The target answered that it is gone (410).
    stopped: bool,
    /// Whether the metrics have the target as paused.
    shown_paused: bool,
    peers: Arc<Peers>,
    /// What other processes are to know of the target.
    news: Option<News>,
    alarm: TargetAlarm,
}

/// What a forwarder tells other processes of its target.
enum News {
    /// It is tried anew, whatever a receiver before this one found.
    Began,
    /// It is paused for so long.
    Failing(Duration),
    Recovered,
}

/// The result of a step.
pub(super) struct Step<Q: ForwardQueue, T: Deliver> {
    /// Attempts to be made, in this order.
    attempts: Vec<Attempt<Q, T>>,
    /// How long until the next step, unless something happens before.
    wait: Duration,
}

impl<Q: ForwardQueue, T: Deliver> Forwarder<Q, T> {
    pub(super) fn new(
        target: T,
        id: TargetId,
        policy: Policy,
        queue: Q,
        (metrics, in_flight, clock): (Arc<Metrics>, InFlight, Clock),
    ) -> Self {
        metrics.add_target(target.shown());
        let rate = policy.rate.map(|rate| RateLimit::new(rate, Instant::now()));
        Self {
            target: Arc::new(target),
            id,
            policy,
            queue,
            metrics,
            outcomes: None,
            clock,
            in_flight,
            retries: InFlight::default(),
            breaker: Breaker::default(),
            rate,
            leases: HashSet::new(),
            renew_at: None,
            last: None,
            unsettled: Vec::new(),
            settle_at: None,
            stopped: false,
            shown_paused: false,
            peers: Peers::new(Attendance::default()),
            news: Some(News::Began),
            alarm: TargetAlarm::default(),
        }
    }

    /// The same, as one of several receivers.
    pub(super) fn among(self, peers: Arc<Peers>) -> Self {
        Self { peers, ..self }
    }

    /// The same, and tells the outcomes.
    pub(super) fn telling(self, outcomes: Option<OutcomeSender>) -> Self {
        Self { outcomes, ..self }
    }

    /// The same, and alerts when the target fails.
    pub(super) fn alerting(self, alerts: Alerts) -> Self {
        Self { alarm: TargetAlarm::of(alerts), ..self }
    }

    /// Forwards until told to stop, and then drains what is in flight. `stored` is notified of new events.
    pub(super) async fn run(mut self, stored: Arc<Notify>, mut stop: watch::Receiver<bool>) {
        let mut attempts = JoinSet::new();
        // Resolves when the newest attempt has begun.
        let mut last_begun: Option<oneshot::Receiver<()>> = None;
        loop {
            // Enabled before the step, so that what is stored between claiming and waiting is not missed.
            let mut heard = std::pin::pin!(stored.notified());
            heard.as_mut().enable();
            let Step { attempts: new, wait } = self.step(self.clock.now(), attempts.len()).await;
            for attempt in new {
                let (begun, next) = oneshot::channel();
                attempts.spawn(attempt.make_in_turn(last_begun.replace(next), begun));
            }
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => break,
                Some(ended) = attempts.join_next() => {
                    self.joined(ended.ok());
                    // All that have ended by now: what is claimed for them is claimed at once.
                    while let Some(ended) = attempts.try_join_next() {
                        self.joined(ended.ok());
                    }
                }
                () = heard => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
        // Others say from now on how the target is.
        self.alarm = TargetAlarm::default();
        // Attempts in flight keep their leases until they have ended.
        while !attempts.is_empty() || !self.unsettled.is_empty() {
            self.tend_leases(self.clock.now()).await;
            tokio::select! {
                Some(ended) = attempts.join_next() => self.joined(ended.ok()),
                () = tokio::time::sleep(POLL_INTERVAL) => {}
            }
        }
    }

    /// One step at this moment, with so many attempts in flight: renews leases, records what could not be recorded before,
    /// and claims what there is room for.
    async fn step(&mut self, now: Moment, in_flight: usize) -> Step<Q, T> {
        self.tend_leases(now).await;
        self.show_paused(now);
        self.tell_peers(now).await;
        let idle = Step { attempts: Vec::new(), wait: POLL_INTERVAL };
        let taken = in_flight + self.unsettled.len();
        let room = self.policy.max_in_flight.saturating_sub(taken).min(self.breaker.room(now.instant, taken));
        if self.stopped || room == 0 {
            return idle;
        }
        let receivers = self.peers.receivers();
        let at_once = self.rate.as_mut().map_or(usize::MAX, |rate| {
            rate.share_among(receivers);
            rate.room(now.instant)
        });
        if at_once == 0 {
            return Step { wait: self.wait_for_rate(), ..idle };
        }
        let room = room.min(at_once);
        // Half of the attempts are reserved for first tries, so that events that fail slowly do not block the others.
        let for_retries = self.policy.max_in_flight.div_ceil(2).saturating_sub(self.retries.get());
        let request = ClaimRequest { limit: room, retries: for_retries, newest: self.breaker.is_probing() };
        let claimed = match self.queue.claim(self.id, request, now.time, LEASE).await {
            Ok(claimed) => claimed,
            Err(error) => {
                tracing::debug!("nothing could be claimed: {error}");
                return idle;
            }
        };
        let is_full = claimed.len() == room;
        let mut attempts = Vec::with_capacity(claimed.len());
        for leased in claimed {
            self.leases.insert(leased.lease());
            if let Some(rate) = &mut self.rate {
                rate.spend(leased.forward.events.len());
            }
            self.renew_at.get_or_insert(now.instant + RENEWAL_INTERVAL);
            let is_retry = leased.forward.attempts > 0;
            let guards = (self.in_flight.begin(), is_retry.then(|| self.retries.begin()));
            let shared = (self.policy.clone(), Arc::clone(&self.metrics), self.queue.clone(), self.clock.clone());
            let attempt = Attempt::new(leased, Arc::clone(&self.target), shared, guards);
            attempts.push(attempt.telling(self.outcomes.clone()));
        }
        // Without room for retries, the next due time is irrelevant: the end of an attempt wakes the loop.
        let next_due = if is_full || for_retries == 0 { None } else { self.next_due(now).await };
        let wait = next_due.unwrap_or(POLL_INTERVAL).min(POLL_INTERVAL);
        // What is due now, and was held back by the rate alone.
        let wait = if is_full { wait.min(self.wait_for_rate()) } else { wait };
        Step { attempts, wait }
    }

    /// How long until the rate lets an event through.
    fn wait_for_rate(&self) -> Duration {
        self.rate.as_ref().map_or(POLL_INTERVAL, RateLimit::wait).min(POLL_INTERVAL)
    }

    /// How long until the next forward is due.
    async fn next_due(&self, now: Moment) -> Option<Duration> {
        let due = self.queue.next_due(self.id, now.time).await.ok()??;
        Some(Duration::try_from(due.duration_since(now.time)).unwrap_or_default())
    }

    /// Renews leases when it is time, and records outcomes that could not be recorded before.
    async fn tend_leases(&mut self, now: Moment) {
        if self.settle_at.is_some_and(|at| at <= now.instant) {
            self.settle_at = None;
            for unsettled in std::mem::take(&mut self.unsettled) {
                self.keep_unsettled(unsettled.settle().await, now);
            }
        }
        let before = self.last.replace(now);
        // Leases are held against a time that may have moved: they are renewed before anything is claimed.
        let has_moved = before.is_some_and(|before| {
            let gone = SignedDuration::try_from(now.instant - before.instant).unwrap_or_default();
            now.time.duration_since(before.time) - gone > MOVED
        });
        if !has_moved && self.renew_at.is_none_or(|at| now.instant < at) {
            return;
        }
        let leases: Vec<Lease> = self.leases.iter().copied().collect();
        self.renew_at = (!leases.is_empty()).then(|| now.instant + RENEWAL_INTERVAL);
        match self.queue.renew(leases, now.time, LEASE).await {
            // Their attempts go on, but their outcomes are not recorded.
            Ok(lost) => self.leases.retain(|lease| !lost.contains(lease)),
            Err(error) => tracing::debug!("leases could not be renewed: {error}"),
        }
    }

    fn keep_unsettled(&mut self, unsettled: Option<Unsettled<Q>>, now: Moment) {
        if let Some(unsettled) = unsettled {
            self.unsettled.push(unsettled);
            self.settle_at.get_or_insert(now.instant + SETTLE_RETRY_DELAY);
        }
    }

    /// Puts on record that the target is failing, or has recovered, for other receivers and whoever looks.
    async fn tell_peers(&mut self, now: Moment) {
        let until = match self.news.take() {
            Some(News::Failing(wait)) => now.time.checked_add(wait).ok(),
            Some(News::Recovered) => None,
            // Another receiver may know better.
            Some(News::Began) if self.peers.receivers() == 1 => None,
            Some(News::Began) | None => return,
        };
        if let Err(error) = self.queue.hold(self.id, until).await {
            tracing::debug!("a pause was not put on record: {error}");
        }
    }

    /// Puts into the metrics whether the target is paused, if that has changed.
    fn show_paused(&mut self, now: Moment) {
        let paused = self.stopped || self.breaker.is_paused(now.instant);
        if std::mem::replace(&mut self.shown_paused, paused) != paused {
            self.metrics.paused(self.target.shown(), paused);
        }
    }

    /// Notes the end of an attempt, unless it panicked.
    fn joined(&mut self, ended: Option<Ended<Q>>) {
        if let Some(ended) = ended {
            self.ended(ended, self.clock.now());
        }
    }

    /// Updates the breaker with what an attempt says about the target.
    fn ended(&mut self, ended: Ended<Q>, now: Moment) {
        let Ended { lease, finding, unsettled } = ended;
        if unsettled.is_none() {
            self.leases.remove(&lease);
        }
        self.keep_unsettled(unsettled, now);
        let shown = self.target.shown();
        match finding {
            Finding::Accepted => {
                self.alarm.accepted(shown);
                if self.breaker.succeeded() {
                    tracing::warn!("{shown} has recovered");
                    self.news = Some(News::Recovered);
                }
            }
            Finding::FailedAgain => {}
            Finding::Skipped => {
                if let Some(rate) = &mut self.rate {
                    rate.give_back();
                }
            }
            Finding::Failed(scope, error) => self.failed(scope, &error, now),
        }
    }

    /// Notes a failure, and pauses the target if there were too many.
    fn failed(&mut self, scope: FailureScope, error: &str, now: Moment) {
        let shown = self.target.shown();
        match scope {
            FailureScope::Gone => {
                if !self.stopped {
                    tracing::error!(
                        "{shown} answers that it is gone (410): forwarding to it stops until the next start or reload of --config"
                    );
                }
                self.stopped = true;
            }
            FailureScope::Target { pause, .. } => {
                let pause = pause.map(|pause| pause.min(MAX_RETRY_AFTER));
                if let Some(wait) = self.breaker.failed(now.instant, pause) {
                    tracing::warn!("{shown} is failing; it is paused for {} s: {error}", wait.as_secs_f32().ceil());
                    self.news = Some(News::Failing(wait));
                }
            }
            // Only this event is rejected: others go on, unless all of them are rejected.
            FailureScope::Event => {
                if let Some(wait) = self.breaker.refused(now.instant) {
                    let seconds = wait.as_secs_f32().ceil();
                    tracing::warn!("{shown} rejects every event; it is paused for {seconds} s: {error}");
                    self.news = Some(News::Failing(wait));
                }
            }
        }
        self.alarm.failed(shown, self.stopped || self.breaker.is_probing(), error);
    }
}

#[cfg(test)]
mod tests;
