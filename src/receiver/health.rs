//! Readiness and metrics.

use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hyper::{HeaderMap, StatusCode};
use jiff::Timestamp;
use serde_json::json;
use tokio::sync::watch;

use super::exposition;
use super::metrics::{InboxSnapshot, Metrics};
use super::response::{self, FullResponse};
use super::self_check::SelfCheckState;
use super::writer::Writer;
use crate::domain::whole_second;
use crate::error::Result;
use crate::store::worker::StoreWorker;
use crate::store::{Inbox, StoreError};

/// How many lines of the log were dropped so far.
pub type DroppedLines = Box<dyn Fn() -> u64 + Send + Sync>;

/// How long a snapshot is served: a new one costs a commit, and anyone may ask.
const GOOD_FOR: Duration = Duration::from_millis(500);

/// Checks the inbox on a thread of its own, so that deliveries do not wait for it.
pub(super) struct HealthCheck {
    inbox: StoreWorker<dyn Inbox>,
    dropped_lines: DroppedLines,
    /// The size of a delivery that there has to be room for, in bytes.
    max_body: u64,
    /// Whether deliveries arrive, if that is checked.
    self_check: Option<watch::Receiver<SelfCheckState>>,
    last: tokio::sync::Mutex<Option<(Instant, Snapshot)>>,
}

/// The result of a check.
#[derive(Clone, Default)]
struct Snapshot {
    writable: bool,
    inbox: Option<InboxSnapshot>,
    /// See [`crate::store::Events::warnings`].
    warnings: Vec<String>,
}

impl HealthCheck {
    /// Starts the thread that owns the inbox; it ends when this is dropped.
    pub(super) fn start(
        inbox: Box<dyn Inbox>,
        dropped_lines: DroppedLines,
        max_body: u64,
        self_check: Option<watch::Receiver<SelfCheckState>>,
    ) -> Result<(Self, JoinHandle<()>)> {
        let (inbox, thread) = StoreWorker::start("inbox-health", inbox)?;
        Ok((Self { inbox, dropped_lines, max_body, self_check, last: tokio::sync::Mutex::default() }, thread))
    }

    /// A recent snapshot, taken now if there is none. Concurrent requests share it.
    async fn snapshot(&self, writer: &Writer) -> Snapshot {
        let mut last = self.last.lock().await;
        if let Some((_, snapshot)) = last.as_ref().filter(|(at, _)| at.elapsed() < GOOD_FOR) {
            return snapshot.clone();
        }
        let writable = writer.probe(self.max_body).await.is_ok_and(|has_room| has_room);
        let inbox = self.read_inbox().await;
        if let Err(error) = &inbox {
            tracing::debug!("the backlog could not be counted: {error}");
        }
        let (inbox, warnings) = inbox.map_or_else(|_| (None, Vec::new()), |(inbox, warnings)| (Some(inbox), warnings));
        let snapshot = Snapshot { writable, inbox, warnings };
        *last = Some((Instant::now(), snapshot.clone()));
        snapshot
    }

    async fn read_inbox(&self) -> Result<(InboxSnapshot, Vec<String>)> {
        let read = self.inbox.run(|inbox| {
            let (backlog, targets) = (inbox.backlog()?, inbox.target_records()?);
            Ok::<_, StoreError>((InboxSnapshot { backlog, targets, usage: inbox.usage()? }, inbox.warnings()?))
        });
        read.await
    }

    /// How many dead letters each target has, unless the inbox cannot be read.
    pub(super) async fn dead_letters(&self, writer: &Writer) -> Option<Vec<(String, u64)>> {
        let targets = self.snapshot(writer).await.inbox?.targets;
        Some(targets.into_iter().map(|target| (target.name, target.dead)).collect())
    }

    /// Whether deliveries can be stored, and the backlog.
    pub(super) async fn ready(&self, writer: &Writer) -> FullResponse {
        let Snapshot { writable, inbox, warnings } = self.snapshot(writer).await;
        let ready = writable && inbox.is_some();
        let backlog = inbox.unwrap_or_default().backlog;
        let now = Timestamp::now();
        let age = |time: Timestamp| now.duration_since(time).as_secs().max(0);
        let mut body = json!({
            "ready": ready,
            "store_writable": writable,
            "backlog": backlog.pending,
            "dead_letters": backlog.dead,
            "oldest_undelivered_seconds": backlog.oldest_pending.map(age),
            "last_event_at": backlog.last_event.map(|time| whole_second(time).to_string()),
        });
        if !warnings.is_empty() {
            body["warnings"] = warnings.into();
        }
        // What stands before the receiver is not made ready by turning away from it: this is a detail.
        if let Some(state) = &self.self_check {
            body["self_check"] = state.borrow().details();
        }
        if ready {
            response::json(StatusCode::OK, &body)
        } else {
            let mut answer = response::unavailable("");
            *answer.body_mut() = http_body_util::Full::new(body.to_string().into());
            answer
        }
    }

    pub(super) async fn metrics(&self, metrics: &Metrics, writer: &Writer, headers: &HeaderMap) -> FullResponse {
        match self.snapshot(writer).await.inbox {
            Some(inbox) => {
                let text = metrics.text(&inbox, (self.dropped_lines)(), Timestamp::now());
                let (content_type, text) = exposition::accepted(headers, text);
                response::text(StatusCode::OK, content_type, text)
            }
            None => response::unavailable("the inbox cannot be read"),
        }
    }
}
