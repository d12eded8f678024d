//! `registry import`: the hooks of a file, brought into the registry.

use std::path::PathBuf;

use clap::ValueHint;
use jiff::Timestamp;
use serde::Serialize;

use super::read;
use crate::commands::Report;
use crate::commands::existing::existing_registry;
use crate::commands::hook_row::{HookRow, fields};
use crate::commands::units::count;
use crate::context::Context;
use crate::domain::HookRecord;
use crate::error::{Error, ErrorKind, Result};
use crate::render::{Cell, Row, Tone};
use crate::store::Restored;
use crate::store::exchange::RegistryFile;

/// Bring the hooks of an exported registry into this one
///
/// Hooks that are not on record are added; others become what the file says of them, unless the registry knows something
/// newer. None is deleted, and nothing is sent to Bugfender. Importing the same file again changes nothing.
#[derive(clap::Args)]
pub struct Args {
    /// The file that `registry export` wrote; "-" for standard input
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    file: PathBuf,

    /// Show what would be added and changed; store nothing
    #[arg(long)]
    dry_run: bool,

    /// Show passwords in target URLs
    #[arg(long)]
    show_secrets: bool,
}

/// A hook of the file, and what became of it.
#[derive(Serialize)]
struct RestoredRow {
    #[serde(flatten)]
    hook: HookRow,
    result: &'static str,
}

impl Row for RestoredRow {
    const FIELDS: &'static [&'static str] = fields!("result");
    const HEADERS: &'static [&'static str] =
        &["HOOK", "APP", "EVENT", "STATUS", "LABEL", "CREATED", "RESULT", "TARGET URL"];

    fn cells(&self) -> Vec<Cell> {
        let mut cells = self.hook.cells();
        let tone = match self.result {
            "added" | "changed" => Tone::Good,
            _ => Tone::Bad,
        };
        // Before the URL, which is long.
        cells.insert(cells.len() - 1, Cell::toned(self.result, tone));
        cells
    }

    fn id(&self) -> Option<String> {
        self.hook.id()
    }
}

pub fn run(ctx: &Context, args: &Args) -> Result<Report> {
    let name = args.file.display().to_string();
    let hooks = RegistryFile::parse(&read(&args.file)?, &name)?.records(&name)?;
    let outcomes = restore(ctx, &hooks, args.dry_run)?;
    let number = |wanted: Restored| count(outcomes.iter().filter(|outcome| **outcome == wanted).count() as u64, "hook");
    let (added, changed) = (number(Restored::Added), number(Restored::Changed));
    let counts = format!("{added} added, {changed} changed, {} as before", number(Restored::Unchanged));
    ctx.out().note(&if args.dry_run { format!("{counts}; dry run: nothing is stored") } else { counts });
    let (mut rows, mut errors) = (Vec::new(), Vec::new());
    for (record, outcome) in hooks.into_iter().zip(outcomes) {
        let name = record.description();
        let result = match outcome {
            Restored::Unchanged => continue,
            Restored::Added => "added",
            Restored::Changed => "changed",
            Restored::InProgress => {
                let error = Error::new(ErrorKind::Store, format!("{name}: a process is at work on it"));
                errors.push(error.may_pass().hint("import the file again when that has ended"));
                "in_progress"
            }
            Restored::Conflict => {
                let message = format!("{name}: its number is on record for another subscription");
                errors.push(Error::new(ErrorKind::Store, message).hint("`bugfender-hooks list --all` shows which"));
                "conflict"
            }
        };
        rows.push(RestoredRow { hook: HookRow::of(record, args.show_secrets), result });
    }
    Ok(Report::list(rows, errors))
}

/// Brings the hooks in; in a dry run says only what that would do, and makes no registry.
fn restore(ctx: &Context, hooks: &[HookRecord], dry_run: bool) -> Result<Vec<Restored>> {
    let now = Timestamp::now();
    if !dry_run {
        return Ok(ctx.registry()?.restore(hooks, now)?);
    }
    match existing_registry(ctx)? {
        Some(registry) => Ok(registry.try_restore(hooks, now)?),
        None => Ok(vec![Restored::Added; hooks.len()]),
    }
}
