//! `subscribe`: hooks for an endpoint, and what would be sent for them.

use serde::Serialize;

use super::Report;
use super::dry_run::{self, DryRunArg};
use super::hook_args::SubscriptionArgs;
use super::hook_row::{HookRow, fields};
use crate::api::calls;
use crate::context::Context;
use crate::domain::{HookStatus, Label, Subscription};
use crate::error::Result;
use crate::hooks::{self, SubscribeOptions, Subscribed, Subscriber};
use crate::render::{Cell, Row, Tone};
use crate::store::Conflict;

/// Subscribe an endpoint to events of an app
///
/// Running it again changes nothing: a hook that the registry holds as active is reported, and no request
/// is sent. If it is unknown whether an earlier request was carried out, nothing is sent either.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    subscription: SubscriptionArgs,

    /// A name to find the hooks by; it is kept in the registry only
    #[arg(long, value_name = "TEXT")]
    label: Option<Label>,

    /// Send the request even if the registry holds such a hook already
    #[arg(long)]
    force: bool,

    #[command(flatten)]
    dry_run: DryRunArg,

    /// Show passwords in target URLs
    #[arg(long)]
    show_secrets: bool,
}

const EXAMPLES: &str = "\
Examples:
  bugfender-hooks subscribe --app-id 1001 --event new_crash --target-url https://hooks.example.com/bf
  bugfender-hooks subscribe --app-id 1001 --event all --target-url @url.txt --label ci
  bugfender-hooks subscribe --event all        # app and endpoint are those of the profile";

/// A hook, and whether this run made it.
#[derive(Serialize)]
struct SubscribedRow {
    #[serde(flatten)]
    hook: HookRow,
    created: bool,
}

impl Row for SubscribedRow {
    const FIELDS: &'static [&'static str] = fields!("created");
    const HEADERS: &'static [&'static str] =
        &["HOOK", "APP", "EVENT", "STATUS", "LABEL", "CREATED", "RESULT", "TARGET URL"];

    fn cells(&self) -> Vec<Cell> {
        let mut cells = self.hook.cells();
        // Before the URL, which is long.
        cells.insert(
            cells.len() - 1,
            match (self.created, self.hook.status) {
                (true, _) => Cell::toned("created", Tone::Good),
                (false, HookStatus::Active) => Cell::from("existed"),
                (false, HookStatus::Unknown | HookStatus::Removing) => Cell::toned("unknown", Tone::Bad),
                (false, _) => Cell::toned("failed", Tone::Bad),
            },
        );
        cells
    }

    fn id(&self) -> Option<String> {
        self.hook.id().filter(|_| self.created || self.hook.status == HookStatus::Active)
    }
}

pub fn run(ctx: &Context, args: &Args) -> Result<Report> {
    let wanted = args.subscription.subscriptions(ctx)?;
    if let Some(first) = wanted.first() {
        hooks::check_target(ctx, first, &first.target_url.redacted())?;
    }
    if args.dry_run.dry_run {
        return plan(ctx, args, wanted);
    }
    let registry = ctx.registry()?;
    let options = SubscribeOptions { label: args.label.as_ref(), force: args.force };
    let (done, errors) = Subscriber::new(ctx, &*registry, &|| ctx.api(), options).subscribe_each(&wanted);
    let row = |Subscribed { record, created }| SubscribedRow { hook: HookRow::of(record, args.show_secrets), created };
    Ok(Report::list(done.into_iter().map(row).collect(), errors))
}

/// Shows what would be sent, which is nothing for hooks that exist or are in doubt.
fn plan(ctx: &Context, args: &Args, wanted: Vec<Subscription>) -> Result<Report> {
    let registry = if args.force { None } else { ctx.existing_registry()? };
    let (mut requests, mut errors) = (Vec::new(), Vec::new());
    for subscription in wanted {
        let conflict = registry.as_ref().map_or(Ok(None), |registry| registry.find_conflict(&subscription))?;
        match conflict {
            None => requests.push(calls::subscribe(&subscription)),
            Some(Conflict::Exists(record)) => {
                ctx.out().note(&format!("{} already exists: nothing would be sent for it", record.name()));
            }
            Some(Conflict::InProgress) => {
                ctx.out()
                    .note(&format!("another process is subscribing to {subscription}: subscribe would wait for it"));
            }
            Some(Conflict::Unresolved(record)) => errors.push(hooks::or_by_force(hooks::unresolved(&record), &record)),
        }
    }
    Ok(Report { errors, ..dry_run::report(requests, args.show_secrets) })
}
