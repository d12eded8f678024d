//! What the server says about a removal.

use super::outcome::RemovalOutcome;
use super::target::RemovalTarget;
use crate::api::{AuthenticatedApi, Failure, Unsubscribed};
use crate::domain::{HookId, RowId};
use crate::store::Removal;

/// The answer to a request.
pub(super) type RemovalResponse = Result<Unsubscribed, Failure>;

/// What the server said about a target.
pub(super) struct AnsweredRemoval {
    /// The target's place among the others.
    pub(super) index: usize,
    /// The target.
    pub(super) target: RemovalTarget,
    /// What was said.
    pub(super) answer: RemovalResponse,
}

/// Asks the server to remove a hook; gives the place of its target back with the answer.
pub(super) async fn ask(api: &AuthenticatedApi, index: usize, id: Option<HookId>) -> (usize, RemovalResponse) {
    let answer = match id {
        Some(id) => api.unsubscribe(id).await,
        // Rows without an id never get here: there is nothing to ask for.
        None => Ok(Unsubscribed::NotThere),
    };
    (index, answer)
}

impl AnsweredRemoval {
    /// Of a target, and what the server says about it.
    pub(super) fn of(index: usize, target: RemovalTarget, answer: RemovalResponse) -> Self {
        let answer = match (&target, answer) {
            // An earlier removal of unknown outcome succeeded.
            (RemovalTarget::Resumed(..), Ok(Unsubscribed::NotThere)) => Ok(Unsubscribed::Removed),
            (_, answer) => answer,
        };
        Self { index, target, answer }
    }

    /// Whether the server limited the rate (429).
    pub(super) fn is_too_fast(&self) -> bool {
        self.answer.as_ref().is_err_and(|failure| failure.error.http_status() == Some(429))
    }

    /// What to record of it, if it has a row that is waiting for that.
    pub(super) fn end(&self) -> Option<(RowId, Removal)> {
        let row = self.target.row()?;
        let resumed = matches!(self.target, RemovalTarget::Resumed(..));
        let end = match &self.answer {
            Ok(Unsubscribed::Removed) => Removal::Removed,
            Ok(Unsubscribed::NotThere) => Removal::Gone,
            // A rejection of this request does not show that an earlier one was not carried out.
            Err(failure) if resumed || RemovalOutcome::of(failure) == RemovalOutcome::Unknown => {
                Removal::InDoubt(failure.error.to_string())
            }
            Err(_) => Removal::Refused,
        };
        Some((row, end))
    }
}
