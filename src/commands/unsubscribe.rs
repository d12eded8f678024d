//! `unsubscribe`: record the intent, delete at the server, record what came of it.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use clap_complete::ArgValueCompleter;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use indicatif::{ProgressBar, ProgressDrawTarget};
use serde::Serialize;

use super::confirm::confirm;
use super::dry_run::{self, DryRunArg};
use super::hook_args::FilterArgs;
use super::hook_row::{HookRow, fields};
use super::{Report, suggest};
use crate::api::{AuthenticatedApi, CarriedOut, Failure, Unsubscribed, calls};
use crate::context::{Context, interrupted, unless_interrupted};
use crate::domain::{ApiOrigin, HookId, HookRecord, HookStatus, RowId};
use crate::error::{Error, ErrorKind, Result};
use crate::render::{Cell, Row, Tone};
use crate::store::{BeginRemoval, Registry, Removal};

/// How many requests are under way at once, as many as curl's parallel mode has. Where that is too many for the
/// server and it says so (429 with `Retry-After`), they all wait.
const CONCURRENCY: usize = 50;

/// How often to look whether another process has finished with the same hook.
const POLL: Duration = Duration::from_millis(20);

/// Remove hooks at Bugfender and mark them as removed in the registry
///
/// Hooks are named by id, or picked from the registry by filters. An id that the registry does not hold
/// is deleted at the server all the same.
// Each flag is one of the command line.
#[allow(clippy::struct_excessive_bools)]
#[derive(clap::Args)]
#[command(group(clap::ArgGroup::new("which").required(true).multiple(true)
    .args(["hook_ids", "app_ids", "events", "target_url", "label", "all"])))]
pub struct Args {
    /// The hooks
    #[arg(value_name = "HOOK_ID", conflicts_with_all = ["app_ids", "events", "target_url", "label", "all"],
          add = ArgValueCompleter::new(suggest::hook_ids))]
    hook_ids: Vec<HookId>,

    #[command(flatten)]
    filter: FilterArgs,

    /// Every hook of the installation that the registry holds
    #[arg(long, conflicts_with_all = ["app_ids", "events", "target_url", "label"])]
    all: bool,

    /// Do not ask before removing what filters or --all picked
    #[arg(short, long)]
    yes: bool,

    /// Count hooks that are not there as removed
    #[arg(long)]
    ignore_missing: bool,

    #[command(flatten)]
    dry_run: DryRunArg,

    /// Show passwords in target URLs
    #[arg(long)]
    show_secrets: bool,
}

/// What became of a hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    /// The server removed it.
    Removed,
    /// It was not there.
    Missing,
    /// It is as it was.
    Failed,
    /// Whether it is still there is not known.
    Unknown,
}

/// A hook, and what became of it.
#[derive(Serialize)]
struct UnsubscribedRow {
    #[serde(flatten)]
    hook: HookRow,
    result: Outcome,
}

impl Row for UnsubscribedRow {
    const FIELDS: &'static [&'static str] = fields!("result");
    const HEADERS: &'static [&'static str] =
        &["HOOK", "APP", "EVENT", "STATUS", "LABEL", "CREATED", "TARGET URL", "RESULT"];

    fn cells(&self) -> Vec<Cell> {
        let mut cells = self.hook.cells();
        cells.push(match self.result {
            Outcome::Removed => Cell::toned("removed", Tone::Good),
            Outcome::Missing => Cell::toned("missing", Tone::Caution),
            Outcome::Failed => Cell::toned("failed", Tone::Bad),
            Outcome::Unknown => Cell::toned("unknown", Tone::Bad),
        });
        cells
    }

    fn id(&self) -> Option<String> {
        self.hook.id()
    }
}

/// A hook to remove.
enum Target {
    /// A row with a hook id.
    Held(HookId, Box<HookRecord>),
    /// The same, when an earlier removal of it has no known end.
    Resumed(HookId, Box<HookRecord>),
    /// An id that the registry does not hold.
    Elsewhere(HookId),
    /// A row whose hook had ended when it was asked for.
    Ended(HookId, Box<HookRecord>),
    /// A row that names no hook: nobody knows what to delete.
    Nameless(Box<HookRecord>),
    /// An id that is on record for another installation: here it would be somebody else's hook.
    Foreign(HookId, ApiOrigin),
}

pub fn run(ctx: &Context, args: &Args) -> Result<Report> {
    let registry = if args.dry_run.dry_run { ctx.existing_registry()? } else { Some(ctx.registry()?) };
    let targets = match &registry {
        Some(registry) => pick_settled(ctx, args, &**registry)?,
        None => args.hook_ids.iter().copied().map(Target::Elsewhere).collect(),
    };
    if args.dry_run.dry_run {
        let ids = targets.iter().filter_map(Target::id);
        return Ok(dry_run::report(ids.map(|id| calls::unsubscribe(ctx.origin(), id)).collect(), args.show_secrets));
    }
    if targets.is_empty() {
        ctx.out().note("no hooks to remove");
        return Ok(Report::list(Vec::<UnsubscribedRow>::new(), Vec::new()));
    }
    if args.hook_ids.is_empty() {
        let question = format!("Remove {} of {}?", count(targets.len()), ctx.origin());
        confirm(ctx, &question, args.yes)?;
    }
    // `registry` is there: only a dry run goes without.
    let Some(registry) = registry else { return Ok(Report::nothing()) };
    remove_all(ctx, args, &*registry, targets)
}

fn count(hooks: usize) -> String {
    if hooks == 1 { "1 hook".to_owned() } else { format!("{hooks} hooks") }
}

/// What to remove, once no other process is subscribing any of it: its hook would be missed.
fn pick_settled(ctx: &Context, args: &Args, registry: &dyn Registry) -> Result<Vec<Target>> {
    let subscribing =
        |target: &Target| matches!(target, Target::Nameless(record) if record.status == HookStatus::Pending);
    loop {
        let targets = pick(ctx, args, registry)?;
        if args.dry_run.dry_run || !targets.iter().any(subscribing) {
            return Ok(targets);
        }
        let slept = ctx.block_on(async { Ok(unless_interrupted(tokio::time::sleep(POLL)).await) })?;
        slept.ok_or_else(|| interrupted("while another process subscribes"))?;
    }
}

/// What to remove, in the order given, or that of the registry.
fn pick(ctx: &Context, args: &Args, registry: &dyn Registry) -> Result<Vec<Target>> {
    if !args.hook_ids.is_empty() {
        return pick_by_id(ctx, args, registry);
    }
    let selection = args.filter.selection(ctx)?;
    let mut targets = Vec::new();
    registry.hooks(Some(ctx.origin()), &mut |record| {
        if selection.takes(&record) && !record.status.is_ended() {
            targets.push(match record.hook_id {
                Some(id) => Target::Held(id, Box::new(record)),
                None => Target::Nameless(Box::new(record)),
            });
        }
    })?;
    Ok(targets)
}

fn pick_by_id(ctx: &Context, args: &Args, registry: &dyn Registry) -> Result<Vec<Target>> {
    let mut held = HashMap::new();
    let mut foreign = HashMap::new();
    registry.hooks(None, &mut |record| {
        if let Some(id) = record.hook_id.filter(|id| args.hook_ids.contains(id)) {
            if record.subscription.origin == *ctx.origin() {
                held.insert(id, record);
            } else if !record.status.is_ended() {
                foreign.insert(id, record.subscription.origin);
            }
        }
    })?;
    let mut targets = Vec::new();
    let mut seen = HashSet::new();
    for id in args.hook_ids.iter().filter(|id| seen.insert(**id)) {
        targets.push(match (held.remove(id), foreign.remove(id)) {
            (Some(record), _) => Target::Held(*id, Box::new(record)),
            (None, Some(origin)) => Target::Foreign(*id, origin),
            (None, None) => Target::Elsewhere(*id),
        });
    }
    Ok(targets)
}

/// Ids are numbers of one installation: the same number at another is somebody else's hook.
fn belongs_elsewhere(ctx: &Context, id: HookId, theirs: &ApiOrigin) -> Error {
    let message = format!("hook {id} is recorded for {theirs}, not for {}; it was not removed", ctx.origin());
    Error::new(ErrorKind::NotFound, message)
        .hint(format!("to remove it there: --api-url {theirs}"))
        .hint(format!("if {} has a hook {id} of its own, `import` it first", ctx.origin()))
}

impl Target {
    fn id(&self) -> Option<HookId> {
        match self {
            Self::Held(id, _) | Self::Resumed(id, _) | Self::Ended(id, _) | Self::Elsewhere(id) => Some(*id),
            Self::Nameless(_) | Self::Foreign(..) => None,
        }
    }

    /// The row that is to record the removal.
    fn row(&self) -> Option<RowId> {
        match self {
            Self::Held(_, record) | Self::Resumed(_, record) => Some(record.row),
            _ => None,
        }
    }
}

/// Removes them, several at once, and shows every result.
fn remove_all(ctx: &Context, args: &Args, registry: &dyn Registry, targets: Vec<Target>) -> Result<Report> {
    let api = ctx.api()?;
    let bar = progress_bar(ctx, targets.len());
    let mut run = Run { ctx, args, registry, api: &api, bar: &bar, ended: Vec::with_capacity(targets.len()) };
    let finished = ctx.block_on(async { Ok(unless_interrupted(run.remove_all(targets)).await.is_some()) })?;
    bar.finish_and_clear();
    run.ended.sort_by_key(|ended| ended.index);
    let (mut rows, mut errors) = (Vec::new(), Vec::new());
    if !finished {
        errors.push(
            interrupted("while removing hooks").hint("run the same command again: it goes on where this one stopped"),
        );
    }
    for ended in run.ended {
        rows.push(ended.row);
        errors.extend(ended.error);
    }
    Ok(Report::list(rows, errors))
}

fn progress_bar(ctx: &Context, length: usize) -> ProgressBar {
    let target = if ctx.is_interactive() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    ProgressBar::with_draw_target(u64::try_from(length).ok(), target)
}

struct Run<'a> {
    ctx: &'a Context,
    args: &'a Args,
    registry: &'a dyn Registry,
    api: &'a AuthenticatedApi,
    bar: &'a ProgressBar,
    ended: Vec<Ended>,
}

/// A target and its place among the others.
type Placed = (usize, Target);

/// A result, the error in it, and its place among the others.
struct Ended {
    index: usize,
    row: UnsubscribedRow,
    error: Option<Error>,
}

/// What the server said about a target.
struct Answered {
    index: usize,
    target: Target,
    answer: Result<Unsubscribed, Failure>,
}

impl Run<'_> {
    /// Keeps as many requests under way as it may. Those that start together share a commit of their intents, those
    /// that end together share one of their ends: a commit waits for the disk.
    async fn remove_all(&mut self, targets: Vec<Target>) {
        let mut waiting: VecDeque<Placed> = targets.into_iter().enumerate().collect();
        let mut under_way = FuturesUnordered::new();
        while !(waiting.is_empty() && under_way.is_empty()) {
            let free = waiting.len().min(CONCURRENCY - under_way.len());
            let (go, busy) = self.begin(waiting.drain(..free).collect());
            under_way.extend(go.into_iter().map(|(index, target)| ask(self.api, index, target)));
            let all_busy = under_way.is_empty() && !busy.is_empty();
            waiting.extend(busy);
            if all_busy {
                tokio::time::sleep(POLL).await;
            }
            let mut answered: Vec<Answered> = under_way.next().await.into_iter().collect();
            while let Some(Some(further)) = under_way.next().now_or_never() {
                answered.push(further);
            }
            self.end(answered);
        }
    }

    /// Records the intents. Returns what to ask the server for, and what another process is at work on.
    fn begin(&mut self, targets: Vec<Placed>) -> (Vec<Placed>, Vec<Placed>) {
        let rows: Vec<RowId> = targets.iter().filter_map(|(_, target)| target.row()).collect();
        let begun = if rows.is_empty() { Ok(Vec::new()) } else { self.registry.begin_removals(&rows) };
        let mut begun = match begun {
            Ok(begun) => begun.into_iter(),
            Err(error) => {
                self.fail(targets, error.into());
                return (Vec::new(), Vec::new());
            }
        };
        let (mut go, mut busy) = (Vec::new(), Vec::new());
        for (index, target) in targets {
            match target {
                Target::Held(id, record) => match begun.next() {
                    Some(BeginRemoval::InProgress) => busy.push((index, Target::Held(id, record))),
                    // The server has the last word on it; the row stays as it is.
                    Some(BeginRemoval::Ended(ended)) => go.push((index, Target::Ended(id, ended))),
                    Some(BeginRemoval::Go { resumed: true }) => go.push((index, Target::Resumed(id, record))),
                    Some(BeginRemoval::Go { resumed: false }) | None => go.push((index, Target::Held(id, record))),
                },
                Target::Nameless(record) => self.nameless(index, *record),
                Target::Foreign(id, origin) => {
                    let error = belongs_elsewhere(self.ctx, id, &origin);
                    let row = self.unchanged(Target::Foreign(id, origin), Outcome::Failed);
                    self.finish(Ended { index, row, error: Some(error) });
                }
                other => go.push((index, other)),
            }
        }
        (go, busy)
    }

    /// The registry can't record the intents: nothing is sent for them.
    fn fail(&mut self, targets: Vec<Placed>, error: Error) {
        let mut error = Some(error);
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

    /// Records how they ended. A registry that cannot be told outweighs what the server said.
    fn end(&mut self, answered: Vec<Answered>) {
        let ends: Vec<(RowId, Removal)> = answered.iter().filter_map(Answered::end).collect();
        let recorded = if ends.is_empty() { Ok(Vec::new()) } else { self.registry.end_removals(&ends) };
        let (records, mut store_error) = match recorded {
            Ok(records) => (records, None),
            Err(error) => (Vec::new(), Some(Error::from(error))),
        };
        let mut records = records.into_iter();
        for Answered { index, target, answer } in answered {
            let (outcome, error) = self.judge(&target, answer);
            if let Target::Elsewhere(id) = &target {
                self.ctx.out().note(&format!("hook {id} is not in the registry; the request was sent all the same"));
            }
            let target = match target {
                Target::Held(id, record) | Target::Resumed(id, record) => {
                    Target::Held(id, records.next().map_or(record, Box::new))
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
            // The removal whose end was not known did it.
            Ok(Unsubscribed::NotThere) if matches!(target, Target::Resumed(..)) => (Outcome::Removed, None),
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
    Answered { index, target, answer }
}

impl Answered {
    /// What to record of it, if it has a row that is waiting for that.
    fn end(&self) -> Option<(RowId, Removal)> {
        let row = self.target.row()?;
        let resumed = matches!(self.target, Target::Resumed(..));
        let end = match &self.answer {
            Ok(Unsubscribed::Removed) => Removal::Removed,
            Ok(Unsubscribed::NotThere) if resumed => Removal::Removed,
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

fn outcome_of(failure: &Failure) -> Outcome {
    match failure.carried_out {
        CarriedOut::No => Outcome::Failed,
        CarriedOut::Maybe => Outcome::Unknown,
    }
}
