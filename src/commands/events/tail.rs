//! `events tail`: the newest events, then new ones as they arrive.

use std::time::Duration;

use super::filter::EventFilterArgs;
use crate::commands::Report;
use crate::commands::event_tail::{Tail, stream};
use crate::context::Context;
use crate::error::Result;
use crate::platform;
use crate::store::Inbox;

/// Show the newest events, then new ones as they arrive, until Ctrl-C
///
/// Each event is shown once, with its current state. With --output json or ndjson each is a line of JSON.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    filter: EventFilterArgs,

    /// Show this many of the newest events first
    #[arg(long, value_name = "N", default_value_t = 10)]
    lines: u64,
}

/// How long to wait before looking again.
const TAIL_INTERVAL: Duration = Duration::from_millis(250);

pub fn run(ctx: &Context, args: &Args) -> Result<Report> {
    // From here on, Ctrl-C is handled by the waits: it ends the command without an error.
    if ctx.wait(async {})?.is_none() {
        return Ok(Report::nothing());
    }
    let stream = stream(ctx)?;
    let Some((inbox, was_there)) = wait_for_inbox(ctx)? else { return Ok(Report::nothing()) };
    let mut tail = Tail::new(stream, inbox, args.filter.selection());
    if was_there {
        tail.begin(args.lines)?;
    }
    while !platform::stdout_is_closed() {
        // Ctrl-C is noticed even while there are events to show.
        let rest = if tail.step()? { Duration::ZERO } else { TAIL_INTERVAL };
        if ctx.wait(async { tokio::time::sleep(rest).await })?.is_none() {
            break;
        }
    }
    Ok(Report::nothing())
}

/// The inbox, and whether it existed at the start; `None` after Ctrl-C.
fn wait_for_inbox(ctx: &Context) -> Result<Option<(Box<dyn Inbox>, bool)>> {
    if let Some(inbox) = super::inbox(ctx)? {
        return Ok(Some((inbox, true)));
    }
    while !platform::stdout_is_closed() {
        if ctx.wait(async { tokio::time::sleep(TAIL_INTERVAL).await })?.is_none() {
            break;
        }
        if let Some(inbox) = ctx.existing_inbox()? {
            return Ok(Some((inbox, false)));
        }
    }
    Ok(None)
}
