//! A long quota written down, so that a restart does not forget what was spent.
//!
//! Writing each request down would cost more than sending it. So units are reserved ahead, in portions that begin with one
//! request and double up to a hundredth of the limit: a program that makes one call writes once, one that makes a hundred
//! thousand a day writes some hundred times. What was reserved counts as spent until it is settled, so a process that dies
//! has spent more on paper than in fact, and never less. All processes that share the store draw on the same sum.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Store;
use crate::error::Result;
use crate::time::Timestamp;

/// Windows of at least this length are written down: an hour.
pub(crate) const WRITTEN_DOWN_MS: u64 = 3_600_000;

/// Added to a window, for requests that were under way when they were settled: the provider counts them when they arrive.
const SLACK_MS: u64 = 60_000;

/// One bucket's page in the ledger.
pub(crate) struct Ledger {
    store: Arc<dyn Store>,
    bucket: String,
    limit: u32,
    window_ms: u64,
    page: Mutex<Page>,
}

#[derive(Default)]
struct Page {
    row: Option<i64>,
    left: u32,
    spent: u32,
    /// What is reserved must be spent by then.
    good_until: Timestamp,
    portion: u32,
    /// A block that is not written down yet.
    block: Option<Timestamp>,
}

/// What is asked of a store: to settle one portion and to reserve another.
#[derive(Clone, Debug)]
pub(crate) struct Wish {
    /// The portion before: its row, what was really spent of it, and until when that counts.
    pub(crate) settle: Option<(i64, u32, Timestamp)>,
    /// The time.
    pub(crate) now: Timestamp,
    /// Units of the whole window.
    pub(crate) limit: u32,
    /// Units wanted, if they are there.
    pub(crate) most: u32,
    /// Units without which nothing is reserved.
    pub(crate) least: u32,
    /// Until when the new portion counts.
    pub(crate) until: Timestamp,
}

/// What came of a [`Wish`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reserved {
    /// So many units, as this row.
    Units {
        /// The row.
        row: i64,
        /// The units.
        units: u32,
    },
    /// There is no room; there may be then.
    Full {
        /// When something that counts lapses.
        until: Timestamp,
    },
}

impl Ledger {
    /// A bucket's page. Nothing is read or written before something is to be spent.
    pub(crate) fn new(store: Arc<dyn Store>, bucket: &str, limit: u32, window_ms: u64) -> Self {
        Self { store, bucket: bucket.to_owned(), limit, window_ms, page: Mutex::default() }
    }

    /// Makes sure that so many units can be spent, or says when they can. Only the head of the bucket's queue may ask.
    ///
    /// # Errors
    /// When the store cannot be read or written.
    pub(crate) async fn afford(&self, units: u32, now: Timestamp) -> Result<std::result::Result<(), Timestamp>> {
        let (wish, lasts_ms) = {
            let page = self.page();
            if page.left >= units && now < page.good_until {
                return Ok(Ok(()));
            }
            let most = page.portion.saturating_mul(2).clamp(1, (self.limit / 100).max(1)).max(units);
            let lasts_ms = self.window_ms / 24;
            let counts = |from: Timestamp| from.plus(self.window_ms).plus(SLACK_MS);
            let settle = page.row.map(|row| (row, page.spent, counts(now)));
            (Wish { settle, now, limit: self.limit, most, least: units, until: counts(now.plus(lasts_ms)) }, lasts_ms)
        };
        let most = wish.most;
        let reserved = self.store.reserve(&self.bucket, wish).await?;
        let mut page = self.page();
        page.spent = 0;
        match reserved {
            Reserved::Units { row, units } => {
                (page.row, page.left, page.portion) = (Some(row), units, most);
                page.good_until = now.plus(lasts_ms);
                Ok(Ok(()))
            }
            Reserved::Full { until } => {
                (page.row, page.left, page.portion) = (None, 0, 0);
                Ok(Err(until.max(now.plus(1))))
            }
        }
    }

    /// Spends what was made sure of.
    pub(crate) fn spend(&self, units: u32) {
        let mut page = self.page();
        page.left = page.left.saturating_sub(units);
        page.spent = page.spent.saturating_add(units);
    }

    /// Provably nothing was sent: the units come back, if they are still of the same portion.
    pub(crate) fn give_back(&self, units: u32) {
        let mut page = self.page();
        let units = units.min(page.spent);
        page.spent -= units;
        page.left = page.left.saturating_add(units);
    }

    /// Nothing is to be spent before `until`; it is written down by [`Ledger::write_down`].
    pub(crate) fn block_until(&self, until: Timestamp) {
        let mut page = self.page();
        page.block = page.block.max(Some(until));
        page.left = 0;
    }

    /// Writes down a block, if there is a new one.
    pub(crate) async fn write_down(&self) -> Result<()> {
        let block = self.page().block.take();
        let Some(until) = block else { return Ok(()) };
        let written = self.store.block(&self.bucket, until).await;
        if written.is_err() {
            let mut page = self.page();
            page.block = page.block.max(Some(until));
        }
        written
    }

    fn page(&self) -> MutexGuard<'_, Page> {
        self.page.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::super::MemoryStore;
    use super::*;

    const DAY_MS: u64 = 86_400_000;

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_millis(1_000_000 + ms)
    }

    async fn spend(ledger: &Ledger, units: u32, now: Timestamp) -> std::result::Result<(), Timestamp> {
        let afforded = ledger.afford(units, now).await.unwrap();
        if afforded.is_ok() {
            ledger.spend(units);
        }
        afforded
    }

    #[tokio::test]
    async fn a_restart_forgets_nothing_and_the_window_passes() {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
        let ledger = |store: &Arc<dyn Store>| Ledger::new(store.clone(), "day", 3, DAY_MS);
        for _ in 0..3 {
            // Each time a new process.
            assert_eq!(spend(&ledger(&store), 1, at(0)).await, Ok(()));
        }
        let until = spend(&ledger(&store), 1, at(1)).await.unwrap_err();
        assert!(until.since(at(0)) >= DAY_MS, "{until:?}");
        assert_eq!(spend(&ledger(&store), 1, until).await, Ok(()));
    }

    #[tokio::test]
    async fn processes_share_a_sum_and_none_goes_over_it() {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
        let both = [(); 2].map(|()| Ledger::new(store.clone(), "day", 1_000, DAY_MS));
        let mut spent = 0;
        for number in 0..3_000u64 {
            spent += u32::from(spend(&both[usize::from(number % 3 == 0)], 1, at(number)).await.is_ok());
        }
        assert!(spent <= 1_000, "{spent} spent");
        assert!(spent >= 980, "portions kept too much back: {spent} spent");
    }

    #[tokio::test]
    async fn what_is_spent_late_counts_from_then() {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
        let ledger = Ledger::new(store.clone(), "day", 1_000, DAY_MS);
        for _ in 0..50 {
            assert_eq!(spend(&ledger, 1, at(0)).await, Ok(()));
        }
        // A portion is not good for ever: what is spent hours later is reserved anew.
        let late = at(DAY_MS / 2);
        assert_eq!(spend(&ledger, 500, late).await, Ok(()));
        let other = Ledger::new(store, "day", 1_000, DAY_MS);
        assert!(spend(&other, 600, at(DAY_MS + 120_000)).await.is_err(), "half a day has not passed since");
        assert_eq!(spend(&other, 600, late.plus(DAY_MS * 2)).await, Ok(()));
    }

    #[tokio::test]
    async fn what_comes_back_can_be_spent_and_a_block_is_kept() {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
        let ledger = Ledger::new(store.clone(), "day", 1, DAY_MS);
        assert_eq!(spend(&ledger, 1, at(0)).await, Ok(()));
        ledger.give_back(1);
        assert_eq!(spend(&ledger, 1, at(0)).await, Ok(()));
        ledger.block_until(at(7 * DAY_MS));
        ledger.write_down().await.unwrap();
        let other = Ledger::new(store, "day", 1, DAY_MS);
        assert_eq!(spend(&other, 1, at(2 * DAY_MS)).await, Err(at(7 * DAY_MS)));
        assert_eq!(spend(&other, 1, at(7 * DAY_MS)).await, Ok(()));
    }

    #[tokio::test]
    async fn few_things_are_written() {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
        let ledger = Ledger::new(store, "day", 100_000, DAY_MS);
        let mut rows = std::collections::BTreeSet::new();
        for _ in 0..50_000 {
            assert_eq!(spend(&ledger, 1, at(0)).await, Ok(()));
            rows.insert(ledger.page().row);
        }
        assert!(rows.len() < 100, "{} portions", rows.len());
    }
}
