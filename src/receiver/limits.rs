//! Limits on senders: sizes, times, connections, and the memory of all bodies together.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Limits on requests and connections.
#[derive(Debug, Clone)]
pub struct Limits {
    /// The largest body, in bytes.
    pub max_body: usize,
    /// How long the head of a request may take, and how long a connection may wait for the next one.
    pub header_timeout: Duration,
    /// How long a body may take.
    pub body_timeout: Duration,
    /// The most connections that may be open.
    pub max_connections: usize,
    /// The most deliveries in a commit.
    pub max_group: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_body: 5 * 1024 * 1024,
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            max_connections: 16_384,
            max_group: 512,
        }
    }
}

/// The memory that the bodies of known senders together may take, in bytes; requests beyond it are answered with 503.
const KNOWN: usize = 256 * 1024 * 1024;

/// The same for bodies that are verified only once read whole: unknown senders cannot exhaust the memory of known ones.
const UNVERIFIED: usize = 64 * 1024 * 1024;

/// The memory that is left for bodies, in bytes.
#[derive(Debug, Clone)]
pub(super) struct Budget(Arc<AtomicUsize>);

impl Budget {
    fn of(bytes: usize) -> Self {
        Self(Arc::new(AtomicUsize::new(bytes)))
    }
}

/// The memory for bodies whose sender is known before they are read, and for the others.
#[derive(Debug, Clone)]
pub(super) struct Budgets {
    pub(super) known: Budget,
    pub(super) unverified: Budget,
}

impl Budgets {
    /// Each has room for at least one body.
    pub(super) fn new(limits: &Limits) -> Self {
        Self { known: Budget::of(KNOWN.max(limits.max_body)), unverified: Budget::of(UNVERIFIED.max(limits.max_body)) }
    }
}

/// Memory reserved from a budget, and released when dropped.
#[derive(Debug, Default)]
pub(super) struct MemoryPermit {
    budget: Option<Budget>,
    bytes: usize,
}

impl MemoryPermit {
    /// Grows to this many bytes, if the budget allows it.
    pub(super) fn grow(&mut self, budget: &Budget, bytes: usize) -> Option<()> {
        let missing = bytes.saturating_sub(self.bytes);
        let take = |left: usize| left.checked_sub(missing);
        budget.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).ok()?;
        self.bytes += missing;
        self.budget.get_or_insert_with(|| budget.clone());
        Some(())
    }
}

impl Drop for MemoryPermit {
    fn drop(&mut self) {
        if let Some(Budget(left)) = &self.budget {
            left.fetch_add(self.bytes, Ordering::Relaxed);
        }
    }
}
