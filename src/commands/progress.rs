//! A progress bar.

use indicatif::{ProgressBar, ProgressDrawTarget};

use crate::context::Context;

/// A progress bar on standard error, if that is a terminal.
pub fn progress_bar(ctx: &Context, length: u64) -> ProgressBar {
    let target = if ctx.is_interactive() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    ProgressBar::with_draw_target(Some(length), target)
}
