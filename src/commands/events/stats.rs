//! `events stats`: how many events of which kind came, and what became of them.

use serde::Serialize;

use super::filter::EventFilterArgs;
use crate::commands::Report;
use crate::context::Context;
use crate::domain::ShownTime;
use crate::domain::event::Sender;
use crate::error::Result;
use crate::render::{Cell, Row, Tone};
use crate::store::EventCount;

/// Count events by source, type and app
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    filter: EventFilterArgs,
}

/// Events of a kind, counted.
#[derive(Serialize)]
struct CountRow {
    source: Sender,
    #[serde(rename = "type")]
    event_type: Option<String>,
    app_id: Option<i64>,
    events: u64,
    duplicates: u64,
    pending: u64,
    dead: u64,
    first_at: ShownTime,
    last_at: ShownTime,
}

impl From<EventCount> for CountRow {
    fn from(count: EventCount) -> Self {
        Self {
            source: count.sender,
            event_type: count.event_type,
            app_id: count.app_id,
            events: count.events,
            duplicates: count.duplicates,
            pending: count.pending,
            dead: count.dead,
            first_at: count.first_at.into(),
            last_at: count.last_at.into(),
        }
    }
}

impl Row for CountRow {
    const FIELDS: &'static [&'static str] =
        &["source", "type", "app_id", "events", "duplicates", "pending", "dead", "first_at", "last_at"];
    const HEADERS: &'static [&'static str] =
        &["SOURCE", "TYPE", "APP", "EVENTS", "DUPLICATES", "PENDING", "DEAD", "FIRST", "LAST"];

    fn cells(&self) -> Vec<Cell> {
        let unless_none =
            |number: u64, tone| Cell::toned(number.to_string(), if number == 0 { Tone::Faint } else { tone });
        vec![
            self.source.as_str().into(),
            Cell::maybe(self.event_type.as_ref()),
            Cell::maybe(self.app_id),
            self.events.to_string().into(),
            unless_none(self.duplicates, Tone::Plain),
            unless_none(self.pending, Tone::Caution),
            unless_none(self.dead, Tone::Bad),
            self.first_at.to_string().into(),
            self.last_at.to_string().into(),
        ]
    }
}

pub fn run(ctx: &Context, args: &Args) -> Result<Report> {
    let selection = args.filter.selection();
    let counts = super::inbox_of(ctx, &selection)?.map(|inbox| inbox.count_events(&selection)).transpose()?;
    if counts.as_ref().is_some_and(Vec::is_empty) {
        ctx.out().note("no events to count");
    }
    Ok(Report::list(counts.unwrap_or_default().into_iter().map(CountRow::from).collect(), Vec::new()))
}
