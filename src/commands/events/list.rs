//! `events list`: what was received, newest first.

use serde::Serialize;

use super::filter::{EventFilterArgs, FILTERS};
use super::pages::{each_event, limit};
use super::row::EventRow;
use crate::commands::Report;
use crate::context::Context;
use crate::domain::ShownTime;
use crate::domain::event::Sender;
use crate::error::Result;
use crate::render::{Cell, Output, RecordSource, Row, Shape, View};
use crate::store::{EventPage, EventSelection, Inbox, Quarantined};

/// List events, newest first
///
/// An event is stored (there is no target for it), pending (a target does not have it yet), forwarded (every target
/// has it) or dead (it was given up for a target).
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
    let inbox = super::inbox(ctx)?;
    if args.quarantined {
        let found = inbox.map(|inbox| inbox.quarantined(None, limit(args.limit))).transpose()?;
        if found.as_ref().is_some_and(Vec::is_empty) {
            ctx.out().note("nothing is in quarantine");
        }
        let rows = found.unwrap_or_default().iter().map(QuarantinedRow::of).collect();
        return Ok(Report::list(rows, Vec::new()));
    }
    Ok(Report::of(EventListing {
        inbox,
        selection: args.filter.selection(),
        limit: limit(args.limit),
        any: std::cell::Cell::new(false),
    }))
}

/// The events as they are read.
struct EventListing {
    inbox: Option<Box<dyn Inbox>>,
    selection: EventSelection,
    limit: Option<u64>,
    any: std::cell::Cell<bool>,
}

impl RecordSource for EventListing {
    type Row = EventRow;

    fn shape(&self) -> Shape {
        Shape::List
    }

    fn each(&self, each: &mut dyn FnMut(&EventRow) -> Result<()>) -> Result<()> {
        let Some(inbox) = &self.inbox else { return Ok(()) };
        let page = EventPage { newest_first: true, limit: self.limit, with_json: false };
        each_event(&**inbox, self.selection.clone(), page, &mut |event| {
            self.any.set(true);
            each(&EventRow::of(event))
        })
    }
}

impl View for EventListing {
    fn show(&self, out: &Output) -> Result<()> {
        out.show(self)?;
        if self.inbox.is_some() && !self.any.get() {
            out.note("no events to list");
        }
        Ok(())
    }
}

/// A delivery that could not be read.
#[derive(Serialize)]
pub struct QuarantinedRow {
    id: i64,
    source: Sender,
    received_at: ShownTime,
    content_type: Option<String>,
    size: u64,
    reason: String,
}

impl QuarantinedRow {
    pub fn of(delivery: &Quarantined) -> Self {
        Self {
            id: delivery.number,
            source: delivery.sender,
            received_at: delivery.received_at.into(),
            content_type: delivery.content_type.clone(),
            size: delivery.size,
            reason: delivery.reason.clone(),
        }
    }
}

impl Row for QuarantinedRow {
    const FIELDS: &'static [&'static str] = &["id", "source", "received_at", "content_type", "size", "reason"];
    const HEADERS: &'static [&'static str] = &["ID", "SOURCE", "RECEIVED", "CONTENT TYPE", "BYTES", "REASON"];

    fn cells(&self) -> Vec<Cell> {
        vec![
            self.id.to_string().into(),
            self.source.as_str().into(),
            self.received_at.to_string().into(),
            Cell::maybe(self.content_type.as_ref()),
            self.size.to_string().into(),
            self.reason.clone().into(),
        ]
    }

    fn id(&self) -> Option<String> {
        Some(self.id.to_string())
    }
}
