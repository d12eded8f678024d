//! The manifest that the command line names.

use std::path::PathBuf;

use clap::ValueHint;

use crate::context::Context;
use crate::error::Error;
use crate::manifest::{LoadedManifest, Manifest};

/// The files of a manifest.
#[derive(clap::Args)]
pub struct ManifestArgs {
    /// The manifest: a file (.toml, .yaml, .json), a directory of such files, or "-" for standard input (TOML or JSON); several
    /// are one manifest
    #[arg(short, long = "file", value_name = "FILE", required = true, value_hint = ValueHint::AnyPath)]
    pub files: Vec<PathBuf>,
}

/// Reads a manifest, with the values of its variables and files, and writes its warnings. Gives the files that were read, too.
///
/// # Errors
/// All that is wrong with it.
pub fn load(ctx: &Context, files: &[PathBuf]) -> Result<(Manifest, Vec<PathBuf>), Vec<Error>> {
    let variable = |name: &str| ctx.environment().named(name);
    let LoadedManifest { manifest, files, warnings } = crate::manifest::load(files, &variable)?;
    warn(ctx, &warnings);
    Ok((manifest, files))
}

/// Writes the warnings of a manifest.
pub fn warn(ctx: &Context, warnings: &[Error]) {
    for warning in warnings {
        ctx.out().warn_of(warning);
    }
}
