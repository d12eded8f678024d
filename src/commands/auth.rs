//! `auth`: sign in with a token, see who is signed in, sign out.

use std::io::{self, IsTerminal};

use clap::Subcommand;
use serde::Serialize;

use super::Report;
use super::dry_run::{self, DryRunArg};
use super::hook_args::read_stdin;
use crate::auth::{CredentialFile, TokenSource};
use crate::config::environment;
use crate::context::Context;
use crate::domain::{AccessToken, ApiOrigin};
use crate::error::{Error, Result};
use crate::render::{Cell, Records, Row, Tone};

/// Sign in, see who is signed in, sign out
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: AuthCommand,
}

#[derive(Subcommand)]
enum AuthCommand {
    /// Store an access token for the installation
    ///
    /// The token is read from standard input, or asked for on a terminal. It is kept in a file that only you can read.
    Login(LoginArgs),
    /// Say where the token comes from and which API it is for; never the token
    Status,
    /// Print the token
    Token,
    /// Forget the stored token
    Logout(LogoutArgs),
}

#[derive(clap::Args)]
struct LoginArgs {
    /// Read an OAuth 2 access token (the only way to sign in)
    #[arg(long, required = true)]
    with_token: bool,

    #[command(flatten)]
    dry_run: DryRunArg,
}

#[derive(clap::Args)]
struct LogoutArgs {
    #[command(flatten)]
    dry_run: DryRunArg,
}

pub fn run(ctx: &Context, args: Args) -> Result<Report> {
    match args.command {
        AuthCommand::Login(args) => login(ctx, &args),
        AuthCommand::Status => status(ctx),
        AuthCommand::Token => {
            let (token, _) = ctx.require_token()?;
            Ok(Report::text(format!("{}\n", token.expose())))
        }
        AuthCommand::Logout(args) => logout(ctx, &args),
    }
}

fn login(ctx: &Context, args: &LoginArgs) -> Result<Report> {
    // Whatever makes the installation unusable shows before anybody types a token.
    ctx.http_options()?;
    let file = CredentialFile::open()?;
    let token = AccessToken::parse(&read_token(ctx)?)?;
    let (origin, path) = (ctx.origin(), file.path());
    if args.dry_run.dry_run {
        ctx.out().note(&format!("the token for {origin} would be stored in {}", path.display()));
        return Ok(dry_run::report(Vec::new(), false));
    }
    file.store(&file.lock()?, origin, &token)?;
    ctx.out().note(&format!("signed in to {origin}; the token is kept in {}", path.display()));
    if ctx.environment().has(environment::API_TOKEN) {
        ctx.out().warn(&format!("{} is set and wins over the stored token", environment::API_TOKEN));
    }
    Ok(Report::nothing())
}

fn read_token(ctx: &Context) -> Result<String> {
    if !io::stdin().is_terminal() {
        return read_stdin("the token");
    }
    ctx.out().note(&format!("Paste an access token for {} (it is not shown):", ctx.origin()));
    rpassword::read_password()
        .map_err(|error| Error::usage(format!("the token could not be read from the terminal: {error}")).source(error))
}

fn logout(ctx: &Context, args: &LogoutArgs) -> Result<Report> {
    let file = CredentialFile::open()?;
    let origin = ctx.origin();
    if args.dry_run.dry_run {
        let stored = file.read(origin)?.is_some();
        let verb = if stored { "would be forgotten" } else { "is not stored" };
        ctx.out().note(&format!("the token for {origin} {verb}"));
        return Ok(dry_run::report(Vec::new(), false));
    }
    let had = file.read(origin)?.is_some() && file.remove(&file.lock()?, origin)?;
    ctx.out().note(&if had { format!("signed out of {origin}") } else { format!("no token for {origin} was stored") });
    if ctx.environment().has(environment::API_TOKEN) {
        ctx.out().warn(&format!("{} is still set", environment::API_TOKEN));
    }
    Ok(Report::nothing())
}

/// Who is signed in, without the token.
#[derive(Serialize)]
struct StatusRow {
    #[serde(rename = "api_url")]
    origin: ApiOrigin,
    signed_in: bool,
    token_source: Option<&'static str>,
    token_location: Option<String>,
}

impl Row for StatusRow {
    const FIELDS: &'static [&'static str] = &["api_url", "signed_in", "token_source", "token_location"];
    const HEADERS: &'static [&'static str] = &["API", "SIGNED IN", "SOURCE", "KEPT IN"];

    fn cells(&self) -> Vec<Cell> {
        let signed_in = if self.signed_in { Cell::toned("yes", Tone::Good) } else { Cell::toned("no", Tone::Bad) };
        let (source, location) = (Cell::maybe(self.token_source), Cell::maybe(self.token_location.as_ref()));
        vec![self.origin.to_string().into(), signed_in, source, location]
    }
}

fn status(ctx: &Context) -> Result<Report> {
    let source = ctx.token()?.map(|(_, source)| source);
    let (token_source, token_location) = match &source {
        Some(TokenSource::Environment(name)) => (Some("environment"), Some((*name).to_owned())),
        Some(TokenSource::File(path)) => (Some("file"), Some(path.display().to_string())),
        None => (None, None),
    };
    let row = StatusRow { origin: ctx.origin().clone(), signed_in: source.is_some(), token_source, token_location };
    let mut report = Report::of(Records::single(row));
    if source.is_none() {
        report.errors.extend(ctx.require_token().err());
    }
    Ok(report)
}
