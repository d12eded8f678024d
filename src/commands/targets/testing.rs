//! `targets test`: a sample event is forwarded to one target, and what the target answers is shown.

use std::time::Duration;

use serde::Serialize;
use serde_json::json;

use super::{named, shown};
use crate::commands::Report;
use crate::commands::calls;
use crate::context::Context;
use crate::error::{Error, ErrorKind, Result};
use crate::render::{Cell, Records, Row, Tone};
use crate::samples::bugfender::test_event;
use crate::store::worker::StoreWorker;
use crate::store::{AttemptRecord, FirstAttempt, Inbox, StoreDeposit, TargetRecord, first_attempt};

/// How long to wait for the attempt, unless `--timeout` says so.
const TIMEOUT: Duration = Duration::from_secs(30);

#[derive(clap::Args)]
pub(super) struct Args {
    /// The target's name in `targets list`
    name: String,
}

/// The first attempt to forward the event, if there was one.
#[derive(Serialize)]
struct TestedRow {
    target: String,
    id: String,
    status: Option<u16>,
    ms: Option<u64>,
    error: Option<String>,
    answer: Option<String>,
}

impl Row for TestedRow {
    const FIELDS: &'static [&'static str] = &["target", "id", "status", "ms", "error", "answer"];
    const HEADERS: &'static [&'static str] = &["TARGET", "STATUS", "MS", "ERROR", "ANSWER"];

    fn cells(&self) -> Vec<Cell> {
        let tone = if self.error.is_none() { Tone::Good } else { Tone::Bad };
        let status = match self.status {
            Some(status) => Cell::toned(status.to_string(), tone),
            None if self.error.is_none() => Cell::toned("ok", tone),
            None => Cell::maybe(None::<u16>),
        };
        vec![
            self.target.clone().into(),
            status,
            Cell::maybe(self.ms),
            Cell::maybe(self.error.as_ref()),
            Cell::maybe(self.answer.as_ref().map(|answer| shown(answer))),
        ]
    }

    fn id(&self) -> Option<String> {
        self.error.is_none().then(|| self.id.clone())
    }
}

pub(super) fn run(ctx: &Context, args: &Args, inbox: Option<Box<dyn Inbox>>) -> Result<Report> {
    let name = &args.name;
    let (inbox, targets) = named(inbox, name)?;
    let target = in_use(&*inbox, &targets)?;
    if target.is_some_and(|target| target.paused_at.is_some()) {
        let error = Error::new(ErrorKind::Other, format!("{} is paused", shown(name)));
        return Err(error.hint(format!("`bugfender-hooks targets resume '{}'` resumes it", shown(name))));
    }
    let Some(target) = target.map(|target| target.id) else {
        return Err(Error::new(
            ErrorKind::Unavailable,
            format!("the last `listen` did not forward to {}", shown(name)),
        )
        .hint("start `bugfender-hooks listen` with this target"));
    };
    let sample = test_event(calls::app_id(ctx, None), &ctx.origin().to_string());
    let id = sample["id"].as_str().unwrap_or_default().to_owned();
    let sample = calls::to_bytes(&json!([sample]))?;
    let (worker, thread) = StoreWorker::start("inbox", inbox)?;
    let store = StoreDeposit::new(worker.clone(), ctx.store()?.into());
    let timeout = ctx.settings().total_timeout().unwrap_or(TIMEOUT);
    let tested = ctx.wait(async {
        let event = store.deposit_test(sample, target).await?;
        first_attempt(&worker, event, timeout).await
    });
    drop((store, worker));
    // It ends once the event is stored.
    let _ = thread.join();
    let tested = tested?.ok_or_else(|| Error::interrupted("while waiting for the attempt"))??;
    Ok(report(ctx, name, id, tested, timeout))
}

/// Of the targets with one name the one that the last receiver forwards to.
fn in_use<'a>(inbox: &dyn Inbox, targets: &'a [TargetRecord]) -> Result<Option<&'a TargetRecord>> {
    let routes = inbox.routes()?;
    Ok(targets.iter().rfind(|target| target.is_routed(&routes)))
}

/// What came of the event, as a record and perhaps an error.
fn report(ctx: &Context, name: &str, id: String, tested: FirstAttempt, timeout: Duration) -> Report {
    let shown = shown(name);
    let (error, failure) = match &tested {
        FirstAttempt::Made(AttemptRecord { error: None, .. }) => {
            ctx.out().note(&format!("{shown} accepted the event {id}"));
            (None, None)
        }
        FirstAttempt::Made(AttemptRecord { error: Some(error), report, .. }) => {
            (Some(error.clone()), Some(not_accepted(&shown, error, report.status)))
        }
        FirstAttempt::LeftOut => {
            let error = format!("the filter of {shown} leaves the event {id} out");
            (Some(error.clone()), Some(Error::new(ErrorKind::Other, error)))
        }
        FirstAttempt::NotYet => {
            let error =
                format!("no attempt to forward the event {id} to {shown} was made within {} s", timeout.as_secs_f32());
            let failure = Error::new(ErrorKind::Unavailable, error.clone());
            let hint = "is `bugfender-hooks listen` running? It forwards the event when it gets to it";
            (Some(error), Some(failure.hint(hint)))
        }
    };
    let report = if let FirstAttempt::Made(attempt) = tested { Some(attempt.report) } else { None };
    let answer = report.as_ref().map(|report| String::from_utf8_lossy(&report.answer).into_owned());
    let row = TestedRow {
        target: name.to_owned(),
        id,
        status: report.as_ref().and_then(|report| report.status),
        ms: report.map(|report| u64::try_from(report.took.as_millis()).unwrap_or(u64::MAX)),
        error,
        answer: answer.filter(|answer| !answer.is_empty()),
    };
    Report { errors: failure.into_iter().collect(), ..Report::of(Records::single(row)) }
}

/// The error of a target that answered so, or did not answer.
fn not_accepted(shown: &str, error: &str, status: Option<u16>) -> Error {
    // One that does not answer may do so later.
    let is_rejected = status.is_some_and(|status| status < 500 && status != 429);
    let kind = if is_rejected { ErrorKind::Other } else { ErrorKind::Unavailable };
    let failure = Error::new(kind, format!("{shown} has not accepted the event: {error}"));
    match status {
        Some(status) => failure.status(status),
        None => failure,
    }
}
