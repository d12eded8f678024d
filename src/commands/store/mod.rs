//! `store`: what the store consists of, its schema, copies of it, and their return.

mod copy;
mod migrate;

use std::path::PathBuf;

use clap::{Subcommand, ValueHint};
use serde::Serialize;

use self::copy::CopyArgs;
use self::migrate::MigrateArgs;
use super::Report;
use super::confirm::confirm;
use crate::context::Context;
use crate::error::Result;
use crate::render::{Cell, Row};
use crate::store::{PartInfo, StoreInfo};

/// Show, back up, restore, copy and migrate registry, inbox and key
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: StoreCommand,
}

#[derive(Subcommand)]
enum StoreCommand {
    /// Show where each part of the store is, its size and what is in it
    Info,
    Backup(BackupArgs),
    Restore(RestoreArgs),
    Copy(CopyArgs),
    Migrate(MigrateArgs),
}

/// Write a copy of the store into a new directory
///
/// A receiver may run meanwhile. The copy is a store itself: --store sqlite:DIR/registry.db reads it. It has the key of the
/// receiver and passwords of target URLs in it, and is for its owner alone. A key in a file of your own (--key-file) is not
/// in it.
#[derive(clap::Args)]
struct BackupArgs {
    /// A directory that does not exist, or is empty
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    directory: PathBuf,
}

/// Put a backup in the place of the store
///
/// No other bugfender-hooks may use the store meanwhile. The backup stays as it is.
#[derive(clap::Args)]
struct RestoreArgs {
    /// The directory of the backup
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    directory: PathBuf,

    /// Replace what is there
    #[arg(long)]
    replace: bool,

    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

/// A part of the store.
#[derive(Serialize)]
struct PartRow {
    part: &'static str,
    path: String,
    bytes: Option<u64>,
    schema: Option<i64>,
    hooks: Option<u64>,
    events: Option<u64>,
    quarantined: Option<u64>,
}

impl PartRow {
    fn of(part: &'static str, info: PartInfo) -> Self {
        let count = |kind: &str| info.records.iter().find(|(known, _)| *known == kind).map(|(_, count)| *count);
        let (hooks, events, quarantined) = (count("hooks"), count("events"), count("quarantined"));
        Self { part, path: info.place, bytes: info.bytes, schema: info.schema, hooks, events, quarantined }
    }
}

impl Row for PartRow {
    const FIELDS: &'static [&'static str] = &["part", "path", "bytes", "schema", "hooks", "events", "quarantined"];
    const HEADERS: &'static [&'static str] = &["PART", "BYTES", "SCHEMA", "HOOKS", "EVENTS", "QUARANTINED", "PATH"];

    fn cells(&self) -> Vec<Cell> {
        vec![
            self.part.into(),
            Cell::maybe(self.bytes),
            Cell::maybe(self.schema),
            Cell::maybe(self.hooks),
            Cell::maybe(self.events),
            Cell::maybe(self.quarantined),
            self.path.as_str().into(),
        ]
    }
}

pub fn run(ctx: &Context, args: Args) -> Result<Report> {
    match args.command {
        StoreCommand::Info => info(ctx),
        StoreCommand::Backup(BackupArgs { directory }) => {
            ctx.store()?.back_up(&directory)?;
            ctx.out().note(&format!("the store is copied to {}", directory.display()));
            Ok(Report::nothing())
        }
        StoreCommand::Restore(RestoreArgs { directory, replace, yes }) => {
            if replace {
                confirm(ctx, &format!("Replace the store by the backup in {}?", directory.display()), yes)?;
            }
            ctx.store()?.restore(&directory, replace)?;
            ctx.out().note(&format!("the store is restored from {}", directory.display()));
            Ok(Report::nothing())
        }
        StoreCommand::Copy(args) => copy::run(ctx, &args),
        StoreCommand::Migrate(args) => migrate::run(ctx, &args),
    }
}

fn info(ctx: &Context) -> Result<Report> {
    let StoreInfo { registry, inbox, key } = ctx.store()?.info()?;
    let parts = [("registry", registry), ("inbox", inbox), ("receiver_key", key)];
    Ok(Report::list(parts.into_iter().map(|(part, info)| PartRow::of(part, info)).collect(), Vec::new()))
}
