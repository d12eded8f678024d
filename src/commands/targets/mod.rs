//! `targets`: where events are forwarded to, pausing, resuming and dropping what is pending there, and trying them.

mod testing;

use clap::Subcommand;
use jiff::Timestamp;
use serde::Serialize;

use crate::commands::Report;
use crate::commands::confirm::confirm;
use crate::commands::named_targets::{named_targets, no_such_target};
use crate::commands::steps::each_step;
use crate::commands::units::count;
use crate::context::Context;
use crate::domain::{ShownTime, excerpt};
use crate::error::Result;
use crate::render::{Cell, Row, Tone};
use crate::store::{Inbox, StoreError, TargetId, TargetRecord};

/// List, test, pause, resume and drop the targets of forwards
///
/// A running `bugfender-hooks listen` notices within a second. Targets have the names of `listen --config`; those of flags
/// have names of where they are.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: TargetsCommand,
}

#[derive(Subcommand)]
enum TargetsCommand {
    /// List targets, and how much is pending for each
    #[command(visible_alias = "ls")]
    List,
    /// Pause a target: its events are kept until it is resumed, however long that takes
    Pause(NameArgs),
    /// Resume a paused target
    Resume(NameArgs),
    /// Dead-letter everything that is pending for a target
    Drop(DropArgs),
    /// Forward a sample event to a target, and show what it answers
    ///
    /// The event is stored, with a title that begins with [test], and forwarded by the `bugfender-hooks listen` that runs: to
    /// this target only. Waits for the first attempt, 30 seconds or as long as --timeout says. Exits with 0 if the target
    /// accepted the event.
    Test(testing::Args),
}

#[derive(clap::Args)]
struct NameArgs {
    /// The target's name in `targets list`
    name: String,
}

#[derive(clap::Args)]
struct DropArgs {
    /// The target's name in `targets list`
    name: String,

    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

/// A target with its state.
#[derive(Serialize)]
struct TargetRow {
    name: String,
    status: &'static str,
    paused_at: Option<ShownTime>,
    suspended_until: Option<ShownTime>,
    pending: u64,
    dead: u64,
}

impl TargetRow {
    fn of(record: TargetRecord) -> Self {
        let TargetRecord { name, paused_at, suspended_until, pending, dead, .. } = record;
        let suspended_until = suspended_until.filter(|until| *until > Timestamp::now()).map(ShownTime::from);
        let status = match (paused_at, &suspended_until) {
            (Some(_), _) => "paused",
            (None, Some(_)) => "failing",
            (None, None) => "active",
        };
        Self { name, status, paused_at: paused_at.map(ShownTime::from), suspended_until, pending, dead }
    }

    /// Its status, for people.
    fn status_cell(&self) -> Cell {
        match (&self.paused_at, &self.suspended_until) {
            (Some(_), _) => Cell::toned(self.status, Tone::Caution),
            (None, Some(next_try)) => Cell::toned(format!("{}, next try at {next_try}", self.status), Tone::Bad),
            (None, None) => Cell::toned(self.status, Tone::Good),
        }
    }
}

impl Row for TargetRow {
    const FIELDS: &'static [&'static str] = &["name", "status", "paused_at", "suspended_until", "pending", "dead"];
    const HEADERS: &'static [&'static str] = &["NAME", "STATUS", "PENDING", "DEAD"];

    fn cells(&self) -> Vec<Cell> {
        vec![
            self.name.clone().into(),
            self.status_cell(),
            self.pending.to_string().into(),
            self.dead.to_string().into(),
        ]
    }

    fn id(&self) -> Option<String> {
        Some(self.name.clone())
    }
}

pub fn run(ctx: &Context, args: &Args) -> Result<Report> {
    let inbox = ctx.existing_inbox()?;
    match &args.command {
        TargetsCommand::List => {
            let records = inbox.map(|inbox| inbox.target_records()).transpose()?.unwrap_or_default();
            if records.is_empty() {
                ctx.out().note("there are no targets yet: `bugfender-hooks listen` makes them");
            }
            Ok(Report::list(records.into_iter().map(TargetRow::of).collect(), Vec::new()))
        }
        TargetsCommand::Pause(NameArgs { name }) => {
            let (mut inbox, targets) = named(inbox, name)?;
            let changed = change_each(&targets, |target| inbox.pause_target(target, Timestamp::now()))?;
            changed_rows(ctx, &*inbox, name, if changed { "is paused" } else { "was already paused" })
        }
        TargetsCommand::Resume(NameArgs { name }) => {
            let (mut inbox, targets) = named(inbox, name)?;
            let changed = change_each(&targets, |target| inbox.resume_target(target, Timestamp::now()))?;
            changed_rows(ctx, &*inbox, name, if changed { "is resumed" } else { "was not paused" })
        }
        TargetsCommand::Drop(DropArgs { name, yes }) => drop_pending(ctx, inbox, name, *yes),
        TargetsCommand::Test(args) => testing::run(ctx, args, inbox),
    }
}

fn drop_pending(ctx: &Context, inbox: Option<Box<dyn Inbox>>, name: &str, yes: bool) -> Result<Report> {
    let (mut inbox, targets) = named(inbox, name)?;
    let pending: u64 = targets.iter().map(|target| target.pending).sum();
    if pending > 0 {
        let what = count(pending, "pending forward");
        confirm(ctx, &format!("Dead-letter {what} to {}?", shown(name)), yes)?;
    }
    let (now, mut dropped) = (Timestamp::now(), 0);
    let end = each_step(ctx, "while dropping", || {
        change_each(&targets, |target| {
            let some = inbox.drop_pending(target, now)?;
            dropped += some;
            Ok(some > 0)
        })
    });
    end.map_err(|error| {
        let dropped = count(dropped, "forward");
        error.hint(format!("{dropped} had been dead-lettered; run the command again"))
    })?;
    let hint = match dropped {
        0 => String::new(),
        _ => format!("; `bugfender-hooks events retry --target '{}'` requeues what was dropped", shown(name)),
    };
    ctx.out().note(&format!("dead-lettered {} to {}{hint}", count(dropped, "forward"), shown(name)));
    rows(&*inbox, name)
}

/// The inbox, and the targets of this name.
fn named(inbox: Option<Box<dyn Inbox>>, name: &str) -> Result<(Box<dyn Inbox>, Vec<TargetRecord>)> {
    let inbox = inbox.ok_or_else(|| no_such_target(name))?;
    let targets = named_targets(&*inbox, name)?;
    Ok((inbox, targets))
}

/// Changes each of the targets. Returns whether any of them was not so before.
fn change_each(
    targets: &[TargetRecord],
    mut change: impl FnMut(TargetId) -> Result<bool, StoreError>,
) -> Result<bool, StoreError> {
    targets.iter().try_fold(false, |changed, target| Ok(change(target.id)? || changed))
}

/// Tells what became of the targets of this name, and shows them.
fn changed_rows(ctx: &Context, inbox: &dyn Inbox, name: &str, outcome: &str) -> Result<Report> {
    ctx.out().note(&format!("{} {outcome}", shown(name)));
    rows(inbox, name)
}

fn rows(inbox: &dyn Inbox, name: &str) -> Result<Report> {
    Ok(Report::list(named_targets(inbox, name)?.into_iter().map(TargetRow::of).collect(), Vec::new()))
}

fn shown(name: &str) -> String {
    excerpt(name, 100)
}
