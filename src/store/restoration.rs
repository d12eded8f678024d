//! Bringing in the hooks of another registry: which row becomes which hook. The same for every backend.

use std::collections::HashSet;

use jiff::Timestamp;

use super::Restored;
use super::registry_rules::FoundRow;
use crate::domain::{ApiOrigin, AppId, EventKind, HookId, HookRecord, RowId, TargetUrl};

/// What is to be done to bring in a hook of another registry.
pub(super) enum Restoration {
    /// It gets a row of its own.
    Add,
    /// This row becomes it.
    Change(FoundRow),
    /// Nothing.
    Keep(Restored),
}

/// What tells the rows of a registry from one another, in other registries too: a number may have been given anew, and a
/// subscription may have been asked for twice.
type RowKey<'a> = (&'a ApiOrigin, Option<HookId>, AppId, EventKind, Timestamp);

fn row_key(record: &HookRecord) -> RowKey<'_> {
    let wanted = &record.subscription;
    (&wanted.origin, record.hook_id, wanted.app_id, wanted.event, record.created_at)
}

/// The hooks of another registry on their way into this one.
pub(super) struct Restoring<'a> {
    hooks: &'a [HookRecord],
    keys: HashSet<RowKey<'a>>,
    numbers: HashSet<(&'a ApiOrigin, HookId)>,
    /// The rows that are one of the hooks already.
    taken: HashSet<RowId>,
}

impl<'a> Restoring<'a> {
    pub(super) fn new(hooks: &'a [HookRecord]) -> Self {
        let number = |hook: &'a HookRecord| hook.hook_id.map(|id| (&hook.subscription.origin, id));
        Self {
            hooks,
            keys: hooks.iter().map(row_key).collect(),
            numbers: hooks.iter().filter_map(number).collect(),
            taken: HashSet::new(),
        }
    }

    /// The order in which they are brought in: those that have ended first, as their numbers may be given anew.
    pub(super) fn order(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.hooks.len()).collect();
        order.sort_by_key(|index| !self.hooks[*index].status.is_ended());
        order
    }

    /// A row was added.
    pub(super) fn take(&mut self, row: RowId) {
        self.taken.insert(row);
    }

    /// What is to be done to bring in a hook, given the rows that hold or held its number, and the rows of its subscription
    /// that have not ended.
    pub(super) fn decide(&mut self, holders: Vec<FoundRow>, alike: Vec<FoundRow>, hook: &HookRecord) -> Restoration {
        let lives = !hook.status.is_ended();
        let living: Vec<RowId> =
            holders.iter().filter(|found| is_living(found)).map(|found| found.record.row).collect();
        let restoration = match hook.hook_id {
            Some(_) => self.decide_numbered(holders, alike, hook),
            None => self.decide_unknown(alike, hook),
        };
        let row = match &restoration {
            Restoration::Change(found) => Some(found.record.row),
            Restoration::Add => None,
            Restoration::Keep(_) => return restoration,
        };
        if lives && living.iter().any(|holder| Some(*holder) != row) {
            return Restoration::Keep(Restored::Conflict);
        }
        restoration
    }

    fn decide_numbered(&mut self, holders: Vec<FoundRow>, alike: Vec<FoundRow>, hook: &HookRecord) -> Restoration {
        let is_same = |found: &FoundRow| found.record.subscription.is_same_as(&hook.subscription);
        let (mut free, mut others): (Vec<_>, Vec<_>) =
            holders.into_iter().filter(is_same).partition(|found| self.is_free(found, hook));
        let lives = !hook.status.is_ended();
        // A number has one living hook, whichever row that has.
        let counterpart = take_best(&mut free, hook)
            .or_else(|| take_best(&mut others, hook).filter(|found| lives && is_living(found)));
        if let Some(found) = counterpart {
            return self.update(found, hook);
        }
        // A hook that was there before somebody asked for one is not what that made.
        let is_older = |found: &FoundRow| found.record.created_at <= hook.created_at;
        let mut unknown: Vec<_> =
            alike.into_iter().filter(|found| is_older(found) && self.is_unknown(found, hook)).collect();
        match take_best(&mut unknown, hook).filter(|_| lives) {
            None => Restoration::Add,
            Some(found) if found.in_progress => Restoration::Keep(Restored::InProgress),
            // It was in doubt here, and this is what has become of it.
            Some(found) => self.change(found),
        }
    }

    /// A subscription that was in doubt in the other registry. Here it may have become a hook, which then is one that the
    /// other registry does not know, and was recorded no earlier.
    fn decide_unknown(&mut self, alike: Vec<FoundRow>, hook: &HookRecord) -> Restoration {
        let origin = &hook.subscription.origin;
        let is_news = |id: HookId| !self.numbers.contains(&(origin, id));
        let is_what_became_of_it =
            |found: &FoundRow| found.record.created_at >= hook.created_at && found.record.hook_id.is_some_and(is_news);
        let is_resolved = alike.iter().any(is_what_became_of_it);
        // Two requests are two, each of which may have made a hook.
        let is_same_request = |found: &FoundRow| found.record.created_at == hook.created_at;
        let mut unknown: Vec<_> =
            alike.into_iter().filter(|found| is_same_request(found) && self.is_unknown(found, hook)).collect();
        match take_best(&mut unknown, hook) {
            Some(found) => self.update(found, hook),
            None if is_resolved => Restoration::Keep(Restored::Unchanged),
            None => Restoration::Add,
        }
    }

    fn is_unknown(&self, found: &FoundRow, hook: &HookRecord) -> bool {
        found.record.hook_id.is_none() && self.is_free(found, hook)
    }

    /// Whether a row may be this hook: it is none of the others.
    fn is_free(&self, found: &FoundRow, hook: &HookRecord) -> bool {
        let key = row_key(&found.record);
        !self.taken.contains(&found.record.row) && (key == row_key(hook) || !self.keys.contains(&key))
    }

    fn update(&mut self, found: FoundRow, hook: &HookRecord) -> Restoration {
        let record = &found.record;
        self.taken.insert(record.row);
        let revives = record.status.is_ended() && !hook.status.is_ended();
        // Of the same second: changed by hand, or by somebody who was as quick. Only what has ended does not come back so.
        let is_older = hook.updated_at < record.updated_at || (hook.updated_at == record.updated_at && revives);
        if is_older || says_the_same(record, hook) {
            Restoration::Keep(Restored::Unchanged)
        } else if found.in_progress {
            Restoration::Keep(Restored::InProgress)
        } else {
            Restoration::Change(found)
        }
    }

    fn change(&mut self, found: FoundRow) -> Restoration {
        self.taken.insert(found.record.row);
        Restoration::Change(found)
    }
}

fn is_living(found: &FoundRow) -> bool {
    !found.record.status.is_ended()
}

/// Of several rows the one that was recorded when the hook was, and says the same, or else one that has not ended, or else
/// the newest.
fn take_best(rows: &mut Vec<FoundRow>, hook: &HookRecord) -> Option<FoundRow> {
    let rank = |found: &FoundRow| {
        let record = &found.record;
        let is_recorded_then = record.created_at == hook.created_at;
        (is_recorded_then, says_the_same(record, hook), is_living(found), record.created_at, record.row)
    };
    let best = (0..rows.len()).max_by_key(|index| rank(&rows[*index]))?;
    Some(rows.swap_remove(best))
}

/// Whether a row is already what a hook of another registry would make of it.
fn says_the_same(record: &HookRecord, hook: &HookRecord) -> bool {
    let facts = |record: &HookRecord| {
        (record.hook_id, record.status, record.replaces, record.reason.clone(), record.created_at, record.updated_at)
    };
    facts(record) == facts(hook)
        && (&record.label, &record.managed_by) == (&hook.label, &hook.managed_by)
        && restored_target(record, hook) == &record.subscription.target_url
}

/// The endpoint that a row has after it became a hook of another registry: one with its password is better.
pub(super) fn restored_target<'a>(found: &'a HookRecord, hook: &'a HookRecord) -> &'a TargetUrl {
    let (known, given) = (&found.subscription.target_url, &hook.subscription.target_url);
    if given.is_redacted() && !known.is_redacted() { known } else { given }
}
