//! `events tail`: the newest events, and then what comes.

use std::time::Duration;

use serde::Serialize;

use super::filter::EventFilterArgs;
use super::row::EventRow;
use crate::commands::Report;
use crate::context::Context;
use crate::error::Result;
use crate::platform;
use crate::render::{Cell, Row, Stream};
use crate::store::{EventPage, EventSelection, EventSeq, Inbox};

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

/// The most events that are read at once.
const PAGE: u64 = 500;

/// The widths of the columns, which are made for Bugfender's ids.
const WIDTHS: [usize; 6] = [20, 8, 6, 9, 36, 0];

/// An event on a line that fits what came before it.
#[derive(Serialize)]
#[serde(transparent)]
struct TailRow(EventRow);

impl Row for TailRow {
    const FIELDS: &'static [&'static str] = EventRow::FIELDS;
    const HEADERS: &'static [&'static str] = &["RECEIVED", "TYPE", "APP", "STATUS", "ID", "TITLE"];

    fn cells(&self) -> Vec<Cell> {
        let row = &self.0;
        vec![
            row.received_at.to_string().into(),
            Cell::maybe(row.event_type.as_ref()),
            Cell::maybe(row.app_id),
            row.state_cell(),
            row.id.clone().into(),
            Cell::maybe(row.title.as_ref()),
        ]
    }

    fn id(&self) -> Option<String> {
        self.0.id()
    }
}

pub fn run(ctx: &Context, args: &Args) -> Result<Report> {
    // Ctrl-C is how this ends, so it is no failure.
    let ended = ctx.wait(follow(ctx, args))?;
    ended.unwrap_or(Ok(()))?;
    Ok(Report::nothing())
}

async fn follow(ctx: &Context, args: &Args) -> Result<()> {
    let stream = Stream::begin::<TailRow>(ctx.out(), &WIDTHS)?;
    let Some((inbox, was_there)) = wait_for_inbox(ctx).await? else { return Ok(()) };
    let mut tail = Tail { inbox, selection: args.filter.selection(), stream, shown: EventSeq(0) };
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

/// What is shown, and how far.
pub struct Tail<'a> {
    inbox: Box<dyn Inbox>,
    selection: EventSelection,
    stream: Stream<'a>,
    /// All up to this one have been looked at.
    shown: EventSeq,
}

impl<'a> Tail<'a> {
    /// Shows what comes from now on.
    ///
    /// # Errors
    /// When the inbox cannot be read, or the output written.
    pub fn from_now(ctx: &'a Context, inbox: Box<dyn Inbox>) -> Result<Self> {
        let stream = Stream::begin::<TailRow>(ctx.out(), &WIDTHS)?;
        let mut tail = Self { inbox, selection: EventSelection::default(), stream, shown: EventSeq(0) };
        tail.shown = tail.newest()?;
        Ok(tail)
    }

    /// Shows the newest that are there.
    fn begin(&mut self, lines: u64) -> Result<()> {
        let newest = self.newest()?;
        let page = EventPage { newest_first: true, limit: Some(lines), with_json: false };
        let mut rows = self.read(page)?;
        rows.reverse();
        self.show(rows, || true)?;
        self.shown = self.shown.max(newest);
        Ok(())
    }

    /// Shows what has come, and says whether anything had.
    ///
    /// # Errors
    /// As [`Tail::from_now`].
    pub fn step(&mut self) -> Result<bool> {
        self.step_while(|| true)
    }

    /// The same, as long as `may` says so; it is asked before each event.
    ///
    /// # Errors
    /// As [`Tail::from_now`].
    pub fn step_while(&mut self, may: impl Fn() -> bool) -> Result<bool> {
        // The newest of all is found at once, whatever the filters are.
        let newest = self.newest()?;
        if newest <= self.shown {
            return Ok(false);
        }
        self.selection.after = Some(self.shown);
        let rows = self.read(EventPage { limit: Some(PAGE), ..EventPage::default() })?;
        let all = (rows.len() as u64) < PAGE;
        if !self.show(rows, may)? {
            return Ok(false);
        }
        if all {
            self.shown = self.shown.max(newest);
        }
        Ok(true)
    }

    fn newest(&self) -> Result<EventSeq> {
        let mut newest = EventSeq(0);
        let page = EventPage { newest_first: true, limit: Some(1), with_json: false };
        self.inbox.events(&EventSelection::default(), page, &mut |event| {
            newest = event.seq;
            true
        })?;
        Ok(newest)
    }

    fn read(&self, page: EventPage) -> Result<Vec<(EventSeq, TailRow)>> {
        let mut rows = Vec::new();
        self.inbox.events(&self.selection, page, &mut |event| {
            rows.push((event.seq, TailRow(EventRow::of(event))));
            true
        })?;
        Ok(rows)
    }

    /// Shows these, as long as `may` says so; says whether it was all of them.
    fn show(&mut self, rows: Vec<(EventSeq, TailRow)>, may: impl Fn() -> bool) -> Result<bool> {
        for (seq, row) in rows {
            if !may() {
                return Ok(false);
            }
            self.stream.row(&row)?;
            self.shown = seq;
        }
        Ok(true)
    }
}
