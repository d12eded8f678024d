//! What was told of each condition, and what is to be told: only changes are. Pure; time is an argument.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::condition::{AlertCondition, AlertState};

/// The most conditions that are not good, or were not a moment ago.
const MAX_CONDITIONS: usize = 1000;

/// When alerts are sent.
#[derive(Debug, Clone, Copy)]
pub struct AlertTiming {
    /// How long a condition must have been good until that is told.
    pub hold: Duration,
    /// How long nothing is told of a count that keeps growing.
    pub quiet: Duration,
    /// How often it is looked at what nobody notices by itself: dead letters, and whether there is room on the disk.
    pub look: Duration,
    /// How long to wait after the endpoint failed; twice as long each time, and no longer than the second.
    pub first_wait: Duration,
    /// The longest wait.
    pub longest_wait: Duration,
}

impl Default for AlertTiming {
    fn default() -> Self {
        Self {
            hold: Duration::from_secs(60),
            quiet: Duration::from_secs(60 * 60),
            look: Duration::from_secs(10),
            first_wait: Duration::from_secs(1),
            longest_wait: Duration::from_secs(5 * 60),
        }
    }
}

/// A moment: for durations, and for people.
#[derive(Debug, Clone, Copy)]
pub(super) struct AlertTime {
    pub(super) instant: Instant,
    pub(super) wall: Timestamp,
}

impl AlertTime {
    pub(super) fn now() -> Self {
        Self { instant: Instant::now(), wall: Timestamp::now() }
    }
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AlertCause {
    /// For people.
    pub(super) what: String,
    /// How much there is of it, where that grows; else zero.
    pub(super) count: u64,
}

/// A change that is to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AlertMessage {
    pub(super) condition: AlertCondition,
    pub(super) state: AlertState,
    pub(super) summary: String,
    pub(super) count: u64,
    /// Since when it is so.
    pub(super) since: Timestamp,
}

/// What became of an attempt to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Telling {
    Told,
    NotTold,
    /// It may have been heard.
    InDoubt,
}

/// What the endpoint knows of a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Knowledge {
    /// That it is good, or nothing.
    Good,
    /// That it is not, with this count at most. Nothing is told of a greater one until then.
    Firing { count: u64, quiet_until: Option<Instant> },
    /// One or the other.
    InDoubt,
}

/// A condition that is not good, or that the endpoint does not know to be good.
#[derive(Debug)]
struct AlertEntry {
    problem: Option<AlertCause>,
    /// When it last changed between good and not.
    changed: AlertTime,
    /// When it ceased to be good, with short times between in which it was.
    began: Timestamp,
    known: Knowledge,
    /// The turn of the last attempt to tell it.
    turn: u64,
}

impl AlertEntry {
    /// When there is something to tell, and what.
    fn due(&self, timing: &AlertTiming) -> Option<(Instant, AlertState)> {
        let at = match (&self.problem, self.known) {
            (Some(_), Knowledge::Good | Knowledge::InDoubt) => self.changed.instant,
            (Some(problem), Knowledge::Firing { count, quiet_until }) if problem.count > count => {
                quiet_until.unwrap_or(self.changed.instant)
            }
            (None, Knowledge::Firing { .. } | Knowledge::InDoubt) => self.changed.instant + timing.hold,
            (Some(_), Knowledge::Firing { .. }) | (None, Knowledge::Good) => return None,
        };
        let state = if self.problem.is_some() { AlertState::Firing } else { AlertState::Resolved };
        Some((at, state))
    }

    fn is_over(&self) -> bool {
        self.problem.is_none() && self.known == Knowledge::Good
    }
}

/// All conditions that there is something to say about.
pub(super) struct AlertBoard {
    entries: BTreeMap<AlertCondition, AlertEntry>,
    timing: AlertTiming,
    turn: u64,
    /// What is being told.
    in_flight: Option<AlertCondition>,
}

impl AlertBoard {
    pub(super) fn new(timing: AlertTiming) -> Self {
        Self { entries: BTreeMap::new(), timing, turn: 0, in_flight: None }
    }

    /// Notes how a condition is. Returns whether there was room for it.
    pub(super) fn set(&mut self, condition: AlertCondition, problem: Option<AlertCause>, now: AlertTime) -> bool {
        let Some(entry) = self.entries.get_mut(&condition) else {
            let has_room = self.entries.len() < MAX_CONDITIONS;
            if problem.is_some() && has_room {
                let known = Knowledge::Good;
                let entry = AlertEntry { problem, changed: now, began: now.wall, known, turn: 0 };
                self.entries.insert(condition, entry);
            }
            return has_room;
        };
        if entry.problem.is_some() != problem.is_some() {
            entry.changed = now;
            if problem.is_some() && entry.known == Knowledge::Good {
                entry.began = now.wall;
            }
        }
        if let (Some(problem), Knowledge::Firing { count, .. }) = (&problem, &mut entry.known) {
            *count = problem.count.min(*count);
        }
        entry.problem = problem;
        self.tidy(&condition);
        true
    }

    /// Notes how a condition is, as something that need not be told.
    pub(super) fn set_known(&mut self, condition: &AlertCondition, problem: Option<AlertCause>, now: AlertTime) {
        let known = match &problem {
            Some(problem) => Knowledge::Firing { count: problem.count, quiet_until: None },
            None => Knowledge::Good,
        };
        self.set(condition.clone(), problem, now);
        if let Some(entry) = self.entries.get_mut(condition) {
            entry.known = known;
        }
        self.tidy(condition);
    }

    /// The conditions that are not good.
    pub(super) fn firing(&self) -> impl Iterator<Item = &AlertCondition> {
        self.entries.iter().filter(|(_, entry)| entry.problem.is_some()).map(|(condition, _)| condition)
    }

    /// What is to be told now: of what was not tried for longest. It is told until `ended` says what became of that.
    pub(super) fn next(&mut self, now: Instant) -> Option<AlertMessage> {
        let due = |(condition, entry): (&AlertCondition, &AlertEntry)| {
            let (at, state) = entry.due(&self.timing).filter(|(at, _)| *at <= now)?;
            Some(((entry.turn, at), condition.clone(), state))
        };
        let (_, condition, state) = self.entries.iter().filter_map(due).min_by_key(|(order, ..)| *order)?;
        let entry = self.entries.get_mut(&condition)?;
        self.turn += 1;
        entry.turn = self.turn;
        let (summary, count, since) = match &entry.problem {
            Some(problem) => (problem.what.clone(), problem.count, entry.began),
            None => (condition.all_clear(), 0, entry.changed.wall),
        };
        self.in_flight = Some(condition.clone());
        Some(AlertMessage { condition, state, summary, count, since })
    }

    /// How long until there is something to tell, if nothing changes.
    pub(super) fn wait(&self, now: Instant) -> Option<Duration> {
        let due = self.entries.values().filter_map(|entry| entry.due(&self.timing));
        due.map(|(at, _)| at.saturating_duration_since(now)).min()
    }

    /// How much there is to tell now.
    pub(super) fn untold(&self, now: Instant) -> usize {
        self.entries.values().filter(|entry| entry.due(&self.timing).is_some_and(|(at, _)| at <= now)).count()
    }

    /// Notes what became of telling this.
    pub(super) fn ended(&mut self, message: &AlertMessage, telling: Telling, now: Instant) {
        self.in_flight = None;
        let Some(entry) = self.entries.get_mut(&message.condition) else { return };
        match (telling, message.state) {
            (Telling::Told, AlertState::Firing) => {
                let count = entry.problem.as_ref().map_or(0, |problem| problem.count).min(message.count);
                entry.known = Knowledge::Firing { count, quiet_until: Some(now + self.timing.quiet) };
            }
            (Telling::Told, AlertState::Resolved) => {
                entry.known = Knowledge::Good;
                // If it is not good again meanwhile, that is something new.
                entry.began = entry.changed.wall;
            }
            (Telling::InDoubt, _) => entry.known = Knowledge::InDoubt,
            (Telling::NotTold, _) => {}
        }
        self.tidy(&message.condition);
    }

    /// Forgets a condition that there is nothing to say about.
    fn tidy(&mut self, condition: &AlertCondition) {
        let is_over = self.entries.get(condition).is_some_and(AlertEntry::is_over);
        if is_over && self.in_flight.as_ref() != Some(condition) {
            self.entries.remove(condition);
        }
    }
}

#[cfg(test)]
mod tests;
