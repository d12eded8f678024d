//! Changes of many events or deliveries at once, which are watched and cancelled.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::store::TargetId;

/// How many jobs are remembered; the oldest that has ended goes first.
const KEPT: usize = 50;

/// What is done with each of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum JobAction {
    /// What a target did not accept is queued again.
    Retry,
    /// It is forwarded to this target, whatever became of it before.
    Forward(TargetId, String),
    /// It is deleted.
    Delete,
    /// A delivery in quarantine is read again.
    Reread,
}

impl JobAction {
    /// What is done, for people.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Retry => "Retrying".to_owned(),
            Self::Forward(_, name) => format!("Forwarding to {name}"),
            Self::Delete => "Deleting".to_owned(),
            Self::Reread => "Reading again".to_owned(),
        }
    }

    /// What it is done with, and what those are then that it was done to, for people.
    pub(super) fn nouns(&self) -> (&'static str, &'static str) {
        match self {
            Self::Retry | Self::Forward(..) | Self::Delete => ("events", "changed"),
            Self::Reread => ("deliveries", "read"),
        }
    }
}

/// How far a job is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum JobState {
    /// It is under way.
    Running,
    /// All was done.
    Done,
    /// Somebody ended it.
    Cancelled,
    /// It could not go on.
    Failed(String),
}

/// A change of many events or deliveries.
pub(super) struct BulkJob {
    pub(super) action: JobAction,
    /// How many are meant.
    pub(super) total: u64,
    looked_at: AtomicU64,
    changed: AtomicU64,
    is_cancelled: AtomicBool,
    state: Mutex<JobState>,
}

impl BulkJob {
    fn new(action: JobAction, total: u64) -> Self {
        Self {
            action,
            total,
            looked_at: AtomicU64::new(0),
            changed: AtomicU64::new(0),
            is_cancelled: AtomicBool::new(false),
            state: Mutex::new(JobState::Running),
        }
    }

    /// How many were looked at, and how many were changed.
    pub(super) fn progress(&self) -> (u64, u64) {
        (self.looked_at.load(Ordering::Relaxed), self.changed.load(Ordering::Relaxed))
    }

    pub(super) fn state(&self) -> JobState {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends it after the step that is under way.
    pub(super) fn cancel(&self) {
        self.is_cancelled.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_cancelled(&self) -> bool {
        self.is_cancelled.load(Ordering::Relaxed)
    }

    /// Notes that so many more were looked at, and so many of them changed.
    pub(super) fn advance(&self, looked_at: u64, changed: u64) {
        self.looked_at.fetch_add(looked_at, Ordering::Relaxed);
        self.changed.fetch_add(changed, Ordering::Relaxed);
    }

    pub(super) fn end(&self, state: JobState) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }
}

/// The jobs, by their numbers.
#[derive(Default)]
pub(super) struct Jobs(Mutex<(u64, BTreeMap<u64, Arc<BulkJob>>)>);

impl Jobs {
    pub(super) fn get(&self, number: u64) -> Option<Arc<BulkJob>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1.get(&number).cloned()
    }

    /// Ends all of them.
    pub(super) fn cancel_all(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1.values().for_each(|job| job.cancel());
    }

    /// Begins one; returns it with its number.
    pub(super) fn begin(&self, action: JobAction, total: u64) -> (u64, Arc<BulkJob>) {
        let job = Arc::new(BulkJob::new(action, total));
        let mut jobs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        jobs.0 += 1;
        let number = jobs.0;
        jobs.1.insert(number, Arc::clone(&job));
        if jobs.1.len() > KEPT
            && let Some(oldest) =
                jobs.1.iter().find(|(_, job)| job.state() != JobState::Running).map(|(number, _)| *number)
        {
            jobs.1.remove(&oldest);
        }
        (number, job)
    }
}
