//! What is wrong with the inbox.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::super::alerts::{AlertCondition, Alerts};
use crate::store::StoreError;

/// What is wrong with the inbox: logged and told once, not for every delivery.
#[derive(Default)]
pub(super) struct InboxTrouble {
    known: Mutex<KnownTrouble>,
    alerts: Alerts,
}

#[derive(Default)]
struct KnownTrouble {
    /// Whether the last commit failed.
    is_failing: bool,
    /// Whether there was no room for a large delivery.
    is_low: bool,
}

impl InboxTrouble {
    pub(super) fn of(alerts: Alerts) -> Self {
        Self { alerts, ..Self::default() }
    }

    /// A panic while it is locked leaves it as it is.
    fn known(&self) -> MutexGuard<'_, KnownTrouble> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes how a commit of so many deliveries went.
    pub(super) fn note<T>(&self, outcome: &Result<T, StoreError>, deliveries: usize) {
        // Held until it is told: several threads commit, and the last word must be the newest.
        let mut known = self.known();
        match outcome {
            // They are stored one by one then.
            Err(error) if deliveries > 1 && error.may_be_of_one() => {}
            Err(error) if !known.is_failing => {
                known.is_failing = true;
                let what = format!("nothing can be stored; senders are asked to retry: {error}");
                tracing::error!("{what}");
                self.alerts.set(AlertCondition::Storage, Some(what));
            }
            Ok(_) if known.is_failing => {
                known.is_failing = false;
                tracing::warn!("the inbox can be written again");
                let low = || "the disk is nearly full: large deliveries cannot be stored".to_owned();
                self.alerts.set(AlertCondition::Storage, known.is_low.then(low));
            }
            _ => {}
        }
    }

    /// Logs and tells once that there is little room, and once that there is enough.
    pub(super) fn note_room(&self, has_room: bool, bytes: u64) {
        let mut known = self.known();
        let was_low = std::mem::replace(&mut known.is_low, !has_room);
        if has_room && was_low {
            tracing::warn!("there is room for deliveries of every size again");
            self.alerts.set(AlertCondition::Storage, None);
        } else if !has_room && !was_low && !known.is_failing {
            let what = format!("the disk is nearly full: a delivery of {bytes} bytes could not be stored");
            tracing::error!("{what}");
            self.alerts.set(AlertCondition::Storage, Some(what));
        }
    }
}
