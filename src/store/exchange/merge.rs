//! A three-way merge of registries, in which no hook is lost.

use std::collections::{BTreeMap, BTreeSet};

use super::{HookEntry, RegistryFile, shown_target};
use crate::domain::HookStatus;

/// A merge, and what to say about it.
#[derive(Debug)]
pub struct Merged {
    /// The result. Where both sides differ and nobody can tell who is right, it has the value of ours, and the conflict.
    pub file: RegistryFile,
    /// What is there twice now, as each side has made it.
    pub duplicates: Vec<Duplicate>,
}

/// What an entry is for: installation, app, event and endpoint without its password.
type Purpose = (String, i64, &'static str, String);

/// What makes two entries the same hook: its number, if that is known, and what it is for, as a server that was reset gives
/// numbers anew. Of entries that are equal in both, the place in the order in which they were recorded.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct HookKey {
    purpose: Purpose,
    hook_id: Option<i64>,
    place: usize,
}

fn purpose(entry: &HookEntry) -> Purpose {
    (entry.api_url.clone(), entry.app_id, entry.event.as_str(), entry.target().redacted_endpoint())
}

/// The entries by what they are.
type Entries<'a> = BTreeMap<HookKey, &'a HookEntry>;

fn by_key(file: &RegistryFile) -> Entries<'_> {
    let mut oldest_first: Vec<&HookEntry> = file.hooks.iter().collect();
    oldest_first.sort_by_key(|entry| entry.created_at);
    let mut entries = BTreeMap::new();
    for entry in oldest_first {
        let mut key = HookKey { purpose: purpose(entry), hook_id: entry.hook_id, place: 0 };
        while entries.contains_key(&key) {
            key.place += 1;
        }
        entries.insert(key, entry);
    }
    entries
}

fn is_ended(entry: &HookEntry) -> bool {
    entry.status.parse().is_ok_and(HookStatus::is_ended)
}

/// Merges what two sides made of `base`. An entry that one side dropped and the other left as it was is dropped, and so is
/// one in doubt of which a side knows now what has become of it; any other that a side has is in the result.
pub fn merge(base: &RegistryFile, ours: &RegistryFile, theirs: &RegistryFile) -> Merged {
    let (base, ours, theirs) = (by_key(base), by_key(ours), by_key(theirs));
    let keys: BTreeSet<&HookKey> = base.keys().chain(ours.keys()).chain(theirs.keys()).collect();
    let (mut hooks, mut conflicts) = (Vec::new(), Vec::new());
    for key in keys {
        let entries = (base.get(key).copied(), ours.get(key).copied(), theirs.get(key).copied());
        let merged = match entries {
            (base, ours, theirs) if ours == theirs || base == theirs => ours.cloned(),
            (base, ours, theirs) if base == ours => theirs.cloned(),
            (base, Some(ours), Some(theirs)) => {
                Some(ChangedEntry { base, ours, theirs, conflicts: &mut conflicts }.merge())
            }
            (_, Some(kept), None) => kept_entry(key, kept, ["ours", "theirs"], [&base, &theirs], &mut conflicts),
            (_, None, Some(kept)) => kept_entry(key, kept, ["theirs", "ours"], [&base, &ours], &mut conflicts),
            (_, None, None) => None,
        };
        hooks.extend(merged);
    }
    conflicts.extend(shared_numbers(&hooks, [&ours, &theirs]));
    let duplicates = duplicates(&hooks, &base);
    let file = RegistryFile { conflicts, ..RegistryFile::new(hooks) };
    Merged { file, duplicates }
}

/// An entry that one side changed and the other dropped, which is a conflict unless the other has found out its number.
fn kept_entry(
    key: &HookKey,
    kept: &HookEntry,
    [changed, dropped]: [&str; 2],
    [base, dropping]: [&Entries<'_>; 2],
    conflicts: &mut Vec<String>,
) -> Option<HookEntry> {
    let is_news =
        |other: &HookKey| other.hook_id.is_some() && other.purpose == key.purpose && !base.contains_key(other);
    if key.hook_id.is_none() && dropping.keys().any(is_news) {
        return None;
    }
    conflicts.push(format!("{}: {changed} changed it, {dropped} dropped it: it is kept", kept.name()));
    Some(kept.clone())
}

/// The numbers that two hooks have of which neither has ended, unless a side had them so: both sides gave them to another one.
fn shared_numbers(hooks: &[HookEntry], sides: [&Entries<'_>; 2]) -> Vec<String> {
    fn living<'a>(hooks: impl Iterator<Item = &'a HookEntry>) -> BTreeMap<(&'a str, i64), Vec<&'a HookEntry>> {
        let mut found: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for entry in hooks.filter(|entry| !is_ended(entry)) {
            if let Some(id) = entry.hook_id {
                found.entry((entry.api_url.as_str(), id)).or_default().push(entry);
            }
        }
        found.retain(|_, entries| entries.len() > 1);
        found
    }
    let before = sides.map(|side| living(side.values().copied()));
    let is_new = |number: &(&str, i64)| !before.iter().any(|side| side.contains_key(number));
    let said = |entries: Vec<&HookEntry>| {
        let what: Vec<String> = entries
            .iter()
            .map(|entry| format!("{} of app {} to {}", entry.event, entry.app_id, entry.shown_target()))
            .collect();
        format!("{}: it is for {}; one of them has ended", entries[0].name(), what.join(" and for "))
    };
    living(hooks.iter()).into_iter().filter(|(number, _)| is_new(number)).map(|(_, entries)| said(entries)).collect()
}

/// An entry that both sides changed.
struct ChangedEntry<'a> {
    base: Option<&'a HookEntry>,
    ours: &'a HookEntry,
    theirs: &'a HookEntry,
    conflicts: &'a mut Vec<String>,
}

impl<'a> ChangedEntry<'a> {
    fn merge(mut self) -> HookEntry {
        let (ours, theirs) = (self.ours, self.theirs);
        let by_status = self.with_the_status();
        HookEntry {
            api_url: ours.api_url.clone(),
            hook_id: ours.hook_id,
            app_id: ours.app_id,
            event: ours.event,
            target_url: self.target(),
            status: by_status.status.clone(),
            reason: by_status.reason.clone(),
            label: self.optional("label", |entry| entry.label.clone()),
            managed_by: self
                .optional("managed_by", |entry| entry.managed_by.as_ref().map(ToString::to_string))
                .and_then(|name| name.parse().ok()),
            replaces: self
                .optional("replaces", |entry| entry.replaces.map(|id| id.to_string()))
                .and_then(|id| id.parse().ok()),
            created_at: ours.created_at.min(theirs.created_at),
            updated_at: ours.updated_at.max(theirs.updated_at),
        }
    }

    /// The side whose status holds: a hook that has ended does not come back; else the one that changed it, or changed last.
    fn with_the_status(&self) -> &'a HookEntry {
        let (ours, theirs) = (self.ours, self.theirs);
        let state = |entry: &HookEntry| (entry.status.clone(), entry.reason.clone());
        match (is_ended(ours), is_ended(theirs)) {
            (true, false) => ours,
            (false, true) => theirs,
            _ if self.base.is_some_and(|base| state(base) == state(ours)) => theirs,
            _ if self.base.is_some_and(|base| state(base) == state(theirs)) => ours,
            // The same for whoever merges whom.
            _ if (theirs.updated_at, &theirs.status) > (ours.updated_at, &ours.status) => theirs,
            _ => ours,
        }
    }

    /// A URL with its password is the same as one without, and better.
    fn target(&mut self) -> String {
        let (ours, theirs) = (self.ours.target(), self.theirs.target());
        if ours.is_same_endpoint(&theirs) {
            let whole = if ours.is_redacted() { &self.theirs } else { &self.ours };
            return whole.target_url.clone();
        }
        self.decide("target_url", |entry| entry.target_url.clone(), |text| shown_target(text))
    }

    fn optional(&mut self, name: &str, of: impl Fn(&HookEntry) -> Option<String>) -> Option<String> {
        self.decide(name, of, |value| value.as_ref().map_or_else(|| "none".to_owned(), |text| format!("\"{text}\"")))
    }

    /// The value that one side changed, or a conflict.
    fn decide<T: PartialEq>(&mut self, name: &str, of: impl Fn(&HookEntry) -> T, show: impl Fn(&T) -> String) -> T {
        let (ours, theirs) = (of(self.ours), of(self.theirs));
        let base = self.base.map(of);
        if ours == theirs || base.as_ref() == Some(&theirs) {
            return ours;
        }
        if base.as_ref() == Some(&ours) {
            return theirs;
        }
        let what = format!("{}: `{name}` is {} in ours and {} in theirs", self.ours.name(), show(&ours), show(&theirs));
        self.conflicts.push(what);
        ours
    }
}

/// What is there more often than it was in the base: both sides have made one.
fn duplicates(hooks: &[HookEntry], base: &Entries<'_>) -> Vec<Duplicate> {
    let mut known: BTreeMap<Purpose, usize> = BTreeMap::new();
    for (key, _) in base.iter().filter(|(_, entry)| !is_ended(entry)) {
        *known.entry(key.purpose.clone()).or_default() += 1;
    }
    let mut made: BTreeMap<Purpose, Vec<&HookEntry>> = BTreeMap::new();
    for entry in hooks.iter().filter(|entry| !is_ended(entry)) {
        made.entry(purpose(entry)).or_default().push(entry);
    }
    let more = |(purpose, made): &(Purpose, Vec<_>)| made.len() > known.get(purpose).copied().unwrap_or(0).max(1);
    made.into_iter().filter(more).map(|(_, made)| Duplicate::of(&made)).collect()
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
