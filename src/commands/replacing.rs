//! What `subscribe --replace` is about: the hooks that are named, and what would be sent for them.

use crate::api::calls;
use crate::context::Context;
use crate::domain::HookId;
use crate::error::{Error, ErrorKind, Result};
use crate::hooks::{self, HookChoice, RemovalTarget, ReplacementOrder, ReplacementStep};
use crate::http::Request;

/// The orders to replace the hooks with these ids, which the registry must hold.
///
/// # Errors
/// When one of them is not on record, or has ended.
pub fn orders(ctx: &Context, ids: &[HookId]) -> Result<Vec<ReplacementOrder>> {
    let targets = match ctx.existing_registry()? {
        Some(registry) => hooks::pick(&*registry, ctx.origin(), &HookChoice::Ids(ids.to_vec()))?,
        None => ids.iter().copied().map(RemovalTarget::Elsewhere).collect(),
    };
    targets.into_iter().map(order).collect()
}

fn order(target: RemovalTarget) -> Result<ReplacementOrder> {
    let not_found = |why: String| Error::new(ErrorKind::NotFound, format!("{why}; nothing was replaced"));
    match target {
        RemovalTarget::Held(id, record) if record.status.is_ended() => Err(hooks::ended(id, &record.subscription)),
        RemovalTarget::Held(id, record) => Ok(ReplacementOrder { wanted: record.subscription, old: Some(id) }),
        RemovalTarget::Foreign(id, origin) => Err(not_found(format!("hook {id} is recorded for {origin}"))
            .hint(format!("to replace it there: --api-url {origin}"))),
        other => {
            let name = other.id().map(|id| format!("hook {id}")).unwrap_or_default();
            Err(not_found(format!("{name} is not in the registry"))
                .hint("name it by --app-id, --event and --target-url, or `bugfender-hooks import` it first"))
        }
    }
}

/// What would be sent for these: all new hooks first. And why nothing would be for some.
///
/// # Errors
/// When the registry cannot be read.
pub fn requests(ctx: &Context, orders: &[ReplacementOrder]) -> Result<(Vec<Request>, Vec<Error>)> {
    let registry = ctx.existing_registry()?;
    let (mut requests, mut removals, mut errors) = (Vec::new(), Vec::new(), Vec::new());
    for order in orders {
        let wanted = &order.wanted;
        let step = match &registry {
            Some(registry) => hooks::replacement_step(&**registry, wanted, order.old)?,
            None => ReplacementStep::Subscribe,
        };
        errors.extend(step.refusal(order));
        match step {
            ReplacementStep::Subscribe => requests.push(calls::subscribe(wanted)),
            ReplacementStep::Replace(old) => {
                requests.push(calls::subscribe(wanted));
                removals.extend(old.hook_id.map(|id| calls::unsubscribe(ctx.origin(), id)));
            }
            ReplacementStep::Finish { new, old } => {
                ctx.out().note(&format!("{} has taken the place of {} already", new.name(), old.name()));
                removals.extend(old.hook_id.map(|id| calls::unsubscribe(ctx.origin(), id)));
            }
            ReplacementStep::Wait(_) => {
                ctx.out().note(&format!("another process is at work on {wanted}: subscribe would wait for it"));
            }
            _ => {}
        }
    }
    requests.extend(removals);
    Ok((requests, errors))
}
