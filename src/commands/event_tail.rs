//! Events on a line each as they come, for `events tail` and `listen --print`.

use serde::Serialize;

use super::event_row::EventRow;
use crate::context::Context;
use crate::error::Result;
use crate::render::{Cell, Row, Stream};
use crate::store::{EventPage, EventSelection, EventSeq, Inbox};

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

/// Begins the table, which has its heads before there is an event.
///
/// # Errors
/// When the output cannot be written.
pub fn stream(ctx: &Context) -> Result<Stream<'_>> {
    Stream::begin::<TailRow>(ctx.out(), &WIDTHS)
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
    /// Shows the selected events on this stream, from the first on.
    pub fn new(stream: Stream<'a>, inbox: Box<dyn Inbox>, selection: EventSelection) -> Self {
        Self { inbox, selection, stream, shown: EventSeq(0) }
    }

    /// Shows what comes from now on.
    ///
    /// # Errors
    /// When the inbox cannot be read, or the output written.
    pub fn from_now(ctx: &'a Context, inbox: Box<dyn Inbox>) -> Result<Self> {
        let mut tail = Self::new(stream(ctx)?, inbox, EventSelection::default());
        tail.shown = tail.inbox.watermark()?;
        Ok(tail)
    }

    /// Shows the newest of those that are there, as many as this.
    ///
    /// # Errors
    /// As [`Tail::from_now`].
    pub fn begin(&mut self, lines: u64) -> Result<()> {
        let watermark = self.inbox.watermark()?;
        self.selection.up_to = Some(watermark);
        let page = EventPage { newest_first: true, limit: Some(lines), ..EventPage::default() };
        let mut rows = self.read(page)?;
        rows.reverse();
        self.show(rows, || true)?;
        self.shown = self.shown.max(watermark);
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
        // It is found at once, whatever the filters are, and nothing will come up to it later.
        let watermark = self.inbox.watermark()?;
        if watermark <= self.shown {
            return Ok(false);
        }
        (self.selection.after, self.selection.up_to) = (Some(self.shown), Some(watermark));
        let rows = self.read(EventPage { limit: Some(PAGE), ..EventPage::default() })?;
        let all = (rows.len() as u64) < PAGE;
        if !self.show(rows, may)? {
            return Ok(false);
        }
        if all {
            self.shown = self.shown.max(watermark);
        }
        Ok(true)
    }

    /// The newest event of the inbox.
    ///
    /// # Errors
    /// When the inbox cannot be read.
    pub fn newest(&self) -> Result<EventSeq> {
        Ok(self.inbox.watermark()?)
    }

    /// Whether all events up to this one were shown.
    pub fn has_shown(&self, newest: EventSeq) -> bool {
        newest <= self.shown
    }

    /// Shows a line beside the events, in tables only.
    ///
    /// # Errors
    /// When the output cannot be written.
    pub fn aside(&self, parts: &[Cell]) -> Result<()> {
        self.stream.aside(parts)
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
