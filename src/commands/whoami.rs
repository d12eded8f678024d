//! `whoami`: the account that the token belongs to.

use serde::Serialize;
use serde_json::Value;

use super::Report;
use crate::api::{Account, Team};
use crate::context::Context;
use crate::domain::{ApiOrigin, ProfileName};
use crate::error::{Error, Result};
use crate::render::{Cell, Records, Row};

/// Show whose account is signed in, as the server knows it
#[derive(clap::Args)]
pub struct Args {}

#[derive(Serialize)]
struct AccountRow {
    id: Value,
    name: Option<String>,
    email: Option<String>,
    teams: Vec<Team>,
    #[serde(rename = "api_url")]
    origin: ApiOrigin,
    profile: ProfileName,
}

impl Row for AccountRow {
    const FIELDS: &'static [&'static str] = &["id", "name", "email", "teams", "api_url", "profile"];
    const HEADERS: &'static [&'static str] = &["ID", "NAME", "EMAIL", "TEAMS", "API", "PROFILE"];

    fn cells(&self) -> Vec<Cell> {
        let teams: Vec<&str> = self.teams.iter().filter_map(|team| team.name.as_deref()).collect();
        vec![
            Cell::maybe(self.id()),
            Cell::maybe(self.name.as_ref()),
            Cell::maybe(self.email.as_ref()),
            Cell::maybe(Some(teams.join(", ")).filter(|teams| !teams.is_empty())),
            self.origin.to_string().into(),
            self.profile.to_string().into(),
        ]
    }

    fn id(&self) -> Option<String> {
        match &self.id {
            Value::Null => None,
            Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        }
    }
}

pub fn run(ctx: &Context, _args: &Args) -> Result<Report> {
    let api = ctx.api()?;
    let answer = ctx.wait(api.me())?.ok_or_else(|| Error::interrupted("while asking who is signed in"))?;
    let Account { id, name, email, teams } = answer.map_err(|failure| failure.error)?;
    let (origin, profile) = (ctx.origin().clone(), ctx.settings().profile.value.clone());
    Ok(Report::of(Records::single(AccountRow { id, name, email, teams, origin, profile })))
}
