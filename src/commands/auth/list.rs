//! `auth list`: every profile, and where it is signed in.

use std::collections::BTreeSet;

use serde::Serialize;

use super::wins_over_what_is_kept;
use crate::auth::{CredentialLocation, Kind, Listed};
use crate::commands::Report;
use crate::config::ConfigFile;
use crate::context::Context;
use crate::domain::{ApiOrigin, ClientId, ProfileName};
use crate::error::Result;
use crate::render::{Cell, Row, Tone};

/// A profile at an installation.
#[derive(Serialize)]
struct ProfileRow {
    profile: ProfileName,
    active: bool,
    #[serde(rename = "api_url")]
    origin: ApiOrigin,
    signed_in: bool,
    kind: Option<Kind>,
    client_id: Option<ClientId>,
    kept_in: Option<CredentialLocation>,
}

impl Row for ProfileRow {
    const FIELDS: &'static [&'static str] =
        &["profile", "active", "api_url", "signed_in", "kind", "client_id", "kept_in"];
    const HEADERS: &'static [&'static str] = &["PROFILE", "ACTIVE", "API", "SIGNED IN", "KIND", "CLIENT", "KEPT IN"];

    fn cells(&self) -> Vec<Cell> {
        let signed_in = if self.signed_in { Cell::toned("yes", Tone::Good) } else { Cell::toned("no", Tone::Faint) };
        vec![
            self.profile.to_string().into(),
            if self.active { Cell::toned("yes", Tone::Good) } else { Cell::toned("no", Tone::Faint) },
            self.origin.to_string().into(),
            signed_in,
            Cell::maybe(self.kind.map(Kind::as_str)),
            Cell::maybe(self.client_id.as_ref()),
            Cell::maybe(self.kept_in.map(CredentialLocation::as_str)),
        ]
    }

    fn id(&self) -> Option<String> {
        Some(self.profile.to_string())
    }
}

pub(super) fn run(ctx: &Context) -> Result<Report> {
    let config = ConfigFile::load()?;
    let (listed, errors) = ctx.vault()?.list()?;
    let mut places: BTreeSet<(ProfileName, ApiOrigin)> = BTreeSet::new();
    for (name, profile) in &config.profiles {
        let origin = profile.api_url.clone().map_or_else(|| ApiOrigin::HOSTED.parse(), Ok)?;
        places.insert((name.clone(), origin));
    }
    places.extend(listed.iter().map(|listed| (listed.profile.clone(), listed.origin.clone())));
    let settings = ctx.settings();
    if config.knows(&settings.profile.value) {
        places.insert((settings.profile.value.clone(), settings.api.value.clone()));
    }
    let row = |(profile, origin): (ProfileName, ApiOrigin)| {
        let kept = listed.iter().find(|listed| listed.profile == profile && listed.origin == origin);
        ProfileRow {
            active: profile == settings.profile.value && origin == settings.api.value,
            signed_in: kept.is_some(),
            kind: kept.map(|kept| kept.kind),
            client_id: kept.and_then(|Listed { client_id, .. }| client_id.clone()),
            kept_in: kept.map(|kept| kept.place),
            profile,
            origin,
        }
    };
    if let Some(name) = wins_over_what_is_kept(ctx) {
        ctx.out().note(&format!("{name} is set and overrides the stored sign-in"));
    }
    Ok(Report::list(places.into_iter().map(row).collect(), errors))
}
