//! Where one list stands that is read from its oldest row on, and what of a page counts. Pure.

use serde::{Deserialize, Serialize};
use wharfage_sdk::Error;

use super::Movement;
use crate::{address::fingerprint, window::WINDOW_ROWS};

/// Rows asked for at once. Most runs find a few; a burst takes more pages.
pub(crate) const ROWS: u32 = 200;

/// Blocks beyond the confirmations after which nothing more comes to light of a block.
const SETTLED: u64 = 100;

/// A place in a list.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
pub(crate) struct Lane {
    /// The block to ask from: the last one that was read, or the one after it once that is settled.
    start: u64,
    /// The page to read, from 1.
    #[serde(default = "first", skip_serializing_if = "is_first")]
    page: u32,
    /// The block of the last row that counted, while there are further pages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    block: Option<u64>,
    /// The rows of that block which others may look like.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    seen: Vec<u64>,
}

fn first() -> u32 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_first(page: &u32) -> bool {
    *page == 1
}

/// Rows that count, each with the number of those before it that look the same; where to go on; whether there is more.
type Read<R> = (Vec<(R, usize)>, Lane, bool);

impl Lane {
    /// Reads from this block on.
    pub(crate) fn at(start: u64) -> Self {
        Self { start, page: 1, block: None, seen: Vec::new() }
    }

    /// The block to ask from.
    pub(crate) fn start(&self) -> u64 {
        self.start
    }

    /// The page to ask for.
    pub(crate) fn page(&self) -> u32 {
        self.page
    }

    /// What counts of `rows`, the page just read, each row with the number of those before it in its block that look the
    /// same; where to go on; and whether there is more.
    ///
    /// # Errors
    /// When rows are not in the order asked for, and when one block alone has more than can be asked for.
    pub(crate) fn after<R: Movement>(&self, rows: Vec<R>, confirmations: u64) -> Result<Read<R>, Error> {
        self.after_within(rows, confirmations, ROWS, WINDOW_ROWS)
    }

    fn after_within<R: Movement>(
        &self,
        rows: Vec<R>,
        confirmations: u64,
        page_rows: u32,
        window_rows: u32,
    ) -> Result<Read<R>, Error> {
        let mut more = rows.len() >= page_rows as usize;
        let mut next = self.clone();
        let mut found = Vec::with_capacity(rows.len());
        let mut is_settled = false;
        for row in rows {
            if row.block() < next.block.unwrap_or(self.start) {
                return Err(Error::schema_violation(format!(
                    "block {} stands where it cannot in the order asked for",
                    row.block()
                )));
            }
            if row.confirmations() < confirmations {
                more = false;
                break;
            }
            is_settled = row.confirmations() >= confirmations.saturating_add(SETTLED);
            if next.block != Some(row.block()) {
                next.block = Some(row.block());
                next.seen.clear();
            }
            let nth = if row.is_unlike_others() { 0 } else { next.note(fingerprint(&row.identity())) };
            found.push((row, nth));
        }
        let block = next.block.unwrap_or(self.start);
        if !more {
            // A block that is settled is not read again: the host knows a name for a month, and an account may be quiet
            // for longer.
            return Ok((found, Self::at(block + u64::from(is_settled)), false));
        }
        if (next.page + 1) * page_rows <= window_rows {
            next.page += 1;
            return Ok((found, next, true));
        }
        if block == self.start {
            let message = format!("block {block} alone has more rows than Etherscan's window of {window_rows}");
            return Err(Error::provider_reported("result-window", message));
        }
        Ok((found, Self::at(block), true))
    }

    /// Notes a row, and how many before it look the same.
    fn note(&mut self, row: u64) -> usize {
        let before = self.seen.iter().filter(|seen| **seen == row).count();
        self.seen.push(row);
        before
    }
}

/// Where the row lies of which there are so many from the newest on: page, rows per page, and place on it. A list ends
/// after its window, and so does a backfill.
pub(crate) fn place_of(rows: u32) -> (u32, u32, usize) {
    const PAGE: u32 = 1_000;
    let at = rows.clamp(1, WINDOW_ROWS) - 1;
    match at / PAGE {
        0 => (1, at + 1, at as usize),
        page => (page + 1, PAGE, (at % PAGE) as usize),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::window;

    /// A row of a block; those of one name look alike.
    #[derive(Clone, Debug, Deserialize)]
    struct Row {
        block: u64,
        name: u8,
        confirmations: u64,
    }

    impl window::Row for Row {
        fn block(&self) -> u64 {
            self.block
        }

        fn identity(&self) -> String {
            format!("{} {}", self.block, self.name)
        }
    }

    impl Movement for Row {
        fn confirmations(&self) -> u64 {
            self.confirmations
        }

        fn is_unlike_others(&self) -> bool {
            false
        }
    }

    /// A chain of these rows as it is asked when its newest block is `head`.
    fn answer(chain: &[(u64, u8)], head: u64, lane: &Lane, rows: u32) -> Vec<Row> {
        let there = chain.iter().filter(|(block, _)| *block >= lane.start() && *block <= head);
        let rows_before = (lane.page() as usize - 1) * rows as usize;
        there
            .skip(rows_before)
            .take(rows as usize)
            .map(|(block, name)| Row { block: *block, name: *name, confirmations: head - block })
            .collect()
    }

    /// Reads until there is nothing more, and notes the names of what was found.
    fn read(chain: &[(u64, u8)], head: u64, lane: &mut Lane, names: &mut BTreeSet<String>) -> Result<(), Error> {
        for _ in 0..10_000 {
            let (found, next, more) = lane.after_within(answer(chain, head, lane, 3), 12, 3, 9)?;
            names.extend(found.iter().map(|(row, nth)| format!("{} {nth}", window::Row::identity(row))));
            // Through the cursor, as between two calls.
            *lane = serde_json::from_str(&serde_json::to_string(&next).unwrap_or_default())
                .map_err(|error| Error::internal(error.to_string()))?;
            if !more {
                return Ok(());
            }
        }
        Err(Error::internal("it does not end"))
    }

    #[test]
    fn the_place_of_a_backfill_is_on_a_page_that_can_be_asked_for() {
        for (rows, place) in [
            (1, (1, 1, 0)),
            (1_000, (1, 1_000, 999)),
            (1_001, (2, 1_000, 0)),
            (10_000, (10, 1_000, 999)),
            (u32::MAX, (10, 1_000, 999)),
        ] {
            assert_eq!(place_of(rows), place, "{rows}");
        }
    }

    #[test]
    fn a_block_larger_than_a_window_is_an_error_and_never_a_gap() {
        let chain: Vec<(u64, u8)> = (0..20).map(|name| (5, name)).collect();
        let error = read(&chain, 100, &mut Lane::at(5), &mut BTreeSet::new()).map_err(|error| error.message.clone());
        assert!(error.as_ref().is_err_and(|message| message.contains("block 5 alone")), "{error:?}");
    }

    #[test]
    fn rows_out_of_order_are_told() {
        let rows = [7, 6].map(|block| Row { block, name: 0, confirmations: 12 }).to_vec();
        assert!(Lane::at(0).after(rows, 12).is_err());
        assert!(Lane::at(8).after(vec![Row { block: 7, name: 0, confirmations: 12 }], 12).is_err());
    }

    proptest! {
        /// Whatever comes about between runs, and however many rows a block has: each row has a name of its own, each
        /// final one is found, and none that is not.
        #[test]
        fn every_final_row_is_found_once_by_name(
            steps in prop::collection::vec((0..4u64, 0..3u8), 0..60),
            heads in prop::collection::vec(0..40u64, 1..8),
        ) {
            let mut block = 100;
            let mut chain = Vec::new();
            for (step, name) in steps {
                block += step;
                chain.push((block, name));
            }
            // A block holds at most what can be read of it.
            let mut count = 0;
            let mut last = 0;
            chain.retain(|(block, _)| {
                count = if *block == last { count + 1 } else { 1 };
                last = *block;
                count < 6
            });
            let (mut lane, mut names, mut head) = (Lane::at(0), BTreeSet::new(), 100);
            for more in heads.into_iter().chain([200]) {
                head += more;
                prop_assert!(read(&chain, head, &mut lane, &mut names).is_ok());
                let expected = chain.iter().filter(|(block, _)| block + 12 <= head).count();
                prop_assert_eq!(names.len(), expected, "head {}, {:?}", head, lane);
            }
        }
    }
}
