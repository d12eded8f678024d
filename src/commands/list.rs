//! `list`: what the registry holds.

use std::cell::Cell;

use clap_complete::ArgValueCompleter;
use serde::Serialize;

use super::Report;
use super::evidence::evidence;
use super::existing::existing_registry;
use super::hook_args::{FilterArgs, status_parser};
use super::hook_row::{HookRow, fields};
use super::suggest;
use crate::context::Context;
use crate::domain::{ApiOrigin, HookRecord, HookStatus, ManifestName, Selection, ShownTime};
use crate::error::Result;
use crate::hooks::{HookSigns, InboxEvidence};
use crate::render::{Cell as CellText, Output, RecordSource, Row, Shape, View};
use crate::store::Registry;

/// List the hooks in the registry
///
/// They are sorted by app, event, endpoint and age, each with the time at which a webhook last brought an event of its app and
/// kind to the inbox. Only hooks of the installation in use are listed. Bugfender's API cannot list hooks:
/// those made elsewhere are not here until `import` records them.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    filter: FilterArgs,

    /// Only hooks in these states: repeat, or separate by commas
    #[arg(long = "status", value_name = "STATUS", value_delimiter = ',', value_parser = status_parser())]
    statuses: Vec<HookStatus>,

    /// Only hooks that one of these manifests owns; may be repeated
    #[arg(long = "managed-by", value_name = "NAME", add = ArgValueCompleter::new(suggest::manifest_names))]
    managed_by: Vec<ManifestName>,

    /// Also list hooks that have ended (removed, gone)
    #[arg(long)]
    all: bool,

    /// Show passwords in target URLs
    #[arg(long)]
    show_secrets: bool,
}

pub fn run(ctx: &Context, args: &Args) -> Result<Report> {
    let mut selection = args.filter.selection(ctx)?;
    selection.statuses.clone_from(&args.statuses);
    selection.managed_by.clone_from(&args.managed_by);
    Ok(Report::of(Listing {
        registry: existing_registry(ctx)?,
        evidence: evidence(ctx)?,
        origin: ctx.origin().clone(),
        selection,
        with_ended: args.all || !args.statuses.is_empty(),
        show_secrets: args.show_secrets,
        listed: Cell::new(0),
        elsewhere: Cell::new(0),
    }))
}

/// A hook, and what the inbox tells of it.
#[derive(Serialize)]
struct ListedRow {
    #[serde(flatten)]
    hook: HookRow,
    last_event_at: Option<ShownTime>,
    verified_at: Option<ShownTime>,
    shares_events: bool,
}

impl ListedRow {
    fn of(hook: HookRow, signs: HookSigns) -> Self {
        let HookSigns { last_event_at, verified_at, shares_events } = signs;
        let (last_event_at, verified_at) = (last_event_at.map(ShownTime::from), verified_at.map(ShownTime::from));
        Self { hook, last_event_at, verified_at, shares_events }
    }
}

impl Row for ListedRow {
    const FIELDS: &'static [&'static str] = fields!("last_event_at", "verified_at", "shares_events");
    const HEADERS: &'static [&'static str] =
        &["HOOK", "APP", "EVENT", "STATUS", "LABEL", "CREATED", "LAST EVENT", "TARGET URL"];

    fn cells(&self) -> Vec<CellText> {
        let mut cells = self.hook.cells();
        // Before the URL, which is long.
        cells.insert(cells.len() - 1, CellText::maybe(self.last_event_at));
        cells
    }

    fn id(&self) -> Option<String> {
        self.hook.id()
    }
}

/// The rows, streamed: the registry is never in memory as a whole. Hooks for the same app and event come one after another,
/// so that it is known of each whether it is the only one.
struct Listing {
    registry: Option<Box<dyn Registry>>,
    /// What the inbox tells of the hooks, if there is one.
    evidence: Option<InboxEvidence>,
    origin: ApiOrigin,
    selection: Selection,
    with_ended: bool,
    show_secrets: bool,
    listed: Cell<usize>,
    elsewhere: Cell<usize>,
}

impl RecordSource for Listing {
    type Row = ListedRow;

    fn shape(&self) -> Shape {
        Shape::List
    }

    fn each(&self, each: &mut dyn FnMut(&ListedRow) -> Result<()>) -> Result<()> {
        let Some(registry) = &self.registry else { return Ok(()) };
        let (mut shown, mut same) = (Ok(()), Vec::<HookRecord>::new());
        let read = registry.hooks(None, &mut |record| {
            if record.subscription.origin != self.origin {
                self.elsewhere.set(self.elsewhere.get() + 1);
            } else if shown.is_ok() {
                if same.last().is_some_and(|last| !is_for_same(last, &record)) {
                    shown = self.show_same(&mut same, each);
                }
                same.push(record);
            }
        });
        // What was read before an error is shown as well.
        let shown = shown.and_then(|()| self.show_same(&mut same, each));
        read?;
        shown
    }
}

fn is_for_same(one: &HookRecord, other: &HookRecord) -> bool {
    let (one, other) = (&one.subscription, &other.subscription);
    (one.app_id, one.event) == (other.app_id, other.event)
}

impl Listing {
    /// Shows the hooks for one app and event.
    fn show_same(&self, same: &mut Vec<HookRecord>, each: &mut dyn FnMut(&ListedRow) -> Result<()>) -> Result<()> {
        let alive = same.iter().filter(|record| !record.status.is_ended()).count();
        for record in same.drain(..) {
            if self.takes(&record) {
                self.listed.set(self.listed.get() + 1);
                let signs = self.evidence.as_ref().map(|evidence| evidence.signs(&record, alive));
                let signs = signs.unwrap_or(HookSigns { shares_events: alive > 1, ..HookSigns::default() });
                each(&ListedRow::of(HookRow::of(record, self.show_secrets), signs))?;
            }
        }
        Ok(())
    }

    fn takes(&self, record: &HookRecord) -> bool {
        (self.with_ended || !record.status.is_ended()) && self.selection.takes(record)
    }
}

impl View for Listing {
    fn show(&self, out: &Output) -> Result<()> {
        out.show(self)?;
        if out.is_for_people() {
            if self.listed.get() == 0 {
                out.note(&format!("no hooks of {} to list", self.origin));
            }
            if self.elsewhere.get() > 0 {
                let more = self.elsewhere.get();
                out.note(&format!("{more} more belong to other installations; see them with --api-url"));
            }
        }
        Ok(())
    }
}
