//! `trigger`: sample events, sent to an endpoint as Bugfender or Luciq would send them.

use std::path::{Path, PathBuf};

use clap::ValueHint;
use clap::builder::PossibleValuesParser;
use serde::Serialize;
use serde_json::Value;

use super::Report;
use super::calls::{self, Endpoint, SigningArgs, Streak, Timed, to_bytes};
use super::dry_run::{self, DryRunArg};
use super::hook_args::TargetUrlArg;
use super::input::read_body;
use super::progress::progress_bar;
use crate::context::Context;
use crate::domain::event::{Sender, decode};
use crate::domain::{AppId, EventKind, bytes_without_bom};
use crate::error::{Error, ErrorKind, Result};
use crate::http::Client;
use crate::render::{Cell, Row, Tone};
use crate::samples::bugfender::{self, EventShape};
use crate::samples::instabug::{self, ReportKind};

/// Send sample events to an endpoint, as Bugfender or Luciq would
///
/// Bugfender's events are new_crash, new_issue_separate and new_user_feedback; with --luciq they are crash, bug and
/// apm. Each request is sent once, like the real ones; after ten in a row without a response the rest is not sent.
/// Exits with 0 if the endpoint accepted every one with a 2xx.
// Help texts are not Markdown; each flag is one of the command line.
#[allow(clippy::doc_markdown, clippy::struct_excessive_bools)]
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The event
    #[arg(value_parser = PossibleValuesParser::new(names()), hide_possible_values = true)]
    event: String,

    /// The endpoint: a URL, "-" for standard input, or @FILE
    #[arg(long, value_name = "URL")]
    to: TargetUrlArg,

    /// How many events, each with an id of its own; with --data how often that is sent
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    count: u32,

    /// Send all events in one request, as Bugfender may
    #[arg(long, conflicts_with = "luciq")]
    batch: bool,

    /// Send each request twice, as Bugfender may
    #[arg(long)]
    duplicate: bool,

    /// The app that it happens in [default: that of the profile, or 1001]
    #[arg(long, value_name = "ID", conflicts_with = "luciq")]
    app_id: Option<AppId>,

    /// Use the older shape of Bugfender's events, which is documented too
    #[arg(long, conflicts_with = "luciq")]
    older: bool,

    /// Set a field of each event, such as device.name=Pixel; the value is JSON, or else text; may repeat
    #[arg(long = "set", value_name = "PATH=VALUE")]
    set: Vec<String>,

    /// Send what is in this file ("-": standard input) in place of a sample; without --set, byte by byte
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with_all = ["older", "app_id", "batch"])]
    data: Option<PathBuf>,

    #[command(flatten)]
    signing: SigningArgs,

    #[command(flatten)]
    dry_run: DryRunArg,
}

const EXAMPLES: &str = "\
Examples:
  bugfender-hooks trigger new_crash --to http://127.0.0.1:3000/hook
  bugfender-hooks trigger new_issue_separate --to http://127.0.0.1:3000/hook --count 20 --batch --duplicate
  bugfender-hooks trigger new_crash --to http://127.0.0.1:3000/hook --set 'title=\"Out of memory\"' --set app.id=7
  bugfender-hooks trigger crash --luciq --secret-file secret.txt --to http://127.0.0.1:4000/luciq";

/// What most people need.
pub const IN_SHORT_HELP: &[(&str, &str)] = &[
    ("event", "The event"),
    ("to", "The endpoint: a URL, \"-\" for standard input, or @FILE"),
    ("count", "How many events"),
    ("batch", "Send all events in one request"),
    ("duplicate", "Send each request twice"),
    ("app_id", "The app that it happens in"),
    ("set", "Set a field of each event, such as app.id=7"),
    ("data", "Send what is in this file in place of a sample"),
    ("luciq", "Send the reports of Luciq"),
    ("secret_file", "Sign Luciq's reports with the secret in this file"),
    ("dry_run", "Show the requests; send nothing"),
];

fn names() -> Vec<&'static str> {
    EventKind::ALL.map(EventKind::as_str).into_iter().chain(ReportKind::ALL.map(|(name, _)| name)).collect()
}

/// A request, and how the endpoint responded.
#[derive(Serialize)]
struct CallRow {
    call: usize,
    events: usize,
    event_ids: Vec<String>,
    status: Option<u16>,
    ms: u64,
    error: Option<String>,
}

impl Row for CallRow {
    const FIELDS: &'static [&'static str] = &["call", "events", "event_ids", "status", "ms", "error"];
    const HEADERS: &'static [&'static str] = &["CALL", "EVENTS", "STATUS", "MS", "EVENT ID", "ERROR"];

    fn cells(&self) -> Vec<Cell> {
        let good = self.status.is_some_and(|status| (200..300).contains(&status));
        let tone = if good { Tone::Good } else { Tone::Bad };
        let status =
            self.status.map_or_else(|| Cell::maybe(None::<u16>), |status| Cell::toned(status.to_string(), tone));
        vec![
            self.call.to_string().into(),
            self.events.to_string().into(),
            status,
            self.ms.to_string().into(),
            Cell::maybe(self.first_id()),
            Cell::maybe(self.error.as_ref()),
        ]
    }

    fn id(&self) -> Option<String> {
        Some(self.event_ids.join("\n")).filter(|ids| !ids.is_empty())
    }
}

impl CallRow {
    /// The id of its first event, and how many more it has.
    fn first_id(&self) -> Option<String> {
        let (first, more) = self.event_ids.split_first()?;
        Some(if more.is_empty() { first.clone() } else { format!("{first} and {} more", more.len()) })
    }
}

/// The body of a request, and how many events it holds.
#[derive(Clone)]
struct SampleRequest {
    bytes: Vec<u8>,
    events: usize,
}

pub fn run(ctx: &Context, args: &Args) -> Result<Report> {
    let endpoint = Endpoint::resolve(ctx, &args.to, &args.signing)?;
    let mut calls = calls(ctx, args)?;
    if args.duplicate {
        calls = calls
            .into_iter()
            .flat_map(|SampleRequest { bytes, events }| {
                [SampleRequest { bytes: bytes.clone(), events }, SampleRequest { bytes, events }]
            })
            .collect();
    }
    if args.dry_run.dry_run {
        return Ok(dry_run::report(calls.iter().map(|call| endpoint.request(&call.bytes)).collect(), false));
    }
    let client = endpoint.client(ctx)?;
    let (mut rows, mut errors, mut streak) = (Vec::new(), Vec::new(), Streak::default());
    let bar = progress_bar(ctx, calls.len() as u64);
    for (index, call) in calls.iter().enumerate() {
        let Some((row, error)) = send(ctx, &client, &endpoint, &call.bytes, index + 1)? else {
            errors.insert(0, Error::interrupted("while sending events"));
            break;
        };
        bar.inc(1);
        let unanswered = row.status.is_none();
        let event_ids = decode(args.sender(), &call.bytes).unwrap_or_default();
        let event_ids = event_ids.into_iter().map(|event| event.id).collect();
        rows.push(CallRow { events: call.events, event_ids, ..row });
        errors.extend(error);
        if let Err(enough) = streak.note(unanswered, (calls.len() - index - 1) as u64) {
            errors.insert(0, enough);
            break;
        }
    }
    bar.finish_and_clear();
    Ok(Report::list(rows, errors))
}

impl Args {
    /// Whose events are sent.
    fn sender(&self) -> Sender {
        if self.signing.luciq { Sender::Instabug } else { Sender::Bugfender }
    }
}

/// Sends a request; `None` when Ctrl-C came first.
fn send(
    ctx: &Context,
    client: &Client,
    endpoint: &Endpoint,
    bytes: &[u8],
    call: usize,
) -> Result<Option<(CallRow, Option<Error>)>> {
    let timed = ctx.wait(calls::send(client, &endpoint.request(bytes)))?;
    let Some(Timed { outcome, ms }) = timed else { return Ok(None) };
    let row = |status, error| CallRow { call, events: 0, event_ids: Vec::new(), status, ms, error };
    Ok(Some(match outcome {
        Ok(answer) if answer.status.is_success() => (row(Some(answer.status.as_u16()), None), None),
        Ok(answer) => {
            let refusal = calls::refusal(&answer, &endpoint.url, endpoint.secret.as_ref());
            let status = answer.status.as_u16();
            let error = Error::new(ErrorKind::Other, format!("request {call}: {refusal}")).status(status);
            (row(Some(status), Some(refusal)), Some(error))
        }
        Err(failure) => {
            let error = failure.error.about(format_args!("request {call}"));
            (row(error.http_status(), Some(error.to_string())), Some(error))
        }
    }))
}

/// The requests to send, in order.
fn calls(ctx: &Context, args: &Args) -> Result<Vec<SampleRequest>> {
    let make = maker(ctx, args)?;
    let set = args.set.iter().map(|text| Setting::read(text)).collect::<Result<Vec<_>>>()?;
    if let Some(path) = &args.data {
        let call = from_file(path, &set)?;
        return Ok((0..args.count).map(|_| call.clone()).collect());
    }
    let mut events = Vec::new();
    for _ in 0..args.count {
        let mut event = make();
        lay_over(&mut event, &set)?;
        events.push(event);
    }
    if args.batch {
        let count = events.len();
        return Ok(vec![SampleRequest { bytes: to_bytes(&Value::Array(events))?, events: count }]);
    }
    let one = |event| {
        let body = if args.signing.luciq { event } else { Value::Array(vec![event]) };
        Ok(SampleRequest { bytes: to_bytes(&body)?, events: 1 })
    };
    events.into_iter().map(one).collect()
}

/// A request with the bytes of a file, which may be anything, to test how endpoints respond. With --set it must
/// be JSON.
fn from_file(path: &Path, set: &[Setting]) -> Result<SampleRequest> {
    let bytes = read_body(path)?;
    let parsed = serde_json::from_slice::<Value>(bytes_without_bom(&bytes));
    if set.is_empty() {
        let events = parsed.map_or(0, |value| value.as_array().map_or(1, Vec::len));
        return Ok(SampleRequest { bytes, events });
    }
    let mut value = parsed.map_err(|error| Error::usage(format!("{}: it is not JSON: {error}", path.display())))?;
    match &mut value {
        Value::Array(all) => all.iter_mut().try_for_each(|event| lay_over(event, set))?,
        one => lay_over(one, set)?,
    }
    let events = value.as_array().map_or(1, Vec::len);
    Ok(SampleRequest { bytes: to_bytes(&value)?, events })
}

/// What makes the events.
fn maker(ctx: &Context, args: &Args) -> Result<Box<dyn Fn() -> Value>> {
    let report = ReportKind::ALL.into_iter().find(|(name, _)| *name == args.event).map(|(_, kind)| kind);
    let event = args.event.parse::<EventKind>().ok();
    match (args.signing.luciq, report, event) {
        (true, Some(kind), _) => Ok(Box::new(move || instabug::report(kind))),
        (false, _, Some(kind)) => {
            let app_id = calls::app_id(ctx, args.app_id);
            let shape = if args.older { EventShape::Older } else { EventShape::Current };
            let origin = ctx.origin().to_string();
            Ok(Box::new(move || bugfender::event(shape, kind, app_id, &origin)))
        }
        (true, None, _) => Err(Error::usage(format!("{} is not an event of Luciq", args.event))
            .hint("with --luciq the events are crash, bug and apm")),
        (false, _, None) => Err(Error::usage(format!("{} is an event of Luciq", args.event)).hint("add --luciq")),
    }
}

/// A field to set: where, and to what.
struct Setting {
    path: Vec<String>,
    value: Value,
}

impl Setting {
    fn read(text: &str) -> Result<Self> {
        let (path, value) = text.split_once('=').filter(|(path, _)| !path.is_empty()).ok_or_else(|| {
            Error::usage("--set must have the form PATH=VALUE")
                .hint("such as --set device.name=Pixel or --set app.id=7")
        })?;
        let value = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()));
        Ok(Self { path: path.split('.').map(str::to_owned).collect(), value })
    }
}

/// Sets fields, making the objects on the way; a number is a place in a list.
fn lay_over(event: &mut Value, settings: &[Setting]) -> Result<()> {
    for Setting { path, value } in settings {
        let mut place = &mut *event;
        for step in path {
            place = match place {
                Value::Array(items) => {
                    let index = step.parse::<usize>().ok();
                    index.and_then(|index| items.get_mut(index)).ok_or_else(|| no_place(path, step))?
                }
                Value::Object(fields) => fields.entry(step.clone()).or_insert(Value::Null),
                Value::Null => {
                    *place = Value::Object(serde_json::Map::new());
                    // It is one since the line before.
                    let Value::Object(fields) = place else { return Err(no_place(path, step)) };
                    fields.entry(step.clone()).or_insert(Value::Null)
                }
                _ => return Err(no_place(path, step)),
            };
        }
        *place = value.clone();
    }
    Ok(())
}

fn no_place(path: &[String], step: &str) -> Error {
    Error::usage(format!("--set {}: there is no place for {step}", path.join(".")))
        .hint("the value before it is neither an object nor a list with that index")
}
