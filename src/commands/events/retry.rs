//! `events retry`: requeues forwards that are dead-lettered or wait for a retry.

use jiff::Timestamp;
use serde::Serialize;

use super::filter::WhichArgs;
use super::{Told, unknown};
use crate::commands::Report;
use crate::commands::steps::each_step;
use crate::commands::units::count;
use crate::context::Context;
use crate::error::Result;
use crate::render::{Cell, Row};

/// Requeue events that a target has not accepted
///
/// Requeues forwards that are dead-lettered or wait for a retry. This command sends nothing: a running
/// `bugfender-hooks listen` picks them up, or the next one that starts. If it fails halfway, it says how many were requeued.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    which: WhichArgs,
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
    let mut selection = args.which.selection();
    let mut inbox = super::inbox_of(ctx, &selection)?;
    let mut errors = unknown(inbox.as_deref(), &args.which.ids, selection.sender)?;
    let (mut forwards, now) = (0, Timestamp::now());
    if let Some(inbox) = &mut inbox {
        let end = each_step(ctx, "while requeuing", || {
            let requeued = inbox.requeue(&selection, now)?;
            forwards += requeued.forwards;
            selection.after = requeued.reached;
            Ok(requeued.reached.is_some())
        });
        errors.extend(end.err());
    }
    let text = match forwards {
        0 => "nothing to requeue".to_owned(),
        1 => "requeued 1 forward: a running `bugfender-hooks listen` picks it up".to_owned(),
        _ => format!("requeued {}: a running `bugfender-hooks listen` picks them up", count(forwards, "forward")),
    };
    Ok(Report { errors, ..Report::of(Told { row: RetriedRow { forwards }, text }) })
}
