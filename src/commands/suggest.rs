//! Completion of values from the registry. Trouble of any kind is silence: a shell is no place for errors.

use std::collections::BTreeMap;
use std::ffi::OsStr;

use clap_complete::CompletionCandidate;

use crate::config::{Environment, Overrides, Settings};
use crate::domain::HookRecord;
use crate::render::sanitize;
use crate::store::Registry;
use crate::store::sqlite::SqliteRegistry;

/// Hook ids that have not ended.
pub fn hook_ids(current: &OsStr) -> Vec<CompletionCandidate> {
    from_registry(current, |record| Some((record.hook_id?.to_string(), record.subscription.to_string())))
}

/// App ids.
pub fn app_ids(current: &OsStr) -> Vec<CompletionCandidate> {
    from_registry(current, |record| Some((record.subscription.app_id.to_string(), String::new())))
}

/// Labels.
pub fn labels(current: &OsStr) -> Vec<CompletionCandidate> {
    from_registry(current, |record| Some((record.label.as_ref()?.to_string(), String::new())))
}

/// Values of the installation's rows that begin with what is typed, each once, with their help.
fn from_registry(current: &OsStr, value: impl Fn(&HookRecord) -> Option<(String, String)>) -> Vec<CompletionCandidate> {
    let typed = current.to_string_lossy();
    let mut found = BTreeMap::new();
    let _ = read(&mut |record| {
        if let Some((value, help)) = value(record).filter(|(value, _)| value.starts_with(&*typed)) {
            found.insert(value, help);
        }
    });
    let candidate = |(value, help): (String, String)| {
        let help = Some(sanitize(&help).into_owned()).filter(|help| !help.is_empty());
        CompletionCandidate::new(sanitize(&value).into_owned()).help(help.map(Into::into))
    };
    found.into_iter().map(candidate).collect()
}

fn read(each: &mut dyn FnMut(&HookRecord)) -> crate::error::Result<()> {
    // The flags of a half-typed line are not known here; the environment is.
    let settings = Settings::resolve(&Overrides::default(), &Environment::of_process())?;
    if let Some(registry) = SqliteRegistry::open_existing(settings.store_path()?.path())? {
        registry.hooks(Some(&settings.api.value), &mut |record| {
            if !record.status.is_ended() {
                each(&record);
            }
        })?;
    }
    Ok(())
}
