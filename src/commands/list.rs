//! `list`: what the registry holds.

use super::Report;
use super::hook_args::{FilterArgs, status_parser};
use super::hook_row::HookRow;
use crate::context::Context;
use crate::domain::HookStatus;
use crate::error::Result;
use crate::render::OutputFormat;

/// List the hooks in the registry, sorted by app, event, endpoint and age
///
/// Only hooks of the installation in use are listed. Bugfender has no call that lists hooks:
/// those made elsewhere are not here until `import` records them.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    filter: FilterArgs,

    /// Only hooks in these states: repeat, or separate by commas
    #[arg(long = "status", value_name = "STATUS", value_delimiter = ',', value_parser = status_parser())]
    statuses: Vec<HookStatus>,

    /// Also list hooks that have ended (removed, gone)
    #[arg(long)]
    all: bool,

    /// Show passwords in target URLs
    #[arg(long)]
    show_secrets: bool,
}

pub fn run(ctx: &Context, args: &Args) -> Result<Report> {
    let mut selection = args.filter.selection(ctx)?;
    selection.statuses.clone_from(&args.statuses);
    let with_ended = args.all || !args.statuses.is_empty();

    let mut rows = Vec::new();
    let mut elsewhere = 0_usize;
    if let Some(registry) = ctx.existing_registry()? {
        registry.hooks(None, &mut |record| {
            if record.subscription.origin != *ctx.origin() {
                elsewhere += 1;
            } else if selection.takes(&record) && (with_ended || !record.status.is_ended()) {
                rows.push(HookRow::of(record, args.show_secrets));
            }
        })?;
    }
    if ctx.out().format() == OutputFormat::Table {
        if rows.is_empty() {
            ctx.out().note(&format!("no hooks of {} to list", ctx.origin()));
        }
        if elsewhere > 0 {
            ctx.out().note(&format!("{elsewhere} more belong to other installations; see them with --api-url"));
        }
    }
    Ok(Report::list(rows, Vec::new()))
}
