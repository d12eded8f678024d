//! The forwarders of a receiver, which can be replaced while it serves.

use std::sync::Arc;

use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::JoinSet;

use super::alerts::Alerts;
use super::clock::Clock;
use super::forward::{Forwarder, Target};
use super::in_flight::InFlight;
use super::metrics::Metrics;
use super::outcomes::OutcomeSender;
use super::peers::Peers;
use super::writer::Writer;
use crate::error::{Error, ErrorKind, Result};
use crate::store::{ReceiverInbox, Route, StoreError};

/// Makes forwarders for targets.
#[derive(Clone)]
pub(super) struct ForwarderFactory {
    pub(super) writer: Writer,
    pub(super) metrics: Arc<Metrics>,
    /// How many attempts are in flight, to all targets together.
    pub(super) in_flight: InFlight,
    pub(super) clock: Clock,
    /// Who is told the outcomes.
    pub(super) outcomes: Option<OutcomeSender>,
    pub(super) peers: Arc<Peers>,
    pub(super) alerts: Alerts,
}

impl ForwarderFactory {
    /// A forwarder for each of these targets, which events go to by these routes.
    pub(super) fn forwarders(&self, targets: Vec<Target>, routes: &[Route]) -> Vec<Forwarder<Writer, Target>> {
        let forwarder = |(target, route): (Target, &Route)| {
            let shared = (Arc::clone(&self.metrics), self.in_flight.clone(), self.clock.clone());
            let policy = target.policy.clone();
            let forwarder = Forwarder::new(target, route.target, policy, self.writer.clone(), shared);
            forwarder.telling(self.outcomes.clone()).among(Arc::clone(&self.peers)).alerting(self.alerts.clone())
        };
        targets.into_iter().zip(routes).map(forwarder).collect()
    }
}

/// Targets that are to take the place of those before, and how it went.
pub(super) type Replacement = (Vec<Target>, oneshot::Sender<Result<()>>);

/// Replaces the targets of a receiver. It holds nothing of the receiver, which ends when all that holds its inbox is gone.
#[derive(Clone)]
pub(super) struct TargetReplacer(pub(super) mpsc::UnboundedSender<Replacement>);

impl TargetReplacer {
    /// Events received from now on go to these targets. What is pending for a target that is still there goes on, and
    /// attempts in flight are finished.
    pub(super) async fn replace(&self, targets: Vec<Target>) -> Result<()> {
        let stopped = || Error::new(ErrorKind::Other, "the receiver has stopped");
        let (reply, answer) = oneshot::channel();
        self.0.send((targets, reply)).map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }
}

/// What the inbox has to know of a target.
pub(super) struct TargetOnRecord {
    name: crate::store::TargetName,
    types: Vec<String>,
    together: bool,
    max_age: jiff::SignedDuration,
}

impl TargetOnRecord {
    pub(super) fn of(target: &Target) -> Self {
        let (name, types) = (target.name.clone(), target.types.clone());
        Self { name, types, together: target.together(), max_age: target.policy.max_age }
    }
}

/// Puts targets on record; returns the routes that events go by.
pub(super) fn put_on_record(
    inbox: &mut (dyn ReceiverInbox + 'static),
    targets: &[TargetOnRecord],
) -> Result<Vec<Route>, StoreError> {
    let names: Vec<_> = targets.iter().map(|target| target.name.clone()).collect();
    let ids = inbox.targets(&names)?;
    inbox.set_max_ages(targets.iter().zip(&ids).map(|(target, id)| (*id, target.max_age)).collect());
    let route = |(target, id): (&TargetOnRecord, _)| Route {
        target: id,
        types: target.types.clone(),
        together: target.together,
    };
    let routes: Vec<_> = targets.iter().zip(ids).map(route).collect();
    inbox.set_routes(&routes)?;
    Ok(routes)
}

/// The forwarders that run, and those that finish what was in flight when they were replaced.
pub(super) struct RunningForwarders {
    factory: ForwarderFactory,
    tasks: JoinSet<()>,
    stop: watch::Sender<bool>,
    stored: Arc<Notify>,
}

impl RunningForwarders {
    pub(super) fn start(
        factory: ForwarderFactory,
        forwarders: Vec<Forwarder<Writer, Target>>,
        stored: Arc<Notify>,
    ) -> Self {
        let mut running = Self { factory, tasks: JoinSet::new(), stop: watch::Sender::new(false), stored };
        running.spawn(forwarders);
        running
    }

    /// Forwards to these targets from now on; the forwarders before claim nothing more.
    pub(super) async fn replace(&mut self, targets: Vec<Target>) -> Result<()> {
        let known: Vec<_> = targets.iter().map(TargetOnRecord::of).collect();
        let routes = self.factory.writer.replace_routes(move |inbox| put_on_record(inbox, &known)).await?;
        self.stop.send_replace(true);
        self.factory.metrics.forget_targets();
        let names: Vec<_> = targets.iter().map(|target| target.name.shown.clone()).collect();
        self.factory.alerts.keep_targets(&names);
        let forwarders = self.factory.forwarders(targets, &routes);
        self.stop = watch::Sender::new(false);
        self.spawn(forwarders);
        // Those that have ended.
        while self.tasks.try_join_next().is_some() {}
        Ok(())
    }

    fn spawn(&mut self, forwarders: Vec<Forwarder<Writer, Target>>) {
        for forwarder in forwarders {
            self.tasks.spawn(forwarder.run(Arc::clone(&self.stored), self.stop.subscribe()));
        }
    }

    /// They claim nothing more; returns those that have not ended.
    pub(super) fn stop(self) -> JoinSet<()> {
        self.stop.send_replace(true);
        self.tasks
    }
}
