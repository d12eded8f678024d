//! `unsubscribe`: record the intent, delete at the server, record what came of it.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use clap_complete::ArgValueCompleter;
use futures_util::{StreamExt, stream};
use indicatif::{ProgressBar, ProgressDrawTarget};
use serde::Serialize;

use super::confirm::confirm;
use super::dry_run::{self, DryRunArg};
use super::hook_args::FilterArgs;
use super::hook_row::{HookRow, fields};
use super::{Report, suggest};
use crate::api::{AuthenticatedApi, CarriedOut, Failure, Unsubscribed, calls};
use crate::context::{Context, interrupted, unless_interrupted};
use crate::domain::{HookId, HookRecord, HookStatus, RowId};
use crate::error::{Error, ErrorKind, Result};
use crate::render::{Cell, Row, Tone};
use crate::store::{BeginRemoval, Registry, Removal};

/// How many requests are under way at once. The API asks to slow down (429) under load.
const CONCURRENCY: usize = 16;

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
    /// An id that the registry does not hold.
    Elsewhere(HookId),
    /// A row that names no hook: nobody knows what to delete.
    Nameless(Box<HookRecord>),
}

pub fn run(ctx: &Context, args: &Args) -> Result<Report> {
    let registry = if args.dry_run.dry_run { ctx.existing_registry()? } else { Some(ctx.registry()?) };
    let targets = match &registry {
        Some(registry) => pick(ctx, args, &**registry)?,
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
                foreign.insert(id, record);
            }
        }
    })?;
    let mut targets = Vec::new();
    let mut seen = HashSet::new();
    for id in args.hook_ids.iter().filter(|id| seen.insert(**id)) {
        targets.push(match (held.remove(id), foreign.remove(id)) {
            (Some(record), _) => Target::Held(*id, Box::new(record)),
            (None, Some(record)) => return Err(belongs_elsewhere(ctx, *id, &record)),
            (None, None) => Target::Elsewhere(*id),
        });
    }
    Ok(targets)
}

/// Ids are numbers of one installation: the same number at another is somebody else's hook.
fn belongs_elsewhere(ctx: &Context, id: HookId, record: &HookRecord) -> Error {
    let theirs = &record.subscription.origin;
    let message = format!("hook {id} is recorded for {theirs}, not for {}; nothing was removed", ctx.origin());
    Error::new(ErrorKind::NotFound, message)
        .hint(format!("to remove it there: --api-url {theirs}"))
        .hint(format!("if {} has a hook {id} of its own, `import` it first", ctx.origin()))
}

impl Target {
    fn id(&self) -> Option<HookId> {
        match self {
            Self::Held(id, _) | Self::Elsewhere(id) => Some(*id),
            Self::Nameless(_) => None,
        }
    }
}

/// Removes them, several at once, and shows every result.
fn remove_all(ctx: &Context, args: &Args, registry: &dyn Registry, targets: Vec<Target>) -> Result<Report> {
    let api = ctx.api()?;
    let run = &Run { ctx, args, registry, api: &api };
    let bar = progress_bar(ctx, targets.len());
    let mut ended = Vec::with_capacity(targets.len());
    let finished = ctx.block_on(async {
        let work = stream::iter(targets.into_iter().enumerate())
            .map(|(index, target)| async move { (index, run.remove(target).await) });
        let all = work.buffer_unordered(CONCURRENCY).for_each(|result| {
            bar.inc(1);
            ended.push(result);
            std::future::ready(())
        });
        Ok(unless_interrupted(all).await.is_some())
    })?;
    bar.finish_and_clear();
    ended.sort_by_key(|(index, _)| *index);
    let (mut rows, mut errors) = (Vec::new(), Vec::new());
    if !finished {
        errors.push(
            interrupted("while removing hooks").hint("run the same command again: it goes on where this one stopped"),
        );
    }
    for (_, (row, error)) in ended {
        rows.push(row);
        errors.extend(error);
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
}

/// A result, and the error in it.
type Ended = (UnsubscribedRow, Option<Error>);

impl Run<'_> {
    async fn remove(&self, target: Target) -> Ended {
        match target {
            Target::Held(id, record) => self.remove_held(id, *record).await,
            Target::Elsewhere(id) => self.remove_elsewhere(id).await,
            Target::Nameless(record) => {
                let message = format!("{} has no known hook id: it can't be removed from here", record.name());
                let error = Error::new(ErrorKind::OutcomeUnknown, message)
                    .hint("`bugfender-hooks doctor` says what to do about it");
                (self.row(*record, Outcome::Unknown), Some(error))
            }
        }
    }

    /// Removes a hook that nobody recorded: there is no row to keep.
    async fn remove_elsewhere(&self, id: HookId) -> Ended {
        let answer = self.api.unsubscribe(id).await;
        self.ctx.out().note(&format!("hook {id} is not in the registry; the request was sent all the same"));
        let (status, outcome, error) = match answer {
            Ok(Unsubscribed::Removed) => (HookStatus::Removed, Outcome::Removed, None),
            Ok(Unsubscribed::NotThere) => (HookStatus::Gone, Outcome::Missing, self.missing(id, None)),
            Err(failure) => (HookStatus::Unknown, failed_outcome(&failure), Some(failure.error)),
        };
        (UnsubscribedRow { hook: HookRow::elsewhere(id, self.ctx.origin(), status), result: outcome }, error)
    }

    async fn remove_held(&self, id: HookId, record: HookRecord) -> Ended {
        let row = record.row;
        loop {
            match self.registry.begin_removal(row) {
                Ok(BeginRemoval::Go) => break,
                Ok(BeginRemoval::InProgress) => tokio::time::sleep(POLL).await,
                Ok(BeginRemoval::Ended(ended)) => return self.remove_ended(id, *ended).await,
                Err(error) => return (self.row(record, Outcome::Failed), Some(error.into())),
            }
        }
        let answer = self.api.unsubscribe(id).await;
        let (end, outcome, error) = match answer {
            Ok(Unsubscribed::Removed) => (Removal::Removed, Outcome::Removed, None),
            Ok(Unsubscribed::NotThere) => (Removal::Gone, Outcome::Missing, self.missing(id, None)),
            Err(failure) => {
                let outcome = failed_outcome(&failure);
                let reason = failure.error.to_string();
                let error = match outcome {
                    Outcome::Unknown => failure.error.hint("the hook may still be there: run the same command again"),
                    _ => failure.error,
                };
                return self.end(record, row, removal_of(outcome, &reason), outcome, Some(error));
            }
        };
        self.end(record, row, end, outcome, error)
    }

    /// A row that ended before, asked for by id: the server has the last word, the row stays as it is.
    async fn remove_ended(&self, id: HookId, record: HookRecord) -> Ended {
        match self.api.unsubscribe(id).await {
            Ok(Unsubscribed::Removed) => (self.row(record, Outcome::Removed), None),
            Ok(Unsubscribed::NotThere) => {
                let error = self.missing(id, Some(&record));
                (self.row(record, Outcome::Missing), error)
            }
            Err(failure) => (self.row(record, failed_outcome(&failure)), Some(failure.error)),
        }
    }

    /// Records how a removal ended. A registry that cannot be told outweighs what the server said.
    fn end(&self, record: HookRecord, row: RowId, end: Removal<'_>, outcome: Outcome, error: Option<Error>) -> Ended {
        match self.registry.end_removal(row, end) {
            Ok(record) => (self.row(record, outcome), error),
            Err(store) => (self.row(record, outcome), Some(store.into())),
        }
    }

    fn row(&self, record: HookRecord, result: Outcome) -> UnsubscribedRow {
        UnsubscribedRow { hook: HookRow::of(record, self.args.show_secrets), result }
    }

    /// The error for a hook that is not there, unless that is fine.
    fn missing(&self, id: HookId, ended: Option<&HookRecord>) -> Option<Error> {
        if self.args.ignore_missing {
            return None;
        }
        let known = ended.map_or_else(String::new, |record| {
            format!("; the registry has it as {} since {}", record.status, record.updated_at)
        });
        let message = format!("hook {id} is not there (HTTP 404){known}");
        let error = Error::new(ErrorKind::NotFound, message).status(404);
        Some(error.hint("if that is as it should be, give --ignore-missing"))
    }
}

fn failed_outcome(failure: &Failure) -> Outcome {
    match failure.carried_out {
        CarriedOut::No => Outcome::Failed,
        CarriedOut::Maybe => Outcome::Unknown,
    }
}

fn removal_of(outcome: Outcome, reason: &str) -> Removal<'_> {
    if outcome == Outcome::Unknown { Removal::InDoubt(reason) } else { Removal::Refused }
}
