//! Whether hooks still deliver, as far as the inbox tells: pure rules.
//!
//! Bugfender does not say which hook a delivery belongs to. With one hook for an app and an event it is clear; with several,
//! all that is known is that one of them delivers.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};

use crate::domain::{AppId, EventKind, HookRecord, HookStatus, Secret, TargetUrl, whole_second};
use crate::store::{Arrival, MissedEvents};

/// Where the receiver takes Bugfender's deliveries; its key follows.
const RECEIVER_PATH: &str = "/bugfender/";

/// What the inbox knows of events, by app and kind.
#[derive(Debug, Default)]
pub struct InboxEvidence {
    last_events: HashMap<(AppId, EventKind), Timestamp>,
    missed: HashMap<(AppId, EventKind), (u64, Timestamp)>,
    /// The keys of the receivers that store into it.
    keys: Vec<Secret>,
}

/// What is known of a hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HookSigns {
    /// When a webhook last brought an event of its app and kind.
    pub last_event_at: Option<Timestamp>,
    /// When a delivery last came through its URL: only if no other hook is for the same app and event, and its URL is that
    /// of the receiver.
    pub verified_at: Option<Timestamp>,
    /// Whether other hooks are for the same app and event, so that it is not known which of them delivered.
    pub shares_events: bool,
}

/// What is wrong with a hook, the strongest sign first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Drift {
    /// Polling found events that no webhook brought.
    Missed {
        /// How many were stored; 0 if only groups of issues were seen.
        events: u64,
        /// When the newest of them was made.
        last_at: Timestamp,
    },
    /// The server said that it is not there, and nothing took its place.
    Ended,
    /// It is not known whether it exists.
    InDoubt,
    /// Nothing came for so long.
    Silent {
        /// Since when.
        since: Timestamp,
    },
}

impl InboxEvidence {
    /// What an inbox says, and the keys of its receivers.
    pub fn new(arrivals: &[Arrival], missed: &[MissedEvents], keys: Vec<Secret>) -> Self {
        let mut evidence = Self { keys, ..Self::default() };
        for Arrival { app_id, event_type, last_at } in arrivals {
            if let (Some(app), Some(kind)) = (AppId::new(*app_id), EventKind::of_type(event_type)) {
                evidence.last_events.insert((app, kind), *last_at);
            }
        }
        for MissedEvents { app_id, event_type, events, last_at, .. } in missed {
            if let Some(kind) = EventKind::of_type(event_type) {
                evidence.missed.insert((*app_id, kind), (*events, *last_at));
            }
        }
        evidence
    }

    /// What is known of a hook, of so many that may exist for the same app and event.
    pub fn signs(&self, record: &HookRecord, hooks: usize) -> HookSigns {
        let last_event_at = self.last_events.get(&for_what(record)).copied();
        let is_clear = hooks <= 1 && !record.status.is_ended() && self.is_own(&record.subscription.target_url);
        // Times on record have no fractions.
        let verified_at = last_event_at.filter(|at| is_clear && *at >= record.created_at);
        HookSigns { last_event_at, verified_at, shares_events: hooks > 1 }
    }

    /// What is wrong with a hook, if something is. Silence for longer than `silent_for` is.
    pub fn drift(&self, record: &HookRecord, silent_for: SignedDuration, now: Timestamp) -> Option<Drift> {
        match record.status {
            HookStatus::Removed | HookStatus::Pending => return None,
            HookStatus::Gone => return Some(Drift::Ended),
            HookStatus::Unknown | HookStatus::Removing => return Some(Drift::InDoubt),
            HookStatus::Active => {}
        }
        let last_event_at = self.last_events.get(&for_what(record)).copied();
        if let Some((events, last_at)) = self.missed.get(&for_what(record)).copied() {
            // Times of events may be whole seconds.
            let is_newest = last_event_at.is_none_or(|at| whole_second(at) <= last_at);
            // A hook that took the place of another within the second of its last event is not to blame for it.
            let begins = if record.replaces.is_some() { after_a_second(record.created_at) } else { record.created_at };
            if is_newest && last_at >= begins {
                return Some(Drift::Missed { events, last_at });
            }
        }
        let since = last_event_at.map_or(record.created_at, |at| at.max(record.created_at));
        let is_silent = now.duration_since(since) >= silent_for;
        (is_silent && self.is_heard(record)).then_some(Drift::Silent { since })
    }

    /// Whether what the hook delivers comes to this inbox: else nothing is known of it.
    pub fn is_heard(&self, record: &HookRecord) -> bool {
        self.last_events.contains_key(&for_what(record))
            || record.subscription.target_url.expose().contains(RECEIVER_PATH)
    }

    /// Whether a URL is that of a receiver of this inbox, which its key tells.
    fn is_own(&self, target: &TargetUrl) -> bool {
        let path = target.expose().split(['?', '#']).next().unwrap_or_default();
        let key = path.rsplit_once(RECEIVER_PATH).map(|(_, key)| key.trim_end_matches('/'));
        key.is_some_and(|key| self.keys.iter().any(|known| known.expose() == key))
    }
}

/// How many hooks there are for the same app and event, of those that may exist.
#[derive(Debug, Default)]
pub struct SharedEvents(HashMap<(AppId, EventKind), usize>);

impl SharedEvents {
    /// Counts these hooks.
    pub fn of<'a>(hooks: impl IntoIterator<Item = &'a HookRecord>) -> Self {
        let mut counts = HashMap::new();
        for hook in hooks.into_iter().filter(|hook| !hook.status.is_ended()) {
            *counts.entry(for_what(hook)).or_insert(0) += 1;
        }
        Self(counts)
    }

    /// How many are for the same as this one, which may be one of them.
    pub fn with(&self, record: &HookRecord) -> usize {
        self.0.get(&for_what(record)).copied().unwrap_or(0)
    }
}

fn after_a_second(time: Timestamp) -> Timestamp {
    time.checked_add(SignedDuration::from_secs(1)).unwrap_or(time)
}

fn for_what(record: &HookRecord) -> (AppId, EventKind) {
    (record.subscription.app_id, record.subscription.event)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{HookId, RowId, Subscription};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + second).unwrap()
    }

    fn hook(target: &str, status: HookStatus) -> HookRecord {
        HookRecord {
            row: RowId(1),
            hook_id: HookId::new(7),
            subscription: Subscription {
                origin: "https://bf.example".parse().unwrap(),
                app_id: AppId::new(1).unwrap(),
                event: EventKind::NewCrash,
                target_url: target.parse().unwrap(),
            },
            status,
            label: None,
            managed_by: None,
            replaces: None,
            reason: None,
            created_at: at(100),
            updated_at: at(100),
        }
    }

    fn evidence(last_event: Option<i64>, missed: Option<i64>) -> InboxEvidence {
        let arrivals =
            last_event.map(|last_at| Arrival { app_id: 1, event_type: "crash".to_owned(), last_at: at(last_at) });
        let missed = missed.map(|last_at| MissedEvents {
            app_id: AppId::new(1).unwrap(),
            event_type: "crash".to_owned(),
            events: 3,
            last_at: at(last_at),
            found_at: at(last_at),
        });
        let key = Secret::parse("the key", "k3y-of-the-receiver").unwrap();
        InboxEvidence::new(arrivals.as_slice(), missed.as_slice(), vec![key])
    }

    const OWN: &str = "https://hooks.example/bf/bugfender/k3y-of-the-receiver";

    #[test]
    fn a_delivery_verifies_a_hook_only_if_it_can_be_no_other() {
        let verified = |evidence: &InboxEvidence, target: &str, hooks| {
            evidence.signs(&hook(target, HookStatus::Active), hooks).verified_at
        };
        let came = evidence(Some(200), None);
        assert_eq!(verified(&came, OWN, 1), Some(at(200)));
        assert_eq!(verified(&came, &format!("{OWN}/?x=1"), 1), Some(at(200)));
        assert_eq!(verified(&came, OWN, 2), None);
        for other in [
            "https://hooks.example/",
            "https://hooks.example/bugfender/k3y-of-the-receiver2",
            "https://x.example/k3y-of-the-receiver",
        ] {
            assert_eq!(verified(&came, other, 1), None, "{other}");
        }
        // What came before the hook was made came by another.
        assert_eq!(verified(&evidence(Some(99), None), OWN, 1), None);
        assert_eq!(evidence(Some(99), None).signs(&hook(OWN, HookStatus::Active), 2).last_event_at, Some(at(99)));
    }

    #[test]
    fn what_is_wrong_is_the_strongest_sign() {
        let week = SignedDuration::from_hours(7 * 24);
        let drift = |evidence: &InboxEvidence, status, now| evidence.drift(&hook(OWN, status), week, at(now));
        let later = 100 + 8 * 24 * 3600;
        let missed = |last_at| Some(Drift::Missed { events: 3, last_at: at(last_at) });
        assert_eq!(drift(&evidence(None, None), HookStatus::Active, 200), None);
        assert_eq!(drift(&evidence(None, None), HookStatus::Active, later), Some(Drift::Silent { since: at(100) }));
        assert_eq!(drift(&evidence(Some(later - 9), None), HookStatus::Active, later), None);
        assert_eq!(drift(&evidence(Some(150), Some(160)), HookStatus::Active, 200), missed(160));
        assert_eq!(drift(&evidence(None, Some(160)), HookStatus::Active, later), missed(160));
        // A webhook that came later, or a hook that was made later: it works now.
        assert_eq!(drift(&evidence(Some(170), Some(160)), HookStatus::Active, 200), None);
        assert_eq!(drift(&evidence(None, Some(99)), HookStatus::Active, 200), None);
        assert_eq!(drift(&evidence(Some(150), Some(160)), HookStatus::Unknown, 200), Some(Drift::InDoubt));
        assert_eq!(drift(&evidence(None, None), HookStatus::Gone, 200), Some(Drift::Ended));
        assert_eq!(drift(&evidence(None, None), HookStatus::Removed, later), None);
    }

    #[test]
    fn what_is_delivered_elsewhere_is_not_silent() {
        let elsewhere = hook("https://chat.example/services/x", HookStatus::Active);
        let (week, later) = (SignedDuration::from_hours(7 * 24), at(100 + 8 * 24 * 3600));
        assert_eq!(evidence(None, None).drift(&elsewhere, week, later), None);
        assert_eq!(evidence(Some(150), None).drift(&elsewhere, week, later), Some(Drift::Silent { since: at(150) }));
    }
}
