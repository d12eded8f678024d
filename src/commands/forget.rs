//! `forget`: the one command that deletes from the registry.

use clap_complete::ArgValueCompleter;

use super::confirm::confirm_each;
use super::dry_run::{self, DryRunArg};
use super::hook_args::{FilterArgs, status_parser};
use super::hook_row::HookRow;
use super::{Report, suggest};
use crate::context::Context;
use crate::domain::{HookId, HookRecord, HookStatus};
use crate::error::{Error, ErrorKind, Result};

/// Delete records from the registry without removing the hooks
///
/// A hook that exists and is forgotten keeps delivering, and only the dashboard shows its id.
/// Records of unknown outcome have no id: select them by filters.
#[derive(clap::Args)]
#[command(group(clap::ArgGroup::new("which").required(true).multiple(true)
    .args(["hook_ids", "app_ids", "events", "target_urls", "labels", "statuses"])))]
pub struct Args {
    /// The hooks: their ids, separated by spaces or commas
    #[arg(value_name = "HOOK_ID", value_delimiter = ',', conflicts_with_all = ["app_ids", "events", "target_urls", "labels", "statuses"],
          add = ArgValueCompleter::new(suggest::hook_ids))]
    hook_ids: Vec<HookId>,

    #[command(flatten)]
    filter: FilterArgs,

    /// Only records in these states: repeat, or separate by commas
    #[arg(long = "status", value_name = "STATUS", value_delimiter = ',', value_parser = status_parser())]
    statuses: Vec<HookStatus>,

    /// Do not ask before forgetting what filters picked
    #[arg(short, long)]
    yes: bool,

    #[command(flatten)]
    dry_run: DryRunArg,

    /// Show passwords in target URLs
    #[arg(long)]
    show_secrets: bool,
}

pub fn run(ctx: &Context, args: &Args) -> Result<Report> {
    let mut selection = args.filter.selection(ctx)?;
    selection.statuses.clone_from(&args.statuses);
    selection.hook_ids.clone_from(&args.hook_ids);
    let mut records = Vec::new();
    let registry = ctx.existing_registry()?;
    if let Some(registry) = &registry {
        registry.hooks(Some(ctx.origin()), &mut |record| {
            if selection.takes(&record) {
                records.push(record);
            }
        })?;
    }
    let missing = not_held(&args.hook_ids, &records);
    if args.dry_run.dry_run {
        for record in &records {
            ctx.out().note(&format!("the record of {} would be deleted; nothing would be sent", record.name()));
        }
        return Ok(Report { errors: missing, ..dry_run::report(Vec::new(), args.show_secrets) });
    }
    if args.hook_ids.is_empty() && !records.is_empty() {
        let question = format!("Forget {} of {}, without removing the hooks?", count(records.len()), ctx.origin());
        let what: Vec<String> = records.iter().map(HookRecord::description).collect();
        confirm_each(ctx, &what, &question, args.yes)?;
    }
    let (mut rows, mut errors) = (Vec::new(), missing);
    for record in records {
        match registry.as_ref().map(|registry| registry.forget(record.row)) {
            Some(Err(error)) => errors.push(error.into()),
            _ => rows.push(HookRow::of(record, args.show_secrets)),
        }
    }
    if rows.is_empty() && errors.is_empty() {
        ctx.out().note("no records to forget");
    }
    Ok(Report::list(rows, errors))
}

fn count(records: usize) -> String {
    if records == 1 { "1 record".to_owned() } else { format!("{records} records") }
}

fn not_held(ids: &[HookId], records: &[HookRecord]) -> Vec<Error> {
    let held = |id: &&HookId| !records.iter().any(|record| record.hook_id == Some(**id));
    let error = |id: &HookId| {
        Error::new(ErrorKind::NotFound, format!("hook {id} is not in the registry"))
            .hint("`bugfender-hooks list --all` shows those that are")
    };
    ids.iter().filter(held).map(error).collect()
}
