//! `man`: manual pages from the same definitions as `--help`.

use std::path::PathBuf;

use clap::Command;
use clap_mangen::Man;

use super::Report;
use crate::error::{Error, Result};

/// Print manual pages
///
/// Without a command, the page of bugfender-hooks itself. Read one with: bugfender-hooks man | man -l -
#[derive(clap::Args)]
pub struct Args {
    /// The command whose page to print, such as: subscribe, or: auth login
    #[arg(value_name = "COMMAND")]
    command: Vec<String>,

    /// Write all pages into this directory instead
    #[arg(long, value_name = "DIR", conflicts_with = "command")]
    dir: Option<PathBuf>,
}

pub fn run(args: &Args, mut root: Command) -> Result<Report> {
    root = root.disable_help_subcommand(true).mut_subcommands(|command| command.disable_help_subcommand(true));
    root.build();
    if let Some(dir) = &args.dir {
        let written = std::fs::create_dir_all(dir).and_then(|()| clap_mangen::generate_to(root, dir));
        written.map_err(|error| Error::usage(format!("{}: {error}", dir.display())).source(error))?;
        return Ok(Report::nothing());
    }
    let mut page = &root;
    for name in &args.command {
        let unknown = || Error::usage(format!("there is no command `{}`", args.command.join(" ")));
        page = page.find_subcommand(name).ok_or_else(unknown)?;
    }
    render(page).map(Report::text)
}

fn render(command: &Command) -> Result<String> {
    // `find_subcommand` knows the bare name; the page carries the whole one.
    let name = command.get_display_name().unwrap_or(command.get_name()).to_owned();
    let mut page = Vec::new();
    Man::new(command.clone().name(name)).render(&mut page)?;
    Ok(String::from_utf8_lossy(&page).into_owned())
}
