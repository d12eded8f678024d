//! A three-way merge of registries, in which no hook is lost.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;

use super::changed::ChangedEntry;
use super::conflicts::OpenConflicts;
use super::duplicates::{Duplicate, duplicates};
use super::lineage::{Lineage, Purpose, lineages, purpose};
use super::{HookEntry, RegistryFile};

/// A merge, and what to say about it.
#[derive(Debug)]
pub struct Merged {
    /// The result. Where both sides differ and nobody can tell who is right, it has the value of ours, and the conflict.
    pub file: RegistryFile,
    /// What is there twice now, as each side has made it.
    pub duplicates: Vec<Duplicate>,
}

/// Merges what two sides made of `base`. An entry that one side dropped and the other left as it was is dropped, and so is
/// one in doubt of which a side knows now what has become of it; any other that a side has is in the result. Conflicts that
/// the base has and a side has not any more are decided; others stay open.
pub fn merge(base: &RegistryFile, ours: &RegistryFile, theirs: &RegistryFile) -> Merged {
    let open = OpenConflicts { base: &base.conflicts, ours: &ours.conflicts, theirs: &theirs.conflicts };
    let lineages = lineages([&base.hooks, &ours.hooks, &theirs.hooks]);
    let discoveries = [Discoveries::of_ours(&lineages), Discoveries::of_theirs(&lineages)];
    let mut conflicts = Vec::new();
    let rows = lineages.iter().filter_map(|lineage| merge_row(lineage, &open, &discoveries, &mut conflicts));
    let hooks: Vec<HookEntry> = rows.collect();
    conflicts.extend(shared_numbers(&hooks, [&ours.hooks, &theirs.hooks]));
    let duplicates = duplicates(&hooks, &base.hooks);
    let conflicts = [open.left(), conflicts].concat();
    Merged { file: RegistryFile { conflicts, ..RegistryFile::new(hooks) }, duplicates }
}

/// What becomes of a row.
fn merge_row(
    lineage: &Lineage<'_>,
    open: &OpenConflicts<'_>,
    [of_ours, of_theirs]: &[Discoveries; 2],
    conflicts: &mut Vec<String>,
) -> Option<HookEntry> {
    let Lineage { base, ours, theirs } = *lineage;
    let decided = open.decided(base, None);
    if ours == theirs || (base == theirs && !decided.theirs) {
        return ours.cloned();
    }
    if base == ours && !decided.ours {
        return theirs.cloned();
    }
    match (ours, theirs) {
        (Some(ours), Some(theirs)) => Some(ChangedEntry { base, ours, theirs, open, conflicts }.merge()),
        (Some(kept), None) => kept_entry(base, kept, ["ours", "theirs"], of_theirs, conflicts),
        (None, Some(kept)) => kept_entry(base, kept, ["theirs", "ours"], of_ours, conflicts),
        (None, None) => None,
    }
}

/// An entry that one side has and the other dropped, which is a conflict unless one of them found out its number.
fn kept_entry(
    base: Option<&HookEntry>,
    kept: &HookEntry,
    [keeping, dropping]: [&str; 2],
    discoveries: &Discoveries,
    conflicts: &mut Vec<String>,
) -> Option<HookEntry> {
    if let Some(base) = base.filter(|base| base.hook_id.is_none()) {
        if kept.hook_id.is_some() {
            return Some(kept.clone());
        }
        if kept.settings() == base.settings() && discoveries.include(kept) {
            return None;
        }
    }
    let did = if base == Some(kept) { "kept" } else { "changed" };
    let what = format!("{}: {keeping} {did} it, {dropping} dropped it: it is kept", kept.name_in_conflicts());
    conflicts.push(what);
    Some(kept.clone())
}

/// What a side may know of subscriptions that were in doubt, other than by the row itself: it forgot those, and has hooks for
/// the same that the other side does not know.
struct Discoveries(HashMap<Purpose, Discovery>);

#[derive(Default)]
struct Discovery {
    forgotten: usize,
    hooks: Vec<Timestamp>,
}

impl Discoveries {
    fn of_ours(lineages: &[Lineage<'_>]) -> Self {
        Self::new(lineages.iter().map(|row| (row.base, row.ours, row.theirs)))
    }

    fn of_theirs(lineages: &[Lineage<'_>]) -> Self {
        Self::new(lineages.iter().map(|row| (row.base, row.theirs, row.ours)))
    }

    fn new<'a>(
        rows: impl Iterator<Item = (Option<&'a HookEntry>, Option<&'a HookEntry>, Option<&'a HookEntry>)>,
    ) -> Self {
        let mut found: HashMap<Purpose, Discovery> = HashMap::new();
        for row in rows {
            match row {
                (Some(doubt), None, _) if doubt.hook_id.is_none() => {
                    found.entry(purpose(doubt)).or_default().forgotten += 1;
                }
                (None, Some(hook), None) if hook.hook_id.is_some() => {
                    found.entry(purpose(hook)).or_default().hooks.push(hook.created_at);
                }
                _ => {}
            }
        }
        Self(found)
    }

    /// Whether there is a hook for each that was forgotten, recorded no earlier than this one.
    fn include(&self, doubt: &HookEntry) -> bool {
        self.0.get(&purpose(doubt)).is_some_and(|Discovery { forgotten, hooks }| {
            hooks.iter().filter(|recorded| **recorded >= doubt.created_at).count() >= *forgotten
        })
    }
}

/// The numbers that two hooks have of which neither has ended, unless a side had them so: both sides gave them to another one.
fn shared_numbers(hooks: &[HookEntry], sides: [&[HookEntry]; 2]) -> Vec<String> {
    fn living(hooks: &[HookEntry]) -> BTreeMap<(&str, i64), Vec<&HookEntry>> {
        let mut found: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for entry in hooks.iter().filter(|entry| !entry.is_ended()) {
            if let Some(id) = entry.hook_id {
                found.entry((entry.api_url.as_str(), id)).or_default().push(entry);
            }
        }
        found.retain(|_, entries| entries.len() > 1);
        found
    }
    let before = sides.map(living);
    let is_new = |number: &(&str, i64)| !before.iter().any(|side| side.contains_key(number));
    living(hooks).into_iter().filter(|(number, _)| is_new(number)).map(|(_, entries)| said_of(&entries)).collect()
}

/// What is said of hooks that have the same number.
fn said_of(entries: &[&HookEntry]) -> String {
    let first = purpose(entries[0]);
    if entries.iter().all(|entry| purpose(entry) == first) {
        let when: Vec<String> = entries.iter().map(|entry| format!("at {}", entry.created_at)).collect();
        return format!(
            "{}: it was recorded {}; keep one, or say which of them has ended",
            entries[0].name(),
            when.join(" and ")
        );
    }
    let what: Vec<String> = entries
        .iter()
        .map(|entry| format!("{} of app {} to {}", entry.event, entry.app_id, entry.shown_target()))
        .collect();
    format!("{}: it is for {}; one of them has ended", entries[0].name(), what.join(" and for "))
}
