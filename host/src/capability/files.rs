//! `files`: what the caller handed over with the call, and nothing else.

use super::Call;
use crate::bindings::wharfage::plugin::files::Host;
use crate::bindings::wharfage::plugin::types;

impl Host for Call {
    fn length(&mut self, name: String) -> Result<u64, types::Error> {
        let length = self.spent.files.length(&name, self.limits.upload_bytes);
        length.map_err(|error| self.keep(error))
    }

    async fn read(&mut self, name: String, offset: u64, bytes_max: u32) -> Result<Vec<u8>, types::Error> {
        let read = self.spent.files.read(&name, offset, bytes_max, self.limits.upload_bytes).await;
        read.map_err(|error| self.keep(error))
    }

    async fn write(&mut self, name: String, bytes: Vec<u8>) -> Result<(), types::Error> {
        let written = self.spent.files.write(&name, bytes, self.limits.stream_bytes).await;
        written.map_err(|error| self.keep(error))
    }
}
