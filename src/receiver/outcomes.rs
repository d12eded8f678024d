//! The outcomes of forwards, told as they happen to whoever watches. Nothing waits for a watcher that is slow.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

/// How many outcomes wait for a watcher, before further ones are dropped.
const WAITING: usize = 4096;

/// The outcome of an attempt to forward.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForwardOutcome {
    /// The target's name for people.
    pub target: String,
    /// The events: the id of the first, and how many more there are.
    pub event: (String, usize),
    /// The HTTP status of an endpoint that accepted them; `None` for a command.
    pub status: Option<u16>,
    /// Why they were not accepted.
    pub error: Option<String>,
    /// When they are retried: `None` if they are not.
    pub retry_after: Option<Duration>,
    /// How long the attempt took.
    pub took: Duration,
}

/// Where outcomes are told.
#[derive(Debug, Clone)]
pub struct OutcomeSender {
    sender: SyncSender<ForwardOutcome>,
    dropped: Arc<AtomicU64>,
}

/// Where they are heard.
#[derive(Debug)]
pub struct OutcomeFeed {
    receiver: Receiver<ForwardOutcome>,
    dropped: Arc<AtomicU64>,
}

impl OutcomeFeed {
    /// A feed, and where it is fed.
    pub fn open() -> (OutcomeSender, Self) {
        let (sender, receiver) = sync_channel(WAITING);
        let dropped = Arc::<AtomicU64>::default();
        (OutcomeSender { sender, dropped: Arc::clone(&dropped) }, Self { receiver, dropped })
    }

    /// What was told since the last time, and how many outcomes did not fit.
    pub fn take(&self) -> (Vec<ForwardOutcome>, u64) {
        (self.receiver.try_iter().collect(), self.dropped.swap(0, Ordering::Relaxed))
    }
}

impl OutcomeSender {
    pub(super) fn tell(&self, outcome: ForwardOutcome) {
        if self.sender.try_send(outcome).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_counted_and_nothing_waits() {
        let (sender, feed) = OutcomeFeed::open();
        let outcome = ForwardOutcome {
            target: "crm".to_owned(),
            event: ("1".to_owned(), 0),
            status: Some(200),
            error: None,
            retry_after: None,
            took: Duration::ZERO,
        };
        for _ in 0..WAITING + 3 {
            sender.tell(outcome.clone());
        }
        let (some, dropped) = feed.take();
        assert_eq!((some.len(), dropped), (WAITING, 3));
        assert_eq!(feed.take(), (Vec::new(), 0));
    }
}
