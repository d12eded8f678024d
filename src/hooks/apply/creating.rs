//! Making hooks: many requests in flight, few commits. Unlike intents to remove, those to subscribe are recorded for requests
//! that are sent at once, as one that a killed process leaves behind has an unknown outcome.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use futures_util::future::LocalBoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use jiff::Timestamp;

use super::lock::ManifestLockGuard;
use crate::api::{AuthenticatedApi, CarriedOut, Failure};
use crate::domain::{HookId, HookRecord, RowId};
use crate::error::{Error, ErrorKind, Result};
use crate::hooks::advice::{in_doubt, unrecorded, unresolved};
use crate::hooks::concurrency::ConcurrencyLimit;
use crate::hooks::frontend::Frontend;
use crate::store::{Activated, Conflict, Registry, Reservation, SubscriptionEnd, SubscriptionIntent};

/// How often to look whether another process has finished the same subscription, or with the registry.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// How often to look whether the lock of the manifest is to be renewed, however long the server takes for its answers.
pub(super) const RENEWAL_CHECK_INTERVAL: Duration = Duration::from_secs(2);

/// How long after an interruption answers are waited for.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// For how long another process may keep the registry locked.
const LOCK_TIMEOUT: Duration = Duration::from_secs(30);

/// A hook to make, and its place among the others.
pub(super) struct Creation {
    pub(super) index: usize,
    pub(super) intent: SubscriptionIntent,
}

/// What became of it.
pub(super) enum CreationEnd {
    /// It exists.
    Made(Box<HookRecord>),
    /// Somebody else made it meanwhile.
    Existed(Box<HookRecord>),
    /// It was not made.
    Failed(Error),
    /// Whether it exists is not known.
    InDoubt(Error),
}

/// The answer to a request.
type CreationResponse = Result<HookId, Failure>;

/// A request that was answered, and has not been recorded.
struct AnsweredCreation {
    creation: Creation,
    row: RowId,
    answer: CreationResponse,
}

/// Makes hooks.
pub(super) struct Creator<'a, F> {
    pub(super) frontend: &'a F,
    pub(super) registry: &'a dyn Registry,
    pub(super) api: &'a AuthenticatedApi,
    pub(super) lock: &'a ManifestLockGuard<'a>,
    pub(super) on_end: &'a dyn Fn(),
    pub(super) limit: ConcurrencyLimit,
    pub(super) state: CreatorState,
}

/// What is going on.
#[derive(Default)]
pub(super) struct CreatorState {
    waiting: VecDeque<Creation>,
    /// Those that another process is at work on.
    blocked: Vec<Creation>,
    sent: BTreeMap<usize, (Creation, RowId)>,
    answered: Vec<AnsweredCreation>,
    ended: Vec<(usize, CreationEnd)>,
    /// Whether the newest request was sent alone.
    alone: bool,
    /// Why nothing more is begun.
    broken: Option<Error>,
    /// Since when another process keeps the registry locked.
    locked_since: Option<Instant>,
}

type SubscriptionsInFlight<'a> = FuturesUnordered<LocalBoxFuture<'a, (usize, CreationResponse)>>;

impl<'a, F: Frontend> Creator<'a, F> {
    /// Makes these. Gives what became of each that has an end, and whether it came to its own: `false` when interrupted.
    ///
    /// # Errors
    /// When waiting is not possible.
    pub(super) fn create(mut self, creations: Vec<Creation>) -> Result<(Vec<(usize, CreationEnd)>, bool)> {
        self.state.waiting = creations.into();
        let mut in_flight = FuturesUnordered::new();
        // From now on an interruption is noticed by what waits: nothing ends between an intent and its request.
        let mut finished = self.frontend.wait(async {})?.is_some();
        while finished {
            self.lock.renew();
            self.record_and_send(&mut in_flight);
            let state = &self.state;
            if in_flight.is_empty()
                && state.answered.is_empty()
                && (state.broken.is_some() || state.waiting.is_empty() && state.blocked.is_empty())
            {
                break;
            }
            finished = self.frontend.wait(self.wait_for_answers(&mut in_flight))?.is_some();
            self.state.waiting.extend(std::mem::take(&mut self.state.blocked));
        }
        if !finished {
            self.drain(&mut in_flight)?;
            self.interrupt();
        }
        let broken = self.state.broken.take();
        self.fail_rest(broken);
        Ok((self.state.ended, finished))
    }

    /// Records what has ended and the intents of what is to begin, and sends the requests for these.
    fn record_and_send(&mut self, in_flight: &mut SubscriptionsInFlight<'a>) {
        let places = if self.is_over() { 0 } else { self.limit.limit() };
        let free = places.saturating_sub(in_flight.len()).min(self.state.waiting.len());
        self.state.alone = free == 1 && in_flight.is_empty();
        let batch = self.state.waiting.drain(..free).collect();
        for (creation, row) in self.record(batch) {
            let (index, wanted, api) = (creation.index, creation.intent.wanted.clone(), self.api);
            in_flight.push(async move { (index, api.subscribe(&wanted).await) }.boxed_local());
            self.state.sent.insert(index, (creation, row));
        }
    }

    fn is_over(&self) -> bool {
        self.state.broken.is_some() || self.limit.is_hopeless()
    }

    /// Waits until there is an answer, or until it is time to look again; takes all that are there.
    async fn wait_for_answers(&mut self, in_flight: &mut SubscriptionsInFlight<'a>) {
        let look_again = in_flight.is_empty() || self.state.locked_since.is_some();
        let pause = self.limit.pause().or_else(|| look_again.then_some(POLL_INTERVAL));
        tokio::select! {
            Some(answer) = in_flight.next() => self.receive(answer),
            () = tokio::time::sleep(pause.unwrap_or(RENEWAL_CHECK_INTERVAL)) => {}
        }
        while let Some(Some(answer)) = in_flight.next().now_or_never() {
            self.receive(answer);
        }
    }

    fn receive(&mut self, (index, answer): (usize, CreationResponse)) {
        let in_flight = self.state.sent.len();
        // Every request in flight has its creation in `sent`.
        let Some((creation, row)) = self.state.sent.remove(&index) else { return };
        if is_too_fast(&answer) {
            self.limit.slow_down(in_flight, self.state.alone);
        } else {
            self.limit.speed_up();
        }
        self.state.answered.push(AnsweredCreation { creation, row, answer });
    }

    /// Records what was answered, and the intents of these. Gives those whose requests are to be sent.
    fn record(&mut self, batch: Vec<Creation>) -> Vec<(Creation, RowId)> {
        if batch.is_empty() && self.state.answered.is_empty() {
            return Vec::new();
        }
        let ends: Vec<(RowId, SubscriptionEnd)> = self.state.answered.iter().map(AnsweredCreation::end).collect();
        let intents: Vec<SubscriptionIntent> = batch.iter().map(|creation| creation.intent.clone()).collect();
        match self.registry.record_subscriptions(&ends, &intents, Timestamp::now()) {
            Ok((records, reservations)) => {
                self.state.locked_since = None;
                let answered = std::mem::take(&mut self.state.answered);
                for (answered, record) in answered.into_iter().zip(records) {
                    self.end(answered, record);
                }
                self.begin(batch, reservations)
            }
            Err(error)
                if error.is_busy()
                    && self.state.locked_since.get_or_insert_with(Instant::now).elapsed() < LOCK_TIMEOUT =>
            {
                self.state.blocked.extend(batch);
                Vec::new()
            }
            Err(error) => {
                self.fail_recording(error.into());
                self.state.waiting.extend(batch);
                Vec::new()
            }
        }
    }

    /// Sorts out whose requests are to be sent.
    fn begin(&mut self, batch: Vec<Creation>, reservations: Vec<Reservation>) -> Vec<(Creation, RowId)> {
        let mut ready = Vec::new();
        for (creation, reservation) in batch.into_iter().zip(reservations) {
            match reservation {
                Reservation::Reserved(row) => ready.push((creation, row)),
                Reservation::Conflict(Conflict::InProgress) => self.state.blocked.push(creation),
                Reservation::Conflict(Conflict::Exists(record)) => {
                    self.finish(creation.index, CreationEnd::Existed(record));
                }
                Reservation::Conflict(Conflict::Unresolved(record)) => {
                    self.finish(creation.index, CreationEnd::InDoubt(unresolved(&record)));
                }
            }
        }
        ready
    }

    /// A request was answered, and that is on record now.
    fn end(&mut self, answered: AnsweredCreation, recorded: Option<Activated>) {
        let AnsweredCreation { creation, answer, .. } = answered;
        let wanted = &creation.intent.wanted;
        let end = match (answer, recorded) {
            (Ok(hook), Some(Activated { record, displaced })) => {
                if let Some(displaced) = displaced {
                    self.frontend.warn(&format!(
                        "hook {hook} was on record for app {}: the server gives its number to this one, so that record \
                         is gone now",
                        displaced.subscription.app_id
                    ));
                }
                CreationEnd::Made(Box::new(record))
            }
            (Ok(hook), None) => {
                let lost = Error::new(ErrorKind::Store, "its record was deleted meanwhile");
                CreationEnd::Failed(unrecorded(wanted, hook, lost))
            }
            (Err(failure), _) if is_429(&failure) && !self.limit.is_hopeless() => {
                self.state.waiting.push_back(creation);
                return;
            }
            // It was not sent, and is not to be any more.
            (Err(Failure { error, carried_out: CarriedOut::No, .. }), _) if error.kind() == ErrorKind::Interrupted => {
                return;
            }
            (Err(Failure { error, carried_out: CarriedOut::No, .. }), _) => CreationEnd::Failed(error),
            (Err(Failure { error, .. }), Some(Activated { record, .. })) => {
                CreationEnd::InDoubt(in_doubt(error, &record))
            }
            (Err(Failure { error, .. }), None) => CreationEnd::InDoubt(error.in_doubt()),
        };
        self.finish(creation.index, end);
    }

    /// The registry cannot be told what was answered: the ids of new hooks must not be lost.
    fn fail_recording(&mut self, error: Error) {
        for AnsweredCreation { creation, answer, .. } in std::mem::take(&mut self.state.answered) {
            let end = match answer {
                Ok(hook) => CreationEnd::Failed(unrecorded(&creation.intent.wanted, hook, error.again())),
                Err(failure) if failure.carried_out == CarriedOut::No => CreationEnd::Failed(failure.error),
                Err(failure) => CreationEnd::InDoubt(failure.error.in_doubt()),
            };
            self.finish(creation.index, end);
        }
        self.state.broken.get_or_insert(error);
    }

    /// Waits for the answers to what is in flight, as what is not answered has an unknown outcome; not for long, and not if
    /// it is interrupted again.
    fn drain(&mut self, in_flight: &mut SubscriptionsInFlight<'a>) -> Result<()> {
        if in_flight.is_empty() {
            return Ok(());
        }
        let number = in_flight.len();
        self.frontend.note(&format!("waiting for the answers to {number} requests; interrupt again not to wait"));
        let deadline = Instant::now() + DRAIN_TIMEOUT;
        while !in_flight.is_empty() && Instant::now() < deadline {
            let left = deadline.saturating_duration_since(Instant::now());
            let frontend = self.frontend;
            let answers = async { tokio::time::timeout(left, self.wait_for_answers(in_flight)).await.ok() };
            if frontend.wait(answers)?.is_none() {
                break;
            }
            self.record(Vec::new());
        }
        Ok(())
    }

    /// Ends early. What is in flight may have been carried out, if there ever was a connection.
    fn interrupt(&mut self) {
        let connected = self.api.has_connected();
        for (_, (creation, row)) in std::mem::take(&mut self.state.sent) {
            let error = Error::interrupted("before a response came");
            let carried_out = if connected { CarriedOut::Maybe } else { CarriedOut::No };
            let answer = Err(Failure { error, carried_out, transient: false });
            self.state.answered.push(AnsweredCreation { creation, row, answer });
        }
        self.record(Vec::new());
        if !self.state.answered.is_empty() {
            // It is locked. What stays `pending` has an unknown outcome as soon as this process has ended.
            self.fail_recording(Error::interrupted("while another process kept the registry locked"));
        }
    }

    /// What was not begun fails with `error`, which is said once.
    fn fail_rest(&mut self, mut error: Option<Error>) {
        let rest = std::mem::take(&mut self.state.waiting);
        for creation in rest.into_iter().chain(std::mem::take(&mut self.state.blocked)) {
            match error.take() {
                Some(error) => self.finish(creation.index, CreationEnd::Failed(error)),
                None if self.limit.is_hopeless() => {
                    let error =
                        Error::new(ErrorKind::Unavailable, "not sent: the server accepts no requests (HTTP 429)");
                    self.finish(creation.index, CreationEnd::Failed(error.status(429)));
                }
                None => {}
            }
        }
    }

    fn finish(&mut self, index: usize, end: CreationEnd) {
        (self.on_end)();
        self.state.ended.push((index, end));
    }
}

impl AnsweredCreation {
    /// What to record of it.
    fn end(&self) -> (RowId, SubscriptionEnd) {
        let end = match &self.answer {
            Ok(hook) => SubscriptionEnd::Made(*hook),
            Err(failure) if failure.carried_out == CarriedOut::No => SubscriptionEnd::Abandoned,
            Err(failure) => SubscriptionEnd::InDoubt(failure.error.to_string()),
        };
        (self.row, end)
    }
}

fn is_too_fast(answer: &CreationResponse) -> bool {
    answer.as_ref().is_err_and(is_429)
}

fn is_429(failure: &Failure) -> bool {
    failure.error.http_status() == Some(429) && failure.carried_out == CarriedOut::No
}
