//! `--dry-run`: the requests that a command would send.

use std::borrow::Cow;
use std::collections::BTreeMap;

use secrecy::ExposeSecret;
use serde::Serialize;
use serde_json::Value;

use super::Report;
use crate::domain::TargetUrl;
use crate::domain::signature::{INSTABUG_SIGNATURE, LUCIQ_SIGNATURE, WEBHOOK_SIGNATURE};
use crate::error::Result;
use crate::http::{FORM, Request, RequestBody, USER_AGENT};
use crate::render::{Cell, Output, Records, Row, View, sanitize};

/// The flag, on every command that changes something.
#[derive(clap::Args)]
pub struct DryRunArg {
    /// Show the requests this would send; send and store nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// A request that was not sent.
#[derive(Serialize)]
struct Planned {
    method: String,
    url: String,
    headers: BTreeMap<&'static str, Cow<'static, str>>,
    body: Option<Value>,
}

/// Shows requests with their secrets hidden.
pub fn report(requests: Vec<Request>, show_secrets: bool) -> Report {
    let planned = requests.into_iter().map(|request| planned(request, show_secrets));
    Report::of(DryRunPlan(Records::list(planned.collect())))
}

/// The requests: for people as they look on the wire, for programs as records.
struct DryRunPlan(Records<Planned>);

impl View for DryRunPlan {
    fn show(&self, out: &Output) -> Result<()> {
        if !out.is_for_people() {
            return out.show(&self.0);
        }
        let texts: Vec<String> = self.0.rows.iter().map(Planned::text).collect();
        out.raw(&sanitize(&texts.join("\n")))
    }
}

impl Planned {
    fn text(&self) -> String {
        let mut lines = vec![format!("{} {}", self.method, self.url)];
        lines.extend(self.headers.iter().map(|(name, value)| format!("{name}: {value}")));
        lines.extend(self.shown_body().into_iter().flat_map(|body| [String::new(), body]));
        lines.join("\n") + "\n"
    }

    fn shown_body(&self) -> Option<String> {
        self.body.as_ref().map(|body| body.as_str().map_or_else(|| body.to_string(), str::to_owned))
    }
}

fn planned(request: Request, show_secrets: bool) -> Planned {
    let always = [("accept", "application/json"), ("accept-encoding", "gzip"), ("user-agent", USER_AGENT)];
    let mut headers: BTreeMap<_, Cow<'static, str>> = always.map(|(name, value)| (name, value.into())).into();
    let goes_to_the_api = !matches!(request.body, Some(RequestBody::Form(_) | RequestBody::Bytes(_)));
    let (content_type, body) = match request.body {
        Some(RequestBody::Form(form)) => (Some(FORM.into()), Some(Value::String(shown_form(form.expose_secret())))),
        Some(RequestBody::Bytes(payload)) => {
            headers.extend(payload.headers.into_iter().map(|(name, value)| match name {
                LUCIQ_SIGNATURE | INSTABUG_SIGNATURE | WEBHOOK_SIGNATURE => (name, "[redacted]".into()),
                _ => (name, value.into()),
            }));
            let body = serde_json::from_slice(&payload.bytes)
                .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&payload.bytes).into_owned()));
            (Some(payload.content_type), Some(body))
        }
        Some(RequestBody::Json(body)) => (Some("application/json".into()), Some(shown_json(body, show_secrets))),
        None => (None, None),
    };
    if goes_to_the_api {
        headers.insert("authorization", "Bearer [redacted]".into());
    }
    headers.extend(content_type.map(|kind| ("content-type", kind)));
    Planned { method: request.method.to_string(), url: shown_url(request.url, show_secrets), headers, body }
}

fn shown_url(url: url::Url, show_secrets: bool) -> String {
    TargetUrl::from_stored(url.into()).into_shown(show_secrets)
}

fn shown_json(mut body: Value, show_secrets: bool) -> Value {
    let target = body.get("target_url").and_then(Value::as_str).map(|url| TargetUrl::from_stored(url.to_owned()));
    if let Some(target) = target {
        body["target_url"] = target.into_shown(show_secrets).into();
    }
    body
}

/// A form in which the values of all fields are hidden unless they are known not to be secret.
fn shown_form(form: &str) -> String {
    let shown = |(name, value): (std::borrow::Cow<str>, std::borrow::Cow<str>)| {
        let public = matches!(&*name, "grant_type" | "client_id" | "client_assertion_type");
        if public { format!("{name}={value}") } else { format!("{name}=[redacted]") }
    };
    url::form_urlencoded::parse(form.as_bytes()).map(shown).collect::<Vec<_>>().join("&")
}

impl Row for Planned {
    const FIELDS: &'static [&'static str] = &["method", "url", "headers", "body"];
    const HEADERS: &'static [&'static str] = &["METHOD", "URL", "HEADERS", "BODY"];

    fn cells(&self) -> Vec<Cell> {
        let headers: Vec<String> = self.headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        let body = self.shown_body();
        vec![self.method.clone().into(), self.url.clone().into(), headers.join("; ").into(), Cell::maybe(body)]
    }
}
