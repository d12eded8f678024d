//! What others may look at: readiness and metrics.

use std::sync::{Arc, Mutex, PoisonError};

use hyper::StatusCode;
use jiff::Timestamp;
use serde_json::json;

use super::answer::{self, Answer};
use super::metrics::Metrics;
use super::writer::Writer;
use crate::error::{Error, ErrorKind, Result};
use crate::store::{Backlog, Inbox};

/// The media type of Prometheus's text in the form of `OpenMetrics`.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Looks at the inbox beside the writer, so that nobody waits who brings something.
#[derive(Clone)]
pub(super) struct Observer(Arc<Mutex<Box<dyn Inbox>>>);

impl Observer {
    pub(super) fn new(inbox: Box<dyn Inbox>) -> Self {
        Self(Arc::new(Mutex::new(inbox)))
    }

    async fn backlog(&self) -> Result<Backlog> {
        let inbox = Arc::clone(&self.0);
        let look = move || inbox.lock().unwrap_or_else(PoisonError::into_inner).backlog();
        let looked = tokio::task::spawn_blocking(look).await;
        Ok(looked.map_err(|error| Error::new(ErrorKind::Other, error.to_string()))??)
    }

    /// Whether deliveries can be stored, and what waits to be handed on.
    pub(super) async fn ready(&self, writer: &Writer) -> Answer {
        let writable = writer.probe().await;
        let backlog = self.backlog().await;
        let ready = writable.is_ok() && backlog.is_ok();
        let backlog = backlog.unwrap_or_default();
        let now = Timestamp::now();
        let age = |time: Timestamp| now.duration_since(time).as_secs().max(0);
        let body = json!({
            "ready": ready,
            "store_writable": writable.is_ok(),
            "backlog": backlog.pending,
            "dead_letters": backlog.dead,
            "oldest_undelivered_seconds": backlog.oldest_pending.map(age),
            "last_event_at": backlog.last_event.map(|time| time.round(jiff::Unit::Second).unwrap_or(time).to_string()),
        });
        if ready {
            answer::json(StatusCode::OK, &body)
        } else {
            let mut answer = answer::unavailable("");
            *answer.body_mut() = http_body_util::Full::new(body.to_string().into());
            answer
        }
    }

    pub(super) async fn metrics(&self, metrics: &Metrics) -> Answer {
        match self.backlog().await {
            Ok(backlog) => answer::text(StatusCode::OK, OPEN_METRICS, metrics.text(&backlog, Timestamp::now())),
            Err(error) => {
                tracing::warn!("the backlog could not be counted: {error}");
                answer::unavailable("the inbox cannot be read")
            }
        }
    }
}
