//! Counting what is under way.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

/// How much of something is under way.
#[derive(Debug, Clone, Default)]
pub(super) struct Count(Arc<AtomicUsize>);

impl Count {
    pub(super) fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// One more, for as long as what is given lives.
    pub(super) fn begin(&self) -> UnderWay {
        self.0.fetch_add(1, Ordering::Relaxed);
        UnderWay(self.clone())
    }
}

/// Is counted while it lives.
#[derive(Debug)]
pub(super) struct UnderWay(Count);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Waits for tasks to end; cuts off those that have not by then, and counts what they had under way.
pub(super) async fn drain(mut tasks: JoinSet<()>, under_way: &Count, deadline: Instant) -> usize {
    while let Ok(Some(_)) = timeout_at(deadline, tasks.join_next()).await {}
    let left = if tasks.is_empty() { 0 } else { under_way.get() };
    tasks.shutdown().await;
    left
}
