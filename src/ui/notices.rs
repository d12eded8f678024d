//! What came of a change, for the page that is shown after it.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

/// How many are kept; those that nobody asked for go first.
const KEPT: usize = 200;

/// A line about a change.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Notice {
    pub(super) text: String,
    pub(super) is_bad: bool,
    /// What the other side answered.
    pub(super) detail: Option<String>,
}

impl Notice {
    pub(super) fn good(text: impl Into<String>) -> Self {
        Self { text: text.into(), is_bad: false, detail: None }
    }

    pub(super) fn bad(text: impl Into<String>) -> Self {
        Self { is_bad: true, ..Self::good(text) }
    }
}

/// The notices that no page has shown yet: an address tells which, and nothing of what they say.
#[derive(Default)]
pub(super) struct Notices(Mutex<(u64, VecDeque<(u64, Notice)>)>);

impl Notices {
    /// Keeps a notice; returns its number.
    pub(super) fn keep(&self, notice: Notice) -> u64 {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.0 += 1;
        let number = kept.0;
        kept.1.push_back((number, notice));
        if kept.1.len() > KEPT {
            kept.1.pop_front();
        }
        number
    }

    /// The notice with this number, which is not shown again.
    pub(super) fn take(&self, number: Option<u64>) -> Option<Notice> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let place = kept.1.iter().position(|(known, _)| Some(*known) == number)?;
        kept.1.remove(place).map(|(_, notice)| notice)
    }
}
