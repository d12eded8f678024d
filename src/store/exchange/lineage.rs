//! Which entries of three versions of a file are the same row.

use std::collections::{BTreeMap, VecDeque};

use jiff::Timestamp;

use super::HookEntry;

/// What a row is for: installation, app, event and endpoint without its password.
pub(super) type Purpose = (String, i64, &'static str, String);

pub(super) fn purpose(entry: &HookEntry) -> Purpose {
    (entry.api_url.clone(), entry.app_id, entry.event.as_str(), entry.target().redacted_endpoint())
}

/// A row, as each version has it that has it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lineage<'a> {
    pub(super) base: Option<&'a HookEntry>,
    pub(super) ours: Option<&'a HookEntry>,
    pub(super) theirs: Option<&'a HookEntry>,
}

/// The rows of the three versions. What a row is for and when it was recorded stays; its number may be found out. Rows that
/// are the same in both, as two requests of one second, are told apart by their numbers, and then by what else they say.
pub(super) fn lineages<'a>(versions: [&'a [HookEntry]; 3]) -> Vec<Lineage<'a>> {
    let mut groups: BTreeMap<(Purpose, Timestamp), [Vec<&'a HookEntry>; 3]> = BTreeMap::new();
    for (version, entries) in versions.into_iter().enumerate() {
        for entry in entries {
            groups.entry((purpose(entry), entry.created_at)).or_default()[version].push(entry);
        }
    }
    groups.into_values().flat_map(lineages_of_group).collect()
}

fn lineages_of_group([base, ours, theirs]: [Vec<&HookEntry>; 3]) -> Vec<Lineage<'_>> {
    let [(ours, new_ours), (theirs, new_theirs)] = [ours, theirs].map(|side| Pairs::new(&base, side).descendants());
    let mut lineages = Vec::with_capacity(base.len());
    for ((base, ours), theirs) in base.into_iter().map(Some).zip(ours).zip(theirs) {
        let number = |entry: Option<&HookEntry>| entry.and_then(|entry| entry.hook_id);
        if number(ours).zip(number(theirs)).is_some_and(|(ours, theirs)| ours != theirs) {
            // A subscription in doubt, of which each side knows another hook: both are there.
            lineages.push(Lineage { base, ours, theirs: None });
            lineages.push(Lineage { base, ours: None, theirs });
        } else {
            lineages.push(Lineage { base, ours, theirs });
        }
    }
    let (found, rest) = Pairs::new(&new_ours, new_theirs).same_rows();
    let both = new_ours.into_iter().map(Some).zip(found);
    lineages.extend(both.map(|(ours, theirs)| Lineage { base: None, ours, theirs }));
    lineages.extend(rest.into_iter().map(|theirs| Lineage { base: None, ours: None, theirs: Some(theirs) }));
    lineages
}

/// The rows of one version, and those of another that are them.
struct Pairs<'a> {
    rows: Vec<(&'a HookEntry, Option<&'a HookEntry>)>,
    /// What is none of them yet.
    left: Vec<Option<&'a HookEntry>>,
}

/// What of the rows of one version was found, in their order, and what the other has besides.
type Descent<'a> = (Vec<Option<&'a HookEntry>>, Vec<&'a HookEntry>);

impl<'a> Pairs<'a> {
    fn new(rows: &[&'a HookEntry], others: Vec<&'a HookEntry>) -> Self {
        let rows = rows.iter().map(|row| (*row, None)).collect();
        Self { rows, left: others.into_iter().map(Some).collect() }
    }

    /// Those of two sides of which neither is older: two that are in doubt are one if they say the same.
    fn same_rows(mut self) -> Descent<'a> {
        self.pair_same();
        self.found()
    }

    /// What a later version has made of the rows. Of requests of one second that say the same, nobody can tell which was
    /// forgotten: all are then, and what is left is new.
    fn descendants(mut self) -> Descent<'a> {
        self.pair_same();
        let doubt = |entry: &'a HookEntry| entry.hook_id.is_none().then_some(());
        let hook = |entry: &'a HookEntry| entry.hook_id.map(|_| ());
        self.pair_all(|row| doubt(row).map(|()| row.settings()), |other| doubt(other).map(|()| other.settings()));
        self.pair_all(|row| doubt(row).map(|()| row.settings()), |other| hook(other).map(|()| other.settings()));
        self.pair_all(doubt, |_| Some(()));
        self.found()
    }

    fn pair_same(&mut self) {
        let state = |entry: &'a HookEntry| entry.hook_id.map(|id| (id, entry.is_ended()));
        self.pair(|row| Some(row.sort_key()), |other| Some(other.sort_key()));
        // The same in another spelling, or without its password.
        let spelled = |entry: &'a HookEntry| Some((entry.content(), entry.target().endpoint().into_owned()));
        let hidden = |entry: &'a HookEntry| entry.target().is_redacted().then(|| entry.content());
        let whole = |entry: &'a HookEntry| (!entry.target().is_redacted()).then(|| entry.content());
        self.pair(spelled, spelled);
        self.pair(hidden, whole);
        self.pair(whole, hidden);
        self.pair(state, state);
        self.pair(|row| row.hook_id, |other| other.hook_id);
    }

    /// Pairs the rows that have none yet with those of the same key, in their order.
    fn pair<K: Ord>(
        &mut self,
        of_row: impl Fn(&'a HookEntry) -> Option<K>,
        of_other: impl Fn(&'a HookEntry) -> Option<K>,
    ) {
        let mut places = self.places(of_other);
        for (row, found) in self.rows.iter_mut().filter(|(_, found)| found.is_none()) {
            let place = of_row(row).and_then(|key| places.get_mut(&key)?.pop_front());
            *found = place.and_then(|place| self.left[place].take());
        }
    }

    /// The same for keys that as many rows have in both.
    fn pair_all<K: Ord>(
        &mut self,
        of_row: impl Fn(&'a HookEntry) -> Option<K>,
        of_other: impl Fn(&'a HookEntry) -> Option<K>,
    ) {
        let mut counts: BTreeMap<K, usize> = BTreeMap::new();
        for key in self.rows.iter().filter(|(_, found)| found.is_none()).filter_map(|(row, _)| of_row(row)) {
            *counts.entry(key).or_default() += 1;
        }
        let others = self.places(&of_other);
        let is_of_all = |key: &K| counts.get(key).copied() == others.get(key).map(VecDeque::len);
        self.pair(|row| of_row(row).filter(is_of_all), of_other);
    }

    /// Where those are that are none of the rows yet, by their keys.
    fn places<K: Ord>(&self, of_other: impl Fn(&'a HookEntry) -> Option<K>) -> BTreeMap<K, VecDeque<usize>> {
        let mut places: BTreeMap<K, VecDeque<usize>> = BTreeMap::new();
        for (place, other) in self.left.iter().enumerate() {
            if let Some(key) = other.and_then(&of_other) {
                places.entry(key).or_default().push_back(place);
            }
        }
        places
    }

    fn found(self) -> Descent<'a> {
        (self.rows.into_iter().map(|(_, found)| found).collect(), self.left.into_iter().flatten().collect())
    }
}
