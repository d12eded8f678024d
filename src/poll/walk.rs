//! In which order the pages of a list are read, so that its rows come oldest first and none is skipped while the list
//! changes: pure rules.
//!
//! Rows are counted from the oldest. How many of them were read is known, and each answer says how many there are, so that
//! it is known where the rows of a page stand, in whatever order the list is.

/// How rows are ordered within a list. Which it is is not documented, and seen from the first page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RowOrder {
    OldestFirst,
    NewestFirst,
}

/// How often in a row a page is read that does not go on from where the one before ended: a server whose counts are wrong is
/// not asked for ever.
const MOST_GAPS: u32 = 20;

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
    order: Option<RowOrder>,
    /// How many of the oldest rows were read.
    read: u64,
    /// How many rows there are, as the last answer said.
    count: u64,
    /// How many have to be read: those that come after the beginning are for the next time.
    goal: u64,
    gaps: u32,
    /// How many rows there are on so many pages, once the last page was seen.
    counted: Option<(u64, u64)>,
}

impl PageWalk {
    /// The way through a list with so many rows on a page.
    pub(super) fn new(size: u32) -> Self {
        Self { size: u64::from(size).max(1), order: None, read: 0, count: 0, goal: 0, gaps: 0, counted: None }
    }

    /// The page to read next, from 1; none at the end.
    pub(super) fn next(&self) -> Option<u64> {
        match self.order {
            None => Some(1),
            Some(_) if self.read >= self.goal.min(self.count) => None,
            Some(RowOrder::OldestFirst) => Some(self.read / self.size + 1),
            Some(RowOrder::NewestFirst) => Some((self.count - self.read).div_ceil(self.size)),
        }
    }

    /// Notes the answer for the next page. Returns whether its rows are to be stored now: all that are older were.
    pub(super) fn answered(&mut self, answer: &PageAnswer) -> bool {
        let Some(page) = self.next() else { return false };
        let (count, is_told) = self.count_of(page, answer);
        if self.order.is_none() {
            // A list whose length is not told is read to its end from the beginning.
            let order = if is_told { answer.order.unwrap_or(RowOrder::NewestFirst) } else { RowOrder::OldestFirst };
            self.order = Some(order);
            self.goal = count;
        } else if answer.item_count.is_some() {
            // Which rows went is not known: at worst some of those that were read, so that others moved into their places.
            let gone = self.count.saturating_sub(count);
            self.read = self.read.saturating_sub(gone);
            self.goal = self.goal.saturating_sub(gone);
        } else if !is_told {
            // A full page may have another behind it, which may be empty.
            self.goal = count;
        }
        self.count = count;
        let (first, end) = match self.order {
            Some(RowOrder::NewestFirst) => {
                (count.saturating_sub(page * self.size), count.saturating_sub((page - 1) * self.size))
            }
            _ => ((page - 1) * self.size, (page * self.size).min(count)),
        };
        let goes_on = first <= self.read && (end > self.read || count == 0);
        self.gaps = if goes_on { 0 } else { self.gaps + 1 };
        if goes_on || self.gaps > MOST_GAPS {
            self.read = end.max(self.read + 1);
            self.gaps = 0;
            return true;
        }
        false
    }

    /// How many rows there are, and whether the server tells.
    fn count_of(&mut self, page: u64, answer: &PageAnswer) -> (u64, bool) {
        if answer.total_pages == Some(page) {
            // The last page need not be full.
            self.counted = Some((page, (page - 1) * self.size + answer.rows as u64));
        }
        let by_pages = answer.total_pages.map(|pages| {
            self.counted.filter(|(known, _)| *known == pages).map_or(pages * self.size, |(_, count)| count)
        });
        if let Some(count) = answer.item_count.or(by_pages) {
            return (count, true);
        }
        let is_full = answer.rows as u64 >= self.size;
        ((page - 1) * self.size + answer.rows as u64 + u64::from(is_full), false)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a server says of its list.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum Told {
        All,
        Items,
        Pages,
        Nothing,
    }

    /// A list that changes while it is read.
    struct Listing {
        rows: Vec<u32>,
        order: RowOrder,
        told: Told,
    }

    impl Listing {
        fn page(&self, page: u64, size: usize) -> (Vec<u32>, PageAnswer) {
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
            let total_pages = Some(rows.len().div_ceil(size) as u64);
            let item_count = Some(rows.len() as u64);
            let answer = PageAnswer {
                rows: shown.len(),
                order,
                total_pages: total_pages.filter(|_| matches!(self.told, Told::All | Told::Pages)),
                item_count: item_count.filter(|_| matches!(self.told, Told::All | Told::Items)),
            };
            (shown, answer)
        }
    }

    fn order() -> impl Strategy<Value = RowOrder> {
        prop_oneof![Just(RowOrder::OldestFirst), Just(RowOrder::NewestFirst)]
    }

    fn told() -> impl Strategy<Value = Told> {
        prop_oneof![Just(Told::All), Just(Told::Items), Just(Told::Pages), Just(Told::Nothing)]
    }

    proptest! {
        #[test]
        fn a_list_that_stays_is_read_once_and_the_oldest_first(rows in 0..60_u32, size in 2..9_usize, order in order(), told in told()) {
            let listing = Listing { rows: (0..rows).collect(), order, told };
            let mut walk = PageWalk::new(u32::try_from(size).unwrap());
            let (mut read, mut requests) = (Vec::new(), 0);
            while let Some(page) = walk.next() {
                requests += 1;
                let (mut shown, answer) = listing.page(page, size);
                if walk.answered(&answer) {
                    shown.sort_unstable();
                    read.extend(shown);
                }
            }
            let mut sorted = read.clone();
            sorted.sort_unstable();
            prop_assert_eq!(&sorted, &(0..rows).collect::<Vec<_>>());
            prop_assert!(told == Told::Nothing || read.is_sorted(), "{:?}", read);
            // The first page is read twice at most, and one behind the last if their number is not told.
            prop_assert!(requests <= rows.div_ceil(u32::try_from(size).unwrap()) + 1);
        }

        /// New rows come with every answer, or some go: those that were there all the time are read.
        #[test]
        fn no_row_is_skipped_while_the_list_changes(
            rows in 1..60_u32,
            size in 2..9_usize,
            order in order(),
            grows: bool,
            changes in prop::collection::vec((0..30_usize, 1..4_u32, 0..60_u32), 0..12),
            always: bool,
        ) {
            let mut listing = Listing { rows: (0..rows).collect(), order, told: Told::All };
            let mut walk = PageWalk::new(u32::try_from(size).unwrap());
            let (mut read, mut gone, mut next_row, mut requests) = (Vec::new(), Vec::new(), rows, 0);
            while let Some(page) = walk.next() {
                prop_assert!(requests < 300, "it does not end");
                // What comes and goes at once can't be told by a count.
                for (_, added, removed) in changes.iter().filter(|(when, ..)| *when == requests) {
                    if grows {
                        listing.rows.extend(next_row..next_row + added);
                        next_row += added;
                    } else {
                        listing.rows.retain(|row| row != removed);
                        gone.push(*removed);
                    }
                }
                if grows && always {
                    listing.rows.push(next_row);
                    next_row += 1;
                }
                let (shown, answer) = listing.page(page, size);
                requests += 1;
                if walk.answered(&answer) {
                    read.extend(shown);
                }
            }
            for row in (0..rows).filter(|row| !gone.contains(row)) {
                prop_assert!(read.contains(&row), "{row} of {rows}: {read:?}");
            }
        }
    }
}
