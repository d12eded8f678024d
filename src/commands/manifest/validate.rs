//! `manifest validate`: whether a manifest is right, as far as the files say.

use serde::Serialize;

use crate::commands::Report;
use crate::commands::manifest_args::{ManifestArgs, warn};
use crate::context::Context;
use crate::domain::{AppId, EventKind, Label};
use crate::manifest::{CheckedHook, CheckedManifest, check};
use crate::render::{Cell, Row};

/// Check a manifest, and list the hooks in it
///
/// Neither Bugfender nor the registry is asked. All errors are reported at once, each with its place. Variables that are not set
/// and files with target URLs that are not there are warnings: a check before a commit has no secrets.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ValidateArgs {
    #[command(flatten)]
    manifest: ManifestArgs,

    /// Fail if a variable is not set, or a file with a target URL is not there
    #[arg(long)]
    strict: bool,
}

const EXAMPLES: &str = "\
Examples:
  bugfender-hooks manifest validate -f hooks.toml
  bugfender-hooks manifest validate -f hooks/ --strict -o csv";

/// A hook of a manifest.
#[derive(Serialize)]
struct CheckedHookRow {
    app_id: AppId,
    app: Option<String>,
    event: EventKind,
    target_url: String,
    label: Option<Label>,
    file: String,
    line: usize,
}

impl From<CheckedHook> for CheckedHookRow {
    fn from(CheckedHook { app_id, app, event, shown_target, label, place }: CheckedHook) -> Self {
        Self { app_id, app, event, target_url: shown_target, label, file: place.file, line: place.line }
    }
}

impl Row for CheckedHookRow {
    const FIELDS: &'static [&'static str] = &["app_id", "app", "event", "target_url", "label", "file", "line"];
    const HEADERS: &'static [&'static str] = &["APP", "NAME", "EVENT", "LABEL", "PLACE", "TARGET URL"];

    fn cells(&self) -> Vec<Cell> {
        vec![
            Cell::maybe(Some(self.app_id)),
            Cell::maybe(self.app.as_ref()),
            Cell::maybe(Some(self.event)),
            Cell::maybe(self.label.as_ref()),
            format!("{}:{}", self.file, self.line).into(),
            self.target_url.as_str().into(),
        ]
    }
}

pub(super) fn run(ctx: &Context, args: &ValidateArgs) -> Report {
    let variable = |name: &str| ctx.environment().named(name);
    let CheckedManifest { name, hooks, files, warnings } = match check(&args.manifest.files, &variable, args.strict) {
        Ok(manifest) => manifest,
        Err(errors) => return Report { errors, ..Report::nothing() },
    };
    warn(ctx, &warnings);
    let what = match &files[..] {
        [file] => format!("{file} is"),
        files => format!("{} files are", files.len()),
    };
    let count = if hooks.len() == 1 { "1 hook".to_owned() } else { format!("{} hooks", hooks.len()) };
    ctx.out().note(&format!("{what} valid: {count} of {name}"));
    Report::list(hooks.into_iter().map(CheckedHookRow::from).collect(), Vec::new())
}
