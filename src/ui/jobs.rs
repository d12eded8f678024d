//! Changes of many events at once: on the server, in steps that keep nobody waiting, to be watched and cancelled.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;

use super::PageState;
use crate::error::Result;
use crate::store::{EventPage, EventSelection, EventSeq, Inbox, StoreError, TargetId};

/// How many events a step changes.
const STEP: u64 = 100;

/// How many jobs are remembered; the oldest that has ended goes first.
const KEPT: usize = 50;

/// What is done with each event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum JobAction {
    /// What a target did not accept is queued again.
    Retry,
    /// It is forwarded to this target, whatever became of it before.
    Forward(TargetId, String),
    /// It is deleted.
    Delete,
}

impl JobAction {
    /// What is done, for people.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Retry => "Retrying".to_owned(),
            Self::Forward(_, name) => format!("Forwarding to {name}"),
            Self::Delete => "Deleting".to_owned(),
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

/// A change of many events.
pub(super) struct BulkJob {
    pub(super) action: JobAction,
    /// How many events are meant.
    pub(super) total: u64,
    looked_at: AtomicU64,
    changed: AtomicU64,
    is_cancelled: AtomicBool,
    state: Mutex<JobState>,
}

impl BulkJob {
    /// How many events were looked at, and how many were changed.
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

    fn end(&self, state: JobState) {
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

    fn keep(&self, job: &Arc<BulkJob>) -> u64 {
        let mut jobs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        jobs.0 += 1;
        let number = jobs.0;
        jobs.1.insert(number, Arc::clone(job));
        if jobs.1.len() > KEPT
            && let Some(oldest) =
                jobs.1.iter().find(|(_, job)| job.state() != JobState::Running).map(|(number, _)| *number)
        {
            jobs.1.remove(&oldest);
        }
        number
    }
}

/// What a step did.
struct Stepped {
    looked_at: u64,
    changed: u64,
    reached: Option<EventSeq>,
}

impl PageState {
    /// Begins a job on the events that are selected now; returns its number.
    pub(super) async fn begin_job(self: &Arc<Self>, mut selection: EventSelection, action: JobAction) -> Result<u64> {
        let counted = selection.clone();
        let count = move |inbox: &mut (dyn Inbox + 'static)| {
            let watermark = inbox.watermark()?;
            let counted = EventSelection { up_to: Some(watermark), ..counted };
            let total = inbox.count_events(&counted)?.iter().map(|count| count.events).sum::<u64>();
            Ok::<_, StoreError>((watermark, total))
        };
        let (watermark, total) = self.readers.slow.run(count).await?;
        // What comes from now on is not meant.
        selection.up_to = Some(watermark);
        let job = Arc::new(BulkJob {
            action,
            total,
            looked_at: AtomicU64::new(0),
            changed: AtomicU64::new(0),
            is_cancelled: AtomicBool::new(false),
            state: Mutex::new(JobState::Running),
        });
        let number = self.jobs.keep(&job);
        tokio::spawn(Arc::clone(self).work(job, selection));
        Ok(number)
    }

    async fn work(self: Arc<Self>, job: Arc<BulkJob>, mut selection: EventSelection) {
        let now = Timestamp::now();
        loop {
            if job.is_cancelled.load(Ordering::Relaxed) {
                return job.end(JobState::Cancelled);
            }
            let (action, selected) = (job.action.clone(), selection.clone());
            match self.readers.changes.run(move |inbox| step(inbox, &action, &selected, now)).await {
                Ok(Stepped { looked_at, changed, reached }) => {
                    job.looked_at.fetch_add(looked_at, Ordering::Relaxed);
                    job.changed.fetch_add(changed, Ordering::Relaxed);
                    match reached {
                        Some(reached) => selection.after = Some(reached),
                        None => return job.end(JobState::Done),
                    }
                }
                Err(error) => return job.end(JobState::Failed(error.to_string())),
            }
        }
    }
}

/// Changes some of the selected events, oldest first.
fn step(
    inbox: &mut (dyn Inbox + 'static),
    action: &JobAction,
    selection: &EventSelection,
    now: Timestamp,
) -> std::result::Result<Stepped, StoreError> {
    let mut events = Vec::new();
    let page = EventPage { limit: Some(STEP), scan_limit: Some(20 * STEP), ..EventPage::default() };
    let scanned = inbox.events(selection, page, &mut |event| {
        events.push(event.seq);
        true
    })?;
    let is_full = events.len() as u64 == STEP;
    let reached = if is_full { events.last().copied() } else { scanned };
    let looked_at = events.len() as u64;
    let changed = match (action, events.first(), events.last()) {
        (_, None, _) | (_, _, None) => 0,
        (JobAction::Delete, ..) => inbox.delete(&events)?,
        (JobAction::Forward(target, _), ..) => inbox.forward_again(&events, *target, now)?,
        (JobAction::Retry, Some(_), Some(last)) => {
            let mut part = EventSelection { up_to: Some(*last), ..selection.clone() };
            let mut requeued = 0;
            loop {
                let step = inbox.requeue(&part, now)?;
                requeued += step.forwards;
                match step.reached {
                    Some(reached) => part.after = Some(reached),
                    None => break requeued,
                }
            }
        }
    };
    Ok(Stepped { looked_at, changed, reached })
}
