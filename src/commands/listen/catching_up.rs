//! `listen --catch-up`: a thread that regularly polls for events that no webhook brought, and looks for silent hooks.

use std::collections::HashSet;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::runtime::Builder;
use tokio::sync::watch;
use tracing::dispatcher;

use super::args::Args;
use super::silence_watch::{SilenceLook, SilenceWatch, off_runtime};
use super::watch_args::WatchArgs;
use crate::api::AuthenticatedApi;
use crate::commands::polling::{apps_with_hooks, remarks};
use crate::commands::units::count;
use crate::context::Context;
use crate::domain::delivery::Delivery;
use crate::domain::{ApiOrigin, Redaction};
use crate::error::{Error, Result};
use crate::poll::{Deposit, MAX_PAGE, PollOptions, PollPace, PollReport, PolledReceipt, Poller};
use crate::receiver::{AlertCondition, Alerts, Depositor};
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

/// What is needed to catch up and to look for silent hooks, before it begins.
pub(super) struct CatchUp {
    polling: Option<PollingPlan>,
    silence: Option<SilenceWatch>,
}

/// How events are polled, and how often.
struct PollingPlan {
    interval: Duration,
    api: AuthenticatedApi,
    origin: ApiOrigin,
    store: Arc<dyn Store>,
    options: PollOptions,
    alerts: Alerts,
}

impl CatchUp {
    /// As the arguments say; `None` if there is nothing to do.
    ///
    /// # Errors
    /// When nobody is signed in.
    pub(super) fn prepare(ctx: &Context, args: &Args, alerts: &Alerts) -> Result<Option<Self>> {
        let polling =
            args.watching.catch_up.map(|interval| PollingPlan::of(ctx, args, interval, alerts)).transpose()?;
        let silence = args.watching.alert.as_ref().map(|_| {
            let (origin, silent_for) = (ctx.origin().clone(), args.watching.silent_for);
            let looks = SilenceLook { store: ctx.store()?, origin, silent_for };
            Ok::<_, Error>(SilenceWatch { looks: looks.into(), alerts: alerts.clone() })
        });
        let silence = silence.transpose()?;
        Ok((polling.is_some() || silence.is_some()).then_some(Self { polling, silence }))
    }

    /// Starts the thread, which makes its first round at once.
    ///
    /// # Errors
    /// When the inbox cannot be opened, or the system refuses a thread.
    pub(super) fn start(self, depositor: Depositor) -> Result<RunningCatchUp> {
        let (stop, stopped) = watch::channel(());
        let Self { polling, silence } = self;
        let (rounds, reading) = match polling {
            Some(plan) => {
                let (inbox, reading) = StoreWorker::start("catch-up-inbox", plan.store.inbox()?)?;
                (Some(Rounds { plan, depositor, inbox, told: HashSet::new() }), Some(reading))
            }
            None => (None, None),
        };
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let log = dispatcher::get_default(Clone::clone);
        let run = move || {
            dispatcher::with_default(&log, || {
                runtime.block_on(until_stopped(rounds, silence, stopped));
                runtime.shutdown_background();
            });
            if let Some(reading) = reading {
                let _ = reading.join();
            }
        };
        let thread = std::thread::Builder::new().name("catch-up".to_owned()).spawn(run)?;
        Ok(RunningCatchUp { stop, thread })
    }
}

impl PollingPlan {
    fn of(ctx: &Context, args: &Args, interval: SignedDuration, alerts: &Alerts) -> Result<Self> {
        let WatchArgs { look_back, page_pause, trust_ids, .. } = &args.watching;
        let pace = PollPace::of(ctx.origin());
        let redaction = Redaction::joined(args.redact.iter().cloned());
        let options = PollOptions {
            look_back: *look_back,
            pace: PollPace { page_pause: page_pause.unwrap_or(pace.page_pause), ..pace },
            redaction: (!redaction.is_empty()).then_some(redaction),
            trusts_ids: *trust_ids,
            dry_run: false,
        };
        Ok(Self {
            interval: interval.unsigned_abs(),
            api: ctx.api_for_later()?.with_max_body(MAX_PAGE),
            origin: ctx.origin().clone(),
            store: ctx.store()?.into(),
            options,
            alerts: alerts.clone(),
        })
    }
}

/// Polls and looks. All that is held of the inbox is dropped at the end.
async fn until_stopped(mut rounds: Option<Rounds>, silence: Option<SilenceWatch>, mut stopped: watch::Receiver<()>) {
    let polls = async {
        if let Some(rounds) = &mut rounds {
            rounds.run().await;
        }
    };
    let looks = async {
        if let Some(silence) = &silence {
            silence.run().await;
        }
    };
    tokio::select! {
        biased;
        // It changes only by its end.
        _ = stopped.changed() => {}
        _ = async { tokio::join!(polls, looks) } => {}
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
    plan: PollingPlan,
    depositor: Depositor,
    inbox: StoreWorker<dyn Inbox>,
    /// What was logged and still holds: said once.
    told: HashSet<String>,
}

impl Rounds {
    /// Makes rounds, until dropped.
    async fn run(&mut self) {
        loop {
            let interval = self.plan.interval;
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
        let PollingPlan { api, origin, store, options, .. } = &self.plan;
        let (known, of) = (Arc::clone(store), origin.clone());
        let apps = off_runtime(move || apps_with_hooks(known.existing_registry(None)?.as_deref(), &of, None)).await;
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
        self.depositor
            .note_round(errors.is_empty().then(Timestamp::now), reports.iter().map(|report| report.new).sum());
        errors.is_empty()
    }

    /// Logs what was found, and what changed.
    fn tell(&mut self, reports: &[PollReport], errors: &[Error]) {
        for PollReport { app, from, new, .. } in reports {
            let what =
                format!("app {app}: caught up with {} since {from} that no webhook brought", count(*new, "event"));
            if *new > 0 {
                tracing::warn!("{what}");
            }
            self.plan.alerts.set_count(AlertCondition::CaughtUp { app_id: *app }, *new, what);
        }
        let failed = errors.iter().map(|error| {
            let text = format!("catching up failed: {error}");
            (text.clone(), [&[text], error.hints()].concat().join("; "))
        });
        let remarked = reports.iter().flat_map(remarks).map(|text| (text.clone(), text));
        let now: Vec<(String, String)> = failed.chain(remarked).map(|(text, shown)| (kind_of(&text), shown)).collect();
        for (_, shown) in now.iter().filter(|(kind, _)| !self.told.contains(kind)) {
            tracing::warn!("{shown}");
        }
        let was_failing = !self.told.is_empty();
        self.told = now.iter().map(|(kind, _)| kind.clone()).collect();
        if was_failing && now.is_empty() {
            tracing::warn!("catching up works again");
        }
    }
}

/// What a message says, but for its numbers and times, which differ from round to round. That of an app is another app's
/// no more.
fn kind_of(text: &str) -> String {
    let mut after_app = false;
    let word = |word: &str| {
        let is_name = std::mem::replace(&mut after_app, word == "app");
        word.chars().filter(|c| is_name || !c.is_ascii_digit()).collect::<String>()
    };
    text.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::kind_of;

    #[test]
    fn what_is_said_of_an_app_is_said_once_and_of_another_again() {
        let said = |app: u32, events: u32| kind_of(&format!("app {app}: {events} events since 2026-11-{events}T00"));
        assert_eq!(said(7, 10), said(7, 12));
        assert_ne!(said(7, 10), said(8, 10));
    }
}
