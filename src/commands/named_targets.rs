//! The targets on record that a person names.

use crate::domain::excerpt;
use crate::error::{Error, ErrorKind, Result};
use crate::store::{Inbox, TargetRecord};

/// The targets of this name: those of flags may share one with a target of an earlier run.
///
/// # Errors
/// When there is none, or the inbox cannot be read.
pub fn named_targets(inbox: &dyn Inbox, name: &str) -> Result<Vec<TargetRecord>> {
    let mut targets = inbox.target_records()?;
    targets.retain(|target| target.name == name);
    if targets.is_empty() { Err(no_such_target(name)) } else { Ok(targets) }
}

/// The error for a name that no target has.
pub fn no_such_target(name: &str) -> Error {
    Error::new(ErrorKind::NotFound, format!("there is no target with the name {}", excerpt(name, 100)))
        .hint("`bugfender-hooks targets list` shows the names")
}
