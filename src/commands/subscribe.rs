//! `subscribe`: hooks for an endpoint, and what would be sent for them.

use clap_complete::ArgValueCompleter;
use serde::Serialize;

use super::dry_run::{self, DryRunArg};
use super::hook_args::SubscriptionArgs;
use super::hook_row::{HookRow, fields};
use super::{Report, replacing, suggest};
use crate::api::calls;
use crate::context::Context;
use crate::domain::{HookId, HookStatus, Label, Subscription};
use crate::error::{Error, Result};
use crate::hooks::{self, ReplacementOrder, SubscribeOptions, Subscribed, Subscriber};
use crate::render::{Cell, Row, Tone};
use crate::store::Conflict;

/// Subscribe an endpoint to events of an app
///
/// Running it again changes nothing: a hook that the registry holds as active is reported, and no request
/// is sent. If it is unknown whether an earlier request was carried out, nothing is sent either.
///
/// A hook that Bugfender deactivated, or that somebody deleted in the dashboard, is still active in the registry:
/// --replace makes it anew.
// Each flag is one of the command line.
#[allow(clippy::struct_excessive_bools)]
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

    /// Make hooks on record anew, and remove each old one once its new one is there
    ///
    /// The new hook has the label and the owner of the old one. If a run is cut short in between, the next one only
    /// removes the old hook. Hooks that are not on record are subscribed.
    #[arg(long, conflicts_with = "force")]
    replace: bool,

    /// With --replace, the hooks by their ids: repeat, or separate by commas
    #[arg(long = "id", value_name = "HOOK_ID", value_delimiter = ',', requires = "replace",
          conflicts_with_all = ["app_ids", "events", "target_url"], add = ArgValueCompleter::new(suggest::hook_ids))]
    hook_ids: Vec<HookId>,

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
  bugfender-hooks subscribe --event all        # app and endpoint are those of the profile
  bugfender-hooks subscribe --replace --id 123";

/// A hook, whether this run made it, and which one it has replaced.
#[derive(Serialize)]
struct SubscribedRow {
    #[serde(flatten)]
    hook: HookRow,
    created: bool,
    replaced: Option<HookId>,
}

impl Row for SubscribedRow {
    const FIELDS: &'static [&'static str] = fields!("created", "replaced");
    const HEADERS: &'static [&'static str] =
        &["HOOK", "APP", "EVENT", "STATUS", "LABEL", "CREATED", "RESULT", "TARGET URL"];

    fn cells(&self) -> Vec<Cell> {
        let mut cells = self.hook.cells();
        // Before the URL, which is long.
        cells.insert(
            cells.len() - 1,
            match (self.created, self.hook.status) {
                _ if self.replaced.is_some() => Cell::toned("replaced", Tone::Good),
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
    if args.replace {
        return replace(ctx, args);
    }
    let wanted = args.subscription.subscriptions(ctx)?;
    if let Some(first) = wanted.first() {
        hooks::check_target(ctx, first, &first.target_url.redacted())?;
    }
    if args.dry_run.dry_run {
        return plan(ctx, args, wanted);
    }
    let registry = ctx.registry()?;
    let (done, errors) = Subscriber::new(ctx, &*registry, &|| ctx.api(), options(args)).subscribe_each(&wanted);
    Ok(report(args, done, errors))
}

fn options(args: &Args) -> SubscribeOptions<'_> {
    SubscribeOptions { label: args.label.as_ref(), force: args.force, replace: args.replace }
}

fn report(args: &Args, done: Vec<Subscribed>, errors: Vec<Error>) -> Report {
    let row = |Subscribed { record, created, replaced }| SubscribedRow {
        hook: HookRow::of(record, args.show_secrets),
        created,
        replaced,
    };
    Report::list(done.into_iter().map(row).collect(), errors)
}

/// Makes hooks anew, or shows what would be sent for that.
fn replace(ctx: &Context, args: &Args) -> Result<Report> {
    let orders = orders(ctx, args)?;
    if args.dry_run.dry_run {
        let (requests, errors) = replacing::requests(ctx, &orders)?;
        return Ok(Report { errors, ..dry_run::report(requests, args.show_secrets) });
    }
    let registry = ctx.registry()?;
    let (done, errors) = Subscriber::new(ctx, &*registry, &|| ctx.api(), options(args)).replace_each(&orders)?;
    Ok(report(args, done, errors))
}

/// What is to be made anew: hooks that are named, or those that the registry holds for what is to be subscribed.
fn orders(ctx: &Context, args: &Args) -> Result<Vec<ReplacementOrder>> {
    if args.hook_ids.is_empty() {
        let wanted = args.subscription.subscriptions(ctx)?;
        if let Some(first) = wanted.first() {
            hooks::check_target(ctx, first, &first.target_url.redacted())?;
        }
        return Ok(wanted.into_iter().map(|wanted| ReplacementOrder { wanted, old: None }).collect());
    }
    let orders = replacing::orders(ctx, &args.hook_ids)?;
    for ReplacementOrder { wanted, .. } in &orders {
        hooks::check_target(ctx, wanted, &wanted.target_url.redacted())?;
    }
    Ok(orders)
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
