//! Asking before something that cannot be undone.

use std::io::{self, BufRead, Write};

use tokio::task::spawn_blocking;

use crate::context::Context;
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
        return Err(Error::usage(format!("{question} There is no terminal to ask on")).hint("give --yes to go ahead"));
    }
    let show = || {
        let mut err = io::stderr().lock();
        write!(err, "{} [y/N] ", crate::render::sanitize(question))?;
        Ok(err.flush()?)
    };
    let read = || {
        let mut answer = String::new();
        io::stdin().lock().read_line(&mut answer).map(|_| answer)
    };
    match ask(ctx, show, read)??.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(Error::new(ErrorKind::Other, "nothing was changed: the answer was not yes")),
    }
}

/// The most lines of what will go that are shown before a question.
const MAX_LINES: usize = 10;

/// Asks as [`confirm`] does, and shows before the question what will go.
///
/// # Errors
/// As [`confirm`].
pub fn confirm_each(ctx: &Context, what: &[String], question: &str, yes: bool) -> Result<()> {
    if !yes && ctx.is_interactive() {
        what.iter().take(MAX_LINES).for_each(|line| ctx.out().prompt(&format!("  {line}")));
        if let Some(more) = what.len().checked_sub(MAX_LINES).filter(|more| *more > 0) {
            ctx.out().prompt(&format!("  and {more} more"));
        }
    }
    confirm(ctx, question, yes)
}

/// Shows a question on the terminal and reads what is typed, which is an error of its own, unless Ctrl-C comes first.
///
/// # Errors
/// `Interrupted` when it is Ctrl-C; when the question cannot be shown.
pub fn ask<T: Send + 'static>(
    ctx: &Context,
    show: impl FnOnce() -> Result<()>,
    read: fn() -> io::Result<T>,
) -> Result<io::Result<T>> {
    let typed = ctx.wait(async {
        // Ctrl-C is handled before the question appears.
        show()?;
        Ok(spawn_blocking(read).await.map_err(io::Error::other).flatten())
    })?;
    typed.unwrap_or_else(|| {
        ctx.out().note("");
        Err(Error::interrupted("while asking; nothing was changed"))
    })
}
