//! Alerts of a target that keeps failing.

use super::super::alerts::{AlertCondition, Alerts};

/// Tells whether a target is failing, when that changes.
#[derive(Default)]
pub(super) struct TargetAlarm {
    alerts: Alerts,
    /// What was told: nothing at first, as an earlier forwarder of the same target may have told that it fails.
    told: Option<bool>,
}

impl TargetAlarm {
    pub(super) fn of(alerts: Alerts) -> Self {
        Self { alerts, told: None }
    }

    /// Notes that the target accepted something.
    pub(super) fn accepted(&mut self, shown: &str) {
        if self.told.replace(false) != Some(false) {
            self.alerts.set(AlertCondition::TargetFailing(shown.to_owned()), None);
        }
    }

    /// Notes an error, after which the target counts as failing or not.
    pub(super) fn failed(&mut self, shown: &str, is_failing: bool, error: &str) {
        if !is_failing && self.told == Some(true) {
            // It answers, though this event is not to its taste.
            self.accepted(shown);
        } else if is_failing && self.told.replace(true) != Some(true) {
            let what = format!("{shown} is failing: {error}");
            self.alerts.set(AlertCondition::TargetFailing(shown.to_owned()), Some(what));
        }
    }
}
