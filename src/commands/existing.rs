//! The registry of a command that shows what is in it.

use crate::config::Source;
use crate::context::Context;
use crate::error::Result;
use crate::store::Registry;

/// The registry, if it exists; none is made. That one that was named does not exist is said.
pub fn existing_registry(ctx: &Context) -> Result<Option<Box<dyn Registry>>> {
    let registry = ctx.existing_registry()?;
    let source = ctx.settings().store.source;
    if registry.is_none() && source != Source::Default {
        ctx.out().note(&format!("the registry {} does not exist ({source})", ctx.store()?.registry_place()));
    }
    Ok(registry)
}
