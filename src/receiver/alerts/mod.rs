//! Alerts: a message when something fails, and when it is good again. Neither receiving nor forwarding waits for them.
//!
//! A failure is told at once, and that it is over when it has been over for a minute, so that what comes and goes is told
//! once. What could not be sent is sent later as it is then; what is over by then is not sent.

mod board;
mod condition;
mod endpoint;
mod message;
mod task;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use arc_swap::ArcSwap;
use tokio::sync::Notify;

pub use self::board::AlertTiming;
pub use self::condition::AlertCondition;
pub use self::endpoint::AlertEndpoint;
pub use self::message::AlertTemplate;

pub(super) use self::task::AlertTask;

use self::board::{AlertBoard, AlertCause, AlertTime};
use crate::domain::excerpt;

/// The longest text about a condition, in characters.
const MAX_SUMMARY: usize = 500;

/// Where those who notice something say so, from any thread. Without an endpoint nothing comes of it.
#[derive(Clone, Default)]
pub struct Alerts(Option<Arc<AlertHub>>);

struct AlertHub {
    board: Mutex<AlertBoard>,
    timing: AlertTiming,
    /// Notified when there may be something to tell.
    changed: Notify,
    endpoint: ArcSwap<AlertEndpoint>,
    /// Whether this receiver tells what all receivers of a store see.
    is_first: OnceLock<Box<dyn Fn() -> bool + Send + Sync>>,
    /// Whether there was no room for a condition: logged once.
    is_full: AtomicBool,
}

impl AlertHub {
    /// A panic while it is locked leaves it as it is.
    fn board(&self) -> MutexGuard<'_, AlertBoard> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_first(&self) -> bool {
        self.is_first.get().is_none_or(|is_first| is_first())
    }
}

impl Alerts {
    /// Alerts that go to this endpoint.
    pub fn to(endpoint: AlertEndpoint, timing: AlertTiming) -> Self {
        Self(Some(Arc::new(AlertHub {
            board: Mutex::new(AlertBoard::new(timing)),
            timing,
            changed: Notify::new(),
            endpoint: ArcSwap::from_pointee(endpoint),
            is_first: OnceLock::new(),
            is_full: AtomicBool::new(false),
        })))
    }

    /// Notes what is wrong with a condition, or that it is good. May be called again and again: only changes are told.
    pub fn set(&self, condition: AlertCondition, problem: Option<String>) {
        self.note(condition, problem.map(|what| (what, 0)));
    }

    /// Notes how much there is of something that should not be, and what to say of it. With none it is good. That it grows
    /// is told too, once an hour at most.
    pub fn set_count(&self, condition: AlertCondition, count: u64, what: String) {
        self.note(condition, (count > 0).then_some((what, count)));
    }

    /// The same, of what was so before this receiver was there: only changes from now on are told.
    pub(super) fn set_known(&self, condition: &AlertCondition, count: u64, what: String) {
        let Some(hub) = &self.0 else { return };
        let problem = (count > 0).then_some((what, count)).map(problem);
        hub.board().set_known(condition, problem, AlertTime::now());
        hub.changed.notify_one();
    }

    fn note(&self, condition: AlertCondition, found: Option<(String, u64)>) {
        let Some(hub) = &self.0 else { return };
        let (problem, now) = (found.map(problem), AlertTime::now());
        if condition.is_of_store() && !hub.is_first() {
            hub.board().set_known(&condition, problem, now);
        } else if !hub.board().set(condition, problem, now) && !hub.is_full.swap(true, Ordering::Relaxed) {
            tracing::warn!("too much is wrong at once: there are no alerts of what is new");
        }
        hub.changed.notify_one();
    }

    /// Sends alerts to this endpoint from now on.
    pub fn replace_endpoint(&self, endpoint: AlertEndpoint) {
        if let Some(hub) = &self.0 {
            hub.endpoint.store(Arc::new(endpoint));
        }
    }

    /// From now on, what all receivers of a store see is told only while this says so.
    pub(super) fn among(&self, is_first: impl Fn() -> bool + Send + Sync + 'static) {
        if let Some(hub) = &self.0 {
            // Set once, by the one receiver.
            let _ = hub.is_first.set(Box::new(is_first));
        }
    }

    /// Notes that no other targets than these fail, as there are no others.
    pub(super) fn keep_targets(&self, names: &[String]) {
        let Some(hub) = &self.0 else { return };
        let is_gone = |condition: &&AlertCondition| matches!(condition, AlertCondition::TargetFailing(name) if !names.contains(name));
        let gone: Vec<_> = hub.board().firing().filter(is_gone).cloned().collect();
        for condition in gone {
            self.set(condition, None);
        }
    }

    /// When alerts are sent, if they are.
    pub(super) fn timing(&self) -> Option<AlertTiming> {
        self.0.as_ref().map(|hub| hub.timing)
    }
}

/// Texts may have been written by strangers.
fn problem((what, count): (String, u64)) -> AlertCause {
    AlertCause { what: excerpt(&what, MAX_SUMMARY), count }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::http::{Client, ClientOptions, Peer, Roots};

    fn alerts() -> Alerts {
        let options = ClientOptions {
            attempt_timeout: Duration::from_secs(1),
            total_timeout: None,
            tls: false,
            proxy: false,
            loopback_only: true,
            roots: Roots::System,
            peer: Peer::Endpoint,
        };
        let endpoint = AlertEndpoint::new(Client::new(options).unwrap(), "http://127.0.0.1:9/".parse().unwrap(), None);
        Alerts::to(endpoint, AlertTiming::default())
    }

    fn untold(alerts: &Alerts) -> usize {
        alerts.0.as_ref().unwrap().board().untold(Instant::now())
    }

    #[test]
    fn what_all_receivers_see_is_told_by_the_first() {
        let (alerts, first) = (alerts(), Arc::new(AtomicBool::new(false)));
        let is_first = Arc::clone(&first);
        alerts.among(move || is_first.load(Ordering::Relaxed));
        let dead = |count| {
            alerts.set_count(AlertCondition::DeadLetters("crm".to_owned()), count, format!("{count} dead letters"));
            untold(&alerts)
        };
        assert_eq!((dead(1), dead(2)), (0, 0));
        // Each tells of itself.
        alerts.set(AlertCondition::Storage, Some("the disk is full".to_owned()));
        assert_eq!(untold(&alerts), 1);
        // The first has gone: what was there before is known.
        first.store(true, Ordering::Relaxed);
        assert_eq!((dead(2), dead(3)), (1, 2));
    }

    #[test]
    fn a_target_that_is_none_any_more_does_not_fail() {
        let alerts = alerts();
        for name in ["kept", "gone"] {
            alerts.set(AlertCondition::TargetFailing(name.to_owned()), Some("is failing".to_owned()));
        }
        alerts.keep_targets(&["kept".to_owned()]);
        let hub = alerts.0.as_ref().unwrap();
        assert!(hub.board().firing().eq([&AlertCondition::TargetFailing("kept".to_owned())]));
    }
}
