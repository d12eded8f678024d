//! `events tail`: the newest events, and then what comes.

use std::time::Duration;

use super::filter::EventFilterArgs;
use crate::commands::Report;
use crate::commands::event_tail::{Tail, stream};
use crate::context::Context;
use crate::error::Result;
use crate::platform;
use crate::store::Inbox;

/// Show the newest events, then each that comes, until Ctrl-C
///
/// An event is shown once, with the state that it has then. With --output json and ndjson each is a line of JSON.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    filter: EventFilterArgs,

    /// Begin with this many of those that are there
    #[arg(long, value_name = "N", default_value_t = 10)]
    lines: u64,
}

/// How long to wait before looking again.
const TAIL_INTERVAL: Duration = Duration::from_millis(250);

pub fn run(ctx: &Context, args: &Args) -> Result<Report> {
    // Ctrl-C is how this ends, so it is no failure.
    let ended = ctx.wait(follow(ctx, args))?;
    ended.unwrap_or(Ok(()))?;
    Ok(Report::nothing())
}

async fn follow(ctx: &Context, args: &Args) -> Result<()> {
    let stream = stream(ctx)?;
    let Some((inbox, was_there)) = wait_for_inbox(ctx).await? else { return Ok(()) };
    let mut tail = Tail::new(stream, inbox, args.filter.selection());
    if was_there {
        tail.begin(args.lines)?;
    }
    while !platform::stdout_is_closed() {
        if tail.step()? {
            // Ctrl-C is noticed however much there is to show.
            tokio::task::yield_now().await;
        } else {
            tokio::time::sleep(TAIL_INTERVAL).await;
        }
    }
    Ok(())
}

/// The inbox, and whether it was there at once; `None` when nobody looks on any more.
async fn wait_for_inbox(ctx: &Context) -> Result<Option<(Box<dyn Inbox>, bool)>> {
    if let Some(inbox) = super::inbox(ctx)? {
        return Ok(Some((inbox, true)));
    }
    while !platform::stdout_is_closed() {
        tokio::time::sleep(TAIL_INTERVAL).await;
        if let Some(inbox) = ctx.existing_inbox()? {
            return Ok(Some((inbox, false)));
        }
    }
    Ok(None)
}
