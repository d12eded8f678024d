//! `plan`: what `apply` would do.

use std::path::PathBuf;

use clap::ValueHint;

use super::Report;
use super::existing::existing_registry;
use super::manifest_args::ManifestArgs;
use super::planning::{BrakeRow, PlanArgs, PlanRequest, PlanView, SavedPlan, check_targets, refusals};
use crate::context::Context;
use crate::error::Result;
use crate::manifest::{Brake, Plan, PlanAction};
use crate::render::OutputFormat;

/// The exit code of `--detailed-exitcode` when there is something to do.
const CHANGES: u8 = 10;

/// Show what has to change so that the hooks are those of a manifest
///
/// The manifest is compared with the registry; nothing is sent or changed. What has another target is replaced: the new
/// hook is created before the old one is removed. Without --prune nothing is removed that a manifest does not name any more.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    manifest: ManifestArgs,

    #[command(flatten)]
    plan: PlanArgs,

    /// Write the plan to this file, for `apply PLAN`
    #[arg(long, value_name = "PLAN", value_hint = ValueHint::FilePath)]
    out: Option<PathBuf>,

    /// Show the checksum of the plan, for `apply --checksum`; with --quiet nothing else
    #[arg(long)]
    checksum: bool,

    /// Exit with 10 if something is to be done, or is unknown
    #[arg(long)]
    detailed_exitcode: bool,

    /// Show passwords in target URLs, and what variables and files stand for
    #[arg(long)]
    show_secrets: bool,
}

const EXAMPLES: &str = "\
Examples:
  bugfender-hooks plan -f hooks.toml
  bugfender-hooks plan -f hooks.toml --prune --out hooks.plan && bugfender-hooks apply hooks.plan
  bugfender-hooks plan -f hooks.toml --output json --jq .counts";

pub fn run(ctx: &Context, args: &Args) -> Result<Report> {
    let request = match PlanRequest::read(ctx, args.manifest.files.clone(), args.plan.options()) {
        Ok(request) => request,
        Err(errors) => return Ok(Report { errors, ..Report::nothing() }),
    };
    if let Some(path) = &args.out {
        SavedPlan::check_place(path, &request.files, &request.read)?;
    }
    let registry = existing_registry(ctx)?;
    let (plan, files) = request.into_plan(ctx, registry.as_deref())?;
    check_targets(ctx, &plan)?;
    warn(ctx, &plan);
    if let Some(path) = &args.out {
        SavedPlan::of(&files, &plan).write(path)?;
    }
    let is_due = plan.has_changes() || plan.counts().get(PlanAction::Unknown) > 0;
    let exit_code = (args.detailed_exitcode && is_due).then_some(CHANGES);
    let view = PlanView::new(&plan, args.show_secrets, args.checksum);
    Ok(Report { exit_code, errors: refusals(&plan), ..Report::of(view) })
}

/// Says what will keep `apply` from carrying it out. Who has just begun with a manifest, at a terminal, is not warned.
fn warn(ctx: &Context, plan: &Plan) {
    for brake in plan.brakes() {
        let is_no_news = ctx.is_interactive() && ctx.out().format() != OutputFormat::Github;
        let is_note = is_no_news && matches!(brake, Brake::Initial { .. });
        let sentence = BrakeRow::from(brake).sentence();
        if is_note { ctx.out().note(&sentence) } else { ctx.out().warn(&sentence) }
    }
}
