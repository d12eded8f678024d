//! `auth status`: how this run is signed in.

use jiff::Timestamp;
use serde::Serialize;

use crate::auth::{Grant, Kind, StoredCredential, TokenSource};
use crate::commands::Report;
use crate::context::Context;
use crate::domain::{ApiOrigin, ClientId, ProfileName};
use crate::error::Result;
use crate::render::{Cell, Records, Row, Tone};

/// How this run is signed in, without any secret.
#[derive(Serialize)]
struct StatusRow {
    #[serde(rename = "api_url")]
    origin: ApiOrigin,
    profile: ProfileName,
    signed_in: bool,
    kind: Option<Kind>,
    client_id: Option<ClientId>,
    token_source: Option<&'static str>,
    token_location: Option<String>,
    expires_at: Option<Timestamp>,
    renewable: bool,
}

impl Row for StatusRow {
    const FIELDS: &'static [&'static str] = &[
        "api_url",
        "profile",
        "signed_in",
        "kind",
        "client_id",
        "token_source",
        "token_location",
        "expires_at",
        "renewable",
    ];
    const HEADERS: &'static [&'static str] =
        &["API", "PROFILE", "SIGNED IN", "KIND", "SOURCE", "KEPT IN", "TOKEN UNTIL", "RENEWED"];

    fn cells(&self) -> Vec<Cell> {
        let signed_in = if self.signed_in { Cell::toned("yes", Tone::Good) } else { Cell::toned("no", Tone::Bad) };
        vec![
            self.origin.to_string().into(),
            self.profile.to_string().into(),
            signed_in,
            Cell::maybe(self.kind.map(Kind::as_str)),
            Cell::maybe(self.token_source),
            Cell::maybe(self.token_location.as_ref()),
            Cell::maybe(self.expires_at),
            if self.renewable { "automatically".into() } else { "no".into() },
        ]
    }

    fn id(&self) -> Option<String> {
        Some(self.profile.to_string()).filter(|_| self.signed_in)
    }
}

pub(super) fn run(ctx: &Context) -> Result<Report> {
    let found = ctx.credential()?;
    let (token_source, token_location) = match found.as_ref().map(|found| &found.source) {
        Some(TokenSource::Environment(name)) => (Some("environment"), Some((*name).to_owned())),
        Some(TokenSource::File(path)) => (Some("file"), Some(path.display().to_string())),
        Some(TokenSource::Keyring(name)) => (Some("keyring"), Some(name.clone())),
        None => (None, None),
    };
    let credential = found.as_ref().map(|StoredCredential { credential, .. }| credential);
    let row = StatusRow {
        origin: ctx.origin().clone(),
        profile: ctx.settings().profile.value.clone(),
        signed_in: found.is_some(),
        kind: found.as_ref().map(|found| found.kind),
        client_id: credential.and_then(|credential| credential.grant.client_id().cloned()),
        token_source,
        token_location,
        expires_at: credential.and_then(|credential| credential.token.as_ref()?.expires_at),
        renewable: credential.is_some_and(|credential| credential.grant != Grant::None),
    };
    let mut report = Report::of(Records::single(row));
    if found.is_none() {
        report.errors.extend(ctx.require_credential().err());
    }
    Ok(report)
}
