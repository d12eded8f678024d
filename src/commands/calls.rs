//! Requests to an endpoint, sent as Bugfender or Luciq send them.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::ValueHint;
use serde_json::{Value, json};
use url::Url;

use super::hook_args::TargetUrlArg;
use super::input::read_secret;
use super::quotes::Quotes;
use super::units::count;
use crate::context::Context;
use crate::domain::signature::{INSTABUG_SIGNATURE, LUCIQ_SIGNATURE, sign_instabug};
use crate::domain::{AppId, HostScope, Secret, TargetUrl};
use crate::error::{Error, ErrorKind, Result};
use crate::http::{Client, ClientOptions, Failure, HttpResponse, Method, Payload, Peer, Repeat, Request, RequestBody};
use crate::samples::bugfender::test_event;

/// How Luciq's reports are sent and signed.
#[derive(clap::Args)]
pub struct SigningArgs {
    /// Send the reports of Luciq, formerly Instabug: one object per request
    #[arg(long, visible_alias = "instabug")]
    pub luciq: bool,

    /// Sign Luciq's reports with the secret in this file
    #[arg(long, value_name = "FILE", requires = "luciq", value_hint = ValueHint::FilePath)]
    pub secret_file: Option<PathBuf>,

    /// Send the signature in this header
    #[arg(long, value_name = "NAME", requires = "secret_file", default_value = LUCIQ_SIGNATURE, value_parser = [LUCIQ_SIGNATURE, INSTABUG_SIGNATURE])]
    signature_header: String,
}

impl SigningArgs {
    fn header(&self) -> &'static str {
        if self.signature_header == INSTABUG_SIGNATURE { INSTABUG_SIGNATURE } else { LUCIQ_SIGNATURE }
    }
}

/// Where requests go, and the secret that signs them.
pub struct Endpoint {
    /// The whole URL.
    pub url: Url,
    /// Luciq's secret.
    pub secret: Option<Secret>,
    /// The header that the signature is sent in.
    pub signature_header: &'static str,
    scope: HostScope,
}

impl Endpoint {
    /// The endpoint that the command line names.
    pub fn resolve(ctx: &Context, to: &TargetUrlArg, signing: &SigningArgs) -> Result<Self> {
        let endpoint = Self::at(&to.resolve(ctx)?)?;
        let secret = signing.secret_file.as_deref().map(|path| read_secret("the secret", path)).transpose()?;
        Ok(Self { secret, signature_header: signing.header(), ..endpoint })
    }

    /// The endpoint at this URL, which must be whole.
    pub fn at(to: &TargetUrl) -> Result<Self> {
        if to.is_redacted() {
            return Err(Error::usage("the password in the URL is hidden (****)").hint("give the whole URL"));
        }
        let url = Url::parse(to.expose()).map_err(|error| Error::usage(error.to_string()))?;
        Ok(Self { url, secret: None, signature_header: LUCIQ_SIGNATURE, scope: to.scope() })
    }

    /// A client for it.
    pub fn client(&self, ctx: &Context) -> Result<Client> {
        self.client_that_waits(ctx, ctx.settings().timeout.value)
    }

    /// A client with this request timeout, unless the command line gives another.
    pub fn client_that_waits(&self, ctx: &Context, time: Duration) -> Result<Client> {
        let total = ctx.settings().total_timeout();
        self.client_with(ctx, total.unwrap_or(time), total)
    }

    /// A client with these timeouts of an attempt, and of all together.
    pub fn client_with(
        &self,
        ctx: &Context,
        attempt_timeout: Duration,
        total_timeout: Option<Duration>,
    ) -> Result<Client> {
        Client::new(ClientOptions {
            attempt_timeout,
            total_timeout,
            tls: self.url.scheme() == "https",
            proxy: self.scope != HostScope::Loopback,
            loopback_only: false,
            roots: ctx.roots(),
            peer: Peer::Endpoint,
        })
    }

    /// A request, signed if there is a secret.
    pub fn request(&self, bytes: &[u8]) -> Request {
        let signature = self.secret.as_ref().map(|secret| sign_instabug(secret, bytes));
        self.request_with(bytes, signature)
    }

    /// A request with this signature, valid or not.
    pub fn request_with(&self, bytes: &[u8], signature: Option<String>) -> Request {
        let headers = signature.map(|signature| (self.signature_header, signature)).into_iter().collect();
        let payload = Payload { content_type: "application/json".into(), headers, bytes: bytes.to_vec() };
        Request {
            method: Method::POST,
            url: self.url.clone(),
            body: Some(RequestBody::Bytes(payload)),
            // A failed request is not retried, just as Bugfender and Luciq do not.
            repeat: Repeat::Never,
        }
    }
}

/// The outcome of a request.
pub struct Timed {
    /// The answer.
    pub outcome: Result<HttpResponse, Failure>,
    /// How long it took, in milliseconds.
    pub ms: u64,
}

/// Consecutive requests that failed because the endpoint is unavailable.
#[derive(Default)]
pub struct Streak(usize);

impl Streak {
    /// So many are enough: what is left would take its time and fail too.
    const ENOUGH: usize = 10;

    /// Records the outcome of a request.
    ///
    /// # Errors
    /// When enough have failed; the `left` requests are then not sent.
    pub fn note(&mut self, failed: bool, left: u64) -> Result<()> {
        self.0 = if failed { self.0 + 1 } else { 0 };
        if self.0 < Self::ENOUGH || left == 0 {
            return Ok(());
        }
        let message = format!("stopped: {} requests in a row failed; {} were not sent", self.0, count(left, "request"));
        Err(Error::new(ErrorKind::Unavailable, message).hint("run the command again when the endpoint has recovered"))
    }
}

/// What an answer that is no success says, of the endpoint at this URL, to which calls may be signed with this secret.
pub fn refusal(answer: &HttpResponse, url: &Url, secret: Option<&Secret>) -> String {
    let quote = Quotes::of(url, secret).quote(answer).map(|quote| format!(": {quote}")).unwrap_or_default();
    format!("the endpoint responded with HTTP {}{quote}", answer.status.as_u16())
}

/// Sends a request.
pub async fn send(client: &Client, request: &Request) -> Timed {
    let started = Instant::now();
    let outcome = client.send(request, None).await;
    Timed { outcome, ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX) }
}

/// The app that sample events happen in.
pub fn app_id(ctx: &Context, given: Option<AppId>) -> i64 {
    given.or(ctx.settings().app_id).map_or(1001, AppId::get)
}

/// What makes sample events to try a target with, each in a JSON array.
pub fn test_samples(ctx: &Context) -> impl Fn() -> Result<Vec<u8>> + Send + Sync + use<> {
    let (app_id, origin) = (app_id(ctx, None), ctx.origin().to_string());
    move || to_bytes(&json!([test_event(app_id, &origin)]))
}

/// A body, as JSON.
pub fn to_bytes(value: &Value) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|error| Error::new(ErrorKind::Other, error.to_string()))
}
