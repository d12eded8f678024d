//! What jobs do: on the server, in steps that keep nobody waiting.

use std::sync::Arc;

use jiff::Timestamp;

use super::PageState;
use super::jobs::{BulkJob, JobAction, JobState};
use crate::error::{Error, Result};
use crate::store::{EventSelection, EventSeq, Inbox, Reread, StoreDeposit, StoreError, next_events};

/// How many events a step changes.
const STEP: usize = 500;

/// How many events are looked up for steps, and out of how many: where a page begins is found anew for each.
const LOOKED_UP: u64 = 5000;
const SCAN: u64 = 20_000;

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
        let (number, job) = self.jobs.begin(action, total);
        let page = Arc::clone(self);
        tokio::spawn(async move { job.end(page.change(&job, selection).await.unwrap_or_else(|error| failed(&error))) });
        Ok(number)
    }

    /// Begins to read these deliveries in quarantine again; returns the job's number.
    pub(super) fn begin_reread(self: &Arc<Self>, deliveries: Vec<i64>) -> u64 {
        let (number, job) = self.jobs.begin(JobAction::Reread, deliveries.len() as u64);
        let page = Arc::clone(self);
        tokio::spawn(
            async move { job.end(page.reread(&job, deliveries).await.unwrap_or_else(|error| failed(&error))) },
        );
        number
    }

    /// What stores deliveries for the page.
    pub(super) fn deposit(&self) -> StoreDeposit {
        StoreDeposit::new(self.readers.changes.clone(), Arc::clone(&self.options.store))
    }

    /// Changes the selected events, oldest first. Returns how it ended.
    async fn change(&self, job: &BulkJob, mut selection: EventSelection) -> Result<JobState> {
        let now = Timestamp::now();
        loop {
            let wanted = selection.clone();
            let look = move |inbox: &mut (dyn Inbox + 'static)| {
                next_events(inbox, &wanted, (LOOKED_UP, SCAN), |event| event.seq)
            };
            let (events, reached) = self.readers.slow.run(look).await?;
            for some in events.chunks(STEP) {
                if job.is_cancelled() {
                    return Ok(JobState::Cancelled);
                }
                let (action, selection, events) = (job.action.clone(), selection.clone(), some.to_vec());
                let step =
                    move |inbox: &mut (dyn Inbox + 'static)| change_some(inbox, &action, selection, &events, now);
                let changed = self.readers.changes.run(step).await?;
                job.advance(some.len() as u64, changed);
            }
            match reached {
                None => return Ok(JobState::Done),
                Some(_) if job.is_cancelled() => return Ok(JobState::Cancelled),
                Some(reached) => selection.after = Some(reached),
            }
        }
    }

    /// Reads deliveries again until one fails for a reason that the others would fail for too.
    async fn reread(&self, job: &BulkJob, deliveries: Vec<i64>) -> Result<JobState> {
        let deposit = self.deposit();
        for number in deliveries {
            if job.is_cancelled() {
                return Ok(JobState::Cancelled);
            }
            let is_read = matches!(deposit.reread(number).await?, Some(Reread::Stored { .. }));
            job.advance(1, is_read.into());
        }
        Ok(JobState::Done)
    }
}

fn failed(error: &Error) -> JobState {
    let told: Vec<String> =
        [error.to_string()].into_iter().chain(error.hints().iter().map(ToString::to_string)).collect();
    JobState::Failed(told.join("; "))
}

/// Changes these events, which are all that are selected from the first to the last of them. Returns how many are changed.
fn change_some(
    inbox: &mut (dyn Inbox + 'static),
    action: &JobAction,
    selection: EventSelection,
    events: &[EventSeq],
    now: Timestamp,
) -> std::result::Result<u64, StoreError> {
    let (Some(EventSeq(first)), Some(EventSeq(last))) = (events.first(), events.last()) else { return Ok(0) };
    match action {
        JobAction::Delete => inbox.delete(events),
        JobAction::Forward(target, _) => inbox.forward_again(events, *target, now),
        // For deliveries that are none of these.
        JobAction::Reread => Ok(0),
        JobAction::Retry => {
            let (after, before) = (Some(EventSeq(first - 1)), Some(EventSeq(last + 1)));
            let mut part = EventSelection { after, before, ..selection };
            let mut requeued = 0;
            loop {
                let step = inbox.requeue(&part, now)?;
                requeued += step.forwards;
                match step.reached {
                    Some(reached) => part.after = Some(reached),
                    None => return Ok(requeued),
                }
            }
        }
    }
}
