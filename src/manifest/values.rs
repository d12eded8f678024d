//! The values of keys that several tables of a manifest have.

use super::diagnostics::{Diagnostics, Spot};
use super::tree::{TreeEntry, TreeNode, TreeValue};
use crate::config::toml_text::{nearest_key, shown_key};
use crate::domain::{AppId, EventKind, Label};
use crate::error::Error;

/// The value of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum FieldValue<T> {
    /// The key is not there.
    Absent,
    /// It is there, and what is wrong was said.
    Wrong,
    Given(T),
}

impl<T> FieldValue<T> {
    /// The value; an error was said if there is none.
    pub(super) fn of(value: Option<T>) -> Self {
        value.map_or(Self::Wrong, Self::Given)
    }

    /// The default, if the key is not there.
    pub(super) fn or(self, default: &Self) -> Self
    where
        T: Clone,
    {
        if matches!(self, Self::Absent) { default.clone() } else { self }
    }
}

/// A table and the file it is in.
#[derive(Clone, Copy)]
pub(super) struct TableView<'t> {
    pub(super) file: usize,
    pub(super) entries: &'t [TreeEntry<'t>],
}

impl<'t> TableView<'t> {
    /// The table that a value is; what else it is is said.
    pub(super) fn of(node: &'t TreeNode<'t>, file: usize, what: &str, diagnostics: &mut Diagnostics) -> Option<Self> {
        match &node.value {
            TreeValue::Table(entries) => Some(Self { file, entries }),
            other => {
                let spot = Spot { file, position: node.position };
                diagnostics.wrong(spot, format!("{what} must be a table, and this is {}", other.kind()));
                None
            }
        }
    }

    pub(super) fn get(&self, key: &str) -> Option<&'t TreeEntry<'t>> {
        self.entries.iter().find(|entry| entry.key == key)
    }

    /// Says which keys are not among these, with the nearest that are.
    pub(super) fn check(&self, known: &[&'static str], diagnostics: &mut Diagnostics) {
        for entry in self.entries.iter().filter(|entry| !known.contains(&&*entry.key)) {
            let error = Error::usage(format!("unknown key `{}`", shown_key(&entry.key)));
            let error = match nearest_key(&entry.key, known.iter().copied()) {
                Some(nearest) => error.hint(format!("did you mean `{nearest}`?")),
                None => error.hint(format!("the keys are {}", known.join(", "))),
            };
            diagnostics.error(Spot { file: self.file, position: entry.position }, error);
        }
    }

    /// The value of `key`, read by `read`, which says what is wrong.
    pub(super) fn field<T>(
        &self,
        key: &str,
        diagnostics: &mut Diagnostics,
        read: impl FnOnce(&'t TreeNode<'t>, Spot, &mut Diagnostics) -> Option<T>,
    ) -> FieldValue<T> {
        let Some(entry) = self.get(key) else { return FieldValue::Absent };
        let spot = Spot { file: self.file, position: entry.node.position };
        FieldValue::of(read(&entry.node, spot, diagnostics))
    }
}

/// A string.
pub(super) fn text<'t>(
    node: &'t TreeNode<'t>,
    spot: Spot,
    key: &str,
    diagnostics: &mut Diagnostics,
) -> Option<&'t str> {
    if let TreeValue::Text(text) = &node.value {
        return Some(text);
    }
    diagnostics.wrong(spot, format!("`{key}` must be a string, and this is {}", node.value.kind()));
    None
}

pub(super) fn label<'t>(node: &'t TreeNode<'t>, spot: Spot, diagnostics: &mut Diagnostics) -> Option<Label> {
    let label = text(node, spot, "label", diagnostics)?.parse();
    label.map_err(|error: Error| diagnostics.error(spot, error)).ok()
}

/// The events that a value names, each once; what is wrong with others is said.
pub(super) fn events<'t>(node: &'t TreeNode<'t>, spot: Spot, diagnostics: &mut Diagnostics) -> Option<Vec<EventKind>> {
    match &node.value {
        TreeValue::Text(name) if name == "all" => Some(EventKind::ALL.to_vec()),
        TreeValue::Text(name) => event(name, spot, diagnostics).map(|event| vec![event]),
        TreeValue::List(list) if list.is_empty() => {
            diagnostics.wrong(spot, "`events` names no event");
            None
        }
        TreeValue::List(list) => {
            let mut found = Vec::with_capacity(list.len());
            for item in list {
                let spot = Spot { position: item.position, ..spot };
                let TreeValue::Text(name) = &item.value else {
                    diagnostics.wrong(spot, format!("an event is a string, and this is {}", item.value.kind()));
                    continue;
                };
                match event(name, spot, diagnostics) {
                    Some(event) if found.contains(&event) => {
                        diagnostics.wrong(spot, format!("`{event}` is listed twice"));
                    }
                    event => found.extend(event),
                }
            }
            Some(found)
        }
        other => {
            let what = "`events` must be a list of events, one event, or \"all\"";
            diagnostics.wrong(spot, format!("{what}, and this is {}", other.kind()));
            None
        }
    }
}

fn event(name: &str, spot: Spot, diagnostics: &mut Diagnostics) -> Option<EventKind> {
    let event = name.parse();
    if event.is_err() {
        let error = Error::usage(format!("unknown event `{}`", shown_key(name)));
        let names = EventKind::ALL.map(EventKind::as_str);
        let error = match nearest_key(name, names) {
            _ if name == "all" => error.hint("all events are written as \"all\", without a list"),
            Some(nearest) => error.hint(format!("did you mean `{nearest}`?")),
            None => error.hint(format!("the events are {}", names.join(", "))),
        };
        diagnostics.error(spot, error);
    }
    event.ok()
}

/// The number of an app, or its address in the dashboard.
pub(super) fn app_id(node: &TreeNode, spot: Spot, diagnostics: &mut Diagnostics) -> Option<AppId> {
    let id = match &node.value {
        TreeValue::Integer(number) => {
            AppId::new(*number).ok_or_else(|| Error::usage("an app id is a positive integer"))
        }
        TreeValue::Text(text) => text.parse(),
        other => Err(Error::usage(format!(
            "an app is a number, or its address in the dashboard, and this is {}",
            other.kind()
        ))),
    };
    id.map_err(|error| diagnostics.error(spot, error)).ok()
}
