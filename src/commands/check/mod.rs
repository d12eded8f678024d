//! `check`: whether a receiver accepts what Bugfender or Luciq may send it.

mod cases;
mod judge;
mod junit;

use std::path::PathBuf;
use std::time::Duration;

use clap::ValueHint;
use futures_util::future::join_all;
use serde::Serialize;

use self::cases::{Case, CasePlan};
use self::judge::Judge;
use super::Report;
use super::calls::{self, Endpoint, SigningArgs, Timed};
use super::hook_args::TargetUrlArg;
use crate::context::Context;
use crate::domain::AppId;
use crate::error::{Error, ErrorKind, Result};
use crate::http::{CarriedOut, Client};
use crate::render::{Cell, Row, Tone};

/// Conformance-test a receiver with what Bugfender or Luciq may send
///
/// It must answer 2xx to events of every kind in both documented shapes, to unknown fields, several events in a request,
/// duplicates, a body of 1 MB and concurrent requests; it must reject with a 4xx what is not JSON and requests to a path
/// that is not its own. With --luciq these are Luciq's reports, and with its secret, requests without a signature
/// or with a wrong one must be rejected. Each request is sent once, and redirects are not followed.
///
/// To the receiver these are real events; their titles begin with "[check]".
///
/// Exits with 0 if no case failed, else with 1; with 7 if no connection can be made.
// Help texts are not Markdown.
#[allow(clippy::doc_markdown)]
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The receiver: a URL, "-" for standard input, or @FILE
    #[arg(value_name = "URL")]
    url: TargetUrlArg,

    #[command(flatten)]
    signing: SigningArgs,

    /// The maximum time for a response, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 5000, value_parser = clap::value_parser!(u64).range(1..=600_000))]
    max_latency: u64,

    /// Write the cases to this file as JUnit XML too; what it held is replaced
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    junit: Option<PathBuf>,

    /// The app that the events happen in [default: that of the profile, or 1001]
    #[arg(long, value_name = "ID", conflicts_with = "luciq")]
    app_id: Option<AppId>,
}

const EXAMPLES: &str = "\
Examples:
  bugfender-hooks check http://127.0.0.1:3000/hook
  bugfender-hooks check @url.txt --max-latency 2000 --junit check.xml
  bugfender-hooks check https://hooks.example.com/luciq --luciq --secret-file secret.txt";

/// How a case ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum CaseOutcome {
    Passed,
    Failed,
    Skipped,
}

impl CaseOutcome {
    fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }

    fn tone(self) -> Tone {
        match self {
            Self::Passed => Tone::Good,
            Self::Failed => Tone::Bad,
            Self::Skipped => Tone::Faint,
        }
    }
}

/// A case, and how the receiver did.
#[derive(Debug, Serialize)]
struct CaseRow {
    case: &'static str,
    outcome: CaseOutcome,
    status: Option<u16>,
    ms: Option<u64>,
    message: String,
}

impl Row for CaseRow {
    const FIELDS: &'static [&'static str] = &["case", "outcome", "status", "ms", "message"];
    const HEADERS: &'static [&'static str] = &["CASE", "OUTCOME", "STATUS", "MS", "MESSAGE"];

    fn cells(&self) -> Vec<Cell> {
        vec![
            self.case.into(),
            Cell::toned(self.outcome.as_str(), self.outcome.tone()),
            Cell::maybe(self.status),
            Cell::maybe(self.ms),
            self.message.clone().into(),
        ]
    }
}

/// How long to wait for a late response, to tell a slow receiver from one that never responds.
fn timeout(max_latency: u64) -> Duration {
    Duration::from_millis(max_latency.saturating_mul(4)).clamp(Duration::from_secs(5), Duration::from_secs(30))
}

pub fn run(ctx: &Context, args: &Args) -> Result<Report> {
    if let Some(path) = &args.junit {
        junit::check_place(path)?;
    }
    let endpoint = Endpoint::resolve(ctx, &args.url, &args.signing)?;
    let cases = if args.signing.luciq {
        cases::of_instabug(&endpoint)?
    } else {
        cases::of_bugfender(&endpoint, calls::app_id(ctx, args.app_id), &ctx.origin().to_string())?
    };
    let client = endpoint.client_that_waits(ctx, timeout(args.max_latency))?.without_redirects();
    let mut judge = Judge::new(&endpoint, args.max_latency);
    let Played { rows, stopped } = play(ctx, &client, cases, &mut judge)?;
    let mut errors = Vec::from_iter(failures(&rows));
    if let Some(path) = &args.junit {
        errors.extend(junit::write(path, &endpoint.url, &rows, stopped.as_ref()).err());
    }
    errors.splice(0..0, stopped.map(|stopped| stopped.error));
    Ok(Report::list(rows, errors))
}

/// What came of the cases.
struct Played {
    rows: Vec<CaseRow>,
    stopped: Option<Stopped>,
}

/// Why there were no more cases, and at which one that was.
struct Stopped {
    case: &'static str,
    error: Error,
}

fn play(ctx: &Context, client: &Client, cases: Vec<Case>, judge: &mut Judge) -> Result<Played> {
    let mut rows = Vec::new();
    for case in cases {
        let requests = match &case.plan {
            CasePlan::Send(requests) => requests,
            CasePlan::Skip(why) => {
                rows.push(judge::skipped(case.name, (*why).to_owned()));
                continue;
            }
        };
        let calls = join_all(requests.iter().map(|request| calls::send(client, request)));
        let stop = |error| Some(Stopped { case: case.name, error });
        let Some(mut calls) = ctx.wait(calls)? else {
            return Ok(Played { rows, stopped: stop(Error::interrupted("while checking the receiver")) });
        };
        if rows.is_empty()
            && let Some(error) = calls.pop_if(|call| never_connected(call)).and_then(no_receiver)
        {
            return Ok(Played { rows, stopped: stop(error) });
        }
        rows.push(judge.judge(&case, &calls));
    }
    rows.push(judge.latency());
    Ok(Played { rows, stopped: None })
}

fn never_connected(call: &Timed) -> bool {
    call.outcome.as_ref().is_err_and(|failure| failure.carried_out == CarriedOut::No)
}

/// The error of a receiver that is not there.
fn no_receiver(call: Timed) -> Option<Error> {
    Some(call.outcome.err()?.error)
}

/// The error that says which cases failed.
fn failures(rows: &[CaseRow]) -> Option<Error> {
    let failed = || rows.iter().filter(|row| row.outcome == CaseOutcome::Failed);
    let names = failed().map(|row| row.case).collect::<Vec<_>>().join(", ");
    let count = failed().count();
    let message = format!("{count} of {} cases failed: {names}", rows.len());
    (count > 0).then(|| Error::new(ErrorKind::Other, message).hint("each case's message says how to fix it"))
}
