//! The rules of the registry, which are the same for every backend: what stands in the way of what, and how rows end up.

use std::collections::{HashMap, HashSet};

use super::error::Rule;
use super::{Action, Conflict, OwnershipChange, RelatedRow, Removal, RemovalReservation, SubscriptionIntent};
use crate::domain::{HookId, HookRecord, HookStatus, Label, RowId, Subscription, TargetUrl};

/// A row as a backend found it.
#[derive(Debug)]
pub(super) struct FoundRow {
    pub(super) record: HookRecord,
    /// Whether somebody is at work on it.
    pub(super) in_progress: bool,
}

impl FoundRow {
    /// A row. One whose request nobody is at work on any more may have made a hook.
    pub(super) fn new(mut record: HookRecord, in_progress: bool) -> Self {
        if record.status == HookStatus::Pending && !in_progress {
            record.status = HookStatus::Unknown;
            record.reason = Some("the process that was subscribing ended without an answer".to_owned());
        }
        Self { record, in_progress }
    }

    /// What importing the hook that this row holds means.
    pub(super) fn import_again(&self, subscription: &Subscription, label: Option<&Label>) -> Result<Reimport, Rule> {
        let record = &self.record;
        let known = &record.subscription;
        let same = (known.app_id, known.event) == (subscription.app_id, subscription.event)
            && subscription.target_url.selects(&known.target_url);
        if let Some(hook) = record.hook_id.filter(|_| !same) {
            return Err(Rule::Conflict { hook, recorded: known.to_string() });
        }
        let is_active = record.status == HookStatus::Active;
        if is_active && (label.is_none() || record.label.as_ref() == label) {
            return Ok(Reimport::Unchanged);
        }
        if self.in_progress {
            return Err(Rule::InUse);
        }
        Ok(Reimport::Settled(if is_active { Ending::RELABELED } else { Ending::IMPORTED }))
    }
}

/// What becomes of a row whose hook is imported again.
pub(super) enum Reimport {
    /// It is as it was.
    Unchanged,
    /// It may have another label, and ends up so.
    Settled(Ending<'static>),
}

impl From<FoundRow> for RelatedRow {
    fn from(FoundRow { record, in_progress }: FoundRow) -> Self {
        Self { record, in_progress }
    }
}

/// What stands in the way of a subscription, of the rows of its endpoint that are not known to be over, oldest first. One
/// that takes the place of an active hook among them has its successors in the way, and not the other active ones.
pub(super) fn conflict_among(mut same: Vec<FoundRow>, replaces: Option<HookId>) -> Option<Conflict> {
    let is_active = |found: &FoundRow| found.record.status == HookStatus::Active;
    if let Some(old) = replaces
        && same.iter().any(|found| is_active(found) && found.record.hook_id == Some(old))
    {
        same.retain(|found| !is_active(found) || is_successor(&found.record, old));
    }
    if let Some(index) = same.iter().position(|found| found.record.status == HookStatus::Active) {
        return Some(Conflict::Exists(Box::new(same.swap_remove(index).record)));
    }
    if same.iter().any(|found| found.in_progress) {
        return Some(Conflict::InProgress);
    }
    same.into_iter().next().map(|found| Conflict::Unresolved(Box::new(found.record)))
}

/// Whether the row is that of a hook which took the place of this one; a server may answer with the number of the old one.
fn is_successor(record: &HookRecord, old: HookId) -> bool {
    record.replaces == Some(old) && record.hook_id != Some(old)
}

/// The hooks whose places the rows of a subscription take, and which are not among these.
pub(super) fn replaced_elsewhere(same: &[FoundRow]) -> Vec<HookId> {
    let is_among = |hook: &HookId| same.iter().any(|found| found.record.hook_id == Some(*hook));
    same.iter().filter_map(|found| found.record.replaces).filter(|hook| !is_among(hook)).collect()
}

/// Whether the hook of the row could be replaced by one for this: one with the number of another app's could not.
pub(super) fn is_replaceable(found: &FoundRow, by: &Subscription) -> bool {
    let known = &found.record.subscription;
    !found.record.status.is_ended() && (known.app_id, known.event) == (by.app_id, by.event)
}

/// Of the rows of an event of an app that hold no hook, the one that an import of a hook with this target settles; `None` if
/// it needs a new one.
pub(super) fn unresolved_row(mut unresolved: Vec<FoundRow>, target: &TargetUrl) -> Result<Option<RowId>, Rule> {
    unresolved.retain(|found| !found.in_progress && target.selects(&found.record.subscription.target_url));
    let mut targets: Vec<_> = unresolved.iter().map(|found| &found.record.subscription.target_url).collect();
    targets.dedup();
    match (unresolved.first(), targets.len()) {
        (Some(found), 1) => Ok(Some(found.record.row)),
        (Some(_), _) => Err(Rule::Ambiguous),
        (None, _) if target.is_redacted() => Err(Rule::HiddenPassword),
        (None, _) => Ok(None),
    }
}

/// What becomes of a row that a manifest is to own.
pub(super) enum Management {
    /// It may not: the hook does not exist, or another manifest owns it.
    Refused,
    /// The row says all of it already.
    Unchanged,
    /// It has the owner, the label and the endpoint that are given, and ends up so.
    Settled(Ending<'static>),
}

/// What becomes of a row that a manifest is to own.
pub(super) fn managed(found: &FoundRow, change: &OwnershipChange) -> Management {
    let record = &found.record;
    if record.status != HookStatus::Active {
        return Management::Refused;
    }
    match &record.managed_by {
        Some(owner) if *owner != change.managed_by => Management::Refused,
        Some(_) if record.label == change.label && completed_target(record, change).is_none() => Management::Unchanged,
        Some(_) => Management::Settled(Ending::RELABELED),
        None => Management::Settled(Ending::ADOPTED),
    }
}

/// The endpoint that a row is to have: the one that is given, if it is the same and the one on record lacks its password.
pub(super) fn completed_target<'a>(record: &HookRecord, change: &'a OwnershipChange) -> Option<&'a TargetUrl> {
    let known = &record.subscription.target_url;
    change.target_url.as_ref().filter(|given| known.is_redacted() && known.is_same_endpoint(given))
}

/// The intents of a batch that are for the same as an earlier one of it, by their places.
pub(super) fn repeated(intents: &[SubscriptionIntent]) -> HashSet<usize> {
    // Those that are the same differ by their passwords at most; not all that differ by them alone are the same.
    let mut earlier: HashMap<_, Vec<&Subscription>> = HashMap::with_capacity(intents.len());
    let mut repeated = HashSet::new();
    for (index, SubscriptionIntent { wanted, .. }) in intents.iter().enumerate() {
        let alike = earlier
            .entry((&wanted.origin, wanted.app_id, wanted.event, wanted.target_url.redacted_endpoint()))
            .or_default();
        if alike.iter().any(|other| other.is_same_as(wanted)) {
            repeated.insert(index);
        }
        alike.push(wanted);
    }
    repeated
}

/// What is said to the intent to remove the hook of a row; only one that is reserved is recorded.
pub(super) fn removal_of(found: Option<FoundRow>) -> RemovalReservation {
    match found {
        None => RemovalReservation::Forgotten,
        Some(found) if found.record.status.is_ended() => RemovalReservation::Ended(Box::new(found.record)),
        Some(found) if found.in_progress => RemovalReservation::InProgress,
        Some(found) => RemovalReservation::Reserved { resumed: found.record.status == HookStatus::Removing },
    }
}

/// How a removal's row ends up.
pub(super) fn ending_of(removal: &Removal) -> Ending<'_> {
    match removal {
        Removal::Removed => Ending::REMOVED,
        Removal::Gone => Ending::GONE,
        Removal::Refused => Ending::REMOVAL_REFUSED,
        Removal::InDoubt(reason) => Ending::REMOVAL_IN_DOUBT.because(reason),
    }
}

/// How a row ends up, and what the history says of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ending<'a> {
    pub(super) status: HookStatus,
    pub(super) action: Action,
    pub(super) reason: Option<&'a str>,
}

impl<'a> Ending<'a> {
    /// The same, for this reason.
    pub(super) fn because(self, reason: &'a str) -> Self {
        Self { reason: Some(reason), ..self }
    }
}

impl Ending<'_> {
    pub(super) const SUBSCRIBED: Self = Self::new(HookStatus::Active, Action::Subscribed);
    pub(super) const DISPLACED: Self = Self::new(HookStatus::Gone, Action::Displaced);
    pub(super) const LEFT_IN_DOUBT: Self = Self::new(HookStatus::Unknown, Action::LeftInDoubt);
    const REMOVED: Self = Self::new(HookStatus::Removed, Action::Removed);
    const GONE: Self = Self::new(HookStatus::Gone, Action::Gone);
    const REMOVAL_REFUSED: Self = Self::new(HookStatus::Active, Action::RemovalRefused);
    const REMOVAL_IN_DOUBT: Self = Self::new(HookStatus::Removing, Action::RemovalInDoubt);
    pub(super) const IMPORTED: Self = Self::new(HookStatus::Active, Action::Imported);
    pub(super) const RELABELED: Self = Self::new(HookStatus::Active, Action::Relabeled);
    pub(super) const ADOPTED: Self = Self::new(HookStatus::Active, Action::Adopted);

    const fn new(status: HookStatus, action: Action) -> Self {
        Self { status, action, reason: None }
    }
}
