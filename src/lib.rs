//! The library behind the `bugfender-hooks` command: parse → resolve → dispatch → report.
//!
//! It is no API: it is there for the command and its tests, and changes with any version. What versions promise is what
//! the command shows: flags, exit codes, JSON keys, metrics, and stores that newer versions open.
//!
//! | module | what is there |
//! |---|---|
//! | [`cli`], [`commands`] | the command line: a file a command, and no command imports another |
//! | [`context`] | what flags, environment and files resolve to |
//! | [`hooks`] | the engines of subscribing and removing, without a command line |
//! | [`manifest`] | hooks as code: the file that names the hooks of a team, and the plan of what has to change |
//! | [`poll`] | catching up through the API with what no webhook brought |
//! | [`receiver`] | the endpoint that stores what it receives before it answers, and forwards it |
//! | [`ui`] | the page: events, targets and hooks in a browser |
//! | [`sandbox`], [`samples`] | a local stand-in for Bugfender; sample events of both senders |
//! | [`api`], [`auth`], [`http`] | the Bugfender API; signing in; HTTP with retries that never repeat what may have been done |
//! | [`store`] | the registry and the inbox |
//! | [`config`] | settings with their sources |
//! | [`render`] | every character that is shown |
//! | [`domain`], [`error`], [`platform`] | types and rules; the table of exit codes; what differs between systems |
//!
//! Imports point down this table, and files beside one another import in no circle; `tests/it/layout` holds it.

pub mod api;
pub mod auth;
pub mod cli;
pub mod commands;
pub mod config;
pub mod context;
pub mod domain;
pub mod error;
pub mod hooks;
pub mod http;
pub mod manifest;
pub mod platform;
pub mod poll;
pub mod receiver;
pub mod render;
pub mod samples;
pub mod sandbox;
pub mod store;
pub mod ui;

use std::ffi::OsString;
use std::io;

use clap::error::{ContextKind, ContextValue};
use clap::{ColorChoice, CommandFactory};
use clap_complete::CompleteEnv;
use tracing::Dispatch;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;

use crate::cli::Cli;
use crate::config::{ConfigFile, Environment, Overrides, Settings, environment};
use crate::context::Context;
use crate::error::{Error, ErrorKind};
use crate::render::{Log, LogFormat, LogTime, Output, OutputFormat, OutputOptions, sanitize};

/// Runs the command line `args`, program name first, and returns the exit code. Can be called again.
pub fn run(args: impl IntoIterator<Item = OsString>) -> u8 {
    let args: Vec<OsString> = args.into_iter().collect();
    if let Some(code) = complete(&args) {
        return code;
    }
    // Help and complaints about the command line are written before there is a setting.
    let color = match word_after(&args, "--color") {
        Some("always") => ColorChoice::Always,
        Some("never") => ColorChoice::Never,
        _ => ColorChoice::Auto,
    };
    match Cli::read(&args, color) {
        Ok(cli) => run_command(cli),
        Err(error) => explain(error, &args),
    }
}

/// The value of the last occurrence of a flag, in a command line that may not parse.
fn word_after<'a>(args: &'a [OsString], flag: &str) -> Option<&'a str> {
    let word = |index: usize| args.get(index).and_then(|arg| arg.to_str());
    let value = |index: usize| match word(index)?.strip_prefix(flag)? {
        "" => word(index + 1),
        // As in `-ojson`.
        rest if !flag.starts_with("--") => Some(rest.trim_start_matches('=')),
        rest => rest.strip_prefix('='),
    };
    (1..args.len()).rev().find_map(value)
}

/// Answers a shell that asks for completions.
fn complete(args: &[OsString]) -> Option<u8> {
    if !environment::asks_for_completions() {
        return None;
    }
    let completion = CompleteEnv::with_factory(Cli::command).var(environment::COMPLETE);
    let directory = std::env::current_dir().ok();
    match completion.try_complete(args.iter().cloned(), directory.as_deref()) {
        Ok(true) => Some(0),
        Ok(false) => None,
        Err(error) => {
            let _ = error.print();
            Some(ErrorKind::Usage.exit_code().code)
        }
    }
}

fn run_command(cli: Cli) -> u8 {
    let plain = OutputOptions { format: cli.global.output, color: cli.global.color, ..OutputOptions::default() };
    let options = match cli.global.output_options() {
        Ok(options) => options,
        Err(error) => return end(&Output::of_process(plain), None, &[error]),
    };
    // Until the last line is written.
    let (log, _guard) = cli.command.log_format().map(Log::start).unzip();
    let output = Output::of_process(OutputOptions { log: log.clone(), ..options });
    let subscriber = subscriber(&cli, log.as_ref(), output.color_err());
    tracing::dispatcher::with_default(&subscriber, || {
        let environment = Environment::of_process();
        match settings_or_trouble(&cli, &environment) {
            Ok((settings, trouble)) => dispatch(&Context::new(settings, environment, output, trouble), cli.command),
            Err(error) => end(&output, None, &[error]),
        }
    })
}

/// What writes the log.
fn subscriber(cli: &Cli, log: Option<&Log>, color: bool) -> Dispatch {
    let (ours, others) = log_levels(cli.global.verbose, cli.global.quiet);
    let targets = Targets::new().with_default(others).with_target(env!("CARGO_CRATE_NAME"), ours);
    // A log that cannot be written, on a full disk perhaps, must not end what it is about: this would panic.
    let format = tracing_subscriber::fmt().with_max_level(ours).with_ansi(color).log_internal_errors(false);
    match log {
        None => format.with_writer(io::stderr).without_time().finish().with(targets).into(),
        Some(log) => {
            let format = format.with_writer(log.writer()).with_timer(LogTime);
            match log.format() {
                LogFormat::Text => format.finish().with(targets).into(),
                LogFormat::Json => format.json().finish().with(targets).into(),
            }
        }
    }
}

/// The settings of a command. One that tolerates a bad configuration runs without it, and gets the error.
fn settings_or_trouble(cli: &Cli, environment: &Environment) -> Result<(Settings, Option<Error>), Error> {
    match settings(cli, environment) {
        Ok(settings) => Ok((settings, None)),
        Err(error) if cli.command.tolerates_bad_config() => {
            let settings = Settings::resolve(&cli.global.overrides(), environment, &ConfigFile::default())?;
            Ok((settings, Some(error)))
        }
        Err(error) => Err(error),
    }
}

fn dispatch(context: &Context, command: commands::Command) -> u8 {
    match commands::dispatch(context, command, Cli::command) {
        Ok(report) => {
            let mut errors: Vec<Error> = report.errors.into_iter().map(|error| advised(context, error)).collect();
            // Results first; a filter or pipe that fails over them must not hide what failed before.
            errors.extend(report.view.and_then(|view| view.show(context.out()).err()));
            end(context.out(), report.exit_code, &errors)
        }
        Err(error) => end(context.out(), None, &[advised(context, error)]),
    }
}

/// An error about a sign-in, with what the environment has to do with it.
fn advised(context: &Context, error: Error) -> Error {
    match auth::advice(context.environment()) {
        Some(advice) if error.kind() == ErrorKind::NotSignedIn => error.hint(advice),
        _ => error,
    }
}

/// The settings of a command, from flags, environment and configuration.
fn settings(cli: &Cli, environment: &Environment) -> Result<Settings, Error> {
    if cli.command.needs_no_settings() {
        return Settings::resolve(&Overrides::default(), &Environment::default(), &ConfigFile::default());
    }
    let config = ConfigFile::load()?;
    let settings = Settings::resolve(&cli.global.overrides(), environment, &config)?;
    if !cli.command.may_make_a_profile() && !config.knows(&settings.profile.value) {
        return Err(config.unknown(&settings.profile.value, settings.profile.source));
    }
    Ok(settings)
}

/// What is logged of this tool, and of the libraries that it uses.
fn log_levels(verbose: u8, quiet: bool) -> (LevelFilter, LevelFilter) {
    match (verbose, quiet) {
        (0, true) => (LevelFilter::ERROR, LevelFilter::ERROR),
        (0, false) => (LevelFilter::WARN, LevelFilter::WARN),
        (1, _) => (LevelFilter::INFO, LevelFilter::INFO),
        (2, _) => (LevelFilter::DEBUG, LevelFilter::INFO),
        _ => (LevelFilter::DEBUG, LevelFilter::DEBUG),
    }
}

/// Shows the errors and gives the exit code: that of the first error. A closed pipe is none.
fn end(output: &Output, exit_code: Option<u8>, errors: &[Error]) -> u8 {
    let errors: Vec<&Error> = errors.iter().filter(|error| !error.is_closed_pipe()).collect();
    output.fail(&errors);
    errors.first().map_or(exit_code.unwrap_or(0), |error| error.kind().exit_code().code)
}

/// Shows help, version, or what is wrong with the command line.
fn explain(mut error: clap::Error, args: &[OsString]) -> u8 {
    // An error may be caused by a character that is invisible.
    let visible = |(kind, value): (_, &ContextValue)| match value {
        ContextValue::String(text) => Some((kind, ContextValue::String(sanitize(text).into_owned()))),
        _ => None,
    };
    for (kind, value) in error.context().filter_map(visible).collect::<Vec<_>>() {
        error.insert(kind, value);
    }
    drop_unrelated_tips(&mut error);
    let words: Vec<_> = args.iter().map(|arg| sanitize(&arg.to_string_lossy()).into_owned()).collect();
    let secrets = likely_secrets(&words);
    let acts_on_terminals = args.iter().any(|word| word.to_string_lossy().contains(domain::is_unsafe_char));
    let hide = |text: String, secret: &&str| text.replace(*secret, "****");
    let text = secrets.iter().fold(error.render().to_string(), hide);
    let printed = if secrets.is_empty() && !acts_on_terminals {
        error.print()
    } else {
        Output::of_process(OutputOptions::default()).note(text.trim_end());
        Ok(())
    };
    if !error.use_stderr() {
        // Help that could not be written is an error, unless the reader closed the pipe.
        let lost = printed.is_err_and(|error| error.kind() != io::ErrorKind::BrokenPipe);
        return if lost { ErrorKind::Other.exit_code().code } else { 0 };
    }
    let format = word_after(args, "--output").or_else(|| word_after(args, "-o")).and_then(|name| name.parse().ok());
    if let Some(format) = format.filter(|format: &OutputFormat| format.is_json() || *format == OutputFormat::Github) {
        let output = Output::of_process(OutputOptions { format, ..OutputOptions::default() });
        // What is wrong, without the usage that follows it.
        let what = text.trim_start_matches("error: ").split("\n\n").next().unwrap_or_default();
        output.fail_again(&Error::usage(what.split_whitespace().collect::<Vec<_>>().join(" ")));
    }
    ErrorKind::Usage.exit_code().code
}

/// Leaves out what clap suggests for a word that is no slip of the pen for it, and how to pass what looks like a flag.
fn drop_unrelated_tips(error: &mut clap::Error) {
    for (given, suggested) in [
        (ContextKind::InvalidSubcommand, ContextKind::SuggestedSubcommand),
        (ContextKind::InvalidArg, ContextKind::SuggestedArg),
        (ContextKind::InvalidValue, ContextKind::SuggestedValue),
    ] {
        let Some(ContextValue::String(given)) = error.get(given) else { continue };
        let related = match error.get(suggested) {
            Some(ContextValue::String(other)) => is_slip(given, other),
            Some(ContextValue::Strings(others)) => others.iter().any(|other| is_slip(given, other)),
            _ => true,
        };
        if !related {
            error.remove(suggested);
        }
    }
    let passing = |tips: &ContextValue| matches!(tips, ContextValue::StyledStrs(tips) if tips.iter().any(|tip| tip.to_string().contains("as a value")));
    if error.get(ContextKind::Suggested).is_some_and(passing) {
        error.remove(ContextKind::Suggested);
    }
}

/// Whether a word may have been meant as another: a few letters differ, or are missing at its end.
fn is_slip(given: &str, other: &str) -> bool {
    let word = |text: &str| text.trim_start_matches('-').to_ascii_lowercase();
    let (given, other) = (word(given), word(other));
    let few = (given.chars().count() / 3).clamp(1, 3);
    strsim::osa_distance(&given, &other) <= few || (given.len() >= 3 && other.starts_with(&given))
}

/// The words of a command line that may be secrets and that an error must not repeat: URLs with a password, and what
/// was given to `auth login` as if it took a token there.
fn likely_secrets(words: &[String]) -> Vec<&str> {
    let login = words.iter().position(|word| word == "login").unwrap_or(words.len());
    let mut secrets = Vec::new();
    for (index, word) in words.iter().enumerate() {
        let value =
            if word.starts_with('-') { word.split_once('=').map(|(_, value)| value) } else { Some(word.as_str()) };
        let with_password = word.contains("://") && word.contains('@');
        // Shorter words are no secrets, and stand in others.
        secrets.extend(value.filter(|value| value.len() >= 4 && (with_password || index > login)));
    }
    secrets
}
