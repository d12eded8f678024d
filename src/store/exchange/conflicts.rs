//! What merges could not decide: named in words, and found again by them.

use super::HookEntry;

/// The conflicts that the three versions have. The base has some where two branches were merged into each other: its
/// version is a merge that nobody has looked at.
pub(super) struct OpenConflicts<'a> {
    pub(super) base: &'a [String],
    pub(super) ours: &'a [String],
    pub(super) theirs: &'a [String],
}

/// Which side has decided what the base left open. What it says then is its decision, also where that is what the base says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Decided {
    pub(super) ours: bool,
    pub(super) theirs: bool,
}

impl OpenConflicts<'_> {
    /// Who has decided a conflict about a field of a hook; without a field, any about it.
    pub(super) fn decided(&self, hook: Option<&HookEntry>, field: Option<&str>) -> Decided {
        let Some(hook) = hook.filter(|_| !self.base.is_empty()) else { return Decided::default() };
        let name = hook.name_in_conflicts();
        let is_open = |conflicts: &[String]| conflicts.iter().any(|text| is_about(text, &name, field));
        let was_open = is_open(self.base);
        Decided { ours: was_open && !is_open(self.ours), theirs: was_open && !is_open(self.theirs) }
    }

    /// Those that are still open: neither side has decided them.
    pub(super) fn left(&self) -> Vec<String> {
        let is_left =
            |text: &&String| self.ours.contains(text) && self.theirs.contains(text) || !self.base.contains(text);
        let mut left: Vec<String> = Vec::new();
        for text in self.ours.iter().chain(self.theirs).filter(is_left) {
            if !left.contains(text) {
                left.push(text.clone());
            }
        }
        left
    }
}

/// Conflicts about a field begin with the hook and the field; others are about its status, or about whether it is there.
fn is_about(text: &str, name: &str, field: Option<&str>) -> bool {
    let Some(rest) = text.strip_prefix(name).and_then(|rest| rest.strip_prefix(": ")) else { return false };
    let named = rest.strip_prefix('`').and_then(|rest| rest.split_once('`')).map(|(named, _)| named);
    field.is_none() || named == field || (named.is_none() && field == Some("status"))
}
