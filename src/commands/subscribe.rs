//! `subscribe`: record the intent, send the request, record what came of it.

use std::cell::OnceCell;
use std::time::Duration;

use serde::Serialize;

use super::Report;
use super::dry_run::{self, DryRunArg};
use super::hook_args::SubscriptionArgs;
use super::hook_row::{HookRow, fields};
use crate::api::{AuthenticatedApi, CarriedOut, Failure, calls};
use crate::context::Context;
use crate::domain::{HookId, HookRecord, HookStatus, HostScope, Label, RowId, Subscription};
use crate::error::{Error, ErrorKind, Result};
use crate::render::{Cell, Row, Tone};
use crate::store::{Activated, Conflict, Registry, Reservation, StoreError};

/// How often to look whether another process has finished the same subscription.
const POLL: Duration = Duration::from_millis(20);

/// Subscribe an endpoint to events of an app
///
/// Running it again changes nothing: a hook that the registry holds as active is reported, and no request
/// is sent. When it is not known whether an earlier request was carried out, nothing is sent either.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    subscription: SubscriptionArgs,

    /// A name for finding the hooks again; it stays in the registry
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
        &["HOOK", "APP", "EVENT", "STATUS", "LABEL", "CREATED", "TARGET URL", "RESULT"];

    fn cells(&self) -> Vec<Cell> {
        let mut cells = self.hook.cells();
        cells.push(match (self.created, self.hook.status) {
            (true, _) => Cell::toned("created", Tone::Good),
            (false, HookStatus::Active) => Cell::from("existed"),
            (false, HookStatus::Unknown | HookStatus::Removing) => Cell::toned("unknown", Tone::Bad),
            (false, _) => Cell::toned("failed", Tone::Bad),
        });
        cells
    }

    fn id(&self) -> Option<String> {
        self.hook.id().filter(|_| self.created || self.hook.status == HookStatus::Active)
    }
}

pub fn run(ctx: &Context, args: &Args) -> Result<Report> {
    let wanted = args.subscription.subscriptions(ctx)?;
    if let Some(first) = wanted.first() {
        check_target(ctx, first, &first.target_url.redacted())?;
    }
    if args.dry_run.dry_run {
        return plan(ctx, args, wanted);
    }
    let (done, errors) = subscribe_each(ctx, &wanted, args.label.as_ref(), args.force)?;
    let row = |Subscribed { record, created }| SubscribedRow { hook: HookRow::of(record, args.show_secrets), created };
    Ok(Report::list(done.into_iter().map(row).collect(), errors))
}

/// A hook that is wanted, as it stands now.
pub struct Subscribed {
    /// Its row.
    pub record: HookRecord,
    /// Whether it was made just now.
    pub created: bool,
}

/// Subscribes all of these, whatever becomes of one of them; unless `force`, a hook that exists is not made again.
///
/// # Errors
/// When the registry cannot be opened. What went wrong with a subscription is given beside what did not.
pub fn subscribe_each(
    ctx: &Context,
    wanted: &[Subscription],
    label: Option<&Label>,
    force: bool,
) -> Result<(Vec<Subscribed>, Vec<Error>)> {
    let registry = ctx.registry()?;
    let run = Run { ctx, label, force, registry: &*registry, api: OnceCell::new() };
    let (mut done, mut errors) = (Vec::new(), Vec::new());
    // One after the other: there are three events at the most, and the results keep their order.
    for subscription in wanted {
        match run.subscribe(subscription) {
            Ok((record, created)) => done.push(Subscribed { record, created }),
            Err(Trouble { record, error }) => {
                // Without a sign-in it is the same for the others.
                let signed_out = error.kind() == ErrorKind::NotSignedIn && error.http_status().is_none();
                let stop = error.kind() == ErrorKind::Interrupted || signed_out;
                errors.push(error);
                done.extend(record.map(|record| Subscribed { record: *record, created: false }));
                if stop {
                    break;
                }
            }
        }
    }
    Ok((done, errors))
}

/// Shows what would be sent, which is nothing for hooks that exist or are in doubt.
fn plan(ctx: &Context, args: &Args, wanted: Vec<Subscription>) -> Result<Report> {
    let registry = if args.force { None } else { ctx.existing_registry()? };
    let (mut requests, mut errors) = (Vec::new(), Vec::new());
    for subscription in wanted {
        let standing = registry.as_ref().map_or(Ok(None), |registry| registry.find_conflict(&subscription))?;
        match standing {
            None => requests.push(calls::subscribe(&subscription)),
            Some(Conflict::Exists(record)) => {
                ctx.out().note(&format!("{} does this already: nothing would be sent for it", record.name()));
            }
            Some(Conflict::InProgress) => {
                ctx.out().note(&format!("another process subscribes to {subscription}: it would be waited for"));
            }
            Some(Conflict::Unresolved(record)) => errors.push(unresolved(record).error),
        }
    }
    Ok(Report { errors, ..dry_run::report(requests, args.show_secrets) })
}

/// Refuses a target that cannot be meant, and warns of one that Bugfender can't reach, which is shown so.
pub(super) fn check_target(ctx: &Context, subscription: &Subscription, shown: &str) -> Result<()> {
    if subscription.target_url.is_redacted() {
        return Err(Error::usage("the password in the target URL is hidden (****)")
            .hint("give the whole URL; `bugfender-hooks list --show-secrets` shows those on record"));
    }
    let place = match subscription.target_url.scope() {
        HostScope::Public => return Ok(()),
        HostScope::Loopback => "this machine",
        HostScope::Private => "a private network",
    };
    if !subscription.origin.is_loopback() {
        ctx.out().warn(&format!("{shown} is on {place}: Bugfender can't reach it"));
    }
    Ok(())
}

/// A subscription that did not come to be, with the row it left.
struct Trouble {
    record: Option<Box<HookRecord>>,
    error: Error,
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self { record: None, error }
    }
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        Error::from(error).into()
    }
}

struct Run<'a> {
    ctx: &'a Context,
    label: Option<&'a Label>,
    force: bool,
    registry: &'a dyn Registry,
    api: OnceCell<AuthenticatedApi>,
}

impl Run<'_> {
    /// Subscribes one event. The flag says whether a hook was made.
    fn subscribe(&self, wanted: &Subscription) -> Result<(HookRecord, bool), Trouble> {
        loop {
            let standing = if self.force { None } else { self.registry.find_conflict(wanted)? };
            match standing {
                Some(Conflict::Exists(record)) => {
                    if let Some(label) = self.label.filter(|label| record.label.as_ref() != Some(label)) {
                        self.ctx.out().note(&format!(
                            "{} exists, without the label {label}: `bugfender-hooks import`, with that hook and --label, \
                             gives it one",
                            record.name()
                        ));
                    }
                    return Ok((*record, false));
                }
                Some(Conflict::Unresolved(record)) => return Err(unresolved(record)),
                Some(Conflict::InProgress) => self.wait(wanted)?,
                None => {
                    // Only now, as a hook that exists needs no token; and before the intent is recorded.
                    let api = self.api()?;
                    // From now on an interruption is noticed by what waits: nothing ends between intent and request.
                    self.ctx.wait(async {})?.ok_or_else(|| not_subscribed(wanted))?;
                    let begin = self.registry.begin_subscribe(wanted, self.label, self.force)?;
                    if let Reservation::Reserved(row) = begin {
                        return self.send(api, wanted, row).map(|record| (record, true));
                    }
                }
            }
        }
    }

    fn api(&self) -> Result<&AuthenticatedApi> {
        if self.api.get().is_none() {
            let api = self.ctx.api()?;
            return Ok(self.api.get_or_init(|| api));
        }
        self.api.get().ok_or_else(|| Error::new(ErrorKind::Other, "the client is gone"))
    }

    /// Lets the process that is at work on the same subscription go on.
    fn wait(&self, wanted: &Subscription) -> Result<()> {
        let slept = self.ctx.wait(async { tokio::time::sleep(POLL).await })?;
        slept.ok_or_else(|| Error::interrupted(&format!("while another process subscribes to {wanted}")))
    }

    /// Sends the request for a recorded intent and records what came of it.
    fn send(&self, api: &AuthenticatedApi, wanted: &Subscription, row: RowId) -> Result<HookRecord, Trouble> {
        let answer = self.ctx.wait(api.subscribe(wanted))?;
        match answer {
            Some(Ok(hook)) => {
                let Activated { record, displaced } =
                    self.registry.activate(row, hook).map_err(|error| unrecorded(wanted, hook, error))?;
                if let Some(displaced) = displaced {
                    self.ctx.out().warn(&format!(
                        "hook {hook} was on record as {}: the server gives its number to this one, so that record is \
                         gone now",
                        displaced.subscription
                    ));
                }
                Ok(record)
            }
            Some(Err(Failure { error, carried_out: CarriedOut::No, .. })) => {
                self.registry.abandon(row)?;
                Err(error.into())
            }
            Some(Err(Failure { error, carried_out: CarriedOut::Maybe, .. })) => {
                let record = Box::new(self.registry.leave_in_doubt(row, &error.to_string())?);
                let message = format!("{error}; it is not known whether the hook was made");
                let mut shown = with_ways_out(Error::new(ErrorKind::OutcomeUnknown, message), &record);
                if let Some(status) = error.http_status() {
                    shown = shown.status(status);
                }
                Err(Trouble { record: Some(record), error: shown.source(error) })
            }
            None if !api.may_have_been_carried_out() => {
                self.registry.abandon(row)?;
                Err(not_subscribed(wanted).into())
            }
            None => {
                let record = Box::new(self.registry.leave_in_doubt(row, "interrupted before an answer came")?);
                let error = Error::interrupted(&format!(
                    "while subscribing to {wanted}; it is not known whether the hook was made"
                ));
                Err(Trouble { error: with_ways_out(error, &record), record: Some(record) })
            }
        }
    }
}

fn not_subscribed(wanted: &Subscription) -> Error {
    Error::interrupted(&format!("before {wanted} was subscribed; nothing was changed"))
}

/// An earlier attempt has no known end: nothing is sent until somebody has looked.
fn unresolved(record: Box<HookRecord>) -> Trouble {
    let (when, why) = (record.updated_at, record.reason.as_deref().unwrap_or("its end is not known"));
    let what = match record.status {
        HookStatus::Removing => "a removal of the same hook has no known end",
        _ => "an earlier request for the same has no known outcome",
    };
    let message = format!("{} was not sent: {what} ({when}: {why})", record.subscription);
    let error = Error::new(ErrorKind::OutcomeUnknown, message);
    Trouble { error: with_ways_out(error, &record), record: Some(record) }
}

/// What to do about a row whose hook may or may not exist.
fn with_ways_out(error: Error, record: &HookRecord) -> Error {
    if let Some(hook) = record.hook_id {
        return error.hint(format!("finish the removal: bugfender-hooks unsubscribe {hook}"));
    }
    let selector = selector(&record.subscription);
    error
        .in_doubt()
        .hint(format!(
            "look for the hook in the Bugfender dashboard. If it is there: bugfender-hooks import HOOK_ID {selector}"
        ))
        .hint(format!("if it is not: bugfender-hooks forget --status unknown {selector}"))
        .hint("to subscribe all the same, and perhaps get every event twice: add --force")
}

/// The flags that name a subscription, good for pasting into a shell.
pub(super) fn selector(subscription: &Subscription) -> String {
    let Subscription { app_id, event, target_url, .. } = subscription;
    let quoted = target_url.redacted().replace('\'', r"'\''");
    format!("--app-id {app_id} --event {event} --target-url '{quoted}'")
}

/// The hook exists, and the registry could not be told: its id must not be lost.
fn unrecorded(wanted: &Subscription, hook: HookId, error: StoreError) -> Trouble {
    let message = format!("hook {hook} was made for {wanted}, but could not be recorded: {error}");
    let error = Error::new(ErrorKind::Store, message)
        .hint(format!("once the registry can be written: bugfender-hooks import {hook} {}", selector(wanted)))
        .source(error);
    Trouble { record: None, error }
}
