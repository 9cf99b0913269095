//! The sealed store: what the host itself must keep secret, as tokens and values that an operator set.
//!
//! A record is sealed for its owner, its name and its version, so that one that was edited, copied elsewhere or put back
//! under another version does not open. It is never taken away because it does not.

use std::sync::Arc;

use zeroize::Zeroizing;

use crate::error::{Error, Kind, Result};
use crate::store::{Record, Seal, Store};
use crate::time::{Clock, Timestamp};

/// Sealed records.
#[derive(Clone)]
pub(crate) struct Sealed(Arc<Inner>);

struct Inner {
    store: Arc<dyn Store>,
    seal: Seal,
    clock: Arc<dyn Clock>,
}

impl Sealed {
    /// Over a store, with this key.
    pub(crate) fn new(store: Arc<dyn Store>, key: &[u8; 32], clock: Arc<dyn Clock>) -> Self {
        Self(Arc::new(Inner { store, seal: Seal::new(key), clock }))
    }

    /// The record under `name` of `owner`.
    ///
    /// # Errors
    /// [`Kind::CredentialUnavailable`] when it is there and does not open, with what to do.
    pub(crate) async fn read(&self, owner: &str, name: &str) -> Result<Option<Record>> {
        let Some(record) = self.0.store.record(owner, name).await?.filter(|record| !record.value.is_empty()) else {
            return Ok(None);
        };
        let version = record.version.to_string();
        let value = self.0.seal.open(&["record", owner, name, &version], &record.value).ok_or_else(|| {
            Error::new(Kind::CredentialUnavailable, format!("the sealed record `{name}` of {owner} does not open"))
                .with_details(
                    "It was changed from outside, or sealed with another key. Nothing was taken away: put the right key \
                     back, or set the secret (or connect) again.",
                )
        })?;
        Ok(Some(Record { value: Zeroizing::new(value), ..record }))
    }

    /// Keeps a record, durable when this ends, if what is there is still the version `expected` (0: nothing is there).
    /// Answers the new version, or nothing where somebody else was faster.
    pub(crate) async fn write(&self, owner: &str, name: &str, expected: u64, value: &[u8]) -> Result<Option<u64>> {
        let Inner { store, seal, clock } = &*self.0;
        let expected = match expected {
            0 => match store.record(owner, name).await? {
                Some(record) if record.value.is_empty() => record.version,
                Some(_) => return Ok(None),
                None => 0,
            },
            known => known,
        };
        let sealed = seal.seal(&["record", owner, name, &(expected + 1).to_string()], value)?;
        store.put_record(owner, name, expected, clock.now(), Zeroizing::new(sealed)).await
    }

    /// The version of what is there, whether it opens or not; 0 where nothing is.
    pub(crate) async fn version(&self, owner: &str, name: &str) -> Result<u64> {
        let record = self.0.store.record(owner, name).await?;
        Ok(record.filter(|record| !record.value.is_empty()).map_or(0, |record| record.version))
    }

    /// Takes a record away.
    pub(crate) async fn remove(&self, owner: &str, name: &str) -> Result<bool> {
        self.0.store.remove_record(owner, name).await
    }

    /// All records: owner, name, version, and since when.
    pub(crate) async fn list(&self) -> Result<Vec<(String, String, u64, Timestamp)>> {
        self.0.store.records().await
    }

    /// Takes a lease for `millis` from now, or keeps on holding it.
    pub(crate) async fn lease(&self, name: &str, holder: &str, millis: u64) -> Result<bool> {
        let now = self.0.clock.now();
        self.0.store.lease(name, holder, now, now.plus(millis)).await
    }

    /// Gives a lease back.
    pub(crate) async fn release(&self, name: &str, holder: &str) -> Result<()> {
        self.0.store.release(name, holder).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::MemoryStore;
    use crate::time::ManualClock;

    #[tokio::test]
    async fn a_copied_or_edited_record_does_not_open() {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(Timestamp::from_millis(5), 1));
        let sealed = Sealed::new(store.clone(), &[1; 32], clock.clone());
        assert_eq!(sealed.write("account a", "key", 0, b"value").await.unwrap(), Some(1));
        assert_eq!(sealed.read("account a", "key").await.unwrap().unwrap().value.as_slice(), b"value");
        let raw = store.record("account a", "key").await.unwrap().unwrap().value;
        for (owner, name) in [("account b", "key"), ("account a", "other")] {
            store.put_record(owner, name, 0, clock.now(), raw.clone()).await.unwrap();
            assert!(sealed.read(owner, name).await.is_err(), "{owner} {name} opened another's record");
        }
        store.put_record("account a", "key", 1, clock.now(), raw.clone()).await.unwrap();
        assert!(sealed.read("account a", "key").await.is_err(), "an older version came back");
        let other = Sealed::new(store.clone(), &[2; 32], clock.clone());
        store.remove_record("account a", "key").await.unwrap();
        assert_eq!(other.read("account a", "key").await.unwrap().map(|record| record.version), None);
        let version = sealed.write("account a", "key", 0, b"anew").await.unwrap().unwrap();
        assert_eq!(sealed.write("account a", "key", 0, b"again").await.unwrap(), None);
        let error = other.read("account a", "key").await.err().unwrap();
        assert!(error.details().unwrap().contains("Nothing was taken away"), "{error}");
        assert_eq!(sealed.read("account a", "key").await.unwrap().unwrap().version, version);
    }
}
