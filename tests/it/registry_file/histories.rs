//! What holds of every merge: two sides did something to the same registry.

use std::collections::BTreeMap;

use bugfender_hooks::store::exchange::{HookEntry, RegistryFile, merge};
use jiff::Timestamp;
use proptest::prelude::*;

use super::merging::{entry, unknown};

/// A row, and the name that nobody else knows it by.
#[derive(Debug, Clone)]
struct Row {
    name: usize,
    entry: HookEntry,
}

/// What is done to a row, of those that there are.
#[derive(Debug, Clone)]
enum Change {
    Label(usize),
    Owner(usize),
    Reason(usize),
    Removing,
    End,
    Forget,
    /// Its number is found out.
    Resolve(i64),
    /// It is forgotten, and the hook is recorded anew.
    Replace(i64),
    NewDoubt,
    NewHook(i64),
}

#[derive(Debug, Clone)]
struct Step {
    place: usize,
    app: i64,
    second: i64,
    change: Change,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let change = prop_oneof![
        3 => (0..3_usize).prop_map(Change::Label),
        1 => (0..3_usize).prop_map(Change::Owner),
        1 => (0..2_usize).prop_map(Change::Reason),
        1 => Just(Change::Removing),
        2 => Just(Change::End),
        2 => Just(Change::Forget),
        2 => (1..5_i64).prop_map(Change::Resolve),
        1 => (1..5_i64).prop_map(Change::Replace),
        1 => Just(Change::NewDoubt),
        2 => (1..5_i64).prop_map(Change::NewHook),
    ];
    let step = (0..8_usize, 1..3_i64, 10..13_i64, change).prop_map(|(place, app, second, change)| Step {
        place,
        app,
        second,
        change,
    });
    prop::collection::vec(step, 0..6)
}

/// What both begin with: several requests for the same, also of one second, and numbers that were given anew.
fn base() -> impl Strategy<Value = Vec<Row>> {
    let one = (1..3_i64, 0..3_i64, prop::option::of(1..5_i64), any::<bool>(), 0..3_usize);
    prop::collection::vec(one, 0..6).prop_map(|rows| {
        let mut registry = Registry { rows: Vec::new(), had: Vec::new(), names: 0, now: 0 };
        for (app, second, number, ends, label) in rows {
            let Some(id) = number else {
                registry.add(HookEntry { label: first_text(label), ..doubt(app, second) });
                continue;
            };
            if let Some(holder) = registry.living(id) {
                "gone".clone_into(&mut registry.rows[holder].entry.status);
            }
            // No server gives a number twice in a second.
            if registry.rows.iter().any(|row| place(&row.entry) == place(&hook(app, id, second))) {
                continue;
            }
            let status = if ends { "removed" } else { "active" };
            registry.add(HookEntry { label: first_text(label), status: status.to_owned(), ..hook(app, id, second) });
        }
        registry.rows
    })
}

fn doubt(app: i64, second: i64) -> HookEntry {
    let entry = unknown(app, second);
    HookEntry { updated_at: entry.created_at, ..entry }
}

fn hook(app: i64, id: i64, second: i64) -> HookEntry {
    let at = Timestamp::from_second(second).unwrap();
    HookEntry { app_id: app, created_at: at, updated_at: at, ..entry(id) }
}

fn text(value: usize) -> Option<String> {
    ["", "x", "y"].get(value).filter(|text| !text.is_empty()).map(|text| (*text).to_owned())
}

/// What nobody says later.
fn first_text(value: usize) -> Option<String> {
    text(value).map(|text| format!("first {text}"))
}

/// A registry on its way.
struct Registry {
    rows: Vec<Row>,
    /// What it began with.
    had: Vec<Place>,
    /// How many names were given.
    names: usize,
    now: i64,
}

impl Registry {
    fn add(&mut self, entry: HookEntry) {
        self.names += 1;
        self.rows.push(Row { name: self.names, entry });
    }

    fn living(&self, id: i64) -> Option<usize> {
        self.rows.iter().position(|row| row.entry.hook_id == Some(id) && !is_ended(&row.entry))
    }

    /// A server gives a number to one hook: whoever else has it is gone, if it is there for something else.
    fn takes(&mut self, id: i64, app: i64) -> bool {
        match self.living(id) {
            Some(holder) if self.rows[holder].entry.app_id == app => false,
            Some(holder) => {
                "gone".clone_into(&mut self.rows[holder].entry.status);
                true
            }
            None => true,
        }
    }

    fn take(&mut self, step: &Step) {
        self.now += 1;
        let Step { app, second, .. } = *step;
        match step.change {
            Change::NewDoubt => return self.add(doubt(app, second)),
            Change::NewHook(id) if self.takes(id, app) => return self.add(hook(app, id, second)),
            _ if self.rows.is_empty() => return,
            _ => {}
        }
        let index = step.place % self.rows.len();
        let Row { entry, .. } = self.rows[index].clone();
        let mut changed = HookEntry { updated_at: Timestamp::from_second(100 + self.now).unwrap(), ..entry.clone() };
        match step.change {
            // Of those of one second, each says something of its own.
            Change::Label(0) if self.had.iter().filter(|had| (had.0, had.1) == second_of(&entry)).count() > 1 => return,
            Change::Label(label) => changed.label = text(label),
            Change::Owner(owner) => changed.managed_by = text(owner).map(|name| name.parse().unwrap()),
            Change::Reason(reason) if entry.hook_id.is_none() => changed.reason = text(1 + reason),
            Change::Removing if entry.status == "active" => "removing".clone_into(&mut changed.status),
            Change::End if entry.hook_id.is_some() => "removed".clone_into(&mut changed.status),
            // What was forgotten of the same second and number is that hook.
            Change::Resolve(id)
                if entry.hook_id.is_none()
                    && !self.had.contains(&place(&HookEntry { hook_id: Some(id), ..entry.clone() }))
                    && self.takes(id, entry.app_id) =>
            {
                (changed.hook_id, changed.status, changed.reason) = (Some(id), "active".to_owned(), None);
            }
            Change::Replace(id) if entry.hook_id.is_none() && self.takes(id, entry.app_id) => {
                self.rows.remove(index);
                return self.add(hook(entry.app_id, id, second));
            }
            Change::Forget => {
                self.rows.remove(index);
                return;
            }
            _ => return,
        }
        self.rows[index].entry = changed;
    }
}

/// What a side has made of the base. What it adds has names of its own.
fn after(base: &[Row], steps: &[Step], side: usize) -> Vec<Row> {
    let had = base.iter().map(|row| place(&row.entry)).collect();
    let mut registry = Registry { rows: base.to_vec(), had, names: 1000 * side, now: 0 };
    for step in steps {
        registry.take(step);
    }
    registry.rows
}

fn is_ended(entry: &HookEntry) -> bool {
    entry.status == "removed" || entry.status == "gone"
}

fn file(rows: &[Row]) -> RegistryFile {
    RegistryFile::new(rows.iter().map(|row| row.entry.clone()).collect())
}

fn named(rows: &[Row], name: usize) -> Option<&HookEntry> {
    rows.iter().find(|row| row.name == name).map(|row| &row.entry)
}

/// What a row is told apart by.
type Place = (i64, Timestamp, Option<i64>);

fn place(entry: &HookEntry) -> Place {
    (entry.app_id, entry.created_at, entry.hook_id)
}

fn second_of(entry: &HookEntry) -> (i64, Timestamp) {
    (entry.app_id, entry.created_at)
}

fn counted<'a>(entries: impl IntoIterator<Item = &'a HookEntry>) -> BTreeMap<Place, usize> {
    let mut counts = BTreeMap::new();
    for entry in entries {
        *counts.entry(place(entry)).or_default() += 1;
    }
    counts
}

/// Whether there are requests of one second that say the same.
fn has_twins(rows: &[Row]) -> bool {
    let are_twins = |one: &Row, other: &Row| one.name != other.name && one.entry == other.entry;
    rows.iter().any(|one| rows.iter().any(|other| are_twins(one, other)))
}

fn by_second(places: &BTreeMap<Place, usize>) -> BTreeMap<(i64, Timestamp), usize> {
    let mut counts = BTreeMap::new();
    for ((app, second, _), count) in places {
        *counts.entry((*app, *second)).or_default() += count;
    }
    counts
}

/// The rows that a merge has at least, by what tells them apart.
fn expected([base, ours, theirs]: [&[Row]; 3]) -> BTreeMap<Place, usize> {
    let mut counts: BTreeMap<Place, usize> = BTreeMap::new();
    for Row { name, entry } in base {
        let found = match (named(ours, *name), named(theirs, *name)) {
            (Some(ours), Some(theirs)) if ours.hook_id.zip(theirs.hook_id).is_some_and(|(a, b)| a != b) => {
                vec![ours, theirs]
            }
            (Some(ours), Some(theirs)) => vec![if ours.hook_id.is_some() { ours } else { theirs }],
            (Some(kept), None) if kept != entry && !is_answered(entry, kept, base, theirs) => vec![kept],
            (None, Some(kept)) if kept != entry && !is_answered(entry, kept, base, ours) => vec![kept],
            _ => vec![],
        };
        for entry in found {
            *counts.entry(place(entry)).or_default() += 1;
        }
    }
    // What both have added and says the same is one; so is a hook of one number and second.
    let added = [ours, theirs].map(|side| {
        let mut new: BTreeMap<(Place, Option<String>), usize> = BTreeMap::new();
        for Row { entry, .. } in side.iter().filter(|row| named(base, row.name).is_none()) {
            let said = entry.hook_id.is_none().then(|| RegistryFile::new(vec![entry.clone()]).text());
            *new.entry((place(entry), said)).or_default() += 1;
        }
        new
    });
    let [mut all, others] = added;
    for (key, count) in others {
        let known = all.entry(key).or_default();
        *known = (*known).max(count);
    }
    for ((place, _), count) in all {
        *counts.entry(place).or_default() += count;
    }
    counts
}

/// Whether a side that forgot a request in doubt may have recorded what it made: it has a new hook for the same. What people
/// said of the request is not lost so.
fn is_answered(before: &HookEntry, kept: &HookEntry, base: &[Row], side: &[Row]) -> bool {
    let is_answer =
        |row: &Row| named(base, row.name).is_none() && row.entry.hook_id.is_some() && row.entry.app_id == before.app_id;
    kept.hook_id.is_none()
        && (&kept.label, &kept.managed_by) == (&before.label, &before.managed_by)
        && side.iter().any(is_answer)
}

/// The value that one side gave: none if both gave another one.
fn decided<'a, T: PartialEq>(base: &T, ours: &'a T, theirs: &'a T) -> Option<&'a T> {
    if ours == theirs || base == theirs {
        return Some(ours);
    }
    (base == ours).then_some(theirs)
}

/// Whether a row alone has what tells it apart when its number is not known.
fn is_alone(entry: &HookEntry, rows: &[Row]) -> bool {
    let alike = |row: &&Row| second_of(&row.entry) == second_of(entry);
    rows.iter().filter(alike).count() == 1
}

proptest! {
    #[test]
    fn a_merge_with_what_nobody_changed_is_the_other_side(base in base(), steps in steps()) {
        let (base, side) = (file(&base), file(&after(&base, &steps, 1)));
        for (ours, theirs) in [(&base, &side), (&side, &base), (&side, &side)] {
            let merged = merge(&base, ours, theirs).file;
            prop_assert_eq!(merged.text(), side.text());
        }
    }

    #[test]
    fn nothing_is_lost_whoever_merges_whom(base in base(), ours in steps(), theirs in steps()) {
        let (ours, theirs) = (after(&base, &ours, 1), after(&base, &theirs, 2));
        let files = [&base, &ours, &theirs].map(|rows| file(rows));
        let (one, other) = (merge(&files[0], &files[1], &files[2]).file, merge(&files[0], &files[2], &files[1]).file);
        let found = counted(&one.hooks);
        prop_assert_eq!(&found, &counted(&other.hooks));
        prop_assert_eq!(one.conflicts.len(), other.conflicts.len());
        if one.conflicts.is_empty() {
            prop_assert_eq!(one.text(), other.text());
        }
        // Each number is there, and there are as many rows. Of doubts that say the same, nobody can tell which is which.
        let expected = if has_twins(&base) { BTreeMap::new() } else { expected([&base, &ours, &theirs]) };
        prop_assert!(expected.keys().all(|place| place.2.is_none() || found.contains_key(place)), "{:?}", one.hooks);
        let found_of = by_second(&found);
        for (second, count) in by_second(&expected) {
            prop_assert!(found_of.get(&second).is_some_and(|found| *found >= count), "{:?}: {:?}", second, one.hooks);
        }
        let (of_ours, of_theirs) = (counted(&files[1].hooks), counted(&files[2].hooks));
        for (place, count) in &found {
            let known = [&of_ours, &of_theirs].map(|side| side.get(place).copied().unwrap_or(0));
            prop_assert!(*count <= known[0] + known[1], "{:?}", place);
        }
        // Read again it is the same.
        prop_assert_eq!(RegistryFile::parse(&one.text(), "x").unwrap().text(), one.text());
    }

    #[test]
    fn what_one_side_said_of_a_row_is_there(base in base(), ours in steps(), theirs in steps()) {
        let (ours, theirs) = (after(&base, &ours, 1), after(&base, &theirs, 2));
        let merged = merge(&file(&base), &file(&ours), &file(&theirs)).file;
        for Row { name, entry: before } in base.iter().filter(|row| is_alone(&row.entry, &base)) {
            let (Some(ours), Some(theirs)) = (named(&ours, *name), named(&theirs, *name)) else { continue };
            if ours.hook_id.zip(theirs.hook_id).is_some_and(|(a, b)| a != b) {
                continue;
            }
            let hook_id = ours.hook_id.or(theirs.hook_id);
            let wanted = (before.app_id, before.created_at, hook_id);
            let hooks: Vec<_> = merged.hooks.iter().filter(|entry| place(entry) == wanted).collect();
            prop_assert_eq!(hooks.len(), 1, "{:?}", merged.hooks);
            let is_over = (ours.hook_id.is_some() && is_ended(ours)) || (theirs.hook_id.is_some() && is_ended(theirs));
            prop_assert_eq!(is_ended(hooks[0]), is_over);
            for (decided, is) in [
                (decided(&before.label, &ours.label, &theirs.label).cloned(), hooks[0].label.clone()),
                (
                    decided(&before.managed_by, &ours.managed_by, &theirs.managed_by)
                        .map(|name| name.as_ref().map(ToString::to_string)),
                    hooks[0].managed_by.as_ref().map(ToString::to_string),
                ),
            ] {
                match decided {
                    Some(decided) => prop_assert_eq!(decided, is),
                    None => prop_assert!(!merged.conflicts.is_empty()),
                }
            }
        }
    }
}
