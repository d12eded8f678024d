//! `events delete`: removes events by their ids, as when a person asks for it.

use serde::Serialize;

use super::filter::source_parser;
use super::{Told, no_such_event};
use crate::commands::Report;
use crate::commands::confirm::confirm;
use crate::commands::units::count;
use crate::context::Context;
use crate::domain::event::Sender;
use crate::error::Result;
use crate::render::{Cell, Row};
use crate::store::{EventPage, EventSelection, EventState};

/// Delete events permanently, with what is pending for them
///
/// Nothing of them is left in the inbox: neither their JSON, nor duplicates that came in other deliveries. What a target
/// has received stays there, and deliveries that could not be read are not searched.
#[derive(clap::Args)]
pub struct Args {
    /// The ids that their senders gave them; repeat, or separate by commas
    #[arg(value_name = "ID", required = true, value_delimiter = ',')]
    ids: Vec<String>,

    /// Only events of this sender
    #[arg(long, value_parser = source_parser())]
    source: Option<Sender>,

    /// Do not ask
    #[arg(short, long)]
    yes: bool,

    /// Show how many events would be deleted, without deleting them
    #[arg(long)]
    dry_run: bool,
}

/// How many events were deleted.
#[derive(Serialize)]
struct DeletedRow {
    events: u64,
}

impl Row for DeletedRow {
    const FIELDS: &'static [&'static str] = &["events"];
    const HEADERS: &'static [&'static str] = &["EVENTS"];

    fn cells(&self) -> Vec<Cell> {
        vec![self.events.to_string().into()]
    }
}

pub fn run(ctx: &Context, args: &Args) -> Result<Report> {
    let mut inbox = super::inbox(ctx)?;
    let mut missing: Vec<&String> = args.ids.iter().collect();
    let (mut found, mut pending) = (Vec::new(), 0);
    if let Some(inbox) = &inbox {
        let ids = Some(args.ids.clone());
        let selection = EventSelection { ids, sender: args.source, ..EventSelection::default() };
        inbox.events(&selection, EventPage::default(), &mut |event| {
            pending += u64::from(event.state == EventState::Pending);
            found.push(event.seq);
            missing.retain(|id| **id != event.id);
            true
        })?;
    }
    let errors = missing.into_iter().map(|id| no_such_event(id)).collect();
    let events = found.len() as u64;
    let (mut deleted, mut text) = (events, format!("{} would be deleted", count(events, "event")));
    if !args.dry_run {
        if events > 0 {
            let waits = if pending == 0 { String::new() } else { format!(" ({pending} pending)") };
            confirm(ctx, &format!("Delete {}{waits}?", count(events, "event")), args.yes)?;
        }
        deleted = inbox.as_mut().filter(|_| events > 0).map_or(Ok(0), |inbox| inbox.delete(&found))?;
        text = format!("deleted {}", count(deleted, "event"));
    }
    Ok(Report { errors, ..Report::of(Told { row: DeletedRow { events: deleted }, text }) })
}
