//! The HTTP client: timeouts, limits, redirects, and retries that repeat no request that may have been carried out. What
//! servers share is here, too.

mod accepting;
mod connected;
mod failure;
mod loopback;
mod outcome;
mod proxy;
mod redirect;
mod response;
mod retry;
mod served_hosts;
mod tls;
mod write_timeout;

use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub use accepting::{ACCEPT_RETRY_DELAY, accept_up_to};
pub use outcome::CarriedOut;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
pub use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
pub use reqwest::{Method, StatusCode};
pub use response::{BodyProblem, HttpResponse, MAX_BODY};
use secrecy::{ExposeSecret, SecretString};
pub use served_hosts::ServedHosts;
pub use tls::Roots;
use url::Url;
pub use write_timeout::WriteTimeout;

use self::connected::Connected;
use self::failure::{no_time_left, root_cause, transport_failure};
use self::loopback::LoopbackResolver;
use self::outcome::{Progress, carried_out};
use crate::domain::{AccessToken, ShownTarget};
use crate::error::{Error, ErrorKind};

/// The `User-Agent` of every request.
pub const USER_AGENT: &str = concat!("bugfender-hooks/", env!("CARGO_PKG_VERSION"));

/// The media type of URL-encoded forms.
pub const FORM: &str = "application/x-www-form-urlencoded";

/// The connect timeout, unless the request timeout requires a shorter one.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The minimum time reserved for the response to a retry, however fast the last response was.
const MIN_RESPONSE_TIME: Duration = Duration::from_millis(500);

/// The maximum jitter added to a shared `Retry-After`, so that waiting requests do not resume all at once.
const MAX_JITTER: Duration = Duration::from_millis(200);

/// How to build a [`Client`].
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// The timeout of one attempt.
    pub attempt_timeout: Duration,
    /// The timeout of all attempts together, waits included.
    pub total_timeout: Option<Duration>,
    /// Whether https is needed. If not, certificate authorities are not loaded, which saves milliseconds.
    pub tls: bool,
    /// Whether to honour the proxy variables; false for a server on this machine.
    pub proxy: bool,
    /// Whether the server must be this machine, as requests to others must be encrypted. With a proxy it has no effect.
    pub loopback_only: bool,
    /// Which certificate authorities are trusted.
    pub roots: Roots,
    /// What the client connects to.
    pub peer: Peer,
}

/// What a client connects to, which decides what is logged and which hints errors carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// Bugfender's API or its token endpoint.
    Api,
    /// A webhook endpoint. Its path is never logged, as it is often a secret.
    Endpoint,
    /// This program, by its public URL. Its path is not logged either.
    PublicUrl,
}

impl ClientOptions {
    /// The proxy that requests to this URL go through, if any, without its user name and password.
    pub fn proxy_of(&self, url: &Url) -> Option<String> {
        if self.proxy { proxy::proxy_of(url) } else { None }
    }

    /// The connect timeout. It is shorter than the timeout of the attempt, so that a timeout while connecting is
    /// reported as such and the request is known not to have been sent.
    fn connect_timeout(&self) -> Duration {
        CONNECT_TIMEOUT.min(self.attempt_timeout.mul_f32(0.75))
    }
}

/// A request without its credential. Not `Debug`, as the body may contain a password.
#[derive(Clone)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// The full URL.
    pub url: Url,
    /// The body.
    pub body: Option<RequestBody>,
    /// When it may be retried.
    pub repeat: Repeat,
}

/// The body of a request.
#[derive(Clone)]
pub enum RequestBody {
    /// JSON.
    Json(serde_json::Value),
    /// An encoded form (`application/x-www-form-urlencoded`), which contains secrets.
    Form(SecretString),
    /// Raw bytes with their headers.
    Bytes(Payload),
}

/// A raw body and the headers that describe it.
#[derive(Clone)]
pub struct Payload {
    /// The media type.
    pub content_type: Cow<'static, str>,
    /// Further headers, such as a signature.
    pub headers: Vec<(&'static str, String)>,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// When a failed request may be retried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    /// After any transient failure, as the request is idempotent.
    Idempotent,
    /// Only if it was certainly not carried out.
    OnlyIfNotCarriedOut,
    /// Never.
    Never,
}

/// Why a request got no usable response.
#[derive(Debug)]
pub struct Failure {
    /// The error to show.
    pub error: Error,
    /// Whether the request may have been carried out.
    pub carried_out: CarriedOut,
    /// Whether a retry may succeed, as after a network failure, unlike after a rejected redirect or certificate.
    pub transient: bool,
}

impl Failure {
    /// The failure of a request that never got as far as being sent, which does not pass by itself.
    pub fn not_sent(error: Error) -> Self {
        Self { error, carried_out: carried_out(Progress::NotSent), transient: false }
    }

    /// The failure, with what is known of earlier attempts: if one of them may have been carried out, so may this.
    #[must_use]
    pub fn after(self, before: CarriedOut) -> Self {
        Self { carried_out: self.carried_out.or(before), ..self }
    }
}

/// A client for one server.
#[derive(Debug, Clone)]
pub struct Client {
    inner: reqwest::Client,
    options: ClientOptions,
    /// Until when the server asked to wait (`Retry-After`). All requests of this client and its clones do.
    pause: Arc<Mutex<Option<Instant>>>,
    in_doubt: Arc<AtomicBool>,
    connected: Connected,
    follows: bool,
    /// Sent with every request.
    headers: HeaderMap,
    /// The largest body that is read.
    max_body: usize,
}

impl Client {
    /// Builds the client; opens no connection.
    ///
    /// # Errors
    /// When the certificate authorities cannot be loaded or a proxy variable is malformed.
    pub fn new(options: ClientOptions) -> Result<Self, Error> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        let connected = Connected::default();
        let mut builder = reqwest::Client::builder()
            .user_agent(USER_AGENT)
            .default_headers(headers)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .connect_timeout(options.connect_timeout())
            .connector_layer(connected.clone())
            .tls_backend_preconfigured(tls::config(options.tls, &options.roots)?);
        if !options.proxy {
            builder = builder.no_proxy();
        }
        if options.loopback_only {
            builder = builder.dns_resolver(Arc::new(LoopbackResolver));
        }
        let inner = builder.build().map_err(|error| {
            let message = format!("the HTTP client could not be set up: {}", root_cause(&error));
            Error::usage(message).hint("check HTTPS_PROXY and the other proxy variables")
        })?;
        Ok(Self {
            inner,
            options,
            pause: Arc::default(),
            in_doubt: Arc::default(),
            connected,
            follows: true,
            headers: HeaderMap::new(),
            max_body: MAX_BODY,
        })
    }

    /// The same client, which returns redirects as responses instead of following them.
    #[must_use]
    pub fn without_redirects(self) -> Self {
        Self { follows: false, ..self }
    }

    /// The same client, which sends these headers with every request. They may be secrets.
    #[must_use]
    pub fn with_headers(self, headers: HeaderMap) -> Self {
        Self { headers, ..self }
    }

    /// The same client, which reads bodies of up to so many bytes rather than [`MAX_BODY`].
    #[must_use]
    pub fn with_max_body(self, bytes: usize) -> Self {
        Self { max_body: bytes, ..self }
    }

    /// Whether a request that is cancelled now may have been carried out. Only valid with one request at a time.
    pub fn is_in_doubt(&self) -> bool {
        self.in_doubt.load(Ordering::Relaxed) && self.connected.once()
    }

    /// Whether a connection has been established.
    pub fn has_connected(&self) -> bool {
        self.connected.once()
    }

    /// Sends a request, with retries, until it has a final outcome or the attempts or the time are used up.
    ///
    /// A response of any status is `Ok`.
    ///
    /// # Errors
    /// When there was no response; the failure says whether the request may have been carried out.
    pub async fn send(&self, request: &Request, bearer: Option<&AccessToken>) -> Result<HttpResponse, Failure> {
        let outcome = self.send_repeatedly(request, bearer).await;
        // Nothing is in flight any more; the outcome itself says what is in doubt.
        self.in_doubt.store(false, Ordering::Relaxed);
        outcome
    }

    async fn send_repeatedly(&self, request: &Request, bearer: Option<&AccessToken>) -> Result<HttpResponse, Failure> {
        let deadline = self.options.total_timeout.map(|total| Instant::now() + total);
        let (mut attempt, mut before) = (1, CarriedOut::No);
        loop {
            self.wait_for_pause(deadline).await;
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return finish(Err(no_time_left(&request.url)), attempt, before);
            }
            let timeout = left.unwrap_or(self.options.attempt_timeout).min(self.options.attempt_timeout);
            let started = Instant::now();
            self.note_doubt(carried_out(Progress::NotAnswered).or(before));
            let outcome = self.attempt(request, bearer, timeout).await;
            let took = started.elapsed();
            before =
                outcome.as_ref().map_or_else(|failure| failure.carried_out, |answer| answer.carried_out).or(before);
            self.note_doubt(before);
            let mut left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            // A request that was certainly not carried out must not end in doubt because the total timeout cuts off the
            // next attempt, so that attempt needs enough time to fail while connecting, or to get another response.
            let needed = match &outcome {
                Err(failure) if failure.carried_out == CarriedOut::No => self.options.connect_timeout(),
                Ok(_) if request.repeat == Repeat::OnlyIfNotCarriedOut => MIN_RESPONSE_TIME.max(took * 2),
                _ => Duration::ZERO,
            };
            left = left.map(|left| left.saturating_sub(needed));
            match retry::wait_before_next(request.repeat, attempt, &outcome, left) {
                Some(wait) => {
                    if outcome.as_ref().is_ok_and(|response| response.retry_after.is_some()) {
                        *self.pause() = Some(Instant::now() + wait);
                    }
                    tracing::info!(attempt, wait_ms = wait.as_millis(), "retrying");
                    tokio::time::sleep(wait).await;
                    attempt += 1;
                }
                None => return finish(outcome, attempt, before),
            }
        }
    }

    /// Notes what is known of the request, if it ended now.
    fn note_doubt(&self, known: CarriedOut) {
        self.in_doubt.store(known == CarriedOut::Maybe, Ordering::Relaxed);
    }

    fn pause(&self) -> MutexGuard<'_, Option<Instant>> {
        self.pause.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the pause that the server asked for is over, unless it ends after the deadline.
    async fn wait_for_pause(&self, deadline: Option<Instant>) {
        let until = (*self.pause()).filter(|until| deadline.is_none_or(|deadline| *until < deadline));
        if let Some(until) = until {
            // Already over for the request that got the `Retry-After`, as it has slept since.
            if until > Instant::now() {
                tokio::time::sleep_until((until + MAX_JITTER.mul_f64(fastrand::f64())).into()).await;
            }
        }
    }

    /// One attempt, following the redirects that are allowed.
    async fn attempt(
        &self,
        request: &Request,
        bearer: Option<&AccessToken>,
        timeout: Duration,
    ) -> Result<HttpResponse, Failure> {
        let end = Instant::now() + timeout;
        let (mut url, mut progress) = (request.url.clone(), Progress::NotSent);
        for _ in 0..=redirect::MAX_HOPS {
            let left = end.saturating_duration_since(Instant::now());
            let mut builder = self.inner.request(request.method.clone(), url.clone()).timeout(left);
            builder = builder.headers(self.headers.clone());
            builder = match &request.body {
                None => builder,
                Some(RequestBody::Json(value)) => builder.json(value),
                Some(RequestBody::Form(form)) => {
                    builder.header(CONTENT_TYPE, FORM).body(form.expose_secret().to_owned())
                }
                Some(RequestBody::Bytes(Payload { content_type, headers, bytes })) => {
                    let builder = builder.header(CONTENT_TYPE, content_type.as_ref()).body(bytes.clone());
                    headers.iter().fold(builder, |builder, (name, value)| builder.header(*name, value))
                }
            };
            if let Some(token) = bearer {
                // reqwest marks this header as sensitive, so that it is not in debug output.
                builder = builder.bearer_auth(token.expose());
            }
            let started = Instant::now();
            let response = builder.send().await.map_err(|error| self.transport_failure(&url, error))?;
            let status = response.status();
            progress = Progress::Answered(status);
            tracing::debug!(method = %request.method, url = self.printable(&url), status = status.as_u16(), ms = started.elapsed().as_millis(), "response");
            if !(self.follows && redirect::is_redirect(status)) {
                return Ok(HttpResponse::read(response, carried_out(progress), self.max_body).await);
            }
            url = redirect::target(&url, &response, &request.method, self.options.peer)?;
            tracing::info!(url = self.printable(&url), "following a redirect to the same path");
        }
        let error = Error::new(ErrorKind::Other, format!("{}: too many redirects", shown(&url)));
        Err(Failure { error, carried_out: carried_out(progress), transient: false })
    }

    /// Classifies an error that occurred before the head of the response was received.
    fn transport_failure(&self, url: &Url, error: reqwest::Error) -> Failure {
        let failure = transport_failure(url, error, &self.options);
        tracing::debug!(url = self.printable(url), error = %failure.error, "no response");
        failure
    }

    /// A URL for the log: without user name, password and query, and for an endpoint without its path.
    fn printable(&self, url: &Url) -> String {
        match self.options.peer {
            Peer::Api => format!("{}{}", shown(url), url.path()),
            Peer::Endpoint | Peer::PublicUrl => shown(url).to_string(),
        }
    }
}

/// The outcome of the last attempt, with the number of attempts and what earlier ones leave behind.
fn finish(outcome: Result<HttpResponse, Failure>, attempts: u32, before: CarriedOut) -> Result<HttpResponse, Failure> {
    match outcome {
        Ok(response) => Ok(HttpResponse { attempts, ..response.after(0, before) }),
        Err(failure) => Err(failure.after(before)),
    }
}

/// The origin of a URL, which is enough to identify the server.
fn shown(url: &Url) -> ShownTarget {
    ShownTarget::of(url)
}
