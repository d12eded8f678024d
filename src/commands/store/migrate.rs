//! `store migrate`: the schema of the store, brought to the newest version.

use crate::commands::Report;
use crate::context::Context;
use crate::error::{Error, ErrorKind, Result};
use crate::store::SchemaState;

/// Bring the schema of the store to the newest version
///
/// Every command that writes does so by itself; this one does nothing else, as for a role that may do more. Each part is
/// migrated in one transaction, by one process at a time. A store that does not exist is made.
#[derive(clap::Args)]
pub(super) struct MigrateArgs {
    /// Print the SQL that is needed, for psql or sqlite3, and change nothing
    #[arg(long)]
    print: bool,

    /// Fail with exit code 9 if anything is to be done, and change nothing
    #[arg(long, conflicts_with = "print")]
    check: bool,
}

pub(super) fn run(ctx: &Context, args: &MigrateArgs) -> Result<Report> {
    let store = ctx.store()?;
    let schemas = store.schemas()?;
    if args.print {
        return Ok(Report::text(schemas.iter().map(|schema| schema.script.as_str()).collect()));
    }
    if args.check {
        return check(ctx, &schemas);
    }
    for schema in schemas.iter().filter(|schema| schema.found == 0) {
        ctx.allow_new(schema.part, &schema.place)?;
    }
    if schemas.iter().all(SchemaState::is_newest) {
        note_all(ctx, &schemas);
        return Ok(Report::nothing());
    }
    store.migrate()?;
    for SchemaState { part, place, found, newest, .. } in schemas.iter().filter(|schema| !schema.is_newest()) {
        match found {
            0 => ctx.say_new(part, place),
            found => ctx.out().note(&format!("migrated the {part} {place} from schema {found} to {newest}")),
        }
    }
    Ok(Report::nothing())
}

fn check(ctx: &Context, schemas: &[SchemaState]) -> Result<Report> {
    let behind: Vec<String> = schemas.iter().filter(|schema| !schema.is_newest()).map(what_is_missing).collect();
    if behind.is_empty() {
        note_all(ctx, schemas);
        return Ok(Report::nothing());
    }
    let hint = "`bugfender-hooks store migrate` does it; with --print it prints the SQL";
    Err(Error::new(ErrorKind::Store, behind.join("; ")).hint(hint))
}

fn what_is_missing(SchemaState { part, place, found, newest, .. }: &SchemaState) -> String {
    match found {
        0 => format!("the {part} {place} does not exist"),
        found => format!("the {part} {place} has schema {found}, and the newest is {newest}"),
    }
}

fn note_all(ctx: &Context, schemas: &[SchemaState]) {
    for SchemaState { part, place, found, .. } in schemas {
        ctx.out().note(&format!("the {part} {place} is up to date (schema {found})"));
    }
}
