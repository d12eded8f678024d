//! `completions`: the script that makes a shell ask this program.

use clap::builder::PossibleValuesParser;
use clap_complete::env::Shells;

use super::Report;
use crate::config::environment;
use crate::error::{Error, Result};

/// The program, as shells know it.
const NAME: &str = "bugfender-hooks";

/// Print the completion script of a shell
///
/// The script asks bugfender-hooks itself what fits, hook ids and labels of the registry included.
#[derive(clap::Args)]
#[command(after_help = INSTALL)]
pub struct Args {
    /// The shell
    #[arg(value_parser = PossibleValuesParser::new(SHELLS))]
    shell: String,
}

const SHELLS: [&str; 5] = ["bash", "zsh", "fish", "powershell", "elvish"];

const INSTALL: &str = "\
Examples:
  bash:        echo 'source <(bugfender-hooks completions bash)' >> ~/.bashrc
  zsh:         echo 'source <(bugfender-hooks completions zsh)' >> ~/.zshrc   (after compinit)
  fish:        bugfender-hooks completions fish > ~/.config/fish/completions/bugfender-hooks.fish
  powershell:  bugfender-hooks completions powershell | Out-String | Invoke-Expression
  elvish:      eval (bugfender-hooks completions elvish | slurp)";

pub fn run(args: &Args) -> Result<Report> {
    let shells = Shells::builtins();
    let unknown = || Error::usage(format!("there are no completions for {}", args.shell));
    let shell = shells.completer(&args.shell).ok_or_else(unknown)?;
    let mut script = Vec::new();
    shell.write_registration(environment::COMPLETE, NAME, NAME, NAME, &mut script)?;
    Ok(Report::text(String::from_utf8_lossy(&script).into_owned()))
}
