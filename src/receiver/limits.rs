//! Limits on senders: sizes, times, connections, and the memory of all bodies together.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

use super::shares::{LOOK_AGAIN, Share, Shortage};
use crate::domain::event::EventFacts;

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

/// The memory for the facts about all events that are being decoded and stored. A delivery waits for its part of it.
const DECODED: usize = 128 * 1024 * 1024;

/// The memory for all heads that have begun to arrive.
pub(super) const HEADS: usize = 64 * 1024 * 1024;

/// How long a body of an unknown sender waits for another to make room.
const ROOM_TIMEOUT: Duration = Duration::from_secs(1);

/// How long a delivery waits for the memory that decoding takes. Most senders have given up by then.
const DECODE_TIMEOUT: Duration = Duration::from_secs(30);

/// The memory that is left of something, in bytes.
#[derive(Debug, Clone)]
pub(super) struct Budget(Arc<BudgetState>);

#[derive(Debug)]
struct BudgetState {
    left: AtomicUsize,
    /// Notified when memory is released.
    released: Notify,
}

impl Budget {
    fn of(bytes: usize) -> Self {
        Self(Arc::new(BudgetState { left: AtomicUsize::new(bytes), released: Notify::new() }))
    }
}

/// The memory for bodies whose sender is known before they are read, for the others, and for what is decoded.
#[derive(Debug, Clone)]
pub(super) struct Budgets {
    pub(super) known: Budget,
    pub(super) unverified: Budget,
    decoded: Budget,
}

impl Budgets {
    /// Each has room for at least one body.
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            known: Budget::of(KNOWN.max(limits.max_body)),
            unverified: Budget::of(UNVERIFIED.max(limits.max_body)),
            decoded: Budget::of(DECODED),
        }
    }

    /// Reserves the memory that so many events take once they are decoded, as soon as there is enough of it.
    pub(super) async fn decoding(&self, events: usize) -> Option<MemoryPermit> {
        let mut permit = MemoryPermit::default();
        let bytes = (events * DECODED_EVENT).min(DECODED);
        let reserved = async {
            loop {
                let mut released = std::pin::pin!(self.decoded.0.released.notified());
                // Enabled first, so that what is released after the look is not missed.
                released.as_mut().enable();
                if permit.grow(&self.decoded, bytes).is_some() {
                    return;
                }
                released.await;
            }
        };
        tokio::time::timeout(DECODE_TIMEOUT, reserved).await.ok()?;
        Some(permit)
    }
}

/// What an event takes besides its body, in bytes, until it is stored: its facts with their strings, and a row of the store.
const DECODED_EVENT: usize = 2 * size_of::<EventFacts>() + 128;

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
        budget.0.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).ok()?;
        self.bytes += missing;
        self.budget.get_or_insert_with(|| budget.clone());
        Some(())
    }

    /// Grows to this many bytes; if the budget does not allow it, another that has a share in it makes room.
    pub(super) async fn grow_in_turn(&mut self, budget: &Budget, bytes: usize, share: &Share) -> Option<()> {
        let grown = async {
            loop {
                let mut released = std::pin::pin!(budget.0.released.notified());
                released.as_mut().enable();
                if self.grow(budget, bytes).is_some() {
                    share.hold(bytes);
                    return Some(());
                }
                // Counts as held before it is there: who wants most makes room first.
                share.hold(bytes);
                share.all().make_room(Shortage::Memory);
                tokio::select! {
                    () = released => {}
                    () = share.told() => return None,
                    () = tokio::time::sleep(LOOK_AGAIN) => {}
                }
            }
        };
        tokio::time::timeout(ROOM_TIMEOUT, grown).await.ok()?
    }
}

impl Drop for MemoryPermit {
    fn drop(&mut self) {
        if let Some(Budget(budget)) = &self.budget {
            budget.left.fetch_add(self.bytes, Ordering::Relaxed);
            budget.released.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::shares::Shares;
    use super::*;

    fn left(budget: &Budget) -> usize {
        budget.0.left.load(Ordering::Relaxed)
    }

    #[tokio::test]
    async fn what_decoding_takes_counts_until_it_is_stored() {
        let budgets = Budgets::new(&Limits::default());
        let one = budgets.decoding(20_000).await.unwrap();
        assert_eq!(left(&budgets.decoded), DECODED - 20_000 * DECODED_EVENT);
        // However many there are, they find room when all others are stored.
        let (waits, ()) = tokio::join!(budgets.decoding(usize::MAX / DECODED_EVENT), async { drop(one) });
        assert_eq!(left(&budgets.decoded), 0);
        drop(waits.unwrap());
        assert_eq!(left(&budgets.decoded), DECODED);
    }

    #[tokio::test]
    async fn strangers_who_hold_all_memory_make_room() {
        let (budgets, shares) = (Budgets::new(&Limits::default()), Shares::default());
        let enter = |address: &str| shares.enter(address.parse().unwrap(), usize::MAX).unwrap();
        let (stranger, honest) = (enter("1.2.3.4"), enter("9.9.9.9"));
        let mut held = MemoryPermit::default();
        held.grow_in_turn(&budgets.unverified, UNVERIFIED, &stranger).await.unwrap();
        let goes = async move {
            stranger.told().await;
            drop((held, stranger));
        };
        let mut permit = MemoryPermit::default();
        let (grown, ()) = tokio::join!(permit.grow_in_turn(&budgets.unverified, 1000, &honest), goes);
        assert_eq!((grown, left(&budgets.unverified)), (Some(()), UNVERIFIED - 1000));
        // Who alone holds all of it makes no room for itself.
        assert_eq!(permit.grow_in_turn(&budgets.unverified, UNVERIFIED + 1, &honest).await, None);
    }
}
