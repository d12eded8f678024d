//! The hooks of a manifest: one for each event of each app of an entry.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::Path;
use std::rc::Rc;

use super::diagnostics::{Diagnostics, Spot};
use super::header::{AppNames, HookSettings};
use super::target::{ManifestTarget, TargetResolver};
use super::tree::{TreeNode, TreeValue};
use super::values::{self, FieldValue, TableView};
use crate::config::toml_text::shown_key;
use crate::domain::{AppId, EventKind, Label};

/// The keys of a hook.
pub(super) const HOOK_KEYS: [&str; 5] = ["app", "app_id", "events", "target_url", "label"];

/// A hook, which shares with others what they have in common.
pub(super) struct FoundHook {
    pub(super) app_id: AppId,
    pub(super) app: Option<Rc<str>>,
    pub(super) event: EventKind,
    pub(super) target: Rc<ManifestTarget>,
    pub(super) label: Option<Label>,
    /// The entry it comes from.
    pub(super) spot: Spot,
}

/// An app, and what the manifest calls it.
type NamedApp = (AppId, Option<Rc<str>>);

/// Reads the hooks of all files.
pub(super) struct HookReader<'r, 'v> {
    pub(super) apps: &'r AppNames,
    pub(super) targets: &'r mut TargetResolver<'v>,
    pub(super) diagnostics: &'r mut Diagnostics,
    pub(super) found: Vec<FoundHook>,
    /// Where each hook, by app, event and endpoint, is asked for.
    pub(super) seen: HashMap<(AppId, EventKind, usize), Spot>,
}

impl HookReader<'_, '_> {
    /// Reads `hook` of a file in `dir`.
    pub(super) fn read(&mut self, file: TableView, defaults: &HookSettings, dir: &Path) {
        let Some(entry) = file.get("hook") else { return };
        let TreeValue::List(list) = &entry.node.value else {
            let spot = Spot { file: file.file, position: entry.position };
            let what = "`hook` must be a list of tables (in TOML written as [[hook]])";
            self.diagnostics.wrong(spot, format!("{what}, and this is {}", entry.node.value.kind()));
            return;
        };
        for node in list {
            self.hook(node, file.file, defaults, dir);
        }
    }

    fn hook<'t>(&mut self, node: &'t TreeNode<'t>, file: usize, defaults: &HookSettings, dir: &Path) {
        let spot = Spot { file, position: node.position };
        let Some(table) = TableView::of(node, file, "a hook", self.diagnostics) else { return };
        table.check(&HOOK_KEYS, self.diagnostics);
        let apps = self.apps(table, spot);
        let own = HookSettings::of(table, dir, self.targets, self.diagnostics);
        let (events, target) = (own.events.or(&defaults.events), own.target.or(&defaults.target));
        for (key, is_absent) in
            [("events", matches!(events, FieldValue::Absent)), ("target_url", matches!(target, FieldValue::Absent))]
        {
            if is_absent {
                self.diagnostics.wrong(spot, format!("this hook has no `{key}`, nor have the `defaults` of the file"));
            }
        }
        let label = match own.label.or(&defaults.label) {
            FieldValue::Given(label) => Some(label),
            // What is wrong was said; the hook may be asked for twice all the same.
            FieldValue::Absent | FieldValue::Wrong => None,
        };
        let (FieldValue::Given(events), FieldValue::Given(target)) = (events, target) else { return };
        for app in &apps {
            for event in &events {
                self.add(app, *event, &target, label.as_ref(), spot);
            }
        }
    }

    fn add(
        &mut self,
        app: &NamedApp,
        event: EventKind,
        target: &Rc<ManifestTarget>,
        label: Option<&Label>,
        spot: Spot,
    ) {
        let (app_id, name) = app;
        match self.seen.entry((*app_id, event, target.endpoint)) {
            Entry::Occupied(first) => {
                let app = name.as_deref().map_or_else(|| app_id.to_string(), |name| format!("`{}`", shown_key(name)));
                let first = self.diagnostics.place(*first.get());
                let what = format!("`{event}` of app {app} is asked for at {first} already, with the same target");
                self.diagnostics.wrong(spot, what);
            }
            Entry::Vacant(place) => {
                place.insert(spot);
                let (target, label) = (Rc::clone(target), label.cloned());
                self.found.push(FoundHook { app_id: *app_id, app: name.clone(), event, target, label, spot });
            }
        }
    }

    /// The apps of a hook, each once; what is wrong with others is said.
    fn apps(&mut self, table: TableView, hook: Spot) -> Vec<NamedApp> {
        let (entry, by_name) = match (table.get("app"), table.get("app_id")) {
            (Some(entry), None) => (entry, true),
            (None, Some(entry)) => (entry, false),
            (None, None) => {
                self.diagnostics.wrong(hook, "this hook has neither `app` nor `app_id`");
                return Vec::new();
            }
            (Some(name), Some(id)) => {
                let position = name.position.max(id.position);
                self.diagnostics
                    .wrong(Spot { position, ..hook }, "a hook has `app` or `app_id`, and this one has both");
                return Vec::new();
            }
        };
        let nodes = match &entry.node.value {
            TreeValue::List(list) => list,
            _ => std::slice::from_ref(&entry.node),
        };
        if nodes.is_empty() {
            let spot = Spot { position: entry.node.position, ..hook };
            self.diagnostics.wrong(spot, format!("`{}` names no app", entry.key));
        }
        let mut found: Vec<NamedApp> = Vec::with_capacity(nodes.len());
        for node in nodes {
            let spot = Spot { position: node.position, ..hook };
            let app = if by_name { self.named(node, spot) } else { self.numbered(node, spot) };
            match app {
                Some((id, _)) if found.iter().any(|(known, _)| *known == id) => {
                    self.diagnostics.wrong(spot, "this app is listed twice");
                }
                app => found.extend(app),
            }
        }
        found
    }

    fn named(&mut self, node: &TreeNode, spot: Spot) -> Option<NamedApp> {
        match &node.value {
            TreeValue::Text(name) => {
                let (id, name) = self.apps.find(name, spot, self.diagnostics)?;
                Some((id, Some(name)))
            }
            TreeValue::Integer(_) => {
                self.diagnostics.wrong(spot, "`app` is a name in `apps`; the number of an app is written as `app_id`");
                None
            }
            other => {
                self.diagnostics
                    .wrong(spot, format!("`app` is a name in `apps`, or a list of them, and this is {}", other.kind()));
                None
            }
        }
    }

    fn numbered(&mut self, node: &TreeNode, spot: Spot) -> Option<NamedApp> {
        let id = values::app_id(node, spot, self.diagnostics)?;
        Some((id, self.apps.name(id)))
    }
}
