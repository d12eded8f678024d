//! Readiness and metrics.

use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hyper::StatusCode;
use jiff::Timestamp;
use serde_json::json;

use super::metrics::Metrics;
use super::response::{self, FullResponse};
use super::writer::Writer;
use crate::domain::whole_second;
use crate::error::Result;
use crate::store::worker::StoreWorker;
use crate::store::{Backlog, Inbox};

/// The media type of Prometheus's text in the form of `OpenMetrics`.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// How long a snapshot is served: a new one costs a commit, and anyone may ask.
const GOOD_FOR: Duration = Duration::from_millis(500);

/// Checks the inbox on a thread of its own, so that deliveries do not wait for it.
pub(super) struct HealthCheck {
    inbox: StoreWorker<dyn Inbox>,
    /// The size of a delivery that there has to be room for, in bytes.
    max_body: u64,
    last: tokio::sync::Mutex<Option<(Instant, Snapshot)>>,
}

/// The result of a check.
#[derive(Clone, Default)]
struct Snapshot {
    writable: bool,
    backlog: Option<Backlog>,
}

impl HealthCheck {
    /// Starts the thread that owns the inbox; it ends when this is dropped.
    pub(super) fn start(inbox: Box<dyn Inbox>, max_body: u64) -> Result<(Self, JoinHandle<()>)> {
        let (inbox, thread) = StoreWorker::start("inbox-health", inbox)?;
        Ok((Self { inbox, max_body, last: tokio::sync::Mutex::default() }, thread))
    }

    /// A recent snapshot, taken now if there is none. Concurrent requests share it.
    async fn snapshot(&self, writer: &Writer) -> Snapshot {
        let mut last = self.last.lock().await;
        if let Some((_, snapshot)) = last.as_ref().filter(|(at, _)| at.elapsed() < GOOD_FOR) {
            return snapshot.clone();
        }
        let writable = writer.probe(self.max_body).await.is_ok_and(|has_room| has_room);
        let backlog = self.backlog().await;
        if let Err(error) = &backlog {
            tracing::debug!("the backlog could not be counted: {error}");
        }
        let snapshot = Snapshot { writable, backlog: backlog.ok() };
        *last = Some((Instant::now(), snapshot.clone()));
        snapshot
    }

    async fn backlog(&self) -> Result<Backlog> {
        self.inbox.run(|inbox| inbox.backlog()).await
    }

    /// Whether deliveries can be stored, and the backlog.
    pub(super) async fn ready(&self, writer: &Writer) -> FullResponse {
        let Snapshot { writable, backlog } = self.snapshot(writer).await;
        let ready = writable && backlog.is_some();
        let backlog = backlog.unwrap_or_default();
        let now = Timestamp::now();
        let age = |time: Timestamp| now.duration_since(time).as_secs().max(0);
        let body = json!({
            "ready": ready,
            "store_writable": writable,
            "backlog": backlog.pending,
            "dead_letters": backlog.dead,
            "oldest_undelivered_seconds": backlog.oldest_pending.map(age),
            "last_event_at": backlog.last_event.map(|time| whole_second(time).to_string()),
        });
        if ready {
            response::json(StatusCode::OK, &body)
        } else {
            let mut answer = response::unavailable("");
            *answer.body_mut() = http_body_util::Full::new(body.to_string().into());
            answer
        }
    }

    pub(super) async fn metrics(&self, metrics: &Metrics, writer: &Writer) -> FullResponse {
        match self.snapshot(writer).await.backlog {
            Some(backlog) => response::text(StatusCode::OK, OPEN_METRICS, metrics.text(&backlog, Timestamp::now())),
            None => response::unavailable("the inbox cannot be read"),
        }
    }
}
