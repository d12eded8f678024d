//! What is on record several times for the same.

use std::collections::BTreeMap;

use super::HookEntry;
use super::lineage::{Purpose, purpose};

/// What is there more often than it was in the base: both sides have made one.
pub(super) fn duplicates(hooks: &[HookEntry], base: &[HookEntry]) -> Vec<Duplicate> {
    let known = by_purpose(base);
    let more = |(purpose, made): &(Purpose, Vec<_>)| made.len() > known.get(purpose).map_or(0, Vec::len).max(1);
    by_purpose(hooks).into_iter().filter(more).map(|(_, made)| Duplicate::of(&made)).collect()
}

/// What has not ended, by what it is for. A number is of one hook.
fn by_purpose(hooks: &[HookEntry]) -> BTreeMap<Purpose, Vec<&HookEntry>> {
    let mut found: BTreeMap<Purpose, Vec<&HookEntry>> = BTreeMap::new();
    for entry in hooks.iter().filter(|entry| !entry.is_ended()) {
        let known = found.entry(purpose(entry)).or_default();
        if entry.hook_id.is_none() || known.iter().all(|other| other.hook_id != entry.hook_id) {
            known.push(entry);
        }
    }
    found
}

/// Several hooks for the same: each event arrives as often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Duplicate {
    /// What they are for.
    pub subscription: String,
    /// Their numbers, the oldest first.
    pub hook_ids: Vec<i64>,
    /// Whether there are others that have no known number.
    pub with_unknown: bool,
}

impl Duplicate {
    fn of(made: &[&HookEntry]) -> Self {
        let mut oldest_first = made.to_vec();
        oldest_first.sort_by_key(|entry| (entry.created_at, entry.hook_id));
        let HookEntry { event, app_id, api_url, .. } = made[0];
        Self {
            subscription: format!("{event} of app {app_id} to {} at {api_url}", made[0].shown_target()),
            hook_ids: oldest_first.iter().filter_map(|entry| entry.hook_id).collect(),
            with_unknown: made.iter().any(|entry| entry.hook_id.is_none()),
        }
    }
}
