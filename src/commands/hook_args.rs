//! Arguments that several commands share.

use std::ffi::OsStr;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap_complete::ArgValueCompleter;

use super::app_args::{Needed, app_ids, missing, require};
use super::input::{read_file, read_stdin};
use super::suggest;
use crate::context::Context;
use crate::domain::{AppId, AppName, EventKind, HookStatus, Label, Selection, Subscription, TargetUrl};
use crate::error::{Error, Result};

/// An event on the command line: one of them, or all.
#[derive(Clone, Copy)]
pub enum EventChoice {
    One(EventKind),
    All,
}

/// The events, each once, in the order of the help page.
pub fn events(choices: &[EventChoice]) -> Vec<EventKind> {
    let chosen = |event: &EventKind| {
        choices.iter().any(|choice| match choice {
            EventChoice::All => true,
            EventChoice::One(one) => one == event,
        })
    };
    EventKind::ALL.into_iter().filter(chosen).collect()
}

/// A parser that ignores spaces around a value, as in a list with a space behind each comma.
#[derive(Clone)]
pub struct Trimmed<P>(pub P);

impl<P: TypedValueParser> TypedValueParser for Trimmed<P> {
    type Value = P::Value;

    fn parse_ref(
        &self,
        command: &clap::Command,
        arg: Option<&clap::Arg>,
        value: &OsStr,
    ) -> Result<Self::Value, clap::Error> {
        match value.to_str() {
            Some(text) => self.0.parse_ref(command, arg, OsStr::new(text.trim())),
            None => self.0.parse_ref(command, arg, value),
        }
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        self.0.possible_values()
    }
}

/// Reads an event's name, and lets help and completion know them all.
pub fn event_parser() -> impl TypedValueParser<Value = EventChoice> {
    let names = EventKind::ALL.map(EventKind::as_str).into_iter().chain(["all"]);
    Trimmed(PossibleValuesParser::new(names)).try_map(|name| match name.as_str() {
        "all" => Ok(EventChoice::All),
        one => EventKind::from_str(one).map(EventChoice::One),
    })
}

/// Reads the name of one event.
pub fn one_event_parser() -> impl TypedValueParser<Value = EventKind> {
    PossibleValuesParser::new(EventKind::ALL.map(EventKind::as_str)).try_map(|name| EventKind::from_str(&name))
}

/// Reads a positive number of seconds, fractions allowed.
///
/// # Errors
/// What is wrong with it.
pub fn seconds(text: &str) -> Result<Duration, String> {
    let longest = 24.0 * 3600.0;
    let number: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if number > 0.0 && number <= longest {
        Ok(Duration::from_secs_f64(number))
    } else {
        Err("the time must be more than 0 and at most 86400 seconds".to_owned())
    }
}

/// Reads a number of seconds, or 0.
///
/// # Errors
/// What is wrong with it.
pub fn seconds_or_zero(text: &str) -> Result<Duration, String> {
    if text.trim() == "0" { Ok(Duration::ZERO) } else { seconds(text) }
}

/// Reads a status's name.
pub fn status_parser() -> impl TypedValueParser<Value = HookStatus> {
    Trimmed(PossibleValuesParser::new(HookStatus::ALL.map(HookStatus::as_str)))
        .try_map(|name| name.parse::<HookStatus>())
}

/// A target URL as given. It is parsed when the command runs, as an error of clap's would show its password.
#[derive(Clone)]
pub struct TargetUrlArg(String);

impl From<String> for TargetUrlArg {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl TargetUrlArg {
    /// Whether it is read from standard input.
    pub fn is_stdin(&self) -> bool {
        self.0 == "-"
    }

    /// Whether it is read from a file, which may change.
    pub fn is_file(&self) -> bool {
        self.0.starts_with('@')
    }

    /// The URL: as given, from standard input (`-`) or from a file (`@FILE`), so that a password can stay off the
    /// command line, which every user of the machine can read.
    pub fn resolve(&self, ctx: &Context) -> Result<TargetUrl> {
        let text = match self.0.strip_prefix('@') {
            Some(path) => {
                let text = read_file(Path::new(path))?;
                return text.parse().map_err(|error: Error| error.about(path));
            }
            None if self.0 == "-" => read_stdin("the target URL")?,
            None => {
                let url: TargetUrl = self.0.parse()?;
                if url.has_secret() && !url.is_redacted() {
                    ctx.out().warn("a password on the command line can be read by others on this machine; give \"-\" for standard input, or @FILE");
                }
                return Ok(url);
            }
        };
        text.parse()
    }
}

/// What makes a subscription, for commands that name exactly one or a few.
#[derive(clap::Args)]
pub struct SubscriptionArgs {
    /// The apps: their ids, or addresses in the dashboard; repeat, or separate by commas [default: that of the profile]
    #[arg(long = "app-id", value_name = "ID", value_delimiter = ',', add = ArgValueCompleter::new(suggest::app_ids))]
    pub app_ids: Vec<AppName>,

    /// The events, which must be given: repeat, separate by commas, or say "all"
    #[arg(long = "event", value_name = "EVENT", value_delimiter = ',', value_parser = event_parser())]
    pub events: Vec<EventChoice>,

    /// The endpoint that will receive the events: a URL, "-" for standard input, or @FILE [default: that of the profile]
    #[arg(long, value_name = "URL")]
    pub target_url: Option<TargetUrlArg>,
}

impl SubscriptionArgs {
    /// A subscription for each event of each app.
    pub fn subscriptions(&self, ctx: &Context) -> Result<Vec<Subscription>> {
        check_given(ctx, !self.app_ids.is_empty(), !self.events.is_empty(), self.target_url.is_some())?;
        let target_url = target_url(ctx, self.target_url.as_ref())?;
        let app_ids = app_ids(ctx, &self.app_ids)?;
        Ok(subscriptions(ctx, &app_ids, &self.events, &target_url))
    }
}

/// Checks that app, event and endpoint are given, or are those of the profile.
///
/// # Errors
/// A usage error that names all that are missing.
pub fn check_given(ctx: &Context, app: bool, event: bool, target: bool) -> Result<()> {
    let settings = ctx.settings();
    require(&[
        Needed { flag: "--app-id", value: "ID", key: Some("app_id"), given: app || settings.app_id.is_some() },
        Needed { flag: "--event", value: "EVENT", key: None, given: event },
        Needed {
            flag: "--target-url",
            value: "URL",
            key: Some("target_url"),
            given: target || settings.target_url.is_some(),
        },
    ])
}

/// The endpoint that is given, or that of the profile.
pub fn target_url(ctx: &Context, given: Option<&TargetUrlArg>) -> Result<TargetUrl> {
    match given {
        Some(given) => given.resolve(ctx),
        None => ctx.settings().target_url.clone().ok_or_else(|| missing("--target-url", "target_url", "URL")),
    }
}

/// A subscription for each event of each app.
pub fn subscriptions(
    ctx: &Context,
    app_ids: &[AppId],
    choices: &[EventChoice],
    target_url: &TargetUrl,
) -> Vec<Subscription> {
    let events = events(choices);
    let each = app_ids.iter().flat_map(|app| events.iter().map(|event| (*app, *event)));
    let one =
        |(app_id, event)| Subscription { origin: ctx.origin().clone(), app_id, event, target_url: target_url.clone() };
    each.map(one).collect()
}

/// Filters over the registry.
#[derive(clap::Args)]
pub struct FilterArgs {
    /// Only hooks of these apps: repeat, or separate by commas
    #[arg(long = "app-id", value_name = "ID", value_delimiter = ',', add = ArgValueCompleter::new(suggest::app_ids))]
    pub app_ids: Vec<AppId>,

    /// Only hooks for these events: repeat, or separate by commas
    #[arg(long = "event", value_name = "EVENT", value_delimiter = ',', value_parser = event_parser())]
    pub events: Vec<EventChoice>,

    /// Only hooks to these endpoints, with or without their passwords: a URL, "-" or @FILE; may be repeated
    #[arg(long = "target-url", value_name = "URL")]
    pub target_urls: Vec<TargetUrlArg>,

    /// Only hooks with one of these labels; may be repeated
    #[arg(long = "label", value_name = "TEXT", add = ArgValueCompleter::new(suggest::labels))]
    pub labels: Vec<Label>,
}

impl FilterArgs {
    /// The selection they make.
    pub fn selection(&self, ctx: &Context) -> Result<Selection> {
        Ok(Selection {
            app_ids: self.app_ids.clone(),
            events: events(&self.events),
            target_urls: self.target_urls.iter().map(|target| target.resolve(ctx)).collect::<Result<_>>()?,
            labels: self.labels.clone(),
            ..Selection::default()
        })
    }
}
