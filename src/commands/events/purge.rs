//! `events purge`: what is old, or too much, is removed.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::{Told, or_note};
use crate::commands::Report;
use crate::commands::confirm::confirm;
use crate::commands::steps::each_step;
use crate::commands::units::{count, duration, size};
use crate::context::Context;
use crate::domain::ShownTime;
use crate::error::{Error, Result};
use crate::render::{Cell, Row};
use crate::store::{EventSelection, Inbox, PurgeRule, Purged, StoreErrorKind};

/// Remove old events from the inbox permanently
///
/// Pending events are kept unless --include-undelivered is given; dead-lettered ones are removed, and so are deliveries that
/// could not be read. What is removed is overwritten in the file. An event that arrives again after it was purged is stored
/// again.
#[derive(clap::Args)]
#[command(group(clap::ArgGroup::new("which").required(true).multiple(true).args(["older_than", "max_size"])))]
pub struct Args {
    /// Remove events received longer ago than this, such as 12h, 30d or 8w
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    older_than: Option<SignedDuration>,

    /// Remove the oldest, and no more, until the inbox is at most this large, such as 500MB or 2GiB
    #[arg(long, value_name = "SIZE", value_parser = size)]
    max_size: Option<u64>,

    /// Also remove pending events
    #[arg(long)]
    include_undelivered: bool,

    /// Do not ask
    #[arg(short, long)]
    yes: bool,

    /// Show how much --older-than would remove, without removing it
    #[arg(long, requires = "older_than")]
    dry_run: bool,
}

/// What was removed.
#[derive(Serialize)]
struct PurgedRow {
    events: u64,
    quarantined: Option<u64>,
}

impl Row for PurgedRow {
    const FIELDS: &'static [&'static str] = &["events", "quarantined"];
    const HEADERS: &'static [&'static str] = &["EVENTS", "QUARANTINED"];

    fn cells(&self) -> Vec<Cell> {
        vec![self.events.to_string().into(), Cell::maybe(self.quarantined)]
    }
}

pub fn run(ctx: &Context, args: &Args) -> Result<Report> {
    let before = args.older_than.map(|age| Timestamp::now().checked_sub(age)).transpose();
    let before = before.map_err(|_| Error::usage("--older-than is out of range"))?;
    let rule = PurgeRule { before, max_bytes: args.max_size, even_pending: args.include_undelivered };
    let Some(mut inbox) = inbox(ctx)? else { return Ok(told(Purged::default())) };
    if args.dry_run {
        return planned(&*inbox, &rule);
    }
    confirm(ctx, &question(&rule), args.yes)?;
    let (purged, end) = purge(ctx, &mut *inbox, &rule);
    if purged.too_large {
        ctx.out()
            .warn("the inbox is still larger than that: what is left is pending; --include-undelivered removes it too");
    }
    Ok(Report { errors: end.err().into_iter().collect(), ..told(purged) })
}

/// Removes a little at a time, until there is no more.
fn purge(ctx: &Context, inbox: &mut dyn Inbox, rule: &PurgeRule) -> (Purged, Result<()>) {
    let mut sum = Purged::default();
    let end = each_step(ctx, "while purging", || {
        let purged = match inbox.purge(rule) {
            Err(error) if error.kind() == StoreErrorKind::Full && free_reserve(ctx) => inbox.purge(rule)?,
            purged => purged?,
        };
        let (events, quarantined) = (sum.events + purged.events, sum.quarantined + purged.quarantined);
        sum = Purged { events, quarantined, ..purged };
        Ok(sum.more)
    });
    (sum, end)
}

/// The inbox, if there is one, opened with the help of the reserve if the disk is full.
fn inbox(ctx: &Context) -> Result<Option<Box<dyn Inbox>>> {
    let opened = match ctx.store()?.existing_inbox() {
        Err(error) if error.kind() == StoreErrorKind::Full && free_reserve(ctx) => ctx.store()?.existing_inbox(),
        opened => opened,
    };
    Ok(or_note(ctx, opened?))
}

/// Frees what `listen` keeps in reserve for a full disk. Returns whether there was any.
fn free_reserve(ctx: &Context) -> bool {
    let is_freed = ctx.store().is_ok_and(|store| store.free_reserve().unwrap_or(false));
    if is_freed {
        ctx.out()
            .note("the disk is full: the reserve of `bugfender-hooks listen` is used, which makes a new one later");
    }
    is_freed
}

fn question(rule: &PurgeRule) -> String {
    let what = match (rule.before, rule.max_bytes) {
        (Some(before), None) => format!("events received before {}", ShownTime::from(before)),
        (Some(before), Some(bytes)) => {
            format!("events received before {}, and the oldest until {bytes} bytes are left", ShownTime::from(before))
        }
        _ => format!("the oldest events until {} bytes are left", rule.max_bytes.unwrap_or_default()),
    };
    let even = if rule.even_pending { ", even if they are pending" } else { "" };
    format!("Remove {what}{even}?")
}

/// What a rule about time means, as far as it can be counted.
fn planned(inbox: &dyn Inbox, rule: &PurgeRule) -> Result<Report> {
    let counts = inbox.count_events(&EventSelection { until: rule.before, ..EventSelection::default() })?;
    let kept = |pending: u64| if rule.even_pending { 0 } else { pending };
    let events = counts.iter().map(|count| count.events - kept(count.pending)).sum();
    // One that waits keeps all of its delivery.
    let at_most = if counts.iter().any(|count| kept(count.pending) > 0) { "at most " } else { "" };
    let text = format!("{at_most}{} would be removed", count(events, "event"));
    Ok(Report::of(Told { row: PurgedRow { events, quarantined: None }, text }))
}

fn told(purged: Purged) -> Report {
    let Purged { events, quarantined, .. } = purged;
    let deliveries = match quarantined {
        0 => String::new(),
        1 => " and 1 delivery that could not be read".to_owned(),
        _ => format!(" and {quarantined} deliveries that could not be read"),
    };
    let text = format!("removed {}{deliveries}", count(events, "event"));
    Report::of(Told { row: PurgedRow { events, quarantined: Some(quarantined) }, text })
}
