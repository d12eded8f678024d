//! Completion of values from the registry. Errors give no suggestions, as a shell would show them in the prompt.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::time::Duration;

use clap_complete::CompletionCandidate;

use super::app_cache;
use crate::config::{ConfigFile, Environment, Overrides, Settings, environment};
use crate::context::store_of;
use crate::domain::{HookRecord, ProfileName};
use crate::render::sanitize;

/// How long completion waits for a registry that another process has locked.
const COMPLETION_LOCK_TIMEOUT: Duration = Duration::from_millis(200);

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
    if let Ok(settings) = settings(&Environment::of_process()) {
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

/// Manifests that own hooks.
pub fn manifest_names(current: &OsStr) -> Vec<CompletionCandidate> {
    from_registry(current, |record| Some((record.managed_by.as_ref()?.to_string(), String::new())))
}

/// Values of the installation's rows that begin with what is typed, each once, with their help.
fn from_registry(current: &OsStr, value: impl Fn(&HookRecord) -> Option<(String, String)>) -> Vec<CompletionCandidate> {
    let mut found = BTreeMap::new();
    let _ = read(&mut |record| found.extend(value(record)));
    candidates(current, found)
}

fn candidates(current: &OsStr, found: BTreeMap<String, String>) -> Vec<CompletionCandidate> {
    let is_bash = environment::completes_quoted_in_bash();
    let typed = current.to_string_lossy();
    let typed = if is_bash { typed.replace('\\', "") } else { typed.into_owned() };
    let candidate = |(value, help): (String, String)| {
        let help = Some(sanitize(&help).into_owned()).filter(|help| !help.is_empty());
        let value = sanitize(&value);
        let value = if is_bash { quoted_for_bash(&value) } else { value.into_owned() };
        CompletionCandidate::new(value).help(help.map(Into::into))
    };
    found.into_iter().filter(|(value, _)| value.starts_with(&*typed)).map(candidate).collect()
}

/// The value as it has to stand in a line of bash, which takes what it is offered as if somebody had typed it: a label
/// could be a command otherwise. Other shells quote by themselves.
fn quoted_for_bash(value: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "-_./@%+=".contains(c);
    value.chars().flat_map(|c| (!is_plain(c)).then_some('\\').into_iter().chain([c])).collect()
}

fn read(each: &mut dyn FnMut(&HookRecord)) -> crate::error::Result<()> {
    let environment = Environment::of_process();
    let settings = settings(&environment)?;
    if let Some(registry) = store_of(&settings, &environment)?.existing_registry(Some(COMPLETION_LOCK_TIMEOUT))? {
        registry.hooks(Some(&settings.api.value), &mut |record| {
            if !record.status.is_ended() {
                each(&record);
            }
        })?;
    }
    Ok(())
}

/// What the line means as far as it has been typed, environment and configuration.
fn settings(environment: &Environment) -> crate::error::Result<Settings> {
    let words: Vec<String> = std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
    let flags = Overrides {
        profile: typed(&words, "--profile").map(|name| name.parse()).transpose()?,
        api_url: typed(&words, "--api-url"),
        store: typed(&words, "--store"),
        ..Overrides::default()
    };
    Settings::resolve(&flags, environment, &ConfigFile::load()?)
}

/// The value of a flag among the words of the line. bash makes three words of `--flag=value`.
fn typed(words: &[String], flag: &str) -> Option<String> {
    let at = words
        .iter()
        .position(|word| word == flag || word.strip_prefix(flag).is_some_and(|rest| rest.starts_with('=')))?;
    if let Some((_, value)) = words[at].split_once('=') {
        return Some(value.to_owned());
    }
    let behind = words.get(at + 1)?;
    if behind == "=" { words.get(at + 2).cloned() } else { Some(behind.clone()) }
}
