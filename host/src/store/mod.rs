//! Durable state: the verbs a store must have. One file per store.
//!
//! Values are sealed before they reach a store (see `seal.rs`), bound to connection and key, so that a copied or edited
//! record does not open.

mod memory;
mod seal;
#[cfg(feature = "store-sqlite")]
mod sqlite;

pub(crate) use memory::MemoryStore;
pub(crate) use seal::Seal;
#[cfg(feature = "store-sqlite")]
pub(crate) use sqlite::SqliteStore;

use crate::error::{Error, Result};
use crate::time::BoxFuture;

/// Where state lives.
pub(crate) trait Store: Send + Sync + 'static {
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
}

fn over(limit: &str, value: u64) -> Error {
    Error::limit(limit, format!("the connection's state would exceed the limit {limit} of {value}"))
        .with_details(format!("To allow more, set limits.{limit} on the connection"))
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

    #[tokio::test]
    async fn memory() {
        keeps_its_promises(Arc::new(MemoryStore::default())).await;
    }

    #[cfg(feature = "store-sqlite")]
    #[tokio::test]
    async fn sqlite() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.sqlite");
        let seal = || Seal::new(&[7; 32]);
        keeps_its_promises(Arc::new(SqliteStore::open(&path, seal()).unwrap())).await;
        let again = SqliteStore::open(&path, seal()).unwrap();
        assert_eq!(again.get("a", "k2").await.unwrap().unwrap(), b"x", "it is not durable");
        let other = SqliteStore::open(&path, Seal::new(&[8; 32])).unwrap();
        assert!(other.get("a", "k2").await.is_err(), "another key opened it");
        assert!(
            !std::fs::read(&path).unwrap().windows(3).any(|bytes| bytes == b"two"),
            "a value lies there in the clear"
        );
    }
}
