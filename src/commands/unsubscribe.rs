//! `unsubscribe`: hooks by id or by filters, removed at the server and marked in the registry.

use clap_complete::ArgValueCompleter;
use serde::Serialize;

use super::confirm::confirm_each;
use super::dry_run::{self, DryRunArg};
use super::hook_args::FilterArgs;
use super::hook_row::{HookRow, fields};
use super::removal::remove;
use super::units::count;
use super::{Report, suggest};
use crate::api::calls;
use crate::context::Context;
use crate::domain::HookId;
use crate::error::Result;
use crate::hooks::{self, HookChoice, RemovalOptions, RemovalOutcome, RemovalSubject, RemovalTarget, RemovedHook};
use crate::render::{Cell, Row, Tone};

/// Remove hooks at Bugfender, and record their removal
///
/// Hooks are named by id, or selected from the registry by filters. An id that is not in the registry
/// is still deleted at the server.
// Each flag is one of the command line.
#[allow(clippy::struct_excessive_bools)]
#[derive(clap::Args)]
#[command(group(clap::ArgGroup::new("which").required(true).multiple(true)
    .args(["hook_ids", "app_ids", "events", "target_urls", "labels", "all"])))]
pub struct Args {
    /// The hooks: their ids, separated by spaces or commas
    #[arg(value_name = "HOOK_ID", value_delimiter = ',', conflicts_with_all = ["app_ids", "events", "target_urls", "labels", "all"],
          add = ArgValueCompleter::new(suggest::hook_ids))]
    hook_ids: Vec<HookId>,

    #[command(flatten)]
    filter: FilterArgs,

    /// Every hook of the installation that the registry holds
    #[arg(long, conflicts_with_all = ["app_ids", "events", "target_urls", "labels"])]
    all: bool,

    /// Do not ask before removing what filters or --all picked, or ids that the registry does not hold
    #[arg(short, long)]
    yes: bool,

    /// Treat hooks that do not exist as removed
    #[arg(long)]
    ignore_missing: bool,

    #[command(flatten)]
    dry_run: DryRunArg,

    /// Show passwords in target URLs
    #[arg(long)]
    show_secrets: bool,
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
        &["HOOK", "APP", "EVENT", "STATUS", "LABEL", "CREATED", "RESULT", "TARGET URL"];

    fn cells(&self) -> Vec<Cell> {
        let mut cells = self.hook.cells();
        // Before the URL, which is long.
        cells.insert(
            cells.len() - 1,
            match self.result {
                RemovalOutcome::Removed => Cell::toned("removed", Tone::Good),
                RemovalOutcome::Missing => Cell::toned("missing", Tone::Caution),
                RemovalOutcome::Failed => Cell::toned("failed", Tone::Bad),
                RemovalOutcome::Unknown => Cell::toned("unknown", Tone::Bad),
            },
        );
        cells
    }

    fn id(&self) -> Option<String> {
        self.hook.id().filter(|_| matches!(self.result, RemovalOutcome::Removed | RemovalOutcome::Missing))
    }
}

impl UnsubscribedRow {
    fn of(ctx: &Context, removed: RemovedHook, show_secrets: bool) -> Self {
        let hook = match removed.subject {
            RemovalSubject::Recorded(record) => HookRow::of(*record, show_secrets),
            RemovalSubject::Unrecorded(id, status) => HookRow::elsewhere(id, ctx.origin(), status),
        };
        Self { hook, result: removed.outcome }
    }
}

pub fn run(ctx: &Context, args: &Args) -> Result<Report> {
    if args.dry_run.dry_run {
        return plan(ctx, args);
    }
    let registry = ctx.registry()?;
    let targets = hooks::pick_settled(ctx, &*registry, ctx.origin(), &choice(ctx, args)?)?;
    if targets.is_empty() {
        ctx.out().note("no hooks to remove");
        return Ok(Report::list(Vec::<UnsubscribedRow>::new(), Vec::new()));
    }
    let by_id = !args.hook_ids.is_empty();
    if by_id {
        confirm_unrecorded(ctx, &targets, args.yes)?;
    } else {
        let what: Vec<String> = targets.iter().map(described).collect();
        let question = format!("Remove {} of {}?", count(targets.len() as u64, "hook"), ctx.origin());
        confirm_each(ctx, &what, &question, args.yes)?;
    }
    let options = RemovalOptions { by_id, ignore_missing: args.ignore_missing };
    let (hooks, errors) = remove(ctx, &*registry, targets, options)?.split();
    let row = |hook| UnsubscribedRow::of(ctx, hook, args.show_secrets);
    Ok(Report::list(hooks.into_iter().map(row).collect(), errors))
}

/// Asks on a terminal before hooks are deleted that this registry does not hold: a mistyped id is somebody else's hook.
fn confirm_unrecorded(ctx: &Context, targets: &[RemovalTarget], yes: bool) -> Result<()> {
    let what: Vec<String> =
        targets.iter().filter(|target| matches!(target, RemovalTarget::Elsewhere(_))).map(described).collect();
    if what.is_empty() || !ctx.is_interactive() {
        return Ok(());
    }
    let question = format!("Delete {} at {}?", count(what.len() as u64, "hook"), ctx.origin());
    confirm_each(ctx, &what, &question, yes)
}

/// A hook that would go, on one line.
fn described(target: &RemovalTarget) -> String {
    match target {
        RemovalTarget::Held(_, record)
        | RemovalTarget::Resumed(_, record)
        | RemovalTarget::Ended(_, record)
        | RemovalTarget::Nameless(record) => record.description(),
        RemovalTarget::Elsewhere(id) => format!("hook {id}, which this registry does not hold"),
        RemovalTarget::Foreign(id, origin) => format!("hook {id} of {origin}, which stays"),
    }
}

/// Shows what would be sent.
fn plan(ctx: &Context, args: &Args) -> Result<Report> {
    let targets = match ctx.existing_registry()? {
        Some(registry) => hooks::pick(&*registry, ctx.origin(), &choice(ctx, args)?)?,
        None => args.hook_ids.iter().copied().map(RemovalTarget::Elsewhere).collect(),
    };
    let ids = targets.iter().filter_map(RemovalTarget::id);
    Ok(dry_run::report(ids.map(|id| calls::unsubscribe(ctx.origin(), id)).collect(), args.show_secrets))
}

fn choice(ctx: &Context, args: &Args) -> Result<HookChoice> {
    if args.hook_ids.is_empty() {
        return Ok(HookChoice::Matching(args.filter.selection(ctx)?));
    }
    Ok(HookChoice::Ids(args.hook_ids.clone()))
}
