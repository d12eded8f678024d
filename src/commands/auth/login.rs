//! `auth login`: signing in, and storing the credential.

use std::io;

use tokio::task::spawn_blocking;

use super::methods::{self, SignInArgs, SignedIn};
use super::{of_profile, wins_over_what_is_kept};
use crate::auth::{Credential, CredentialLocation, Slot, Vault};
use crate::commands::dry_run::{self, DryRunArg};
use crate::commands::{Report, app_cache};
use crate::config::{ConfigEditor, ConfigFile, CredentialStore, Key, Overrides, Settings, Source};
use crate::context::Context;
use crate::error::{Error, ErrorKind, Result};

/// Sign in to the installation, with a service account, in a browser, or with a token
///
/// The sign-in is stored in the platform's keyring if one is available, else in a file that only you can read; see
/// --credential-store. Tokens are renewed automatically, except for an access token given without a refresh token.
/// With --profile NAME the sign-in belongs to that profile, which is created if necessary.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    sign_in: SignInArgs,

    #[command(flatten)]
    dry_run: DryRunArg,
}

const EXAMPLES: &str = "\
Examples:
  bugfender-hooks auth login --client-id ID                    # asks for the client secret
  bugfender-hooks auth login --client-id ID --client-secret-file secret.txt
  bugfender-hooks auth login --client-id ID --private-key key.pem
  bugfender-hooks auth login --web --client-id ID
  bugfender-hooks auth login --with-token < token.txt

CI needs no login: set BUGFENDER_CLIENT_ID and BUGFENDER_CLIENT_SECRET.";

/// What most people need.
pub const IN_SHORT_HELP: &[(&str, &str)] = &[
    ("client_id", "Sign in as this client"),
    ("client_secret_file", "Read the client secret from this file"),
    ("private_key", "Sign in with the private key in this file"),
    ("web", "Sign in in a browser"),
    ("no_browser", "With --web, print the address for a browser"),
    ("with_token", "Read an access token from standard input"),
    ("dry_run", "Show the requests; send and store nothing"),
];

pub(super) fn run(ctx: &Context, args: &Args) -> Result<Report> {
    // An unusable installation is reported before the user types a secret.
    ctx.http_options()?;
    let method = methods::choose(ctx, &args.sign_in)?;
    let vault = ctx.vault()?;
    let slot = vault.slot(&ctx.settings().profile.value, ctx.origin());
    if args.dry_run.dry_run {
        let requests = methods::requests(ctx, &args.sign_in, &method)?;
        let profile = &ctx.settings().profile.value;
        ctx.out().note(&format!("the sign-in to {}{} would be stored", ctx.origin(), of_profile(profile)));
        return Ok(dry_run::report(requests, false));
    }
    // A required keyring that is unavailable is reported before signing in.
    let (place, why_no_keyring) = vault.choose(&slot, ctx.settings().credential_store.value)?;
    let SignedIn { credential, page } = methods::sign_in(ctx, &args.sign_in, method)?;
    if let Some(reason) = why_no_keyring {
        tracing::info!("no keyring: {reason}");
        ctx.out().note("no keyring is available; using a file that only you can read");
    }
    let kept = keep(ctx, &vault, &slot, place, &credential);
    if let Some(page) = page {
        methods::show(ctx, page, kept.is_ok());
    }
    let place = kept?;
    app_cache::forget(ctx.settings());
    record_profile(ctx)?;
    tell(ctx, &vault, &slot, place, &credential, args.sign_in.with_token);
    Ok(Report::nothing())
}

/// Stores the sign-in, and returns where.
fn keep(
    ctx: &Context,
    vault: &Vault,
    slot: &Slot,
    place: CredentialLocation,
    credential: &Credential,
) -> Result<CredentialLocation> {
    match keep_in(ctx, vault, slot, place, credential) {
        Ok(()) => Ok(place),
        Err(error)
            if place == CredentialLocation::Keyring
                && error.kind() == ErrorKind::Store
                && ctx.settings().credential_store.value == CredentialStore::Auto =>
        {
            ctx.out().note(&format!("{error}; using a file that only you can read"));
            keep_in(ctx, vault, slot, CredentialLocation::File, credential).map(|()| CredentialLocation::File)
        }
        Err(error) => Err(error),
    }
}

/// In a thread of its own, so that Ctrl-C ends the waiting for a lock or a keyring.
fn keep_in(
    ctx: &Context,
    vault: &Vault,
    slot: &Slot,
    place: CredentialLocation,
    credential: &Credential,
) -> Result<()> {
    let (vault, slot, credential) = (vault.clone(), slot.clone(), credential.clone());
    let keep = move || -> Result<()> {
        // A renewal of the sign-in before this one may be in flight: it must not overwrite what is written now.
        let lock = vault.lock(&slot, Vault::LOCK_TIMEOUT)?;
        vault.keep(&lock, &slot, place, &credential)
    };
    let kept = ctx.wait(async { spawn_blocking(keep).await })?;
    kept.ok_or_else(|| Error::interrupted("before the sign-in was stored"))?.map_err(io::Error::other)?
}

/// Makes the profile that was named, with the installation that was named for it.
fn record_profile(ctx: &Context) -> Result<()> {
    let settings = ctx.settings();
    let profile = &settings.profile.value;
    if profile.is_default() {
        return Ok(());
    }
    let config = ConfigFile::load()?;
    let known = config.profiles.get(profile);
    let given = matches!(settings.api.source, Source::Flag(_) | Source::Environment(_));
    let lacks_api = given && known.is_none_or(|known| known.api_url.is_none());
    if known.is_some() && !lacks_api {
        return Ok(());
    }
    let mut editor = ConfigEditor::open()?;
    editor.add(profile)?;
    if lacks_api {
        editor.set(profile, Key::ApiUrl, ctx.origin().as_str(), &std::env::current_dir()?)?;
    }
    editor.save()?;
    if known.is_none() {
        ctx.out().note(&format!("created profile {profile} in {}", editor.path().display()));
    }
    if lacks_api {
        ctx.out().note(&format!("profile {profile} is for {} from now on", ctx.origin()));
    }
    Ok(())
}

/// What commands would use without the flags of this one.
fn without_flags(ctx: &Context) -> Result<Settings> {
    Settings::resolve(&Overrides::default(), ctx.environment(), &ConfigFile::load()?)
}

fn tell(ctx: &Context, vault: &Vault, slot: &Slot, place: CredentialLocation, credential: &Credential, untried: bool) {
    let settings = ctx.settings();
    let profile = &settings.profile.value;
    let place = match place {
        CredentialLocation::File => slot.path().display().to_string(),
        CredentialLocation::Keyring => format!("the keyring, as {}", vault.keyring_name(slot)),
    };
    let what = match &credential.grant {
        crate::auth::Grant::None => "the token",
        _ => "the sign-in",
    };
    ctx.out().note(&format!("signed in to {}{}; {what} is stored in {place}", ctx.origin(), of_profile(profile)));
    if untried {
        ctx.out().note("the token was not checked: `bugfender-hooks whoami` does that");
    }
    match without_flags(ctx) {
        Ok(usual) if usual.profile.value != *profile => ctx.out().note(&format!(
            "commands use profile {} unless --profile {profile} is given; `bugfender-hooks auth switch {profile}` changes that",
            usual.profile.value
        )),
        Ok(usual) if usual.api.value != *ctx.origin() => ctx.out().note(&format!(
            "commands use {} unless --api-url is given; `bugfender-hooks config set api_url {}` changes that",
            usual.api.value,
            ctx.origin()
        )),
        _ => {}
    }
    if let Some(name) = wins_over_what_is_kept(ctx) {
        ctx.out().warn(&format!("{name} is set and overrides the stored sign-in"));
    }
}
