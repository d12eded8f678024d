//! `events list`: what was received, newest first.

use super::filter::{EventFilterArgs, FILTERS};
use super::pages::{each_event, limit};
use crate::commands::Report;
use crate::commands::event_row::{EventRow, QuarantinedRow};
use crate::context::Context;
use crate::error::Result;
use crate::render::{Output, RecordSource, Shape, View};
use crate::store::{EventPage, EventSelection, Inbox};

/// List events, newest first
///
/// An event is stored (it has no target), pending (a target has not accepted it yet), forwarded (every target has it)
/// or dead (it is dead-lettered for a target).
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    filter: EventFilterArgs,

    /// At most this many; 0 for all
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: u64,

    /// List deliveries that could not be read instead
    #[arg(long, conflicts_with_all = FILTERS)]
    quarantined: bool,
}

pub fn run(ctx: &Context, args: &Args) -> Result<Report> {
    if args.quarantined {
        let found = super::inbox(ctx)?.map(|inbox| inbox.quarantined(None, limit(args.limit))).transpose()?;
        if found.as_ref().is_some_and(Vec::is_empty) {
            ctx.out().note("the quarantine is empty");
        }
        let rows = found.unwrap_or_default().iter().map(QuarantinedRow::of).collect();
        return Ok(Report::list(rows, Vec::new()));
    }
    let selection = args.filter.selection();
    Ok(Report::of(EventListing {
        inbox: super::inbox_of(ctx, &selection)?,
        selection,
        limit: limit(args.limit),
        listed: std::cell::Cell::new(0),
    }))
}

/// The events as they are read.
struct EventListing {
    inbox: Option<Box<dyn Inbox>>,
    selection: EventSelection,
    limit: Option<u64>,
    listed: std::cell::Cell<u64>,
}

impl RecordSource for EventListing {
    type Row = EventRow;

    fn shape(&self) -> Shape {
        Shape::List
    }

    fn each(&self, each: &mut dyn FnMut(&EventRow) -> Result<()>) -> Result<()> {
        let Some(inbox) = &self.inbox else { return Ok(()) };
        let page = EventPage { newest_first: true, limit: self.limit, ..EventPage::default() };
        each_event(&**inbox, self.selection.clone(), page, &mut |event| {
            self.listed.set(self.listed.get() + 1);
            each(&EventRow::of(event))
        })
    }
}

impl View for EventListing {
    fn show(&self, out: &Output) -> Result<()> {
        out.show(self)?;
        let Some(inbox) = &self.inbox else { return Ok(()) };
        match self.listed.get() {
            0 => out.note("no events to list"),
            listed if Some(listed) == self.limit && out.is_for_people() => {
                let all: u64 = inbox.count_events(&self.selection)?.iter().map(|count| count.events).sum();
                if all > listed {
                    out.note(&format!("{listed} of {all} events; --limit 0 for all"));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
