//! Counters, gauges and histograms for Prometheus.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use super::optional_gauge::OptionalGauge;
use super::rejection::Rejection;
use crate::domain::event::Sender;
use crate::store::{Backlog, TargetRecord, Usage};

type MetricLabel = [(&'static str, String); 1];
type Counters = Family<MetricLabel, Counter>;
type Gauges = Family<MetricLabel, Gauge>;
type Histograms = Family<MetricLabel, Histogram, fn() -> Histogram>;

/// What is known of the inbox.
#[derive(Debug, Clone, Default)]
pub(super) struct InboxSnapshot {
    pub(super) backlog: Backlog,
    /// All targets on record, those of earlier runs included.
    pub(super) targets: Vec<TargetRecord>,
    pub(super) usage: Usage,
}

/// All metrics, and the registry that encodes them.
pub struct Metrics {
    registry: Registry,
    received: Counters,
    duplicates: Counters,
    rejected: Counters,
    committed: Counters,
    forwarded: Counters,
    failed: Counters,
    dead: Counters,
    failed_filters: Counters,
    connections: Gauge,
    pending: Gauge,
    dead_letters: Gauge,
    oldest: Gauge,
    target_backlog: Gauges,
    target_paused: Gauges,
    /// The targets of this run, and whether each is paused because it fails.
    targets: Mutex<BTreeMap<String, bool>>,
    store_size: Gauge,
    disk_free: OptionalGauge,
    certificate_expiry: OptionalGauge,
    self_check: OptionalGauge,
    polled: Counter,
    last_poll: OptionalGauge,
    quarantined: Gauge,
    dropped_lines: Counter,
    answer: Histograms,
    /// The one of `answer` for 200, which nearly all responses are.
    answer_ok: Histogram,
    commit: Histogram,
    forward: Histograms,
}

/// From 0.1 ms to some 50 s.
fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.0001, 2.5, 15))
}

fn histograms() -> Histograms {
    Family::new_with_constructor(seconds)
}

impl Default for Metrics {
    fn default() -> Self {
        let mut new = Self {
            registry: Registry::with_prefix("bugfender_hooks"),
            received: Counters::default(),
            duplicates: Counters::default(),
            rejected: Counters::default(),
            committed: Counters::default(),
            forwarded: Counters::default(),
            failed: Counters::default(),
            dead: Counters::default(),
            failed_filters: Counters::default(),
            connections: Gauge::default(),
            pending: Gauge::default(),
            dead_letters: Gauge::default(),
            oldest: Gauge::default(),
            target_backlog: Gauges::default(),
            target_paused: Gauges::default(),
            targets: Mutex::default(),
            store_size: Gauge::default(),
            disk_free: OptionalGauge::new("disk_free", "Free space where the inbox is", Some(Unit::Bytes)),
            certificate_expiry: OptionalGauge::new(
                "certificate_expiry_timestamp",
                "When the first certificate of the chain expires, in seconds since 1970",
                Some(Unit::Seconds),
            ),
            self_check: OptionalGauge::new(
                "self_check_passing",
                "Whether the receiver is reached by its public URL",
                None,
            ),
            polled: Counter::default(),
            last_poll: OptionalGauge::new(
                "last_poll_timestamp",
                "When catching up last came to its end, in seconds since 1970",
                Some(Unit::Seconds),
            ),
            quarantined: Gauge::default(),
            dropped_lines: Counter::default(),
            answer: histograms(),
            answer_ok: seconds(),
            commit: seconds(),
            forward: histograms(),
        };
        new.register();
        new.answer_ok = new.answer.get_or_create_owned(&[("status", "200".to_owned())]);
        // Every series is there from the start: a rate needs a first value of zero.
        for sender in Sender::ALL {
            for counters in [&new.received, &new.duplicates, &new.committed] {
                drop(counters.get_or_create(&[("source", sender.to_string())]));
            }
        }
        for reason in Rejection::ALL {
            drop(new.rejected.get_or_create(&[("reason", reason.as_str().to_owned())]));
        }
        new
    }
}

impl Metrics {
    /// Every metric that there can be, with a target named `TARGET`, for the documentation.
    pub fn example() -> String {
        let new = Self::default();
        new.add_target("TARGET");
        for gauge in [&new.certificate_expiry, &new.self_check, &new.last_poll] {
            gauge.set(Some(0));
        }
        let usage = Usage { free_bytes: Some(0), ..Usage::default() };
        new.text(&InboxSnapshot { usage, ..InboxSnapshot::default() }, 0, Timestamp::UNIX_EPOCH)
    }

    fn register(&mut self) {
        let registry = &mut self.registry;
        registry.register(
            "received_deliveries",
            "Deliveries stored, as events or in quarantine",
            self.received.clone(),
        );
        registry.register("duplicate_events", "Events received again, and not stored twice", self.duplicates.clone());
        registry.register("rejected_calls", "Requests that were rejected", self.rejected.clone());
        registry.register("committed_events", "Events stored", self.committed.clone());
        registry.register("forwarded", "Forwards that a target accepted", self.forwarded.clone());
        registry.register("failed_forwards", "Attempts to forward that failed", self.failed.clone());
        registry.register("dead_forwards", "Forwards dead-lettered", self.dead.clone());
        let filters = "Events that the filter of a target failed over";
        registry.register("failed_filters", filters, self.failed_filters.clone());
        registry.register("dropped_log_lines", "Lines of the log that nothing read", self.dropped_lines.clone());
        registry.register("open_connections", "Connections that are open", self.connections.clone());
        registry.register("backlog_forwards", "Pending forwards", self.pending.clone());
        registry.register("target_backlog_forwards", "Pending forwards of a target", self.target_backlog.clone());
        registry.register("dead_letters", "Dead-lettered forwards in the inbox", self.dead_letters.clone());
        registry.register("quarantined_deliveries", "Deliveries in quarantine", self.quarantined.clone());
        let build: Gauges = Family::default();
        build.get_or_create(&[("version", env!("CARGO_PKG_VERSION").to_owned())]).set(1);
        registry.register("build_info", "The version of this receiver; always 1", build);
        registry.register("target_paused", "Whether forwarding to a target is paused", self.target_paused.clone());
        let size = "Size of the inbox with its log";
        registry.register_with_unit("store_size", size, Unit::Bytes, self.store_size.clone());
        registry.register_collector(Box::new(self.disk_free.clone()));
        registry.register_collector(Box::new(self.certificate_expiry.clone()));
        registry.register_collector(Box::new(self.self_check.clone()));
        registry.register("polled_events", "Events stored that no webhook brought", self.polled.clone());
        registry.register_collector(Box::new(self.last_poll.clone()));
        let oldest = "Age of the oldest pending forward";
        registry.register_with_unit("backlog_oldest", oldest, Unit::Seconds, self.oldest.clone());
        registry.register_with_unit("answer", "Time from request to response", Unit::Seconds, self.answer.clone());
        let commit = "Time to commit a group of deliveries";
        registry.register_with_unit("commit", commit, Unit::Seconds, self.commit.clone());
        registry.register_with_unit("forward", "Time of an attempt to forward", Unit::Seconds, self.forward.clone());
    }

    /// The targets of this run. A panic while they are locked leaves them as they are.
    fn targets(&self) -> MutexGuard<'_, BTreeMap<String, bool>> {
        self.targets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Drops the series of all targets that tell how they are now.
    pub(super) fn forget_targets(&self) {
        self.targets().clear();
    }

    /// Makes the series of a target, at zero.
    pub(super) fn add_target(&self, target: &str) {
        let label = [("target", target.to_owned())];
        for counters in [&self.forwarded, &self.failed, &self.dead, &self.failed_filters] {
            drop(counters.get_or_create(&label));
        }
        drop(self.forward.get_or_create(&label));
        self.targets().insert(target.to_owned(), false);
    }

    pub(super) fn rejected(&self, why: Rejection) {
        self.rejected.get_or_create(&[("reason", why.as_str().to_owned())]).inc();
    }

    pub(super) fn stored(&self, sender: Sender, deliveries: usize, new: usize, duplicates: usize) {
        let label = [("source", sender.to_string())];
        self.received.get_or_create(&label).inc_by(deliveries as u64);
        self.committed.get_or_create(&label).inc_by(new as u64);
        self.duplicates.get_or_create(&label).inc_by(duplicates as u64);
    }

    pub(super) fn answered(&self, status: u16, took: Duration) {
        match status {
            200 => self.answer_ok.observe(took.as_secs_f64()),
            other => self.answer.get_or_create(&[("status", other.to_string())]).observe(took.as_secs_f64()),
        }
    }

    pub(super) fn committed(&self, took: Duration) {
        self.commit.observe(took.as_secs_f64());
    }

    pub(super) fn opened(&self) {
        self.connections.inc();
    }

    pub(super) fn closed(&self) {
        self.connections.dec();
    }

    pub(super) fn forwarded(&self, target: &str, took: Duration) {
        self.forwarded.get_or_create(&[("target", target.to_owned())]).inc();
        self.forward.get_or_create(&[("target", target.to_owned())]).observe(took.as_secs_f64());
    }

    pub(super) fn failed(&self, target: &str, dead: bool, took: Duration) {
        self.failed.get_or_create(&[("target", target.to_owned())]).inc();
        self.forward.get_or_create(&[("target", target.to_owned())]).observe(took.as_secs_f64());
        if dead {
            self.dead.get_or_create(&[("target", target.to_owned())]).inc();
        }
    }

    /// Notes whether a target of this run is paused because it fails.
    pub(super) fn paused(&self, target: &str, paused: bool) {
        if let Some(known) = self.targets().get_mut(target) {
            *known = paused;
        }
    }

    /// Notes when the certificate that is served with expires, if there is one.
    pub(super) fn certificate_expires(&self, at: Option<Timestamp>) {
        self.certificate_expiry.set(at.map(Timestamp::as_second));
    }

    /// Notes whether the receiver is reached by its public URL, if that is known.
    pub(super) fn self_checked(&self, passing: Option<bool>) {
        self.self_check.set(passing.map(i64::from));
    }

    /// Notes a round of polling: when it ended, if it ended well, and how many events it stored.
    pub(super) fn polled(&self, ended_well: Option<Timestamp>, stored: u64) {
        self.polled.inc_by(stored);
        if let Some(at) = ended_well {
            self.last_poll.set(Some(at.as_second()));
        }
    }

    pub(super) fn filter_failed(&self, target: &str) {
        self.failed_filters.get_or_create(&[("target", target.to_owned())]).inc();
    }

    pub(super) fn expired(&self, target: &str, count: u64) {
        self.dead.get_or_create(&[("target", target.to_owned())]).inc_by(count);
    }

    /// All metrics as `OpenMetrics` text, with what is known of the inbox.
    pub(super) fn text(&self, inbox: &InboxSnapshot, dropped_lines: u64, now: Timestamp) -> String {
        let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let InboxSnapshot { backlog, targets, usage } = inbox;
        self.pending.set(number(backlog.pending));
        self.dead_letters.set(number(backlog.dead));
        self.oldest.set(backlog.oldest_pending.map_or(0, |oldest| now.duration_since(oldest).as_secs().max(0)));
        self.quarantined.set(number(usage.quarantined));
        self.store_size.set(number(usage.bytes));
        self.disk_free.set(usage.free_bytes.map(number));
        self.dropped_lines.inc_by(dropped_lines.saturating_sub(self.dropped_lines.get()));
        // Held until all is encoded: who asks at the same time would find half of the series gone.
        let of_this_run = self.targets();
        self.target_backlog.clear();
        self.target_paused.clear();
        for (target, paused) in of_this_run.iter() {
            let label = [("target", target.clone())];
            drop(self.target_backlog.get_or_create(&label));
            self.target_paused.get_or_create(&label).set((*paused).into());
        }
        for record in targets {
            let label = [("target", record.name.clone())];
            if record.pending > 0 {
                self.target_backlog.get_or_create(&label).inc_by(number(record.pending));
            }
            if record.paused_at.is_some() && of_this_run.contains_key(&record.name) {
                self.target_paused.get_or_create(&label).set(1);
            }
        }
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}
