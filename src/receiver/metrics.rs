//! Counters, gauges and histograms for Prometheus.

use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use super::rejection::Rejection;
use crate::domain::event::Sender;
use crate::store::Backlog;

type MetricLabel = [(&'static str, String); 1];
type Counters = Family<MetricLabel, Counter>;
type Histograms = Family<MetricLabel, Histogram, fn() -> Histogram>;

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
    connections: Gauge,
    pending: Gauge,
    dead_letters: Gauge,
    oldest: Gauge,
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
            connections: Gauge::default(),
            pending: Gauge::default(),
            dead_letters: Gauge::default(),
            oldest: Gauge::default(),
            answer: histograms(),
            answer_ok: seconds(),
            commit: seconds(),
            forward: histograms(),
        };
        let registry = &mut new.registry;
        registry.register("received_deliveries", "Deliveries stored, as events or in quarantine", new.received.clone());
        registry.register("duplicate_events", "Events received again, and not stored twice", new.duplicates.clone());
        registry.register("rejected_calls", "Requests that were rejected", new.rejected.clone());
        registry.register("committed_events", "Events stored", new.committed.clone());
        registry.register("forwarded", "Forwards that a target accepted", new.forwarded.clone());
        registry.register("failed_forwards", "Attempts to forward that failed", new.failed.clone());
        registry.register("dead_forwards", "Forwards dead-lettered", new.dead.clone());
        registry.register("open_connections", "Connections that are open", new.connections.clone());
        registry.register("backlog_forwards", "Pending forwards", new.pending.clone());
        registry.register("dead_letters", "Dead-lettered forwards in the inbox", new.dead_letters.clone());
        let oldest = "Age of the oldest pending forward";
        registry.register_with_unit("backlog_oldest", oldest, Unit::Seconds, new.oldest.clone());
        registry.register_with_unit("answer", "Time from request to response", Unit::Seconds, new.answer.clone());
        registry.register_with_unit(
            "commit",
            "Time to commit a group of deliveries",
            Unit::Seconds,
            new.commit.clone(),
        );
        registry.register_with_unit("forward", "Time of an attempt to forward", Unit::Seconds, new.forward.clone());
        new.answer_ok = new.answer.get_or_create_owned(&[("status", "200".to_owned())]);
        for sender in Sender::ALL {
            for counters in [&new.received, &new.duplicates, &new.committed] {
                // Created at the start: a rate needs a first value of zero.
                drop(counters.get_or_create(&[("source", sender.to_string())]));
            }
        }
        new
    }
}

impl Metrics {
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

    pub(super) fn expired(&self, target: &str, count: u64) {
        self.dead.get_or_create(&[("target", target.to_owned())]).inc_by(count);
    }

    /// All metrics as text, with the backlog.
    pub(super) fn text(&self, backlog: &Backlog, now: jiff::Timestamp) -> String {
        self.pending.set(i64::try_from(backlog.pending).unwrap_or(i64::MAX));
        self.dead_letters.set(i64::try_from(backlog.dead).unwrap_or(i64::MAX));
        self.oldest.set(backlog.oldest_pending.map_or(0, |oldest| now.duration_since(oldest).as_secs().max(0)));
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}
