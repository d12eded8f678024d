//! `manifest init`: a manifest of the hooks that are on record.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use clap::ValueHint;

use crate::commands::Report;
use crate::commands::existing::existing_registry;
use crate::commands::hook_args::FilterArgs;
use crate::config::text_file::not_read;
use crate::context::Context;
use crate::domain::ManifestName;
use crate::error::{Error, Result};
use crate::manifest::{ManifestDraft, ManifestFormat};
use crate::platform::{add_private_file, create_private_dir, write_named_file};

/// Write a manifest of the hooks in the registry
///
/// Active hooks of the installation in use are written, without those that another manifest owns. A target URL with a password
/// is written as a variable, which has to be set. Without hooks a manifest to begin with is written.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct InitArgs {
    /// The file to write (.toml, .yaml or .json), in a directory that is made if need be, or "-" for standard output
    #[arg(value_name = "FILE", default_value = "hooks.toml", value_hint = ValueHint::FilePath)]
    file: PathBuf,

    /// The owner of the hooks [default: the name of the current directory]
    #[arg(long, value_name = "NAME")]
    name: Option<ManifestName>,

    /// Replace the file if it exists
    #[arg(long)]
    force: bool,

    #[command(flatten)]
    filter: FilterArgs,
}

const EXAMPLES: &str = "\
Examples:
  bugfender-hooks manifest init --name mobile
  bugfender-hooks manifest init hooks/shop.yaml --app-id 1001,1002";

pub(super) fn run(ctx: &Context, args: InitArgs) -> Result<Report> {
    let InitArgs { file, name, force, filter } = args;
    let is_stdout = file == Path::new("-");
    let format = if is_stdout { ManifestFormat::Toml } else { format_of(&file)? };
    // Whether a link leads anywhere does not matter.
    if !is_stdout && !force && fs::symlink_metadata(&file).is_ok() {
        return Err(exists(&file));
    }
    let draft = ManifestDraft::new(name.unwrap_or_else(name_of_directory), records(ctx, &filter)?);
    let text = draft.text(format);
    if !is_stdout {
        let write = if force { write_named_file } else { add_private_file };
        let dir = file.parent().filter(|dir| !dir.as_os_str().is_empty());
        dir.map_or(Ok(()), create_private_dir).map_err(|error| not_read(&file, error))?;
        write(&file, text.as_bytes()).map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => exists(&file),
            _ => not_read(&file, error),
        })?;
    }
    explain(ctx, &file, is_stdout, &draft);
    Ok(if is_stdout { Report::text(text) } else { Report::nothing() })
}

fn format_of(file: &Path) -> Result<ManifestFormat> {
    ManifestFormat::of_path(file).ok_or_else(|| {
        Error::usage(format!("{}: the format of this file is not known", file.display()))
            .hint("the name of a manifest ends in .toml, .yaml, .yml or .json")
    })
}

fn exists(file: &Path) -> Error {
    Error::usage(format!("{} exists already", file.display())).hint("give another name, or --force to replace it")
}

/// The hooks on record that the flags select.
fn records(ctx: &Context, filter: &FilterArgs) -> Result<Vec<crate::domain::HookRecord>> {
    let selection = filter.selection(ctx)?;
    let mut found = Vec::new();
    if let Some(registry) = existing_registry(ctx)? {
        registry.hooks(Some(ctx.origin()), &mut |record| {
            if selection.takes(&record) {
                found.push(record);
            }
        })?;
    }
    Ok(found)
}

/// The name of the current directory, with what a manifest's name cannot have replaced.
fn name_of_directory() -> ManifestName {
    let dir = std::env::current_dir().unwrap_or_default();
    let name = dir.file_name().unwrap_or_default().to_string_lossy();
    let fit = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' };
    let fit: String = name.chars().map(fit).skip_while(|c| !c.is_ascii_alphanumeric()).take(64).collect();
    fit.trim_end_matches('-').parse().unwrap_or_else(|_| ManifestName::from_stored("hooks".to_owned()))
}

/// Says what was written and how to go on.
fn explain(ctx: &Context, file: &Path, is_stdout: bool, draft: &ManifestDraft) {
    let out = ctx.out();
    let hooks = |count: usize| if count == 1 { "1 hook".to_owned() } else { format!("{count} hooks") };
    let shown = file.display();
    match (draft.hooks, is_stdout) {
        (0, true) => out.note("no hooks to write are on record: this is a manifest to begin with"),
        (0, false) => out.note(&format!("no hooks to write are on record: {shown} is a manifest to begin with")),
        (_, true) => {}
        (count, false) => out.note(&format!("wrote {shown} with {} on record", hooks(count))),
    }
    if draft.foreign > 0 {
        out.note(&format!("left out {}, which other manifests own", hooks(draft.foreign)));
    }
    if draft.duplicates > 0 {
        let count = hooks(draft.duplicates);
        out.note(&format!("left out {count}: another has the same app, event and target URL"));
    }
    for variable in &draft.variables {
        out.note(&format!("set {} to {} with the password", variable.name, variable.shown));
    }
    if is_stdout {
        return;
    }
    let flags = ctx.profile_flags();
    out.note("for editors: bugfender-hooks manifest schema > hooks.schema.json (beside the manifest)");
    if draft.hooks > 0 {
        out.note(&format!(
            "next: bugfender-hooks{flags} plan -f {shown}, and bugfender-hooks{flags} apply -f {shown} --adopt"
        ));
    } else {
        out.note(&format!("next: add hooks to it, and see what they change: bugfender-hooks{flags} plan -f {shown}"));
    }
}
