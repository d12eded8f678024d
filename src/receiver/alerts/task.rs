//! The task that sends alerts.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{AlertHub, Alerts};

/// How long alerts may take when the receiver stops.
const GRACE: Duration = Duration::from_secs(5);

/// The longest `Retry-After` that is honored.
const MAX_PAUSE: Duration = Duration::from_secs(60 * 60);

/// The task, if there is an endpoint.
pub(in crate::receiver) struct AlertTask {
    running: Option<(Arc<AlertHub>, JoinHandle<()>)>,
    stop: watch::Sender<bool>,
}

impl AlertTask {
    /// Sends alerts from now on.
    pub(in crate::receiver) fn start(alerts: &Alerts) -> Self {
        let stop = watch::Sender::new(false);
        let start = |hub: &Arc<AlertHub>| {
            let sender = AlertSender { hub: Arc::clone(hub), failures: 0, rests_until: None };
            (Arc::clone(hub), tokio::spawn(sender.run(stop.subscribe())))
        };
        Self { running: alerts.0.as_ref().map(start), stop }
    }

    /// Sends what is to be told now, for a few seconds at most and until the deadline, and ends.
    pub(in crate::receiver) async fn finish(self, deadline: tokio::time::Instant) {
        let Some((hub, mut task)) = self.running else { return };
        self.stop.send_replace(true);
        let deadline = deadline.min(tokio::time::Instant::now() + GRACE);
        if tokio::time::timeout_at(deadline, &mut task).await.is_err() {
            task.abort();
            let _ = task.await;
        }
        let untold = hub.board().untold(Instant::now());
        if untold > 0 {
            tracing::warn!("alerts that could not be sent: {untold}");
        }
    }
}

struct AlertSender {
    hub: Arc<AlertHub>,
    /// How many attempts in a row have failed.
    failures: u32,
    /// Until when the endpoint is left alone.
    rests_until: Option<Instant>,
}

impl AlertSender {
    async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let hub = Arc::clone(&self.hub);
        while !*stop.borrow() {
            let now = Instant::now();
            let rest = self.rests_until.map(|until| until.saturating_duration_since(now)).unwrap_or_default();
            if rest.is_zero() && self.send_next(now).await.is_some() {
                continue;
            }
            // What changes while nothing is waited for is remembered (`notify_one`).
            let wait = hub.board().wait(now).map(|wait| wait.max(rest));
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => break,
                () = hub.changed.notified() => {}
                () = tokio::time::sleep(wait.unwrap_or_default()), if wait.is_some() => {}
            }
        }
        while self.send_next(Instant::now()).await == Some(true) {}
    }

    /// Sends one alert, if there is one to send. Returns whether it was taken.
    async fn send_next(&mut self, now: Instant) -> Option<bool> {
        let message = self.hub.board().next(now)?;
        let endpoint = self.hub.endpoint.load_full();
        let title = message.condition.title(message.state);
        let answer = endpoint.send(&message).await;
        let now = Instant::now();
        self.hub.board().ended(&message, answer.telling, now);
        let shown = endpoint.shown();
        let Some(error) = answer.error else {
            if self.failures > 0 {
                tracing::warn!("{shown} accepts alerts again");
            }
            tracing::info!("sent an alert to {shown}: {title}");
            (self.failures, self.rests_until) = (0, None);
            return Some(true);
        };
        if self.failures == 0 {
            tracing::warn!("{shown} does not accept an alert, which is retried: {error}: {title}");
        } else {
            tracing::debug!("{shown} does not accept an alert: {error}: {title}");
        }
        let timing = &self.hub.timing;
        let wait = timing.first_wait.saturating_mul(1 << self.failures.min(20)).min(timing.longest_wait);
        self.rests_until = Some(now + wait.max(answer.pause.unwrap_or_default().min(MAX_PAUSE)));
        self.failures += 1;
        Some(false)
    }
}
