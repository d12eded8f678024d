//! `config`: the configuration file.

use clap::Subcommand;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use serde::Serialize;

use super::Report;
use super::hook_args::TargetUrlArg;
use crate::config::{ConfigEditor, ConfigFile, Key, StoreUrl, directories};
use crate::context::Context;
use crate::domain::ProfileName;
use crate::error::{Error, ErrorKind, Result};
use crate::http::Roots;
use crate::render::{Cell, One, Row};

/// Show and change the configuration file and its profiles
///
/// A profile has these keys, each of which a flag or environment variable overrides:
///   api_url           the Bugfender installation
///   store             the registry, as sqlite:PATH, or postgres://USER@HOST/DATABASE
///   ca_file           a PEM file with the certificate authorities of the installation
///   credential_store  where auth login keeps what it is given: auto, keyring or file
///   app_id            the app of subscribe and import when they name none
///   target_url        the endpoint of subscribe and import when they name none
// The layout of the help is kept; it is not Markdown.
#[allow(clippy::doc_markdown)]
#[derive(clap::Args)]
#[command(verbatim_doc_comment, after_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    command: ConfigCommand,
}

const EXAMPLES: &str = "\
Examples:
  bugfender-hooks config set api_url https://bugfender.example.com
  bugfender-hooks config set --profile work app_id 1001
  bugfender-hooks config show";

#[derive(Subcommand)]
enum ConfigCommand {
    /// Print where the configuration file is
    Path,
    /// Show what the configuration file says; passwords are hidden
    Show,
    /// Print the value of a key of the profile in use; a password in it is hidden
    Get {
        /// The key
        #[arg(value_parser = key_parser())]
        key: Key,
    },
    /// Set a key of the profile in use, or of the one that --profile names
    Set {
        /// The key
        #[arg(value_parser = key_parser())]
        key: Key,

        /// The value; for the target URL also "-" for standard input, or @FILE; for the store also @FILE
        #[arg(allow_hyphen_values = true)]
        value: String,
    },
    /// Remove a key from the profile in use, or from the one that --profile names
    Unset {
        /// The key
        #[arg(value_parser = key_parser())]
        key: Key,
    },
}

fn key_parser() -> impl TypedValueParser<Value = Key> {
    PossibleValuesParser::new(Key::ALL.map(Key::as_str)).try_map(|name| name.parse::<Key>())
}

impl Args {
    /// Whether it works with an invalid file, as it is needed to repair one.
    pub fn needs_no_settings(&self) -> bool {
        matches!(self.command, ConfigCommand::Path)
    }
}

/// Where the file is.
#[derive(Serialize)]
struct PathRow {
    path: String,
}

impl Row for PathRow {
    const FIELDS: &'static [&'static str] = &["path"];
    const HEADERS: &'static [&'static str] = &["PATH"];

    fn cells(&self) -> Vec<Cell> {
        vec![self.path.clone().into()]
    }

    fn id(&self) -> Option<String> {
        Some(self.path.clone())
    }
}

/// A line of the configuration.
#[derive(Serialize)]
struct KeyRow {
    profile: ProfileName,
    active: bool,
    key: Option<&'static str>,
    value: Option<String>,
}

impl Row for KeyRow {
    const FIELDS: &'static [&'static str] = &["profile", "active", "key", "value"];
    const HEADERS: &'static [&'static str] = &["PROFILE", "ACTIVE", "KEY", "VALUE"];

    fn cells(&self) -> Vec<Cell> {
        let active = if self.active { "yes" } else { "no" };
        vec![self.profile.to_string().into(), active.into(), Cell::maybe(self.key), Cell::maybe(self.value.as_ref())]
    }

    fn id(&self) -> Option<String> {
        self.value.clone()
    }
}

pub fn run(ctx: &Context, args: Args) -> Result<Report> {
    let profile = &ctx.settings().profile.value;
    match args.command {
        ConfigCommand::Path => {
            let path = directories::needed_config_file()?;
            Ok(Report::of(One(PathRow { path: path.display().to_string() })))
        }
        ConfigCommand::Show => show(ctx),
        ConfigCommand::Get { key } => get(ctx, key),
        ConfigCommand::Set { key, value } => {
            let value = match key {
                Key::TargetUrl => TargetUrlArg::from(value).resolve(ctx)?.expose().to_owned(),
                Key::Store => StoreUrl::of_command_line(&value)?.exposed(),
                _ => value,
            };
            let is_new = !ConfigFile::load()?.knows(profile);
            let mut editor = ConfigEditor::open()?;
            editor.set(profile, key, &value, &std::env::current_dir()?)?;
            editor.save()?;
            if key == Key::CaFile
                && let Err(error) = Roots::File(std::path::absolute(&value)?).check()
            {
                ctx.out().warn(&error.to_string());
            }
            if is_new {
                ctx.out().note(&format!("created profile {profile}"));
            }
            ctx.out().note(&format!("set {} of profile {profile} in {}", key.as_str(), editor.path().display()));
            Ok(Report::nothing())
        }
        ConfigCommand::Unset { key } => {
            let mut editor = ConfigEditor::open()?;
            if editor.unset(profile, key) {
                editor.save()?;
                ctx.out().note(&format!("removed {} from profile {profile}", key.as_str()));
            } else {
                ctx.out().note(&format!("profile {profile} does not set {}", key.as_str()));
            }
            Ok(Report::nothing())
        }
    }
}

fn get(ctx: &Context, key: Key) -> Result<Report> {
    let config = ConfigFile::load()?;
    let profile = &ctx.settings().profile;
    if !config.knows(&profile.value) {
        return Err(config.unknown(&profile.value, profile.source));
    }
    let said = config.profiles.get(&profile.value).and_then(|said| said.shown(key));
    let value = said.ok_or_else(|| {
        let (key, name) = (key.as_str(), &profile.value);
        Error::new(ErrorKind::NotFound, format!("profile {name} does not set {key}"))
            .hint(format!("set it with: bugfender-hooks config set --profile {name} {key} VALUE"))
    })?;
    let (profile, key) = (profile.value.clone(), Some(key.as_str()));
    Ok(Report::of(One(KeyRow { profile, active: true, key, value: Some(value) })))
}

fn show(ctx: &Context) -> Result<Report> {
    let config = ConfigFile::load()?;
    let active = &ctx.settings().profile.value;
    let mut rows = Vec::new();
    for (name, profile) in &config.profiles {
        let row = |key, value| KeyRow { profile: name.clone(), active: name == active, key, value };
        let before = rows.len();
        rows.extend(Key::ALL.into_iter().filter_map(|key| Some(row(Some(key.as_str()), Some(profile.shown(key)?)))));
        if rows.len() == before {
            rows.push(row(None, None));
        }
    }
    if rows.is_empty() && ctx.out().is_for_people() {
        ctx.out().note("nothing is configured yet: use `bugfender-hooks config set KEY VALUE`");
    }
    Ok(Report::list(rows, Vec::new()))
}
