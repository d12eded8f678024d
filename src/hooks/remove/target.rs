//! What to remove.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use crate::domain::{ApiOrigin, HookId, HookRecord, HookStatus, RowId, Selection};
use crate::error::{Error, Result};
use crate::hooks::frontend::Frontend;
use crate::store::{Registry, Removal};

/// How long to wait before looking again whether another process has subscribed.
const PENDING_POLL_INTERVAL: Duration = Duration::from_millis(200);

/// Which hooks to remove.
#[derive(Debug, Clone)]
pub enum HookChoice {
    /// Those with these numbers, whether the registry holds them or not.
    Ids(Vec<HookId>),
    /// Those in the registry that match the selection and have not ended.
    Matching(Selection),
}

/// A hook to remove.
#[derive(Debug)]
pub enum RemovalTarget {
    /// A row with a hook id.
    Held(HookId, Box<HookRecord>),
    /// The same, when an earlier removal of it has no known end.
    Resumed(HookId, Box<HookRecord>),
    /// An id that the registry does not hold.
    Elsewhere(HookId),
    /// A row whose hook had ended when it was asked for.
    Ended(HookId, Box<HookRecord>),
    /// A row without a hook id: there is nothing to delete.
    Nameless(Box<HookRecord>),
    /// An id that is on record for another installation: here it would be somebody else's hook.
    Foreign(HookId, ApiOrigin),
}

/// A target and its place among the others.
pub(super) type Placed = (usize, RemovalTarget);

/// What to remove, once no other process is subscribing any of it: its hook would be missed.
///
/// # Errors
/// As [`pick`]; when it is interrupted.
pub fn pick_settled(
    frontend: &impl Frontend,
    registry: &dyn Registry,
    origin: &ApiOrigin,
    choice: &HookChoice,
) -> Result<Vec<RemovalTarget>> {
    let subscribing = |target: &RemovalTarget| matches!(target, RemovalTarget::Nameless(record) if record.status == HookStatus::Pending);
    let mut told = false;
    loop {
        let targets = pick(registry, origin, choice)?;
        if !targets.iter().any(subscribing) {
            return Ok(targets);
        }
        if !told {
            frontend.note("waiting for another process, which is subscribing");
            told = true;
        }
        let slept = frontend.wait(async { tokio::time::sleep(PENDING_POLL_INTERVAL).await })?;
        slept.ok_or_else(|| Error::interrupted("while another process subscribes"))?;
    }
}

/// What to remove of this installation, in the order given, or that of the registry.
///
/// # Errors
/// When the registry cannot be read.
pub fn pick(registry: &dyn Registry, origin: &ApiOrigin, choice: &HookChoice) -> Result<Vec<RemovalTarget>> {
    let selection = match choice {
        HookChoice::Ids(ids) => return pick_by_id(registry, origin, ids),
        HookChoice::Matching(selection) => selection,
    };
    let mut targets = Vec::new();
    registry.hooks(Some(origin), &mut |record| {
        if selection.takes(&record) && !record.status.is_ended() {
            targets.push(match record.hook_id {
                Some(id) => RemovalTarget::Held(id, Box::new(record)),
                None => RemovalTarget::Nameless(Box::new(record)),
            });
        }
    })?;
    Ok(targets)
}

fn pick_by_id(registry: &dyn Registry, origin: &ApiOrigin, ids: &[HookId]) -> Result<Vec<RemovalTarget>> {
    let mut held = HashMap::new();
    let mut foreign = HashMap::new();
    registry.hooks(None, &mut |record| {
        if let Some(id) = record.hook_id.filter(|id| ids.contains(id)) {
            if record.subscription.origin == *origin {
                // An id may have been reused: it means the row that has not ended.
                if !record.status.is_ended() || !held.contains_key(&id) {
                    held.insert(id, record);
                }
            } else if !record.status.is_ended() {
                foreign.insert(id, record.subscription.origin);
            }
        }
    })?;
    let mut targets = Vec::new();
    let mut seen = HashSet::new();
    for id in ids.iter().filter(|id| seen.insert(**id)) {
        targets.push(match (held.remove(id), foreign.remove(id)) {
            (Some(record), _) => RemovalTarget::Held(*id, Box::new(record)),
            (None, Some(origin)) => RemovalTarget::Foreign(*id, origin),
            (None, None) => RemovalTarget::Elsewhere(*id),
        });
    }
    Ok(targets)
}

impl RemovalTarget {
    /// What to record when its intent was, and nothing was sent after all.
    pub(super) fn taken_back(&self) -> Option<(RowId, Removal)> {
        match self {
            Self::Held(_, record) => Some((record.row, Removal::Refused)),
            Self::Resumed(_, record) => {
                let reason = record.reason.as_deref().unwrap_or("an earlier removal has no known outcome");
                Some((record.row, Removal::InDoubt(reason.to_owned())))
            }
            _ => None,
        }
    }

    /// Its record as it is while the registry cannot be told how it went on.
    pub(super) fn as_removing(&self) -> Option<HookRecord> {
        match self {
            Self::Held(_, record) | Self::Resumed(_, record) => {
                Some(HookRecord { status: HookStatus::Removing, ..(**record).clone() })
            }
            _ => None,
        }
    }

    /// The hook to send a request for.
    pub fn id(&self) -> Option<HookId> {
        match self {
            Self::Held(id, _) | Self::Resumed(id, _) | Self::Ended(id, _) | Self::Elsewhere(id) => Some(*id),
            Self::Nameless(_) | Self::Foreign(..) => None,
        }
    }

    /// The row that is to record the removal.
    pub(super) fn row(&self) -> Option<RowId> {
        match self {
            Self::Held(_, record) | Self::Resumed(_, record) => Some(record.row),
            _ => None,
        }
    }
}

/// The targets that have rows with these, which are in the same order; one that is gone stays as it was.
pub(super) fn as_recorded(targets: Vec<Placed>, records: Vec<Option<HookRecord>>) -> Vec<Placed> {
    let mut records = records.into_iter();
    let mut renewed = |target| match target {
        RemovalTarget::Held(id, old) | RemovalTarget::Resumed(id, old) => {
            RemovalTarget::Held(id, records.next().flatten().map_or(old, Box::new))
        }
        other => other,
    };
    targets.into_iter().map(|(index, target)| (index, renewed(target))).collect()
}
