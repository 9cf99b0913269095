//! `state`: small durable values of this connection, within its quota. What is kept has a limit, and what one call writes
//! has another: each write is a transaction on the disk that all connections share, also where it only replaces a value.

use super::Call;
use crate::bindings::wharfage::plugin::state::Host;
use crate::bindings::wharfage::plugin::types;
use crate::error::Error;
use crate::store::over;

/// Most bytes of a key, as the contract says.
pub(crate) const KEY_BYTES_MAX: usize = 256;
/// What a write counts besides its key and its value, in bytes: what a transaction takes by itself.
const WRITE_BYTES: usize = 256;

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
        self.may_write(key.len() + value.len())?;
        let set = self.store.set(&self.connection, &key, value, bytes_max, keys_max).await;
        set.map_err(|error| self.keep(error))
    }

    async fn delete(&mut self, key: String) -> Result<(), types::Error> {
        self.check_key(&key)?;
        self.may_write(key.len())?;
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
                Err(self.keep(Error::limit("state_key_bytes", message).with_details(crate::limits::FIXED)))
            }
        }
    }

    /// Counts a write of so many bytes.
    fn may_write(&mut self, bytes: usize) -> Result<(), types::Error> {
        let most = self.limits.state_written_bytes;
        self.spent.state_bytes = self.spent.state_bytes.saturating_add((bytes + WRITE_BYTES) as u64);
        if self.spent.state_bytes <= most {
            return Ok(());
        }
        let message = format!("the call would write more to its state than the limit state_written_bytes of {most}");
        Err(self.keep(Error::limit("state_written_bytes", message).with_more("state_written_bytes")))
    }
}
