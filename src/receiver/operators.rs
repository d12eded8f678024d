//! The paths for operators: `/healthz`, `/readyz`, `/metrics`, with the deliveries' paths or on a port of their own.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tower_service::Service;

use super::health::HealthCheck;
use super::metrics::Metrics;
use super::rejection::Rejection;
use super::response::{self, FullResponse};
use super::writer::Writer;
use crate::http::ServedHosts;
use crate::ui::WebPage;

/// The most connections to a port for operators.
const MAX_CONNECTIONS: usize = 32;

/// The same if there is a page, of which a browser has several.
const MAX_CONNECTIONS_OF_PAGE: usize = 256;

/// The largest head of a request there, in bytes; the smallest that hyper allows.
const MAX_HEAD: usize = 8 * 1024;

/// How long a connection may last there: it is for one request.
const LONGEST_CONNECTION: Duration = Duration::from_secs(60);

/// The same if there is a page: what streams is asked for again.
const LONGEST_STREAM: Duration = Duration::from_secs(12 * 3600);

/// How long the head of that request may take.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// How long to wait after a connection could not be accepted.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(50);

/// A path for operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OperatorsPath {
    Health,
    Ready,
    Metrics,
}

impl OperatorsPath {
    pub(super) fn of(path: &str) -> Option<Self> {
        match path {
            "/healthz" => Some(Self::Health),
            "/readyz" => Some(Self::Ready),
            "/metrics" => Some(Self::Metrics),
            _ => None,
        }
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
    pub(super) page: Option<PageBeside>,
}

/// A page on the port for operators.
pub(super) struct PageBeside {
    router: Router,
    /// As long as it is there, its streams go on.
    _page: WebPage,
}

impl PageBeside {
    pub(super) fn new(page: WebPage) -> Self {
        Self { router: page.router(), _page: page }
    }
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

    /// Serves these paths, and nothing else, on a port of their own until told to stop.
    pub(super) async fn serve(self: Arc<Self>, listener: TcpListener, mut stop: watch::Receiver<bool>) {
        let most = if self.page.is_some() { MAX_CONNECTIONS_OF_PAGE } else { MAX_CONNECTIONS };
        let places = Arc::new(Semaphore::new(most));
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
                    let serving = Arc::clone(&self).serve_connection(stream, peer);
                    open.spawn(async move {
                        let _place = place;
                        serving.await;
                    });
                }
                Err(error) => {
                    tracing::debug!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_RETRY_DELAY).await;
                }
            }
        }
        // What is asked now is asked again after the restart.
        open.shutdown().await;
    }

    async fn serve_connection(self: Arc<Self>, stream: TcpStream, peer: SocketAddr) {
        let has_page = self.page.is_some();
        let service = service_fn(move |request: Request<Incoming>| {
            let operators = Arc::clone(&self);
            async move { Ok::<_, Infallible>(operators.respond(request, peer).await) }
        });
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            .max_buf_size(MAX_HEAD)
            .keep_alive(has_page);
        let serving = builder.serve_connection(TokioIo::new(stream), service);
        // A page is streamed to for as long as it is open.
        let longest = if has_page { LONGEST_STREAM } else { LONGEST_CONNECTION };
        match tokio::time::timeout(longest, serving).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "a connection ended early"),
            Err(_) => tracing::debug!("a connection took too long"),
        }
    }

    /// Answers a request on the port for operators.
    async fn respond(&self, mut request: Request<Incoming>, peer: SocketAddr) -> Response<Body> {
        let answer = match (OperatorsPath::of(request.uri().path()), &self.page) {
            (None, Some(page)) => {
                request.extensions_mut().insert(ConnectInfo(peer));
                let Ok(answer) = page.router.clone().call(request.map(Body::new)).await;
                return answer;
            }
            (None, None) => self.reject(peer.ip(), Rejection::Path),
            (Some(path), _) => match self.check(&request) {
                Ok(()) => self.answer(path, request.method(), request.headers()).await,
                Err(why) => self.reject(peer.ip(), why),
            },
        };
        answer.map(Body::new)
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
