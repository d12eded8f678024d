//! Connections: how many may be open, how long they may be idle, and how they end when the receiver stops.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;

use super::in_flight::InFlight;
use super::intake::RequestHandler;
use super::metrics::Metrics;
use super::tls::Tls;
use super::write_timeout::WriteTimeout;

/// The largest head of a request, in bytes.
const MAX_HEAD: usize = 32 * 1024;

/// How long to wait after a connection could not be accepted: most often there is no file handle left.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(50);

/// After a stop, how long the head of a request that has begun may still take.
const LAST_HEAD: Duration = Duration::from_millis(500);

/// After a stop, how long writing a response may take: one that takes longer is not being read.
const LAST_ANSWER: Duration = Duration::from_millis(500);

/// After a stop, how long a connection still has for its first request: one that was sent before the stop may arrive a
/// moment later.
const LAST_CALL: Duration = Duration::from_millis(250);

/// After a stop, the most connections that are still accepted: as many as the system's queue holds, so that new ones
/// cannot delay the stop forever.
const LAST_CONNECTIONS: usize = super::BACKLOG as usize;

/// What all connections share.
#[derive(Clone)]
pub(super) struct Connections {
    pub(super) intake: Arc<RequestHandler>,
    pub(super) tls: Option<Arc<Tls>>,
    pub(super) stop: watch::Receiver<bool>,
}

/// Accepts connections until told to stop, then those that are queued by then. Returns those that are still open.
pub(super) async fn accept(listener: TcpListener, connections: Connections) -> JoinSet<()> {
    let mut open = JoinSet::new();
    let places = Arc::new(Semaphore::new(connections.intake.limits.max_connections));
    let mut stop = connections.stop.clone();
    loop {
        // At the limit, new connections wait in the system's queue.
        let next = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => break,
            Some(_) = open.join_next() => continue,
            next = next => next,
        };
        match accepted {
            Ok((stream, peer)) => drop(open.spawn(connections.clone().hold(stream, peer, place.ok()))),
            Err(error) => {
                tracing::debug!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_RETRY_DELAY).await;
            }
        }
    }
    if let Err(error) = accept_last(listener, &connections, &places, &mut open).await {
        tracing::debug!(%error, "the last connections could not be accepted");
    }
    open
}

/// Accepts what is in the system's queue: closing the listener would lose it, with the requests sent already.
async fn accept_last(
    listener: TcpListener,
    connections: &Connections,
    places: &Arc<Semaphore>,
    open: &mut JoinSet<()>,
) -> io::Result<()> {
    // Only a non-blocking `accept` on the socket tells for certain whether the queue is empty.
    let listener = listener.into_std()?;
    let end = tokio::time::Instant::now() + LAST_HEAD;
    for _ in 0..LAST_CONNECTIONS {
        // Idle connections are closing and make room.
        let Ok(Ok(place)) = tokio::time::timeout_at(end, Arc::clone(places).acquire_owned()).await else { break };
        match listener.accept() {
            Ok((stream, peer)) => {
                stream.set_nonblocking(true)?;
                open.spawn(connections.clone().hold(TcpStream::from_std(stream)?, peer, Some(place)));
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            // The connection was closed before it was accepted.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

impl Connections {
    /// Serves a connection, and holds its permit meanwhile.
    async fn hold(self, stream: TcpStream, peer: SocketAddr, place: Option<OwnedSemaphorePermit>) {
        let _open = Open::begin(Arc::clone(&self.intake.metrics));
        if let Err(error) = self.serve_tcp(stream, peer).await {
            tracing::debug!(%error, "a connection ended early");
        }
        drop(place);
    }

    /// Completes this long after the receiver was told to stop.
    fn stopped_for(&self, time: Duration) -> impl Future<Output = ()> + use<> {
        let mut stop = self.stop.clone();
        async move {
            // Fails only when the receiver is gone, which is a stop as well.
            let _ = stop.wait_for(|stop| *stop).await;
            tokio::time::sleep(time).await;
        }
    }

    async fn serve_tcp(mut self, stream: TcpStream, peer: SocketAddr) -> io::Result<()> {
        // Responses are small and must not be delayed to be sent together.
        stream.set_nodelay(true)?;
        let timeout = self.intake.limits.header_timeout;
        // Until something comes, a connection takes next to no memory. A look tells; `readable` may say so too early.
        let mut first = [0];
        tokio::select! {
            biased;
            come = tokio::time::timeout(timeout, stream.peek(&mut first)) => if come?? == 0 {
                return Ok(());
            },
            () = self.stopped_for(LAST_CALL) => return Ok(()),
        }
        match self.tls.take() {
            // In a box, so that one that waits does not have the place for it already.
            None => Box::pin(self.serve(stream, peer.ip())).await,
            Some(tls) => {
                let stream = tokio::select! {
                    shaken = tokio::time::timeout(timeout, Box::pin(tls.acceptor().accept(stream))) => shaken??,
                    () = self.stopped_for(LAST_HEAD) => return Ok(()),
                };
                Box::pin(self.serve(stream, peer.ip())).await
            }
        }
    }

    /// Serves a connection that came from `peer`, of whatever kind.
    pub(super) async fn serve<S>(mut self, stream: S, peer: IpAddr) -> io::Result<()>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        // A connection has one request at a time.
        let call = InFlight::default();
        let (intake, calls) = (Arc::clone(&self.intake), call.clone());
        let service = service_fn(move |request: hyper::Request<Incoming>| {
            let in_flight = (calls.begin(), intake.calls.begin());
            let intake = Arc::clone(&intake);
            async move {
                let _in_flight = in_flight;
                Ok::<_, io::Error>(intake.answer(request, peer).await)
            }
        });
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(self.intake.limits.header_timeout).max_buf_size(MAX_HEAD);
        // A request that arrived whole counts, even if its sender has closed the connection.
        builder.half_close(true);
        let stream = WriteTimeout::new(stream, self.intake.limits.body_timeout);
        let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
        tokio::select! {
            // A request that has arrived already comes first.
            biased;
            served = connection.as_mut() => return served.map_err(io::Error::other),
            _ = self.stop.wait_for(|stop| *stop) => {}
        }
        // The request in flight is completed; no further one is read.
        connection.as_mut().graceful_shutdown();
        let nothing_left = async {
            tokio::time::sleep(LAST_HEAD).await;
            if call.get() > 0 {
                call.ended().await;
                tokio::time::sleep(LAST_ANSWER).await;
            }
        };
        tokio::select! {
            served = connection => served.map_err(io::Error::other),
            () = nothing_left => Ok(()),
        }
    }
}

/// A connection that is counted as open, until it ends or is cut off.
struct Open(Arc<Metrics>);

impl Open {
    fn begin(metrics: Arc<Metrics>) -> Self {
        metrics.opened();
        Self(metrics)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.closed();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::receiver::metrics::InboxSnapshot;

    #[tokio::test]
    async fn a_connection_that_is_cut_off_is_not_open() {
        let metrics = Arc::new(Metrics::default());
        let open = |count: u32| {
            let text = metrics.text(&InboxSnapshot::default(), 0, jiff::Timestamp::now());
            text.contains(&format!("bugfender_hooks_open_connections {count}\n"))
        };
        let (one, (tell, begun)) = (Open::begin(Arc::clone(&metrics)), tokio::sync::oneshot::channel());
        let task = tokio::spawn(async move {
            let _one = one;
            let _ = tell.send(());
            std::future::pending::<()>().await;
        });
        begun.await.unwrap();
        assert!(open(1));
        task.abort();
        assert!(task.await.is_err() && open(0));
    }
}
