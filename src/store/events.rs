//! The events that were received, and how far each has been forwarded.

use jiff::{SignedDuration, Timestamp};

use super::StoreError;
use super::figures::{EventBucket, ForwardLatency, StoredDelivery};
use crate::domain::EventSearch;
use crate::domain::delivery::Via;
use crate::domain::event::{EventKey, Sender};

/// An event's place in the order of arrival, which no other event ever has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventSeq(pub i64);

/// How far an event has been forwarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventState {
    /// No target accepts it.
    Stored,
    /// It is pending for a target.
    Pending,
    /// It was forwarded to every target.
    Forwarded,
    /// It is dead-lettered for a target, and pending for none.
    Dead,
}

impl EventState {
    /// Every one.
    pub const ALL: [Self; 4] = [Self::Stored, Self::Pending, Self::Forwarded, Self::Dead];

    /// That of an event with so many forwards that are pending, dead-lettered and delivered.
    pub(super) const fn of_forwards(pending: u32, dead: u32, delivered: u32) -> Self {
        match (pending, dead, delivered) {
            (1.., _, _) => Self::Pending,
            (_, 1.., _) => Self::Dead,
            (_, _, 1..) => Self::Forwarded,
            _ => Self::Stored,
        }
    }

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
    /// The key that targets know it by.
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
    /// When it was received.
    pub received_at: Timestamp,
    /// How it came.
    pub via: Via,
    /// How far it has been forwarded.
    pub state: EventState,
    /// When it was last forwarded to a target.
    pub forwarded_at: Option<Timestamp>,
    /// The attempts to forward it, of all targets together.
    pub attempts: u32,
    /// How many duplicates of it were received.
    pub duplicates: u32,
    /// Why the last attempt failed, if it failed.
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
    /// Those that came so.
    pub via: Option<Via>,
    /// Those that go to the target with this name. The next three are about this target alone then.
    pub target: Option<String>,
    /// Those that a target does not have: pending or dead.
    pub undelivered: bool,
    /// Those that are dead-lettered for a target.
    pub dead: bool,
    /// Those in this state.
    pub state: Option<EventState>,
    /// Those that this finds: the JSON of each event is read that meets all else.
    pub search: Option<EventSearch>,
    /// Those behind this one.
    pub after: Option<EventSeq>,
    /// Those ahead of this one.
    pub before: Option<EventSeq>,
    /// Those up to this one.
    pub up_to: Option<EventSeq>,
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
    /// Only out of so many events that meet what can be told without reading them one by one: a search may find none among
    /// very many.
    pub scan_limit: Option<u64>,
}

/// What is not forwarded yet.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Backlog {
    /// Forwards that are not settled.
    pub pending: u64,
    /// Forwards that are dead-lettered.
    pub dead: u64,
    /// When the oldest pending forward was queued.
    pub oldest_pending: Option<Timestamp>,
    /// When the last event was received.
    pub last_event: Option<Timestamp>,
}

/// The room that the inbox takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// What it takes up, in bytes.
    pub bytes: u64,
    /// What is free where it is, in bytes, if the backend can tell.
    pub free_bytes: Option<u64>,
    /// How many deliveries are in quarantine.
    pub quarantined: u64,
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
    /// How many duplicates of them were received.
    pub duplicates: u64,
    /// How many are pending for a target.
    pub pending: u64,
    /// How many are dead-lettered for a target and pending for none.
    pub dead: u64,
    /// When the first was received.
    pub first_at: Timestamp,
    /// When the last was received.
    pub last_at: Timestamp,
}

/// A delivery that was verified but could not be read.
#[derive(Debug, Clone)]
pub struct Quarantined {
    /// Its number.
    pub number: i64,
    /// Who sent it.
    pub sender: Sender,
    /// When it was received.
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

/// Looks up some of the selected events, oldest first: up to `limit` of them, out of `scan_limit` that meet what can be told
/// without reading them one by one. Beside what `of` makes of them it returns up to which event all were looked up, if there
/// may be more behind it.
///
/// # Errors
/// When the store cannot be read.
pub fn next_events<T>(
    inbox: &dyn Events,
    selection: &EventSelection,
    (limit, scan_limit): (u64, u64),
    of: impl Fn(EventRecord) -> T,
) -> Result<(Vec<T>, Option<EventSeq>), StoreError> {
    let (mut found, mut last) = (Vec::new(), None);
    let page = EventPage { limit: Some(limit), scan_limit: Some(scan_limit), ..EventPage::default() };
    let scanned = inbox.events(selection, page, &mut |event| {
        last = Some(event.seq);
        found.push(of(event));
        true
    })?;
    let is_full = found.len() as u64 == limit;
    Ok((found, if is_full { last } else { scanned }))
}

/// Reads the inbox. Any number of processes may, whether or not one receives.
pub trait Events: Send {
    /// Calls `each` with the selected events, until it returns `false`. Returns the last event that was looked at if the
    /// scan limit ended it: there may be more behind it.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn events(
        &self,
        selection: &EventSelection,
        page: EventPage,
        each: &mut dyn FnMut(EventRecord) -> bool,
    ) -> Result<Option<EventSeq>, StoreError>;

    /// How far the order of arrival is complete: every event up to here can be seen, and none will come up to here
    /// later. Whoever follows events reads up to the watermark, and goes on behind it.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn watermark(&self) -> Result<EventSeq, StoreError>;

    /// Counts the selected events, by sender, type and app.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn count_events(&self, selection: &EventSelection) -> Result<Vec<EventCount>, StoreError>;

    /// Counts the events that came from `since` on and before `until`, by steps of time from `since` on and by type: only
    /// those steps that hold some, in their order. A step is no less than a microsecond.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn histogram(
        &self,
        since: Timestamp,
        until: Timestamp,
        step: SignedDuration,
    ) -> Result<Vec<EventBucket>, StoreError>;

    /// How long the newest forwards took that a target accepted since then; `None` if there is none. Of very many, those
    /// that were queued last.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn forward_latency(&self, since: Timestamp) -> Result<Option<ForwardLatency>, StoreError>;

    /// The delivery that an event came in, as far as it is stored; `None` if there is no such event.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn delivery_of(&self, event: EventSeq) -> Result<Option<StoredDelivery>, StoreError>;

    /// The newest deliveries that could not be read, newest first and without their bodies; or the one with this number,
    /// with its body.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn quarantined(&self, number: Option<i64>, limit: Option<u64>) -> Result<Vec<Quarantined>, StoreError>;

    /// What is not forwarded yet.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn backlog(&self) -> Result<Backlog, StoreError>;

    /// The room that the inbox takes.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn usage(&self) -> Result<Usage, StoreError>;

    /// What is set so that a failure of power may cost what was answered for, in words for the operator.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn warnings(&self) -> Result<Vec<String>, StoreError> {
        Ok(Vec::new())
    }
}

/// The keys under which an event with this id may stand.
pub(super) fn keys_of(id: &str, sender: Option<Sender>) -> Vec<EventKey> {
    let senders = Sender::ALL.into_iter().filter(|one| sender.is_none_or(|wanted| wanted == *one));
    senders.flat_map(|sender| EventKey::candidates(sender, id)).collect()
}
