//! Looks for what nobody notices by itself: dead letters, which other processes retry and drop too, and a disk that is full
//! while nothing arrives.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::watch;

use super::alerts::{AlertCondition, Alerts};
use super::operators::Operators;
use super::self_check::SelfCheckState;

/// Looks again and again, until aborted.
pub(super) async fn run(alerts: Alerts, operators: Arc<Operators>) {
    let Some(timing) = alerts.timing() else { return };
    let mut seen: Option<BTreeSet<String>> = None;
    loop {
        // It finds out whether there is room, too, and the writer tells that.
        if let Some(dead) = operators.dead_letters().await {
            seen = Some(tell(&alerts, dead, seen.as_ref()));
        }
        tokio::time::sleep(timing.look).await;
    }
}

/// Tells whether the receiver is reached by its public URL, until it ends.
pub(super) async fn hear(alerts: Alerts, mut state: watch::Receiver<SelfCheckState>) {
    loop {
        let problem = match &*state.borrow_and_update() {
            SelfCheckState::Unknown => None,
            SelfCheckState::Passing { .. } => Some(None),
            SelfCheckState::Failing { reason, .. } => {
                Some(Some(format!("deliveries do not arrive: {reason}; {}", reason.advice())))
            }
        };
        if let Some(problem) = problem {
            alerts.set(AlertCondition::SelfCheck, problem);
        }
        if state.changed().await.is_err() {
            return;
        }
    }
}

/// Tells how many dead letters there are, by target. Those that are there at the start are known. Returns the targets that
/// have some.
fn tell(alerts: &Alerts, dead: Vec<(String, u64)>, seen: Option<&BTreeSet<String>>) -> BTreeSet<String> {
    let now: BTreeSet<_> = dead.iter().filter(|(_, count)| *count > 0).map(|(target, _)| target.clone()).collect();
    for target in seen.into_iter().flatten().filter(|target| !now.contains(*target)) {
        alerts.set(AlertCondition::DeadLetters(target.clone()), None);
    }
    for (target, count) in dead.into_iter().filter(|(_, count)| *count > 0) {
        let letters = if count == 1 { "1 dead letter".to_owned() } else { format!("{count} dead letters") };
        let what = format!("{target} has {letters}: `bugfender-hooks events list --dead` shows them");
        let condition = AlertCondition::DeadLetters(target);
        if seen.is_some() {
            alerts.set_count(condition, count, what);
        } else {
            alerts.set_known(&condition, count, what);
        }
    }
    now
}
