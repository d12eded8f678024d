//! `registry export`: all hooks on record, as a file.

use std::path::{Path, PathBuf};

use clap::ValueHint;

use super::read;
use crate::commands::Report;
use crate::commands::existing::existing_registry;
use crate::commands::input::not_made;
use crate::commands::units::count;
use crate::config::Source;
use crate::context::Context;
use crate::error::{Error, ErrorKind, Result};
use crate::platform;
use crate::store::exchange::{HookEntry, RegistryFile};

/// Write the registry as JSON that is made for git
///
/// The hooks have a stable order, and the same registry gives the same bytes. All installations are written, or with
/// --api-url one. Passwords in target URLs are hidden; keys in their paths are not: keep the file private.
#[derive(clap::Args)]
pub struct Args {
    /// The file; standard output if it is "-" or left out
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    file: Option<PathBuf>,

    /// Write passwords in target URLs
    #[arg(long)]
    show_secrets: bool,
}

pub fn run(ctx: &Context, args: &Args) -> Result<Report> {
    let one = matches!(ctx.settings().api.source, Source::Flag(_)).then(|| ctx.origin());
    let mut hooks = Vec::new();
    let mut hidden = 0_u64;
    match existing_registry(ctx)? {
        // A file that had hooks must not become empty unseen.
        None => ctx.out().warn("there is no registry: what is exported has no hooks"),
        Some(registry) => registry.hooks(one, &mut |record| {
            hidden += u64::from(!args.show_secrets && record.subscription.target_url.has_secret());
            hooks.push(HookEntry::of(&record, !args.show_secrets));
        })?,
    }
    if hidden > 0 {
        ctx.out().note(&format!(
            "passwords are hidden in {}; `apply` restores those of hooks in a manifest, and --show-secrets shows them",
            count(hidden, "target URL")
        ));
    }
    let is_empty = hooks.is_empty();
    let text = RegistryFile::new(hooks).text();
    match args.file.as_deref().filter(|path| *path != Path::new("-")) {
        None => Ok(Report::text(text)),
        Some(path) => {
            if is_empty {
                check_replaced(path)?;
            }
            let written = platform::write_named_file(path, text.as_bytes());
            written.map_err(|error| not_made("FILE", path, error))?;
            Ok(Report::nothing())
        }
    }
}

/// Refuses to replace a file that holds hooks, or that cannot be read, by one without hooks: it may be all that is left of a
/// registry that was lost, or was not imported.
fn check_replaced(path: &Path) -> Result<()> {
    // A pipe is not to be read.
    if !path.is_file() {
        return Ok(());
    }
    let name = path.display().to_string();
    let file = read(path).and_then(|text| RegistryFile::parse(&text, &name));
    if file.is_ok_and(|file| file.hooks.is_empty() && file.conflicts.is_empty()) {
        return Ok(());
    }
    let message = format!("there are no hooks to export, and {name} is not without hooks: it was left as it is");
    Err(Error::new(ErrorKind::Store, message)
        .hint(format!("to bring back its hooks: bugfender-hooks registry import {name}"))
        .hint("if they are to go, remove the file first"))
}
