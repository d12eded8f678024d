//! `import`: a hook that was made in the dashboard, by curl, or by a request whose answer was lost.

use clap_complete::ArgValueCompleter;

use jiff::Timestamp;

use super::Report;
use super::app_args::app_id;
use super::dry_run::{self, DryRunArg};
use super::hook_args::{TargetUrlArg, check_given, one_event_parser, target_url};
use super::hook_row::HookRow;
use super::suggest;
use crate::context::Context;
use crate::domain::{AppName, EventKind, HookId, Label, Subscription};
use crate::error::Result;

/// Record a hook that was made elsewhere; Bugfender is not asked
///
/// If a subscription of unknown outcome is on record for the same app, event and endpoint, it becomes this hook.
#[derive(clap::Args)]
pub struct Args {
    /// The hook, as Bugfender numbers it
    #[arg(value_name = "HOOK_ID")]
    hook_id: HookId,

    /// The app: its id, or its URL in the dashboard [default: that of the profile]
    #[arg(long, value_name = "ID", add = ArgValueCompleter::new(suggest::app_ids))]
    app_id: Option<AppName>,

    /// The event, which must be given
    #[arg(long, value_name = "EVENT", value_parser = one_event_parser())]
    event: Option<EventKind>,

    /// The endpoint that receives the events: a URL, "-" for standard input, or @FILE [default: that of the profile]
    #[arg(long, value_name = "URL")]
    target_url: Option<TargetUrlArg>,

    /// A name for finding the hook again
    #[arg(long, value_name = "TEXT")]
    label: Option<Label>,

    #[command(flatten)]
    dry_run: DryRunArg,

    /// Show passwords in target URLs
    #[arg(long)]
    show_secrets: bool,
}

pub fn run(ctx: &Context, args: &Args) -> Result<Report> {
    check_given(ctx, args.app_id.is_some(), args.event.is_some(), args.target_url.is_some())?;
    // It is given, as was checked.
    let Some(event) = args.event else { return Ok(Report::nothing()) };
    let subscription = &Subscription {
        origin: ctx.origin().clone(),
        app_id: app_id(ctx, args.app_id.as_ref())?,
        event,
        target_url: target_url(ctx, args.target_url.as_ref())?,
    };
    if args.dry_run.dry_run {
        ctx.out().note(&format!("hook {} would be recorded for {subscription}; nothing would be sent", args.hook_id));
        return Ok(dry_run::report(Vec::new(), args.show_secrets));
    }
    let (record, changed) =
        ctx.registry()?.import(args.hook_id, subscription, args.label.as_ref(), Timestamp::now())?;
    if !changed {
        ctx.out().note(&format!("hook {} is on record already", args.hook_id));
    }
    Ok(Report::list(vec![HookRow::of(record, args.show_secrets)], Vec::new()))
}
