//! What the files of a manifest say beside their hooks: the name, the apps and the defaults.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::rc::Rc;

use super::diagnostics::{Diagnostics, Spot};
use super::target::{ManifestTarget, TargetResolver};
use super::tree::{Position, TreeNode};
use super::values::{self, FieldValue, TableView};
use crate::config::toml_text::{nearest_key, shown_key};
use crate::domain::{AppId, EventKind, Label, ManifestName, is_unsafe_char};
use crate::error::Error;

/// The keys of a file.
pub(super) const FILE_KEYS: [&str; 5] = ["$schema", "name", "apps", "defaults", "hook"];

/// The keys of `defaults`.
pub(super) const DEFAULT_KEYS: [&str; 3] = ["events", "target_url", "label"];

/// The longest name of an app, in characters.
const MAX_APP_NAME: usize = 100;

/// The names that a manifest has for apps.
#[derive(Default)]
pub(super) struct AppNames {
    ids: BTreeMap<Rc<str>, (AppId, Spot)>,
    names: HashMap<AppId, Rc<str>>,
    /// Those whose numbers are wrong, which was said.
    wrong: HashSet<String>,
}

impl AppNames {
    /// Reads `apps` of a file.
    pub(super) fn read(&mut self, file: TableView, diagnostics: &mut Diagnostics) {
        let Some(entry) = file.get("apps") else { return };
        let Some(table) = TableView::of(&entry.node, file.file, "`apps`", diagnostics) else { return };
        for entry in table.entries {
            let key = Spot { file: file.file, position: entry.position };
            if entry.key.trim().is_empty()
                || entry.key.chars().count() > MAX_APP_NAME
                || entry.key.contains(is_unsafe_char)
            {
                let what = format!("the name of an app must be one line of 1 to {MAX_APP_NAME} printable characters");
                diagnostics.wrong(key, what);
                continue;
            }
            let spot = Spot { file: file.file, position: entry.node.position };
            let Some(id) = values::app_id(&entry.node, spot, diagnostics) else {
                self.wrong.insert(entry.key.clone().into_owned());
                continue;
            };
            match self.ids.get(&*entry.key) {
                Some((other, first)) if *other != id => {
                    let (name, first) = (shown_key(&entry.key), diagnostics.place(*first));
                    diagnostics.wrong(key, format!("`{name}` is another app at {first}"));
                }
                Some(_) => {}
                None => {
                    let name: Rc<str> = Rc::from(&*entry.key);
                    self.names.entry(id).or_insert_with(|| Rc::clone(&name));
                    self.ids.insert(name, (id, key));
                }
            }
        }
    }

    /// The app with this name.
    pub(super) fn find(&self, name: &str, spot: Spot, diagnostics: &mut Diagnostics) -> Option<(AppId, Rc<str>)> {
        if let Some((known, (id, _))) = self.ids.get_key_value(name) {
            return Some((*id, Rc::clone(known)));
        }
        // It may be in a file that could not be read.
        if !diagnostics.has_broken_files() && !self.wrong.contains(name) {
            let error = Error::usage(format!("there is no app `{}` in `apps`", shown_key(name)));
            let error = match nearest_key(name, self.ids.keys().map(|name| &**name)) {
                Some(nearest) => error.hint(format!("did you mean `{}`?", shown_key(nearest))),
                None => error.hint("add it to `apps` with its number, or give the number as `app_id`"),
            };
            diagnostics.error(spot, error);
        }
        None
    }

    /// The name of the app, if it has one.
    pub(super) fn name(&self, id: AppId) -> Option<Rc<str>> {
        self.names.get(&id).cloned()
    }
}

/// The name of the manifest, which all its files agree on.
#[derive(Default)]
pub(super) struct NameFinder {
    found: Option<(ManifestName, Spot)>,
    has_wrong_name: bool,
}

impl NameFinder {
    /// Reads `name` of a file.
    pub(super) fn read<'t>(&mut self, file: TableView<'t>, diagnostics: &mut Diagnostics) {
        let read = |node: &'t TreeNode<'t>, spot: Spot, diagnostics: &mut Diagnostics| {
            let name = values::text(node, spot, "name", diagnostics)?.parse();
            name.map_err(|error| diagnostics.error(spot, error)).ok().map(|name| (name, spot))
        };
        match (file.field("name", diagnostics, read), &self.found) {
            (FieldValue::Absent, _) => {}
            (FieldValue::Wrong, _) => self.has_wrong_name = true,
            (FieldValue::Given(found), None) => self.found = Some(found),
            (FieldValue::Given((name, spot)), Some((known, first))) => {
                if name != *known {
                    let first = diagnostics.place(*first);
                    diagnostics.wrong(spot, format!("the `name` at {first} is another: a manifest has one"));
                }
            }
        }
    }

    /// The name; that there is none is said.
    pub(super) fn finish(self, diagnostics: &mut Diagnostics) -> Option<ManifestName> {
        // It may be in a file that could not be read.
        if self.found.is_none() && !self.has_wrong_name && !diagnostics.has_broken_files() {
            let error = Error::usage("there is no `name`, which says who owns the hooks");
            diagnostics
                .error(Spot { file: 0, position: Position::START }, error.hint("a name is one word, such as mobile"));
        }
        self.found.map(|(name, _)| name)
    }
}

/// What `defaults` and a hook can both say.
pub(super) struct HookSettings {
    pub(super) events: FieldValue<Vec<EventKind>>,
    pub(super) target: FieldValue<Rc<ManifestTarget>>,
    pub(super) label: FieldValue<Label>,
}

impl HookSettings {
    /// Reads `defaults` of a file in `dir`.
    pub(super) fn read(
        file: TableView,
        dir: &Path,
        targets: &mut TargetResolver,
        diagnostics: &mut Diagnostics,
    ) -> Self {
        let Some(entry) = file.get("defaults") else {
            return Self { events: FieldValue::Absent, target: FieldValue::Absent, label: FieldValue::Absent };
        };
        let Some(table) = TableView::of(&entry.node, file.file, "`defaults`", diagnostics) else {
            return Self { events: FieldValue::Wrong, target: FieldValue::Wrong, label: FieldValue::Wrong };
        };
        table.check(&DEFAULT_KEYS, diagnostics);
        Self::of(table, dir, targets, diagnostics)
    }

    /// The same keys of any table.
    pub(super) fn of(
        table: TableView,
        dir: &Path,
        targets: &mut TargetResolver,
        diagnostics: &mut Diagnostics,
    ) -> Self {
        Self {
            events: table.field("events", diagnostics, values::events),
            target: table.field("target_url", diagnostics, |node, spot, diagnostics| {
                let text = values::text(node, spot, "target_url", diagnostics)?;
                targets.resolve(text, spot, dir, diagnostics)
            }),
            label: table.field("label", diagnostics, values::label),
        }
    }
}
