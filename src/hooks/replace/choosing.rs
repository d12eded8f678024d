//! What is to be done to make a hook anew, by what the registry holds of its subscription.

use crate::domain::{HookId, HookRecord, HookStatus, Subscription};
use crate::error::{Error, ErrorKind, Result};
use crate::hooks::advice::{selector, unresolved};
use crate::store::{Registry, RelatedRow};

/// A hook to make anew.
#[derive(Debug, Clone)]
pub struct ReplacementOrder {
    /// Its subscription.
    pub wanted: Subscription,
    /// The hook, if it was named; else the one that the registry holds for the subscription.
    pub old: Option<HookId>,
}

/// What is to be done for an order.
#[derive(Debug)]
pub enum ReplacementStep {
    /// To subscribe: no hook is on record.
    Subscribe,
    /// To make a new hook, then to remove this one.
    Replace(Box<HookRecord>),
    /// To remove the old hook only: the replacement was cut short once the new one was made.
    Finish {
        /// The hook that takes the place of the other.
        new: Box<HookRecord>,
        /// The hook that is to go.
        old: Box<HookRecord>,
    },
    /// Nothing any more: this one has taken the place of the hook.
    Replaced(Box<HookRecord>),
    /// To look again later: a living process is at work on the same, perhaps to replace this hook.
    Wait(Option<HookId>),
    /// Nothing: it is not known what became of an earlier request for the same.
    Unresolved(Box<HookRecord>),
    /// Nothing: it is not known which of these is meant.
    Ambiguous(Vec<HookId>),
    /// Nothing: the hook that is meant has ended.
    Ended,
}

impl ReplacementStep {
    /// Why nothing is to be done for this order, if nothing can be.
    pub fn refusal(&self, order: &ReplacementOrder) -> Option<Error> {
        let wanted = &order.wanted;
        match self {
            Self::Unresolved(record) => Some(unresolved(record)),
            Self::Ambiguous(hooks) => {
                let names: Vec<String> = hooks.iter().map(ToString::to_string).collect();
                let message = format!("{wanted} has several hooks on record: {}", names.join(", "));
                Some(
                    Error::usage(message)
                        .hint("name those to replace: bugfender-hooks subscribe --replace --id HOOK_ID"),
                )
            }
            Self::Ended => order.old.map(|old| ended(old, wanted)),
            _ => None,
        }
    }
}

/// The error of a hook that was named and has ended.
pub fn ended(hook: HookId, subscription: &Subscription) -> Error {
    let message = format!("hook {hook} has ended: there is nothing to replace");
    Error::new(ErrorKind::NotFound, message)
        .hint(format!("to subscribe the same: bugfender-hooks subscribe {}", selector(subscription)))
}

/// What is to be done for an order now. `old` is the hook that is meant, as far as that is known.
///
/// # Errors
/// When the registry cannot be read.
pub fn replacement_step(
    registry: &dyn Registry,
    wanted: &Subscription,
    old: Option<HookId>,
) -> Result<ReplacementStep> {
    Ok(step(&registry.related(wanted)?, wanted, old))
}

/// The same for these rows.
fn step(rows: &[RelatedRow], wanted: &Subscription, old: Option<HookId>) -> ReplacementStep {
    let place = |index: usize| Box::new(rows[index].record.clone());
    if let Some((new, old)) = cut_short(rows, old) {
        return ReplacementStep::Finish { new: place(new), old: place(old) };
    }
    let same: Vec<&RelatedRow> = rows.iter().filter(|row| row.record.subscription.is_same_as(wanted)).collect();
    let active: Vec<&HookRecord> =
        same.iter().map(|row| &row.record).filter(|record| record.status == HookStatus::Active).collect();
    if let Some(busy) = same.iter().find(|row| row.in_progress) {
        let replaced = busy.record.replaces.filter(|_| busy.record.status == HookStatus::Pending);
        // Who subscribes for the first time makes the hook for both.
        let is_first = active.is_empty() && busy.record.status == HookStatus::Pending && replaced.or(old).is_none();
        return if is_first { ReplacementStep::Subscribe } else { ReplacementStep::Wait(replaced) };
    }
    if let Some(unresolved) = same.iter().find(|row| row.record.status != HookStatus::Active) {
        return ReplacementStep::Unresolved(Box::new(unresolved.record.clone()));
    }
    let boxed = |record: &HookRecord| Box::new(record.clone());
    match (old, &active[..]) {
        (None, []) => ReplacementStep::Subscribe,
        (None, [one]) => ReplacementStep::Replace(boxed(one)),
        (None, several) => ReplacementStep::Ambiguous(several.iter().filter_map(|record| record.hook_id).collect()),
        (Some(old), _) => {
            let meant = active.iter().find(|record| record.hook_id == Some(old));
            let successor = active.iter().find(|record| record.replaces == Some(old));
            match (meant, successor) {
                (Some(meant), _) => ReplacementStep::Replace(boxed(meant)),
                (None, Some(successor)) => ReplacementStep::Replaced(boxed(successor)),
                (None, None) => ReplacementStep::Ended,
            }
        }
    }
}

/// The places of an active hook and of the one whose place it takes, which may still be there; either may be the one
/// that is meant.
fn cut_short(rows: &[RelatedRow], meant: Option<HookId>) -> Option<(usize, usize)> {
    let is_meant = |record: &HookRecord| meant.is_none() || record.hook_id == meant;
    for (new, row) in rows.iter().enumerate() {
        let RelatedRow { record, .. } = row;
        let Some(replaced) = record.replaces.filter(|_| record.status == HookStatus::Active) else { continue };
        // A server may have answered with the number of the old one.
        let is_old = |other: &RelatedRow| other.record.hook_id == Some(replaced) && other.record.row != record.row;
        let old = rows.iter().position(is_old);
        if let Some(old) = old.filter(|old| is_meant(record) || is_meant(&rows[*old].record)) {
            return Some((new, old));
        }
    }
    None
}
