//! Where events are forwarded to.

use std::future::Future;
use std::sync::Arc;

use super::Policy;
use super::exec::ExecTarget;
use super::http::HttpTarget;
use super::response::TargetAnswer;
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
}

/// What a forwarder delivers to.
pub(in crate::receiver) trait Deliver: Send + Sync + 'static {
    /// Its name for people, without secrets.
    fn shown(&self) -> &str;

    /// Whether its filter matches the events of a forward.
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
        let (Some(filter), Some(event)) = (self.filter.clone(), forward.events.first()) else { return Ok(true) };
        let json = forward.event_json(event).to_vec();
        // It waits for the thread of the filter.
        let matching = tokio::task::spawn_blocking(move || filter.matches(&json)).await;
        matching.map_err(|error| Error::new(ErrorKind::Other, error.to_string()))?
    }

    async fn deliver(&self, forward: &Forward) -> TargetAnswer {
        match &self.kind {
            TargetKind::Http(http) => http.deliver(forward).await,
            TargetKind::Exec(exec) => exec.deliver(forward).await.into(),
        }
    }
}
