//! A three-way merge of registries, in which no hook is lost.

use std::collections::{BTreeMap, BTreeSet};

use super::{HookEntry, RegistryFile};
use crate::domain::{HookStatus, TargetUrl};

/// A merge, and what to say about it.
#[derive(Debug)]
pub struct Merged {
    /// The result. Where both sides differ and nobody can tell who is right, it has the value of ours, and the conflict.
    pub file: RegistryFile,
    /// What is there twice now, as each side has made it.
    pub duplicates: Vec<String>,
}

/// What makes two entries the same hook: its number, or what it is for while that is not known.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum HookKey {
    Numbered(String, i64),
    Unknown(String, i64, &'static str, String),
}

fn key(entry: &HookEntry) -> HookKey {
    match entry.hook_id {
        Some(id) => HookKey::Numbered(entry.api_url.clone(), id),
        None => HookKey::Unknown(entry.api_url.clone(), entry.app_id, entry.event.as_str(), endpoint(entry)),
    }
}

fn endpoint(entry: &HookEntry) -> String {
    TargetUrl::from_stored(entry.target_url.clone()).redacted_endpoint()
}

/// The entries by what they are; of several with the same number the one that has not ended, or else the newest.
fn by_key(file: &RegistryFile) -> BTreeMap<HookKey, HookEntry> {
    let rank = |entry: &HookEntry| (!is_ended(entry), entry.updated_at);
    let mut entries: BTreeMap<HookKey, HookEntry> = BTreeMap::new();
    for entry in &file.hooks {
        let known = entries.entry(key(entry)).or_insert_with(|| entry.clone());
        if rank(entry) > rank(known) {
            *known = entry.clone();
        }
    }
    entries
}

fn is_ended(entry: &HookEntry) -> bool {
    entry.status.parse().is_ok_and(HookStatus::is_ended)
}

/// Merges what two sides made of `base`. An entry that one side dropped and the other left as it was is dropped; any other
/// that a side has is in the result.
pub fn merge(base: &RegistryFile, ours: &RegistryFile, theirs: &RegistryFile) -> Merged {
    let (base, ours, theirs) = (by_key(base), by_key(ours), by_key(theirs));
    let keys: BTreeSet<&HookKey> = base.keys().chain(ours.keys()).chain(theirs.keys()).collect();
    let (mut hooks, mut conflicts) = (Vec::new(), Vec::new());
    for key in keys {
        let (base, ours, theirs) = (base.get(key), ours.get(key), theirs.get(key));
        let merged = match (ours, theirs) {
            (ours, theirs) if ours == theirs || base == theirs => ours.cloned(),
            (ours, theirs) if base == ours => theirs.cloned(),
            (Some(ours), Some(theirs)) => Some(ChangedEntry { base, ours, theirs, conflicts: &mut conflicts }.merge()),
            (Some(kept), None) | (None, Some(kept)) => {
                let (changed, dropped) = if ours.is_some() { ("ours", "theirs") } else { ("theirs", "ours") };
                conflicts.push(format!("{}: {changed} changed it, {dropped} dropped it: it is kept", kept.name()));
                Some(kept.clone())
            }
            (None, None) => None,
        };
        hooks.extend(merged);
    }
    let duplicates = duplicates(&hooks, &base);
    let file = RegistryFile { conflicts, ..RegistryFile::new(hooks) };
    Merged { file, duplicates }
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
            app_id: self.field("app_id", |entry| entry.app_id),
            event: self.field("event", |entry| entry.event),
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
        let url = |entry: &HookEntry| TargetUrl::from_stored(entry.target_url.clone());
        let (ours, theirs) = (url(self.ours), url(self.theirs));
        if ours.is_same_endpoint(&theirs) {
            let whole = if ours.is_redacted() { &self.theirs } else { &self.ours };
            return whole.target_url.clone();
        }
        self.decide(
            "target_url",
            |entry| entry.target_url.clone(),
            |text| TargetUrl::from_stored(text.clone()).to_string(),
        )
    }

    fn optional(&mut self, name: &str, of: impl Fn(&HookEntry) -> Option<String>) -> Option<String> {
        self.decide(name, of, |value| value.as_ref().map_or_else(|| "none".to_owned(), |text| format!("\"{text}\"")))
    }

    fn field<T: PartialEq + ToString>(&mut self, name: &str, of: impl Fn(&HookEntry) -> T) -> T {
        self.decide(name, of, T::to_string)
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

/// The hooks that are there more often than they were in the base: both sides have made them.
fn duplicates(hooks: &[HookEntry], base: &BTreeMap<HookKey, HookEntry>) -> Vec<String> {
    let what_for = |entry: &HookEntry| (entry.api_url.clone(), entry.app_id, entry.event.as_str(), endpoint(entry));
    let mut known: BTreeMap<_, usize> = BTreeMap::new();
    for entry in base.values().filter(|entry| !is_ended(entry)) {
        *known.entry(what_for(entry)).or_default() += 1;
    }
    let mut ids: BTreeMap<_, Vec<i64>> = BTreeMap::new();
    for entry in hooks.iter().filter(|entry| !is_ended(entry)) {
        ids.entry(what_for(entry)).or_default().extend(entry.hook_id);
    }
    let more = |(key, ids): &(_, Vec<i64>)| ids.len() > known.get(key).copied().unwrap_or(0).max(1);
    let said = |((_, app, event, _), ids): ((String, i64, &str, String), Vec<i64>)| {
        let ids: Vec<String> = ids.iter().map(i64::to_string).collect();
        format!("{event} of app {app} has the hooks {} for the same target", ids.join(" and "))
    };
    ids.into_iter().filter(more).map(said).collect()
}
