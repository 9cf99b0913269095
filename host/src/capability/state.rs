//! `state`: small durable values of this connection, within its quota.

use super::Call;
use crate::bindings::wharfage::plugin::state::Host;
use crate::bindings::wharfage::plugin::types;
use crate::error::{Error, Result};

/// Most bytes of a key.
const KEY_BYTES_MAX: usize = 256;

impl Host for Call {
    async fn get(&mut self, key: String) -> Result<Option<Vec<u8>>, types::Error> {
        check_key(&key)?;
        Ok(self.store.get(&self.connection, &key).await?)
    }

    async fn set(&mut self, key: String, value: Vec<u8>) -> Result<(), types::Error> {
        check_key(&key)?;
        let (bytes_max, keys_max) = (self.limits.state_bytes, self.limits.state_keys);
        let set = self.store.set(&self.connection, &key, value, bytes_max, keys_max).await;
        set.map_err(|error| self.keep(error))
    }

    async fn delete(&mut self, key: String) -> Result<(), types::Error> {
        check_key(&key)?;
        Ok(self.store.delete(&self.connection, &key).await?)
    }

    async fn keys(&mut self, prefix: String) -> Result<Vec<String>, types::Error> {
        Ok(self.store.keys(&self.connection, &prefix).await?)
    }
}

fn check_key(key: &str) -> Result<()> {
    if key.is_empty() || key.len() > KEY_BYTES_MAX {
        return Err(Error::invalid("/key", format!("a key has 1 to {KEY_BYTES_MAX} bytes")));
    }
    Ok(())
}
