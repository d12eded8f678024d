//! Removing: many requests under way, few commits.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write;
use std::time::{Duration, Instant};

use futures_util::future::LocalBoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use indicatif::ProgressBar;

use super::answered::{Answer, Answered, ask, outcome_of};
use super::pace::Pace;
use super::pick::{Placed, Target, as_recorded};
use super::{Args, Outcome, UnsubscribedRow};
use crate::api::{AuthenticatedApi, Unsubscribed};
use crate::commands::hook_row::HookRow;
use crate::context::{Context, interrupted};
use crate::domain::{ApiOrigin, HookId, HookRecord, HookStatus, RowId};
use crate::error::{Error, ErrorKind};
use crate::store::{BeginRemoval, Registry, Removal};

/// How many intents are recorded ahead, so that the server does not wait for the disk. Few: killed, the process leaves
/// them as `removing` too, although nothing was sent for them.
const AHEAD: usize = 8;

/// How long to wait for another process's write.
const PATIENCE: Duration = Duration::from_secs(15);

/// How long of that at a time: in between answers are taken, and Ctrl-C is heard.
const PIECE_OF_PATIENCE: Duration = Duration::from_millis(100);

/// How long when Ctrl-C was heard.
const LAST_PATIENCE: Duration = Duration::from_millis(500);

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
    /// What the server was asked for and has not answered, by place.
    pub(super) sent: BTreeMap<usize, Target>,
    /// Whether the newest request was sent alone: no other has been under way together with it.
    pub(super) alone: bool,
    /// Until when the process that keeps the registry locked is waited for.
    pub(super) locked_until: Option<Instant>,
    /// Whether the registry failed: nothing more is begun.
    pub(super) broken: bool,
}

/// Requests that have not been answered.
type UnderWay<'a> = FuturesUnordered<LocalBoxFuture<'a, (usize, Answer)>>;

/// A result, the error in it, and its place among the others.
pub(super) struct Ended {
    pub(super) index: usize,
    pub(super) row: UnsubscribedRow,
    pub(super) error: Option<Error>,
}

impl<'a> Run<'a> {
    /// Keeps as many requests under way as it may. What has ended and what is to begin share a commit, as each one waits
    /// for the disk; meanwhile the server is at work on what was recorded ahead.
    pub(super) async fn remove_all(&mut self, targets: Vec<Target>) {
        let mut waiting: VecDeque<Placed> = targets.into_iter().enumerate().collect();
        let mut under_way = FuturesUnordered::new();
        if let Err(error) = self.registry.limit_patience(PIECE_OF_PATIENCE) {
            return self.fail(waiting.into(), Some(error.into()));
        }
        loop {
            if !self.ready.is_empty() {
                self.send_ready(&mut under_way);
                // Once to hand the requests to their connections, and once for these to write them.
                for _ in 0..2 {
                    self.take_answers(&mut under_way);
                    tokio::task::yield_now().await;
                }
            }
            let places = self.pace.limit() + self.pace.limit().min(AHEAD);
            let free = waiting.len().min(places.saturating_sub(under_way.len() + self.ready.len()));
            let later = self.turn(waiting.drain(..free).collect());
            waiting.extend(later);
            if self.is_over() {
                self.give_up(waiting.drain(..).collect());
            }
            self.send_ready(&mut under_way);
            if under_way.is_empty() && waiting.is_empty() && self.ready.is_empty() && self.answered.is_empty() {
                return;
            }
            // Without a pause, and with nothing under way, other processes are at work on all that is left.
            let others = self.locked_until.is_some() || under_way.is_empty();
            let pause = self.pace.pause().or_else(|| others.then_some(POLL));
            tokio::select! {
                Some(answer) = under_way.next() => self.take_answer(answer),
                () = tokio::time::sleep(pause.unwrap_or_default()), if pause.is_some() => {}
            }
            self.take_answers(&mut under_way);
        }
    }

    /// Whether nothing more is to be sent.
    fn is_over(&self) -> bool {
        self.broken || self.pace.is_hopeless()
    }

    /// Asks the server for what is ready, as far as there is room.
    fn send_ready(&mut self, under_way: &mut UnderWay<'a>) {
        let free = self.pace.limit().saturating_sub(under_way.len()).min(self.ready.len());
        if free == 0 || self.is_over() {
            return;
        }
        self.alone = free == 1 && under_way.is_empty();
        for (index, target) in self.ready.drain(..free) {
            under_way.push(ask(self.api, index, target.id()).boxed_local());
            self.sent.insert(index, target);
        }
    }

    /// Takes the answers that are there.
    fn take_answers(&mut self, under_way: &mut UnderWay<'a>) {
        while let Some(Some(answer)) = under_way.next().now_or_never() {
            self.take_answer(answer);
        }
    }

    /// Takes an answer, and goes slower or faster as it says.
    fn take_answer(&mut self, (index, answer): (usize, Answer)) {
        let under_way = self.sent.len();
        // It is there since it was sent.
        let Some(target) = self.sent.remove(&index) else { return };
        let answered = Answered::of(index, target, answer);
        if answered.is_too_fast() {
            self.pace.slow_down(under_way, self.alone);
        } else {
            self.pace.speed_up();
        }
        self.answered.push(answered);
    }

    /// Ends before its time: records what was answered and takes back the intents of what was not sent. What is under
    /// way stays `removing`. Returns what there is to say.
    pub(super) fn interrupt(&mut self) -> Vec<Error> {
        // Nobody who has pressed Ctrl-C waits for long. What cannot be recorded stays `removing`, which is safe.
        let patience = self.registry.limit_patience(LAST_PATIENCE);
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
        let interrupted = interrupted(&what).hint("run the same command again: it goes on where this one stopped");
        std::iter::once(interrupted).chain(untold).chain(patience.err().map(Error::from)).collect()
    }

    /// Records what has ended and the intents of what is to begin, which is ready then. Returns what is to begin later:
    /// what another process is at work on, what was refused for being too fast, and all of it while the registry is locked.
    fn turn(&mut self, targets: Vec<Placed>) -> Vec<Placed> {
        let ask_again = |answered: &Answered| answered.is_too_fast() && !self.pace.is_hopeless();
        let (refused, mut answered): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.answered).into_iter().partition(ask_again);
        let ends: Vec<(RowId, Removal)> = answered.iter().chain(&refused).filter_map(Answered::end).collect();
        let intents: Vec<RowId> = targets.iter().filter_map(|(_, target)| target.row()).collect();
        let turned = if ends.is_empty() && intents.is_empty() {
            Ok((Vec::new(), Vec::new()))
        } else {
            self.registry.turn_removals(&ends, &intents)
        };
        match turned {
            Ok((mut records, begun)) => {
                self.locked_until = None;
                let of_refused = records.split_off(answered.iter().filter_map(Answered::end).count());
                self.end(answered, records, None);
                let refused = refused.into_iter().map(|refused| (refused.index, refused.target)).collect();
                let mut later = self.begin(targets, begun);
                later.extend(as_recorded(refused, of_refused));
                later
            }
            Err(error)
                if error.is_busy()
                    && Instant::now() < *self.locked_until.get_or_insert_with(|| Instant::now() + PATIENCE) =>
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
    fn begin(&mut self, targets: Vec<Placed>, begun: Vec<BeginRemoval>) -> Vec<Placed> {
        let mut begun = begun.into_iter();
        let mut busy = Vec::new();
        for (index, target) in targets {
            match target {
                Target::Held(id, record) | Target::Resumed(id, record) => match begun.next() {
                    Some(BeginRemoval::InProgress) => busy.push((index, Target::Held(id, record))),
                    Some(BeginRemoval::Forgotten) => self.ready.push_back((index, Target::Elsewhere(id))),
                    // Picked by what it is, it was to be removed and is.
                    Some(BeginRemoval::Ended(ended)) if self.args.hook_ids.is_empty() => {
                        let outcome =
                            if ended.status == HookStatus::Removed { Outcome::Removed } else { Outcome::Missing };
                        let row = self.row(*ended, outcome);
                        self.finish(Ended { index, row, error: None });
                    }
                    // Asked for by id, the server has the last word on it; the row stays as it is.
                    Some(BeginRemoval::Ended(ended)) => self.ready.push_back((index, Target::Ended(id, ended))),
                    Some(BeginRemoval::Go { resumed: true }) => {
                        self.ready.push_back((index, Target::Resumed(id, record)));
                    }
                    Some(BeginRemoval::Go { resumed: false }) | None => {
                        self.ready.push_back((index, Target::Held(id, record)));
                    }
                },
                Target::Nameless(record) => self.nameless(index, *record),
                Target::Foreign(id, origin) => {
                    let error = belongs_elsewhere(self.ctx, id, &origin);
                    let row = self.unchanged(Target::Foreign(id, origin), Outcome::Failed);
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
            match self.registry.turn_removals(&ends, &[]) {
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
        let patience = if self.ready.is_empty() { Ok(()) } else { self.registry.limit_patience(PATIENCE) };
        let (ready, error) = self.take_back();
        let error = error.or(patience.err().map(Error::from));
        self.fail(ready, error);
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
    fn judge(&self, target: &Target, answer: Answer) -> (Outcome, Option<Error>) {
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

/// The record of a row that somebody has dropped, as it would be by now.
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
