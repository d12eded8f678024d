//! In which order the pages of a list are read, so that its rows come oldest first and none is skipped while the list
//! changes: pure rules.

/// How rows are ordered within a list. Which it is is not documented, and seen from the first page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RowOrder {
    OldestFirst,
    NewestFirst,
}

/// How often a walk goes back because the list has changed: what is skipped after that, the overlap of the next round finds.
const MOST_RETURNS: u32 = 100;

/// What an answer says of a page and the whole list.
#[derive(Debug, Clone, Copy)]
pub(super) struct PageAnswer {
    /// How many rows are on the page.
    pub(super) rows: usize,
    /// Their order, if it can be told.
    pub(super) order: Option<RowOrder>,
    /// How many pages there are, if the server says so.
    pub(super) total_pages: Option<u64>,
    /// How many rows there are on all pages, if the server says so.
    pub(super) item_count: Option<u64>,
}

/// The way through the pages of a list.
#[derive(Debug)]
pub(super) struct PageWalk {
    size: u64,
    next: Option<u64>,
    order: Option<RowOrder>,
    item_count: Option<u64>,
    returns: u32,
}

impl PageWalk {
    /// The way through a list with so many rows on a page.
    pub(super) fn new(size: u32) -> Self {
        Self { size: u64::from(size).max(1), next: Some(1), order: None, item_count: None, returns: 0 }
    }

    /// The page to read next, from 1; none at the end.
    pub(super) fn next(&self) -> Option<u64> {
        self.next
    }

    /// Notes the answer for the next page. Returns whether its rows are to be stored now: all that are older were.
    pub(super) fn answered(&mut self, answer: &PageAnswer) -> bool {
        let Some(page) = self.next else { return false };
        let total = self.total(page, answer);
        let before = std::mem::replace(&mut self.item_count, answer.item_count);
        let Some(order) = self.order else {
            let order = answer.order.unwrap_or(RowOrder::NewestFirst);
            self.order = Some(order);
            let is_oldest = total <= 1 || order == RowOrder::OldestFirst;
            self.next = match order {
                _ if total <= 1 => None,
                RowOrder::OldestFirst => Some(2),
                RowOrder::NewestFirst => Some(total),
            };
            return is_oldest;
        };
        let difference = |more: Option<u64>, less: Option<u64>| {
            more.zip(less).map_or(0, |(more, less)| more.saturating_sub(less)).div_ceil(self.size)
        };
        match order {
            RowOrder::OldestFirst => {
                // Rows that went have moved others to pages that were read.
                let back = self.may_return(difference(before, answer.item_count));
                self.next = if back > 0 { Some(page.saturating_sub(back).max(1)) } else { Some(page + 1) };
                self.next = self.next.filter(|next| *next <= total);
                back == 0
            }
            RowOrder::NewestFirst => {
                // New rows have moved others to pages that were read.
                let back = self.may_return(difference(answer.item_count, before));
                self.next = if back > 0 {
                    Some((page + back).min(total))
                } else {
                    page.checked_sub(1).map(|next| next.min(total)).filter(|next| *next > 0)
                };
                back == 0
            }
        }
    }

    /// How many pages there are, as far as can be told.
    fn total(&self, page: u64, answer: &PageAnswer) -> u64 {
        let counted = answer.item_count.map(|count| count.div_ceil(self.size));
        let is_full = answer.rows as u64 >= self.size;
        answer.total_pages.or(counted).unwrap_or(if is_full { page + 1 } else { page })
    }

    fn may_return(&mut self, pages: u64) -> u64 {
        if pages == 0 || self.returns >= MOST_RETURNS {
            return 0;
        }
        self.returns += 1;
        pages
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A list that changes while it is read.
    struct Listing {
        rows: Vec<u32>,
        order: RowOrder,
    }

    impl Listing {
        fn page(&self, page: u64, size: usize, says_totals: bool) -> (Vec<u32>, PageAnswer) {
            let mut rows = self.rows.clone();
            if self.order == RowOrder::NewestFirst {
                rows.reverse();
            }
            let start = (usize::try_from(page).unwrap() - 1) * size;
            let shown: Vec<u32> = rows.iter().skip(start).take(size).copied().collect();
            let order = match (shown.first(), shown.last()) {
                (Some(first), Some(last)) if first < last => Some(RowOrder::OldestFirst),
                (Some(first), Some(last)) if first > last => Some(RowOrder::NewestFirst),
                _ => None,
            };
            let total_pages = Some(rows.len().div_ceil(size) as u64).filter(|_| says_totals);
            let answer = PageAnswer { rows: shown.len(), order, total_pages, item_count: Some(rows.len() as u64) };
            (shown, answer)
        }
    }

    proptest! {
        /// Rows come and go at any moment: those that were there all the time are read, and first the oldest.
        #[test]
        fn no_row_is_skipped(
            rows in 1..60_u32,
            size in 2..9_usize,
            newest_first: bool,
            says_totals: bool,
            changes in prop::collection::vec((0..40_usize, 0..4_u32, prop::option::of(0..60_u32)), 0..8),
        ) {
            let order = if newest_first { RowOrder::NewestFirst } else { RowOrder::OldestFirst };
            let mut listing = Listing { rows: (0..rows).collect(), order };
            let mut walk = PageWalk::new(u32::try_from(size).unwrap());
            let (mut read, mut gone, mut next_row, mut requests) = (Vec::new(), Vec::new(), rows, 0);
            while let Some(page) = walk.next() {
                prop_assert!(requests < 1000);
                for (_, added, removed) in changes.iter().filter(|(when, ..)| *when == requests) {
                    // The two at once can't be told by a count: one of them.
                    if *added > 0 && newest_first {
                        listing.rows.extend(next_row..next_row + added);
                        next_row += added;
                    } else if let Some(removed) = removed.filter(|_| !newest_first) {
                        listing.rows.retain(|row| *row != removed);
                        gone.push(removed);
                    }
                }
                let (shown, answer) = listing.page(page, size, says_totals);
                requests += 1;
                if walk.answered(&answer) {
                    read.extend(shown);
                }
            }
            for row in (0..rows).filter(|row| !gone.contains(row)) {
                prop_assert!(read.contains(&row), "{row} of {rows}: {read:?}");
            }
            if changes.is_empty() {
                let pages: Vec<u32> = read.chunks(size).filter_map(|page| page.iter().min().copied()).collect();
                prop_assert!(pages.is_sorted(), "{pages:?}");
                prop_assert_eq!(read.len(), rows as usize);
            }
        }
    }
}
