//! A file a command: its arguments beside what it does.

mod app_cache;
mod apps;
mod auth;
mod calls;
mod check;
mod completions;
mod config;
mod confirm;
mod demo;
mod doctor;
mod dry_run;
mod event_row;
mod event_tail;
mod events;
mod forget;
mod hook_args;
mod hook_row;
mod import;
mod input;
mod list;
mod listen;
mod man;
mod progress;
mod quotes;
mod ready_file;
mod removal;
mod report;
mod sandbox;
mod subscribe;
mod suggest;
mod topics;
mod trigger;
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

/// Declares the commands: by its name, how it is called and what it takes.
macro_rules! commands {
    ($($name:literal $variant:ident($args:ty),)*) => {
        /// The commands. Each one's help text stands at its arguments.
        #[allow(missing_docs)]
        #[derive(Subcommand)]
        pub enum Command {
            $(#[command(name = $name)] $variant($args),)*
        }

        impl Command {
            /// The description of the command of this name, without the others.
            pub fn description(name: &str) -> Option<clap::Command> {
                match name {
                    $($name => Some(<$args as clap::Args>::augment_args(clap::Command::new($name))),)*
                    _ => None,
                }
            }
        }
    };
}

commands! {
    "auth" Auth(auth::Args),
    "whoami" Whoami(whoami::Args),
    "apps" Apps(apps::Args),
    "subscribe" Subscribe(subscribe::Args),
    "unsubscribe" Unsubscribe(unsubscribe::Args),
    "list" List(list::Args),
    "import" Import(import::Args),
    "forget" Forget(forget::Args),
    "listen" Listen(Box<listen::Args>),
    "trigger" Trigger(trigger::Args),
    "check" Check(check::Args),
    "verify" Verify(verify::Args),
    "events" Events(events::Args),
    "config" Config(config::Args),
    "doctor" Doctor(doctor::Args),
    "sandbox" Sandbox(sandbox::Args),
    "demo" Demo(demo::Args),
    "completions" Completions(completions::Args),
    "man" Man(man::Args),
    "exit-codes" ExitCodes(topics::ExitCodesArgs),
    "environment" Environment(topics::EnvironmentArgs),
}

impl Command {
    /// Whether it works whatever the settings are: a shell that starts up asks for completions.
    pub fn needs_no_settings(&self) -> bool {
        match self {
            Self::Config(args) => args.needs_no_settings(),
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

    /// Whether it works whatever is wrong with the configuration, and says what.
    pub fn tolerates_bad_config(&self) -> bool {
        matches!(self, Self::Doctor(_))
    }

    /// Whether it may be given a profile that is not there yet.
    pub fn may_make_a_profile(&self) -> bool {
        match self {
            Self::Auth(args) => args.may_make_a_profile(),
            Self::Config(_) => true,
            _ => false,
        }
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
        Command::Import(args) => import::run(ctx, &args),
        Command::Forget(args) => forget::run(ctx, &args),
        Command::Listen(args) => listen::run(ctx, &args),
        Command::Trigger(args) => trigger::run(ctx, &args),
        Command::Check(args) => check::run(ctx, &args),
        Command::Verify(args) => verify::run(&args),
        Command::Events(args) => events::run(ctx, args),
        Command::Config(args) => config::run(ctx, args),
        Command::Doctor(args) => Ok(doctor::run(ctx, &args)),
        Command::Sandbox(args) => sandbox::run(ctx, args),
        Command::Demo(args) => demo::run(ctx, &args),
        Command::Completions(args) => completions::run(&args),
        Command::Man(args) => man::run(&args, definition()),
        Command::ExitCodes(args) => Ok(topics::exit_codes(&args)),
        Command::Environment(args) => Ok(topics::environment(&args)),
    }
}
