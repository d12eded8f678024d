//! Asking before something that cannot be taken back.

use std::io::{self, BufRead, Write};

use tokio::task::spawn_blocking;

use crate::context::{Context, interrupted};
use crate::error::{Error, ErrorKind, Result};

/// Asks a question on a terminal; off it, only `--yes` will do.
///
/// # Errors
/// A usage error off a terminal; `Other` when the answer is no, `Interrupted` when it is Ctrl-C.
pub fn confirm(ctx: &Context, question: &str, yes: bool) -> Result<()> {
    if yes {
        return Ok(());
    }
    if !ctx.is_interactive() {
        return Err(Error::usage(format!("{question} There is no terminal to ask on"))
            .hint("give --yes to go ahead, or --dry-run to see what would be done"));
    }
    let question = format!("{} [y/N] ", crate::render::sanitize(question));
    let ask = move || {
        let mut err = io::stderr().lock();
        err.write_all(question.as_bytes())?;
        err.flush()?;
        drop(err);
        let mut answer = String::new();
        io::stdin().lock().read_line(&mut answer).map(|_| answer)
    };
    // Nobody is asked before Ctrl-C is listened for.
    let Some(answer) = ctx.wait(async { spawn_blocking(ask).await })? else {
        ctx.out().note("");
        return Err(interrupted("while asking; nothing was changed"));
    };
    let answer = answer.map_err(io::Error::other).flatten()?;
    match answer.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(Error::new(ErrorKind::Other, "nothing was changed: the answer was not yes")),
    }
}
