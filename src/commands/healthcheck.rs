//! `healthcheck`: whether a receiver is ready, for containers and scripts.

use std::fs;
use std::io::ErrorKind as IoErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::ValueHint;
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::{Host, Url};

use super::Report;
use super::calls::Endpoint;
use super::units::{address, duration};
use crate::context::Context;
use crate::domain::{ShownTarget, TargetUrl};
use crate::error::{Error, ErrorKind, Result};
use crate::http::{Client, HttpResponse, Method, Repeat, Request};
use crate::render::{Cell, Records, Row, Tone};

/// Ask a receiver whether it is ready
///
/// For containers, orchestrators and scripts. Asks /readyz, which is 200 while events can be stored. Beside a `listen` with its own defaults no argument is needed. With
/// --admin-listen, /readyz is on that address: give it as --admin, or name the file of --ready-file. Exits with 0 if the
/// receiver is ready, and with 7 if it is not or cannot be reached.
// Help texts are not Markdown.
#[allow(clippy::doc_markdown, rustdoc::bare_urls)]
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The receiver's URL [default: http://127.0.0.1:4000, where `listen` listens]
    #[arg(value_name = "URL", value_hint = ValueHint::Url)]
    url: Option<String>,

    /// The address that `listen` was given as --admin-listen, or as --listen if it serves plain http
    #[arg(long, value_name = "ADDR", value_parser = address, conflicts_with = "url")]
    admin: Option<SocketAddr>,

    /// Ask the receiver that wrote this file (listen --ready-file)
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with_all = ["url", "admin"])]
    ready_file: Option<PathBuf>,

    /// Ask again until the receiver is ready, for up to this long [default DURATION: 60s]
    #[arg(long, value_name = "DURATION", value_parser = duration, num_args = 0..=1, require_equals = true,
          default_missing_value = "60s")]
    wait: Option<SignedDuration>,
}

const EXAMPLES: &str = "\
Examples:
  bugfender-hooks healthcheck
  bugfender-hooks healthcheck --wait=2m --admin :9464
  bugfender-hooks healthcheck --ready-file ready.json --output json";

/// Where `listen` listens by itself.
const DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 4000);

/// How long one answer may take, unless --timeout says otherwise. A receiver waits up to 5 s for its store.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long to wait before asking again.
const ASK_AGAIN: Duration = Duration::from_millis(250);

/// No attempt is made in less time than this: it would fail by its own timeout, and hide why the receiver is not ready.
const SHORTEST_ATTEMPT: Duration = Duration::from_millis(250);

/// What the receiver says of itself.
#[derive(Serialize, Deserialize)]
struct Readiness {
    ready: bool,
    store_writable: bool,
    backlog: u64,
    dead_letters: u64,
    oldest_undelivered_seconds: Option<u64>,
    last_event_at: Option<String>,
    #[serde(default)]
    warnings: Vec<String>,
    self_check: Option<Value>,
}

#[derive(Serialize)]
struct HealthRow {
    url: String,
    #[serde(flatten)]
    said: Readiness,
}

impl Row for HealthRow {
    const FIELDS: &'static [&'static str] = &[
        "url",
        "ready",
        "store_writable",
        "backlog",
        "dead_letters",
        "oldest_undelivered_seconds",
        "last_event_at",
        "warnings",
        "self_check",
    ];
    const HEADERS: &'static [&'static str] = &["URL", "READY", "STORE", "BACKLOG", "DEAD LETTERS", "LAST EVENT"];

    fn cells(&self) -> Vec<Cell> {
        let toned = |good, yes: &str, no: &str| {
            if good { Cell::toned(yes, Tone::Good) } else { Cell::toned(no, Tone::Bad) }
        };
        vec![
            self.url.clone().into(),
            toned(self.said.ready, "yes", "no"),
            toned(self.said.store_writable, "writable", "not writable"),
            self.said.backlog.to_string().into(),
            self.said.dead_letters.to_string().into(),
            Cell::maybe(self.said.last_event_at.as_ref()),
        ]
    }

    fn id(&self) -> Option<String> {
        Some(self.url.clone()).filter(|_| self.said.ready)
    }
}

/// What came of asking: what the receiver said, and why it is not ready.
struct Verdict {
    row: Option<HealthRow>,
    error: Option<Error>,
}

impl From<Error> for Verdict {
    fn from(error: Error) -> Self {
        Self { row: None, error: Some(error) }
    }
}

pub fn run(ctx: &Context, args: &Args) -> Result<Report> {
    let wait = args.wait.map(Duration::try_from).transpose();
    let wait = wait.map_err(|error| Error::usage(format!("--wait: {error}")))?;
    let asked = ctx.wait(ask_until(ctx, args, wait.map(|wait| Instant::now() + wait)))?;
    let Verdict { row, error } = asked.ok_or_else(|| Error::interrupted("while asking the receiver"))??;
    let report = row.map_or_else(Report::nothing, |row| Report::of(Records::single(row)));
    Ok(Report { errors: error.into_iter().collect(), ..report })
}

/// Asks once or, with a deadline, until the receiver is ready or what is wrong will not pass by itself.
async fn ask_until(ctx: &Context, args: &Args, deadline: Option<Instant>) -> Result<Verdict> {
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let answer = ask(ctx, args, left).await?;
        let may_pass = answer.error.as_ref().is_some_and(Error::retryable);
        let more = deadline.is_some_and(|deadline| Instant::now() + ASK_AGAIN < deadline);
        if !may_pass || !more {
            return Ok(answer);
        }
        tokio::time::sleep(ASK_AGAIN).await;
    }
}

/// Asks once.
///
/// # Errors
/// A usage error, which no waiting changes.
async fn ask(ctx: &Context, args: &Args, left: Option<Duration>) -> Result<Verdict> {
    let base = match base_url(args) {
        Ok(base) => base,
        Err(error) if error.retryable() => return Ok(error.into()),
        Err(error) => return Err(error),
    };
    let url = readiness_url(&base);
    let endpoint = Endpoint::at(&url.as_str().parse::<TargetUrl>()?)?;
    let timeout = ctx.settings().total_timeout().unwrap_or(PATIENCE);
    let timeout = left.map_or(timeout, |left| timeout.min(left.max(SHORTEST_ATTEMPT)));
    let client: Client = endpoint.client_with(ctx, timeout, Some(timeout))?.without_redirects();
    let request = Request { method: Method::GET, url: url.clone(), body: None, repeat: Repeat::Never };
    Ok(match client.send(&request, None).await {
        Ok(response) => judge(&ShownTarget::of(&url), &response),
        Err(failure) => failure.error.into(),
    })
}

/// What an answer says. Only that of a receiver counts: another server may answer anything with 200.
fn judge(place: &ShownTarget, response: &HttpResponse) -> Verdict {
    let status = response.status.as_u16();
    let body = response.body.as_deref().unwrap_or_default();
    let said = serde_json::from_slice::<Readiness>(body).ok();
    // The status counts, too: it is what a proxy in between goes by.
    let said = said.filter(|said| status == if said.ready { 200 } else { 503 });
    let Some(said) = said else { return not_a_receiver(place, status).into() };
    let why = if said.store_writable { "its inbox cannot be read" } else { "events cannot be stored" };
    let error = (!said.ready).then(|| {
        Error::new(ErrorKind::Unavailable, format!("{place}: the receiver is not ready: {why}"))
            .status(status)
            .hint("its log says why; `bugfender-hooks doctor` with the same --store checks the store")
    });
    Verdict { row: Some(HealthRow { url: place.to_string(), said }), error }
}

/// The error of an answer that is not a receiver's word on whether it is ready.
fn not_a_receiver(place: &ShownTarget, status: u16) -> Error {
    let (kind, hint) = match status {
        404 => {
            (ErrorKind::NotFound, "with `listen --admin-listen ADDR`, /readyz is there: give that address as --admin")
        }
        403 => (ErrorKind::Refused, "/readyz is for the receiver's own machine and the networks of its --allow-from"),
        421 => (ErrorKind::Usage, "ask by an IP address, or start the receiver with --admin-host NAME"),
        429 | 500..=599 => (ErrorKind::Unavailable, "the receiver, or a proxy in front of it, may be overloaded"),
        _ => (ErrorKind::Other, "give the address of a receiver: `listen` says where it listens"),
    };
    let what = if status == 200 { "the answer is not a receiver's".to_owned() } else { format!("HTTP {status}") };
    Error::new(kind, format!("{place}: /readyz: {what}")).status(status).hint(hint)
}

/// Where the receiver is.
fn base_url(args: &Args) -> Result<Url> {
    let text = match (&args.url, &args.ready_file) {
        (Some(text), _) => text.clone(),
        (None, Some(path)) => admin_url(path)?,
        (None, None) => format!("http://{}", args.admin.unwrap_or(DEFAULT)),
    };
    // Its own checks say what is wrong with it, without quoting it.
    let url = text.parse::<TargetUrl>()?;
    Url::parse(url.expose()).map(reachable).map_err(|error| Error::usage(error.to_string()))
}

/// The `admin_url` of a ready file. That it is missing may pass: it is there as long as the receiver serves.
fn admin_url(path: &Path) -> Result<String> {
    let text = fs::read(path).map_err(|error| match error.kind() {
        IoErrorKind::NotFound => {
            Error::new(ErrorKind::Unavailable, format!("there is no {}: the receiver does not serve", path.display()))
                .hint("check that `listen` runs, with the same --ready-file")
        }
        kind => Error::usage(format!("--ready-file {}: {kind}", path.display())).source(error),
    })?;
    let ready = serde_json::from_slice::<Value>(&text).unwrap_or_default();
    let url = ready["admin_url"].as_str().map(str::to_owned);
    url.ok_or_else(|| Error::usage(format!("--ready-file {}: it is not what `listen` writes", path.display())))
}

/// The same place from this machine: a receiver on all addresses is reached by that of the machine itself.
fn reachable(mut url: Url) -> Url {
    let own = match url.host() {
        Some(Host::Ipv4(ip)) if ip.is_unspecified() => Some(IpAddr::from(Ipv4Addr::LOCALHOST)),
        Some(Host::Ipv6(ip)) if ip.is_unspecified() => Some(IpAddr::from(Ipv6Addr::LOCALHOST)),
        _ => None,
    };
    if let Some(own) = own {
        // It has a host already, so it can have another.
        let _ = url.set_ip_host(own);
    }
    url
}

/// `/readyz` below a base; a URL that ends in it already is taken as it is.
fn readiness_url(base: &Url) -> Url {
    let mut url = base.clone();
    url.set_fragment(None);
    let path = url.path().trim_end_matches('/').to_owned();
    if !path.ends_with("/readyz") {
        url.set_path(&format!("{path}/readyz"));
    }
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_is_on_this_machine_if_it_is_everywhere() {
        let asked = |text: &str| readiness_url(&reachable(text.parse().unwrap())).to_string();
        for (given, expected) in [
            ("http://0.0.0.0:4000", "http://127.0.0.1:4000/readyz"),
            ("http://[::]:9464/", "http://[::1]:9464/readyz"),
            ("http://10.0.0.7:4000/", "http://10.0.0.7:4000/readyz"),
            ("https://hooks.example.com/base/", "https://hooks.example.com/base/readyz"),
            ("http://127.0.0.1:4000/readyz#x", "http://127.0.0.1:4000/readyz"),
        ] {
            assert_eq!(asked(given), expected);
        }
    }
}
