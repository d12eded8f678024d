//! Waiting for the first attempt to forward an event, as when a target is tried.

use std::time::{Duration, Instant};

use super::events::{EventSeq, EventState};
use super::targets::{AttemptRecord, ForwardRecord};
use super::worker::StoreWorker;
use super::{Inbox, StoreError};
use crate::error::Result;

/// How often to look whether it was made.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// What came of an event that is forwarded to one target.
#[derive(Debug, Clone)]
pub enum FirstAttempt {
    /// It was attempted.
    Made(AttemptRecord),
    /// Its forward is gone: the filter of the target leaves it out.
    LeftOut,
    /// Nobody made an attempt.
    NotYet,
}

/// Waits until a receiver has attempted to forward this event, for no longer than `timeout`.
///
/// # Errors
/// When the inbox cannot be read.
pub async fn first_attempt(inbox: &StoreWorker<dyn Inbox>, event: EventSeq, timeout: Duration) -> Result<FirstAttempt> {
    let deadline = Instant::now() + timeout;
    loop {
        let look = move |inbox: &mut (dyn Inbox + 'static)| inbox.forwards_of(event);
        let forward = inbox.run::<_, StoreError>(look).await?.pop();
        let Some(ForwardRecord { state, newest_attempts, .. }) = forward else { return Ok(FirstAttempt::LeftOut) };
        if let Some(attempt) = newest_attempts.into_iter().next() {
            return Ok(FirstAttempt::Made(attempt));
        }
        if state != EventState::Pending || Instant::now() >= deadline {
            return Ok(FirstAttempt::NotYet);
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}
