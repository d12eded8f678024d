//! `events show`: an event with all that is known of it, or a delivery that could not be read.

use serde::Serialize;
use serde_json::value::RawValue;

use super::filter::source_parser;
use super::{RECEIVER, Told, no_such_event, not_quarantined};
use crate::commands::Report;
use crate::commands::event_row::{EventRow, QuarantinedRow, fields, original};
use crate::commands::units::count;
use crate::context::Context;
use crate::domain::delivery::Via;
use crate::domain::event::Sender;
use crate::domain::{ShownTime, excerpt};
use crate::error::{Error, Result};
use crate::render::{Cell, Output, Records, Row, Shape, View, indented, sanitize};
use crate::store::{EventPage, EventRecord, EventSelection, EventSeq, EventState, ForwardRecord, Inbox};

/// Show an event, its forwards, and its JSON as received
#[derive(clap::Args)]
#[command(group(clap::ArgGroup::new("which").required(true).args(["id", "quarantined"])))]
pub struct Args {
    /// The id that its sender gave it; for Luciq's reports the SHA-256 of the body
    #[arg(value_name = "ID")]
    id: Option<String>,

    /// Only the event of this sender, if both have one with that id
    #[arg(long, value_parser = source_parser(), conflicts_with = "quarantined")]
    source: Option<Sender>,

    /// Show a delivery that could not be read instead, by its number in `events list --quarantined`
    #[arg(long, value_name = "N")]
    quarantined: Option<i64>,

    /// Write only the exact bytes as received
    #[arg(long)]
    raw: bool,
}

pub fn run(ctx: &Context, args: &Args) -> Result<Report> {
    let inbox = ctx.existing_inbox()?;
    let inbox = inbox.as_deref();
    if let Some(number) = args.quarantined {
        return quarantined(inbox, number, args.raw);
    }
    let id = args.id.clone().unwrap_or_default();
    let mut found = Vec::new();
    if let Some(inbox) = inbox {
        let ids = Some(vec![id.clone()]);
        let selection = EventSelection { ids, sender: args.source, ..EventSelection::default() };
        let page = EventPage { with_json: true, ..EventPage::default() };
        inbox.events(&selection, page, &mut |event| {
            found.push(event);
            true
        })?;
    }
    if found.is_empty() {
        let error = no_such_event(&id);
        return Err(if inbox.is_none() { error.hint(RECEIVER) } else { error });
    }
    if args.raw {
        return raw_event(found);
    }
    let forwards = |event: EventSeq| inbox.map_or_else(|| Ok(Vec::new()), |inbox| inbox.forwards_of(event));
    let rows = found.into_iter().map(|event| ShownRow::of(forwards(event.seq)?, event)).collect::<Result<Vec<_>>>()?;
    Ok(Report::of(Shown(if let [_] = *rows { Records { rows, shape: Shape::Single } } else { Records::list(rows) })))
}

fn raw_event(mut found: Vec<EventRecord>) -> Result<Report> {
    match (found.pop(), found.pop()) {
        (Some(event), None) => Ok(Report::of(Raw(event.json.unwrap_or_default()))),
        _ => Err(Error::usage("several events have this id").hint("pick one with --source, or show all without --raw")),
    }
}

fn quarantined(inbox: Option<&dyn Inbox>, number: i64, raw: bool) -> Result<Report> {
    let found = inbox.map(|inbox| inbox.quarantined(Some(number), None)).transpose()?;
    let delivery = found.and_then(|mut found| found.pop()).ok_or_else(|| not_quarantined(number))?;
    let row = QuarantinedRow::of(&delivery);
    let body = delivery.body;
    if raw {
        return Ok(Report::of(Raw(body)));
    }
    let row = BodyRow { delivery: row, body: String::from_utf8_lossy(&body).into_owned() };
    Ok(Report::of(Told { text: row.text(), row }))
}

/// Bytes that are the result themselves.
struct Raw(Vec<u8>);

impl View for Raw {
    fn show(&self, out: &Output) -> Result<()> {
        out.bytes(&self.0)
    }
}

/// An event with all that is known of it.
#[derive(Serialize)]
struct ShownRow {
    #[serde(flatten)]
    event: EventRow,
    duplicates: u32,
    last_error: Option<String>,
    forwards: Vec<ForwardRow>,
    #[serde(rename = "event")]
    json: Box<RawValue>,
}

impl ShownRow {
    fn of(forwards: Vec<ForwardRecord>, event: EventRecord) -> Result<Self> {
        let forwards = forwards.into_iter().map(ForwardRow::of).collect();
        let json = original(&event)?;
        let (duplicates, last_error) = (event.duplicates, event.error.clone());
        Ok(Self { event: EventRow::of(event), duplicates, last_error, forwards, json })
    }

    fn text(&self) -> String {
        let event = &self.event;
        let text = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
        let lines = [
            ("id", event.id.clone()),
            ("source", event.source.to_string()),
            ("type", text(event.event_type.clone())),
            ("app", text(event.app_id.map(|app| app.to_string()))),
            ("title", text(event.title.clone())),
            ("status", event.state.as_str().to_owned()),
            ("received", received(event)),
            ("forwarded", text(event.forwarded_at.map(|time| time.to_string()))),
            ("attempts", event.attempts.to_string()),
            ("duplicates", self.duplicates.to_string()),
            ("last error", text(self.last_error.clone())),
        ];
        let forwards: String = self.forwards.iter().map(ForwardRow::text).collect();
        format!("{}{forwards}\n{}\n", columns(&lines), indented(self.json.get()))
    }
}

/// When an event was received, and how if not by a webhook.
fn received(event: &EventRow) -> String {
    match event.via {
        Via::Webhook => event.received_at.to_string(),
        Via::Poll => format!("{}, by polling", event.received_at),
        Via::Test => format!("{}, to test a target", event.received_at),
    }
}

/// An event's way to one target.
#[derive(Serialize)]
struct ForwardRow {
    target: String,
    status: &'static str,
    attempts: u32,
    attempts_log: Vec<AttemptRow>,
}

/// An attempt, oldest first.
#[derive(Serialize)]
struct AttemptRow {
    number: u32,
    at: ShownTime,
    ms: u64,
    status: Option<u16>,
    error: Option<String>,
    answer: Option<String>,
    next_attempt_at: Option<ShownTime>,
}

impl ForwardRow {
    fn of(forward: ForwardRecord) -> Self {
        let attempts_log = forward.newest_attempts.into_iter().map(|attempt| AttemptRow {
            number: attempt.number,
            at: attempt.at.into(),
            ms: u64::try_from(attempt.report.took.as_millis()).unwrap_or(u64::MAX),
            status: attempt.report.status,
            error: attempt.error,
            answer: Some(String::from_utf8_lossy(&attempt.report.answer).into_owned()).filter(|text| !text.is_empty()),
            next_attempt_at: attempt.next_at.map(ShownTime::from),
        });
        let ForwardRecord { target, state, attempts, .. } = forward;
        Self { target, status: state.as_str(), attempts, attempts_log: attempts_log.collect() }
    }

    /// A line for the target, and one for each attempt.
    fn text(&self) -> String {
        let line = |text: String| sanitize(&text).replace('\n', " ");
        let earlier = match u64::from(self.attempts).saturating_sub(self.attempts_log.len() as u64) {
            0 => String::new(),
            earlier => format!("  ({} not kept)", count(earlier, "earlier attempt")),
        };
        let mut text = format!("\n→ {}  {}{earlier}\n", line(self.target.clone()), self.status);
        let is_pending = self.status == EventState::Pending.as_str();
        for attempt in &self.attempts_log {
            let status = match attempt.status {
                Some(status) => format!("  {status}"),
                None if attempt.error.is_none() => "  ok".to_owned(),
                None => String::new(),
            };
            let said = [attempt.error.as_ref(), attempt.answer.as_ref()].into_iter().flatten();
            let said: Vec<String> = said.map(|said| excerpt(said, SHOWN_OF_ANSWER)).collect();
            let is_last = attempt.number == self.attempts && is_pending;
            let next = attempt.next_attempt_at.as_ref().filter(|_| is_last);
            let next = next.map(|at| format!("  next at {at}")).unwrap_or_default();
            let AttemptRow { number, at, ms, .. } = attempt;
            let line = format!("  {number}. {at}{status}  {ms} ms  {}{next}", said.join("  "));
            text.extend([line.trim_end(), "\n"]);
        }
        text
    }
}

/// How much of an answer is shown to people, in characters; JSON has all that is kept.
const SHOWN_OF_ANSWER: usize = 200;

/// Names with their values, one below the other.
fn columns(lines: &[(&str, String)]) -> String {
    let line = |(name, value): &(&str, String)| format!("{name:14}{}", sanitize(value).replace('\n', " "));
    lines.iter().map(line).collect::<Vec<_>>().join("\n") + "\n"
}

impl Row for ShownRow {
    const FIELDS: &'static [&'static str] = fields!("duplicates", "last_error", "forwards", "event");
    const HEADERS: &'static [&'static str] = EventRow::HEADERS;

    fn cells(&self) -> Vec<Cell> {
        self.event.cells()
    }

    fn id(&self) -> Option<String> {
        self.event.id()
    }
}

/// Events: for people as text.
struct Shown(Records<ShownRow>);

impl View for Shown {
    fn show(&self, out: &Output) -> Result<()> {
        if !out.is_for_people() {
            return out.show(&self.0);
        }
        let texts: Vec<String> = self.0.rows.iter().map(ShownRow::text).collect();
        out.raw(&texts.join("\n"))
    }
}

/// A delivery that could not be read, with its body.
#[derive(Serialize)]
struct BodyRow {
    #[serde(flatten)]
    delivery: QuarantinedRow,
    body: String,
}

impl BodyRow {
    fn text(&self) -> String {
        let names = ["number", "source", "received", "content type", "bytes", "reason"];
        let cells = self.delivery.cells().into_iter().map(|cell| cell.text);
        let lines: Vec<(&str, String)> = names.into_iter().zip(cells).collect();
        format!("{}\n{}", columns(&lines), sanitize(&self.body))
    }
}

impl Row for BodyRow {
    const FIELDS: &'static [&'static str] = &["id", "source", "received_at", "content_type", "size", "reason", "body"];
    const HEADERS: &'static [&'static str] = QuarantinedRow::HEADERS;

    fn cells(&self) -> Vec<Cell> {
        self.delivery.cells()
    }

    fn id(&self) -> Option<String> {
        self.delivery.id()
    }
}
