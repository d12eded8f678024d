//! Removing: many requests under way, few commits.

use std::collections::VecDeque;
use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use indicatif::ProgressBar;

use super::pace::Pace;
use super::pick::Target;
use super::{Args, Outcome, UnsubscribedRow};
use crate::api::{AuthenticatedApi, CarriedOut, Failure, Unsubscribed};
use crate::commands::hook_row::HookRow;
use crate::context::Context;
use crate::domain::{ApiOrigin, HookId, HookRecord, HookStatus, RowId};
use crate::error::{Error, ErrorKind};
use crate::store::{BeginRemoval, Registry, Removal};

/// How many intents are recorded ahead, so that the server does not wait for the disk. Few: killed, the process leaves
/// them as `removing` although nothing was sent for them.
const AHEAD: usize = 8;

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
    pub(super) pace: Pace,
    /// Targets whose intents are recorded, to be asked for as soon as there is room.
    pub(super) ready: VecDeque<Placed>,
    /// What the server said and the registry has not been told yet.
    pub(super) answered: Vec<Answered>,
    /// How many requests have been sent and not answered.
    pub(super) open: usize,
    /// Whether the registry failed: nothing more is begun.
    pub(super) broken: bool,
}

/// A target and its place among the others.
pub(super) type Placed = (usize, Target);

/// Requests that have not been answered.
type UnderWay<'a> = FuturesUnordered<LocalBoxFuture<'a, Answered>>;

/// A result, the error in it, and its place among the others.
pub(super) struct Ended {
    pub(super) index: usize,
    pub(super) row: UnsubscribedRow,
    pub(super) error: Option<Error>,
}

/// What the server said about a target.
pub(super) struct Answered {
    index: usize,
    target: Target,
    answer: Result<Unsubscribed, Failure>,
}

impl<'a> Run<'a> {
    /// Keeps as many requests under way as it may. What has ended and what is to begin share a commit, as each one waits
    /// for the disk; meanwhile the server is at work on what was recorded ahead.
    pub(super) async fn remove_all(&mut self, targets: Vec<Target>) {
        let mut waiting: VecDeque<Placed> = targets.into_iter().enumerate().collect();
        let mut under_way = FuturesUnordered::new();
        let mut alone = false;
        loop {
            if !self.ready.is_empty() {
                self.send_ready(&mut under_way);
                // Once to hand the requests to their connections, and once for these to write them.
                for _ in 0..2 {
                    self.take_answers(&mut under_way);
                    tokio::task::yield_now().await;
                }
            }
            let again = self.adjust_pace(alone);
            let places = self.pace.limit() + self.pace.limit().min(AHEAD);
            let free = waiting.len().min(places.saturating_sub(under_way.len() + self.ready.len()));
            let busy = self.turn(waiting.drain(..free).collect());
            waiting.extend(busy.into_iter().chain(again));
            if self.broken || self.pace.is_hopeless() {
                self.give_up(waiting.drain(..).collect());
            }
            self.send_ready(&mut under_way);
            alone = under_way.len() == 1;
            match (under_way.is_empty(), waiting.is_empty()) {
                (true, true) => return,
                // Other processes are at work on all that is left.
                (true, false) => tokio::time::sleep(POLL).await,
                (false, _) => self.answered.extend(under_way.next().await),
            }
            self.take_answers(&mut under_way);
        }
    }

    /// Asks the server for what is ready, as far as there is room.
    fn send_ready(&mut self, under_way: &mut UnderWay<'a>) {
        let free = self.pace.limit().saturating_sub(under_way.len()).min(self.ready.len());
        let api = self.api;
        under_way.extend(self.ready.drain(..free).map(|(index, target)| ask(api, index, target).boxed_local()));
        self.open = under_way.len();
    }

    /// Takes the answers that are there.
    fn take_answers(&mut self, under_way: &mut UnderWay<'a>) {
        while let Some(Some(answered)) = under_way.next().now_or_never() {
            self.answered.push(answered);
        }
        self.open = under_way.len();
    }

    /// Ends before its time: records what was answered and takes back the intents of what was not sent. What is under
    /// way stays `removing`; its number is returned.
    pub(super) fn interrupt(&mut self) -> usize {
        self.turn(Vec::new());
        let (_, untold) = self.take_back();
        self.open + untold
    }

    /// Slows down or speeds up as the answers say; `alone` says that they are one's that was under way alone. What was
    /// refused for being too fast is to be asked for again: those targets, once their rows are active again.
    fn adjust_pace(&mut self, alone: bool) -> Vec<Placed> {
        if self.answered.iter().any(Answered::is_too_fast) {
            self.pace.slow_down(alone);
        } else if !self.answered.is_empty() {
            self.pace.speed_up();
        }
        if self.pace.is_hopeless() {
            return Vec::new();
        }
        let (refused, rest): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.answered).into_iter().partition(Answered::is_too_fast);
        self.answered = rest;
        let ends: Vec<(RowId, Removal)> = refused.iter().filter_map(Answered::end).collect();
        if !ends.is_empty() && self.registry.turn_removals(&ends, &[]).is_err() {
            // Its rows stay `removing`, which is what the error is going to say.
            self.answered.extend(refused);
            return Vec::new();
        }
        refused.into_iter().map(|answered| (answered.index, answered.target.afresh())).collect()
    }

    /// Records what has ended and the intents of what is to begin, which is ready then. Returns what another process is
    /// at work on.
    fn turn(&mut self, targets: Vec<Placed>) -> Vec<Placed> {
        let answered = std::mem::take(&mut self.answered);
        let ends: Vec<(RowId, Removal)> = answered.iter().filter_map(Answered::end).collect();
        let intents: Vec<RowId> = targets.iter().filter_map(|(_, target)| target.row()).collect();
        let turned = if ends.is_empty() && intents.is_empty() {
            Ok((Vec::new(), Vec::new()))
        } else {
            self.registry.turn_removals(&ends, &intents)
        };
        match turned {
            Ok((records, begun)) => {
                self.end(answered, records, None);
                self.begin(targets, begun)
            }
            Err(error) => {
                // A registry that can't be told outweighs what the server said, and nothing more is sent.
                self.broken = true;
                let mut error = Some(Error::from(error));
                self.end(answered, Vec::new(), error.take_if(|_| !ends.is_empty()));
                self.fail(targets, error);
                Vec::new()
            }
        }
    }

    /// Sorts out what to ask the server for, and what another process is at work on, which is returned.
    fn begin(&mut self, targets: Vec<Placed>, begun: Vec<BeginRemoval>) -> Vec<Placed> {
        let mut begun = begun.into_iter();
        let mut busy = Vec::new();
        for (index, target) in targets {
            let ready = match target {
                Target::Held(id, record) | Target::Resumed(id, record) => match begun.next() {
                    Some(BeginRemoval::InProgress) => {
                        busy.push((index, Target::Held(id, record)));
                        continue;
                    }
                    Some(BeginRemoval::Forgotten) => Target::Elsewhere(id),
                    // Picked by what it is, it was to be removed and is.
                    Some(BeginRemoval::Ended(ended)) if self.args.hook_ids.is_empty() => {
                        let outcome =
                            if ended.status == HookStatus::Removed { Outcome::Removed } else { Outcome::Missing };
                        let row = self.row(*ended, outcome);
                        self.finish(Ended { index, row, error: None });
                        continue;
                    }
                    // Asked for by id, the server has the last word on it; the row stays as it is.
                    Some(BeginRemoval::Ended(ended)) => Target::Ended(id, ended),
                    Some(BeginRemoval::Go { resumed: true }) => Target::Resumed(id, record),
                    Some(BeginRemoval::Go { resumed: false }) | None => Target::Held(id, record),
                },
                Target::Nameless(record) => {
                    self.nameless(index, *record);
                    continue;
                }
                Target::Foreign(id, origin) => {
                    let error = belongs_elsewhere(self.ctx, id, &origin);
                    let row = self.unchanged(Target::Foreign(id, origin), Outcome::Failed);
                    self.finish(Ended { index, row, error: Some(error) });
                    continue;
                }
                other => other,
            };
            self.ready.push_back((index, ready));
        }
        busy
    }

    /// Takes back the intents of what is ready and was not sent. Returns those targets as they are now, and how many of
    /// them stay `removing`, as the registry can't be told.
    fn take_back(&mut self) -> (Vec<Placed>, usize) {
        let ready: Vec<Placed> = self.ready.drain(..).collect();
        let ends: Vec<(RowId, Removal)> = ready.iter().filter_map(|(_, target)| target.taken_back()).collect();
        self.broken = self.broken || !ends.is_empty() && self.registry.turn_removals(&ends, &[]).is_err();
        if !self.broken {
            return (ready, 0);
        }
        (ready.into_iter().map(|(index, target)| (index, target.left_removing())).collect(), ends.len())
    }

    /// Nothing more is sent.
    fn give_up(&mut self, waiting: Vec<Placed>) {
        let (ready, _) = self.take_back();
        self.fail(ready, None);
        self.fail(waiting, None);
    }

    /// Nothing is sent for these. One error says so for all.
    fn fail(&mut self, targets: Vec<Placed>, mut error: Option<Error>) {
        for (index, target) in targets {
            let row = self.unchanged(target, Outcome::Failed);
            self.finish(Ended { index, row, error: error.take() });
        }
    }

    fn nameless(&mut self, index: usize, record: HookRecord) {
        let message = format!("{} has no known hook id: it can't be removed from here", record.name());
        let error =
            Error::new(ErrorKind::OutcomeUnknown, message).hint("`bugfender-hooks doctor` says what to do about it");
        let row = self.row(record, Outcome::Unknown);
        self.finish(Ended { index, row, error: Some(error) });
    }

    /// Takes note of how requests ended; `records` are their rows now, unless the registry failed.
    fn end(&mut self, answered: Vec<Answered>, records: Vec<Option<HookRecord>>, mut store_error: Option<Error>) {
        let mut records = records.into_iter();
        for Answered { index, target, answer } in answered {
            let (outcome, error) = self.judge(&target, answer);
            if let Target::Elsewhere(id) = &target {
                self.ctx.out().note(&format!("hook {id} is not in the registry; the request was sent all the same"));
            }
            let target = match target {
                Target::Held(id, record) | Target::Resumed(id, record) => {
                    Target::Held(id, Box::new(records.next().flatten().unwrap_or_else(|| after(*record, outcome))))
                }
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
    fn judge(&self, target: &Target, answer: Result<Unsubscribed, Failure>) -> (Outcome, Option<Error>) {
        match answer {
            Ok(Unsubscribed::Removed) => (Outcome::Removed, None),
            Ok(Unsubscribed::NotThere) => (Outcome::Missing, self.missing(target)),
            Err(failure) => match outcome_of(&failure) {
                Outcome::Unknown => {
                    let error = failure.error.hint("the hook may still be there: run the same command again");
                    (Outcome::Unknown, Some(error))
                }
                outcome => (outcome, Some(failure.error)),
            },
        }
    }

    /// The error for a hook that is not there, unless that is fine.
    fn missing(&self, target: &Target) -> Option<Error> {
        let id = target.id().filter(|_| !self.args.ignore_missing)?;
        let known = match target {
            Target::Ended(_, record) => {
                format!("; the registry has it as {} since {}", record.status, record.updated_at)
            }
            _ => String::new(),
        };
        let message = format!("hook {id} is not there (HTTP 404){known}");
        let error = Error::new(ErrorKind::NotFound, message).status(404);
        Some(error.hint("if that is as it should be, give --ignore-missing"))
    }

    /// The line for a target as the registry has it now.
    fn unchanged(&self, target: Target, outcome: Outcome) -> UnsubscribedRow {
        match target {
            Target::Held(_, record)
            | Target::Resumed(_, record)
            | Target::Ended(_, record)
            | Target::Nameless(record) => self.row(*record, outcome),
            Target::Elsewhere(id) | Target::Foreign(id, _) => {
                let status = match outcome {
                    Outcome::Removed => HookStatus::Removed,
                    Outcome::Missing => HookStatus::Gone,
                    Outcome::Failed | Outcome::Unknown => HookStatus::Unknown,
                };
                UnsubscribedRow { hook: HookRow::elsewhere(id, self.ctx.origin(), status), result: outcome }
            }
        }
    }

    fn row(&self, record: HookRecord, result: Outcome) -> UnsubscribedRow {
        UnsubscribedRow { hook: HookRow::of(record, self.args.show_secrets), result }
    }
}

async fn ask(api: &AuthenticatedApi, index: usize, target: Target) -> Answered {
    let answer = match target.id() {
        Some(id) => api.unsubscribe(id).await,
        // Rows without an id never get here: there is nothing to ask for.
        None => Ok(Unsubscribed::NotThere),
    };
    let answer = match (&target, answer) {
        // The removal whose end was not known did it.
        (Target::Resumed(..), Ok(Unsubscribed::NotThere)) => Ok(Unsubscribed::Removed),
        (_, answer) => answer,
    };
    Answered { index, target, answer }
}

impl Answered {
    /// Whether the server says that it is asked too often.
    fn is_too_fast(&self) -> bool {
        self.answer.as_ref().is_err_and(|failure| failure.error.http_status() == Some(429))
    }

    /// What to record of it, if it has a row that is waiting for that.
    fn end(&self) -> Option<(RowId, Removal)> {
        let row = self.target.row()?;
        let resumed = matches!(self.target, Target::Resumed(..));
        let end = match &self.answer {
            Ok(Unsubscribed::Removed) => Removal::Removed,
            Ok(Unsubscribed::NotThere) => Removal::Gone,
            // What an earlier attempt may have done, a refusal of this one does not undo.
            Err(failure) if resumed || outcome_of(failure) == Outcome::Unknown => {
                Removal::InDoubt(failure.error.to_string())
            }
            Err(_) => Removal::Refused,
        };
        Some((row, end))
    }
}

/// A record that could not be read back, as it must be by now.
fn after(record: HookRecord, outcome: Outcome) -> HookRecord {
    let status = match outcome {
        Outcome::Removed => HookStatus::Removed,
        Outcome::Missing => HookStatus::Gone,
        Outcome::Failed | Outcome::Unknown => HookStatus::Removing,
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

fn outcome_of(failure: &Failure) -> Outcome {
    match failure.carried_out {
        CarriedOut::No => Outcome::Failed,
        CarriedOut::Maybe => Outcome::Unknown,
    }
}
