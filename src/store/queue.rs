//! Forwarding: which events go to which target, and what became of each attempt.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::StoreError;
use crate::domain::bytes_without_bom;
use crate::domain::event::{EventFacts, Sender};

/// A target that events are forwarded to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TargetId(pub i64);

/// A forward: some events of one delivery, on their way to one target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ForwardId(pub i64);

/// A target as the inbox knows it from one run to the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetName {
    /// The identity of the target: a hash, as a URL may contain a password.
    pub key: String,
    /// Its name for people, without secrets.
    pub shown: String,
}

/// Which events go to a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The target.
    pub target: TargetId,
    /// Only events of these types, in whatever case; all when there is none.
    pub types: Vec<String>,
    /// Whether the events of a delivery are forwarded together, or one by one.
    pub together: bool,
}

impl Route {
    /// Whether an event goes to the target.
    pub(super) fn accepts(&self, event: &EventFacts) -> bool {
        let is_of = |own: &String| self.types.iter().any(|wanted| wanted.eq_ignore_ascii_case(own));
        self.types.is_empty() || event.event_type.as_ref().is_some_and(is_of)
    }

    /// The events that go together, as first and last index: a forward is made for each pair.
    pub(super) fn forwards(&self, events: &[&EventFacts]) -> Vec<(usize, usize)> {
        let mut runs: Vec<(usize, usize)> = Vec::new();
        for (index, _) in events.iter().enumerate().filter(|(_, event)| self.accepts(event)) {
            match runs.last_mut() {
                Some((_, last)) if self.together && *last + 1 == index => *last = index,
                _ => runs.push((index, index)),
            }
        }
        runs
    }
}

/// A forward with its events.
#[derive(Debug, Clone)]
pub struct Forward {
    /// Its id.
    pub id: ForwardId,
    /// Who sent the events.
    pub sender: Sender,
    /// What the sender said the body was.
    pub content_type: Option<String>,
    /// When they were received.
    pub received_at: Timestamp,
    /// When it was queued, for the first time or by a requeue.
    pub queued_at: Timestamp,
    /// How often it has been tried.
    pub attempts: u32,
    /// The events, with their places in `body`.
    pub events: Vec<EventFacts>,
    /// The body of the delivery that they came in, or the part of it that they are in.
    pub body: Vec<u8>,
    /// Whether they are all events of the delivery.
    pub whole: bool,
}

impl Forward {
    /// The JSON of one of its events, as it came.
    pub fn event_json(&self, event: &EventFacts) -> &[u8] {
        self.body.get(event.span.clone()).unwrap_or_default()
    }

    /// The original event objects as a JSON array: the body as it came, without a byte order mark, if it is one and nothing
    /// of it is left out.
    pub fn json_array(&self) -> Vec<u8> {
        if self.whole && self.sender == Sender::Bugfender {
            return bytes_without_bom(&self.body).to_vec();
        }
        let objects: Vec<&[u8]> = self.events.iter().map(|event| self.event_json(event)).collect();
        [b"[", objects.join(&b","[..]).as_slice(), b"]"].concat()
    }
}

/// Which forwards to claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClaimRequest {
    /// At most this many.
    pub limit: usize,
    /// At most this many of those that failed before.
    pub retries: usize,
    /// Of those that were not tried yet, the newest rather than the oldest: to find out whether a target has recovered,
    /// whatever event it failed over.
    pub newest: bool,
}

impl ClaimRequest {
    /// At most this many, the oldest first.
    pub fn up_to(limit: usize) -> Self {
        Self { limit, retries: limit, newest: false }
    }
}

/// Fences a claim: a forward that is claimed again gets another token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LeaseToken(pub u64);

/// The right to attempt a forward. It expires unless it is renewed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Lease {
    /// The forward.
    pub forward: ForwardId,
    /// What tells this lease from others of the same forward.
    pub token: LeaseToken,
}

/// A forward that was claimed.
#[derive(Debug, Clone)]
pub struct Leased {
    /// What is to be forwarded.
    pub forward: Forward,
    /// The token of the lease.
    pub token: LeaseToken,
}

impl Leased {
    /// The lease.
    pub fn lease(&self) -> Lease {
        Lease { forward: self.forward.id, token: self.token }
    }
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttemptOutcome {
    /// The target accepted the events.
    Delivered,
    /// The target wants none of these events: the forward is removed.
    Skipped,
    /// It failed, and is to be tried again.
    Retry {
        /// Not before this time.
        at: Timestamp,
        /// Why it failed.
        error: String,
    },
    /// It failed, and is not tried again unless somebody requeues it.
    DeadLettered {
        /// Why it failed.
        error: String,
    },
}

/// How much of an answer is kept, in bytes.
pub const KEPT_OF_ANSWER: usize = 2048;

/// What is known of an attempt beside its outcome.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AttemptReport {
    /// How long it took.
    pub took: Duration,
    /// The status of HTTP, if the target answered.
    pub status: Option<u16>,
    /// What it answered. No more than [`KEPT_OF_ANSWER`] bytes of it are kept.
    pub answer: Vec<u8>,
}

/// The end of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settlement {
    /// The lease that the attempt was made with.
    pub lease: Lease,
    /// When the attempt ended.
    pub at: Timestamp,
    /// How it ended.
    pub outcome: AttemptOutcome,
    /// What else is kept of it.
    pub report: AttemptReport,
}

/// The outcome of a settlement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// The outcome is recorded, and the lease has ended.
    Recorded,
    /// The lease had ended before, or the forward is gone: nothing was recorded. Somebody else may have the forward now.
    LeaseLost,
}

/// The queue of forwards. Any number of processes may claim from it, if the backend allows more than one receiver.
///
/// Callers pass in the time, so a lease that one process set may be compared with another's clock.
pub trait Queue: Send {
    /// The ids of these targets, which are made if need be.
    ///
    /// # Errors
    /// When the store cannot be written.
    fn targets(&mut self, names: &[TargetName]) -> Result<Vec<TargetId>, StoreError>;

    /// Claims forwards to a target that are due and not leased: those that were not tried yet in the order in which they
    /// came, those that failed before in the order in which they are due. Fewer when they are large.
    ///
    /// A lease ends after this time unless it is renewed, with its settlement or release, or with the receiver. Nothing is
    /// claimed for a target that is paused.
    ///
    /// # Errors
    /// When the store cannot be read or written; nothing is claimed then.
    fn claim(
        &mut self,
        target: TargetId,
        request: ClaimRequest,
        now: Timestamp,
        lease: Duration,
    ) -> Result<Vec<Leased>, StoreError>;

    /// Makes leases end this long after `now`. Returns those that were lost: their forwards may be somebody else's.
    ///
    /// # Errors
    /// When the store cannot be written; the leases are as they were.
    fn renew(&mut self, leases: &[Lease], now: Timestamp, lease: Duration) -> Result<Vec<Lease>, StoreError>;

    /// Records the attempts and how they ended, all in one commit, and ends their leases. Answers in the order of the
    /// settlements. What was dropped by hand meanwhile is not tried again.
    ///
    /// # Errors
    /// When the store cannot be written; nothing is recorded then, and the leases are as they were.
    fn settle(&mut self, settlements: &[Settlement]) -> Result<Vec<Settled>, StoreError>;

    /// Releases leases without an attempt. Lost ones are ignored.
    ///
    /// # Errors
    /// When the store cannot be written; the leases expire then.
    fn release(&mut self, leases: &[Lease]) -> Result<(), StoreError>;

    /// When the next forward to a target that is not leased at `now` will be due, if there is one and the target is not
    /// paused.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn next_due(&self, target: TargetId, now: Timestamp) -> Result<Option<Timestamp>, StoreError>;

    /// How long forwards to these targets are pending before they expire, whatever [`Queue::expire`] says of others. Replaces
    /// what was set before; it is not kept over a restart.
    fn set_max_ages(&mut self, ages: Vec<(TargetId, SignedDuration)>);

    /// Dead-letters some of what was queued before this time and is not leased at `now`, unless its target is paused or was
    /// resumed later. Returns how many, by the target's name for people; to be called again while there are any.
    ///
    /// # Errors
    /// When the store cannot be written.
    fn expire(&mut self, queued_before: Timestamp, now: Timestamp) -> Result<Vec<(String, u64)>, StoreError>;
}
