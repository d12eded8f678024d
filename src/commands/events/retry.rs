//! `events retry`: requeues forwards that are dead-lettered or wait for a retry, or forwards events once more.

use jiff::Timestamp;
use serde::Serialize;

use super::filter::WhichArgs;
use super::{Told, unknown};
use crate::commands::Report;
use crate::commands::confirm::confirm;
use crate::commands::named_targets::named_targets;
use crate::commands::steps::each_step;
use crate::commands::units::count;
use crate::context::Context;
use crate::error::Result;
use crate::render::{Cell, Row};
use crate::store::{EventSelection, Inbox, TargetId, next_events};

/// Requeue events that a target has not accepted
///
/// Requeues forwards that are dead-lettered or wait for a retry. This command sends nothing: a running
/// `bugfender-hooks listen` picks them up, or the next one that starts. If it fails halfway, it says how many were requeued.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    which: WhichArgs,

    /// Forward them to --target again, even those that it accepted before; each goes by itself, with its own webhook-id
    #[arg(long, requires = "target")]
    again: bool,

    /// Do not ask before forwarding again what filters or --all picked
    #[arg(short, long, requires = "again")]
    yes: bool,
}

/// How many forwards were requeued.
#[derive(Serialize)]
struct RetriedRow {
    forwards: u64,
}

impl Row for RetriedRow {
    const FIELDS: &'static [&'static str] = &["forwards"];
    const HEADERS: &'static [&'static str] = &["FORWARDS"];

    fn cells(&self) -> Vec<Cell> {
        vec![self.forwards.to_string().into()]
    }
}

pub fn run(ctx: &Context, args: &Args) -> Result<Report> {
    let selection = args.which.selection();
    let mut inbox = super::inbox_of(ctx, &selection)?;
    let mut errors = unknown(inbox.as_deref(), &args.which.ids, selection.sender)?;
    let mut forwards = 0;
    if let Some(inbox) = &mut inbox {
        let end = if args.again {
            if args.which.ids.is_empty() && !may_forward(ctx, &**inbox, &selection, args.yes)? {
                return Ok(Report::of(retried(0)));
            }
            forward_again(ctx, &mut **inbox, selection, &mut forwards)
        } else {
            requeue(ctx, &mut **inbox, selection, &mut forwards)
        };
        errors.extend(end.err());
    }
    Ok(Report { errors, ..Report::of(retried(forwards)) })
}

fn retried(forwards: u64) -> Told<RetriedRow> {
    let text = match forwards {
        0 => "nothing to requeue".to_owned(),
        1 => "requeued 1 forward: a running `bugfender-hooks listen` picks it up".to_owned(),
        _ => format!("requeued {}: a running `bugfender-hooks listen` picks them up", count(forwards, "forward")),
    };
    Told { row: RetriedRow { forwards }, text }
}

fn requeue(ctx: &Context, inbox: &mut dyn Inbox, mut selection: EventSelection, forwards: &mut u64) -> Result<()> {
    let now = Timestamp::now();
    each_step(ctx, "while requeuing", || {
        let requeued = inbox.requeue(&selection, now)?;
        *forwards += requeued.forwards;
        selection.after = requeued.reached;
        Ok(requeued.reached.is_some())
    })
}

/// How many events are forwarded again in one step, and how many are looked at for it.
const AGAIN_AT_ONCE: u64 = 500;
const LOOKS: u64 = 20_000;

/// Asks whether what filters picked is to be forwarded again. There is nothing to ask when they picked nothing.
fn may_forward(ctx: &Context, inbox: &dyn Inbox, selection: &EventSelection, yes: bool) -> Result<bool> {
    let events: u64 = inbox.count_events(selection)?.iter().map(|count| count.events).sum();
    let target = selection.target.as_deref().unwrap_or_default();
    if events > 0 {
        confirm(ctx, &format!("Forward {} to {target} again?", count(events, "event")), yes)?;
    }
    Ok(events > 0)
}

fn forward_again(
    ctx: &Context,
    inbox: &mut dyn Inbox,
    mut selection: EventSelection,
    forwards: &mut u64,
) -> Result<()> {
    let targets = targets_in_use(inbox, selection.target.as_deref().unwrap_or_default())?;
    // What comes from now on is forwarded anyway.
    selection.up_to = Some(inbox.watermark()?);
    let now = Timestamp::now();
    each_step(ctx, "while forwarding again", || {
        let (found, reached) = next_events(inbox, &selection, (AGAIN_AT_ONCE, LOOKS), |event| event.seq)?;
        for target in &targets {
            *forwards += inbox.forward_again(&found, *target, now)?;
        }
        selection.after = reached;
        Ok(reached.is_some())
    })
}

/// The targets of this name that the last receiver forwarded to; the newest if it forwarded to none of them.
fn targets_in_use(inbox: &dyn Inbox, name: &str) -> Result<Vec<TargetId>> {
    let (named, routes) = (named_targets(inbox, name)?, inbox.routes()?);
    let in_use: Vec<TargetId> =
        named.iter().filter(|target| target.is_routed(&routes)).map(|target| target.id).collect();
    Ok(if in_use.is_empty() { named.iter().map(|target| target.id).max().into_iter().collect() } else { in_use })
}
