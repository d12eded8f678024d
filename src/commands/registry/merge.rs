//! `registry merge`: what two sides made of an exported registry, for git.

use std::path::PathBuf;

use clap::ValueHint;

use super::read;
use crate::commands::Report;
use crate::commands::input::not_made;
use crate::context::Context;
use crate::error::{Error, ErrorKind, Result};
use crate::platform;
use crate::store::exchange::{Duplicate, Merged, RegistryFile, merge};

/// Merge what two sides made of an exported registry
///
/// No hook is lost: one that a side has is in the result, unless the other dropped it and this side left it as it was. A hook
/// that has ended does not come back; of two other states the newer one is kept. What else both sides changed differently is
/// a conflict: it is named, the result has the value of OURS and the list `conflicts`, with which it cannot be imported, and
/// the exit code is 1.
///
/// As a merge driver of git: git config merge.bugfender-hooks.driver 'bugfender-hooks registry merge %O %A %B --out %A'
#[derive(clap::Args)]
pub struct Args {
    /// The file that both sides began with; it may be empty
    #[arg(value_name = "BASE", value_hint = ValueHint::FilePath)]
    base: PathBuf,

    /// The file of one side
    #[arg(value_name = "OURS", value_hint = ValueHint::FilePath)]
    ours: PathBuf,

    /// The file of the other side
    #[arg(value_name = "THEIRS", value_hint = ValueHint::FilePath)]
    theirs: PathBuf,

    /// Write the result to this file, which may be one of the three [default: standard output]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    out: Option<PathBuf>,
}

pub fn run(ctx: &Context, args: &Args) -> Result<Report> {
    let parse = |path: &PathBuf| RegistryFile::parse(&read(path)?, &path.display().to_string());
    let (base, ours, theirs) = (parse(&args.base)?, parse(&args.ours)?, parse(&args.theirs)?);
    let Merged { file, duplicates } = merge(&base, &ours, &theirs);
    for duplicate in duplicates {
        ctx.out().warn(&said_of(&duplicate));
    }
    let conflict = |what: &String| Error::new(ErrorKind::Other, format!("conflict: {what}"));
    let mut errors: Vec<Error> = file.conflicts.iter().map(conflict).collect();
    if let Some(last) = errors.pop() {
        errors.push(last.hint("correct these hooks in the file, and delete its list `conflicts`"));
    }
    let text = file.text();
    let report = match &args.out {
        None => Report::text(text),
        Some(path) => {
            let written = platform::write_named_file(path, text.as_bytes());
            written.map_err(|error| not_made("--out", path, error))?;
            Report::nothing()
        }
    };
    Ok(Report { errors, ..report })
}

/// What there is twice, and how to have it once.
fn said_of(duplicate: &Duplicate) -> String {
    let Duplicate { subscription, hook_ids, with_unknown } = duplicate;
    let hooks: Vec<String> = hook_ids.iter().map(i64::to_string).collect();
    match (hook_ids.last(), with_unknown) {
        (Some(newest), false) => format!(
            "{subscription} has the hooks {}, as both sides made one: after `registry import`, \
             `bugfender-hooks unsubscribe {newest}` removes the newest",
            hooks.join(" and ")
        ),
        (Some(_), true) => format!(
            "{subscription} has the hook {}, and may have one whose id is not known: look into the dashboard, remove \
             what is there twice, and forget it with `bugfender-hooks forget --status unknown`",
            hooks.join(" and ")
        ),
        (None, _) => format!("{subscription} may have several hooks, whose ids are not known: look into the dashboard"),
    }
}
