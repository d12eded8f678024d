//! Removing: many requests in flight, few commits.

mod answered;
mod ending;
mod outcome;
mod recording;
mod target;

pub use outcome::{RemovalOutcome, RemovalSubject, Removals, RemovedHook};
pub use target::{HookChoice, RemovalTarget, pick, pick_settled};

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use futures_util::future::LocalBoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};

use self::answered::{AnsweredRemoval, RemovalResponse, ask};
use self::target::Placed;
use super::concurrency::ConcurrencyLimit;
use super::frontend::Frontend;
use crate::api::AuthenticatedApi;
use crate::domain::ApiOrigin;
use crate::error::{Error, Result};
use crate::store::Registry;

/// How many intents are recorded ahead, so that the server does not wait for the disk. Few: killed, the process leaves
/// them as `removing` too, although nothing was sent for them.
const AHEAD: usize = 8;

/// How long to wait for another process's write.
const LOCK_TIMEOUT: Duration = Duration::from_secs(15);

/// How long each of these waits is: responses and interruptions are handled in between.
const LOCK_TIMEOUT_STEP: Duration = Duration::from_millis(100);

/// How long the registry is waited for after an interruption, whatever keeps it.
const FINAL_TIMEOUT: Duration = Duration::from_millis(500);

/// How often to look whether another process has finished with the same hook.
const REMOVING_POLL_INTERVAL: Duration = Duration::from_millis(20);

/// How to remove.
#[derive(Debug, Clone, Copy, Default)]
pub struct RemovalOptions {
    /// Whether the hooks were named by id. Then the server has the last word on one whose removal is on record; one that
    /// was picked by what it is was to be removed, and is.
    pub by_id: bool,
    /// Whether a hook that is not there is no failure.
    pub ignore_missing: bool,
}

/// A removal of any number of hooks.
pub struct Remover<'a, F> {
    frontend: &'a F,
    registry: &'a dyn Registry,
    api: &'a AuthenticatedApi,
    origin: &'a ApiOrigin,
    options: RemovalOptions,
    on_end: &'a dyn Fn(),
    /// What is to be done now and then, and how often.
    upkeep: Option<(Duration, &'a dyn Fn())>,
    ended: Vec<EndedRemoval>,
    max_concurrency: Option<usize>,
    concurrency: ConcurrencyLimit,
    /// Targets whose intents are recorded; each is sent as soon as the concurrency limit allows it.
    ready: VecDeque<Placed>,
    /// Responses that are not recorded yet.
    answered: Vec<AnsweredRemoval>,
    /// Requests in flight, by the target's place.
    sent: BTreeMap<usize, RemovalTarget>,
    /// Whether the newest request was sent alone: no other has been in flight together with it.
    alone: bool,
    /// Until when the process that keeps the registry locked is waited for.
    locked_until: Option<Instant>,
    /// Whether the registry failed: nothing more is begun.
    broken: bool,
}

/// Requests that have not been answered.
type RequestsInFlight<'a> = FuturesUnordered<LocalBoxFuture<'a, (usize, RemovalResponse)>>;

/// What is known of a hook, and what became of it.
type EndedHook = (RemovalSubject, RemovalOutcome);

/// A result, the error in it, and its place among the others.
struct EndedRemoval {
    index: usize,
    hook: EndedHook,
    error: Option<Error>,
}

impl<'a, F: Frontend> Remover<'a, F> {
    /// A removal of hooks of this installation; `on_end` is called for each hook that has an end.
    pub fn new(
        frontend: &'a F,
        registry: &'a dyn Registry,
        api: &'a AuthenticatedApi,
        origin: &'a ApiOrigin,
        options: RemovalOptions,
        on_end: &'a dyn Fn(),
    ) -> Self {
        Self {
            frontend,
            registry,
            api,
            origin,
            options,
            on_end,
            upkeep: None,
            ended: Vec::new(),
            max_concurrency: None,
            concurrency: ConcurrencyLimit::new(0),
            ready: VecDeque::new(),
            answered: Vec::new(),
            sent: BTreeMap::new(),
            alone: false,
            locked_until: None,
            broken: false,
        }
    }

    /// The same, with no more requests at once than `max`.
    #[must_use]
    pub fn at_most(self, max: usize) -> Self {
        Self { max_concurrency: Some(max), ..self }
    }

    /// The same; `upkeep` is called as often as this, however long the server takes for its answers.
    #[must_use]
    pub fn with_upkeep(self, interval: Duration, upkeep: &'a dyn Fn()) -> Self {
        Self { upkeep: Some((interval, upkeep)), ..self }
    }

    /// Removes these, several at once.
    ///
    /// # Errors
    /// When waiting is not possible. What goes wrong with a hook is given beside what does not.
    pub fn remove(mut self, targets: Vec<RemovalTarget>) -> Result<Removals> {
        self.concurrency = match self.max_concurrency {
            Some(max) => ConcurrencyLimit::at_most(max, targets.len()),
            None => ConcurrencyLimit::new(targets.len()),
        };
        self.ended.reserve_exact(targets.len());
        let finished = self.remove_all(targets)?;
        let interruption = if finished { Vec::new() } else { self.interrupt() };
        self.ended.sort_by_key(|ended| ended.index);
        let removed =
            |EndedRemoval { index, hook: (subject, outcome), error }| RemovedHook { subject, outcome, error, index };
        Ok(Removals { hooks: self.ended.into_iter().map(removed).collect(), interruption })
    }

    /// Keeps as many requests in flight as it may. What has ended and what is to begin share a commit, as each one waits
    /// for the disk; meanwhile the server is at work on what was recorded ahead. Returns whether it came to its end:
    /// `false` when it was interrupted.
    ///
    /// The registry is called between waits, never within one.
    fn remove_all(&mut self, targets: Vec<RemovalTarget>) -> Result<bool> {
        let mut waiting: VecDeque<Placed> = targets.into_iter().enumerate().collect();
        let mut in_flight = FuturesUnordered::new();
        if let Err(error) = self.registry.set_lock_timeout(LOCK_TIMEOUT_STEP) {
            self.fail(waiting.into(), Some(error.into()));
            return Ok(true);
        }
        // From now on an interruption is noticed by what waits.
        if self.frontend.wait(async {})?.is_none() {
            self.ready.extend(waiting);
            return Ok(false);
        }
        loop {
            if let Some((_, upkeep)) = self.upkeep {
                upkeep();
            }
            if !self.ready.is_empty() {
                self.send_ready(&mut in_flight);
                if self.frontend.wait(self.let_requests_out(&mut in_flight))?.is_none() {
                    return Ok(false);
                }
            }
            let places = self.concurrency.limit() + self.concurrency.limit().min(AHEAD);
            let free = waiting.len().min(places.saturating_sub(in_flight.len() + self.ready.len()));
            let later = self.record(waiting.drain(..free).collect());
            waiting.extend(later);
            if self.is_over() {
                self.fail_rest(waiting.drain(..).collect());
            }
            self.send_ready(&mut in_flight);
            if in_flight.is_empty() && waiting.is_empty() && self.ready.is_empty() && self.answered.is_empty() {
                return Ok(true);
            }
            if self.frontend.wait(self.wait_for_answers(&mut in_flight))?.is_none() {
                return Ok(false);
            }
        }
    }

    /// Lets requests that were sent a moment ago reach the network before the registry is waited for.
    async fn let_requests_out(&mut self, in_flight: &mut RequestsInFlight<'a>) {
        // Once to pass the requests to their connections, and once for these to write them.
        for _ in 0..2 {
            self.receive_answers(in_flight);
            tokio::task::yield_now().await;
        }
    }

    /// Waits until there is an answer, or until it is time to look again.
    async fn wait_for_answers(&mut self, in_flight: &mut RequestsInFlight<'a>) {
        // Without a pause, and with nothing in flight, other processes are at work on all that is left.
        let others = self.locked_until.is_some() || in_flight.is_empty();
        let pause = self.concurrency.pause().or_else(|| others.then_some(REMOVING_POLL_INTERVAL));
        let pause = pause.or(self.upkeep.map(|(interval, _)| interval));
        tokio::select! {
            Some(answer) = in_flight.next() => self.receive(answer),
            () = tokio::time::sleep(pause.unwrap_or_default()), if pause.is_some() => {}
        }
        self.receive_answers(in_flight);
    }

    /// Whether nothing more is to be sent.
    fn is_over(&self) -> bool {
        self.broken || self.concurrency.is_hopeless()
    }

    /// Sends the requests that are ready, as far as the concurrency limit allows it.
    fn send_ready(&mut self, in_flight: &mut RequestsInFlight<'a>) {
        let free = self.concurrency.limit().saturating_sub(in_flight.len()).min(self.ready.len());
        if free == 0 || self.is_over() {
            return;
        }
        self.alone = free == 1 && in_flight.is_empty();
        for (index, target) in self.ready.drain(..free) {
            in_flight.push(ask(self.api, index, target.id()).boxed_local());
            self.sent.insert(index, target);
        }
    }

    /// Receives the answers that are there, without waiting for more.
    fn receive_answers(&mut self, in_flight: &mut RequestsInFlight<'a>) {
        while let Some(Some(answer)) = in_flight.next().now_or_never() {
            self.receive(answer);
        }
    }

    /// Receives an answer, and goes slower or faster as it says.
    fn receive(&mut self, (index, answer): (usize, RemovalResponse)) {
        let in_flight = self.sent.len();
        // Every request in flight has its target in `sent`.
        let Some(target) = self.sent.remove(&index) else { return };
        let answered = AnsweredRemoval::of(index, target, answer);
        if answered.is_too_fast() {
            self.concurrency.slow_down(in_flight, self.alone);
        } else {
            self.concurrency.speed_up();
        }
        self.answered.push(answered);
    }
}
