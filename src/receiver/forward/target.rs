//! Where events are forwarded to.

use std::future::Future;
use std::time::Duration;

use super::exec::ExecTarget;
use super::http::HttpTarget;
use crate::store::{Forward, TargetName};

/// A target and what goes to it.
pub struct Target {
    /// What the inbox knows it by.
    pub name: TargetName,
    /// Only events of these types; all when there is none.
    pub types: Vec<String>,
    /// What it is.
    pub kind: TargetKind,
}

/// The kinds of target.
pub enum TargetKind {
    /// An endpoint.
    Http(Box<HttpTarget>),
    /// A command.
    Exec(ExecTarget),
}

/// What came of an attempt.
#[derive(Debug)]
pub(in crate::receiver) enum TargetResponse {
    /// The target has it.
    Accepted,
    /// It does not, or did not say so.
    Failed {
        /// Why.
        error: String,
        /// What that says about the target.
        scope: FailureScope,
    },
}

/// What a failure says about a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::receiver) enum FailureScope {
    /// It is not well: others will fail too.
    Target {
        /// How long it asked to be left alone.
        pause: Option<Duration>,
        /// Whether it answered at all.
        reached: bool,
    },
    /// It answers, but does not take this event.
    Event,
    /// It wants nothing any more.
    Gone,
}

impl FailureScope {
    /// Whether the target was reached and said no, without asking for a pause.
    pub(super) fn is_an_answer(self) -> bool {
        matches!(self, Self::Event | Self::Target { pause: None, reached: true })
    }
}

impl Target {
    /// Whether the events of a delivery go together: a command or a message is for one event.
    pub fn together(&self) -> bool {
        matches!(&self.kind, TargetKind::Http(http) if !http.is_for_one_event())
    }
}

/// What a forwarder delivers to.
pub(in crate::receiver) trait Deliver: Send + Sync + 'static {
    /// What people see of it.
    fn shown(&self) -> &str;

    /// Delivers the events of a forward.
    fn deliver(&self, forward: &Forward) -> impl Future<Output = TargetResponse> + Send;
}

impl Deliver for Target {
    fn shown(&self) -> &str {
        &self.name.shown
    }

    async fn deliver(&self, forward: &Forward) -> TargetResponse {
        match &self.kind {
            TargetKind::Http(http) => http.deliver(forward).await,
            TargetKind::Exec(exec) => exec.deliver(forward).await,
        }
    }
}
