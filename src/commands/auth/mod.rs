//! `auth`: sign in, see who is signed in where, sign out.

mod list;
mod login;
mod methods;
mod status;

pub use self::login::IN_SHORT_HELP as IN_SHORT_HELP_OF_LOGIN;

use clap::Subcommand;
use clap_complete::ArgValueCompleter;
use serde::Serialize;

use super::Report;
use super::dry_run::{self, DryRunArg};
use super::{app_cache, suggest};
use crate::auth::Vault;
use crate::config::{ConfigEditor, ConfigFile, environment};
use crate::context::Context;
use crate::domain::ProfileName;
use crate::error::{Error, Result};
use crate::render::{Cell, One, Row};

/// Sign in, see who is signed in, sign out
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: AuthCommand,
}

#[derive(Subcommand)]
enum AuthCommand {
    Login(login::Args),
    /// Show how you are signed in, to which API, and where the sign-in is stored; never the token
    ///
    /// Does not contact the server or renew the token: `whoami` does.
    Status,
    /// Print a valid access token, renewed if necessary
    Token,
    /// Remove the sign-in for the profile and installation in use
    Logout(LogoutArgs),
    /// List profiles and where each is signed in
    List,
    /// Switch to another profile
    Switch(SwitchArgs),
}

#[derive(clap::Args)]
struct LogoutArgs {
    #[command(flatten)]
    dry_run: DryRunArg,
}

#[derive(clap::Args)]
struct SwitchArgs {
    /// The profile
    #[arg(value_name = "NAME", add = ArgValueCompleter::new(suggest::profile_names))]
    name: ProfileName,
}

impl Args {
    /// Whether the command accepts a profile that does not exist yet.
    pub fn may_make_a_profile(&self) -> bool {
        // A sign-in can be removed after its profile was.
        !matches!(self.command, AuthCommand::Status | AuthCommand::Token)
    }
}

pub fn run(ctx: &Context, args: Args) -> Result<Report> {
    match args.command {
        AuthCommand::Login(args) => login::run(ctx, &args),
        AuthCommand::Status => status::run(ctx),
        AuthCommand::Token => token(ctx),
        AuthCommand::Logout(args) => logout(ctx, &args),
        AuthCommand::List => list::run(ctx),
        AuthCommand::Switch(args) => switch(ctx, &args.name),
    }
}

fn token(ctx: &Context) -> Result<Report> {
    let session = ctx.session()?;
    let token = match session.current() {
        Some(token) => token,
        None => ctx.wait(session.token())?.ok_or_else(|| Error::interrupted("while renewing the token"))??,
    };
    Ok(Report::of(One(TokenRow { access_token: token.expose().to_owned() })))
}

/// The token: as it is for people, named for programs. Not `Debug`.
#[derive(Serialize)]
struct TokenRow {
    access_token: String,
}

impl Row for TokenRow {
    const FIELDS: &'static [&'static str] = &["access_token"];
    const HEADERS: &'static [&'static str] = &["ACCESS TOKEN"];

    fn cells(&self) -> Vec<Cell> {
        vec![self.access_token.clone().into()]
    }

    fn id(&self) -> Option<String> {
        Some(self.access_token.clone())
    }
}

fn logout(ctx: &Context, args: &LogoutArgs) -> Result<Report> {
    let vault = ctx.vault()?;
    let (profile, origin) = (&ctx.settings().profile.value, ctx.origin());
    let slot = vault.slot(profile, origin);
    if args.dry_run.dry_run {
        let verb = if slot.path().exists() { "would be removed" } else { "does not exist" };
        ctx.out().note(&format!("the sign-in to {origin}{} {verb}", of_profile(profile)));
        return Ok(dry_run::report(Vec::new(), false));
    }
    app_cache::forget(ctx.settings());
    let had = slot.path().exists() && vault.remove(&vault.lock(&slot, Vault::LOCK_TIMEOUT)?, &slot)?;
    ctx.out().note(&if had {
        format!("signed out of {origin}{}", of_profile(profile))
    } else {
        format!("there was no sign-in to {origin}{}", of_profile(profile))
    });
    if let Some(name) = wins_over_what_is_kept(ctx) {
        ctx.out().warn(&format!("{name} is still set"));
    }
    Ok(Report::nothing())
}

fn switch(ctx: &Context, name: &ProfileName) -> Result<Report> {
    let config = ConfigFile::load()?;
    if !config.knows(name) {
        return Err(config.unknown(name, "auth switch"));
    }
    let mut editor = ConfigEditor::open()?;
    editor.switch(name);
    editor.save()?;
    ctx.out().note(&format!("switched to profile {name}"));
    for name in [environment::PROFILE, environment::API_URL] {
        if ctx.environment().has(name) {
            ctx.out().warn(&format!("{name} is set and overrides the profile"));
        }
    }
    Ok(Report::nothing())
}

/// The variable that overrides the stored sign-in.
fn wins_over_what_is_kept(ctx: &Context) -> Option<&'static str> {
    let env = ctx.environment();
    let service = [environment::CLIENT_SECRET, environment::CLIENT_SECRET_FILE, environment::PRIVATE_KEY_FILE];
    [environment::REFRESH_TOKEN, environment::API_TOKEN]
        .into_iter()
        .find(|name| env.has(name))
        .or_else(|| service.into_iter().find(|name| env.has(name) && env.has(environment::CLIENT_ID)))
}

/// The profile in a sentence, where it needs mention.
fn of_profile(profile: &ProfileName) -> String {
    if profile.is_default() { String::new() } else { format!(" with profile {profile}") }
}
