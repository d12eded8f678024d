//! What the inbox tells of hooks.

use crate::context::Context;
use crate::domain::ApiOrigin;
use crate::error::Result;
use crate::hooks::InboxEvidence;
use crate::store::{Keys, Store};

/// What the inbox tells of the hooks of an installation; `None` if there is none.
///
/// # Errors
/// When it cannot be read.
pub fn evidence(ctx: &Context) -> Result<Option<InboxEvidence>> {
    evidence_in(&*ctx.store()?, ctx.origin())
}

/// The same for a store.
///
/// # Errors
/// When it cannot be read.
pub fn evidence_in(store: &dyn Store, origin: &ApiOrigin) -> Result<Option<InboxEvidence>> {
    let Some(inbox) = store.existing_inbox()? else { return Ok(None) };
    // Keys in a file of the operator's own are not known here.
    let keys = store.receiver_keys().reload().map(|Keys { current, former }| {
        std::iter::once(current).chain(former.into_iter().map(|(key, _)| key)).collect()
    });
    Ok(Some(InboxEvidence::new(&inbox.arrivals()?, &inbox.missed_events(origin)?, keys.unwrap_or_default())))
}
