//! Removing: many requests under way, few commits.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write;
use std::time::{Duration, Instant};

use futures_util::future::LocalBoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use indicatif::ProgressBar;

use super::answered::{AnsweredRemoval, RemovalResponse, ask, outcome_of};
use super::concurrency::ConcurrencyLimit;
use super::pick::{Placed, RemovalTarget, as_recorded};
use super::{Args, RemovalOutcome, UnsubscribedRow};
use crate::api::{AuthenticatedApi, Unsubscribed};
use crate::commands::hook_row::HookRow;
use crate::context::Context;
use crate::domain::{ApiOrigin, HookId, HookRecord, HookStatus, RowId};
use crate::error::{Error, ErrorKind};
use crate::store::{Registry, Removal, RemovalReservation};

/// How many intents are recorded ahead, so that the server does not wait for the disk. Few: killed, the process leaves
/// them as `removing` too, although nothing was sent for them.
const AHEAD: usize = 8;

/// How long to wait for another process's write.
const LOCK_TIMEOUT: Duration = Duration::from_secs(15);

/// How long of that at a time: in between answers are taken, and Ctrl-C is heard.
const LOCK_TIMEOUT_STEP: Duration = Duration::from_millis(100);

/// How long when Ctrl-C was heard.
const FINAL_LOCK_TIMEOUT: Duration = Duration::from_millis(500);

/// How often to look whether another process has finished with the same hook.
pub(super) const POLL: Duration = Duration::from_millis(20);

/// A removal of many hooks.
pub(super) struct Run<'a> {
    pub(super) ctx: &'a Context,
    pub(super) args: &'a Args,
    pub(super) registry: &'a dyn Registry,
    pub(super) api: &'a AuthenticatedApi,
    pub(super) bar: &'a ProgressBar,
    pub(super) ended: Vec<Ended>,
    pub(super) concurrency: ConcurrencyLimit,
    /// Targets whose intents are recorded, to be asked for as soon as there is room.
    pub(super) ready: VecDeque<Placed>,
    /// What the server said and the registry has not been told yet.
    pub(super) answered: Vec<AnsweredRemoval>,
    /// What the server was asked for and has not answered, by place.
    pub(super) sent: BTreeMap<usize, RemovalTarget>,
    /// Whether the newest request was sent alone: no other has been under way together with it.
    pub(super) alone: bool,
    /// Until when the process that keeps the registry locked is waited for.
    pub(super) locked_until: Option<Instant>,
    /// Whether the registry failed: nothing more is begun.
    pub(super) broken: bool,
}

/// Requests that have not been answered.
type RequestsInFlight<'a> = FuturesUnordered<LocalBoxFuture<'a, (usize, RemovalResponse)>>;

/// A result, the error in it, and its place among the others.
pub(super) struct Ended {
    pub(super) index: usize,
    pub(super) row: UnsubscribedRow,
    pub(super) error: Option<Error>,
}

impl<'a> Run<'a> {
    /// Keeps as many requests under way as it may. What has ended and what is to begin share a commit, as each one waits
    /// for the disk; meanwhile the server is at work on what was recorded ahead.
    pub(super) async fn remove_all(&mut self, targets: Vec<RemovalTarget>) {
        let mut waiting: VecDeque<Placed> = targets.into_iter().enumerate().collect();
        let mut in_flight = FuturesUnordered::new();
        if let Err(error) = self.registry.set_lock_timeout(LOCK_TIMEOUT_STEP) {
            return self.fail(waiting.into(), Some(error.into()));
        }
        loop {
            if !self.ready.is_empty() {
                self.send_ready(&mut in_flight);
                // Once to hand the requests to their connections, and once for these to write them.
                for _ in 0..2 {
                    self.take_answers(&mut in_flight);
                    tokio::task::yield_now().await;
                }
            }
            let places = self.concurrency.limit() + self.concurrency.limit().min(AHEAD);
            let free = waiting.len().min(places.saturating_sub(in_flight.len() + self.ready.len()));
            let later = self.turn(waiting.drain(..free).collect());
            waiting.extend(later);
            if self.is_over() {
                self.give_up(waiting.drain(..).collect());
            }
            self.send_ready(&mut in_flight);
            if in_flight.is_empty() && waiting.is_empty() && self.ready.is_empty() && self.answered.is_empty() {
                return;
            }
            // Without a pause, and with nothing under way, other processes are at work on all that is left.
            let others = self.locked_until.is_some() || in_flight.is_empty();
            let pause = self.concurrency.pause().or_else(|| others.then_some(POLL));
            tokio::select! {
                Some(answer) = in_flight.next() => self.take_answer(answer),
                () = tokio::time::sleep(pause.unwrap_or_default()), if pause.is_some() => {}
            }
            self.take_answers(&mut in_flight);
        }
    }

    /// Whether nothing more is to be sent.
    fn is_over(&self) -> bool {
        self.broken || self.concurrency.is_hopeless()
    }

    /// Asks the server for what is ready, as far as there is room.
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

    /// Takes the answers that are there.
    fn take_answers(&mut self, in_flight: &mut RequestsInFlight<'a>) {
        while let Some(Some(answer)) = in_flight.next().now_or_never() {
            self.take_answer(answer);
        }
    }

    /// Takes an answer, and goes slower or faster as it says.
    fn take_answer(&mut self, (index, answer): (usize, RemovalResponse)) {
        let in_flight = self.sent.len();
        // It is there since it was sent.
        let Some(target) = self.sent.remove(&index) else { return };
        let answered = AnsweredRemoval::of(index, target, answer);
        if answered.is_too_fast() {
            self.concurrency.slow_down(in_flight, self.alone);
        } else {
            self.concurrency.speed_up();
        }
        self.answered.push(answered);
    }

    /// Ends before its time: records what was answered and takes back the intents of what was not sent. What is under
    /// way stays `removing`. Returns what there is to say.
    pub(super) fn interrupt(&mut self) -> Vec<Error> {
        // Nobody who has pressed Ctrl-C waits for long. What cannot be recorded stays `removing`, which is safe.
        let timeout = self.registry.set_lock_timeout(FINAL_LOCK_TIMEOUT);
        self.locked_until = Some(Instant::now());
        self.turn(Vec::new());
        if !self.api.has_connected() {
            self.ready.extend(std::mem::take(&mut self.sent));
        }
        let (left, untold) = self.take_back();
        let mut what = "while removing hooks".to_owned();
        // Writing to a string cannot fail.
        if !self.sent.is_empty() {
            let _ = write!(what, "; {} under way are left as `removing`", self.sent.len());
        }
        if self.broken && !left.is_empty() {
            let _ = write!(what, "; {} that were not sent are left as `removing`", left.len());
        }
        let interrupted =
            Error::interrupted(&what).hint("run the same command again: it goes on where this one stopped");
        std::iter::once(interrupted).chain(untold).chain(timeout.err().map(Error::from)).collect()
    }

    /// Records what has ended and the intents of what is to begin, which is ready then. Returns what is to begin later:
    /// what another process is at work on, what was refused for being too fast, and all of it while the registry is locked.
    fn turn(&mut self, targets: Vec<Placed>) -> Vec<Placed> {
        let ask_again = |answered: &AnsweredRemoval| answered.is_too_fast() && !self.concurrency.is_hopeless();
        let (refused, mut answered): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.answered).into_iter().partition(ask_again);
        let ends: Vec<(RowId, Removal)> = answered.iter().chain(&refused).filter_map(AnsweredRemoval::end).collect();
        let intents: Vec<RowId> = targets.iter().filter_map(|(_, target)| target.row()).collect();
        let turned = if ends.is_empty() && intents.is_empty() {
            Ok((Vec::new(), Vec::new()))
        } else {
            self.registry.record_removals(&ends, &intents)
        };
        match turned {
            Ok((mut records, begun)) => {
                self.locked_until = None;
                let of_refused = records.split_off(answered.iter().filter_map(AnsweredRemoval::end).count());
                self.end(answered, records, None);
                let refused = refused.into_iter().map(|refused| (refused.index, refused.target)).collect();
                let mut later = self.begin(targets, begun);
                later.extend(as_recorded(refused, of_refused));
                later
            }
            Err(error)
                if error.is_busy()
                    && Instant::now() < *self.locked_until.get_or_insert_with(|| Instant::now() + LOCK_TIMEOUT) =>
            {
                self.answered.extend(answered.into_iter().chain(refused));
                targets
            }
            Err(error) => {
                // A registry that can't be told outweighs what the server said, and nothing more is sent.
                self.broken = true;
                answered.extend(refused);
                let mut error = Some(Error::from(error));
                let records = answered.iter().filter_map(|answered| answered.target.as_removing().map(Some)).collect();
                self.end(answered, records, error.take_if(|_| !ends.is_empty()));
                self.fail(targets, error);
                Vec::new()
            }
        }
    }

    /// Sorts out what to ask the server for, and what another process is at work on, which is returned.
    fn begin(&mut self, targets: Vec<Placed>, begun: Vec<RemovalReservation>) -> Vec<Placed> {
        let mut begun = begun.into_iter();
        let mut busy = Vec::new();
        for (index, target) in targets {
            match target {
                RemovalTarget::Held(id, record) | RemovalTarget::Resumed(id, record) => match begun.next() {
                    Some(RemovalReservation::InProgress) => busy.push((index, RemovalTarget::Held(id, record))),
                    Some(RemovalReservation::Forgotten) => self.ready.push_back((index, RemovalTarget::Elsewhere(id))),
                    // Picked by what it is, it was to be removed and is.
                    Some(RemovalReservation::Ended(ended)) if self.args.hook_ids.is_empty() => {
                        let outcome = if ended.status == HookStatus::Removed {
                            RemovalOutcome::Removed
                        } else {
                            RemovalOutcome::Missing
                        };
                        let row = self.row(*ended, outcome);
                        self.finish(Ended { index, row, error: None });
                    }
                    // Asked for by id, the server has the last word on it; the row stays as it is.
                    Some(RemovalReservation::Ended(ended)) => {
                        self.ready.push_back((index, RemovalTarget::Ended(id, ended)));
                    }
                    Some(RemovalReservation::Reserved { resumed: true }) => {
                        self.ready.push_back((index, RemovalTarget::Resumed(id, record)));
                    }
                    Some(RemovalReservation::Reserved { resumed: false }) | None => {
                        self.ready.push_back((index, RemovalTarget::Held(id, record)));
                    }
                },
                RemovalTarget::Nameless(record) => self.nameless(index, *record),
                RemovalTarget::Foreign(id, origin) => {
                    let error = belongs_elsewhere(self.ctx, id, &origin);
                    let row = self.unchanged(RemovalTarget::Foreign(id, origin), RemovalOutcome::Failed);
                    self.finish(Ended { index, row, error: Some(error) });
                }
                other => self.ready.push_back((index, other)),
            }
        }
        busy
    }

    /// Takes back the intents of what is ready and was not sent. Returns those targets as they are now, and why the
    /// registry could not be told, if that is new.
    fn take_back(&mut self) -> (Vec<Placed>, Option<Error>) {
        let ready: Vec<Placed> = self.ready.drain(..).collect();
        let ends: Vec<(RowId, Removal)> = ready.iter().filter_map(|(_, target)| target.taken_back()).collect();
        if ends.is_empty() {
            return (ready, None);
        }
        let error = if self.broken {
            None
        } else {
            match self.registry.record_removals(&ends, &[]) {
                Ok((records, _)) => return (as_recorded(ready, records), None),
                Err(error) => Some(Error::from(error)),
            }
        };
        self.broken = true;
        let records = ready.iter().filter_map(|(_, target)| target.as_removing().map(Some)).collect();
        (as_recorded(ready, records), error)
    }

    /// Nothing more is sent.
    fn give_up(&mut self, waiting: Vec<Placed>) {
        // There is no later for these.
        let timeout = if self.ready.is_empty() { Ok(()) } else { self.registry.set_lock_timeout(LOCK_TIMEOUT) };
        let (ready, error) = self.take_back();
        let error = error.or(timeout.err().map(Error::from));
        self.fail(ready, error);
        self.fail(waiting, None);
    }

    /// Nothing is sent for these. One error says so for all.
    fn fail(&mut self, targets: Vec<Placed>, mut error: Option<Error>) {
        for (index, target) in targets {
            let row = self.unchanged(target, RemovalOutcome::Failed);
            self.finish(Ended { index, row, error: error.take() });
        }
    }

    fn nameless(&mut self, index: usize, record: HookRecord) {
        let message = format!("{} has no known hook id: it can't be removed from here", record.name());
        let error =
            Error::new(ErrorKind::OutcomeUnknown, message).hint("`bugfender-hooks doctor` says what to do about it");
        let row = self.row(record, RemovalOutcome::Unknown);
        self.finish(Ended { index, row, error: Some(error) });
    }

    /// Takes note of how requests ended; `records` are their rows now, unless the registry failed.
    fn end(
        &mut self,
        answered: Vec<AnsweredRemoval>,
        records: Vec<Option<HookRecord>>,
        mut store_error: Option<Error>,
    ) {
        let mut records = records.into_iter();
        for AnsweredRemoval { index, target, answer } in answered {
            let (outcome, error) = self.judge(&target, answer);
            if let RemovalTarget::Elsewhere(id) = &target {
                self.ctx.out().note(&format!("hook {id} is not in the registry; the request was sent all the same"));
            }
            let target = match target {
                RemovalTarget::Held(id, record) | RemovalTarget::Resumed(id, record) => RemovalTarget::Held(
                    id,
                    Box::new(records.next().flatten().unwrap_or_else(|| after(*record, outcome))),
                ),
                other => other,
            };
            let row = self.unchanged(target, outcome);
            self.finish(Ended { index, row, error: store_error.take().or(error) });
        }
    }

    fn finish(&mut self, ended: Ended) {
        self.bar.inc(1);
        self.ended.push(ended);
    }

    /// What an answer means for the user.
    fn judge(&self, target: &RemovalTarget, answer: RemovalResponse) -> (RemovalOutcome, Option<Error>) {
        match answer {
            Ok(Unsubscribed::Removed) => (RemovalOutcome::Removed, None),
            Ok(Unsubscribed::NotThere) => (RemovalOutcome::Missing, self.missing(target)),
            Err(failure) => match outcome_of(&failure) {
                RemovalOutcome::Unknown => {
                    let error = failure.error.hint("the hook may still be there: run the same command again");
                    (RemovalOutcome::Unknown, Some(error))
                }
                outcome => (outcome, Some(failure.error)),
            },
        }
    }

    /// The error for a hook that is not there, unless that is fine.
    fn missing(&self, target: &RemovalTarget) -> Option<Error> {
        let id = target.id().filter(|_| !self.args.ignore_missing)?;
        let known = match target {
            RemovalTarget::Ended(_, record) => {
                format!("; the registry has it as {} since {}", record.status, record.updated_at)
            }
            _ => String::new(),
        };
        let message = format!("hook {id} is not there (HTTP 404){known}");
        let error = Error::new(ErrorKind::NotFound, message).status(404);
        Some(error.hint("if that is as it should be, give --ignore-missing"))
    }

    /// The line for a target as the registry has it now.
    fn unchanged(&self, target: RemovalTarget, outcome: RemovalOutcome) -> UnsubscribedRow {
        match target {
            RemovalTarget::Held(_, record)
            | RemovalTarget::Resumed(_, record)
            | RemovalTarget::Ended(_, record)
            | RemovalTarget::Nameless(record) => self.row(*record, outcome),
            RemovalTarget::Elsewhere(id) | RemovalTarget::Foreign(id, _) => {
                let status = match outcome {
                    RemovalOutcome::Removed => HookStatus::Removed,
                    RemovalOutcome::Missing => HookStatus::Gone,
                    RemovalOutcome::Failed | RemovalOutcome::Unknown => HookStatus::Unknown,
                };
                UnsubscribedRow { hook: HookRow::elsewhere(id, self.ctx.origin(), status), result: outcome }
            }
        }
    }

    fn row(&self, record: HookRecord, result: RemovalOutcome) -> UnsubscribedRow {
        UnsubscribedRow { hook: HookRow::of(record, self.args.show_secrets), result }
    }
}

/// The record of a row that somebody has dropped, as it would be by now.
fn after(record: HookRecord, outcome: RemovalOutcome) -> HookRecord {
    let status = match outcome {
        RemovalOutcome::Removed => HookStatus::Removed,
        RemovalOutcome::Missing => HookStatus::Gone,
        RemovalOutcome::Failed | RemovalOutcome::Unknown => HookStatus::Removing,
    };
    HookRecord { status, ..record }
}

/// Ids are numbers of one installation: the same number at another is somebody else's hook.
fn belongs_elsewhere(ctx: &Context, id: HookId, theirs: &ApiOrigin) -> Error {
    let message = format!("hook {id} is recorded for {theirs}, not for {}; it was not removed", ctx.origin());
    Error::new(ErrorKind::NotFound, message)
        .hint(format!("to remove it there: --api-url {theirs}"))
        .hint(format!("if {} has a hook {id} of its own, `import` it first", ctx.origin()))
}
