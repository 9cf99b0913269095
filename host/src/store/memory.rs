//! State that lives as long as the host.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::{Store, over};
use crate::error::Result;
use crate::time::BoxFuture;

type Values = BTreeMap<String, Vec<u8>>;

/// A store without a disk.
#[derive(Default)]
pub(crate) struct MemoryStore(Mutex<BTreeMap<String, Values>>);

impl MemoryStore {
    fn with<T>(&self, connection: &str, work: impl FnOnce(&mut Values) -> T) -> T {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        work(all.entry(connection.to_owned()).or_default())
    }
}

impl Store for MemoryStore {
    fn get<'a>(&'a self, connection: &'a str, key: &'a str) -> BoxFuture<'a, Result<Option<Vec<u8>>>> {
        Box::pin(async move { Ok(self.with(connection, |values| values.get(key).cloned())) })
    }

    fn set<'a>(
        &'a self,
        connection: &'a str,
        key: &'a str,
        value: Vec<u8>,
        bytes_max: u64,
        keys_max: u64,
    ) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            self.with(connection, |values| {
                let others = values.iter().filter(|(name, _)| *name != key);
                let (count, bytes) =
                    others.fold((0u64, 0u64), |(count, bytes), (_, value)| (count + 1, bytes + value.len() as u64));
                if count + 1 > keys_max {
                    return Err(over("state_keys", keys_max));
                }
                if bytes + value.len() as u64 > bytes_max {
                    return Err(over("state_bytes", bytes_max));
                }
                values.insert(key.to_owned(), value);
                Ok(())
            })
        })
    }

    fn delete<'a>(&'a self, connection: &'a str, key: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            self.with(connection, |values| values.remove(key));
            Ok(())
        })
    }

    fn keys<'a>(&'a self, connection: &'a str, prefix: &'a str) -> BoxFuture<'a, Result<Vec<String>>> {
        Box::pin(async move {
            Ok(self.with(connection, |values| values.keys().filter(|key| key.starts_with(prefix)).cloned().collect()))
        })
    }
}
