//! The inbox: every event that was received, and how far it has been handed on.

use jiff::Timestamp;

use super::StoreError;
use super::forward::{ClaimRequest, Forward, ForwardId, Route, Settlement, TargetId, TargetName};
use crate::domain::delivery::Delivery;
use crate::domain::event::{EventKey, Sender};

/// An event's place in the order of arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventSeq(pub i64);

/// What became of a delivery: for each of its events its place, or nothing for one that was there already.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Receipt {
    /// In the order of the body.
    pub events: Vec<Option<EventSeq>>,
}

impl Receipt {
    /// How many events are new.
    pub fn stored(&self) -> usize {
        self.events.iter().flatten().count()
    }

    /// How many were there already.
    pub fn duplicates(&self) -> usize {
        self.events.len() - self.stored()
    }
}

/// How far an event has been handed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventState {
    /// There is no target for it.
    Stored,
    /// A target does not have it yet.
    Pending,
    /// Every target has it.
    Forwarded,
    /// It was given up for a target, and waits for no other.
    Dead,
}

impl EventState {
    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Pending => "pending",
            Self::Forwarded => "forwarded",
            Self::Dead => "dead",
        }
    }
}

/// An event as the inbox has it.
#[derive(Debug, Clone)]
pub struct EventRecord {
    /// Its place in the order of arrival, which no other event ever has.
    pub seq: EventSeq,
    /// What recognises it.
    pub key: EventKey,
    /// Who sent it.
    pub sender: Sender,
    /// The sender's id.
    pub id: String,
    /// Its type, if it says one.
    pub event_type: Option<String>,
    /// Its app, if it says one.
    pub app_id: Option<i64>,
    /// Its title, if it has one.
    pub title: Option<String>,
    /// When it came.
    pub received_at: Timestamp,
    /// How far it has been handed on.
    pub state: EventState,
    /// When the last target that has it got it.
    pub forwarded_at: Option<Timestamp>,
    /// The attempts to hand it on, of all targets together.
    pub attempts: u32,
    /// How often it came again.
    pub duplicates: u32,
    /// Why the last attempt failed, if one did and it has not been handed on since.
    pub error: Option<String>,
    /// Its JSON as it came, if it was asked for.
    pub json: Option<Vec<u8>>,
}

/// Which events are meant: those that meet every condition.
#[derive(Debug, Clone, Default)]
pub struct EventSelection {
    /// Those with one of these ids of their senders; all when it is `None`.
    pub ids: Option<Vec<String>>,
    /// Those that came at this time or later.
    pub since: Option<Timestamp>,
    /// Those that came before this time.
    pub until: Option<Timestamp>,
    /// Those of these apps; all when there is none.
    pub app_ids: Vec<i64>,
    /// Those of these types, in whatever case; all when there is none.
    pub types: Vec<String>,
    /// Those of this sender.
    pub sender: Option<Sender>,
    /// Those that a target does not have: pending or dead.
    pub undelivered: bool,
    /// Those that were given up for a target.
    pub dead: bool,
    /// Those behind this one.
    pub after: Option<EventSeq>,
    /// Those ahead of this one.
    pub before: Option<EventSeq>,
}

/// In which order events are given, and what of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EventPage {
    /// The newest first.
    pub newest_first: bool,
    /// No more than this.
    pub limit: Option<u64>,
    /// With their JSON.
    pub with_json: bool,
}

/// What waits to be handed on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Backlog {
    /// Forwards that are not settled.
    pub pending: u64,
    /// Forwards that were given up.
    pub dead: u64,
    /// When the oldest unsettled forward was put in line.
    pub oldest_pending: Option<Timestamp>,
    /// When the last event came.
    pub last_event: Option<Timestamp>,
}

/// Events of a kind, counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventCount {
    /// Who sent them.
    pub sender: Sender,
    /// Their type.
    pub event_type: Option<String>,
    /// Their app.
    pub app_id: Option<i64>,
    /// How many.
    pub events: u64,
    /// How often one of them came again.
    pub duplicates: u64,
    /// How many wait for a target.
    pub pending: u64,
    /// How many were given up for a target and wait for no other.
    pub dead: u64,
    /// When the first came.
    pub first_at: Timestamp,
    /// When the last came.
    pub last_at: Timestamp,
}

/// A delivery that was let in but could not be read.
#[derive(Debug, Clone)]
pub struct Quarantined {
    /// Its number.
    pub number: i64,
    /// Who sent it.
    pub sender: Sender,
    /// When it came.
    pub received_at: Timestamp,
    /// What the sender said the body was.
    pub content_type: Option<String>,
    /// What is wrong with it.
    pub reason: String,
    /// How many bytes its body has: none when personal data may be in it that was to be redacted.
    pub size: u64,
    /// The body as it came, if the delivery was asked for by its number.
    pub body: Vec<u8>,
}

/// What is to be purged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PurgeRule {
    /// Deliveries that came before this time.
    pub before: Option<Timestamp>,
    /// The oldest deliveries, until what is left takes up at most this many bytes.
    pub max_bytes: Option<u64>,
    /// Also what has not been handed on and was not given up.
    pub even_pending: bool,
}

/// What was purged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Purged {
    /// Events.
    pub events: u64,
    /// Deliveries that could not be read.
    pub quarantined: u64,
    /// Whether more is to be purged by the same rule.
    pub more: bool,
    /// Whether the inbox stays larger than the rule allows, as what is left waits for a target.
    pub too_large: bool,
}

/// The inbox, in plain types; SQLite is behind it. Every change is durable when its call returns.
///
/// One process at a time receives ([`Inbox::begin_receiving`]); any number look, put in line again and purge.
pub trait Inbox: Send {
    /// Gets ready for [`Inbox::commit_deliveries`] and [`Inbox::claim_forwards`], and keeps other processes from both.
    fn begin_receiving(&mut self) -> Result<(), StoreError>;

    /// The ids of these targets, which are made if need be.
    fn targets(&mut self, names: &[TargetName]) -> Result<Vec<TargetId>, StoreError>;

    /// Stores the new events of all these deliveries, and a forward of them for each route that takes them, in one
    /// commit: all of it or, on an error, nothing.
    ///
    /// An event that was stored before, by sender and id alone, is counted and otherwise dropped.
    fn commit_deliveries(&mut self, deliveries: &[Delivery], routes: &[Route]) -> Result<Vec<Receipt>, StoreError>;

    /// Claims forwards to a target that are due, in the order in which they came, those that failed before in the order
    /// in which they are due. Fewer when they are large. A claim ends with its settlement, or with this process.
    fn claim_forwards(
        &mut self,
        target: TargetId,
        now: Timestamp,
        request: ClaimRequest,
    ) -> Result<Vec<Forward>, StoreError>;

    /// How many forwards wait for each target that any wait for, and what people see of it.
    fn waiting(&self) -> Result<Vec<(TargetId, String, u64)>, StoreError>;

    /// When the next forward to a target that is not claimed will be due, if there is one.
    fn next_due(&self, target: TargetId) -> Result<Option<Timestamp>, StoreError>;

    /// Says how claimed forwards ended, in one commit.
    fn settle_forwards(&mut self, settlements: &[Settlement]) -> Result<(), StoreError>;

    /// Gives claimed forwards back untried.
    fn release_forwards(&mut self, forwards: &[ForwardId]);

    /// Makes dead letters of some of what was put in line before this time and is not claimed. Returns how many of
    /// which target, as people see it: to be called again while there are any.
    fn expire_forwards(&mut self, queued_before: Timestamp) -> Result<Vec<(String, u64)>, StoreError>;

    /// Puts the dead letters among these events, and those that wait for another try, in line again. Returns how many
    /// forwards. Of very many, those before an error are in line.
    fn requeue_forwards(&mut self, selection: &EventSelection, now: Timestamp) -> Result<u64, StoreError>;

    /// What waits to be handed on.
    fn backlog(&self) -> Result<Backlog, StoreError>;

    /// Calls `each` with the events that are meant, until it says `false`.
    fn events(
        &self,
        selection: &EventSelection,
        page: EventPage,
        each: &mut dyn FnMut(EventRecord) -> bool,
    ) -> Result<(), StoreError>;

    /// Counts the events that are meant, by sender, type and app.
    fn count_events(&self, selection: &EventSelection) -> Result<Vec<EventCount>, StoreError>;

    /// The newest deliveries that could not be read, newest first and without their bodies; or the one with this number.
    fn quarantined(&self, number: Option<i64>, limit: Option<u64>) -> Result<Vec<Quarantined>, StoreError>;

    /// Removes some of what a rule means: to be called again, with the same rule, while there is more. What was kept is
    /// not looked at again until then.
    fn purge(&mut self, rule: &PurgeRule) -> Result<Purged, StoreError>;

    /// Does what would keep senders waiting: to be called when nobody waits for an answer.
    fn maintain(&mut self) -> Result<(), StoreError>;

    /// Commits something that does not matter: whether the store can be written.
    fn probe(&mut self) -> Result<(), StoreError>;

    /// Reads the whole inbox for damage.
    fn check(&self) -> Result<(), StoreError>;
}

/// The keys under which an event with this id may stand.
pub(super) fn keys_of(id: &str, sender: Option<Sender>) -> Vec<EventKey> {
    let senders = Sender::ALL.into_iter().filter(|one| sender.is_none_or(|wanted| wanted == *one));
    senders.flat_map(|sender| EventKey::candidates(sender, id)).collect()
}
