//! Counting what is under way.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

/// How much of something is under way.
#[derive(Debug, Clone, Default)]
pub(super) struct InFlight(Arc<AtomicUsize>);

impl InFlight {
    pub(super) fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// One more, for as long as what is given lives.
    pub(super) fn begin(&self) -> InFlightGuard {
        self.0.fetch_add(1, Ordering::Relaxed);
        InFlightGuard(self.clone())
    }
}

/// Is counted while it lives.
#[derive(Debug)]
pub(super) struct InFlightGuard(InFlight);

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Waits for tasks to end; cuts off those that have not by then, and counts what they had under way.
pub(super) async fn drain(mut tasks: JoinSet<()>, in_flight: &InFlight, deadline: Instant) -> usize {
    while let Ok(Some(_)) = timeout_at(deadline, tasks.join_next()).await {}
    let left = if tasks.is_empty() { 0 } else { in_flight.get() };
    tasks.shutdown().await;
    left
}
