//! What has to be done so that the hooks on record are those that a manifest asks for. A plan is data: nothing is sent or
//! stored to make one.

mod brakes;
mod checksum;
mod hiding;
mod matching;
#[cfg(test)]
mod tests;

use serde::Serialize;

pub use self::brakes::Brake;
pub use self::hiding::HiddenEndpoints;
use self::matching::Matching;
use super::wanted::{Manifest, WantedHook};
use crate::domain::{ApiOrigin, HookId, HookRecord, HookStatus, ManifestName};

/// What a plan may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PlanOptions {
    /// Whether hooks of this manifest that it does not name any more are removed.
    pub prune: bool,
    /// Whether hooks that no manifest owns are taken over.
    pub adopt: bool,
}

/// What is to be done about a hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PlanAction {
    /// It is not on record: it is made.
    Create,
    /// Its target changed: the new one is made, and then the old one is removed.
    Replace,
    /// It gets another label, in the registry only.
    Relabel,
    /// No manifest owned it: this one does, in the registry only.
    Adopt,
    /// It is removed.
    Remove,
    /// It is as it is to be.
    Keep,
    /// It exists, and no manifest owns it: it is left as it is. It may be a second one for what a wanted hook does.
    Unowned,
    /// It belongs to this manifest, which does not name it any more: it is left as it is.
    Extra,
    /// Whether it exists is not known.
    Unknown,
    /// Another manifest owns it.
    Foreign,
}

impl PlanAction {
    /// All of them, in the order in which they are counted.
    pub const ALL: [Self; 10] = [
        Self::Create,
        Self::Replace,
        Self::Relabel,
        Self::Adopt,
        Self::Remove,
        Self::Keep,
        Self::Unowned,
        Self::Extra,
        Self::Unknown,
        Self::Foreign,
    ];

    /// The name in output.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Replace => "replace",
            Self::Relabel => "relabel",
            Self::Adopt => "adopt",
            Self::Remove => "remove",
            Self::Keep => "keep",
            Self::Unowned => "unowned",
            Self::Extra => "extra",
            Self::Unknown => "unknown",
            Self::Foreign => "foreign",
        }
    }

    /// Whether something is to be done.
    pub const fn is_change(self) -> bool {
        matches!(self, Self::Create | Self::Replace | Self::Relabel | Self::Adopt | Self::Remove)
    }
}

/// Why a hook is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RemovalReason {
    /// The manifest does not name it any more.
    Pruned,
    /// This hook has taken its place, and its removal did not follow.
    Superseded(Option<HookId>),
    /// Its removal began earlier, and is not known to have ended.
    Begun,
}

/// A hook, and what is to be done about it.
#[derive(Debug, Clone)]
pub struct PlannedHook {
    /// What is to be done.
    pub action: PlanAction,
    /// What the manifest asks for, if it does.
    pub wanted: Option<WantedHook>,
    /// What is on record, if it is: of a replacement the hook that is removed.
    pub record: Option<HookRecord>,
    /// Why it is removed, if it is.
    pub removal: Option<RemovalReason>,
}

impl PlannedHook {
    fn of_wanted(action: PlanAction, wanted: WantedHook, record: Option<HookRecord>) -> Self {
        Self { action, wanted: Some(wanted), record, removal: None }
    }

    fn of_record(action: PlanAction, record: HookRecord) -> Self {
        Self { action, wanted: None, record: Some(record), removal: None }
    }

    /// Whether its endpoint on record may come from the environment or a file: unless the manifest has it as it is.
    fn may_be_secret(&self) -> bool {
        let (wanted, record) = (self.wanted.as_ref().filter(|wanted| !wanted.is_secret), self.record.as_ref());
        let is_known = |wanted: &WantedHook| {
            record.is_none_or(|record| record.subscription.target_url.is_same_endpoint(&wanted.target_url))
        };
        !wanted.is_some_and(is_known)
    }

    fn removal(record: HookRecord, reason: RemovalReason) -> Self {
        Self { removal: Some(reason), ..Self::of_record(PlanAction::Remove, record) }
    }
}

/// How many hooks there are of each action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct PlanCounts {
    /// [`PlanAction::Create`].
    pub create: usize,
    /// [`PlanAction::Replace`].
    pub replace: usize,
    /// [`PlanAction::Relabel`].
    pub relabel: usize,
    /// [`PlanAction::Adopt`].
    pub adopt: usize,
    /// [`PlanAction::Remove`].
    pub remove: usize,
    /// [`PlanAction::Keep`].
    pub keep: usize,
    /// [`PlanAction::Unowned`].
    pub unowned: usize,
    /// [`PlanAction::Extra`].
    pub extra: usize,
    /// [`PlanAction::Unknown`].
    pub unknown: usize,
    /// [`PlanAction::Foreign`].
    pub foreign: usize,
}

impl PlanCounts {
    fn of(&mut self, action: PlanAction) -> &mut usize {
        match action {
            PlanAction::Create => &mut self.create,
            PlanAction::Replace => &mut self.replace,
            PlanAction::Relabel => &mut self.relabel,
            PlanAction::Adopt => &mut self.adopt,
            PlanAction::Remove => &mut self.remove,
            PlanAction::Keep => &mut self.keep,
            PlanAction::Unowned => &mut self.unowned,
            PlanAction::Extra => &mut self.extra,
            PlanAction::Unknown => &mut self.unknown,
            PlanAction::Foreign => &mut self.foreign,
        }
    }

    /// How many hooks of this action there are.
    pub fn get(mut self, action: PlanAction) -> usize {
        *self.of(action)
    }
}

/// What has to be done.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The manifest, which owns the hooks.
    pub name: ManifestName,
    /// The installation.
    pub origin: ApiOrigin,
    /// What it may do.
    pub options: PlanOptions,
    /// All hooks that the manifest names or owns, by app, event and endpoint.
    pub hooks: Vec<PlannedHook>,
    /// Whether the registry holds, or held, a hook of this manifest.
    pub is_known: bool,
    /// How many hooks the manifest owns.
    pub owned: usize,
    /// How many hooks the manifest names.
    pub wanted: usize,
}

impl Plan {
    /// What has to be done so that the hooks on `records` are those of `manifest`. Only records of the installation count.
    pub fn new(manifest: Manifest, origin: &ApiOrigin, options: PlanOptions, mut records: Vec<HookRecord>) -> Self {
        let Manifest { name, hooks: wanted } = manifest;
        let wanted_count = wanted.len();
        records.retain(|record| record.subscription.origin == *origin);
        let is_own = |record: &HookRecord| record.managed_by.as_ref() == Some(&name);
        let is_known = records.iter().any(is_own);
        records.retain(|record| !record.status.is_ended());
        let owned = records.iter().filter(|record| is_own(record) && record.status == HookStatus::Active).count();
        // A manifest that names nothing may be one that was not read as it was meant: it removes nothing.
        let prune = options.prune && wanted_count > 0;
        let hooks = Matching::new(&name, PlanOptions { prune, ..options }, records).plan(wanted);
        Self { name, origin: origin.clone(), options, hooks, is_known, owned, wanted: wanted_count }
    }

    /// How many hooks of each action there are.
    pub fn counts(&self) -> PlanCounts {
        let mut counts = PlanCounts::default();
        for hook in &self.hooks {
            *counts.of(hook.action) += 1;
        }
        counts
    }

    /// How many requests it takes.
    pub fn requests(&self) -> usize {
        let counts = self.counts();
        counts.create + 2 * counts.replace + counts.remove
    }

    /// Whether something is to be done.
    pub fn has_changes(&self) -> bool {
        self.hooks.iter().any(|hook| hook.action.is_change())
    }
}
