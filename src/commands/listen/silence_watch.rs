//! Alerts of hooks that bring nothing any more.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::commands::evidence::evidence_in;
use crate::domain::{ApiOrigin, AppId, EventKind, HookStatus, ShownTime};
use crate::error::{Error, ErrorKind, Result};
use crate::hooks::Drift;
use crate::receiver::{AlertCondition, Alerts};
use crate::store::Store;

/// How often to look, unless silence is so short that it takes more.
const INTERVAL: Duration = Duration::from_secs(10 * 60);

/// How soon after the start: what is caught up with comes first.
const FIRST_WAIT: Duration = Duration::from_secs(30);

/// Where to look for hooks that may not deliver any more.
pub(super) struct SilenceLook {
    pub(super) store: Box<dyn Store>,
    pub(super) origin: ApiOrigin,
    pub(super) silent_for: SignedDuration,
}

/// Looks for them, and tells.
pub(super) struct SilenceWatch {
    pub(super) looks: Arc<SilenceLook>,
    pub(super) alerts: Alerts,
}

impl SilenceWatch {
    /// Looks again and again, until dropped.
    pub(super) async fn run(&self) {
        let interval = INTERVAL.min(self.looks.silent_for.unsigned_abs() / 4).max(Duration::from_secs(1));
        tokio::time::sleep(FIRST_WAIT.min(interval)).await;
        let mut known = BTreeMap::new();
        loop {
            let looks = Arc::clone(&self.looks);
            match off_runtime(move || looks.look()).await {
                Ok(found) => {
                    for (app_id, event) in known.keys().filter(|key| !found.contains_key(*key)).copied() {
                        self.alerts.set(AlertCondition::SilentHook { app_id, event }, None);
                    }
                    for ((app_id, event), what) in &found {
                        let condition = AlertCondition::SilentHook { app_id: *app_id, event: *event };
                        self.alerts.set(condition, Some(what.clone()));
                    }
                    known = found;
                }
                Err(error) => tracing::debug!("whether hooks are silent is not known: {error}"),
            }
            tokio::time::sleep(interval).await;
        }
    }
}

impl SilenceLook {
    /// The active hooks that may not deliver any more, by app and event, and what is wrong with them.
    fn look(&self) -> Result<BTreeMap<(AppId, EventKind), String>> {
        let (Some(registry), Some(evidence)) =
            (self.store.existing_registry(None)?, evidence_in(&*self.store, &self.origin)?)
        else {
            return Ok(BTreeMap::new());
        };
        let (mut found, now) = (BTreeMap::new(), Timestamp::now());
        registry
            .hooks(Some(&self.origin), &mut |record| {
                if record.status != HookStatus::Active {
                    return;
                }
                let what = match evidence.drift(&record, self.silent_for, now) {
                    Some(Drift::Missed { last_at, .. }) => format!(
                        "{} may be deactivated or deleted: there were events up to {} that no webhook brought; `bugfender-hooks \
                         subscribe --replace` makes it anew",
                        record.name(),
                        ShownTime::from(last_at)
                    ),
                    Some(Drift::Silent { since }) => {
                        format!("{} has brought nothing since {}", record.name(), ShownTime::from(since))
                    }
                    _ => return,
                };
                found.entry((record.subscription.app_id, record.subscription.event)).or_insert(what);
            })
            .map_err(Error::from)?;
        Ok(found)
    }
}

/// Does something with a store, which is not to be waited for within a runtime.
pub(super) async fn off_runtime<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Error::new(ErrorKind::Other, error.to_string()))?
}
