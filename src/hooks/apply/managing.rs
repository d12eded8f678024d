//! What changes in the registry only: owners and labels.

use jiff::Timestamp;

use super::{Applier, ApplyOutcome, Frontend};
use crate::domain::ManifestName;
use crate::error::{Error, ErrorKind};
use crate::manifest::{PlanAction, PlannedHook};
use crate::store::OwnershipChange;

/// How many rows are changed in one commit: others wait for it.
const AT_ONCE: usize = 500;

impl<F: Frontend> Applier<'_, F> {
    /// Gives hooks their owner and label, and those that are on record without their password the whole endpoint.
    pub(super) fn manage(&mut self, name: &ManifestName) {
        let change = |(index, hook): (usize, &super::AppliedHook)| Some((index, change(&hook.planned, name)?));
        let changes: Vec<(usize, OwnershipChange)> = self.hooks.iter().enumerate().filter_map(change).collect();
        for changes in changes.chunks(AT_ONCE) {
            self.lock.renew();
            let (places, changes): (Vec<usize>, Vec<OwnershipChange>) = changes.iter().cloned().unzip();
            match self.registry.manage(&changes, Timestamp::now()) {
                Ok(records) => {
                    for (index, record) in places.into_iter().zip(records) {
                        self.managed(index, record.is_some());
                    }
                }
                Err(error) => {
                    // One error says so for all.
                    let mut error = Some(Error::from(error));
                    for index in places {
                        let error = error.take();
                        self.end(index, ApplyOutcome::Failed, error);
                    }
                }
            }
        }
    }

    fn managed(&mut self, index: usize, is_done: bool) {
        let planned = &self.hooks[index].planned;
        if is_done {
            let outcome = if planned.action.is_change() { ApplyOutcome::Done } else { ApplyOutcome::Unchanged };
            self.end(index, outcome, None);
            return;
        }
        let name = planned.record.as_ref().map_or_else(String::new, |record| format!("hook {}", record.row.0));
        let name = planned.record.as_ref().and_then(|record| record.hook_id).map_or(name, |id| format!("hook {id}"));
        let error = Error::new(ErrorKind::Other, format!("{name} changed meanwhile: it was left as it is"));
        self.end(index, ApplyOutcome::Failed, Some(error.hint("run the same command again")));
    }
}

/// What is to change in the registry for a hook that exists.
fn change(planned: &PlannedHook, name: &ManifestName) -> Option<OwnershipChange> {
    let (wanted, record) = planned.wanted.as_ref().zip(planned.record.as_ref())?;
    let is_hidden = record.subscription.target_url.is_redacted();
    let is_due = match planned.action {
        PlanAction::Relabel | PlanAction::Adopt => true,
        PlanAction::Keep => is_hidden,
        _ => false,
    };
    is_due.then(|| OwnershipChange {
        row: record.row,
        managed_by: name.clone(),
        label: wanted.label.clone(),
        target_url: is_hidden.then(|| wanted.target_url.clone()),
    })
}
