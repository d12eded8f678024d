//! `import`: a hook that was made in the dashboard, by curl, or by a request whose answer was lost.

use super::Report;
use super::dry_run::{self, DryRunArg};
use super::hook_args::SubscriptionArgs;
use super::hook_row::HookRow;
use crate::context::Context;
use crate::domain::{HookId, Label};
use crate::error::{Error, Result};

/// Record a hook that was made elsewhere; nothing is sent to Bugfender
///
/// If a subscription of unknown outcome is on record for the same app, event and endpoint, it becomes this hook.
#[derive(clap::Args)]
pub struct Args {
    /// The hook, as Bugfender numbers it
    #[arg(value_name = "HOOK_ID")]
    hook_id: HookId,

    #[command(flatten)]
    subscription: SubscriptionArgs,

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
    let wanted = args.subscription.subscriptions(ctx)?;
    let [subscription] = wanted.as_slice() else {
        return Err(Error::usage("a hook is for one event: give one --event"));
    };
    if args.dry_run.dry_run {
        ctx.out().note(&format!("hook {} would be recorded for {subscription}; nothing would be sent", args.hook_id));
        return Ok(dry_run::report(Vec::new(), args.show_secrets));
    }
    let (record, changed) = ctx.registry()?.import(args.hook_id, subscription, args.label.as_ref())?;
    if !changed {
        ctx.out().note(&format!("hook {} is on record already", args.hook_id));
    }
    Ok(Report::list(vec![HookRow::of(record, args.show_secrets)], Vec::new()))
}
