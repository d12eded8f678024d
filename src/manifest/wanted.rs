//! What manifests ask for, with all names, variables and files resolved.

use std::fmt;

use crate::domain::{AppId, EventKind, Label, ManifestName, TargetUrl};
use crate::error::TextPlace;

/// All hooks of one owner.
#[derive(Debug, Clone)]
pub struct Manifest {
    /// The owner.
    pub name: ManifestName,
    /// The hooks, each once, in the order of the files.
    pub hooks: Vec<WantedHook>,
}

/// A hook that is to exist: one event of one app.
#[derive(Clone, PartialEq, Eq)]
pub struct WantedHook {
    /// The app.
    pub app_id: AppId,
    /// What the manifest calls the app, if it gives it a name.
    pub app: Option<String>,
    /// The event.
    pub event: EventKind,
    /// The endpoint.
    pub target_url: TargetUrl,
    /// The endpoint as the manifest has it, without what variables and files stand for and without passwords.
    pub shown_target: String,
    /// Whether a part of the endpoint comes from the environment or a file.
    pub is_secret: bool,
    /// The label; a hook without one is to have none.
    pub label: Option<Label>,
    /// Where it is asked for.
    pub place: TextPlace,
}

/// The endpoint is left out, as it may be a secret.
impl fmt::Debug for WantedHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { app_id, event, shown_target, label, .. } = self;
        let mut shown = f.debug_struct("WantedHook");
        shown.field("app_id", app_id).field("event", event).field("target", shown_target).field("label", label).finish()
    }
}
