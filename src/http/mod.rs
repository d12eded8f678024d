//! HTTP as this tool speaks it: timeouts, limits, redirects and retries that never repeat what may have been done.

mod connected;
mod failure;
mod outcome;
mod proxy;
mod redirect;
mod response;
mod retry;
mod tls;

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub use outcome::CarriedOut;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};
pub use reqwest::{Method, StatusCode};
pub use response::{BodyProblem, HttpResponse, MAX_BODY};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use self::connected::Connected;
use self::failure::{no_time_left, root_cause, transport_failure};
use self::outcome::{Progress, carried_out};
use crate::domain::AccessToken;
use crate::error::{Error, ErrorKind};

/// How the tool names itself.
pub const USER_AGENT: &str = concat!("bugfender-hooks/", env!("CARGO_PKG_VERSION"));

/// The media type of forms.
pub const FORM: &str = "application/x-www-form-urlencoded";

/// The longest time for a connection to stand, well within the time for a request.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The least time that an answer is given after one that came quickly.
const MIN_ANSWER_TIME: Duration = Duration::from_millis(500);

/// The longest time by which requests that waited together are spread out.
const SPREAD: Duration = Duration::from_millis(200);

/// How a client is to be built.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// The longest time for one attempt.
    pub attempt_timeout: Duration,
    /// The longest time for all attempts and the waits between them.
    pub total_timeout: Option<Duration>,
    /// Whether https will be spoken. Reading the system's certificate authorities takes milliseconds.
    pub tls: bool,
    /// Whether to obey the proxy variables. Never for a server on this machine.
    pub proxy: bool,
    /// Which certificate authorities are trusted.
    pub roots: Roots,
    /// What the client speaks to.
    pub peer: Peer,
}

/// What a client speaks to, which decides what logs hold and what errors advise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// Bugfender, or who gives tokens for it.
    Api,
    /// Somebody's endpoint. Its path is often a secret.
    Endpoint,
}

/// Which certificate authorities are trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Roots {
    /// The system's, or Mozilla's where it has none.
    System,
    /// Those that `SSL_CERT_FILE` or `SSL_CERT_DIR` name, and no others.
    Environment,
    /// Those of this PEM file, and no others.
    File(PathBuf),
}

impl ClientOptions {
    /// The proxy that requests to this URL go through, if any: without user name and password.
    pub fn proxy_of(&self, url: &Url) -> Option<String> {
        if self.proxy { proxy::proxy_of(url) } else { None }
    }

    /// The longest time for a connection to stand: strictly shorter than an attempt, so that a timeout
    /// while connecting is known as one, and the request as not sent.
    fn connect_timeout(&self) -> Duration {
        CONNECT_TIMEOUT.min(self.attempt_timeout.mul_f32(0.75))
    }
}

impl Roots {
    /// Whether they can be read, and hold one at the least.
    ///
    /// # Errors
    /// A usage error that names the file.
    pub fn check(&self) -> Result<(), Error> {
        tls::config(true, self).map(|_| ())
    }
}

/// A request, before a credential is put on it. Not `Debug`: the body may hold a password.
#[derive(Clone)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// The whole URL.
    pub url: Url,
    /// The body.
    pub body: Option<RequestBody>,
    /// When it may be sent again.
    pub repeat: Repeat,
}

/// The body of a request.
#[derive(Clone)]
pub enum RequestBody {
    /// JSON.
    Json(serde_json::Value),
    /// A form, encoded already (`application/x-www-form-urlencoded`). It is full of secrets.
    Form(SecretString),
    /// These bytes.
    Bytes(Payload),
}

/// A body as it is to be sent, with the headers that belong to it.
#[derive(Clone)]
pub struct Payload {
    /// The media type.
    pub content_type: Cow<'static, str>,
    /// Headers, such as a signature.
    pub headers: Vec<(&'static str, String)>,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// When a request may be sent again after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    /// After any transient failure: sending it twice does what sending it once does.
    Idempotent,
    /// Only when it surely was not carried out.
    OnlyIfNotCarriedOut,
    /// Not at all.
    Never,
}

/// Why a request got no answer that can be used.
#[derive(Debug)]
pub struct Failure {
    /// The error to show.
    pub error: Error,
    /// Whether the request may have been carried out.
    pub carried_out: CarriedOut,
    /// Whether it may pass by itself: network trouble does, a refused redirect or certificate does not.
    pub transient: bool,
}

impl Failure {
    /// The failure of a request that never got as far as being sent, which does not pass by itself.
    pub fn not_sent(error: Error) -> Self {
        Self { error, carried_out: carried_out(Progress::NotSent), transient: false }
    }

    /// The same failure of a request of which this is known from being sent before.
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
    /// Until when the server asked everybody to wait (429 with `Retry-After`): requests that share the client do.
    pause: Arc<Mutex<Option<Instant>>>,
    in_doubt: Arc<AtomicBool>,
    connected: Connected,
    follows: bool,
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
        let inner = builder.build().map_err(|error| {
            let message = format!("the HTTP client could not be set up: {}", root_cause(&error));
            Error::usage(message).hint("check HTTPS_PROXY and the other proxy variables")
        })?;
        Ok(Self { inner, options, pause: Arc::default(), in_doubt: Arc::default(), connected, follows: true })
    }

    /// The same client, for which a redirect is an answer like any other.
    #[must_use]
    pub fn without_redirects(self) -> Self {
        Self { follows: false, ..self }
    }

    /// Whether a request that is given up at this moment may have been carried out, if there is but one.
    pub fn is_in_doubt(&self) -> bool {
        self.in_doubt.load(Ordering::Relaxed) && self.connected.once()
    }

    /// Whether there has been a connection.
    pub fn has_connected(&self) -> bool {
        self.connected.once()
    }

    /// Sends a request until it is answered, fails for good, or its attempts or time are used up.
    ///
    /// An answer of any status is `Ok`; reading it is the caller's part.
    ///
    /// # Errors
    /// When no answer came, with what is known of the request's effect.
    pub async fn send(&self, request: &Request, bearer: Option<&AccessToken>) -> Result<HttpResponse, Failure> {
        let outcome = self.send_repeatedly(request, bearer).await;
        // Nothing is under way any more: what its end means is in the outcome.
        self.in_doubt.store(false, Ordering::Relaxed);
        outcome
    }

    async fn send_repeatedly(&self, request: &Request, bearer: Option<&AccessToken>) -> Result<HttpResponse, Failure> {
        let deadline = self.options.total_timeout.map(|total| Instant::now() + total);
        let (mut attempt, mut before) = (1, CarriedOut::No);
        loop {
            self.wait_if_asked(deadline).await;
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
            // What surely was not carried out must not end in doubt because the time is up in the middle of the next
            // attempt: that needs time to fail at connecting again, or else to be answered again.
            let needed = match &outcome {
                Err(failure) if failure.carried_out == CarriedOut::No => self.options.connect_timeout(),
                Ok(_) if request.repeat == Repeat::OnlyIfNotCarriedOut => MIN_ANSWER_TIME.max(took * 2),
                _ => Duration::ZERO,
            };
            left = left.map(|left| left.saturating_sub(needed));
            match retry::wait_before_next(request.repeat, attempt, &outcome, left) {
                Some(wait) => {
                    if outcome.as_ref().is_ok_and(|answer| answer.retry_after.is_some()) {
                        *self.pause() = Some(Instant::now() + wait);
                    }
                    tracing::info!(attempt, wait_ms = wait.as_millis(), "trying again");
                    tokio::time::sleep(wait).await;
                    attempt += 1;
                }
                None => return finish(outcome, attempt, before),
            }
        }
    }

    /// Notes what is known of the request, were it given up now.
    fn note_doubt(&self, known: CarriedOut) {
        self.in_doubt.store(known == CarriedOut::Maybe, Ordering::Relaxed);
    }

    fn pause(&self) -> MutexGuard<'_, Option<Instant>> {
        self.pause.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits as long as the server asked another request of this client to, if there is time for that.
    async fn wait_if_asked(&self, deadline: Option<Instant>) {
        let until = (*self.pause()).filter(|until| deadline.is_none_or(|deadline| *until < deadline));
        if let Some(until) = until {
            // The one that was asked to wait has waited already.
            if until > Instant::now() {
                tokio::time::sleep_until((until + SPREAD.mul_f64(fastrand::f64())).into()).await;
            }
        }
    }

    /// One attempt, which follows the redirects that are allowed.
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
                // reqwest marks this header as sensitive, which keeps it out of debug output.
                builder = builder.bearer_auth(token.expose());
            }
            let started = Instant::now();
            let response = builder.send().await.map_err(|error| self.transport_failure(&url, error))?;
            let status = response.status();
            progress = Progress::Answered(status);
            tracing::debug!(method = %request.method, url = self.printable(&url), status = status.as_u16(), ms = started.elapsed().as_millis(), "answer");
            if !(self.follows && redirect::is_redirect(status)) {
                return Ok(HttpResponse::read(response, carried_out(progress)).await);
            }
            url = redirect::target(&url, &response, &request.method, self.options.peer)?;
            tracing::info!(url = self.printable(&url), "following a redirect to the same path");
        }
        let error = Error::new(ErrorKind::Other, format!("{} redirects in a circle", shown(&url)));
        Err(Failure { error, carried_out: carried_out(progress), transient: false })
    }

    /// Classifies an error of sending a request or waiting for the head of its answer.
    fn transport_failure(&self, url: &Url, error: reqwest::Error) -> Failure {
        let failure = transport_failure(url, error, &self.options);
        tracing::debug!(url = self.printable(url), error = %failure.error, "no answer");
        failure
    }

    /// A URL for the log: without user name, password and query, which may be secret, and perhaps without its path.
    fn printable(&self, url: &Url) -> String {
        match self.options.peer {
            Peer::Api => format!("{}{}", shown(url), url.path()),
            Peer::Endpoint => shown(url),
        }
    }
}

/// The outcome of the last attempt, with what the ones before it leave behind.
fn finish(outcome: Result<HttpResponse, Failure>, attempts: u32, before: CarriedOut) -> Result<HttpResponse, Failure> {
    match outcome {
        Ok(answer) => Ok(HttpResponse { attempts, ..answer.after(0, before) }),
        Err(failure) => Err(failure.after(before)),
    }
}

/// The origin of a URL, which is enough to say which server is meant.
fn shown(url: &Url) -> String {
    url.origin().ascii_serialization()
}
