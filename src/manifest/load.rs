//! Reading a manifest from its files.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::diagnostics::Diagnostics;
use super::files::{ManifestFile, find};
use super::format::ManifestFormat;
use super::header::{AppNames, FILE_KEYS, HookSettings, NameFinder};
use super::hooks::{FoundHook, HookReader};
use super::target::{MissingValues, TargetResolver};
use super::tree::{SyntaxError, TreeNode};
use super::values::TableView;
use super::wanted::{Manifest, WantedHook};
use crate::domain::{AppId, EventKind, Label, ManifestName};
use crate::error::{Error, TextPlace};

/// A manifest that can be applied.
#[derive(Debug)]
pub struct LoadedManifest {
    /// The manifest.
    pub manifest: Manifest,
    /// All files that it was read from: manifests, and those with target URLs.
    pub files: Vec<PathBuf>,
    /// What is questionable in it.
    pub warnings: Vec<Error>,
}

/// A manifest whose endpoints may not all be known.
#[derive(Debug)]
pub struct CheckedManifest {
    /// The owner.
    pub name: ManifestName,
    /// The hooks, each once, in the order of the files.
    pub hooks: Vec<CheckedHook>,
    /// The files, as they were named.
    pub files: Vec<String>,
    /// What is questionable in it, and what is missing.
    pub warnings: Vec<Error>,
}

/// A hook whose endpoint may not be known.
#[derive(Debug)]
pub struct CheckedHook {
    /// The app.
    pub app_id: AppId,
    /// What the manifest calls the app, if it gives it a name.
    pub app: Option<String>,
    /// The event.
    pub event: EventKind,
    /// The endpoint as the manifest has it, without passwords.
    pub shown_target: String,
    /// The label.
    pub label: Option<Label>,
    /// Where it is asked for.
    pub place: TextPlace,
}

/// Reads the manifest in these files and directories; `-` is standard input. `variable` gives the values of variables.
///
/// # Errors
/// Usage errors: all that is wrong, in the order of files and lines.
pub fn load(sources: &[PathBuf], variable: &dyn Fn(&str) -> Option<String>) -> Result<LoadedManifest, Vec<Error>> {
    let ReadManifest { name, hooks, files, mut target_files, diagnostics } =
        read(sources, variable, MissingValues::Refuse)?;
    let wanted = |hook: FoundHook| {
        // An endpoint that is not known was an error.
        let target_url = hook.target.url.clone()?;
        Some(WantedHook {
            app_id: hook.app_id,
            app: hook.app.as_deref().map(str::to_owned),
            event: hook.event,
            target_url,
            shown_target: hook.target.shown.clone(),
            is_secret: hook.target.is_secret,
            label: hook.label,
            place: diagnostics.place(hook.spot),
        })
    };
    let manifest = Manifest { name, hooks: hooks.into_iter().filter_map(wanted).collect() };
    target_files.extend(files.iter().filter_map(ManifestFile::path).map(Path::to_owned));
    Ok(LoadedManifest { manifest, files: target_files, warnings: diagnostics.warnings() })
}

/// Checks the manifest in these files and directories. Variables that are not set and files that are not there are
/// warnings unless it is `strict`.
///
/// # Errors
/// As [`load`].
pub fn check(
    sources: &[PathBuf],
    variable: &dyn Fn(&str) -> Option<String>,
    strict: bool,
) -> Result<CheckedManifest, Vec<Error>> {
    let missing = if strict { MissingValues::Refuse } else { MissingValues::Tolerate };
    let ReadManifest { name, hooks, files, diagnostics, .. } = read(sources, variable, missing)?;
    let checked = |hook: FoundHook| CheckedHook {
        app_id: hook.app_id,
        app: hook.app.as_deref().map(str::to_owned),
        event: hook.event,
        shown_target: hook.target.shown.clone(),
        label: hook.label,
        place: diagnostics.place(hook.spot),
    };
    let hooks = hooks.into_iter().map(checked).collect();
    let files = files.into_iter().map(|file| file.name).collect();
    Ok(CheckedManifest { name, hooks, files, warnings: diagnostics.warnings() })
}

/// A manifest without errors.
struct ReadManifest {
    name: ManifestName,
    hooks: Vec<FoundHook>,
    files: Vec<ManifestFile>,
    /// The files that endpoints were read from.
    target_files: Vec<PathBuf>,
    diagnostics: Diagnostics,
}

fn read(
    sources: &[PathBuf],
    variable: &dyn Fn(&str) -> Option<String>,
    missing: MissingValues,
) -> Result<ReadManifest, Vec<Error>> {
    let mut diagnostics = Diagnostics::default();
    let (mut files, mut texts) = (Vec::new(), Vec::new());
    for (source, file) in find(sources) {
        let number = diagnostics.file(source);
        match file.and_then(|file| Ok((file.read()?, file))) {
            Ok((text, file)) => {
                files.push((number, file));
                texts.push(text);
            }
            Err(error) => diagnostics.unreadable(number, error),
        }
    }
    let mut parsed = Vec::new();
    for ((number, file), (text, format)) in files.iter().zip(&texts) {
        match format.parse(text) {
            Ok(root) => parsed.push((*number, file, root)),
            Err(error) => diagnostics.broken(*number, explained(error, file, *format)),
        }
    }
    let mut targets = TargetResolver::new(variable, missing);
    let (name, hooks) = validate(&parsed, &mut targets, &mut diagnostics);
    diagnostics.check()?;
    // Without errors there is one.
    let name = name.ok_or_else(Vec::new)?;
    let (target_files, files) = (targets.into_files(), files.into_iter().map(|(_, file)| file).collect());
    Ok(ReadManifest { name, hooks, files, target_files, diagnostics })
}

/// With standard input, which has no name, it may be the format that is wrong.
fn explained(error: SyntaxError, file: &ManifestFile, format: ManifestFormat) -> SyntaxError {
    if file.path().is_some() || format != ManifestFormat::Toml {
        return error;
    }
    let hint = "standard input is read as TOML, or as JSON if it begins with `{`: give YAML as a file";
    SyntaxError { hint: error.hint.or(Some(hint)), ..error }
}

/// Reads what all files have in common before any hook, as a name in one is for all of them.
fn validate(
    parsed: &[(usize, &ManifestFile, TreeNode)],
    targets: &mut TargetResolver,
    diagnostics: &mut Diagnostics,
) -> (Option<ManifestName>, Vec<FoundHook>) {
    let (mut apps, mut names) = (AppNames::default(), NameFinder::default());
    let mut files = Vec::new();
    for (number, file, root) in parsed {
        let Some(table) = TableView::of(root, *number, "a manifest", diagnostics) else {
            diagnostics.lose_a_file();
            continue;
        };
        table.check(&FILE_KEYS, diagnostics);
        names.read(table, diagnostics);
        apps.read(table, diagnostics);
        files.push((table, file.dir(), HookSettings::read(table, file.dir(), targets, diagnostics)));
    }
    let name = names.finish(diagnostics);
    let mut reader = HookReader { apps: &apps, targets, diagnostics, found: Vec::new(), seen: HashMap::new() };
    for (table, dir, defaults) in &files {
        reader.read(*table, defaults, dir);
    }
    (name, reader.found)
}

#[cfg(test)]
mod tests;
