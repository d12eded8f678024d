//! Connections: how many there may be, how long they may say nothing, how they end when the receiver does.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::intake::Intake;
use super::patience::Patient;
use super::tls::Tls;

/// The largest head of a request, in bytes.
const MAX_HEAD: usize = 32 * 1024;

/// How long to wait after a connection could not be accepted: most often there is no file handle left.
const PAUSE: Duration = Duration::from_millis(50);

/// At the end, how long the head of a call may still take that has begun: what is not whole by then is no call yet.
const LAST_HEAD: Duration = Duration::from_millis(500);

/// What all connections share.
#[derive(Clone)]
pub(super) struct Connections {
    pub(super) intake: Arc<Intake>,
    pub(super) tls: Option<Arc<Tls>>,
    pub(super) stop: watch::Receiver<bool>,
}

/// Accepts until told to stop; the connections that are open then are in the set.
pub(super) async fn accept(listener: TcpListener, connections: Connections) -> JoinSet<()> {
    let mut open = JoinSet::new();
    let places = Arc::new(Semaphore::new(connections.intake.limits.max_connections));
    let mut stop = connections.stop.clone();
    loop {
        // With no place left, new ones wait in the system's queue.
        let next = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return open,
            Some(_) = open.join_next() => continue,
            next = next => next,
        };
        match accepted {
            Ok((stream, peer)) => {
                let connections = connections.clone();
                open.spawn(async move {
                    let metrics = Arc::clone(&connections.intake.metrics);
                    metrics.opened();
                    if let Err(error) = connections.serve_tcp(stream, peer).await {
                        tracing::debug!(%error, "a connection ended early");
                    }
                    metrics.closed();
                    drop(place);
                });
            }
            Err(error) => {
                tracing::debug!(%error, "a connection could not be accepted");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

impl Connections {
    async fn serve_tcp(mut self, stream: TcpStream, peer: SocketAddr) -> io::Result<()> {
        // Answers are small, and nobody should wait for more of them.
        stream.set_nodelay(true)?;
        let patience = self.intake.limits.header_timeout;
        // Until something comes, a connection takes next to no memory. A look tells; `readable` may say so too early.
        let mut first = [0];
        tokio::select! {
            come = tokio::time::timeout(patience, stream.peek(&mut first)) => if come?? == 0 {
                return Ok(());
            },
            _ = self.stop.wait_for(|stop| *stop) => return Ok(()),
        }
        match self.tls.take() {
            // In a box, so that one that waits does not have the place for it already.
            None => Box::pin(self.serve(stream, peer.ip())).await,
            Some(tls) => {
                let mut stop = self.stop.clone();
                let too_late = async {
                    let _ = stop.wait_for(|stop| *stop).await;
                    tokio::time::sleep(LAST_HEAD).await;
                };
                let stream = tokio::select! {
                    shaken = tokio::time::timeout(patience, Box::pin(tls.acceptor().accept(stream))) => shaken??,
                    () = too_late => return Ok(()),
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
        let intake = Arc::clone(&self.intake);
        let has_call = Arc::new(AtomicBool::new(false));
        let begins = Arc::clone(&has_call);
        let service = service_fn(move |request: hyper::Request<Incoming>| {
            begins.store(true, Ordering::Relaxed);
            let (intake, ends) = (Arc::clone(&intake), Arc::clone(&begins));
            async move {
                let answer = intake.answer(request, peer).await;
                ends.store(false, Ordering::Relaxed);
                Ok::<_, io::Error>(answer)
            }
        });
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(self.intake.limits.header_timeout).max_buf_size(MAX_HEAD);
        // Who closes its side, or is gone, after a whole call has made that call all the same.
        builder.half_close(true);
        let stream = Patient::new(stream, self.intake.limits.body_timeout);
        let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
        tokio::select! {
            served = connection.as_mut() => return served.map_err(io::Error::other),
            _ = self.stop.wait_for(|stop| *stop) => {}
        }
        // What is under way is finished; nothing more is read.
        connection.as_mut().graceful_shutdown();
        match tokio::time::timeout(LAST_HEAD, connection.as_mut()).await {
            Ok(served) => served.map_err(io::Error::other),
            Err(_) if has_call.load(Ordering::Relaxed) => connection.await.map_err(io::Error::other),
            Err(_) => Ok(()),
        }
    }
}
