//! Whether what the API lists may be stored: only if its ids are those of deliveries, which is not documented.

use super::rows::IssueRow;
use crate::domain::IssueList;
use crate::domain::delivery::Via;

/// How much is held while it is not known, in bytes.
const MOST_HELD: usize = 6 * 1024 * 1024;

/// A page whose rows may be stored: all that are older were offered before.
#[derive(Debug)]
pub(super) struct OfferedPage {
    pub(super) list: IssueList,
    /// With those that are stored already.
    pub(super) rows: Vec<CheckedRow>,
    /// Whether it is the last of its list.
    pub(super) ends_list: bool,
}

/// A row, and what the inbox has of it.
#[derive(Debug)]
pub(super) struct CheckedRow {
    pub(super) row: IssueRow,
    pub(super) known: Option<Via>,
}

/// Holds pages back until an id is found that a webhook brought too.
#[derive(Debug)]
pub(super) struct TrustGate {
    is_open: bool,
    held: Vec<OfferedPage>,
    held_bytes: usize,
    /// Whether pages were let go, as there were too many: they are to be read again.
    has_dropped: bool,
    rows: u64,
    /// An id of the API, to show.
    example: Option<String>,
}

/// What is to be done when all pages were offered, or a first id was found that is the same.
#[derive(Debug)]
pub(super) enum GateVerdict {
    /// All that was offered was given back, but for these pages without rows.
    Passed(Vec<OfferedPage>),
    /// Pages that were let go may be stored: they have to be read again.
    ReadAgain,
    /// No id is the same.
    Refused {
        /// How many rows there were.
        rows: u64,
        /// An id of theirs.
        example: Option<String>,
    },
}

impl TrustGate {
    /// One that is open from the start, or not.
    pub(super) fn new(is_open: bool) -> Self {
        Self { is_open, held: Vec::new(), held_bytes: 0, has_dropped: false, rows: 0, example: None }
    }

    /// Whether pages that were let go may be stored, so that it makes no sense to read on.
    pub(super) fn must_read_again(&self) -> bool {
        self.is_open && self.has_dropped
    }

    /// Takes a page; gives those that may be stored now, in order.
    pub(super) fn offer(&mut self, page: OfferedPage) -> Vec<OfferedPage> {
        let came_by_webhook = |row: &CheckedRow| row.known == Some(Via::Webhook);
        self.is_open |= page.rows.iter().any(came_by_webhook);
        self.rows += page.rows.len() as u64;
        if self.example.is_none() {
            self.example = page.rows.first().map(|row| row.row.id.clone());
        }
        if self.must_read_again() {
            return Vec::new();
        }
        self.held_bytes += page.rows.iter().map(|row| row.row.size()).sum::<usize>();
        self.held.push(page);
        if self.is_open {
            self.held_bytes = 0;
            return std::mem::take(&mut self.held);
        }
        if self.has_dropped || self.held_bytes > MOST_HELD {
            self.held = Vec::new();
            self.has_dropped = true;
        }
        Vec::new()
    }

    /// What there is to do at the end.
    pub(super) fn verdict(self) -> GateVerdict {
        if self.must_read_again() {
            GateVerdict::ReadAgain
        } else if self.is_open || self.rows == 0 {
            GateVerdict::Passed(self.held)
        } else {
            GateVerdict::Refused { rows: self.rows, example: self.example }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::IdForm;

    fn page(size: usize, known: &[Option<Via>]) -> OfferedPage {
        let text = format!(r#"[{{"id":"a","text":"{}"}}]"#, "x".repeat(size));
        let row = |known: &Option<Via>| {
            let (mut rows, ..) = super::super::rows::read_rows(serde_json::from_str(&text).unwrap(), IdForm::Text);
            CheckedRow { row: rows.pop().unwrap(), known: *known }
        };
        OfferedPage { list: IssueList::Open, rows: known.iter().map(row).collect(), ends_list: false }
    }

    #[test]
    fn nothing_passes_before_an_id_is_found_that_is_the_same() {
        let mut gate = TrustGate::new(false);
        assert!(gate.offer(page(1, &[None])).is_empty());
        assert!(gate.offer(page(1, &[None, Some(Via::Poll)])).is_empty());
        assert_eq!(gate.offer(page(1, &[None, Some(Via::Webhook)])).len(), 3);
        assert_eq!(gate.offer(page(1, &[None])).len(), 1);
        assert!(matches!(gate.verdict(), GateVerdict::Passed(held) if held.is_empty()));
        let mut gate = TrustGate::new(false);
        assert!(gate.offer(page(1, &[None, None])).is_empty());
        assert!(matches!(gate.verdict(), GateVerdict::Refused { rows: 2, example: Some(id) } if id == "a"));
        let mut gate = TrustGate::new(false);
        assert!(gate.offer(page(1, &[])).is_empty());
        assert!(matches!(gate.verdict(), GateVerdict::Passed(held) if held.len() == 1));
        assert_eq!(TrustGate::new(true).offer(page(1, &[None])).len(), 1);
    }

    #[test]
    fn pages_that_were_let_go_are_read_again() {
        let mut gate = TrustGate::new(false);
        assert!(gate.offer(page(MOST_HELD, &[None])).is_empty());
        assert!(gate.held.is_empty() && !gate.must_read_again());
        assert!(gate.offer(page(1, &[None])).is_empty() && gate.held.is_empty());
        assert!(gate.offer(page(1, &[Some(Via::Webhook)])).is_empty());
        assert!(gate.must_read_again());
        assert!(matches!(gate.verdict(), GateVerdict::ReadAgain));
    }
}
