//! A planned hook as it is shown: what is secret of its endpoint is not.

use serde::Serialize;

use crate::domain::{AppId, EventKind, HookId, HookRecord, Label, TargetUrl, shown_endpoint};
use crate::hooks::{AppliedHook, ApplyOutcome};
use crate::manifest::{PlanAction, PlannedHook, RemovalReason};
use crate::render::{Cell, Row, Tone};

/// How endpoints are shown.
#[derive(Debug, Clone, Copy)]
pub struct Disclosure {
    /// Whether passwords, and what comes from variables and files, are shown.
    pub show_secrets: bool,
}

/// A hook, and what is to be done about it, in the fields of the documented schema.
#[derive(Debug, Serialize)]
pub struct PlannedRow {
    action: PlanAction,
    hook_id: Option<HookId>,
    app_id: Option<AppId>,
    app: Option<String>,
    event: Option<EventKind>,
    target_url: Option<String>,
    old_target_url: Option<String>,
    label: Option<Label>,
    old_label: Option<Label>,
    reason: Option<String>,
    file: Option<String>,
    line: Option<usize>,
}

/// The fields of [`PlannedRow`] with further ones behind them.
macro_rules! fields {
    ($($further:literal)?) => {
        &["action", "hook_id", "app_id", "app", "event", "target_url", "old_target_url", "label", "old_label", "reason",
          "file", "line" $(, $further)?]
    };
}

impl PlannedRow {
    /// Of a planned hook.
    pub fn of(planned: &PlannedHook, disclosure: Disclosure) -> Self {
        let (wanted, record) = (planned.wanted.as_ref(), planned.record.as_ref());
        let shown_wanted = wanted.map(|wanted| {
            if disclosure.show_secrets { wanted.target_url.expose().to_owned() } else { wanted.shown_target.clone() }
        });
        let on_record = record.map(|record| disclosure.on_record(&record.subscription.target_url));
        let is_replaced = planned.action == PlanAction::Replace;
        let (label, old_label) = match (wanted, record) {
            (Some(wanted), Some(record)) if record.label != wanted.label => {
                (wanted.label.clone(), record.label.clone())
            }
            (Some(wanted), _) => (wanted.label.clone(), None),
            (None, Some(record)) => (record.label.clone(), None),
            (None, None) => (None, None),
        };
        Self {
            action: planned.action,
            hook_id: record.and_then(|record| record.hook_id),
            app_id: wanted.map(|wanted| wanted.app_id).or(record.map(|record| record.subscription.app_id)),
            app: wanted.and_then(|wanted| wanted.app.clone()),
            event: wanted.map(|wanted| wanted.event).or(record.map(|record| record.subscription.event)),
            old_target_url: on_record.clone().filter(|_| is_replaced),
            target_url: shown_wanted.or(on_record),
            label,
            old_label,
            reason: reason(planned).map(|reason| disclosure.hide(reason, planned)),
            file: wanted.map(|wanted| wanted.place.file.clone()),
            line: wanted.map(|wanted| wanted.place.line),
        }
    }

    /// What changes, in a few words.
    fn change(&self) -> Option<String> {
        let named = |label: Option<&Label>| label.map_or_else(|| "none".to_owned(), |label| format!("\"{label}\""));
        match self.action {
            PlanAction::Replace => self.old_target_url.as_ref().map(|old| format!("was {old}")),
            PlanAction::Relabel => {
                Some(format!("label {} → {}", named(self.old_label.as_ref()), named(self.label.as_ref())))
            }
            _ => self.reason.clone(),
        }
    }

    fn app_name(&self) -> Cell {
        match (&self.app, self.app_id) {
            (Some(name), Some(id)) => Cell::from(format!("{id} ({name})")),
            (_, id) => Cell::maybe(id),
        }
    }
}

impl Disclosure {
    /// What is to be done, on one line.
    pub fn line(self, planned: &PlannedHook) -> String {
        let row = PlannedRow::of(planned, self);
        let cells = row.cells().into_iter().map(|cell| cell.text).filter(|text| text != "-");
        cells.collect::<Vec<_>>().join("  ")
    }

    /// A text about a hook, without its endpoints, unless the manifest has them as they are.
    fn hide(self, text: String, planned: &PlannedHook) -> String {
        match planned.hidden_endpoints().filter(|_| !self.show_secrets) {
            Some(hidden) => hidden.hide(&text),
            None => text,
        }
    }

    /// The endpoint of a hook on record, of which it is not known whether it came from variables or files.
    fn on_record(self, target: &TargetUrl) -> String {
        if self.show_secrets { target.expose().to_owned() } else { shown_endpoint(target) }
    }
}

/// Why this is to be done.
fn reason(planned: &PlannedHook) -> Option<String> {
    let record = planned.record.as_ref()?;
    let owner = |record: &HookRecord| record.managed_by.as_ref().map(|owner| format!("owned by {owner}"));
    match (planned.action, planned.removal) {
        (PlanAction::Remove, Some(RemovalReason::Superseded(Some(by)))) => Some(format!("hook {by} takes its place")),
        (PlanAction::Remove, Some(RemovalReason::Superseded(None))) => Some("another hook takes its place".to_owned()),
        (PlanAction::Remove, Some(RemovalReason::Begun)) => Some("its removal began earlier".to_owned()),
        (PlanAction::Remove, _) => Some("not in the manifest".to_owned()),
        (PlanAction::Unowned, _) if planned.wanted.is_none() => {
            Some("a second hook for the same, without an owner: events arrive twice".to_owned())
        }
        (PlanAction::Unowned, _) => Some("no manifest owns it: --adopt takes it over".to_owned()),
        (PlanAction::Extra, _) => Some("not in the manifest: --prune removes it".to_owned()),
        (PlanAction::Foreign, _) => owner(record),
        (PlanAction::Unknown, _) => {
            record.reason.clone().or_else(|| Some("it is not known whether it exists".to_owned()))
        }
        _ => None,
    }
}

impl Row for PlannedRow {
    const FIELDS: &'static [&'static str] = fields!();
    const HEADERS: &'static [&'static str] = &["ACTION", "HOOK", "APP", "EVENT", "LABEL", "TARGET URL", "CHANGE"];

    fn cells(&self) -> Vec<Cell> {
        let (mark, tone) = match self.action {
            PlanAction::Create => ("+", Tone::Good),
            PlanAction::Replace | PlanAction::Relabel | PlanAction::Adopt => ("~", Tone::Caution),
            PlanAction::Remove => ("-", Tone::Bad),
            PlanAction::Keep => ("=", Tone::Faint),
            PlanAction::Unowned | PlanAction::Extra => (" ", Tone::Faint),
            PlanAction::Unknown => ("?", Tone::Caution),
            PlanAction::Foreign => ("!", Tone::Bad),
        };
        vec![
            Cell::toned(format!("{mark} {}", self.action.as_str()), tone),
            Cell::maybe(self.hook_id),
            self.app_name(),
            Cell::maybe(self.event),
            Cell::maybe(self.label.as_ref()),
            Cell::maybe(self.target_url.as_ref()),
            Cell::maybe(self.change()),
        ]
    }

    fn id(&self) -> Option<String> {
        self.hook_id.map(|id| id.to_string())
    }
}

/// The same, and what became of it.
#[derive(Debug, Serialize)]
pub struct AppliedRow {
    #[serde(flatten)]
    planned: PlannedRow,
    result: ApplyOutcome,
}

impl AppliedRow {
    /// Of a hook that was planned, with the number of the hook that there is now.
    pub fn of(applied: &AppliedHook, disclosure: Disclosure) -> Self {
        let planned = PlannedRow { hook_id: applied.hook_id, ..PlannedRow::of(&applied.planned, disclosure) };
        Self { planned, result: applied.outcome }
    }
}

impl Row for AppliedRow {
    const FIELDS: &'static [&'static str] = fields!("result");
    const HEADERS: &'static [&'static str] =
        &["ACTION", "HOOK", "APP", "EVENT", "LABEL", "RESULT", "TARGET URL", "CHANGE"];

    fn cells(&self) -> Vec<Cell> {
        let mut cells = self.planned.cells();
        let (text, tone) = match self.result {
            ApplyOutcome::Done => ("done", Tone::Good),
            ApplyOutcome::Unchanged => ("unchanged", Tone::Faint),
            ApplyOutcome::Failed => ("failed", Tone::Bad),
            ApplyOutcome::Incomplete => ("incomplete", Tone::Bad),
            ApplyOutcome::Unknown => ("unknown", Tone::Bad),
            ApplyOutcome::Skipped => ("skipped", Tone::Caution),
        };
        // Before the URL, which is long.
        cells.insert(5, Cell::toned(text, tone));
        cells
    }

    fn id(&self) -> Option<String> {
        self.planned.id().filter(|_| self.result == ApplyOutcome::Done)
    }
}
