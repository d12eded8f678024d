//! The checksum of a plan: the same for the same changes of the same hooks, whoever computes it.

use ring::digest::{Context, SHA256};

use super::{Plan, PlannedHook};
use crate::domain::{HookId, Label, ManifestName};

impl Plan {
    /// The SHA-256 of all that the plan says, in hexadecimal digits. Row numbers and times are left out: they differ
    /// between copies of a registry.
    pub fn checksum(&self) -> String {
        let mut sum = PlanDigest(Context::new(&SHA256));
        sum.add("bugfender-hooks plan 1");
        sum.add(self.name.as_str());
        sum.add(self.origin.as_str());
        sum.add(if self.options.prune { "prune" } else { "" });
        sum.add(if self.options.adopt { "adopt" } else { "" });
        for hook in &self.hooks {
            sum.add_hook(hook);
        }
        hex::encode(sum.0.finish())
    }
}

struct PlanDigest(Context);

impl PlanDigest {
    /// Adds a text with its length, so that no two lists of texts are the same bytes.
    fn add(&mut self, text: &str) {
        self.0.update(&(text.len() as u64).to_le_bytes());
        self.0.update(text.as_bytes());
    }

    fn add_hook(&mut self, hook: &PlannedHook) {
        self.add(hook.action.as_str());
        self.add(if hook.wanted.is_some() { "wanted" } else { "" });
        if let Some(wanted) = &hook.wanted {
            self.add(&wanted.app_id.to_string());
            self.add(wanted.event.as_str());
            self.add(wanted.target_url.expose());
            self.add(wanted.label.as_ref().map_or("", Label::as_str));
        }
        self.add(if hook.record.is_some() { "recorded" } else { "" });
        if let Some(record) = &hook.record {
            self.add(&record.hook_id.map_or(0, HookId::get).to_string());
            self.add(&record.subscription.app_id.to_string());
            self.add(record.subscription.event.as_str());
            self.add(record.subscription.target_url.expose());
            self.add(record.status.as_str());
            self.add(record.label.as_ref().map_or("", Label::as_str));
            self.add(record.managed_by.as_ref().map_or("", ManifestName::as_str));
        }
    }
}
