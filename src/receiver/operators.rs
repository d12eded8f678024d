//! The paths for operators: `/healthz`, `/readyz`, `/metrics`, with the deliveries' paths or on a port of their own.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::routing::any;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{HeaderMap, Method, Request, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::health::HealthCheck;
use super::metrics::Metrics;
use super::rejection::Rejection;
use super::response::{self, FullResponse};
use super::writer::Writer;
use crate::http::{ServedHosts, accept_up_to};
use crate::ui::WebPage;

/// The most connections to a port for operators.
const MAX_CONNECTIONS: usize = 32;

/// The largest head of a request there, in bytes; the smallest that hyper allows.
const MAX_HEAD: usize = 8 * 1024;

/// How long a connection may last there: it is for one request.
const LONGEST_CONNECTION: Duration = Duration::from_secs(60);

/// How long the head of that request may take.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// A path for operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OperatorsPath {
    Health,
    Ready,
    Metrics,
}

impl OperatorsPath {
    const ALL: [Self; 3] = [Self::Health, Self::Ready, Self::Metrics];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Health => "/healthz",
            Self::Ready => "/readyz",
            Self::Metrics => "/metrics",
        }
    }

    pub(super) fn of(path: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.as_str() == path)
    }

    /// Whether it is for this request, whatever addresses deliveries are accepted from: it says nothing, or the request
    /// is made on this machine. What a proxy here passes on is not.
    pub(super) fn is_open_to(self, peer: IpAddr, headers: &HeaderMap) -> bool {
        let is_passed_on = || headers.contains_key("x-forwarded-for") || headers.contains_key("forwarded");
        self == Self::Health || (peer.to_canonical().is_loopback() && !is_passed_on())
    }
}

/// Answers what operators ask.
pub(super) struct Operators {
    pub(super) health: HealthCheck,
    pub(super) metrics: Arc<Metrics>,
    pub(super) writer: Writer,
    pub(super) hosts: ServedHosts,
}

impl Operators {
    /// See [`HealthCheck::dead_letters`].
    pub(super) async fn dead_letters(&self) -> Option<Vec<(String, u64)>> {
        self.health.dead_letters(&self.writer).await
    }

    /// Whether a request may be answered here.
    pub(super) fn check<B>(&self, request: &Request<B>) -> Result<(), Rejection> {
        if self.hosts.allow(request) { Ok(()) } else { Err(Rejection::Host) }
    }

    /// Answers a request for this path that was checked.
    pub(super) async fn answer(&self, path: OperatorsPath, method: &Method, headers: &HeaderMap) -> FullResponse {
        if !matches!(*method, Method::GET | Method::HEAD) {
            return response::wrong_method("GET, HEAD");
        }
        match path {
            OperatorsPath::Health => response::text(StatusCode::OK, "text/plain; charset=utf-8", "ok\n"),
            OperatorsPath::Ready => self.health.ready(&self.writer).await,
            OperatorsPath::Metrics => self.health.metrics(&self.metrics, &self.writer, headers).await,
        }
    }

    /// Serves these paths, and nothing else but a page, on a port of their own until told to stop.
    pub(super) async fn serve(
        self: Arc<Self>,
        listener: TcpListener,
        page: Option<WebPage>,
        mut stop: watch::Receiver<bool>,
    ) {
        let Some(page) = page else { return self.serve_alone(listener, stop).await };
        let stopped = async move {
            // An error says that nobody can tell it any more: the receiver has ended.
            let _ = stop.wait_for(|stop| *stop).await;
        };
        page.serve_with(self.router(), listener, stopped).await;
    }

    /// These paths, for a router that serves others too.
    fn router(self: Arc<Self>) -> Router {
        let answer = move |ConnectInfo(peer): ConnectInfo<SocketAddr>, request: Request<Body>| {
            let operators = Arc::clone(&self);
            async move { operators.respond(request.map(drop), peer).await.map(Body::new) }
        };
        let add = |router: Router, path: OperatorsPath| router.route(path.as_str(), any(answer.clone()));
        OperatorsPath::ALL.into_iter().fold(Router::new(), add)
    }

    async fn serve_alone(self: Arc<Self>, listener: TcpListener, stop: watch::Receiver<bool>) {
        let connection = |stream, peer| Arc::clone(&self).serve_connection(stream, peer);
        // What is asked when it is told to stop is asked again after the restart.
        accept_up_to(MAX_CONNECTIONS, listener, stop, connection).await.shutdown().await;
    }

    async fn serve_connection(self: Arc<Self>, stream: TcpStream, peer: SocketAddr) {
        let service = service_fn(move |request: Request<Incoming>| {
            let operators = Arc::clone(&self);
            async move { Ok::<_, Infallible>(operators.respond(request.map(drop), peer).await) }
        });
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT).max_buf_size(MAX_HEAD).keep_alive(false);
        let serving = builder.serve_connection(TokioIo::new(stream), service);
        match tokio::time::timeout(LONGEST_CONNECTION, serving).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "a connection ended early"),
            Err(_) => tracing::debug!("a connection took too long"),
        }
    }

    /// Answers a request on the port for operators.
    async fn respond(&self, request: Request<()>, peer: SocketAddr) -> FullResponse {
        let Some(path) = OperatorsPath::of(request.uri().path()) else {
            return self.reject(peer.ip(), Rejection::Path);
        };
        match self.check(&request) {
            Ok(()) => self.answer(path, request.method(), request.headers()).await,
            Err(why) => self.reject(peer.ip(), why),
        }
    }

    /// Rejects a request: it is logged and counted, and this is the response.
    pub(super) fn reject(&self, peer: IpAddr, why: Rejection) -> FullResponse {
        tracing::info!(reason = why.as_str(), %peer, "rejected a request");
        self.metrics.rejected(why);
        why.response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_asks_whatever_is_allowed_and_a_proxy_on_it_does_not() {
        let open = |path: OperatorsPath, peer: &str, header: Option<&'static str>| {
            let headers = header.map(|name| (name.parse().unwrap(), "127.0.0.1".parse().unwrap()));
            path.is_open_to(peer.parse().unwrap(), &headers.into_iter().collect())
        };
        let metrics = OperatorsPath::Metrics;
        assert!(
            open(metrics, "127.0.0.1", None) && open(metrics, "::1", None) && open(metrics, "::ffff:127.0.0.1", None)
        );
        assert!(!open(metrics, "127.0.0.1", Some("x-forwarded-for")) && !open(metrics, "::1", Some("forwarded")));
        assert!(!open(metrics, "10.0.0.1", None) && open(OperatorsPath::Health, "10.0.0.1", Some("forwarded")));
    }
}
