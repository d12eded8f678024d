//! `events export`: the events as their senders wrote them.

use std::cell::Cell;

use serde::Serialize;
use serde_json::value::RawValue;

use super::filter::EventFilterArgs;
use super::pages::{ORIGINALS, each_event, limit};
use crate::commands::Report;
use crate::commands::event_row::{EventRow, fields, original};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::render::{self, Output, OutputFormat, RecordSource, Row, Shape, View};
use crate::store::{EventPage, EventSelection, Inbox};

/// Write events as they were received, oldest first, one line of JSON each
///
/// Order and numbers within an event are kept exactly; only white space between its parts is removed, and characters
/// that could control a terminal are escaped. With --output json it is an array, with csv the columns of `events list`
/// and the event as JSON. --jq runs on each event separately.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    filter: EventFilterArgs,

    /// At most this many; 0 for all
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    limit: u64,
}

pub fn run(ctx: &Context, args: &Args) -> Result<Report> {
    let (selection, limit) = (args.filter.selection(), limit(args.limit));
    let inbox = super::inbox_of(ctx, &selection)?;
    Ok(Report::of(Export { inbox, selection, limit, damaged: Cell::default() }))
}

/// The events, streamed: the inbox is never in memory as a whole.
struct Export {
    inbox: Option<Box<dyn Inbox>>,
    selection: EventSelection,
    limit: Option<u64>,
    /// What is wrong with the first event that could not be read.
    damaged: Cell<Option<Error>>,
}

impl View for Export {
    fn show(&self, out: &Output) -> Result<()> {
        match out.format() {
            OutputFormat::Csv => out.show(&Columns(self)),
            _ => out.show_lines(&Originals(self)),
        }?;
        self.damaged.take().map_or(Ok(()), Err)
    }
}

impl Export {
    fn each(&self, each: &mut dyn FnMut(EventRow, Box<RawValue>) -> Result<()>) -> Result<()> {
        let Some(inbox) = &self.inbox else { return Ok(()) };
        let page = EventPage { limit: self.limit, ..ORIGINALS };
        each_event(&**inbox, self.selection.clone(), page, &mut |event| match original(&event) {
            Ok(json) => each(EventRow::of(event), json),
            // The other events are still written.
            Err(error) => {
                self.damaged.set(self.damaged.take().or(Some(error)));
                Ok(())
            }
        })
    }
}

/// The events alone.
struct Originals<'a>(&'a Export);

/// An event as received.
#[derive(Serialize)]
#[serde(transparent)]
struct OriginalRow {
    json: Box<RawValue>,
    #[serde(skip)]
    id: String,
}

impl Row for OriginalRow {
    const FIELDS: &'static [&'static str] = &["event"];
    const HEADERS: &'static [&'static str] = &["EVENT"];

    fn cells(&self) -> Vec<render::Cell> {
        vec![self.json.get().into()]
    }

    fn id(&self) -> Option<String> {
        Some(self.id.clone())
    }
}

impl RecordSource for Originals<'_> {
    type Row = OriginalRow;

    fn shape(&self) -> Shape {
        Shape::List
    }

    fn each(&self, each: &mut dyn FnMut(&OriginalRow) -> Result<()>) -> Result<()> {
        self.0.each(&mut |row, json| each(&OriginalRow { json, id: row.id }))
    }
}

/// The events in columns.
struct Columns<'a>(&'a Export);

/// An event with its JSON.
#[derive(Serialize)]
struct ColumnsRow {
    #[serde(flatten)]
    event: EventRow,
    #[serde(rename = "event")]
    json: Box<RawValue>,
}

impl Row for ColumnsRow {
    const FIELDS: &'static [&'static str] = fields!("event");
    const HEADERS: &'static [&'static str] = EventRow::HEADERS;

    fn cells(&self) -> Vec<render::Cell> {
        self.event.cells()
    }

    fn id(&self) -> Option<String> {
        self.event.id()
    }
}

impl RecordSource for Columns<'_> {
    type Row = ColumnsRow;

    fn shape(&self) -> Shape {
        Shape::List
    }

    fn each(&self, each: &mut dyn FnMut(&ColumnsRow) -> Result<()>) -> Result<()> {
        self.0.each(&mut |event, json| each(&ColumnsRow { event, json }))
    }
}
