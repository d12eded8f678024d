//! What became of hooks that were to be removed.

use serde::Serialize;

use crate::api::{CarriedOut, Failure};
use crate::domain::{HookId, HookRecord, HookStatus};
use crate::error::Error;

/// What became of a hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RemovalOutcome {
    /// The server removed it.
    Removed,
    /// It was not there.
    Missing,
    /// It is as it was.
    Failed,
    /// Whether it is still there is not known.
    Unknown,
}

impl RemovalOutcome {
    /// What a failed request means for its hook.
    pub(super) fn of(failure: &Failure) -> Self {
        match failure.carried_out {
            CarriedOut::No => Self::Failed,
            CarriedOut::Maybe => Self::Unknown,
        }
    }
}

/// What is known of a hook that was to be removed.
#[derive(Debug)]
pub enum RemovalSubject {
    /// Its row, as it is now.
    Recorded(Box<HookRecord>),
    /// The number of a hook that the registry of this installation does not hold, and what is known of its status.
    Unrecorded(HookId, HookStatus),
}

/// A hook that was to be removed.
#[derive(Debug)]
pub struct RemovedHook {
    /// The hook.
    pub subject: RemovalSubject,
    /// What became of it.
    pub outcome: RemovalOutcome,
    /// What went wrong with it.
    pub error: Option<Error>,
    /// The place of its target among the others.
    pub index: usize,
}

/// What became of all hooks that were to be removed.
#[derive(Debug)]
pub struct Removals {
    /// Each of them, in the order of the targets; after an interruption those that had an end by then.
    pub hooks: Vec<RemovedHook>,
    /// The interruption, if there was one, and what it left undone.
    pub interruption: Vec<Error>,
}

impl Removals {
    /// The hooks, and all that went wrong: an interruption first.
    pub fn split(self) -> (Vec<RemovedHook>, Vec<Error>) {
        let (mut hooks, mut errors) = (self.hooks, self.interruption);
        errors.extend(hooks.iter_mut().filter_map(|hook| hook.error.take()));
        (hooks, errors)
    }
}
