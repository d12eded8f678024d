//! Connections: how many may be open, how long they may be idle, and how they end when the receiver stops.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::in_flight::InFlight;
use super::intake::RequestHandler;
use super::metrics::Metrics;
use super::rejection::Rejection;
use super::shares::Share;
use super::tls::Tls;
use crate::http::{ACCEPT_RETRY_DELAY, WriteTimeout};

/// The largest head of a request, in bytes.
const MAX_HEAD: usize = 32 * 1024;

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
    let mut stop = connections.stop.clone();
    let mut last = None;
    loop {
        let accepted = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => break,
            Some(_) = open.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::debug!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_RETRY_DELAY).await;
                continue;
            }
        };
        // At the limit another connection makes room; if none can, new ones wait in the system's queue.
        let share = tokio::select! {
            biased;
            share = connections.place(peer) => share,
            _ = stop.wait_for(|stop| *stop) => {
                last = Some((stream, peer));
                break;
            }
        };
        open.spawn(connections.clone().hold(stream, share));
    }
    if let Err(error) = accept_last(listener, last, &connections, &mut open).await {
        tracing::debug!(%error, "the last connections could not be accepted");
    }
    open
}

/// Accepts what is in the system's queue, after the one that was accepted already: closing the listener would lose it,
/// with the requests sent already.
async fn accept_last(
    listener: TcpListener,
    mut last: Option<(TcpStream, SocketAddr)>,
    connections: &Connections,
    open: &mut JoinSet<()>,
) -> io::Result<()> {
    // Only a non-blocking `accept` on the socket tells for certain whether the queue is empty.
    let listener = listener.into_std()?;
    let end = tokio::time::Instant::now() + LAST_HEAD;
    for _ in 0..LAST_CONNECTIONS {
        let next = last.take().map_or_else(|| accept_now(&listener), |last| Ok(Some(last)));
        let (stream, peer) = match next {
            Ok(Some(next)) => next,
            Ok(None) => break,
            // The connection was closed before it was accepted.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
            Err(error) => return Err(error),
        };
        // Idle connections are closing and make room.
        let Ok(share) = tokio::time::timeout_at(end, connections.place(peer)).await else { break };
        open.spawn(connections.clone().hold(stream, share));
    }
    Ok(())
}

/// The next connection in the system's queue; `None` when it is empty.
fn accept_now(listener: &std::net::TcpListener) -> io::Result<Option<(TcpStream, SocketAddr)>> {
    match listener.accept() {
        Ok((stream, peer)) => {
            stream.set_nonblocking(true)?;
            Ok(Some((TcpStream::from_std(stream)?, peer)))
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

impl Connections {
    /// A place for a connection of this peer, as soon as there is one.
    async fn place(&self, peer: SocketAddr) -> Share {
        self.intake.connections.enter_in_turn(peer.ip(), self.intake.limits.max_connections).await
    }

    /// Serves a connection in its place, until it ends or is told to make room for another.
    async fn hold(self, stream: TcpStream, share: Share) {
        let metrics = Arc::clone(&self.intake.metrics);
        let _open = Open::begin(Arc::clone(&metrics));
        let share = Arc::new(share);
        tokio::select! {
            served = self.serve_tcp(stream, &share) => if let Err(error) = served {
                tracing::debug!(%error, "a connection ended early");
            },
            () = share.told() => {
                metrics.rejected(Rejection::Overload);
                tracing::debug!(peer = %share.address(), "a slow connection made room for another");
            }
        }
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

    async fn serve_tcp(mut self, stream: TcpStream, share: &Arc<Share>) -> io::Result<()> {
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
            None => Box::pin(self.serve(stream, share)).await,
            Some(tls) => {
                let stream = tokio::select! {
                    shaken = tokio::time::timeout(timeout, Box::pin(tls.acceptor().accept(stream))) => shaken??,
                    () = self.stopped_for(LAST_HEAD) => return Ok(()),
                };
                Box::pin(self.serve(stream, share)).await
            }
        }
    }

    /// Serves a connection of whatever kind.
    pub(super) async fn serve<S>(mut self, stream: S, share: &Arc<Share>) -> io::Result<()>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        // A connection has one request at a time.
        let call = InFlight::default();
        let (intake, calls, connection) = (Arc::clone(&self.intake), call.clone(), Arc::clone(share));
        let service = service_fn(move |request: hyper::Request<Incoming>| {
            let in_flight = (calls.begin(), intake.calls.begin(), connection.request());
            let (intake, connection) = (Arc::clone(&intake), Arc::clone(&connection));
            async move {
                let _in_flight = in_flight;
                Ok::<_, io::Error>(intake.answer(request, &connection).await)
            }
        });
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(self.intake.limits.header_timeout).max_buf_size(MAX_HEAD);
        // A request that arrived whole counts, even if its sender has closed the connection.
        builder.half_close(true);
        // What is read of a head counts as held by the connection.
        let share = Arc::clone(share);
        let on_read = move |bytes| share.read_of_head(bytes);
        let stream = WriteTimeout::new(stream, self.intake.limits.body_timeout, on_read);
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
