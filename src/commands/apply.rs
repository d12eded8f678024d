//! `apply`: makes the hooks those of a manifest.

use std::error::Error as StdError;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::ValueHint;
use jiff::SignedDuration;

use super::Report;
use super::confirm::confirm_each;
use super::planning::{
    AppliedView, Disclosure, PlanArgs, PlanRequest, SavedPlan, check_targets, planned_counts, refusals,
};
use super::progress::progress_bar;
use super::units::{count, duration_or_zero};
use crate::context::Context;
use crate::domain::{HookStatus, ManifestName};
use crate::error::{Error, Result};
use crate::hooks::{Applied, Applier, ApplyOptions, ManifestLockGuard, lock_manifest};
use crate::manifest::{Brake, Plan, PlannedHook};
use crate::store::Registry;

/// How often to look whether another process has subscribed what it is subscribing.
const PENDING_POLL_INTERVAL: Duration = Duration::from_millis(200);

/// Make the hooks those of a manifest
///
/// Does what `plan` shows: creates hooks, replaces those whose target changed (the new one before the old one is removed), and
/// with --prune removes those that the manifest does not name any more. It can be repeated, and continues after it was
/// interrupted. A failure does not stop the rest; the exit code is that of the first.
///
/// With a PLAN, or with --checksum, it does exactly what was reviewed, or nothing (exit code 2).
// Each flag is one of the command line.
#[allow(clippy::struct_excessive_bools)]
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// A plan that `plan --out` wrote: its manifest and flags apply
    #[arg(value_name = "PLAN", value_hint = ValueHint::FilePath, conflicts_with_all = ["files", "prune", "adopt", "checksum"])]
    saved: Option<PathBuf>,

    /// The manifest: a file (.toml, .yaml, .json), a directory of such files, or "-" for standard input (TOML or JSON); several
    /// are one manifest
    #[arg(short, long = "file", value_name = "FILE", required_unless_present = "saved", value_hint = ValueHint::AnyPath)]
    files: Vec<PathBuf>,

    #[command(flatten)]
    plan: PlanArgs,

    /// Do nothing unless the plan has this checksum
    #[arg(long, value_name = "SUM")]
    checksum: Option<String>,

    /// Do not ask
    #[arg(short, long)]
    yes: bool,

    /// Create hooks even if the registry has never held one of this manifest
    ///
    /// Needed with --yes the first time. Leave it out afterwards: with it, a job that lost its registry would create everything a
    /// second time.
    #[arg(long)]
    initial: bool,

    /// Remove more than 30 % of ten or more hooks
    #[arg(long)]
    allow_large_removal: bool,

    /// Send at most this many requests at once
    ///
    /// Fewer if the server answers 429.
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=100))]
    concurrency: u16,

    /// Wait this long for another apply of the manifest; 0 not to wait
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = duration_or_zero)]
    lock_timeout: SignedDuration,

    /// Show passwords in target URLs, and what variables and files stand for
    #[arg(long)]
    show_secrets: bool,
}

const EXAMPLES: &str = "\
Examples:
  bugfender-hooks apply -f hooks.toml
  bugfender-hooks apply -f hooks.toml --yes --initial  # the first time in CI
  bugfender-hooks apply -f hooks.toml --prune --yes    # in CI
  bugfender-hooks apply hooks.plan                     # what `plan --out` wrote";

impl Args {
    fn disclosure(&self) -> Disclosure {
        Disclosure { show_secrets: self.show_secrets }
    }
}

pub fn run(ctx: &Context, args: &Args) -> Result<Report> {
    let (request, reviewed) = match request(ctx, args)? {
        Ok(request) => request,
        Err(errors) => return Ok(Report { errors, ..Report::nothing() }),
    };
    let existing = ctx.existing_registry()?;
    let plan = request.plan(ctx, existing.as_deref())?;
    if let Err(errors) = check(ctx, args, &plan, reviewed.as_deref()) {
        return Ok(Report { errors, ..Report::nothing() });
    }
    check_targets(ctx, &plan)?;
    if !plan.has_changes() && pending(&plan) == 0 {
        let (name, disclosure) = (plan.name.clone(), args.disclosure());
        return Ok(report(ctx, name, Applied::unchanged(plan), disclosure));
    }
    let confirmed = confirm(ctx, args, &plan)?;
    let registry = match existing {
        Some(registry) => registry,
        None => ctx.registry()?,
    };
    carry_out(ctx, args, &request, &*registry, reviewed.or(confirmed).as_deref())
}

/// What is to be applied, and the checksum of what was reviewed.
type ReviewedRequest = (PlanRequest, Option<String>);

/// What is to be applied, or what is wrong with the manifest.
fn request(ctx: &Context, args: &Args) -> Result<Result<ReviewedRequest, Vec<Error>>> {
    let Some(path) = &args.saved else {
        let read = PlanRequest::read(ctx, args.files.clone(), args.plan.options());
        return Ok(read.map(|request| (request, args.checksum.clone())));
    };
    let saved = SavedPlan::read(path, ctx.origin())?;
    let read = PlanRequest::read(ctx, saved.files.clone(), saved.options());
    let is_elsewhere = saved.files.iter().any(|file| !file.exists());
    let explained = |error: Error| {
        let is_lost = |cause: &(dyn StdError + 'static)| {
            cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::NotFound)
        };
        if is_elsewhere && error.place().is_none() && error.causes().any(is_lost) {
            return error.hint(format!("{} names its manifest from the directory where it was made", path.display()));
        }
        error
    };
    let explained = |errors: Vec<Error>| errors.into_iter().map(explained).collect();
    Ok(read.map(|request| (request, Some(saved.checksum))).map_err(explained))
}

/// Keeps the lock of the manifest while the plan, as it is then, is carried out.
fn carry_out(
    ctx: &Context,
    args: &Args,
    request: &PlanRequest,
    registry: &dyn Registry,
    reviewed: Option<&str>,
) -> Result<Report> {
    let timeout = Duration::try_from(args.lock_timeout).unwrap_or_default();
    let lock = lock_manifest(ctx, registry, ctx.origin(), &request.manifest.name, timeout)?;
    let plan = settled_plan(ctx, request, registry, &lock, timeout)?;
    if let Err(errors) = check(ctx, args, &plan, reviewed) {
        return Ok(Report { errors, ..Report::nothing() });
    }
    let (name, disclosure) = (plan.name.clone(), args.disclosure());
    let bar = progress_bar(ctx, plan.requests() as u64);
    let options = ApplyOptions { concurrency: usize::from(args.concurrency) };
    let applied = Applier::new(ctx, registry, &lock, options, &|| bar.inc(1)).apply(plan, || ctx.api());
    bar.finish_and_clear();
    Ok(report(ctx, name, applied?, disclosure))
}

fn report(ctx: &Context, name: ManifestName, applied: Applied, disclosure: Disclosure) -> Report {
    let view = AppliedView::new(name, ctx.origin().clone(), &applied.hooks, disclosure);
    Report { errors: applied.errors, ..Report::of(view) }
}

/// The plan, once no other process is subscribing any of it.
fn settled_plan(
    ctx: &Context,
    request: &PlanRequest,
    registry: &dyn Registry,
    lock: &ManifestLockGuard<'_>,
    timeout: Duration,
) -> Result<Plan> {
    let started = Instant::now();
    let mut told = false;
    loop {
        lock.renew();
        let plan = request.plan(ctx, Some(registry))?;
        let pending = pending(&plan);
        if pending == 0 || started.elapsed() >= timeout {
            return Ok(plan);
        }
        if !told {
            let hooks = count(pending as u64, "hook");
            ctx.out().note(&format!(
                "waiting for {hooks} that another process is subscribing; if that was killed, for up to 2 min"
            ));
            told = true;
        }
        let slept = ctx.wait(async { tokio::time::sleep(PENDING_POLL_INTERVAL).await })?;
        slept.ok_or_else(|| Error::interrupted("while another process subscribes; nothing was changed"))?;
    }
}

/// How many hooks another process is subscribing.
fn pending(plan: &Plan) -> usize {
    let is_pending =
        |hook: &&PlannedHook| hook.record.as_ref().is_some_and(|record| record.status == HookStatus::Pending);
    plan.hooks.iter().filter(is_pending).count()
}

/// What keeps the plan from being carried out.
fn check(ctx: &Context, args: &Args, plan: &Plan, reviewed: Option<&str>) -> Result<(), Vec<Error>> {
    let mut errors = refusals(plan);
    if let Some(reviewed) = reviewed.filter(|reviewed| !reviewed.eq_ignore_ascii_case(&plan.checksum())) {
        let message = format!("the plan is not the one that was reviewed: its checksum is not {reviewed}");
        let error = Error::usage(message);
        errors.push(error.hint("the manifest, the registry or a flag changed since: run `bugfender-hooks plan` again"));
    }
    for brake in plan.brakes() {
        let error = Error::usage(brake.to_string());
        match brake {
            Brake::LargeRemoval { .. } if !args.allow_large_removal => errors.push(
                error.hint("if that is meant, give --allow-large-removal; `bugfender-hooks plan` shows which they are"),
            ),
            Brake::Initial { .. } if !(args.initial || (ctx.is_interactive() && !args.yes)) => errors.push(
                error
                    .hint("if these hooks exist already, bring back the registry that knows them: they would be made a second time")
                    .hint("if this is the first time, give --initial, and leave it out afterwards"),
            ),
            Brake::Empty => errors.push(error.hint("to remove hooks without a manifest: bugfender-hooks unsubscribe")),
            Brake::LargeRemoval { .. } | Brake::Initial { .. } => {}
        }
    }
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

/// Asks on a terminal. Returns the checksum of what was agreed to.
fn confirm(ctx: &Context, args: &Args, plan: &Plan) -> Result<Option<String>> {
    if args.yes {
        return Ok(None);
    }
    if plan.brakes().iter().any(|brake| matches!(brake, Brake::Initial { .. })) {
        ctx.out().note("the registry has never held a hook of this manifest: if these hooks exist already, they are made a second time");
    }
    let disclosure = args.disclosure();
    let changes = plan.hooks.iter().filter(|hook| hook.action.is_change());
    let lines: Vec<String> = changes.map(|hook| disclosure.line(hook)).collect();
    let question = format!("{} Apply this to {}?", planned_counts(&plan.counts(), plan.name.as_str()), plan.origin);
    confirm_each(ctx, &lines, &question, false)?;
    Ok(Some(plan.checksum()))
}
