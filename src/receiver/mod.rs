//! The receiver: limits, verification, reading, storing, and only then a response; and beside it, forwarding.
//!
//! Connections are served by any number of threads. Their deliveries go to one writer, which stores them in groups and
//! replies when they are on disk (`Writer`). A forwarder for each target claims forwards from the queue; it neither slows
//! receiving nor loses anything when it fails.

mod accept;
mod access;
mod alert_watch;
mod alerts;
mod body;
mod clock;
mod deposit;
mod exposition;
mod forward;
mod forwarders;
mod handed_over;
mod health;
mod in_flight;
mod inbox;
mod intake;
mod limits;
mod maintenance;
mod metrics;
mod operators;
mod optional_gauge;
mod options;
mod outcomes;
mod peers;
mod rejection;
mod replaceable;
mod response;
mod self_check;
mod shares;
mod template;
mod tls;
mod verifier;
mod watchdog;
mod writer;

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use jiff::SignedDuration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::task::AbortOnDropHandle;

pub use self::access::Access;
pub use self::alerts::{AlertCondition, AlertEndpoint, AlertTemplate, AlertTiming, Alerts};
pub use self::deposit::Depositor;
pub use self::forward::{BUILT_IN_TEMPLATES, ExecTarget, HttpTarget, Policy, Target, TargetKind, Template};
pub use self::health::DroppedLines;
pub use self::intake::{BUGFENDER_PATH, INSTABUG_PATH, LUCIQ_PATH};
pub use self::limits::Limits;
pub use self::maintenance::Keep;
pub use self::metrics::Metrics;
pub use self::options::ReceiverOptions;
pub use self::outcomes::{ForwardOutcome, OutcomeFeed, OutcomeSender};
pub use self::replaceable::Replaceable;
pub use self::self_check::{SelfCheck, SelfCheckFailure, SelfCheckState};
pub use self::tls::TlsFiles;

use self::accept::Connections;
use self::alerts::AlertTask;
use self::clock::Clock;
use self::forward::Forwarder;
use self::forwarders::{
    ForwarderFactory, Replacement, RunningForwarders, TargetOnRecord, TargetReplacer, put_on_record,
};
use self::health::HealthCheck;
use self::in_flight::{InFlight, drain};
use self::inbox::open_inbox;
use self::intake::RequestHandler;
use self::limits::{Budgets, HEADS};
use self::maintenance::Upkeeper;
use self::operators::Operators;
use self::peers::Peers;
use self::self_check::SelfChecker;
use self::shares::Shares;
use self::tls::Tls;
use self::verifier::Verifier;
use self::writer::Writer;
use crate::error::{Error, ErrorKind, Result};
use crate::platform;
use crate::store::{Store, TargetRecord};
use crate::ui::WebPage;

/// How many connections may wait to be accepted. With the usual 128, each of a burst above that waits for a second.
const BACKLOG: u32 = 4096;

/// How a receiver ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drained {
    /// Requests that were cut off without a response.
    pub calls: usize,
    /// Attempts to forward that were cut off: they are made again at the next start.
    pub forwards: usize,
}

/// A receiver that has its inbox, and is ready to serve.
pub struct Receiver {
    intake: Arc<RequestHandler>,
    /// Where the paths for operators are served, if not with those for deliveries.
    admin: Option<TcpListener>,
    /// Served there, too.
    page: Option<WebPage>,
    replaceable: Replaceable,
    forwarders: Vec<Forwarder<Writer, Target>>,
    factory: ForwarderFactory,
    /// Targets that take the place of those that were configured.
    replacements: mpsc::UnboundedReceiver<Replacement>,
    in_flight: InFlight,
    writer: Writer,
    /// The threads that own the inbox: it is closed when they have ended.
    health_thread: JoinHandle<()>,
    writer_threads: Vec<JoinHandle<()>>,
    peers: Arc<Peers>,
    alerts: Alerts,
    stored: Arc<Notify>,
    clock: Clock,
    keep: Keep,
    /// Checks whether deliveries arrive.
    self_checker: Option<SelfChecker>,
    max_age: SignedDuration,
    drain_timeout: Duration,
    /// The targets of this receiver, as they were on record at the start.
    named: Vec<TargetRecord>,
    /// Those of earlier ones.
    unnamed: Vec<TargetRecord>,
}

impl Receiver {
    /// Opens the inbox and reads the certificates.
    ///
    /// # Errors
    /// When another process receives into the inbox, it cannot be opened, or a file of the options cannot be read.
    pub fn open(store: &dyn Store, options: ReceiverOptions) -> Result<Self> {
        let ReceiverOptions {
            delivery_keys,
            access,
            admin,
            page,
            admin_hosts,
            limits,
            redaction,
            tls,
            targets,
            policy,
            keep,
            dedupe_window,
            drain_timeout,
            dropped_lines,
            outcomes,
            self_check,
            alerts,
        } = options;
        let tls = tls.map(Tls::load).transpose()?.map(Arc::new);
        let (mut inbox, intakes) = open_inbox(store, dedupe_window, keep.reserve)?;
        let clock = Clock::start(inbox.backlog()?.last_event);
        let peers = Peers::new(inbox.attend()?);
        let seen = Arc::clone(&peers);
        alerts.among(move || seen.is_first());
        let known: Vec<_> = targets.iter().map(TargetOnRecord::of).collect();
        let routes = put_on_record(&mut *inbox, &known)?;
        let (metrics, stored) = (Arc::new(Metrics::default()), Arc::new(Notify::new()));
        let (named, unnamed): (Vec<_>, Vec<_>) =
            inbox.target_records()?.into_iter().partition(|record| record.is_routed(&routes));
        let verifier = Arc::new(ArcSwap::from_pointee(Verifier::new(delivery_keys)));
        let check_now = Arc::new(Notify::new());
        let self_checker = self_check
            .map(|check| SelfChecker::new(check, Arc::clone(&verifier), Arc::clone(&metrics), Arc::clone(&check_now)));
        let self_state = self_checker.as_ref().map(SelfChecker::watch);
        let (health, health_thread) =
            HealthCheck::start(store.watched_inbox()?, dropped_lines, limits.max_body as u64, self_state)?;
        let told = (Arc::clone(&metrics), Arc::clone(&stored), alerts.clone());
        let (writer, writer_threads) = Writer::start(inbox, intakes, routes.clone(), limits.max_group, told)?;
        metrics.certificate_expires(tls.as_ref().and_then(|tls| tls.expiry()));
        let in_flight = InFlight::default();
        let factory = ForwarderFactory {
            writer: writer.clone(),
            metrics: Arc::clone(&metrics),
            in_flight: in_flight.clone(),
            clock: clock.clone(),
            outcomes,
            peers: Arc::clone(&peers),
            alerts: alerts.clone(),
        };
        let forwarders = factory.forwarders(targets, &routes);
        let (replacer, replacements) = mpsc::unbounded_channel();
        let budgets = Budgets::new(&limits);
        let max_age = policy.max_age;
        let operators = Operators { health, metrics: Arc::clone(&metrics), writer: writer.clone(), hosts: admin_hosts };
        let intake = Arc::new(RequestHandler {
            verifier: Arc::clone(&verifier),
            access,
            limits,
            redaction,
            budgets,
            clock: clock.clone(),
            connections: Shares::of(HEADS),
            unverified: Shares::default(),
            metrics: Arc::clone(&metrics),
            writer: writer.clone(),
            operators: Arc::new(operators),
            serves_operators: admin.is_none(),
            calls: InFlight::default(),
        });
        Ok(Self {
            intake,
            admin,
            page,
            replaceable: Replaceable { verifier, tls, metrics, targets: TargetReplacer(replacer), check_now },
            forwarders,
            factory,
            replacements,
            in_flight,
            writer,
            health_thread,
            writer_threads,
            peers,
            alerts,
            stored,
            clock,
            keep,
            self_checker,
            max_age,
            drain_timeout,
            named,
            unnamed,
        })
    }

    /// Targets of earlier runs that are not configured now, and that forwards are pending for.
    pub fn unnamed(&self) -> impl Iterator<Item = &TargetRecord> {
        self.unnamed.iter().filter(|target| target.pending > 0)
    }

    /// The targets that an operator paused.
    pub fn paused(&self) -> impl Iterator<Item = &TargetRecord> {
        self.named.iter().filter(|target| target.paused_at.is_some())
    }

    /// Notified when events were stored.
    pub fn stored(&self) -> Arc<Notify> {
        Arc::clone(&self.stored)
    }

    /// Stores what does not come by a request.
    pub fn depositor(&self) -> Depositor {
        let (writer, budgets) = (self.writer.clone(), self.intake.budgets.clone());
        let metrics = Arc::clone(&self.intake.metrics);
        Depositor { writer, budgets, peers: Arc::clone(&self.peers), metrics }
    }

    /// Whether deliveries arrive, and every change of that, if it is checked. It can be heard for as long as the receiver
    /// serves.
    pub fn self_check(&self) -> Option<watch::Receiver<SelfCheckState>> {
        self.self_checker.as_ref().map(SelfChecker::watch)
    }

    /// What can be replaced while this one serves.
    pub fn replaceable(&self) -> Replaceable {
        self.replaceable.clone()
    }

    /// Serves these sockets until `stop`, then drains what is in flight.
    pub async fn serve(mut self, listeners: Vec<TcpListener>, stop: impl Future<Output = ()>) -> Drained {
        let (tell, stopped) = watch::channel(false);
        let (calls, metrics) = (self.intake.calls.clone(), Arc::clone(&self.intake.metrics));
        let operators = Arc::clone(&self.intake.operators);
        let alerting = AlertTask::start(&self.alerts);
        let hearing = self.self_checker.as_ref().map(|checker| alert_watch::hear(self.alerts.clone(), checker.watch()));
        let hearing = hearing.map(|hearing| AbortOnDropHandle::new(tokio::spawn(hearing)));
        let alert_watch = tokio::spawn(alert_watch::run(self.alerts, Arc::clone(&operators)));
        let operating = self.admin.map(|admin| tokio::spawn(operators.serve(admin, self.page, stopped.clone())));
        let connections = Connections { intake: self.intake, tls: self.replaceable.tls, stop: stopped.clone() };
        let accept = |listener| tokio::spawn(accept::accept(listener, connections.clone()));
        let accepting: Vec<_> = listeners.into_iter().map(accept).collect();
        drop(connections);
        let mut forwarding = RunningForwarders::start(self.factory, self.forwarders, Arc::clone(&self.stored));
        let peers = tokio::spawn(Arc::clone(&self.peers).run(self.writer.clone()));
        let upkeeper = Upkeeper::new(self.writer.clone(), metrics, self.max_age, self.keep, self.clock.now());
        let upkeeper = upkeeper.among(self.peers);
        let maintenance = tokio::spawn(upkeeper.run(self.clock));
        let watchdog = tokio::spawn(watchdog::run(self.writer.clone()));
        let taking = tokio::spawn(handed_over::run(self.writer.clone()));
        let checking = self.self_checker.map(|checker| AbortOnDropHandle::new(tokio::spawn(checker.run())));
        let mut stop = std::pin::pin!(stop);
        loop {
            tokio::select! {
                () = &mut stop => break,
                Some((targets, reply)) = self.replacements.recv() => {
                    // Whoever asked may be gone.
                    let _ = reply.send(forwarding.replace(targets).await);
                }
            }
        }
        // What stops is not reached, which is no failure.
        drop((checking, hearing));
        // Fails only when all tasks have ended already.
        let _ = tell.send(true);
        let forwarding = forwarding.stop();
        let deadline = tokio::time::Instant::now() + self.drain_timeout;
        let mut cut_off = 0;
        for accepting in accepting {
            // Connections without a request in flight end soon.
            let Ok(open) = accepting.await else { continue };
            cut_off = cut_off.max(drain(open, &calls, deadline).await);
        }
        if let Some(operating) = operating {
            // Ends by itself, as it was told to.
            let _ = operating.await;
        }
        let forwards = drain(forwarding, &self.in_flight, deadline).await;
        alerting.finish(deadline).await;
        for task in [maintenance, watchdog, peers, taking, alert_watch] {
            task.abort();
            let _ = task.await;
        }
        let (writer, writer_threads, health_thread) = (self.writer, self.writer_threads, self.health_thread);
        // Each ends when the last handle to it is gone. One after the other: of two connections that are closed at once,
        // SQLite takes neither for the last, and leaves the write-ahead log behind.
        let close = move || {
            let _ = health_thread.join();
            drop(writer);
            for thread in writer_threads {
                let _ = thread.join();
            }
        };
        let _ = tokio::task::spawn_blocking(close).await;
        Drained { calls: cut_off, forwards }
    }

    /// Serves one connection that is not a socket, until it ends.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn serve_stream<S>(&self, stream: S, peer: IpAddr) -> std::io::Result<()>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let (_tell, stop) = watch::channel(false);
        // It makes room for nobody.
        let share = Arc::new(Shares::default().enter_in_turn(peer, usize::MAX).await);
        Connections { intake: Arc::clone(&self.intake), tls: None, stop }.serve(stream, &share).await
    }
}

/// Binds an address. A port that was in use a moment ago can be bound again.
///
/// # Errors
/// Names the address: a network error if it is in use or not available, which may pass, else a usage error.
// Async because a socket can only be created within a runtime.
#[allow(clippy::unused_async)]
pub async fn bind(address: SocketAddr) -> Result<TcpListener> {
    let bound = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.set_reuseaddr(platform::REUSE_ADDRESS)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    bound().map_err(|error| {
        Error::new(ErrorKind::of_bind(&error), format!("{address} can't be listened on: {error}"))
            .hint("give another address; port 0 picks a free one")
            .source(error)
    })
}
