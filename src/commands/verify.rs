//! `verify`: whether a webhook was signed with the secret, checked offline.

use std::path::PathBuf;
use std::time::Duration;

use clap::ValueHint;
use jiff::Timestamp;
use serde::Serialize;

use super::Report;
use super::hook_args::seconds;
use super::input::{read_body, read_secret};
use crate::domain::Secret;
use crate::domain::signature::{
    LUCIQ_SIGNATURE, LUCIQ_SIGNATURES, Scheme, StandardHeaders, WEBHOOK_ID, WEBHOOK_SIGNATURE, WEBHOOK_TIMESTAMP,
    verify_instabug,
};
use crate::error::{Error, ErrorKind, Result};
use crate::render::{Cell, Records, Row, Tone};

/// Check the signature of a received webhook
///
/// The headers identify the scheme: Luciq, which was Instabug (x-lcq-signature-256, x-ibg-signature-256), or a sender
/// that follows the Standard Webhooks specification (webhook-id, webhook-timestamp, webhook-signature). The body must be the bytes that were received:
/// JSON that was parsed and written again has another signature. Exits with 0 if the signature is valid, else with 1.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Read the secret from this file; repeat during a rotation: one must match
    #[arg(long = "secret-file", value_name = "FILE", required = true, value_hint = ValueHint::FilePath)]
    secret_files: Vec<PathBuf>,

    /// A header of the request, as "NAME: VALUE"; may be repeated, and unrelated headers are ignored
    #[arg(short = 'H', long = "header", value_name = "HEADER", required = true)]
    headers: Vec<String>,

    /// Reject a Standard Webhooks signature older than this [default: any age is accepted]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    tolerance: Option<Duration>,

    /// The body: a file, or "-" for standard input
    #[arg(value_name = "BODY", default_value = "-", value_hint = ValueHint::FilePath)]
    body: PathBuf,
}

const EXAMPLES: &str = "\
Examples:
  bugfender-hooks verify --secret-file secret.txt -H 'x-lcq-signature-256: 5bdcc1…' body.json
  bugfender-hooks verify --secret-file secret.txt -H \"webhook-id: $ID\" -H \"webhook-timestamp: $TIME\" \\
      -H \"webhook-signature: $SIGNATURE\" < body.json";

/// What was found.
#[derive(Serialize)]
struct SignatureReport {
    scheme: Scheme,
    valid: bool,
    webhook_id: Option<String>,
    signed_at: Option<Timestamp>,
}

impl Row for SignatureReport {
    const FIELDS: &'static [&'static str] = &["scheme", "valid", "webhook_id", "signed_at"];
    const HEADERS: &'static [&'static str] = &["SCHEME", "SIGNATURE", "WEBHOOK ID", "SIGNED AT"];

    fn cells(&self) -> Vec<Cell> {
        let valid = if self.valid { Cell::toned("valid", Tone::Good) } else { Cell::toned("not valid", Tone::Bad) };
        let id = Cell::maybe(self.webhook_id.as_ref());
        vec![self.scheme.as_str().into(), valid, id, Cell::maybe(self.signed_at)]
    }

    fn id(&self) -> Option<String> {
        self.webhook_id.clone().filter(|_| self.valid)
    }
}

pub fn run(args: &Args) -> Result<Report> {
    let headers = Headers::read(&args.headers)?;
    let secrets = args.secret_files.iter().map(|path| read_secret("the secret", path));
    let secrets = secrets.collect::<Result<Vec<Secret>>>()?;
    let body = read_body(&args.body)?;
    let (verdict, (why, hint)) = judge(args, &headers, &secrets, &body)?;
    let valid = verdict.valid;
    let mut report = Report::of(Records::single(verdict));
    if !valid {
        let error = Error::new(ErrorKind::Other, format!("the signature is not valid: {why}"));
        report.errors.push(error.hint(hint));
    }
    Ok(report)
}

/// What is wrong, and what to do.
type Why = (&'static str, &'static str);

/// The verdict, and for an invalid signature the reason and what to do.
fn judge(args: &Args, headers: &Headers, secrets: &[Secret], body: &[u8]) -> Result<(SignatureReport, Why)> {
    const NOT_THAT: Why = (
        "it is not the signature of this body with this secret",
        "check the secret, and that the body is the bytes that were received",
    );
    const NO_TIME: Why = ("webhook-timestamp is not a number of seconds", "give the header as it was received");
    const NOT_NOW: Why =
        ("its timestamp is too old, or in the future", "allow more with --tolerance, or correct the clocks");
    let signatures = headers.all(&LUCIQ_SIGNATURES);
    if !signatures.is_empty() {
        let is_valid = |signature: &&str| secrets.iter().any(|secret| verify_instabug(secret, body, signature));
        let valid = signatures.iter().all(is_valid);
        return Ok((SignatureReport { scheme: Scheme::Instabug, valid, webhook_id: None, signed_at: None }, NOT_THAT));
    }
    let standard = StandardHeaders {
        id: headers.require(WEBHOOK_ID)?,
        timestamp: headers.require(WEBHOOK_TIMESTAMP)?,
        signature: headers.require(WEBHOOK_SIGNATURE)?,
    };
    let mut valid = false;
    for secret in secrets {
        valid |= standard.verify(secret, body)?;
    }
    let recent = args.tolerance.is_none_or(|tolerance| standard.is_recent(Timestamp::now(), tolerance));
    let (webhook_id, signed_at) = (Some(standard.id.trim().to_owned()), standard.signed_at());
    let why = match signed_at {
        None => NO_TIME,
        Some(_) if valid => NOT_NOW,
        Some(_) => NOT_THAT,
    };
    let valid = valid && recent && signed_at.is_some();
    Ok((SignatureReport { scheme: Scheme::StandardWebhooks, valid, webhook_id, signed_at }, why))
}

/// Headers by name, in lower case.
struct Headers(Vec<(String, String)>);

impl Headers {
    fn read(lines: &[String]) -> Result<Self> {
        let read = |line: &String| {
            let (name, value) = line.split_once(':')?;
            Some((name.trim().to_ascii_lowercase(), value.trim().to_owned()))
        };
        let wrong = || Error::usage("a header must have the form \"NAME: VALUE\"").hint("give one -H for each header");
        let headers = lines.iter().map(|line| read(line).ok_or_else(wrong)).collect::<Result<_>>()?;
        Ok(Self(headers))
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The values of all headers with one of these names.
    fn all(&self, names: &[&str]) -> Vec<&str> {
        let found = self.0.iter().filter(|(known, _)| names.contains(&known.as_str()));
        found.map(|(_, value)| value.as_str()).collect()
    }

    fn require(&self, name: &str) -> Result<&str> {
        self.get(name).ok_or_else(|| {
            Error::new(ErrorKind::Other, format!("the signature is not valid: the header {name} is missing"))
                .hint(format!("give {LUCIQ_SIGNATURE}, or {WEBHOOK_ID}, {WEBHOOK_TIMESTAMP} and {WEBHOOK_SIGNATURE}"))
        })
    }
}
