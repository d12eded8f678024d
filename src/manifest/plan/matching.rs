//! Which hook on record is which of the manifest.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{PlanAction, PlanOptions, PlannedHook, RemovalReason};
use crate::domain::{AppId, EventKind, HookId, HookRecord, HookStatus, Label, ManifestName};
use crate::manifest::WantedHook;

/// An endpoint of an event of an app.
type EndpointKey = (AppId, EventKind, String);

/// Hooks that may take one another's place: those of an event of an app with the same label.
type PlaceKey = (AppId, EventKind, Option<Label>);

/// The hooks on record that have not ended, and what becomes of them.
pub(super) struct Matching<'a> {
    name: &'a ManifestName,
    options: PlanOptions,
    /// The records, in the order of the registry; those that have found what becomes of them are gone.
    records: Vec<Option<HookRecord>>,
    by_endpoint: HashMap<EndpointKey, Vec<usize>>,
    /// Of URLs whose password is redacted.
    by_redacted_endpoint: HashMap<EndpointKey, Vec<usize>>,
    planned: Vec<PlannedHook>,
    /// The hooks of this manifest that are wanted and exist.
    kept: HashSet<HookPlace>,
    /// The endpoints of the wanted hooks that exist, whoever owns them.
    found: HashSet<EndpointKey>,
    /// Hooks of this manifest, by the hook that they take the place of.
    successors: HashMap<HookPlace, Successor>,
}

/// A hook of an event of an app: one with the number of another app's is none that could be replaced.
type HookPlace = (AppId, EventKind, HookId);

fn place(record: &HookRecord, hook: HookId) -> HookPlace {
    (record.subscription.app_id, record.subscription.event, hook)
}

/// A hook that takes the place of another.
#[derive(Clone, Copy)]
enum Successor {
    Active(Option<HookId>),
    InDoubt,
}

impl<'a> Matching<'a> {
    pub(super) fn new(name: &'a ManifestName, options: PlanOptions, mut records: Vec<HookRecord>) -> Self {
        // Whatever order the registry gives them in.
        records.sort_by_cached_key(|record| (record_key(record), record.hook_id, record.row));
        let mut by_endpoint: HashMap<_, Vec<usize>> = HashMap::with_capacity(records.len());
        let mut by_redacted_endpoint: HashMap<_, Vec<usize>> = HashMap::new();
        let mut successors = HashMap::new();
        for (index, record) in records.iter().enumerate() {
            let map =
                if record.subscription.target_url.is_redacted() { &mut by_redacted_endpoint } else { &mut by_endpoint };
            map.entry(record_key(record)).or_default().push(index);
            let successor = match record.status {
                HookStatus::Active => Some(Successor::Active(record.hook_id)),
                // It goes itself.
                HookStatus::Removing => None,
                _ => Some(Successor::InDoubt),
            };
            let replaced = record.replaces.filter(|_| record.managed_by.as_ref() == Some(name));
            if let Some((replaced, successor)) = replaced.zip(successor) {
                successors.insert(place(record, replaced), successor);
            }
        }
        let records = records.into_iter().map(Some).collect();
        let (planned, kept, found) = (Vec::new(), HashSet::new(), HashSet::new());
        Self { name, options, records, by_endpoint, by_redacted_endpoint, planned, kept, found, successors }
    }

    /// What is to be done, by app, event and endpoint.
    pub(super) fn plan(mut self, wanted: Vec<WantedHook>) -> Vec<PlannedHook> {
        let mut missing = Vec::new();
        self.planned.reserve_exact(wanted.len());
        for wanted in wanted {
            let found = self.find(&wanted);
            match found.and_then(|index| self.records[index].take()) {
                Some(record) => self.settle_found(wanted, record),
                None => missing.push(wanted),
            }
        }
        // There may be many: room for what follows.
        drop((std::mem::take(&mut self.by_endpoint), std::mem::take(&mut self.by_redacted_endpoint)));
        let left = self.settle_unwanted();
        self.pair(missing, left);
        self.planned.sort_by_cached_key(sort_key);
        self.planned
    }

    fn is_own(&self, record: &HookRecord) -> bool {
        record.managed_by.as_ref() == Some(self.name)
    }

    /// The record that stands for a wanted hook the best.
    fn find(&self, wanted: &WantedHook) -> Option<usize> {
        let key = |endpoint| (wanted.app_id, wanted.event, endpoint);
        let exact = self.by_endpoint.get(&key(wanted.target_url.endpoint().into_owned()));
        let redacted = (!self.by_redacted_endpoint.is_empty())
            .then(|| self.by_redacted_endpoint.get(&key(wanted.target_url.redacted_endpoint())))
            .flatten();
        let candidates = exact.into_iter().chain(redacted).flatten().copied();
        let records: Vec<&HookRecord> = candidates.clone().filter_map(|index| self.records[index].as_ref()).collect();
        // One that has taken the place of another for the same stands for both: that one goes.
        let has_successor = |record: &HookRecord| {
            let takes_place = |other: &&HookRecord| {
                other.status == HookStatus::Active && other.replaces == record.hook_id && other.row != record.row
            };
            record.hook_id.is_some() && records.iter().any(takes_place)
        };
        let rank = |index: &usize| {
            let record = self.records[*index].as_ref()?;
            let is_own = self.is_own(record);
            Some(match (record.status, &record.managed_by) {
                (HookStatus::Active, _) if is_own => 0,
                (HookStatus::Active, None) => 1,
                (HookStatus::Active, Some(_)) => 2,
                _ if is_own => 3,
                _ => 4,
            })
        };
        let ranked = |index: usize| {
            let is_replaced = has_successor(self.records[index].as_ref()?);
            Some((rank(&index)?, is_replaced, index))
        };
        candidates.filter_map(ranked).min().map(|(.., index)| index)
    }

    /// A wanted hook that is on record.
    fn settle_found(&mut self, wanted: WantedHook, record: HookRecord) {
        let is_own = self.is_own(&record);
        let same_label = record.label == wanted.label;
        let action = match (record.status, &record.managed_by) {
            (HookStatus::Active, Some(_)) if !is_own => PlanAction::Foreign,
            (HookStatus::Active, None) if !self.options.adopt => PlanAction::Unowned,
            (HookStatus::Active, None) => PlanAction::Adopt,
            (HookStatus::Active, Some(_)) if same_label => PlanAction::Keep,
            (HookStatus::Active, Some(_)) => PlanAction::Relabel,
            // Its removal began, and it is wanted again: one that surely exists is made before the removal is finished.
            (HookStatus::Removing, _) if is_own => PlanAction::Replace,
            _ => PlanAction::Unknown,
        };
        if record.status == HookStatus::Active {
            self.found.insert(record_key(&record));
        }
        if record.status == HookStatus::Active && is_own {
            self.kept.extend(record.hook_id.map(|id| place(&record, id)));
        }
        self.planned.push(PlannedHook::of_wanted(action, wanted, Some(record)));
    }

    /// The records of this manifest that it does not name. Gives those that are in nobody's place and may be replaced.
    fn settle_unwanted(&mut self) -> Vec<HookRecord> {
        let mut left = Vec::new();
        let rest = std::mem::take(&mut self.records).into_iter().flatten();
        let (own, others): (Vec<_>, Vec<_>) = rest.partition(|record| record.managed_by.as_ref() == Some(self.name));
        let is_second = |record: &HookRecord| {
            let is_free = record.managed_by.is_none() && record.status == HookStatus::Active;
            is_free && self.found.contains(&record_key(record))
        };
        let second = others.into_iter().filter(is_second);
        self.planned.extend(second.map(|record| PlannedHook::of_record(PlanAction::Unowned, record)));
        for record in own {
            let successor = record.hook_id.and_then(|id| self.successors.get(&place(&record, id))).copied();
            let undone = record.replaces.filter(|replaced| self.kept.contains(&place(&record, *replaced)));
            match (record.status, successor, undone) {
                // Until it is known whether the new one exists, this one stays.
                (HookStatus::Active | HookStatus::Removing, Some(Successor::InDoubt), _) => {
                    self.planned.push(PlannedHook::of_record(PlanAction::Extra, record));
                }
                (HookStatus::Removing, ..) => {
                    self.planned.push(PlannedHook::removal(record, RemovalReason::Begun));
                }
                (HookStatus::Active, Some(Successor::Active(by)), _) => {
                    self.planned.push(PlannedHook::removal(record, RemovalReason::Superseded(by)));
                }
                (HookStatus::Active, None, Some(_)) => {
                    self.planned.push(PlannedHook::removal(record, RemovalReason::Superseded(undone)));
                }
                (HookStatus::Active, None, None) => left.push(record),
                _ => self.planned.push(PlannedHook::of_record(PlanAction::Unknown, record)),
            }
        }
        left
    }

    /// Finds for each wanted hook that is not there the one whose place it takes, if there is one.
    fn pair(&mut self, missing: Vec<WantedHook>, left: Vec<HookRecord>) {
        let mut places: BTreeMap<PlaceKey, (Vec<WantedHook>, Vec<HookRecord>)> = BTreeMap::new();
        for wanted in missing {
            places.entry((wanted.app_id, wanted.event, wanted.label.clone())).or_default().0.push(wanted);
        }
        for record in left {
            let subscription = &record.subscription;
            let key = (subscription.app_id, subscription.event, record.label.clone());
            places.entry(key).or_default().1.push(record);
        }
        for (mut wanted, records) in places.into_values() {
            wanted.sort_by_cached_key(wanted_key);
            // With more old ones than new ones it cannot be told which are replaced. Those that nobody asked to remove stay.
            let may_pair = self.options.prune || records.len() <= wanted.len();
            let (mut wanted, mut records) = (wanted.into_iter(), records.into_iter());
            while may_pair && wanted.len() > 0 && records.len() > 0 {
                let pair = wanted.next().zip(records.next());
                self.planned.extend(
                    pair.map(|(wanted, record)| PlannedHook::of_wanted(PlanAction::Replace, wanted, Some(record))),
                );
            }
            self.planned.extend(wanted.map(|wanted| PlannedHook::of_wanted(PlanAction::Create, wanted, None)));
            let unwanted = |record| {
                if self.options.prune {
                    PlannedHook::removal(record, RemovalReason::Pruned)
                } else {
                    PlannedHook::of_record(PlanAction::Extra, record)
                }
            };
            self.planned.extend(records.map(unwanted));
        }
    }
}

fn record_key(record: &HookRecord) -> EndpointKey {
    let subscription = &record.subscription;
    (subscription.app_id, subscription.event, subscription.target_url.endpoint().into_owned())
}

fn wanted_key(wanted: &WantedHook) -> EndpointKey {
    (wanted.app_id, wanted.event, wanted.target_url.endpoint().into_owned())
}

fn sort_key(planned: &PlannedHook) -> (Option<EndpointKey>, PlanAction, Option<HookId>) {
    let key = planned.wanted.as_ref().map(wanted_key).or_else(|| planned.record.as_ref().map(record_key));
    (key, planned.action, planned.record.as_ref().and_then(|record| record.hook_id))
}
