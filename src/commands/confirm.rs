//! Asking before something that cannot be taken back.

use std::io::{self, BufRead, Write};

use crate::context::Context;
use crate::error::{Error, ErrorKind, Result};

/// Asks a question on a terminal; off it, only `--yes` will do.
///
/// # Errors
/// A usage error off a terminal; `Other` when the answer is no.
pub fn confirm(ctx: &Context, question: &str, yes: bool) -> Result<()> {
    if yes {
        return Ok(());
    }
    if !ctx.is_interactive() {
        return Err(Error::usage(format!("{question} There is no terminal to ask on"))
            .hint("give --yes to go ahead, or --dry-run to see what would be done"));
    }
    let mut err = io::stderr().lock();
    write!(err, "{} [y/N] ", crate::render::sanitize(question))?;
    err.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    match answer.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(Error::new(ErrorKind::Other, "nothing was changed: the answer was not yes")),
    }
}
