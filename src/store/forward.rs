//! Handing on: what goes where, and what became of it.

use jiff::Timestamp;

use crate::domain::event::{EventFacts, Sender};

/// A target that events are handed on to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TargetId(pub i64);

/// A forward: some events of one delivery, on their way to one target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ForwardId(pub i64);

/// A target as the inbox knows it from one run to the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetName {
    /// What makes it the same target: a hash, as a URL may hold a password.
    pub key: String,
    /// What people see.
    pub shown: String,
}

/// Which events go to a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The target.
    pub target: TargetId,
    /// Only events of these types, in whatever case; all when there is none.
    pub types: Vec<String>,
    /// Whether the events of a delivery go together, or each by itself.
    pub together: bool,
}

impl Route {
    fn takes(&self, event: &EventFacts) -> bool {
        let is_of = |own: &String| self.types.iter().any(|wanted| wanted.eq_ignore_ascii_case(own));
        self.types.is_empty() || event.event_type.as_ref().is_some_and(is_of)
    }

    /// The runs of events, by their places, that a forward each is made for.
    pub(super) fn forwards(&self, events: &[&EventFacts]) -> Vec<(usize, usize)> {
        let mut runs: Vec<(usize, usize)> = Vec::new();
        for (index, _) in events.iter().enumerate().filter(|(_, event)| self.takes(event)) {
            match runs.last_mut() {
                Some((_, last)) if self.together && *last + 1 == index => *last = index,
                _ => runs.push((index, index)),
            }
        }
        runs
    }
}

/// A forward that was claimed: what is to be handed on.
#[derive(Debug, Clone)]
pub struct Forward {
    /// Its id.
    pub id: ForwardId,
    /// Who sent the events.
    pub sender: Sender,
    /// What the sender said the body was.
    pub content_type: Option<String>,
    /// When they came.
    pub received_at: Timestamp,
    /// When it was put in line, for the first time or again.
    pub queued_at: Timestamp,
    /// How often it has been tried.
    pub attempts: u32,
    /// The events, with their places in `body`.
    pub events: Vec<EventFacts>,
    /// The body of the delivery that they came in, or the part of it that they are in.
    pub body: Vec<u8>,
    /// Whether they are all that was in it.
    pub whole: bool,
}

impl Forward {
    /// The JSON of one of its events, as it came.
    pub fn event_json(&self, event: &EventFacts) -> &[u8] {
        self.body.get(event.span.clone()).unwrap_or_default()
    }

    /// The original event objects as a JSON array: the body as it came, if it is one and nothing of it is left out.
    pub fn json_array(&self) -> Vec<u8> {
        if self.whole && self.sender == Sender::Bugfender {
            return self.body.clone();
        }
        let objects: Vec<&[u8]> = self.events.iter().map(|event| self.event_json(event)).collect();
        [b"[", objects.join(&b","[..]).as_slice(), b"]"].concat()
    }
}

/// What is to be claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClaimRequest {
    /// At most so many.
    pub limit: usize,
    /// At most so many of these that failed before.
    pub retries: usize,
    /// Of those that were not tried yet, the newest rather than the oldest: to find out whether a target is well again,
    /// whatever it is that it fails over.
    pub newest: bool,
}

impl ClaimRequest {
    /// At most so many, the oldest first.
    pub fn up_to(limit: usize) -> Self {
        Self { limit, retries: limit, newest: false }
    }
}

/// How an attempt to hand on ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttemptOutcome {
    /// The target has it.
    Delivered,
    /// It failed and is to be tried again, not before then.
    Again {
        /// When.
        at: Timestamp,
        /// Why it failed.
        error: String,
    },
    /// It is given up: a dead letter.
    Dead {
        /// Why it failed.
        error: String,
    },
}

/// The end of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settlement {
    /// What was tried.
    pub forward: ForwardId,
    /// When the attempt ended.
    pub at: Timestamp,
    /// How it ended.
    pub outcome: AttemptOutcome,
}
