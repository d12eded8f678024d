//! The root parser, the global flags, the command enum's home.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Arg, ArgAction, CommandFactory, FromArgMatches, Parser, ValueHint};
use clap_complete::ArgValueCompleter;

use crate::commands::{self, Command};
use crate::config::{CredentialStore, Overrides};
use crate::domain::jq::JqFilter;
use crate::domain::{ProfileName, command_page, first_page};
use crate::error::Result;
use crate::render::{ColorChoice, OutputFormat, OutputOptions};

/// Manage Bugfender webhook subscriptions safely from a terminal or a CI job
///
/// Try everything without an account: bugfender-hooks demo
#[derive(Parser)]
#[command(name = "bugfender-hooks", version, propagate_version = true, max_term_width = 100)]
pub struct Cli {
    // A comment, not documentation, on these two: clap would put it into the help text.
    #[allow(missing_docs)]
    #[command(flatten)]
    pub global: GlobalArgs,

    #[allow(missing_docs)]
    #[command(subcommand)]
    pub command: Command,
}

impl Cli {
    /// The definition of the command line. `-h` fits a screen: global flags and the names of help topics are in `--help` only.
    fn definition() -> clap::Command {
        let in_help_only = |arg: Arg| if arg.is_global_set() { arg.hide_short_help(true) } else { arg };
        let topics = format!("{TOPICS}\nDocumentation: {}", first_page());
        let screen = |command: clap::Command| {
            let name = command.get_name().to_owned();
            let is_topic = TOPICS.contains(&format!("help {name}"));
            on_a_screen(command.hide(is_topic), &name)
        };
        Self::command().after_long_help(topics).mut_args(in_help_only).mut_subcommands(screen)
    }

    /// Parses a command line, program name first.
    ///
    /// # Errors
    /// What is wrong with it, or the help or version that it asks for.
    pub fn read(args: &[OsString], color: clap::ColorChoice) -> Result<Self, clap::Error> {
        Self::from_arg_matches_mut(&mut Self::definition().color(color).try_get_matches_from(args)?)
    }
}

/// The examples stand above the options, of which there may be many. What comes before the help elsewhere ends it here:
/// the page of the command, which only `--help` has.
const TEMPLATE: &str = "{about-with-newline}\n{usage-heading} {usage}{after-help}\n\n{all-args}\n\n{before-help}";

/// A command, typed like this, whose `-h` fits a screen, as do those of its subcommands.
fn on_a_screen(command: clap::Command, typed: &str) -> clap::Command {
    let below = |command: clap::Command| {
        let typed = format!("{typed} {}", command.get_name());
        on_a_screen(command, &typed)
    };
    let page = format!("Documentation: {}", command_page(typed));
    let command = command.help_template(TEMPLATE).before_long_help(page).mut_subcommands(below);
    match commands::in_short_help(command.get_name()) {
        Some(shown) => command.mut_args(|arg| {
            let found = shown.iter().find(|(id, _)| *id == arg.get_id().as_str());
            let whole = arg.get_long_help().or_else(|| arg.get_help()).cloned();
            match (found, whole) {
                (Some((_, short)), Some(whole)) => arg.help(*short).long_help(whole),
                _ => arg.hide_short_help(true),
            }
        }),
        None => command,
    }
}

const TOPICS: &str = "Help topics: help exit-codes, help environment";

/// Flags that every command takes.
// These comments are help texts for a terminal, not Markdown.
#[allow(clippy::doc_markdown, rustdoc::bare_urls)]
#[derive(clap::Args)]
#[command(next_help_heading = "Global options")]
pub struct GlobalArgs {
    /// Use this profile of the configuration [env: BUGFENDER_HOOKS_PROFILE] [default: what auth switch chose]
    #[arg(long, value_name = "NAME", global = true, add = ArgValueCompleter::new(crate::commands::profile_names))]
    pub profile: Option<ProfileName>,

    /// Use this Bugfender installation [env: BUGFENDER_API_URL] [default: the hosted service]
    #[arg(long, value_name = "URL", global = true)]
    pub api_url: Option<String>,

    /// Keep registry and inbox here: sqlite:PATH, postgres://USER@HOST/DATABASE, or @FILE with such a URL [env: BUGFENDER_HOOKS_STORE] [default: in the data directory]
    #[arg(long, value_name = "URL", global = true)]
    pub store: Option<String>,

    /// Fail if there is no registry or inbox where one would be made [env: BUGFENDER_HOOKS_REQUIRE_STORE=1]
    #[arg(long, global = true)]
    pub require_store: bool,

    /// Trust the certificate authorities of this PEM file, and no others [default: the system's]
    #[arg(long, value_name = "FILE", global = true, value_hint = ValueHint::FilePath)]
    pub ca_file: Option<PathBuf>,

    /// Store the sign-in in the platform's keyring, in a file, or in whichever is available [default: auto]
    #[arg(long, value_name = "STORE", global = true,
          value_parser = PossibleValuesParser::new(CredentialStore::NAMES).try_map(|name| name.parse::<CredentialStore>()))]
    pub credential_store: Option<CredentialStore>,

    /// Write results in this format
    #[arg(short, long, value_name = "FORMAT", global = true, default_value = "table", hide_default_value = true,
          value_parser = PossibleValuesParser::new(OutputFormat::NAMES).try_map(|name| name.parse::<OutputFormat>()))]
    pub output: OutputFormat,

    /// Filter the JSON of the result by a jq expression (with ndjson: each record)
    #[arg(long, value_name = "EXPR", global = true)]
    pub jq: Option<String>,

    /// Print ids only, and no notes
    #[arg(short, long, global = true, conflicts_with = "jq")]
    pub quiet: bool,

    /// Log more to standard error: -v what is done, -vv every request, -vvv every connection and the causes of errors
    #[arg(short, long, action = ArgAction::Count, global = true)]
    pub verbose: u8,

    /// Use colour
    #[arg(long, value_name = "WHEN", global = true, default_value = "auto", hide_default_value = true,
          value_parser = PossibleValuesParser::new(ColorChoice::NAMES).try_map(|name| name.parse::<ColorChoice>()))]
    pub color: ColorChoice,

    /// Limit the time of a request, retries included [default: 30 for each attempt]
    #[arg(long, value_name = "SECONDS", global = true, value_parser = crate::commands::seconds)]
    pub timeout: Option<Duration>,

    /// Allow plain http to other machines, where the token can be read in transit
    #[arg(long, global = true)]
    pub allow_http: bool,
}

impl GlobalArgs {
    /// What the flags say about settings.
    pub fn overrides(&self) -> Overrides {
        Overrides {
            profile: self.profile.clone(),
            api_url: self.api_url.clone(),
            store: self.store.clone(),
            require_store: self.require_store,
            ca_file: self.ca_file.clone(),
            credential_store: self.credential_store,
            timeout: self.timeout,
            allow_http: self.allow_http,
        }
    }

    /// What the flags say about output.
    ///
    /// # Errors
    /// A usage error for a `--jq` expression that does not compile, before anything is done.
    pub fn output_options(&self) -> Result<OutputOptions> {
        if self.jq.is_some() && matches!(self.output, OutputFormat::Csv | OutputFormat::Markdown) {
            return Err(crate::error::Error::usage(
                "--jq works on JSON: it can't be used with --output csv or markdown",
            ));
        }
        let jq = self.jq.as_deref().map(JqFilter::for_output).transpose()?;
        let causes = self.verbose >= 3;
        Ok(OutputOptions { format: self.output, jq, quiet: self.quiet, color: self.color, causes, log: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definitions_hold_together() {
        Cli::command().debug_assert();
    }
}
