//! Selection of hooks in the registry.

use super::{AppId, EventKind, HookId, HookRecord, HookStatus, Label, ManifestName, TargetUrl};

/// Criteria for hooks. An empty list matches all values.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// These hooks.
    pub hook_ids: Vec<HookId>,
    /// Hooks of these apps.
    pub app_ids: Vec<AppId>,
    /// Hooks for these events.
    pub events: Vec<EventKind>,
    /// Hooks to these endpoints; see [`TargetUrl::selects`].
    pub target_urls: Vec<TargetUrl>,
    /// Hooks with one of these labels.
    pub labels: Vec<Label>,
    /// Hooks that one of these manifests owns.
    pub managed_by: Vec<ManifestName>,
    /// Hooks with these statuses.
    pub statuses: Vec<HookStatus>,
}

impl Selection {
    /// Whether a row matches.
    pub fn takes(&self, record: &HookRecord) -> bool {
        let subscription = &record.subscription;
        allows(&self.app_ids, &subscription.app_id)
            && allows(&self.events, &subscription.event)
            && allows(&self.statuses, &record.status)
            && (self.hook_ids.is_empty() || record.hook_id.is_some_and(|id| self.hook_ids.contains(&id)))
            && (self.target_urls.is_empty()
                || self.target_urls.iter().any(|target| target.selects(&subscription.target_url)))
            && (self.labels.is_empty() || record.label.as_ref().is_some_and(|label| self.labels.contains(label)))
            && (self.managed_by.is_empty()
                || record.managed_by.as_ref().is_some_and(|name| self.managed_by.contains(name)))
    }
}

/// An empty list allows every value.
fn allows<T: PartialEq>(list: &[T], value: &T) -> bool {
    list.is_empty() || list.contains(value)
}
