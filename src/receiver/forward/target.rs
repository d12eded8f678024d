//! Where events are forwarded to.

use std::future::Future;
use std::sync::Arc;

use super::Policy;
use super::exec::ExecTarget;
use super::http::HttpTarget;
use super::response::{TargetAnswer, TargetResponse};
use crate::domain::jq::JqFilter;
use crate::error::{Error, ErrorKind, Result};
use crate::store::{Forward, TargetName};

/// A target, and which events are forwarded to it.
pub struct Target {
    /// Identifies the target in the inbox.
    pub name: TargetName,
    /// Only events of these types; all if empty.
    pub types: Vec<String>,
    /// Only events that this expression matches; events are forwarded one by one then.
    pub filter: Option<Arc<JqFilter>>,
    /// How events are forwarded to it.
    pub policy: Policy,
    /// What kind of target it is.
    pub kind: TargetKind,
}

/// The kinds of target.
pub enum TargetKind {
    /// An endpoint.
    Http(Box<HttpTarget>),
    /// A command.
    Exec(ExecTarget),
}

impl Target {
    /// Whether the events of a delivery are forwarded together; a command, a template or a filter gets one at a time.
    pub fn together(&self) -> bool {
        self.filter.is_none() && matches!(&self.kind, TargetKind::Http(http) if !http.is_for_one_event())
    }

    /// Whether the filter matches this event; always without one.
    async fn matches(&self, json: &[u8]) -> Result<bool> {
        let Some(filter) = self.filter.clone() else { return Ok(true) };
        let json = json.to_vec();
        // It waits for the thread of the filter.
        let matching = tokio::task::spawn_blocking(move || filter.matches(&json)).await;
        matching.map_err(|error| Error::new(ErrorKind::Other, error.to_string()))?
    }

    async fn deliver_at_once(&self, forward: &Forward) -> TargetAnswer {
        match &self.kind {
            TargetKind::Http(http) => http.deliver(forward).await,
            TargetKind::Exec(exec) => exec.deliver(forward).await.into(),
        }
    }
}

/// What a forwarder delivers to.
pub(in crate::receiver) trait Deliver: Send + Sync + 'static {
    /// Its name for people, without secrets.
    fn shown(&self) -> &str;

    /// Whether its filter matches one of the events of a forward.
    ///
    /// # Errors
    /// When it fails over them.
    fn wants(&self, forward: &Forward) -> impl Future<Output = Result<bool>> + Send;

    /// Delivers the events of a forward.
    fn deliver(&self, forward: &Forward) -> impl Future<Output = TargetAnswer> + Send;
}

impl Deliver for Target {
    fn shown(&self) -> &str {
        &self.name.shown
    }

    async fn wants(&self, forward: &Forward) -> Result<bool> {
        for event in &forward.events {
            if self.matches(forward.event_json(event)).await? {
                return Ok(true);
            }
        }
        Ok(forward.events.is_empty())
    }

    async fn deliver(&self, forward: &Forward) -> TargetAnswer {
        if self.together() || forward.events.len() <= 1 {
            return self.deliver_at_once(forward).await;
        }
        // Queued when the target took the events of a delivery together, as before a change of its configuration.
        let mut one = Forward { whole: false, ..forward.clone() };
        let mut last = TargetAnswer::from(TargetResponse::Accepted);
        for event in &forward.events {
            // What the filter fails over is forwarded.
            if !self.matches(forward.event_json(event)).await.unwrap_or(true) {
                continue;
            }
            one.events = vec![event.clone()];
            last = self.deliver_at_once(&one).await;
            if !matches!(last.outcome, TargetResponse::Accepted) {
                break;
            }
        }
        last
    }
}
