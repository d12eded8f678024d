//! A bar for people who wait.

use indicatif::{ProgressBar, ProgressDrawTarget};

use crate::context::Context;

/// A bar on standard error, if somebody sits at a terminal.
pub fn progress_bar(ctx: &Context, length: u64) -> ProgressBar {
    let target = if ctx.is_interactive() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    ProgressBar::with_draw_target(Some(length), target)
}
