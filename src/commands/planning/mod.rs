//! What `plan` and `apply` have in common: which manifest, what is planned, and how that is shown.

mod brake_row;
mod row;
mod saved;
mod view;

pub use brake_row::BrakeRow;
pub use row::Disclosure;
pub use saved::SavedPlan;
pub use view::{AppliedView, PlanView, planned_counts};

use std::collections::HashSet;
use std::path::PathBuf;

use super::manifest_args;
use crate::context::Context;
use crate::domain::{HostScope, Subscription};
use crate::error::{Error, ErrorKind, Result};
use crate::hooks;
use crate::manifest::{Manifest, Plan, PlanAction, PlanOptions, PlannedHook};
use crate::store::Registry;

/// What a plan may do.
#[derive(clap::Args)]
pub struct PlanArgs {
    /// Remove hooks of this manifest that it does not name any more
    #[arg(long)]
    pub prune: bool,

    /// Take over hooks that are on record and that no manifest owns
    #[arg(long)]
    pub adopt: bool,
}

impl PlanArgs {
    /// The same, for the plan.
    pub fn options(&self) -> PlanOptions {
        PlanOptions { prune: self.prune, adopt: self.adopt }
    }
}

/// A manifest, what may be done about it, and where it was read.
pub struct PlanRequest {
    /// The files and directories.
    pub files: Vec<PathBuf>,
    /// The files that were read.
    pub read: Vec<PathBuf>,
    /// What the plan may do.
    pub options: PlanOptions,
    /// What the files say.
    pub manifest: Manifest,
}

impl PlanRequest {
    /// Reads the manifest.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn read(ctx: &Context, files: Vec<PathBuf>, options: PlanOptions) -> Result<Self, Vec<Error>> {
        let (manifest, read) = manifest_args::load(ctx, &files)?;
        Ok(Self { files, read, options, manifest })
    }

    /// What has to be done, by the registry as it is now; without one all hooks are missing.
    ///
    /// # Errors
    /// When the registry cannot be read.
    pub fn plan(&self, ctx: &Context, registry: Option<&dyn Registry>) -> Result<Plan> {
        planned(ctx, self.manifest.clone(), self.options, registry)
    }

    /// The same, for whoever plans once. Gives the files of the manifest, too.
    ///
    /// # Errors
    /// When the registry cannot be read.
    pub fn into_plan(self, ctx: &Context, registry: Option<&dyn Registry>) -> Result<(Plan, Vec<PathBuf>)> {
        Ok((planned(ctx, self.manifest, self.options, registry)?, self.files))
    }
}

fn planned(ctx: &Context, manifest: Manifest, options: PlanOptions, registry: Option<&dyn Registry>) -> Result<Plan> {
    let mut records = Vec::new();
    if let Some(registry) = registry {
        registry.hooks(Some(ctx.origin()), &mut |record| records.push(record))?;
    }
    Ok(Plan::new(manifest, ctx.origin(), options, records))
}

/// Warns of new hooks whose endpoints Bugfender cannot reach.
///
/// # Errors
/// A usage error for a target that cannot be meant.
pub fn check_targets(ctx: &Context, plan: &Plan) -> Result<()> {
    let mut seen = HashSet::new();
    for planned in plan.hooks.iter().filter(|hook| matches!(hook.action, PlanAction::Create | PlanAction::Replace)) {
        let Some(wanted) = &planned.wanted else { continue };
        if wanted.target_url.scope() == HostScope::Public || !seen.insert(&wanted.shown_target) {
            continue;
        }
        let (app_id, event, target_url) = (wanted.app_id, wanted.event, wanted.target_url.clone());
        let subscription = Subscription { origin: ctx.origin().clone(), app_id, event, target_url };
        hooks::check_target(ctx, &subscription, &wanted.shown_target)?;
    }
    Ok(())
}

/// The errors of hooks that another manifest owns: nothing is changed then.
pub fn refusals(plan: &Plan) -> Vec<Error> {
    let foreign = plan.hooks.iter().filter(|hook| hook.action == PlanAction::Foreign);
    let refusal =
        |hook: &PlannedHook| {
            let (wanted, record) = hook.wanted.as_ref().zip(hook.record.as_ref())?;
            let owner = record.managed_by.as_ref()?;
            let message = format!("{} belongs to the manifest {owner}, and {} names it too", record.name(), plan.name);
            let error = Error::new(ErrorKind::Usage, message).at(wanted.place.clone());
            Some(error.hint(format!(
                "name it in one of them only: {owner} gives it up when it is removed there with --prune"
            )))
        };
    foreign.filter_map(refusal).collect()
}
