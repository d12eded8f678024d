//! `unsubscribe`: record the intent, delete at the server, record what came of it.

mod answered;
mod concurrency;
mod pick;
mod removal;

use std::collections::{BTreeMap, VecDeque};

use clap_complete::ArgValueCompleter;
use serde::Serialize;

use self::concurrency::ConcurrencyLimit;
use self::pick::{RemovalTarget, pick_settled};
use self::removal::Run;
use super::confirm::confirm;
use super::dry_run::{self, DryRunArg};
use super::hook_args::FilterArgs;
use super::hook_row::{HookRow, fields};
use super::progress::progress_bar;
use super::units::count;
use super::{Report, suggest};
use crate::api::calls;
use crate::context::Context;
use crate::domain::HookId;
use crate::error::Result;
use crate::render::{Cell, Row, Tone};
use crate::store::Registry;

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
enum RemovalOutcome {
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
    result: RemovalOutcome,
}

impl Row for UnsubscribedRow {
    const FIELDS: &'static [&'static str] = fields!("result");
    const HEADERS: &'static [&'static str] =
        &["HOOK", "APP", "EVENT", "STATUS", "LABEL", "CREATED", "TARGET URL", "RESULT"];

    fn cells(&self) -> Vec<Cell> {
        let mut cells = self.hook.cells();
        cells.push(match self.result {
            RemovalOutcome::Removed => Cell::toned("removed", Tone::Good),
            RemovalOutcome::Missing => Cell::toned("missing", Tone::Caution),
            RemovalOutcome::Failed => Cell::toned("failed", Tone::Bad),
            RemovalOutcome::Unknown => Cell::toned("unknown", Tone::Bad),
        });
        cells
    }

    fn id(&self) -> Option<String> {
        self.hook.id().filter(|_| matches!(self.result, RemovalOutcome::Removed | RemovalOutcome::Missing))
    }
}

pub fn run(ctx: &Context, args: &Args) -> Result<Report> {
    let registry = if args.dry_run.dry_run { ctx.existing_registry()? } else { Some(ctx.registry()?) };
    let targets = match &registry {
        Some(registry) => pick_settled(ctx, args, &**registry)?,
        None => args.hook_ids.iter().copied().map(RemovalTarget::Elsewhere).collect(),
    };
    if args.dry_run.dry_run {
        let ids = targets.iter().filter_map(RemovalTarget::id);
        return Ok(dry_run::report(ids.map(|id| calls::unsubscribe(ctx.origin(), id)).collect(), args.show_secrets));
    }
    if targets.is_empty() {
        ctx.out().note("no hooks to remove");
        return Ok(Report::list(Vec::<UnsubscribedRow>::new(), Vec::new()));
    }
    if args.hook_ids.is_empty() {
        let question = format!("Remove {} of {}?", count(targets.len() as u64, "hook"), ctx.origin());
        confirm(ctx, &question, args.yes)?;
    }
    // `registry` is there: only a dry run goes without.
    let Some(registry) = registry else { return Ok(Report::nothing()) };
    remove_all(ctx, args, &*registry, targets)
}

/// Removes these hooks; one that is not there is removed already.
///
/// # Errors
/// As the command.
pub fn remove_hooks(ctx: &Context, hook_ids: Vec<HookId>) -> Result<Report> {
    let filter = FilterArgs { app_ids: Vec::new(), events: Vec::new(), target_url: None, label: None };
    let dry_run = DryRunArg { dry_run: false };
    run(ctx, &Args { hook_ids, filter, all: false, yes: true, ignore_missing: true, dry_run, show_secrets: false })
}

/// Removes them, several at once, and shows every result.
fn remove_all(ctx: &Context, args: &Args, registry: &dyn Registry, targets: Vec<RemovalTarget>) -> Result<Report> {
    let api = ctx.api()?;
    let bar = progress_bar(ctx, targets.len() as u64);
    let mut run = Run {
        ctx,
        args,
        registry,
        api: &api,
        bar: &bar,
        ended: Vec::with_capacity(targets.len()),
        concurrency: ConcurrencyLimit::new(targets.len()),
        ready: VecDeque::new(),
        answered: Vec::new(),
        sent: BTreeMap::new(),
        alone: false,
        locked_until: None,
        broken: false,
    };
    let finished = ctx.wait(run.remove_all(targets))?.is_some();
    let mut errors = if finished { Vec::new() } else { run.interrupt() };
    bar.finish_and_clear();
    run.ended.sort_by_key(|ended| ended.index);
    let mut rows = Vec::new();
    for ended in run.ended {
        rows.push(ended.row);
        errors.extend(ended.error);
    }
    Ok(Report::list(rows, errors))
}
