//! Where a list of rows by block stands: pages inside a window, then a new window from the last block.
//!
//! Etherscan pages with `page` and `offset` (rows per page) and refuses when their product is over 10,000. So a
//! window of that size is read page by page, and the next one starts at the block of the last row. The rows of that
//! block come again and are dropped, as many of each as were delivered: two transfers that look alike are two
//! transfers. Newest first, the first row pins the end of the range, so that what happens meanwhile moves nothing.
//!
//! Pure: a position and the rows it led to make the next position.

use serde::{Deserialize, Serialize};
use wharfage_sdk::{Cursor, Error, ErrorKind, page::PAGES_MAX};

use crate::address::fingerprint;

wharfage_sdk::words! {
    /// Which end of the chain comes first.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub(crate) enum Sort {
        /// Oldest first.
        Asc = "asc",
        /// Newest first.
        #[default]
        Desc = "desc",
    }
}

impl Sort {
    /// As Etherscan writes it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Asc => "asc",
            Self::Desc => "desc",
        }
    }
}

/// The rows a list asks for.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    /// The first block that counts.
    pub(crate) start_block: u64,
    /// The last block that counts; the newest one when absent.
    pub(crate) end_block: Option<u64>,
    /// The order.
    pub(crate) sort: Sort,
    /// Rows per page.
    pub(crate) limit: u32,
}

impl Span {
    /// Checks what a caller asked for.
    pub(crate) fn checked(start_block: u64, end_block: Option<u64>, sort: Sort, limit: u32) -> Result<Self, Error> {
        if !(1..=LIMIT_MAX).contains(&limit) {
            return Err(Error::invalid_request("/limit", format!("expected a number from 1 to {LIMIT_MAX}")));
        }
        if end_block.is_some_and(|end_block| end_block < start_block) {
            return Err(Error::invalid_request("/end_block", "expected a block not before start_block"));
        }
        Ok(Self { start_block, end_block, sort, limit })
    }
}

/// A row as far as its place matters.
pub(crate) trait Row {
    /// Its block.
    fn block(&self) -> u64;
    /// What tells it from the other rows of its block; the same in every answer.
    fn identity(&self) -> String;
}

/// A position in a list. It goes into the cursor, so that any instance can go on.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
pub(crate) struct Window {
    /// The question this position belongs to.
    question: u64,
    /// The page to read next, from 1, in this window.
    page: u32,
    /// Pages read so far in all windows.
    pages: u32,
    /// Where this window starts.
    start: u64,
    /// Where this window ends.
    end: Option<u64>,
    /// The block of the last row delivered.
    block: Option<u64>,
    /// The rows of that block delivered so far.
    seen: Vec<u64>,
    /// The rows of that block that the new window brings again.
    again: Vec<u64>,
}

impl Window {
    /// The position that `cursor` keeps, or the first one. `question` is whatever makes one list differ from another.
    pub(crate) fn open(question: &str, span: &Span, cursor: Option<&Cursor>) -> Result<Self, Error> {
        let question = fingerprint(&format!("{question} {span:?}"));
        let Some(cursor) = cursor else {
            return Ok(Self {
                question,
                page: 1,
                pages: 0,
                start: span.start_block,
                end: span.end_block,
                block: None,
                seen: Vec::new(),
                again: Vec::new(),
            });
        };
        let window: Self = cursor.decode()?;
        let is_within = (1..=WINDOW_ROWS / span.limit).contains(&window.page) && window.pages < PAGES_MAX;
        if window.question == question && is_within {
            Ok(window)
        } else {
            Err(Error::cursor_invalid("the cursor belongs to another list; start again without it"))
        }
    }

    /// The page to ask for, from 1.
    pub(crate) fn page(&self) -> u32 {
        self.page
    }

    /// The first block to ask for.
    pub(crate) fn start(&self) -> u64 {
        self.start
    }

    /// The last block to ask for, where there is one.
    pub(crate) fn end(&self) -> Option<u64> {
        self.end
    }

    /// What of `rows`, the page just read, is new, and where to go on.
    ///
    /// # Errors
    ///
    /// When one block fills a whole window, for nothing can be asked beyond it, and when the list has too many pages.
    pub(crate) fn after<R: Row>(self, span: &Span, rows: Vec<R>) -> Result<(Vec<R>, Option<Self>), Error> {
        self.after_within(span, rows, WINDOW_ROWS)
    }

    fn after_within<R: Row>(
        mut self,
        span: &Span,
        rows: Vec<R>,
        window_rows: u32,
    ) -> Result<(Vec<R>, Option<Self>), Error> {
        let is_full = rows.len() >= usize::try_from(span.limit).unwrap_or(usize::MAX);
        if let (Sort::Desc, 1, Some(newest)) = (span.sort, self.page, rows.first()) {
            self.end = Some(newest.block());
        }
        let mut fresh = Vec::with_capacity(rows.len());
        for row in rows {
            let in_order = self.block.is_none_or(|last| match span.sort {
                Sort::Asc => row.block() >= last,
                Sort::Desc => row.block() <= last,
            });
            if !in_order {
                // An answer that ignores where it was to begin would lead round for ever.
                return Err(Error::schema_violation(format!(
                    "block {} stands where it cannot in the order asked for",
                    row.block()
                )));
            }
            if self.is_new(&row) {
                fresh.push(row);
            }
        }
        self.pages += 1;
        let next = match self.block {
            Some(block) if is_full => Some(self.onwards(block, span, window_rows)?),
            _ => None,
        };
        Ok((fresh, next))
    }

    /// Notes a row, and whether it was not delivered before.
    fn is_new(&mut self, row: &impl Row) -> bool {
        let key = fingerprint(&row.identity());
        if self.block != Some(row.block()) {
            self.block = Some(row.block());
            self.seen.clear();
            self.again.clear();
        }
        if let Some(at) = self.again.iter().position(|again| *again == key) {
            self.again.swap_remove(at);
            return false;
        }
        self.seen.push(key);
        true
    }

    fn onwards(mut self, block: u64, span: &Span, window_rows: u32) -> Result<Self, Error> {
        if self.pages >= PAGES_MAX {
            let message = format!("the list has more than {PAGES_MAX} pages");
            return Err(Error::new(ErrorKind::LimitExceeded("pages-max".to_owned()), message));
        }
        if (self.page + 1) * span.limit <= window_rows {
            self.page += 1;
            return Ok(self);
        }
        let stuck = match span.sort {
            Sort::Asc => std::mem::replace(&mut self.start, block) == block,
            Sort::Desc => self.end.replace(block) == Some(block),
        };
        if stuck {
            let message = format!("block {block} alone has more rows than Etherscan's window of {window_rows}");
            return Err(Error::provider_reported("result-window", message));
        }
        self.page = 1;
        self.again.clone_from(&self.seen);
        Ok(self)
    }
}

/// `page` times `offset` may not be more. Source: the refusal "Result window is too large, PageNo x Offset size must be
/// less than or equal to 10000", seen 2026-11-22.
pub(crate) const WINDOW_ROWS: u32 = 10_000;

/// Rows per page where nobody asks for another number.
pub(crate) fn limit() -> u32 {
    100
}

/// The most rows a page may have on the free plan since 2026-07-01 (docs.etherscan.io/changelog, May 2026). A larger
/// page would come back short, and a short page is how the end of a list is told.
const LIMIT_MAX: u32 = 1_000;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug, PartialEq, Eq)]
    struct Transfer {
        block: u64,
        name: u8,
    }

    impl Row for Transfer {
        fn block(&self) -> u64 {
            self.block
        }

        fn identity(&self) -> String {
            self.name.to_string()
        }
    }

    /// A chain of these rows, asked as Etherscan is asked.
    fn answer(chain: &[Transfer], window: &Window, span: &Span) -> Vec<Transfer> {
        let mut rows: Vec<_> = chain
            .iter()
            .filter(|row| row.block >= window.start() && window.end().is_none_or(|end| row.block <= end))
            .cloned()
            .collect();
        if span.sort == Sort::Desc {
            rows.reverse();
        }
        let limit = span.limit as usize;
        rows.into_iter().skip((window.page() as usize - 1) * limit).take(limit).collect()
    }

    /// Reads a list to its end, each page in a fresh instance. `between` is what happens on the chain between two
    /// pages.
    fn listed(
        mut chain: Vec<Transfer>,
        span: &Span,
        window_rows: u32,
        mut between: impl FnMut(&mut Vec<Transfer>),
    ) -> Result<Vec<Transfer>, Error> {
        let mut all = Vec::new();
        let mut cursor = None;
        loop {
            let window = Window::open("test", span, cursor.as_ref())?;
            assert!(window.page() * span.limit <= window_rows, "outside the window");
            let rows = answer(&chain, &window, span);
            let (fresh, next) = window.after_within(span, rows, window_rows)?;
            all.extend(fresh);
            match next {
                Some(next) => cursor = Some(Cursor::encode(&next)?),
                None => return Ok(all),
            }
            between(&mut chain);
        }
    }

    fn span(sort: Sort, limit: u32) -> Span {
        Span { start_block: 0, end_block: None, sort, limit }
    }

    fn chain(blocks: &[(u64, &[u8])]) -> Vec<Transfer> {
        blocks
            .iter()
            .flat_map(|(block, names)| names.iter().map(|name| Transfer { block: *block, name: *name }))
            .collect()
    }

    #[test]
    fn a_new_window_starts_at_the_last_block_without_its_duplicates() -> Result<(), Error> {
        let chain = chain(&[(5, b"a"), (6, b"bcd"), (7, b"e")]);
        for (sort, mut expected) in [(Sort::Asc, chain.clone()), (Sort::Desc, chain.clone())] {
            if sort == Sort::Desc {
                expected.reverse();
            }
            assert_eq!(listed(chain.clone(), &span(sort, 2), 4, |_| ())?, expected, "{sort:?}");
        }
        Ok(())
    }

    #[test]
    fn two_transfers_that_look_alike_are_two() -> Result<(), Error> {
        let after_them = chain(&[(5, b"a"), (6, b"xxy"), (7, b"z")]);
        assert_eq!(listed(after_them.clone(), &span(Sort::Asc, 2), 4, |_| ())?, after_them);
        let between_them = chain(&[(4, b"ab"), (5, b"c"), (6, b"xxy"), (7, b"z")]);
        assert_eq!(listed(between_them.clone(), &span(Sort::Asc, 4), 4, |_| ())?, between_them);
        Ok(())
    }

    #[test]
    fn a_block_larger_than_a_window_is_an_error_and_never_a_gap() {
        for sort in [Sort::Asc, Sort::Desc] {
            let error =
                listed(chain(&[(6, b"abcdefg")]), &span(sort, 2), 4, |_| ()).map_err(|error| error.message.clone());
            assert!(error.as_ref().is_err_and(|message| message.contains("block 6 alone")), "{error:?}");
        }
    }

    /// Newest first, with offsets counted from the newest row: every new row pushes one already read onto the next
    /// page.
    #[test]
    fn what_happens_meanwhile_moves_nothing() -> Result<(), Error> {
        let before = chain(&[(1, b"a"), (2, b"b"), (3, b"c"), (4, b"d"), (5, b"e")]);
        let mut newest = 5;
        let rows = listed(before.clone(), &span(Sort::Desc, 2), 4, |chain| {
            newest += 1;
            chain.push(Transfer { block: newest, name: b'n' });
        })?;
        assert_eq!(rows, before.into_iter().rev().collect::<Vec<_>>());
        Ok(())
    }

    #[test]
    fn a_cursor_of_another_list_is_refused() -> Result<(), Error> {
        let span = span(Sort::Asc, 2);
        let (_, next) = Window::open("transactions of a", &span, None)?.after(&span, chain(&[(1, b"ab")]))?;
        let cursor = Cursor::encode(&next.ok_or_else(|| Error::not_found("a next page"))?)?;
        assert!(Window::open("transactions of a", &span, Some(&cursor)).is_ok());
        assert!(Window::open("transactions of b", &span, Some(&cursor)).is_err());
        assert!(Window::open("transactions of a", &Span { limit: 3, ..span }, Some(&cursor)).is_err());
        Ok(())
    }

    /// A server that ignored `endblock` gave the same page again and again, and the list went round without end.
    #[test]
    fn an_answer_that_begins_again_is_refused() {
        let span = span(Sort::Desc, 2);
        let window = Window::open("transactions of a", &span, None).unwrap();
        let page = || chain(&[(9, &[1]), (8, &[2])]);
        let (rows, next) = window.after_within(&span, page(), 2).unwrap();
        assert_eq!(rows.len(), 2);
        let error = next.unwrap().after_within(&span, page(), 2).unwrap_err();
        assert_eq!(error.kind, ErrorKind::SchemaViolation);
    }

    #[test]
    fn a_list_has_an_end() {
        let span = span(Sort::Asc, 1);
        let window = Window::open("endless", &span, None).map(|window| Window { pages: PAGES_MAX - 1, ..window });
        assert!(window.and_then(|window| window.after(&span, chain(&[(1, b"a")]))).is_err());
    }

    #[test]
    fn what_cannot_be_asked_is_refused() {
        assert!(Span::checked(0, None, Sort::Asc, 0).is_err());
        assert!(Span::checked(0, None, Sort::Asc, LIMIT_MAX + 1).is_err());
        assert!(Span::checked(8, Some(7), Sort::Asc, 10).is_err());
        assert!(Span::checked(7, Some(7), Sort::Asc, LIMIT_MAX).is_ok());
    }

    proptest! {
        /// Whatever lies in the blocks, however large page and window: each row comes once, in order.
        #[test]
        fn every_row_comes_once(
            blocks in prop::collection::vec((1u64..4, prop::collection::vec(0u8..3, 1..4)), 0..30),
            limit in 1u32..5,
            pages_in_window in 1u32..5,
            is_desc: bool,
        ) {
            let mut block = 0;
            let mut expected = Vec::new();
            for (gap, names) in blocks {
                block += gap;
                expected.extend(names.into_iter().map(|name| Transfer { block, name }));
            }
            let window_rows = (limit * pages_in_window).max(4).next_multiple_of(limit);
            let sort = if is_desc { Sort::Desc } else { Sort::Asc };
            let chain = expected.clone();
            if is_desc {
                expected.reverse();
            }
            prop_assert_eq!(listed(chain, &span(sort, limit), window_rows, |_| ()), Ok(expected));
        }
    }
}
