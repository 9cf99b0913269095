//! Durable state: the verbs a store must have. One file per store.
//!
//! Values are sealed before they reach a store (see `seal.rs`), bound to connection and key, so that a copied or edited
//! record does not open.

pub(crate) mod arrival;
mod chain;
mod ledger;
mod memory;
pub(crate) mod rules;
mod seal;
#[cfg(feature = "store-sqlite")]
mod sqlite;

use zeroize::Zeroizing;

pub(crate) use arrival::Arrivals;
pub(crate) use chain::{Anchor, Break, Chain, Link, Place};
pub(crate) use ledger::{Ledger, Reserved, WRITTEN_DOWN_MS, Wish};
pub(crate) use memory::MemoryStore;
pub(crate) use seal::Seal;
#[cfg(feature = "store-sqlite")]
pub(crate) use sqlite::SqliteStore;

use crate::error::{Error, Result};
use crate::time::{BoxFuture, Timestamp};

/// Where state lives.
pub(crate) trait Store: Arrivals {
    /// The value under `key` of `connection`.
    fn get<'a>(&'a self, connection: &'a str, key: &'a str) -> BoxFuture<'a, Result<Option<Vec<u8>>>>;

    /// Keeps a value, durable when this ends. Refused when the connection would then hold more than `bytes_max` bytes
    /// or `keys_max` keys.
    fn set<'a>(
        &'a self,
        connection: &'a str,
        key: &'a str,
        value: Vec<u8>,
        bytes_max: u64,
        keys_max: u64,
    ) -> BoxFuture<'a, Result<()>>;

    /// Forgets a key.
    fn delete<'a>(&'a self, connection: &'a str, key: &'a str) -> BoxFuture<'a, Result<()>>;

    /// The keys that begin with `prefix`, in byte order.
    fn keys<'a>(&'a self, connection: &'a str, prefix: &'a str) -> BoxFuture<'a, Result<Vec<String>>>;

    /// Settles one portion of a bucket's units and reserves another, in one step that no other process sees half done.
    /// Never are more units reserved than the limit holds, nor any before a block is over. What was reserved on a clock
    /// that was ahead, or of a longer window, counts as long as what is reserved now (see [`rules::ends_at`]). So what a
    /// process reserved that lives and is ahead by more than a window counts for the others, and not for itself.
    fn reserve<'a>(&'a self, bucket: &'a str, wish: Wish) -> BoxFuture<'a, Result<Reserved>>;

    /// Begins with the answers kept under `namespace`: those of the same lineage under another are deleted. Answers the
    /// keys that are there.
    fn open_cache<'a>(&'a self, lineage: &'a str, namespace: &'a str) -> BoxFuture<'a, Result<Vec<String>>>;

    /// Keeps an answer. The oldest of its lineage go, until all together have at most `bytes_max` bytes.
    fn keep<'a>(
        &'a self,
        lineage: &'a str,
        namespace: &'a str,
        key: &'a str,
        answer: Vec<u8>,
        at: Timestamp,
        bytes_max: u64,
    ) -> BoxFuture<'a, Result<()>>;

    /// A kept answer; none if it is not there or does not open.
    fn recall<'a>(&'a self, namespace: &'a str, key: &'a str) -> BoxFuture<'a, Result<Option<Vec<u8>>>>;

    /// Forgets a kept answer.
    fn forget<'a>(&'a self, namespace: &'a str, key: &'a str) -> BoxFuture<'a, Result<()>>;

    /// The record under `name` of `owner`; one that was taken away has no bytes.
    fn record<'a>(&'a self, owner: &'a str, name: &'a str) -> BoxFuture<'a, Result<Option<Record>>>;

    /// Keeps a record, durable when this ends, if the version that is there is still `expected` (0: there never was one).
    /// Answers the new version, which is one more, or nothing where somebody else was faster.
    fn put_record<'a>(
        &'a self,
        owner: &'a str,
        name: &'a str,
        expected: u64,
        at: Timestamp,
        value: Zeroizing<Vec<u8>>,
    ) -> BoxFuture<'a, Result<Option<u64>>>;

    /// Takes a record's bytes away, which is a version of its own, so that nobody who knew an older one writes it back.
    fn remove_record<'a>(&'a self, owner: &'a str, name: &'a str) -> BoxFuture<'a, Result<bool>>;

    /// All records there are: owner, name, version, and since when; in order.
    fn records(&self) -> BoxFuture<'_, Result<Vec<Listed>>>;

    /// Takes a lease, or keeps on holding it. False while another holder has it; what was written down on a clock that was
    /// ahead holds nobody up for longer than its holder lives (see [`rules::ends_at`]).
    fn lease<'a>(
        &'a self,
        name: &'a str,
        holder: &'a str,
        now: Timestamp,
        until: Timestamp,
    ) -> BoxFuture<'a, Result<bool>>;

    /// Gives a lease back, if the holder still has it.
    fn release<'a>(&'a self, name: &'a str, holder: &'a str) -> BoxFuture<'a, Result<()>>;

    /// Adds entries to the audit trail, each linked to the one before, in one step that no other process sees half done
    /// and durable when this ends. Beyond `rows_max` the oldest go and leave an anchor. It blocks: the trail's writer
    /// calls it off the async threads, and at the end of a host there may be no others.
    fn append_audit(&self, chain: &Chain, texts: &[String], rows_max: u64) -> Result<()>;

    /// The rows of the audit trail after this number, at most so many, in order, with the anchor as it was then.
    fn audit(&self, after: u64, limit: u64) -> BoxFuture<'_, Result<(Option<Anchor>, Vec<Link>)>>;

    /// Nothing is reserved of a bucket before `until`; an earlier time than one already set changes nothing.
    fn block<'a>(&'a self, bucket: &'a str, until: Timestamp) -> BoxFuture<'a, Result<()>>;
}

/// A record in a list: owner, name, version, and since when.
pub(crate) type Listed = (String, String, u64, Timestamp);

/// A record of a store: bytes that mean nothing to it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Record {
    /// Counts up with each write, from 1.
    pub version: u64,
    /// When it was written.
    pub at: Timestamp,
    /// The bytes.
    pub value: Zeroizing<Vec<u8>>,
}

/// A connection's state would exceed this limit.
pub(crate) fn over(limit: &str, value: u64) -> Error {
    Error::limit(limit, format!("the connection's state would exceed the limit {limit} of {value}")).with_more(limit)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::error::Kind;

    /// What any store must do.
    async fn keeps_its_promises(store: Arc<dyn Store>) {
        assert_eq!(store.get("a", "k").await.unwrap(), None);
        store.set("a", "k", b"one".to_vec(), 100, 2).await.unwrap();
        store.set("a", "k", b"two".to_vec(), 100, 2).await.unwrap();
        assert_eq!(store.get("a", "k").await.unwrap().unwrap(), b"two");
        assert_eq!(store.get("b", "k").await.unwrap(), None, "another connection saw it");
        store.set("a", "k2", b"x".to_vec(), 100, 2).await.unwrap();
        assert_eq!(store.keys("a", "k").await.unwrap(), ["k", "k2"]);
        assert_eq!(store.keys("a", "k2").await.unwrap(), ["k2"]);
        let keys = store.set("a", "k3", b"x".to_vec(), 100, 2).await.unwrap_err();
        assert_eq!(keys.kind(), &Kind::LimitExceeded("state_keys".into()));
        let bytes = store.set("a", "k", vec![0; 101], 100, 2).await.unwrap_err();
        assert_eq!(bytes.kind(), &Kind::LimitExceeded("state_bytes".into()));
        assert_eq!(store.get("a", "k").await.unwrap().unwrap(), b"two", "a refused value was kept");
        store.delete("a", "k").await.unwrap();
        store.delete("a", "k").await.unwrap();
        assert_eq!(store.keys("a", "").await.unwrap(), ["k2"]);
    }

    /// What any store must do with quotas.
    async fn counts_quotas(store: Arc<dyn Store>) {
        let at = Timestamp::from_millis;
        let wish =
            |now, most, least, until| Wish { settle: None, now: at(now), limit: 10, most, least, until: at(until) };
        let units = |reserved| match reserved {
            Reserved::Units { row, units } => (row, units),
            Reserved::Full { until } => panic!("full until {until:?}"),
        };
        let (first, some) = units(store.reserve("a", wish(0, 6, 1, 100)).await.unwrap());
        assert_eq!(some, 6);
        let (_, some) = units(store.reserve("a", wish(0, 6, 1, 200)).await.unwrap());
        assert_eq!(some, 4, "as much as there is");
        let full = Reserved::Full { until: at(100) };
        assert_eq!(store.reserve("a", wish(0, 6, 1, 200)).await.unwrap(), full);
        assert_eq!(store.reserve("a", wish(0, 6, 5, 200)).await.unwrap(), full);
        assert_eq!(units(store.reserve("b", wish(0, 10, 10, 200)).await.unwrap()).1, 10, "another bucket");
        // Only one of six was spent, and counts for longer.
        let settled = Wish { settle: Some((first, 1, at(150))), ..wish(50, 9, 1, 200) };
        assert_eq!(units(store.reserve("a", settled).await.unwrap()).1, 5);
        assert_eq!(store.reserve("a", wish(149, 1, 1, 300)).await.unwrap(), Reserved::Full { until: at(150) });
        assert_eq!(units(store.reserve("a", wish(150, 9, 1, 300)).await.unwrap()).1, 1);
        assert_eq!(units(store.reserve("a", wish(200, 9, 1, 300)).await.unwrap()).1, 9);
        // What was spent on a clock that was ahead counts for one window more.
        let ahead = 200 + rules::AHEAD_MS;
        assert_eq!(units(store.reserve("d", wish(0, 10, 10, ahead)).await.unwrap()).1, 10);
        assert_eq!(store.reserve("d", wish(100, 1, 1, 200)).await.unwrap(), Reserved::Full { until: at(ahead) });
        assert_eq!(store.reserve("d", wish(100, 1, 1, 199)).await.unwrap(), Reserved::Full { until: at(199) });
        assert_eq!(units(store.reserve("d", wish(199, 1, 1, 299)).await.unwrap()).1, 1);
        store.block("c", at(500)).await.unwrap();
        store.block("c", at(400)).await.unwrap();
        assert_eq!(store.reserve("c", wish(450, 1, 1, 600)).await.unwrap(), Reserved::Full { until: at(500) });
        assert_eq!(units(store.reserve("c", wish(500, 1, 1, 600)).await.unwrap()).1, 1);
    }

    /// What any store must do with kept answers.
    async fn keeps_answers(store: Arc<dyn Store>) {
        let at = Timestamp::from_millis;
        assert!(store.open_cache("l", "n1").await.unwrap().is_empty());
        store.keep("l", "n1", "k1", vec![1; 40], at(1), 100).await.unwrap();
        store.keep("l", "n1", "k2", vec![2; 40], at(2), 100).await.unwrap();
        store.keep("other", "m", "k1", vec![9; 90], at(1), 100).await.unwrap();
        assert_eq!(store.recall("n1", "k1").await.unwrap().unwrap(), vec![1; 40]);
        store.keep("l", "n1", "k3", vec![3; 40], at(3), 100).await.unwrap();
        assert_eq!(store.recall("n1", "k1").await.unwrap(), None, "the oldest had to go");
        store.keep("l", "n1", "k2", vec![4; 50], at(4), 100).await.unwrap();
        assert_eq!(store.recall("n1", "k2").await.unwrap().unwrap(), vec![4; 50]);
        store.keep("l", "n1", "k9", vec![0; 101], at(5), 100).await.unwrap();
        assert_eq!(store.recall("n1", "k9").await.unwrap(), None, "it alone is too large");
        assert_eq!(store.recall("m", "k2").await.unwrap(), None);
        store.keep("l", "n1", "k2", vec![4; 50], at(6), 100).await.unwrap();
        assert_eq!(store.open_cache("l", "n1").await.unwrap(), ["k2"]);
        store.forget("n1", "k2").await.unwrap();
        store.forget("n1", "k2").await.unwrap();
        store.keep("l", "n1", "k4", vec![4; 50], at(7), 100).await.unwrap();
        assert!(store.open_cache("l", "n2").await.unwrap().is_empty());
        assert_eq!(store.recall("n1", "k4").await.unwrap(), None, "another namespace began");
        assert_eq!(store.open_cache("other", "m").await.unwrap(), ["k1"], "another lineage was touched");
    }

    /// What any store must do with records.
    async fn keeps_records(store: Arc<dyn Store>) {
        let at = Timestamp::from_millis;
        let bytes = |text: &str| Zeroizing::new(text.as_bytes().to_vec());
        let put = async |owner: &str, expected, text: &str| {
            store.put_record(owner, "n", expected, at(7), bytes(text)).await.unwrap()
        };
        assert!(store.record("a", "n").await.unwrap().is_none());
        assert_eq!(put("a", 3, "early").await, None, "there was no version 3");
        assert_eq!(put("a", 0, "one").await, Some(1));
        assert_eq!(put("a", 0, "again").await, None, "it is there already");
        assert_eq!(put("a", 1, "second").await, Some(2));
        assert_eq!(put("a", 1, "late").await, None, "somebody else was faster");
        let record = store.record("a", "n").await.unwrap().unwrap();
        assert_eq!((record.version, record.at, record.value.as_slice()), (2, at(7), b"second".as_slice()));
        assert_eq!(put("b", 0, "other").await, Some(1), "another owner's");
        let all = store.records().await.unwrap();
        assert_eq!(all, [("a".into(), "n".into(), 2, at(7)), ("b".into(), "n".into(), 1, at(7))]);
        assert!(store.remove_record("a", "n").await.unwrap());
        assert!(!store.remove_record("a", "n").await.unwrap());
        let gone = store.record("a", "n").await.unwrap().unwrap();
        assert_eq!((gone.version, gone.value.len()), (3, 0));
        assert_eq!(store.records().await.unwrap().len(), 1);
        assert_eq!(put("a", 2, "an old hand").await, None, "it is gone");
        assert_eq!(put("a", 3, "anew").await, Some(4), "no version comes twice");
    }

    /// What any store must do with leases.
    async fn gives_leases(store: Arc<dyn Store>) {
        let at = Timestamp::from_millis;
        let lease = async |holder: &str, now, until| store.lease("l", holder, at(now), at(until)).await.unwrap();
        assert!(lease("a", 0, 100).await);
        assert!(!lease("b", 50, 150).await, "two hold it");
        assert!(lease("a", 50, 120).await, "its holder goes on");
        assert!(!lease("b", 110, 210).await);
        assert!(lease("b", 120, 220).await, "it ended");
        store.release("l", "a").await.unwrap();
        assert!(!lease("a", 130, 230).await, "only its holder gives it back");
        store.release("l", "b").await.unwrap();
        assert!(lease("a", 130, 230).await);
        assert!(store.lease("m", "b", at(130), at(230)).await.unwrap(), "another lease");
        assert!(lease("a", 130, 230 + rules::AHEAD_MS + 1).await);
        assert!(!lease("b", 131, 231).await, "it ends soon enough to be believed");
        // On a clock that is ahead, a holder that lives says so again, and a dead one does not.
        for late in [0, 90] {
            assert!(lease("a", 130, 230 + 2 * rules::AHEAD_MS + late).await);
            assert!(!lease("b", 130 + late, 230 + late).await, "it was taken from one who lives");
        }
        assert!(!lease("b", 319, 419).await);
        assert!(lease("b", 320, 420).await, "a clock that was ahead holds it for ever");
    }

    /// What any store must do with the audit trail.
    async fn keeps_the_trail(store: Arc<dyn Store>) {
        let chain = Chain::new(&[3; 32]);
        let texts = |range: std::ops::Range<u64>| range.map(|number| format!("entry {number}")).collect::<Vec<_>>();
        assert_eq!(store.audit(0, 10).await.unwrap(), (None, Vec::new()));
        store.append_audit(&chain, &texts(1..4), 5).unwrap();
        store.append_audit(&chain, &[], 5).unwrap();
        store.append_audit(&chain, &texts(4..6), 5).unwrap();
        let (anchor, rows) = store.audit(0, 10).await.unwrap();
        assert!(anchor.is_none());
        assert_eq!(rows.iter().map(|row| row.text.clone()).collect::<Vec<_>>(), texts(1..6));
        assert_eq!(chain.follow(&mut Place::default(), None, &rows), Ok(()));
        assert_eq!(store.audit(2, 2).await.unwrap().1, rows[2..4]);
        store.append_audit(&chain, &texts(6..9), 5).unwrap();
        let (anchor, left) = store.audit(0, 10).await.unwrap();
        assert_eq!(left.iter().map(|row| row.number).collect::<Vec<_>>(), [4, 5, 6, 7, 8], "the oldest had to go");
        assert_eq!(anchor.as_ref().map(|anchor| anchor.number), Some(3));
        assert_eq!(chain.follow(&mut Place::default(), anchor.as_ref(), &left), Ok(()));
        // More at once than there is room for.
        store.append_audit(&chain, &texts(9..30), 5).unwrap();
        let (anchor, left) = store.audit(0, 10).await.unwrap();
        assert_eq!((left.len(), left.last().map(|row| row.number)), (5, Some(29)));
        assert_eq!(chain.follow(&mut Place::default(), anchor.as_ref(), &left), Ok(()));
    }

    #[tokio::test]
    async fn memory() {
        keeps_the_trail(Arc::new(MemoryStore::default())).await;
        arrival::tests::takes_arrivals(Arc::new(MemoryStore::default())).await;
        arrival::tests::believes_no_clock_that_was_ahead(Arc::new(MemoryStore::default())).await;
        arrival::tests::keeps_what_is_emitted(Arc::new(MemoryStore::default())).await;
        arrival::tests::makes_room_for_what_is_emitted(Arc::new(MemoryStore::default())).await;
        arrival::tests::forgets_the_oldest_names(Arc::new(MemoryStore::default())).await;
        keeps_records(Arc::new(MemoryStore::default())).await;
        gives_leases(Arc::new(MemoryStore::default())).await;
        keeps_answers(Arc::new(MemoryStore::default())).await;
        keeps_its_promises(Arc::new(MemoryStore::default())).await;
        counts_quotas(Arc::new(MemoryStore::default())).await;
    }

    #[cfg(feature = "store-sqlite")]
    #[tokio::test]
    async fn sqlite() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.sqlite");
        let seal = || Seal::new(&[7; 32]);
        keeps_its_promises(Arc::new(SqliteStore::open(&path, seal()).unwrap())).await;
        counts_quotas(Arc::new(SqliteStore::open(&path, seal()).unwrap())).await;
        keeps_answers(Arc::new(SqliteStore::open(&path, seal()).unwrap())).await;
        keeps_records(Arc::new(SqliteStore::open(&path, seal()).unwrap())).await;
        gives_leases(Arc::new(SqliteStore::open(&path, seal()).unwrap())).await;
        keeps_the_trail(Arc::new(SqliteStore::open(&path, seal()).unwrap())).await;
        arrival::tests::takes_arrivals(Arc::new(SqliteStore::open(&path, seal()).unwrap())).await;
        let empty = folder.path().join("other.sqlite");
        arrival::tests::keeps_what_is_emitted(Arc::new(SqliteStore::open(&empty, seal()).unwrap())).await;
        let ahead = folder.path().join("ahead.sqlite");
        arrival::tests::believes_no_clock_that_was_ahead(Arc::new(SqliteStore::open(&ahead, seal()).unwrap())).await;
        let full = folder.path().join("full.sqlite");
        arrival::tests::makes_room_for_what_is_emitted(Arc::new(SqliteStore::open(&full, seal()).unwrap())).await;
        let names = folder.path().join("names.sqlite");
        arrival::tests::forgets_the_oldest_names(Arc::new(SqliteStore::open(&names, seal()).unwrap())).await;
        let again = SqliteStore::open(&path, seal()).unwrap();
        assert_eq!(again.get("a", "k2").await.unwrap().unwrap(), b"x", "it is not durable");
        let other = SqliteStore::open(&path, Seal::new(&[8; 32])).unwrap();
        assert!(other.get("a", "k2").await.is_err(), "another key opened it");
        assert!(
            !std::fs::read(&path).unwrap().windows(3).any(|bytes| bytes == b"two"),
            "a value lies there in the clear"
        );
    }

    /// Whoever appends does so to what is there, however many do.
    #[cfg(feature = "store-sqlite")]
    #[tokio::test]
    async fn several_processes_append_to_one_trail() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.sqlite");
        let chain = Chain::new(&[3; 32]);
        std::thread::scope(|scope| {
            for writer in 0..4 {
                let (path, chain) = (&path, &chain);
                // A store each, as processes have it.
                let store = SqliteStore::open(path, Seal::new(&[7; 32])).unwrap();
                scope.spawn(move || {
                    for number in 0..10 {
                        let text = format!("{writer}: {number}");
                        store.append_audit(chain, &[text.clone(), text], 1_000).unwrap();
                    }
                });
            }
        });
        let store = SqliteStore::open(&path, Seal::new(&[7; 32])).unwrap();
        let (anchor, rows) = store.audit(0, 1_000).await.unwrap();
        assert_eq!((anchor.is_none(), rows.len()), (true, 80));
        assert_eq!(chain.follow(&mut Place::default(), None, &rows), Ok(()));
    }
}
