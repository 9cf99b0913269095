//! `state`: small durable values of this connection, within its quota.

use super::Call;
use crate::bindings::wharfage::plugin::state::Host;
use crate::bindings::wharfage::plugin::types;
use crate::error::Error;
use crate::store::over;

/// Most bytes of a key, as the contract says.
pub(crate) const KEY_BYTES_MAX: usize = 256;

impl Host for Call {
    async fn get(&mut self, key: String) -> Result<Option<Vec<u8>>, types::Error> {
        self.check_key(&key)?;
        Ok(self.store.get(&self.connection, &key).await?)
    }

    async fn set(&mut self, key: String, value: Vec<u8>) -> Result<(), types::Error> {
        self.check_key(&key)?;
        let (bytes_max, keys_max) = (self.limits.state_bytes, self.limits.state_keys);
        // What could never be kept is nothing for the one that writes for everybody.
        if value.len() as u64 > bytes_max {
            return Err(self.keep(over("state_bytes", bytes_max)));
        }
        let set = self.store.set(&self.connection, &key, value, bytes_max, keys_max).await;
        set.map_err(|error| self.keep(error))
    }

    async fn delete(&mut self, key: String) -> Result<(), types::Error> {
        self.check_key(&key)?;
        Ok(self.store.delete(&self.connection, &key).await?)
    }

    async fn keys(&mut self, prefix: String) -> Result<Vec<String>, types::Error> {
        Ok(self.store.keys(&self.connection, &prefix).await?)
    }
}

impl Call {
    fn check_key(&mut self, key: &str) -> Result<(), types::Error> {
        match key.len() {
            0 => Err(Error::invalid("/key", "a key has at least one byte").into()),
            1..=KEY_BYTES_MAX => Ok(()),
            _ => {
                let message = format!("a key of state is longer than the limit state_key_bytes of {KEY_BYTES_MAX}");
                Err(self.keep(Error::limit("state_key_bytes", message).with_details(super::FIXED)))
            }
        }
    }
}
