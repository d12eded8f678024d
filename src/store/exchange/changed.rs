//! A row that both sides have: each field as the side has it that changed it.

use super::HookEntry;
use super::conflicts::{Decided, OpenConflicts};

/// An entry that both sides have.
pub(super) struct ChangedEntry<'a> {
    pub(super) base: Option<&'a HookEntry>,
    pub(super) ours: &'a HookEntry,
    pub(super) theirs: &'a HookEntry,
    pub(super) open: &'a OpenConflicts<'a>,
    pub(super) conflicts: &'a mut Vec<String>,
}

impl<'a> ChangedEntry<'a> {
    pub(super) fn merge(mut self) -> HookEntry {
        let (ours, theirs) = (self.ours, self.theirs);
        let by_status = self.with_the_status();
        HookEntry {
            api_url: ours.api_url.clone(),
            hook_id: ours.hook_id.or(theirs.hook_id),
            app_id: ours.app_id,
            event: ours.event,
            target_url: self.target(),
            status: by_status.status.clone(),
            reason: by_status.reason.clone(),
            label: self.optional("label", |entry| entry.label.clone()),
            managed_by: self
                .optional("managed_by", |entry| entry.managed_by.as_ref().map(ToString::to_string))
                .and_then(|name| name.parse().ok()),
            replaces: self
                .optional("replaces", |entry| entry.replaces.map(|id| id.to_string()))
                .and_then(|id| id.parse().ok()),
            created_at: ours.created_at,
            updated_at: ours.updated_at.max(theirs.updated_at),
        }
    }

    /// The side whose status holds: the one that knows the number; a hook that has ended does not come back; else the one
    /// that changed it, or changed last.
    fn with_the_status(&mut self) -> &'a HookEntry {
        let (ours, theirs) = (self.ours, self.theirs);
        let state = |entry: &'a HookEntry| (&entry.status, &entry.reason);
        match (ours.hook_id.is_some(), theirs.hook_id.is_some()) {
            (true, false) => return ours,
            (false, true) => return theirs,
            _ if self.open.decided(self.base, Some("status")) != Decided::default() => {
                let status = self.decide("status", |entry| &entry.status, |[ours, theirs]| differing(ours, theirs));
                return if *status == ours.status { ours } else { theirs };
            }
            _ => {}
        }
        match (ours.is_ended(), theirs.is_ended()) {
            (true, false) => ours,
            (false, true) => theirs,
            _ if self.base.is_some_and(|base| state(base) == state(ours)) => theirs,
            _ if self.base.is_some_and(|base| state(base) == state(theirs)) => ours,
            // The same for whoever merges whom.
            _ => std::cmp::max_by_key(ours, theirs, |entry| (entry.updated_at, state(entry))),
        }
    }

    /// A URL with its password is the same as one without, and better. Of several ways to write it none is.
    fn target(&mut self) -> String {
        let (ours, theirs) = (self.ours.target(), self.theirs.target());
        let written = |entry: &'a HookEntry| &entry.target_url;
        let base = self.base.map(written);
        let url = match (ours.is_redacted(), theirs.is_redacted()) {
            _ if !ours.is_same_endpoint(&theirs) => {
                let (shown, other) = (self.ours.shown_target(), self.theirs.shown_target());
                self.decide("target_url", written, |_| {
                    if shown == other {
                        "has another password in ours than in theirs".to_owned()
                    } else {
                        differing(&shown, &other)
                    }
                })
            }
            (true, false) => written(self.theirs),
            (false, true) => written(self.ours),
            _ if base == Some(written(self.ours)) => written(self.theirs),
            _ if base == Some(written(self.theirs)) => written(self.ours),
            _ => written(self.ours).min(written(self.theirs)),
        };
        url.clone()
    }

    fn optional(&mut self, name: &str, of: impl Fn(&HookEntry) -> Option<String>) -> Option<String> {
        let show =
            |value: &Option<String>| value.as_ref().map_or_else(|| "none".to_owned(), |text| format!("\"{text}\""));
        self.decide(name, of, |[ours, theirs]| differing(&show(ours), &show(theirs)))
    }

    /// The value that one side changed, or a conflict.
    fn decide<T: PartialEq>(
        &mut self,
        name: &str,
        of: impl Fn(&'a HookEntry) -> T,
        say: impl Fn([&T; 2]) -> String,
    ) -> T {
        let (ours, theirs) = (of(self.ours), of(self.theirs));
        let base = self.base.map(of);
        let decided = self.open.decided(self.base, Some(name));
        if ours == theirs || (base.as_ref() == Some(&theirs) && !decided.theirs) {
            return ours;
        }
        if base.as_ref() == Some(&ours) && !decided.ours {
            return theirs;
        }
        let known = if self.ours.hook_id.is_some() { self.ours } else { self.theirs };
        self.conflicts.push(format!("{}: `{name}` {}", known.name_in_conflicts(), say([&ours, &theirs])));
        ours
    }
}

fn differing(ours: &str, theirs: &str) -> String {
    format!("is {ours} in ours and {theirs} in theirs")
}
