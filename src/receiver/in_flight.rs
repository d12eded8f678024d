//! Counting what is in flight.

use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// A counter of what is in flight.
#[derive(Debug, Clone, Default)]
pub(super) struct InFlight(TaskTracker);

/// Counts as in flight until it is dropped.
pub(super) type InFlightGuard = TaskTrackerToken;

impl InFlight {
    pub(super) fn get(&self) -> usize {
        self.0.len()
    }

    /// Counts one more until the guard is dropped.
    pub(super) fn begin(&self) -> InFlightGuard {
        self.0.token()
    }

    /// Waits until nothing is in flight.
    pub(super) async fn ended(&self) {
        self.0.close();
        self.0.wait().await;
    }
}

/// Waits for tasks until the deadline, then aborts the rest. Returns how much they had in flight.
pub(super) async fn drain(mut tasks: JoinSet<()>, in_flight: &InFlight, deadline: Instant) -> usize {
    while let Ok(Some(_)) = timeout_at(deadline, tasks.join_next()).await {}
    let left = if tasks.is_empty() { 0 } else { in_flight.get() };
    tasks.shutdown().await;
    left
}
