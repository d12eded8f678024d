//! `list`: what the registry holds.

use std::cell::Cell;

use clap_complete::ArgValueCompleter;

use super::Report;
use super::existing::existing_registry;
use super::hook_args::{FilterArgs, status_parser};
use super::hook_row::HookRow;
use super::suggest;
use crate::context::Context;
use crate::domain::{ApiOrigin, HookRecord, HookStatus, ManifestName, Selection};
use crate::error::Result;
use crate::render::{Output, RecordSource, Shape, View};
use crate::store::Registry;

/// List the hooks in the registry
///
/// They are sorted by app, event, endpoint and age. Only hooks of the installation in use are listed. Bugfender's API cannot list hooks:
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
        origin: ctx.origin().clone(),
        selection,
        with_ended: args.all || !args.statuses.is_empty(),
        show_secrets: args.show_secrets,
        listed: Cell::new(0),
        elsewhere: Cell::new(0),
    }))
}

/// The rows, streamed: the registry is never in memory as a whole.
struct Listing {
    registry: Option<Box<dyn Registry>>,
    origin: ApiOrigin,
    selection: Selection,
    with_ended: bool,
    show_secrets: bool,
    listed: Cell<usize>,
    elsewhere: Cell<usize>,
}

impl RecordSource for Listing {
    type Row = HookRow;

    fn shape(&self) -> Shape {
        Shape::List
    }

    fn each(&self, each: &mut dyn FnMut(&HookRow) -> Result<()>) -> Result<()> {
        let Some(registry) = &self.registry else { return Ok(()) };
        let mut shown = Ok(());
        registry.hooks(None, &mut |record| {
            if record.subscription.origin != self.origin {
                self.elsewhere.set(self.elsewhere.get() + 1);
            } else if shown.is_ok() && self.takes(&record) {
                self.listed.set(self.listed.get() + 1);
                shown = each(&HookRow::of(record, self.show_secrets));
            }
        })?;
        shown
    }
}

impl Listing {
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
