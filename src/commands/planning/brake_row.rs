//! What keeps `apply` from carrying a plan out, as it is shown.

use serde::Serialize;

use crate::manifest::Brake;

/// The name of [`Brake::Initial`].
const INITIAL: &str = "initial";

/// A brake, in the fields of the documented schema.
#[derive(Debug, Serialize)]
pub struct BrakeRow {
    brake: &'static str,
    message: String,
    /// The flag with which `apply` does it nevertheless.
    flag: Option<&'static str>,
}

impl From<Brake> for BrakeRow {
    fn from(brake: Brake) -> Self {
        let (name, flag) = match brake {
            Brake::LargeRemoval { .. } => ("large_removal", Some("--allow-large-removal")),
            Brake::Initial { .. } => (INITIAL, Some("--initial")),
            Brake::Empty => ("empty", None),
        };
        Self { brake: name, message: brake.to_string(), flag }
    }
}

impl BrakeRow {
    /// What it says, and what `apply` needs then, without a full stop.
    pub fn sentence(&self) -> String {
        // On a terminal it asks.
        let command = if self.brake == INITIAL { "apply --yes" } else { "apply" };
        self.with_need(|flag| format!("{command} needs {flag}"))
    }

    /// The same, as a paragraph in Markdown, with the line behind it.
    pub fn markdown(&self) -> String {
        format!("**`apply` will refuse this:** {}.\n\n", self.with_need(|flag| format!("it needs `{flag}`")))
    }

    fn with_need(&self, need: impl Fn(&str) -> String) -> String {
        let Self { message, flag, .. } = self;
        flag.map_or_else(|| message.clone(), |flag| format!("{message}: {}", need(flag)))
    }
}
