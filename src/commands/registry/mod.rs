//! `registry`: the registry as a file, for teams that keep it under version control.

mod export;
mod import;
mod merge;

use std::fs::File;
use std::io;
use std::path::Path;

use clap::Subcommand;

use super::Report;
use crate::config::text_file::{not_read, read_all};
use crate::context::Context;
use crate::error::{Error, Result};

/// The longest file that is read, in bytes.
const MAX_FILE: u64 = 256 * 1024 * 1024;

/// Keep the registry under version control: export, import, merge
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: RegistryCommand,
}

#[derive(Subcommand)]
enum RegistryCommand {
    Export(export::Args),
    Import(import::Args),
    Merge(merge::Args),
}

impl Args {
    /// Whether it works with any settings: git runs it wherever it merges.
    pub fn needs_no_settings(&self) -> bool {
        matches!(self.command, RegistryCommand::Merge(_))
    }
}

pub fn run(ctx: &Context, args: &Args) -> Result<Report> {
    match &args.command {
        RegistryCommand::Export(args) => export::run(ctx, args),
        RegistryCommand::Import(args) => import::run(ctx, args),
        RegistryCommand::Merge(args) => merge::run(ctx, args),
    }
}

/// The text of a file, or with "-" standard input.
fn read(path: &Path) -> Result<String> {
    let bytes = if path == Path::new("-") {
        read_all(io::stdin(), MAX_FILE)
    } else {
        File::open(path).and_then(|file| read_all(file, MAX_FILE))
    };
    let bytes = bytes.map_err(|error| not_read(path, error))?;
    let bytes = bytes.ok_or_else(|| Error::usage(format!("{}: the file is too large", path.display())))?;
    String::from_utf8(bytes).map_err(|_| Error::usage(format!("{}: this is no text", path.display())))
}
