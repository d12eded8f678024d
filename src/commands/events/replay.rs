//! `events replay`: events are sent to another endpoint, as a receiver of this tool's forwards would get them.

use std::path::PathBuf;

use clap::ValueHint;
use jiff::Timestamp;
use serde::Serialize;

use super::filter::WhichArgs;
use super::pages::{ORIGINALS, each_event};
use super::unknown;
use crate::commands::Report;
use crate::commands::calls::{self, Endpoint, Streak, Timed};
use crate::commands::confirm::confirm;
use crate::commands::dry_run::{self, DryRunArg};
use crate::commands::hook_args::TargetUrlArg;
use crate::commands::input::read_secret;
use crate::commands::progress::progress_bar;
use crate::commands::units::count;
use crate::context::Context;
use crate::domain::signature::standard_headers;
use crate::domain::{Secret, TargetUrl};
use crate::error::{Error, ErrorKind, Result};
use crate::http::{Client, Method, Payload, Repeat, Request, RequestBody};
use crate::render::{Cell, Row, Tone};
use crate::store::EventRecord;

/// Send events to another endpoint, oldest first
///
/// Each event is sent in its own request, as a JSON array of the event as it was received. Its webhook-id is always the
/// same, so that an endpoint can recognise it, and bugfender-hooks-replay: true marks it as a replay. Transient failures
/// are retried; after ten such failures in a row the rest is not sent. The inbox does not change.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    which: WhichArgs,

    /// The endpoint: a URL, "-" for standard input, or @FILE
    #[arg(long, value_name = "URL")]
    to: TargetUrlArg,

    /// Sign by the Standard Webhooks specification with the secret in this file
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    sign_with: Option<PathBuf>,

    /// Do not ask before sending what filters or --all picked
    #[arg(short, long)]
    yes: bool,

    #[command(flatten)]
    dry_run: DryRunArg,
}

/// The header that marks a replay.
const REPLAY: &str = "bugfender-hooks-replay";

/// An event, and how the endpoint responded.
#[derive(Serialize)]
struct ReplayedRow {
    id: String,
    status: Option<u16>,
    ms: u64,
    error: Option<String>,
}

impl ReplayedRow {
    fn is_good(&self) -> bool {
        self.status.is_some_and(|status| (200..300).contains(&status))
    }
}

impl Row for ReplayedRow {
    const FIELDS: &'static [&'static str] = &["id", "status", "ms", "error"];
    const HEADERS: &'static [&'static str] = &["ID", "STATUS", "MS", "ERROR"];

    fn cells(&self) -> Vec<Cell> {
        let tone = if self.is_good() { Tone::Good } else { Tone::Bad };
        let status = self.status.map(|status| Cell::toned(status.to_string(), tone));
        vec![
            self.id.clone().into(),
            status.unwrap_or_else(|| Cell::maybe(None::<u16>)),
            self.ms.to_string().into(),
            Cell::maybe(self.error.as_ref()),
        ]
    }

    fn id(&self) -> Option<String> {
        self.is_good().then(|| self.id.clone())
    }
}

pub fn run(ctx: &Context, args: &Args) -> Result<Report> {
    let replay = Replay::prepare(ctx, args)?;
    let selection = args.which.selection();
    let inbox = super::inbox_of(ctx, &selection)?;
    let mut errors = unknown(inbox.as_deref(), &args.which.ids, selection.sender)?;
    let Some(inbox) = inbox else { return Ok(Report::list(Vec::<ReplayedRow>::new(), errors)) };
    if args.dry_run.dry_run {
        let mut requests = Vec::new();
        each_event(&*inbox, selection, ORIGINALS, &mut |event| {
            requests.push(replay.request(&event)?);
            Ok(())
        })?;
        return Ok(Report { errors, ..dry_run::report(requests, false) });
    }
    let events: u64 = inbox.count_events(&selection)?.iter().map(|count| count.events).sum();
    if args.which.ids.is_empty() && !may_send(ctx, args, &replay, events)? {
        return Ok(Report::list(Vec::<ReplayedRow>::new(), errors));
    }
    let client = replay.endpoint.client(ctx)?;
    let (mut rows, mut streak) = (Vec::new(), Streak::default());
    let bar = progress_bar(ctx, events);
    let ended = each_event(&*inbox, selection, ORIGINALS, &mut |event| {
        let (row, error) = replay.send(ctx, &client, &event)?;
        rows.push(row);
        bar.inc(1);
        let unavailable = error.as_ref().is_some_and(|error| error.kind() == ErrorKind::Unavailable);
        errors.extend(error);
        streak.note(unavailable, events.saturating_sub(rows.len() as u64))
    });
    bar.finish_and_clear();
    if let Err(error) = ended {
        errors.insert(0, error);
    }
    Ok(Report::list(rows, errors))
}

/// Asks whether what filters picked is to be sent. There is nothing to ask when they picked nothing.
fn may_send(ctx: &Context, args: &Args, replay: &Replay, events: u64) -> Result<bool> {
    if events == 0 {
        ctx.out().note("no events to send");
        return Ok(false);
    }
    let shown = TargetUrl::from_stored(replay.endpoint.url.to_string()).into_shown(false);
    confirm(ctx, &format!("Send {} to {shown}?", count(events, "event")), args.yes)?;
    Ok(true)
}

/// Where events go, and what signs them.
struct Replay {
    endpoint: Endpoint,
    secret: Option<Secret>,
}

impl Replay {
    fn prepare(ctx: &Context, args: &Args) -> Result<Self> {
        let endpoint = Endpoint::at(&args.to.resolve(ctx)?)?;
        let secret = args.sign_with.as_ref().map(|path| read_secret("the secret", path)).transpose()?;
        let replay = Self { endpoint, secret };
        // What is wrong with a secret is said before anything is sent.
        replay.headers("evt_", b"")?;
        Ok(replay)
    }

    fn request(&self, event: &EventRecord) -> Result<Request> {
        let bytes = [b"[", event.json.as_deref().unwrap_or_default(), b"]"].concat();
        let headers = self.headers(&event.key.message_id(), &bytes)?;
        let payload = Payload { content_type: "application/json".into(), headers, bytes };
        let (url, body) = (self.endpoint.url.clone(), Some(RequestBody::Bytes(payload)));
        // The endpoint knows by the id what it has.
        Ok(Request { method: Method::POST, url, body, repeat: Repeat::Idempotent })
    }

    fn headers(&self, id: &str, body: &[u8]) -> Result<Vec<(&'static str, String)>> {
        let mut headers = standard_headers(id, Timestamp::now(), self.secret.as_ref(), body)?;
        headers.push((REPLAY, "true".to_owned()));
        Ok(headers)
    }

    /// Sends one request; Ctrl-C ends the replay.
    fn send(&self, ctx: &Context, client: &Client, event: &EventRecord) -> Result<(ReplayedRow, Option<Error>)> {
        let request = self.request(event)?;
        let timed = ctx.wait(calls::send(client, &request))?;
        let Timed { outcome, ms } = timed.ok_or_else(|| Error::interrupted("while sending events"))?;
        let (status, error) = match outcome.map_err(|failure| failure.error) {
            Ok(answer) if answer.status.is_success() => (Some(answer.status.as_u16()), None),
            Ok(answer) => {
                let status = answer.status.as_u16();
                let overloaded = answer.status.is_server_error() || status == 429;
                let kind = if overloaded { ErrorKind::Unavailable } else { ErrorKind::Other };
                let error = Error::new(kind, calls::refusal(&answer, &self.endpoint.url, self.secret.as_ref()));
                (Some(status), Some(error.status(status)))
            }
            Err(error) => (error.http_status(), Some(error)),
        };
        let row = ReplayedRow { status, ms, error: error.as_ref().map(ToString::to_string), id: event.id.clone() };
        let error = error.map(|error| error.about(format_args!("event {}", row.id)));
        Ok((row, error))
    }
}
