//! Serves the page on an address of its own: to so many at once, and none of them holds it up.

use std::convert::Infallible;
use std::net::SocketAddr;
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
use tokio::sync::watch;
use tower_service::Service;

use crate::http::{WriteTimeout, accept_up_to};

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

/// Serves until told to stop.
pub(super) async fn serve(listener: TcpListener, router: Router, stop: watch::Receiver<bool>) {
    let connection = |stream, peer| serve_connection(stream, peer, router.clone(), stop.clone());
    let mut open = accept_up_to(MAX_CONNECTIONS, listener, stop.clone(), connection).await;
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
    let stream = WriteTimeout::new(stream, WRITE_TIMEOUT, |_| {});
    let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
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
