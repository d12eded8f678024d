//! Completion of values from the registry. Trouble of any kind is silence: a shell is no place for errors.

use std::collections::BTreeMap;
use std::ffi::OsStr;

use clap_complete::CompletionCandidate;

use super::app_cache;
use crate::config::{ConfigFile, Environment, Overrides, Settings};
use crate::domain::{HookRecord, ProfileName};
use crate::render::sanitize;
use crate::store::Registry;
use crate::store::sqlite::SqliteRegistry;

/// Hook ids that have not ended.
pub fn hook_ids(current: &OsStr) -> Vec<CompletionCandidate> {
    from_registry(current, |record| Some((record.hook_id?.to_string(), record.subscription.to_string())))
}

/// App ids: those of the registry, and those that the account sees, with their names.
pub fn app_ids(current: &OsStr) -> Vec<CompletionCandidate> {
    let mut found = BTreeMap::new();
    let _ = read(&mut |record| {
        found.insert(record.subscription.app_id.to_string(), String::new());
    });
    if let Ok(settings) = settings() {
        let apps = app_cache::for_completion(&settings);
        found.extend(apps.into_iter().map(|app| (app.id.to_string(), app.name.unwrap_or_default())));
    }
    candidates(current, found)
}

/// Profiles.
pub fn profile_names(current: &OsStr) -> Vec<CompletionCandidate> {
    let config = ConfigFile::load().unwrap_or_default();
    let names = config.profiles.into_keys().chain([ProfileName::default()]);
    candidates(current, names.map(|name| (name.to_string(), String::new())).collect())
}

/// Labels.
pub fn labels(current: &OsStr) -> Vec<CompletionCandidate> {
    from_registry(current, |record| Some((record.label.as_ref()?.to_string(), String::new())))
}

/// Values of the installation's rows that begin with what is typed, each once, with their help.
fn from_registry(current: &OsStr, value: impl Fn(&HookRecord) -> Option<(String, String)>) -> Vec<CompletionCandidate> {
    let mut found = BTreeMap::new();
    let _ = read(&mut |record| found.extend(value(record)));
    candidates(current, found)
}

fn candidates(current: &OsStr, found: BTreeMap<String, String>) -> Vec<CompletionCandidate> {
    let typed = current.to_string_lossy();
    let candidate = |(value, help): (String, String)| {
        let help = Some(sanitize(&help).into_owned()).filter(|help| !help.is_empty());
        CompletionCandidate::new(sanitize(&value).into_owned()).help(help.map(Into::into))
    };
    found.into_iter().filter(|(value, _)| value.starts_with(&*typed)).map(candidate).collect()
}

fn read(each: &mut dyn FnMut(&HookRecord)) -> crate::error::Result<()> {
    let settings = settings()?;
    if let Some(registry) = SqliteRegistry::open_existing(settings.store_path()?.path())? {
        registry.hooks(Some(&settings.api.value), &mut |record| {
            if !record.status.is_ended() {
                each(&record);
            }
        })?;
    }
    Ok(())
}

/// The flags of a half-typed line are not known here; environment and configuration are.
fn settings() -> crate::error::Result<Settings> {
    Settings::resolve(&Overrides::default(), &Environment::of_process(), &ConfigFile::load()?)
}
