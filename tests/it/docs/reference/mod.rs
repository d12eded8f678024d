//! The reference is what the code says: whole pages for commands, and tables between marks on other pages. With
//! `INSTA_UPDATE=always`, as for snapshots, it is written.

mod commands;
mod markdown;
mod metrics;
mod schema;

use std::path::{Path, PathBuf};

use bugfender_hooks::config::{Key, environment};
use bugfender_hooks::error::EXIT_CODES;
use bugfender_hooks::manifest;

use super::pages::root;
use markdown::table;

/// The folder of the reference.
fn folder() -> PathBuf {
    root().join("docs/src/reference")
}

/// Compares a file with what it should be, or writes it.
pub fn agrees(path: &Path, expected: &str) {
    if std::env::var("INSTA_UPDATE").is_ok_and(|how| how == "always") {
        std::fs::write(path, expected).unwrap();
    }
    let stored = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        stored == expected,
        "{} is stale: INSTA_UPDATE=always cargo test --test it docs::",
        path.strip_prefix(root()).unwrap().display()
    );
}

/// Compares what a page has between the marks of this name.
fn agrees_between_marks(path: &Path, name: &str, expected: &str) {
    let page = std::fs::read_to_string(path).unwrap();
    let begin = format!("<!-- generated: {name} -->\n");
    let (before, rest) = page.split_once(&begin).unwrap_or_else(|| panic!("{}: no {begin}", path.display()));
    let (_, after) = rest.split_once("<!-- end -->\n").unwrap();
    agrees(path, &format!("{before}{begin}\n{}\n\n<!-- end -->\n{after}", expected.trim()));
}

#[test]
fn environment_variables() {
    let rows = environment::ALL.iter().map(|known| vec![format!("`{}`", known.name), known.meaning.to_owned()]);
    agrees_between_marks(&folder().join("environment.md"), "variables", &table(&["variable", "meaning"], rows));
}

#[test]
fn exit_codes() {
    let rows =
        EXIT_CODES.iter().map(|row| vec![row.code.to_string(), format!("`{}`", row.category), row.meaning.to_owned()]);
    let table = table(&["code", "category", "meaning"], rows);
    agrees_between_marks(&folder().join("exit-codes.md"), "exit codes", &table);
}

#[test]
fn configuration_keys() {
    let rows = Key::ALL.into_iter().map(|key| vec![format!("`{}`", key.as_str()), key.meaning().to_owned()]);
    agrees_between_marks(&folder().join("config.md"), "keys", &table(&["key", "meaning"], rows));
}

#[test]
fn targets_of_a_configuration() {
    let schema = std::fs::read_to_string(root().join("contrib/listen/targets.schema.json")).unwrap();
    agrees_between_marks(&folder().join("config.md"), "targets", &schema::keys(&schema));
}

#[test]
fn manifests() {
    agrees_between_marks(&folder().join("manifest.md"), "schema", &schema::keys(&manifest::schema()));
}

#[test]
fn metrics_of_a_receiver() {
    agrees_between_marks(&folder().join("metrics.md"), "metrics", &metrics::listed());
}

#[test]
fn commands_and_flags() {
    let pages = commands::pages();
    assert!(pages.len() > 25);
    for (name, page) in &pages {
        agrees(&folder().join(format!("commands/{name}.md")), page);
    }
    let stored = std::fs::read_dir(folder().join("commands")).unwrap().count();
    assert_eq!(stored, pages.len(), "a page of a command that is no more");
    let index = folder().join("commands.md");
    agrees_between_marks(&index, "commands", &commands::index());
    agrees_between_marks(&index, "global options", &commands::global_options());
    the_summary_has(pages.iter().map(|(name, _)| name.as_str()));
}

/// The summary lists the pages of commands, in the order of the help.
fn the_summary_has<'a>(names: impl Iterator<Item = &'a str>) {
    let path = root().join("docs/src/SUMMARY.md");
    let summary = std::fs::read_to_string(&path).unwrap();
    let is_command = |line: &str| line.contains("](reference/commands/");
    let line = |name| format!("  - [{name}](reference/commands/{name}.md)\n");
    let lines: String = names.map(line).collect();
    let (head, rest) = summary.split_once("- [Commands](reference/commands.md)\n").unwrap();
    let rest: String = rest.split_inclusive('\n').filter(|line| !is_command(line)).collect();
    agrees(&path, &format!("{head}- [Commands](reference/commands.md)\n{lines}{rest}"));
}
