//! Serves the page on an address of its own: to so many at once, and none of them holds it up.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_io_timeout::TimeoutStream;
use tower_service::Service;

/// The most connections. Others wait until one ends.
const MAX_CONNECTIONS: usize = 256;

/// The largest head of a request, in bytes: filters are in it.
const MAX_HEAD: usize = 16 * 1024;

/// How long a head may take, and how long a connection may wait for the next one.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a client may take nothing of an answer. Else those who do not read would keep everybody out.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// How long answers may take that are under way when the page is no longer served.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(3);

/// How long to wait after a connection could not be accepted.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(50);

/// Serves until told to stop.
pub(super) async fn serve(listener: TcpListener, router: Router, mut stop: watch::Receiver<bool>) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut open = JoinSet::new();
    loop {
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
            Ok((stream, peer)) => {
                let serving = serve_connection(stream, peer, router.clone(), stop.clone());
                open.spawn(async move {
                    let _place = place;
                    serving.await;
                });
            }
            // Out of file descriptors, or the client is gone: other connections go on.
            Err(error) => {
                tracing::debug!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_RETRY_DELAY).await;
            }
        }
    }
    drop(listener);
    let drained = async { while open.join_next().await.is_some() {} };
    if tokio::time::timeout(DRAIN_TIMEOUT, drained).await.is_err() {
        tracing::debug!(connections = open.len(), "connections are closed before their answers ended");
    }
    open.shutdown().await;
}

async fn serve_connection(stream: TcpStream, peer: SocketAddr, router: Router, mut stop: watch::Receiver<bool>) {
    let service = service_fn(move |mut request: Request<Incoming>| {
        let mut router = router.clone();
        request.extensions_mut().insert(ConnectInfo(peer));
        async move {
            let Ok(response) = router.call(request.map(Body::new)).await;
            Ok::<_, Infallible>(response)
        }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(MAX_HEAD);
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(WRITE_TIMEOUT));
    let stream = TokioIo::new(Box::pin(stream));
    let mut connection = std::pin::pin!(builder.serve_connection(stream, service));
    let ended = tokio::select! {
        served = connection.as_mut() => Some(served),
        _ = stop.wait_for(|stop| *stop) => None,
    };
    let served = if let Some(served) = ended {
        served
    } else {
        connection.as_mut().graceful_shutdown();
        connection.await
    };
    if let Err(error) = served {
        tracing::debug!(%error, "a connection ended early");
    }
}
