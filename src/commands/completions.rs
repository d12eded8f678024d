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

/// The script for bash, in place of clap's, which neither joins the words that bash splits nor quotes.
const BASH: &str = include_str!("../../completions/bugfender-hooks.bash");

/// The words of the line in clap's script for zsh, with the quotes that were typed, and the same without.
const ZSH_WORDS: &str = r#""${words[@]}""#;
const ZSH_PLAIN_WORDS: &str = r#""${(@Q)words[1,CURRENT-1]}" "${(Q)PREFIX}""#;

/// The word at the cursor in fish, without its quotes, of which the last may be open.
const FISH_TOKEN: &str = r#"function __bugfender_hooks_token
    set --local token (commandline --current-token --cut-at-cursor)
    string unescape -- "$token"; or string unescape -- "$token'"; or string unescape -- "$token\""
end
"#;

const SHELLS: [&str; 5] = ["bash", "zsh", "fish", "powershell", "elvish"];

const INSTALL: &str = "\
Examples:
  bash:        echo 'source <(bugfender-hooks completions bash)' >> ~/.bashrc
  zsh:         echo 'source <(bugfender-hooks completions zsh)' >> ~/.zshrc   (after compinit)
  fish:        bugfender-hooks completions fish > ~/.config/fish/completions/bugfender-hooks.fish
  powershell:  bugfender-hooks completions powershell | Out-String | Invoke-Expression
  elvish:      eval (bugfender-hooks completions elvish | slurp)";

pub fn run(args: &Args) -> Result<Report> {
    if args.shell == "bash" {
        return Ok(Report::text(BASH.to_owned()));
    }
    let shells = Shells::builtins();
    let unknown = || Error::usage(format!("there are no completions for {}", args.shell));
    let shell = shells.completer(&args.shell).ok_or_else(unknown)?;
    let mut script = Vec::new();
    shell.write_registration(environment::COMPLETE, NAME, NAME, NAME, &mut script)?;
    let script = String::from_utf8_lossy(&script).into_owned();
    Ok(Report::text(match args.shell.as_str() {
        "zsh" => script.replace(ZSH_WORDS, ZSH_PLAIN_WORDS),
        "fish" => {
            format!("{FISH_TOKEN}{}", script.replace("(commandline --current-token)", "(__bugfender_hooks_token)"))
        }
        _ => script,
    }))
}
