//! One file per command: its arguments and what it does.

mod app_args;
mod app_cache;
mod apply;
mod apps;
mod auth;
mod calls;
mod check;
mod completions;
mod config;
mod confirm;
mod demo;
mod doctor;
mod drift;
mod dry_run;
mod event_row;
mod event_tail;
mod events;
mod evidence;
mod existing;
mod forget;
mod healthcheck;
mod history;
mod hook_args;
mod hook_row;
mod import;
mod input;
mod list;
mod listen;
mod man;
mod manifest;
mod manifest_args;
mod named_targets;
mod plan;
mod planning;
mod polling;
mod progress;
mod quotes;
mod ready_file;
mod recorded_hooks;
mod registry;
mod removal;
mod replacing;
mod report;
mod sandbox;
mod steps;
mod store;
mod subscribe;
mod suggest;
mod targets;
mod topics;
mod trigger;
mod ui;
mod units;
mod unsubscribe;
mod verify;
mod whoami;

pub use hook_args::seconds;
pub use report::Report;
pub use suggest::profile_names;

use clap::Subcommand;

use crate::context::Context;
use crate::error::Result;
use crate::render::LogFormat;

/// The commands. The help text of each is at its arguments.
#[allow(missing_docs)]
#[derive(Subcommand)]
pub enum Command {
    Auth(auth::Args),
    Whoami(whoami::Args),
    Apps(apps::Args),
    Subscribe(subscribe::Args),
    #[command(visible_alias = "rm")]
    Unsubscribe(unsubscribe::Args),
    #[command(visible_alias = "ls")]
    List(list::Args),
    Drift(drift::Args),
    History(history::Args),
    Import(import::Args),
    Forget(forget::Args),
    Manifest(manifest::Args),
    Plan(plan::Args),
    Apply(Box<apply::Args>),
    Listen(Box<listen::Args>),
    Trigger(trigger::Args),
    Check(check::Args),
    Verify(verify::Args),
    Healthcheck(healthcheck::Args),
    Events(events::Args),
    Registry(registry::Args),
    Store(store::Args),
    Targets(targets::Args),
    Ui(ui::Args),
    Config(config::Args),
    Doctor(doctor::Args),
    Sandbox(sandbox::Args),
    Demo(demo::Args),
    Completions(completions::Args),
    Man(man::Args),
    ExitCodes(topics::ExitCodesArgs),
    Environment(topics::EnvironmentArgs),
}

impl Command {
    /// Whether it works with any settings: a starting shell asks for completions.
    pub fn needs_no_settings(&self) -> bool {
        match self {
            Self::Config(args) => args.needs_no_settings(),
            Self::Registry(args) => args.needs_no_settings(),
            Self::Manifest(args) => args.needs_no_settings(),
            Self::Verify(_)
            | Self::Sandbox(_)
            | Self::Demo(_)
            | Self::Completions(_)
            | Self::Man(_)
            | Self::ExitCodes(_)
            | Self::Environment(_) => true,
            _ => false,
        }
    }

    /// The format of its log, if it serves: it must go on when nothing reads the log.
    pub fn log_format(&self) -> Option<LogFormat> {
        match self {
            Self::Listen(args) => args.log_format(),
            Self::Ui(_) => Some(LogFormat::Text),
            _ => None,
        }
    }

    /// Whether it tolerates an invalid configuration, and reports what is wrong.
    pub fn tolerates_bad_config(&self) -> bool {
        matches!(self, Self::Doctor(_))
    }

    /// Whether it accepts a profile that does not exist yet.
    pub fn may_make_a_profile(&self) -> bool {
        match self {
            Self::Auth(args) => args.may_make_a_profile(),
            Self::Config(_) => true,
            _ => false,
        }
    }
}

/// The flags of a command that `-h` shows, each on one line, if there are too many for a screen; `--help` shows all.
pub fn in_short_help(command: &str) -> Option<&'static [(&'static str, &'static str)]> {
    match command {
        "login" => Some(auth::IN_SHORT_HELP_OF_LOGIN),
        "listen" => Some(listen::IN_SHORT_HELP),
        "trigger" => Some(trigger::IN_SHORT_HELP),
        _ => None,
    }
}

/// Runs a command.
///
/// `definition` makes the whole command line's definition, for manual pages.
///
/// # Errors
/// What stopped it before there was anything to show.
pub fn dispatch(ctx: &Context, command: Command, definition: fn() -> clap::Command) -> Result<Report> {
    match command {
        Command::Auth(args) => auth::run(ctx, args),
        Command::Whoami(args) => whoami::run(ctx, &args),
        Command::Apps(args) => apps::run(ctx, &args),
        Command::Subscribe(args) => subscribe::run(ctx, &args),
        Command::Unsubscribe(args) => unsubscribe::run(ctx, &args),
        Command::List(args) => list::run(ctx, &args),
        Command::Drift(args) => drift::run(ctx, &args),
        Command::History(args) => history::run(ctx, &args),
        Command::Import(args) => import::run(ctx, &args),
        Command::Forget(args) => forget::run(ctx, &args),
        Command::Manifest(args) => manifest::run(ctx, args),
        Command::Plan(args) => plan::run(ctx, &args),
        Command::Apply(args) => apply::run(ctx, &args),
        Command::Listen(args) => listen::run(ctx, &args),
        Command::Trigger(args) => trigger::run(ctx, &args),
        Command::Check(args) => check::run(ctx, &args),
        Command::Verify(args) => verify::run(&args),
        Command::Healthcheck(args) => healthcheck::run(ctx, &args),
        Command::Events(args) => events::run(ctx, args),
        Command::Registry(args) => registry::run(ctx, &args),
        Command::Store(args) => store::run(ctx, args),
        Command::Targets(args) => targets::run(ctx, &args),
        Command::Ui(args) => ui::run(ctx, &args),
        Command::Config(args) => config::run(ctx, args),
        Command::Doctor(args) => Ok(doctor::run(ctx, &args)),
        Command::Sandbox(args) => sandbox::run(ctx, args),
        Command::Demo(args) => demo::run(ctx, &args),
        Command::Completions(args) => completions::run(&args),
        Command::Man(args) => man::run(&args, definition()),
        Command::ExitCodes(args) => Ok(topics::exit_codes(ctx, &args)),
        Command::Environment(args) => Ok(topics::environment(&args)),
    }
}
