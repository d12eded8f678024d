//! A plan, and what became of one: for people, for programs, and as a comment on a pull request.

use serde::Serialize;

use super::brake_row::BrakeRow;
use super::row::{AppliedRow, Disclosure, PlannedRow};
use crate::domain::{ApiOrigin, ManifestName};
use crate::error::Result;
use crate::hooks::{AppliedHook, ApplyOutcome};
use crate::manifest::{Plan, PlanAction, PlanCounts};
use crate::render::{Cell, Output, OutputFormat, Records, Row, View, cell_text};

/// A plan.
pub struct PlanView {
    report: PlanReport,
    /// Whether people are shown the checksum.
    with_checksum: bool,
}

/// The JSON object of a plan.
#[derive(Serialize)]
struct PlanReport {
    name: ManifestName,
    api_url: ApiOrigin,
    checksum: String,
    prune: bool,
    adopt: bool,
    counts: PlanCounts,
    brakes: Vec<BrakeRow>,
    changes: Vec<PlannedRow>,
}

impl PlanView {
    /// Of this plan.
    pub fn new(plan: &Plan, show_secrets: bool, with_checksum: bool) -> Self {
        let disclosure = Disclosure { show_secrets };
        let shown = plan.hooks.iter().filter(|hook| hook.action != PlanAction::Keep);
        let report = PlanReport {
            name: plan.name.clone(),
            api_url: plan.origin.clone(),
            checksum: plan.checksum(),
            prune: plan.options.prune,
            adopt: plan.options.adopt,
            counts: plan.counts(),
            brakes: plan.brakes().into_iter().map(BrakeRow::from).collect(),
            changes: shown.map(|hook| PlannedRow::of(hook, disclosure)).collect(),
        };
        Self { report, with_checksum }
    }
}

impl Row for PlanReport {
    const FIELDS: &'static [&'static str] =
        &["name", "api_url", "checksum", "prune", "adopt", "counts", "brakes", "changes"];
    const HEADERS: &'static [&'static str] = &["NAME", "CHECKSUM"];

    fn cells(&self) -> Vec<Cell> {
        vec![self.name.as_str().into(), self.checksum.clone().into()]
    }

    fn id(&self) -> Option<String> {
        Some(self.checksum.clone())
    }
}

impl View for PlanView {
    fn show(&self, out: &Output) -> Result<()> {
        let Self { report, with_checksum } = self;
        if out.is_for_people() {
            out.show(&Records::list(report.changes.iter().collect()))?;
            let gap = if report.changes.is_empty() { "" } else { "\n" };
            let mut text = format!("{gap}{}\n", planned_counts(&report.counts, report.name.as_str()));
            if *with_checksum {
                text = format!("{text}Checksum: {}\n", report.checksum);
            }
            return out.raw(&text);
        }
        match out.format() {
            _ if out.is_quiet() => out.show(&Records::single(report)),
            OutputFormat::Ndjson | OutputFormat::Csv => out.show(&Records::list(report.changes.iter().collect())),
            OutputFormat::Markdown => {
                out.raw(&heading("Plan for", &report.name, &report.api_url))?;
                out.show(&Records::list(report.changes.iter().collect()))?;
                let gap = if report.changes.is_empty() { "" } else { "\n" };
                let counts = planned_counts(&report.counts, &cell_text(report.name.as_str()));
                let brakes: Vec<String> = report.brakes.iter().map(BrakeRow::markdown).collect();
                out.raw(&format!("{gap}{counts}\n\n{}Checksum: `{}`\n", brakes.concat(), report.checksum))
            }
            _ => out.show(&Records::single(report)),
        }
    }
}

/// The heading of a comment in Markdown.
fn heading(what: &str, name: &ManifestName, origin: &ApiOrigin) -> String {
    format!("### {what} {} at {}\n\n", cell_text(name.as_str()), cell_text(origin.as_str()))
}

/// What a plan does, in a sentence.
pub fn planned_counts(counts: &PlanCounts, name: &str) -> String {
    let verbs = [
        (counts.create, "to create"),
        (counts.replace, "to replace"),
        (counts.relabel, "to relabel"),
        (counts.adopt, "to adopt"),
        (counts.remove, "to remove"),
    ];
    let changes = listed(verbs.iter().copied());
    let rest = [
        (counts.keep, "up to date"),
        (counts.unowned, "without an owner"),
        (counts.extra, "not in the manifest"),
        (counts.unknown, "unknown"),
        (counts.foreign, "of another manifest"),
    ];
    let rest = listed(rest.iter().copied());
    match (changes, rest) {
        (None, None) => format!("{name} names no hooks."),
        (None, Some(rest)) => format!("{name}: nothing to do; {rest}."),
        (Some(changes), None) => format!("{name}: {changes}."),
        (Some(changes), Some(rest)) => format!("{name}: {changes}; {rest}."),
    }
}

fn listed(parts: impl Iterator<Item = (usize, &'static str)>) -> Option<String> {
    let parts: Vec<String> =
        parts.filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// What became of a plan.
pub struct AppliedView(AppliedReport);

/// The JSON object of what became of a plan.
#[derive(Serialize)]
struct AppliedReport {
    name: ManifestName,
    api_url: ApiOrigin,
    counts: AppliedCounts,
    changes: Vec<AppliedRow>,
}

/// How many hooks ended in which way.
#[derive(Debug, Default, Serialize)]
struct AppliedCounts {
    created: usize,
    replaced: usize,
    relabeled: usize,
    adopted: usize,
    removed: usize,
    unchanged: usize,
    failed: usize,
    unknown: usize,
    skipped: usize,
}

impl AppliedCounts {
    fn add(&mut self, hook: &AppliedHook) {
        let place = match (hook.outcome, hook.planned.action) {
            (ApplyOutcome::Done, PlanAction::Create) => &mut self.created,
            (ApplyOutcome::Done, PlanAction::Replace) => &mut self.replaced,
            (ApplyOutcome::Done, PlanAction::Relabel) => &mut self.relabeled,
            (ApplyOutcome::Done, PlanAction::Adopt) => &mut self.adopted,
            (ApplyOutcome::Done, PlanAction::Remove) => &mut self.removed,
            (ApplyOutcome::Done | ApplyOutcome::Unchanged, _) => &mut self.unchanged,
            (ApplyOutcome::Failed | ApplyOutcome::Incomplete, _) => &mut self.failed,
            (ApplyOutcome::Unknown, _) => &mut self.unknown,
            (ApplyOutcome::Skipped, _) => &mut self.skipped,
        };
        *place += 1;
    }

    fn sentence(&self, name: &str) -> String {
        let counts = [
            (self.created, "created"),
            (self.replaced, "replaced"),
            (self.relabeled, "relabeled"),
            (self.adopted, "adopted"),
            (self.removed, "removed"),
            (self.failed, "failed"),
            (self.unknown, "unknown"),
            (self.skipped, "skipped"),
            (self.unchanged, "unchanged"),
        ];
        listed(counts.iter().copied())
            .map_or_else(|| format!("{name} names no hooks."), |counts| format!("{name}: {counts}."))
    }
}

impl AppliedView {
    /// Of these hooks of a plan.
    pub fn new(name: ManifestName, origin: ApiOrigin, hooks: &[AppliedHook], disclosure: Disclosure) -> Self {
        let mut counts = AppliedCounts::default();
        for hook in hooks {
            counts.add(hook);
        }
        let shown = hooks.iter().filter(|hook| hook.planned.action != PlanAction::Keep);
        let changes = shown.map(|hook| AppliedRow::of(hook, disclosure)).collect();
        Self(AppliedReport { name, api_url: origin, counts, changes })
    }
}

impl Row for AppliedReport {
    const FIELDS: &'static [&'static str] = &["name", "api_url", "counts", "changes"];
    const HEADERS: &'static [&'static str] = &["NAME"];

    fn cells(&self) -> Vec<Cell> {
        vec![self.name.as_str().into()]
    }
}

impl View for AppliedView {
    fn show(&self, out: &Output) -> Result<()> {
        let report = &self.0;
        if out.is_for_people() {
            out.show(&Records::list(report.changes.iter().collect()))?;
            let gap = if report.changes.is_empty() { "" } else { "\n" };
            return out.raw(&format!("{gap}{}\n", report.counts.sentence(report.name.as_str())));
        }
        match out.format() {
            _ if out.is_quiet() => out.show(&Records::list(report.changes.iter().collect())),
            OutputFormat::Ndjson | OutputFormat::Csv => out.show(&Records::list(report.changes.iter().collect())),
            OutputFormat::Markdown => {
                out.raw(&heading("Applied", &report.name, &report.api_url))?;
                out.show(&Records::list(report.changes.iter().collect()))?;
                let gap = if report.changes.is_empty() { "" } else { "\n" };
                out.raw(&format!("{gap}{}\n", report.counts.sentence(&cell_text(report.name.as_str()))))
            }
            _ => out.show(&Records::single(report)),
        }
    }
}
