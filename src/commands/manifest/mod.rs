//! `manifest`: files that say which hooks there are to be.

mod init;
mod validate;

use clap::Subcommand;

use self::init::InitArgs;
use self::validate::ValidateArgs;
use super::Report;
use crate::context::Context;
use crate::error::Result;
use crate::manifest::schema;

/// Write and check manifests, the files of `plan` and `apply`
///
/// A manifest says which hooks there are to be. `plan` shows what it would change, and `apply` does it.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: ManifestCommand,
}

#[derive(Subcommand)]
enum ManifestCommand {
    Init(InitArgs),
    Validate(ValidateArgs),
    /// Print the JSON schema of manifests, with which editors complete and check them
    Schema,
}

impl Args {
    /// Whether it works with any settings.
    pub fn needs_no_settings(&self) -> bool {
        !matches!(self.command, ManifestCommand::Init(_))
    }
}

pub fn run(ctx: &Context, args: Args) -> Result<Report> {
    match args.command {
        ManifestCommand::Init(args) => init::run(ctx, args),
        ManifestCommand::Validate(args) => Ok(validate::run(ctx, &args)),
        ManifestCommand::Schema => Ok(Report::text(schema())),
    }
}
