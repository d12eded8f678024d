//! Removing: many requests under way, few commits.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use indicatif::ProgressBar;

use super::pick::Target;
use super::{Args, Outcome, UnsubscribedRow};
use crate::api::{AuthenticatedApi, CarriedOut, Failure, Unsubscribed};
use crate::commands::hook_row::HookRow;
use crate::context::Context;
use crate::domain::{ApiOrigin, HookId, HookRecord, HookStatus, RowId};
use crate::error::{Error, ErrorKind};
use crate::store::{BeginRemoval, Registry, Removal};

/// How many requests are under way at once, as many as curl has in its parallel mode. Where that is too many for the server and it says so (429), it is
/// [`Pace`] that has the say.
const CONCURRENCY: usize = 50;

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
    /// How many requests have been sent and not answered.
    pub(super) open: usize,
    /// Whether the registry failed: nothing more is begun.
    pub(super) broken: bool,
}

/// How many requests may be under way. It halves when the server asks to slow down and grows again with success.
pub(super) struct Pace {
    limit: usize,
    /// When it was halved last: many answers of one burst say the same.
    slowed: Option<Instant>,
    /// Whether a request was refused, as often as it was sent, although it went alone.
    refused_alone: bool,
}

/// For how long further refusals are taken for those of the same burst.
const BURST: Duration = Duration::from_secs(1);

impl Default for Pace {
    fn default() -> Self {
        Self { limit: CONCURRENCY, slowed: None, refused_alone: false }
    }
}

impl Pace {
    fn slow_down(&mut self, alone: bool) {
        self.refused_alone |= alone;
        if self.slowed.is_none_or(|slowed| slowed.elapsed() >= BURST) {
            self.limit = (self.limit / 2).max(1);
            self.slowed = Some(Instant::now());
        }
    }

    fn speed_up(&mut self) {
        self.refused_alone = false;
        self.limit = (self.limit + 1).min(CONCURRENCY);
    }

    /// Whether the server does not even take one request at a time.
    fn is_hopeless(&self) -> bool {
        self.refused_alone
    }
}

/// A target and its place among the others.
type Placed = (usize, Target);

/// A result, the error in it, and its place among the others.
pub(super) struct Ended {
    pub(super) index: usize,
    pub(super) row: UnsubscribedRow,
    pub(super) error: Option<Error>,
}

/// What to do next.
#[derive(Default)]
struct Turned {
    /// Targets to ask the server for.
    go: Vec<Placed>,
    /// Targets that another process is at work on.
    busy: Vec<Placed>,
}

/// What the server said about a target.
struct Answered {
    index: usize,
    target: Target,
    answer: Result<Unsubscribed, Failure>,
}

impl Run<'_> {
    /// Keeps as many requests under way as it may. What has ended and what is to begin share a commit: each one
    /// waits for the disk.
    pub(super) async fn remove_all(&mut self, targets: Vec<Target>) {
        let mut waiting: VecDeque<Placed> = targets.into_iter().enumerate().collect();
        let mut under_way = FuturesUnordered::new();
        let mut answered = Vec::new();
        loop {
            let again = self.adjust_pace(&mut answered);
            let free = waiting.len().min(self.pace.limit.saturating_sub(under_way.len()));
            let Turned { go, busy } = self.turn(std::mem::take(&mut answered), waiting.drain(..free).collect());
            under_way.extend(go.into_iter().map(|(index, target)| ask(self.api, index, target)));
            self.open = under_way.len();
            waiting.extend(busy.into_iter().chain(again));
            if self.broken || self.pace.is_hopeless() {
                self.fail(waiting.drain(..).collect(), None);
            }
            match (under_way.is_empty(), waiting.is_empty()) {
                (true, true) => return,
                // Other processes are at work on all that is left.
                (true, false) => tokio::time::sleep(POLL).await,
                (false, _) => answered.extend(under_way.next().await),
            }
            while let Some(Some(further)) = under_way.next().now_or_never() {
                answered.push(further);
            }
        }
    }

    /// Slows down or speeds up as the answers say. What was refused for being too fast is to be asked for again: those
    /// targets, once their rows are active again.
    fn adjust_pace(&mut self, answered: &mut Vec<Answered>) -> Vec<Placed> {
        let too_fast = |answered: &Answered| {
            answered.answer.as_ref().is_err_and(|failure| failure.error.http_status() == Some(429))
        };
        if answered.iter().any(too_fast) {
            self.pace.slow_down(self.open == 1);
        } else if !answered.is_empty() {
            self.pace.speed_up();
        }
        if self.pace.is_hopeless() {
            return Vec::new();
        }
        let (refused, rest): (Vec<_>, Vec<_>) = std::mem::take(answered).into_iter().partition(too_fast);
        *answered = rest;
        let ends: Vec<(RowId, Removal)> = refused.iter().filter_map(Answered::end).collect();
        if !ends.is_empty() && self.registry.turn_removals(&ends, &[]).is_err() {
            // Its rows stay `removing`, which is what the error is going to say.
            answered.extend(refused);
            return Vec::new();
        }
        refused.into_iter().map(|answered| (answered.index, answered.target.afresh())).collect()
    }

    /// Records what has ended and the intents of what is to begin.
    fn turn(&mut self, answered: Vec<Answered>, targets: Vec<Placed>) -> Turned {
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
                Turned::default()
            }
        }
    }

    /// Sorts out what to ask the server for, and what another process is at work on.
    fn begin(&mut self, targets: Vec<Placed>, begun: Vec<BeginRemoval>) -> Turned {
        let mut begun = begun.into_iter();
        let mut turned = Turned::default();
        for (index, target) in targets {
            match target {
                Target::Held(id, record) | Target::Resumed(id, record) => match begun.next() {
                    Some(BeginRemoval::InProgress) => turned.busy.push((index, Target::Held(id, record))),
                    Some(BeginRemoval::Forgotten) => turned.go.push((index, Target::Elsewhere(id))),
                    // Picked by what it is, it was to be removed and is.
                    Some(BeginRemoval::Ended(ended)) if self.args.hook_ids.is_empty() => {
                        let outcome =
                            if ended.status == HookStatus::Removed { Outcome::Removed } else { Outcome::Missing };
                        let row = self.row(*ended, outcome);
                        self.finish(Ended { index, row, error: None });
                    }
                    // Asked for by id, the server has the last word on it; the row stays as it is.
                    Some(BeginRemoval::Ended(ended)) => turned.go.push((index, Target::Ended(id, ended))),
                    Some(BeginRemoval::Go { resumed: true }) => turned.go.push((index, Target::Resumed(id, record))),
                    Some(BeginRemoval::Go { resumed: false }) | None => {
                        turned.go.push((index, Target::Held(id, record)));
                    }
                },
                Target::Nameless(record) => self.nameless(index, *record),
                Target::Foreign(id, origin) => {
                    let error = belongs_elsewhere(self.ctx, id, &origin);
                    let row = self.unchanged(Target::Foreign(id, origin), Outcome::Failed);
                    self.finish(Ended { index, row, error: Some(error) });
                }
                other => turned.go.push((index, other)),
            }
        }
        turned
    }

    /// The registry can't record the intents: nothing is sent for them. One error says so for all.
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
