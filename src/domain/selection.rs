//! Selection of hooks in the registry.

use super::{AppId, EventKind, HookId, HookRecord, HookStatus, Label, TargetUrl};

/// Criteria for hooks. An empty list or `None` matches all values.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// These hooks.
    pub hook_ids: Vec<HookId>,
    /// Hooks of these apps.
    pub app_ids: Vec<AppId>,
    /// Hooks for these events.
    pub events: Vec<EventKind>,
    /// Hooks to this endpoint; see [`TargetUrl::selects`].
    pub target_url: Option<TargetUrl>,
    /// Hooks with this label.
    pub label: Option<Label>,
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
            && self.target_url.as_ref().is_none_or(|target| target.selects(&subscription.target_url))
            && self.label.as_ref().is_none_or(|label| record.label.as_ref() == Some(label))
    }
}

/// An empty list allows every value.
fn allows<T: PartialEq>(list: &[T], value: &T) -> bool {
    list.is_empty() || list.contains(value)
}
