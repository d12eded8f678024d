//! `events reread`: deliveries in quarantine are read again, after a fix.

use serde::Serialize;

use crate::commands::Report;
use crate::commands::progress::progress_bar;
use crate::context::Context;
use crate::error::{Error, ErrorKind, Result};
use crate::render::{Cell, Row, Tone};
use crate::store::worker::StoreWorker;
use crate::store::{Inbox, Reread, StoreDeposit};

/// Read quarantined deliveries again, as after an update of this program
///
/// The events of one that can be read now are stored and forwarded to the targets of the last `listen`, with the time at
/// which they were received, and it leaves quarantine. One that still cannot be read stays. What was received while
/// --redact was set is in quarantine without its body, and cannot be read again.
#[derive(clap::Args)]
#[command(group(clap::ArgGroup::new("which").required(true).args(["numbers", "all"])))]
pub struct Args {
    /// The numbers of deliveries in `events list --quarantined`
    #[arg(value_name = "NUMBER")]
    numbers: Vec<i64>,

    /// All that are in quarantine
    #[arg(long)]
    all: bool,
}

/// A delivery that was in quarantine, and what became of it.
#[derive(Serialize)]
struct RereadRow {
    id: i64,
    new: u64,
    known: u64,
    error: Option<String>,
}

impl Row for RereadRow {
    const FIELDS: &'static [&'static str] = &["id", "new", "known", "error"];
    const HEADERS: &'static [&'static str] = &["ID", "NEW", "KNOWN", "ERROR"];

    fn cells(&self) -> Vec<Cell> {
        let error = self.error.as_ref().map(|error| Cell::toned(error.clone(), Tone::Bad));
        vec![
            self.id.to_string().into(),
            self.new.to_string().into(),
            self.known.to_string().into(),
            error.unwrap_or_else(|| Cell::maybe(None::<String>)),
        ]
    }

    fn id(&self) -> Option<String> {
        self.error.is_none().then(|| self.id.to_string())
    }
}

pub fn run(ctx: &Context, args: &Args) -> Result<Report> {
    let Some(inbox) = super::inbox(ctx)? else {
        let errors = args.numbers.iter().map(|number| super::not_quarantined(*number)).collect();
        return Ok(Report::list(Vec::<RereadRow>::new(), errors));
    };
    let numbers = if args.all { all(&*inbox)? } else { args.numbers.clone() };
    if numbers.is_empty() {
        ctx.out().note("the quarantine is empty");
    }
    let (worker, thread) = StoreWorker::start("inbox", inbox)?;
    let store = StoreDeposit::new(worker, ctx.store()?.into());
    let (rows, errors) = reread_each(ctx, &store, &numbers, args.all);
    drop(store);
    // It ends once all that is stored is stored.
    let _ = thread.join();
    Ok(Report::list(rows, errors))
}

/// The numbers of all that are in quarantine, oldest first.
fn all(inbox: &dyn Inbox) -> Result<Vec<i64>> {
    let mut numbers: Vec<i64> = inbox.quarantined(None, None)?.iter().map(|found| found.number).collect();
    numbers.reverse();
    Ok(numbers)
}

/// Reads these again, until one fails for a reason that the others would fail for too.
fn reread_each(ctx: &Context, store: &StoreDeposit, numbers: &[i64], is_of_all: bool) -> (Vec<RereadRow>, Vec<Error>) {
    let (mut rows, mut errors) = (Vec::new(), Vec::new());
    let bar = progress_bar(ctx, numbers.len() as u64);
    for number in numbers {
        let row = |new, known, error| RereadRow { id: *number, new, known, error };
        let interrupted = || Error::interrupted("while reading again; what was stored stays stored");
        match ctx.wait(store.reread(*number)).and_then(|outcome| outcome.ok_or_else(interrupted)?) {
            Ok(Some(Reread::Stored { new, known })) => rows.push(row(new, known, None)),
            Ok(Some(Reread::Unreadable(malformed))) => {
                errors.push(still_unreadable(*number, &malformed.to_string()));
                rows.push(row(0, 0, Some(malformed.to_string())));
            }
            Ok(Some(Reread::Redacted)) => {
                let reason = "it was kept without its body";
                errors.push(still_unreadable(*number, reason));
                rows.push(row(0, 0, Some(reason.to_owned())));
            }
            // Somebody else has read it again, or purged it, since all were listed.
            Ok(None) if is_of_all => {}
            Ok(None) => errors.push(super::not_quarantined(*number)),
            Err(error) => {
                errors.insert(0, error);
                break;
            }
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    (rows, errors)
}

fn still_unreadable(number: i64, reason: &str) -> Error {
    Error::new(ErrorKind::Other, format!("the quarantined delivery {number} still cannot be read: {reason}"))
}
