//! A manifest of the hooks that are on record already.

mod write;

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::format::ManifestFormat;
use crate::domain::{AppId, EventKind, HookRecord, HookStatus, Label, ManifestName, TargetUrl};

/// Where the schema is expected: beside the manifest.
const SCHEMA_FILE: &str = "./hooks.schema.json";

/// A manifest that is about to be written.
#[derive(Debug)]
pub struct ManifestDraft {
    name: ManifestName,
    entries: Vec<DraftEntry>,
    /// The variables that stand for endpoints with a password.
    pub variables: Vec<TargetVariable>,
    /// How many hooks are in it.
    pub hooks: usize,
    /// How many are not: another in it is for the same app, event and endpoint.
    pub duplicates: usize,
    /// How many are not: another manifest owns them.
    pub foreign: usize,
}

/// A variable that has to be set to an endpoint.
#[derive(Debug)]
pub struct TargetVariable {
    /// Its name.
    pub name: String,
    /// The endpoint without its password.
    pub shown: String,
}

/// Hooks that have all in common but their apps.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct DraftEntry {
    app_ids: Vec<AppId>,
    /// As the manifest has it.
    target: String,
    label: Option<Label>,
    events: Vec<EventKind>,
}

impl ManifestDraft {
    /// The active hooks among these, which the manifest with this name can own.
    pub fn new(name: ManifestName, records: impl IntoIterator<Item = HookRecord>) -> Self {
        let mut draft = Self { name, entries: Vec::new(), variables: Vec::new(), hooks: 0, duplicates: 0, foreign: 0 };
        let (mut seen, mut targets) = (HashSet::new(), BTreeMap::new());
        let mut events_of: BTreeMap<_, BTreeSet<EventKind>> = BTreeMap::new();
        for HookRecord { subscription, status, label, managed_by, .. } in records {
            if status != HookStatus::Active {
                continue;
            }
            if managed_by.is_some_and(|owner| owner != draft.name) {
                draft.foreign += 1;
                continue;
            }
            let (app_id, event, url) = (subscription.app_id, subscription.event, subscription.target_url);
            let endpoint = url.endpoint().into_owned();
            if !seen.insert((app_id, event, endpoint.clone())) {
                draft.duplicates += 1;
                continue;
            }
            draft.hooks += 1;
            let target = targets.entry(endpoint).or_insert_with(|| draft.target(&url));
            events_of.entry((app_id, target.clone(), label)).or_default().insert(event);
        }
        let mut apps_of: BTreeMap<_, Vec<AppId>> = BTreeMap::new();
        for ((app_id, target, label), events) in events_of {
            apps_of.entry((target, label, events)).or_default().push(app_id);
        }
        let entry = |((target, label, events), app_ids): ((_, _, BTreeSet<_>), _)| DraftEntry {
            app_ids,
            target,
            label,
            events: events.into_iter().collect(),
        };
        draft.entries = apps_of.into_iter().map(entry).collect();
        draft.entries.sort();
        draft
    }

    /// The endpoint as the manifest has it: a variable, if it has a password.
    fn target(&mut self, url: &TargetUrl) -> String {
        if !url.has_secret() {
            return url.expose().replace('$', "$$");
        }
        let name = format!("BUGFENDER_TARGET_URL_{}", self.variables.len() + 1);
        let target = format!("${{{name}}}");
        self.variables.push(TargetVariable { name, shown: url.redacted().into_owned() });
        target
    }

    /// The text of the file. Without hooks it explains how they are written, if the format has comments.
    pub fn text(&self, format: ManifestFormat) -> String {
        match format {
            ManifestFormat::Toml => self.toml(),
            ManifestFormat::Yaml => self.yaml(),
            ManifestFormat::Json => self.json(),
        }
    }
}

impl DraftEntry {
    fn has_all_events(&self) -> bool {
        self.events == EventKind::ALL
    }
}

#[cfg(test)]
mod tests;
