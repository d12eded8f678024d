//! The targets on record, and the attempts to forward to them.

use jiff::Timestamp;

use super::StoreError;
use super::events::{EventSeq, EventState};
use super::queue::{AttemptReport, Route, TargetId};

/// An attempt as the inbox has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptRecord {
    /// Its number among those of the forward, 1 for the first.
    pub number: u32,
    /// When it ended.
    pub at: Timestamp,
    /// What is known of it.
    pub report: AttemptReport,
    /// Why it failed, if it failed.
    pub error: Option<String>,
    /// When the next was due, if there was to be one.
    pub next_at: Option<Timestamp>,
}

/// An event's way to one target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForwardRecord {
    /// The target's name.
    pub target: String,
    /// How far it has come: pending, forwarded or dead.
    pub state: EventState,
    /// How many attempts were made.
    pub attempts: u32,
    /// The newest attempts, oldest first.
    pub newest_attempts: Vec<AttemptRecord>,
}

/// A target as the inbox has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetRecord {
    /// Its id.
    pub id: TargetId,
    /// Its name.
    pub name: String,
    /// Since when it is paused, if it is.
    pub paused_at: Option<Timestamp>,
    /// Until when its receivers leave it alone, as it is failing. A time that is past means nothing: they try again then, and
    /// one that was killed says nothing any more.
    pub suspended_until: Option<Timestamp>,
    /// How many forwards are pending for it.
    pub pending: u64,
    /// How many forwards to it are dead-lettered.
    pub dead: u64,
}

impl TargetRecord {
    /// Whether one of these routes leads to it.
    pub fn is_routed(&self, routes: &[Route]) -> bool {
        routes.iter().any(|route| route.target == self.id)
    }
}

/// The targets on record. Any process may look at them and pause them, whether or not one receives.
pub trait Targets: Send {
    /// Every target that something was ever forwarded to, by name.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn target_records(&self) -> Result<Vec<TargetRecord>, StoreError>;

    /// The ways of an event, each with the newest attempts.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn forwards_of(&self, event: EventSeq) -> Result<Vec<ForwardRecord>, StoreError>;

    /// Pauses a target: nothing is claimed for it or expires until it is resumed. Returns whether it was not paused.
    ///
    /// # Errors
    /// When the store cannot be written.
    fn pause_target(&mut self, target: TargetId, now: Timestamp) -> Result<bool, StoreError>;

    /// Resumes a target: what is pending for it has its full time from `now` on. Returns whether it was paused.
    ///
    /// # Errors
    /// When the store cannot be written.
    fn resume_target(&mut self, target: TargetId, now: Timestamp) -> Result<bool, StoreError>;

    /// Dead-letters some of what is pending for a target and was queued before `now`. Returns how many; to be called
    /// again, at the same time, while there are any.
    ///
    /// # Errors
    /// When the store cannot be written.
    fn drop_pending(&mut self, target: TargetId, now: Timestamp) -> Result<u64, StoreError>;
}
