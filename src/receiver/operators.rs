//! The paths for operators: `/healthz`, `/readyz`, `/metrics`, with the deliveries' paths or on a port of their own.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::HOST;
use hyper::http::uri::Authority;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{HeaderMap, Method, Request, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use url::Host;

use super::health::HealthCheck;
use super::metrics::Metrics;
use super::rejection::Rejection;
use super::response::{self, FullResponse};
use super::writer::Writer;

/// The most connections to a port for operators.
const MAX_CONNECTIONS: usize = 32;

/// The largest head of a request there, in bytes; the smallest that hyper allows.
const MAX_HEAD: usize = 8 * 1024;

/// How long a connection may last there: it is for one request.
const LONGEST_CONNECTION: Duration = Duration::from_secs(60);

/// How long the head of that request may take.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// How long to wait after a connection could not be accepted.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(50);

/// The names of hosts under which the paths for operators are served. IP addresses and loopback names always are: a page
/// on the web whose name is made to resolve to this machine sends that name.
#[derive(Debug, Clone, Default)]
pub struct AdminHosts(Vec<String>);

impl AdminHosts {
    /// These names too.
    pub fn named(names: impl IntoIterator<Item = String>) -> Self {
        Self(names.into_iter().map(|name| normal(&name)).collect())
    }

    /// Whether a request asks for one of these hosts, or for none.
    fn allow<B>(&self, request: &Request<B>) -> bool {
        let headers = request.headers().get_all(HOST).iter().map(|value| value.to_str().ok());
        let target = request.uri().authority().map(|authority| Some(authority.as_str()));
        headers.chain(target).all(|host| host.is_some_and(|host| host.is_empty() || self.has(host)))
    }

    fn has(&self, host: &str) -> bool {
        let Ok(authority) = host.parse::<Authority>() else { return false };
        match Host::parse(authority.host()) {
            Ok(Host::Ipv4(_) | Host::Ipv6(_)) => true,
            Ok(Host::Domain(name)) => {
                let name = normal(&name);
                name == "localhost" || name.ends_with(".localhost") || self.0.contains(&name)
            }
            Err(_) => false,
        }
    }
}

/// A name in lower case, without the dot of the root.
fn normal(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

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
    pub(super) hosts: AdminHosts,
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
                    let serving = Arc::clone(&self).serve_connection(stream, peer.ip());
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

    async fn serve_connection(self: Arc<Self>, stream: TcpStream, peer: IpAddr) {
        let service = service_fn(move |request: Request<Incoming>| {
            let operators = Arc::clone(&self);
            let checked = match OperatorsPath::of(request.uri().path()) {
                None => Err(Rejection::Path),
                Some(path) => operators.check(&request).map(|()| path),
            };
            let (head, _) = request.into_parts();
            async move {
                Ok::<_, Infallible>(match checked {
                    Ok(path) => operators.answer(path, &head.method, &head.headers).await,
                    Err(why) => operators.reject(peer, why),
                })
            }
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

    fn allowed(target: &str, hosts: &[&str]) -> bool {
        let named = AdminHosts::named(["Receiver.Internal.".to_owned()]);
        let mut request = Request::get(target);
        for host in hosts {
            request = request.header(HOST, *host);
        }
        named.allow(&request.body(()).unwrap())
    }

    #[test]
    fn a_name_that_is_not_known_is_not_served() {
        for host in [
            "127.0.0.1",
            "127.0.0.1:4000",
            "10.1.2.3",
            "[::1]:4000",
            "[2001:db8::7]",
            "localhost",
            "LOCALHOST:80",
            "localhost.",
            "a.localhost:1",
            "receiver.internal:9100",
            "RECEIVER.internal.",
            "",
        ] {
            assert!(allowed("/metrics", &[host]), "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:4000",
            "localhost.evil.example",
            "notlocalhost",
            "127.0.0.1.evil.example",
            "127.0.0.1@evil.example",
            "receiver.internal.evil.example",
            "x.receiver.internal",
            "::1",
            "a b",
            "/",
        ] {
            assert!(!allowed("/metrics", &[host]), "{host}");
            assert!(!allowed("/metrics", &["127.0.0.1", host]), "{host}");
        }
        assert!(allowed("/metrics", &[]));
        assert!(
            allowed("http://127.0.0.1:4000/metrics", &[]) && !allowed("http://evil.example/metrics", &["127.0.0.1"])
        );
    }

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
