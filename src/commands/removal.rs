//! Removing hooks, with a progress bar.

use super::progress::progress_bar;
use crate::context::Context;
use crate::error::Result;
use crate::hooks::{RemovalOptions, RemovalTarget, Removals, Remover};
use crate::store::Registry;

/// Removes these hooks of the installation in use.
///
/// # Errors
/// When nobody is signed in. What goes wrong with a hook is given beside what does not.
pub fn remove(
    ctx: &Context,
    registry: &dyn Registry,
    targets: Vec<RemovalTarget>,
    options: RemovalOptions,
) -> Result<Removals> {
    let api = ctx.api()?;
    let bar = progress_bar(ctx, targets.len() as u64);
    let removals = Remover::new(ctx, registry, &api, ctx.origin(), options, &|| bar.inc(1)).remove(targets);
    bar.finish_and_clear();
    removals
}
