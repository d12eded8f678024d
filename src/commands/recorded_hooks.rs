//! The hooks on record for the page, with what the inbox tells of them.

use jiff::{SignedDuration, Timestamp};

use super::evidence::evidence_in;
use crate::domain::{ApiOrigin, HookId, HookRecord, ShownTime, shown_endpoint};
use crate::error::Result;
use crate::hooks::{Drift, SharedEvents};
use crate::store::{Change, Store};
use crate::ui::{HookDirectory, HookLine};

/// How long a hook may be silent, as `drift` has it unless it is told.
const SILENT_FOR: SignedDuration = SignedDuration::from_hours(7 * 24);

/// The hooks of an installation.
pub struct RecordedHooks {
    store: Box<dyn Store>,
    origin: ApiOrigin,
}

impl RecordedHooks {
    /// Those of this installation in a store.
    pub fn new(store: Box<dyn Store>, origin: ApiOrigin) -> Self {
        Self { store, origin }
    }
}

impl HookDirectory for RecordedHooks {
    fn hooks(&self) -> Result<Vec<HookLine>> {
        let Some(registry) = self.store.existing_registry(None)? else { return Ok(Vec::new()) };
        let mut records = Vec::new();
        registry.hooks(Some(&self.origin), &mut |record| {
            if !record.status.is_ended() {
                records.push(record);
            }
        })?;
        let evidence = evidence_in(&*self.store, &self.origin)?.unwrap_or_default();
        let shared = SharedEvents::of(&records);
        let now = Timestamp::now();
        let line = |record: HookRecord| {
            let signs = evidence.signs(&record, shared.with(&record));
            let drift = evidence.drift(&record, SILENT_FOR, now).map(shown);
            HookLine {
                hook_id: record.hook_id.map(HookId::get),
                app_id: record.subscription.app_id.get(),
                event: record.subscription.event.as_str(),
                status: record.status.as_str(),
                label: record.label.map(|label| label.to_string()),
                managed_by: record.managed_by.map(|name| name.to_string()),
                target: shown_endpoint(&record.subscription.target_url),
                created_at: record.created_at.into(),
                last_event_at: signs.last_event_at.map(ShownTime::from),
                verified_at: signs.verified_at.map(ShownTime::from),
                drift,
            }
        };
        Ok(records.into_iter().map(line).collect())
    }

    fn history(&self, hook: HookId, limit: u64) -> Result<Vec<Change>> {
        let Some(registry) = self.store.existing_registry(None)? else { return Ok(Vec::new()) };
        let mut changes = Vec::new();
        registry.history(Some(&self.origin), Some(hook), Some(limit), &mut |change| changes.push(change))?;
        Ok(changes)
    }
}

/// What the drift is, in a few words.
fn shown(drift: Drift) -> String {
    match drift {
        Drift::Missed { .. } => "missed events".to_owned(),
        Drift::Ended => "ended".to_owned(),
        Drift::InDoubt => "in doubt".to_owned(),
        Drift::Silent { since } => format!("silent since {}", ShownTime::from(since)),
    }
}
