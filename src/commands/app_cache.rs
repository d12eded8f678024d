//! The apps of an account, remembered for completion: a shell does not wait for a server at every key.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::api::App;
use crate::config::{Environment, Settings, directories};
use crate::context::Context;
use crate::domain::AppId;
use crate::error::{Error, ErrorKind, Result};
use crate::platform;
use crate::render::{Output, OutputOptions};

/// How long the cache is fresh, and how long a server that failed is not asked again.
const MAX_AGE: SignedDuration = SignedDuration::from_mins(10);

/// How long a shell waits for a server.
const FETCH_TIMEOUT: Duration = Duration::from_millis(1500);

/// An app, as far as completion shows it.
#[derive(Serialize, Deserialize)]
pub struct KnownApp {
    /// What `--app-id` takes.
    #[serde(deserialize_with = "id")]
    pub id: AppId,
    /// What people call it.
    pub name: Option<String>,
}

fn id<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<AppId, D::Error> {
    AppId::new(i64::deserialize(deserializer)?).ok_or_else(|| serde::de::Error::custom("not an app id"))
}

#[derive(Serialize, Deserialize)]
struct Cache {
    asked_at: Timestamp,
    apps: Vec<KnownApp>,
}

/// Caches the apps that the server listed. Failures are ignored, as the user has the result already.
pub fn remember(settings: &Settings, apps: &[App]) -> Vec<KnownApp> {
    note(settings, apps.iter().map(|app| KnownApp { id: app.id, name: app.name.clone() }).collect())
}

/// Notes that the server was asked now, and what there is to offer.
fn note(settings: &Settings, apps: Vec<KnownApp>) -> Vec<KnownApp> {
    let cache = Cache { asked_at: Timestamp::now(), apps };
    write(settings, &cache);
    cache.apps
}

/// The apps to offer: what is remembered if that is young enough, else what the server says.
///
/// It is asked only with a valid token: completion must not renew one or unlock a keyring.
pub fn for_completion(settings: &Settings) -> Vec<KnownApp> {
    let before = match read(settings) {
        Some(Cache { asked_at, apps }) if Timestamp::now().duration_since(asked_at).abs() < MAX_AGE => return apps,
        cached => cached.map(|cache| cache.apps).unwrap_or_default(),
    };
    let mut waiting = settings.clone();
    waiting.timeout.value = FETCH_TIMEOUT;
    let out = Output::of_process(OutputOptions::default());
    let ctx = Context::for_completion(waiting, Environment::of_process(), out);
    let Ok(api) = ctx.api_without_renewal() else { return before };
    // Recorded before asking, so that an unresponsive server is not asked again at the next key.
    let before = note(settings, before);
    let asked: Result<Vec<App>> = ctx.block_on(async {
        let answer = tokio::time::timeout(FETCH_TIMEOUT, api.apps()).await;
        let too_late = |_| Error::new(ErrorKind::Unavailable, "no answer in time");
        Ok(answer.map_err(too_late)?.map_err(|failure| failure.error)?.apps)
    });
    asked.map_or(before, |apps| remember(settings, &apps))
}

/// Clears the cache: another account may be signed in from now on.
pub fn forget(settings: &Settings) {
    if let Some(path) = path(settings) {
        // There may be none.
        let _ = fs::remove_file(path);
    }
}

fn path(settings: &Settings) -> Option<PathBuf> {
    let (profile, host) = (&settings.profile.value, settings.api.value.as_file_name());
    directories::cache_dir().map(|dir| dir.join("apps").join(format!("{profile}@{host}.json")))
}

fn read(settings: &Settings) -> Option<Cache> {
    serde_json::from_slice(&fs::read(path(settings)?).ok()?).ok()
}

fn write(settings: &Settings, cache: &Cache) {
    let write = || -> Option<()> {
        let path = path(settings)?;
        platform::create_private_dir(path.parent()?).ok()?;
        platform::replace_private_file(&path, &serde_json::to_vec(cache).ok()?).ok()
    };
    if write().is_none() {
        tracing::debug!("the apps could not be remembered");
    }
}
