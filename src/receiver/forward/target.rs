//! Where events are forwarded to.

use std::future::Future;

use super::exec::ExecTarget;
use super::http::HttpTarget;
use super::response::TargetAnswer;
use crate::store::{Forward, TargetName};

/// A target, and which events are forwarded to it.
pub struct Target {
    /// Identifies the target in the inbox.
    pub name: TargetName,
    /// Only events of these types; all if empty.
    pub types: Vec<String>,
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
    /// Whether the events of a delivery are forwarded together; a command or a template gets one at a time.
    pub fn together(&self) -> bool {
        matches!(&self.kind, TargetKind::Http(http) if !http.is_for_one_event())
    }
}

/// What a forwarder delivers to.
pub(in crate::receiver) trait Deliver: Send + Sync + 'static {
    /// Its name for people, without secrets.
    fn shown(&self) -> &str;

    /// Delivers the events of a forward.
    fn deliver(&self, forward: &Forward) -> impl Future<Output = TargetAnswer> + Send;
}

impl Deliver for Target {
    fn shown(&self) -> &str {
        &self.name.shown
    }

    async fn deliver(&self, forward: &Forward) -> TargetAnswer {
        match &self.kind {
            TargetKind::Http(http) => http.deliver(forward).await,
            TargetKind::Exec(exec) => exec.deliver(forward).await.into(),
        }
    }
}
