//! `events fetch`: events that no webhook brought, read through the API.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::depositing::FetchDeposit;
use super::filter::moment;
use crate::commands::Report;
use crate::commands::hook_args::seconds_or_zero;
use crate::commands::polling::{polled_apps, remarks};
use crate::commands::progress::progress_bar;
use crate::commands::units::{duration_or_zero, event_type};
use crate::context::Context;
use crate::domain::{AppId, AppName, Redaction, ShownTime};
use crate::error::{Error, Result};
use crate::poll::{MAX_PAGE, PollOptions, PollPace, PollProgress, PollReport, PolledApp, Poller};
use crate::render::{Cell, Row};
use crate::store::sqlite::SqliteStore;
use crate::store::worker::StoreWorker;
use crate::store::{Inbox, Store, StoreDeposit};

/// Fetch events that no webhook brought, through Bugfender's API
///
/// Bugfender calls an endpoint once, and an endpoint that fails for long is given up. This reads the issues, crashes and
/// feedback of the apps since the last time, oldest first, and stores what the inbox does not have. The ids of the API are
/// first compared with those that webhooks brought: if none is the same, nothing is stored, and the exit code is 3. By
/// default the apps and types are those of the hooks on record, and nothing is fetched from before they were made.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Fetch events since: a duration ago, or a time [default: since the last time, or since the hook was made]
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    since: Option<Timestamp>,

    /// Only of these apps: repeat, or separate with commas [default: those with hooks on record]
    #[arg(long = "app-id", value_name = "ID", value_delimiter = ',')]
    app_ids: Vec<AppName>,

    /// Only events of these types: issue, crash or feedback; repeat, or separate with commas
    #[arg(long = "type", value_name = "TYPE", value_delimiter = ',', value_parser = event_type)]
    types: Vec<String>,

    /// Forward them to the targets of the last `listen`, which does so when it runs
    #[arg(long)]
    forward: bool,

    /// Store them even if their ids are not those of webhooks
    #[arg(long)]
    trust_ids: bool,

    /// Read this much of what was read the last time again, as an event may be listed late
    #[arg(long, value_name = "DURATION", default_value = "3h", value_parser = duration_or_zero)]
    look_back: SignedDuration,

    /// Wait this long between pages [default: 10, or 0 for a server on this machine]
    #[arg(long, value_name = "SECONDS", value_parser = seconds_or_zero)]
    page_pause: Option<Duration>,

    /// Redact these fields before storing events, as with `listen`; separate with commas
    #[arg(long, value_name = "PATH,...")]
    redact: Vec<Redaction>,

    /// Show what would be stored; store nothing
    #[arg(long)]
    dry_run: bool,
}

const EXAMPLES: &str = "\
Examples:
  bugfender-hooks events fetch
  bugfender-hooks events fetch --since 24h --app-id 1001 --dry-run
  bugfender-hooks listen --catch-up 15m        # does it regularly while it receives";

/// What came of an app.
#[derive(Serialize)]
struct FetchedRow {
    app_id: AppId,
    from: ShownTime,
    until: ShownTime,
    found: u64,
    known: u64,
    left_out: u64,
    new: u64,
    unreadable: u64,
    lists_events: bool,
    silent_groups: BTreeMap<String, u64>,
    out_of_retention: u64,
}

impl FetchedRow {
    fn of(report: PollReport) -> Self {
        Self {
            app_id: report.app,
            from: report.from.into(),
            until: report.until.into(),
            found: report.found,
            known: report.known,
            left_out: report.left_out,
            new: report.new,
            unreadable: report.unreadable,
            lists_events: report.lists_events,
            silent_groups: report.silent_groups,
            out_of_retention: report.out_of_retention,
        }
    }
}

impl Row for FetchedRow {
    const FIELDS: &'static [&'static str] = &[
        "app_id",
        "from",
        "until",
        "found",
        "known",
        "left_out",
        "new",
        "unreadable",
        "lists_events",
        "silent_groups",
        "out_of_retention",
    ];
    const HEADERS: &'static [&'static str] = &["APP", "FROM", "UNTIL", "FOUND", "KNOWN", "LEFT OUT", "NEW"];

    fn cells(&self) -> Vec<Cell> {
        vec![
            self.app_id.to_string().into(),
            self.from.to_string().into(),
            self.until.to_string().into(),
            self.found.to_string().into(),
            self.known.to_string().into(),
            self.left_out.to_string().into(),
            self.new.to_string().into(),
        ]
    }

    fn id(&self) -> Option<String> {
        Some(self.app_id.to_string())
    }
}

pub fn run(ctx: &Context, args: &Args) -> Result<Report> {
    let apps = polled_apps(ctx, &args.app_ids, &args.types, args.since)?;
    let api = ctx.api()?.with_max_body(MAX_PAGE);
    let scratch = tempfile::tempdir()?;
    let store = store(ctx, args, &scratch)?;
    let (reader, reading) = StoreWorker::start("inbox", open(ctx, args, &*store)?)?;
    let store = StoreDeposit::new(reader.clone(), store);
    let deposit = FetchDeposit { store, forward: args.forward, dry_run: args.dry_run };
    let pace = PollPace::of(ctx.origin());
    let redaction = Redaction::joined(args.redact.iter().cloned());
    let options = PollOptions {
        look_back: args.look_back,
        pace: PollPace { page_pause: args.page_pause.unwrap_or(pace.page_pause), ..pace },
        redaction: (!redaction.is_empty()).then_some(redaction),
        trusts_ids: args.trust_ids,
        dry_run: args.dry_run,
    };
    let poller = Poller::new(&api, ctx.origin(), reader, deposit, options);
    let ended = ctx.wait(with_progress(ctx, &poller, &apps));
    drop(poller);
    // It ends once all that is stored is stored.
    let _ = reading.join();
    let Some((reports, errors)) = ended? else {
        return Err(Error::interrupted("while fetching; what was stored stays, and the next run goes on from there"));
    };
    for remark in reports.iter().flat_map(remarks) {
        ctx.out().warn(&remark);
    }
    Ok(Report::list(reports.into_iter().map(FetchedRow::of).collect(), errors))
}

/// The store; if there is none and nothing is to be stored, an empty one.
fn store(ctx: &Context, args: &Args, scratch: &tempfile::TempDir) -> Result<Arc<dyn Store>> {
    let store = ctx.store()?;
    if store.existing_inbox()?.is_some() {
        return Ok(store.into());
    }
    if args.dry_run {
        return Ok(Arc::new(SqliteStore::at(&scratch.path().join("registry.db"))));
    }
    let place = store.inbox_place();
    ctx.allow_new("inbox", &place)?;
    store.inbox()?;
    ctx.say_new("inbox", &place);
    Ok(store.into())
}

/// The inbox to look into.
fn open(ctx: &Context, args: &Args, store: &dyn Store) -> Result<Box<dyn Inbox>> {
    let inbox = store.inbox()?;
    if args.forward && !args.dry_run && inbox.routes()?.is_empty() {
        ctx.out().warn("no `listen` has had a target yet: nothing will be forwarded");
    }
    Ok(inbox)
}

/// A round, with a bar on a terminal that counts pages.
async fn with_progress(
    ctx: &Context,
    poller: &Poller<'_, FetchDeposit>,
    apps: &[PolledApp],
) -> (Vec<PollReport>, Vec<Error>) {
    let bar = RefCell::new(progress_bar(ctx, 0));
    let progress = |PollProgress { app, pages, total_pages }: PollProgress| {
        let bar = bar.borrow_mut();
        bar.set_length(total_pages);
        bar.set_position(pages);
        bar.set_message(format!("app {app}"));
    };
    let ended = poller.round(apps, Timestamp::now(), &progress).await;
    bar.borrow().finish_and_clear();
    ended
}
