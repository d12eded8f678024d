//! `listen --catch-up`: a thread that regularly polls for events that no webhook brought.

use std::collections::HashSet;
use std::thread::JoinHandle;
use std::time::Duration;

use jiff::Timestamp;
use tokio::runtime::Builder;
use tokio::sync::watch;
use tracing::dispatcher;

use super::args::Args;
use super::watch_args::WatchArgs;
use crate::api::AuthenticatedApi;
use crate::commands::polling::{apps_with_hooks, remarks};
use crate::commands::units::count;
use crate::context::Context;
use crate::domain::delivery::Delivery;
use crate::domain::{ApiOrigin, Redaction};
use crate::error::{Error, Result};
use crate::poll::{Deposit, MAX_PAGE, PollOptions, PollPace, PollReport, PolledReceipt, Poller};
use crate::receiver::Depositor;
use crate::store::worker::StoreWorker;
use crate::store::{Inbox, Store};

/// How soon a round that failed is made again, if the interval is longer.
const RETRY_WAIT: Duration = Duration::from_secs(60);

/// By which share of it an interval is longer at random, so that receivers started together do not poll together.
const JITTER: f64 = 0.1;

impl Deposit for &Depositor {
    async fn deposit(&self, delivery: Delivery) -> Result<PolledReceipt> {
        let receipt = Depositor::deposit(self, delivery).await?;
        Ok(PolledReceipt { new: receipt.stored() as u64, known: receipt.duplicates() as u64 })
    }
}

/// What is needed to catch up, before it begins.
pub(super) struct CatchUp {
    interval: Duration,
    api: AuthenticatedApi,
    origin: ApiOrigin,
    store: Box<dyn Store>,
    options: PollOptions,
}

impl CatchUp {
    /// As the arguments say; `None` without `--catch-up`.
    ///
    /// # Errors
    /// When nobody is signed in.
    pub(super) fn prepare(ctx: &Context, args: &Args) -> Result<Option<Self>> {
        let WatchArgs { catch_up, look_back, page_pause, trust_ids, .. } = &args.watching;
        let Some(interval) = catch_up else { return Ok(None) };
        let pace = PollPace::of(ctx.origin());
        let redaction = Redaction::joined(args.redact.iter().cloned());
        let options = PollOptions {
            look_back: *look_back,
            pace: PollPace { page_pause: page_pause.unwrap_or(pace.page_pause), ..pace },
            redaction: (!redaction.is_empty()).then_some(redaction),
            trusts_ids: *trust_ids,
            dry_run: false,
        };
        Ok(Some(Self {
            interval: interval.unsigned_abs(),
            api: ctx.api_for_later()?.with_max_body(MAX_PAGE),
            origin: ctx.origin().clone(),
            store: ctx.store()?,
            options,
        }))
    }

    /// Starts the thread, which makes its first round at once.
    ///
    /// # Errors
    /// When the inbox cannot be opened, or the system refuses a thread.
    pub(super) fn start(self, depositor: Depositor) -> Result<RunningCatchUp> {
        let (stop, stopped) = watch::channel(());
        let (inbox, reading) = StoreWorker::start("catch-up-inbox", self.store.inbox()?)?;
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let log = dispatcher::get_default(Clone::clone);
        let run = move || {
            dispatcher::with_default(&log, || {
                let mut rounds = Rounds { catch_up: self, depositor, inbox, told: HashSet::new() };
                runtime.block_on(rounds.run(stopped));
                // What it holds of the inbox goes before the thread that closes it is waited for.
                drop(rounds);
                runtime.shutdown_background();
            });
            let _ = reading.join();
        };
        let thread = std::thread::Builder::new().name("catch-up".to_owned()).spawn(run)?;
        Ok(RunningCatchUp { stop, thread })
    }
}

/// The thread.
pub(super) struct RunningCatchUp {
    stop: watch::Sender<()>,
    thread: JoinHandle<()>,
}

impl RunningCatchUp {
    /// Breaks off what is in flight: the next round reads it again.
    pub(super) fn stop(self) {
        drop(self.stop);
        let _ = self.thread.join();
    }
}

struct Rounds {
    catch_up: CatchUp,
    depositor: Depositor,
    inbox: StoreWorker<dyn Inbox>,
    /// What was logged and still holds: said once.
    told: HashSet<String>,
}

impl Rounds {
    async fn run(&mut self, mut stopped: watch::Receiver<()>) {
        tokio::select! {
            biased;
            // It changes only by its end.
            _ = stopped.changed() => {}
            () = self.rounds() => {}
        }
    }

    async fn rounds(&mut self) {
        loop {
            let interval = self.catch_up.interval;
            // One of the receivers of a store does it.
            let wait = if !self.depositor.is_first() || self.round().await {
                interval + interval.mul_f64(JITTER * fastrand::f64())
            } else {
                interval.min(RETRY_WAIT)
            };
            tokio::time::sleep(wait).await;
        }
    }

    /// Makes a round. Returns whether nothing went wrong.
    async fn round(&mut self) -> bool {
        let CatchUp { api, origin, store, options, .. } = &self.catch_up;
        let apps = store.existing_registry(None).map_err(Error::from);
        let apps = apps.and_then(|registry| apps_with_hooks(registry.as_deref(), origin, None));
        let (reports, errors) = match apps {
            Ok(apps) if apps.is_empty() => {
                let hint = "no hooks are on record, so that nothing says which apps to catch up with";
                (Vec::new(), vec![Error::usage(hint)])
            }
            Ok(apps) => {
                let poller = Poller::new(api, origin, self.inbox.clone(), &self.depositor, options.clone());
                poller.round(&apps, Timestamp::now(), &|_| {}).await
            }
            Err(error) => (Vec::new(), vec![error]),
        };
        self.tell(&reports, &errors);
        errors.is_empty()
    }

    /// Logs what was found, and what changed.
    fn tell(&mut self, reports: &[PollReport], errors: &[Error]) {
        for PollReport { app, from, new, .. } in reports.iter().filter(|report| report.new > 0) {
            tracing::warn!("app {app}: caught up with {} since {from} that no webhook brought", count(*new, "event"));
        }
        let with_hints = |error: &Error| [&[error.to_string()], error.hints()].concat().join("; ");
        let errors = errors.iter().map(|error| format!("catching up failed: {}", with_hints(error)));
        // Numbers and times differ from round to round.
        let key = |text: &str| text.chars().filter(|c| !c.is_ascii_digit()).collect::<String>();
        let now: Vec<String> = errors.chain(reports.iter().flat_map(remarks)).collect();
        for text in now.iter().filter(|text| !self.told.contains(&key(text))) {
            tracing::warn!("{text}");
        }
        let was_failing = !self.told.is_empty();
        self.told = now.iter().map(|text| key(text)).collect();
        if was_failing && now.is_empty() {
            tracing::warn!("catching up works again");
        }
    }
}
