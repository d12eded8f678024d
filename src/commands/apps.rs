//! `apps`: the applications that the account sees.

use serde::Serialize;

use super::{Report, app_cache};
use crate::api::{App, Apps};
use crate::context::Context;
use crate::domain::AppId;
use crate::error::{Error, Result};
use crate::render::{Cell, Row};

/// List the apps that the account can access, sorted by name
#[derive(clap::Args)]
pub struct Args {}

#[derive(Serialize)]
struct AppRow {
    id: AppId,
    key: Option<String>,
    name: Option<String>,
    public_id: Option<String>,
}

impl Row for AppRow {
    const FIELDS: &'static [&'static str] = &["id", "key", "name", "public_id"];
    const HEADERS: &'static [&'static str] = &["ID", "KEY", "NAME", "PUBLIC ID"];

    fn cells(&self) -> Vec<Cell> {
        let Self { id, key, name, public_id } = self;
        let optional = [key, name, public_id].map(|text| Cell::maybe(text.as_ref()));
        std::iter::once(id.to_string().into()).chain(optional).collect()
    }

    fn id(&self) -> Option<String> {
        Some(self.id.to_string())
    }
}

pub fn run(ctx: &Context, _args: &Args) -> Result<Report> {
    let api = ctx.api()?;
    let answer = ctx.wait(api.apps())?.ok_or_else(|| Error::interrupted("while asking for the apps"))?;
    let Apps { mut apps, skipped } = answer.map_err(|failure| failure.error)?;
    app_cache::remember(ctx.settings(), &apps);
    apps.sort_by(|one, other| (&one.name, one.id).cmp(&(&other.name, other.id)));
    if skipped > 0 {
        ctx.out().warn(&format!("{skipped} apps were left out, as their ids are not usable"));
    }
    if apps.is_empty() && ctx.out().is_for_people() {
        ctx.out().note(&format!("the account sees no apps at {}", ctx.origin()));
    }
    let row = |App { id, key, name, public_id }: App| AppRow { id, key, name, public_id };
    Ok(Report::list(apps.into_iter().map(row).collect(), Vec::new()))
}
