//! Files that the caller hands over with the call, and takes back from it: content too large for an input or an output.
//!
//! An input says the name of a file; there is no way to any other. Content goes through in pieces:
//!
//! ```no_run
//! # fn main() -> Result<(), wharfage_sdk::Error> {
//! use wharfage_sdk::{Request, files};
//!
//! let length = files::length("file")?;
//! let mut upload = Request::put("{api}/files/7").start(Some(length))?;
//! let mut at = 0;
//! while at < length {
//!     let piece = files::read("file", at, (length - at).min(256 << 10) as u32)?;
//!     at += piece.len() as u64;
//!     upload.write(&piece)?;
//! }
//! upload.finish()?;
//! # Ok(())
//! # }
//! ```

use crate::Error;

#[cfg(target_arch = "wasm32")]
use crate::bindings::wharfage::plugin::files as import;
#[cfg(not(target_arch = "wasm32"))]
use crate::testing::host::files as import;

/// How many bytes a file has that the caller gives.
///
/// # Errors
/// `invalid-request` when nobody gave a file of this name, `limit-exceeded` when it is longer than the connection's
/// `upload_bytes`.
pub fn length(name: &str) -> Result<u64, Error> {
    import::length(name).map_err(Error::from_wire)
}

/// So many bytes of such a file from `offset` on.
///
/// # Errors
/// As [`length`], and `conflict` when the file ends before, for then it has changed.
pub fn read(name: &str, offset: u64, bytes: u32) -> Result<Vec<u8>, Error> {
    let wanted = bytes as usize;
    let mut read = Vec::with_capacity(wanted);
    while read.len() < wanted {
        let rest = u32::try_from(wanted - read.len()).unwrap_or(u32::MAX);
        let piece = import::read(name, offset + read.len() as u64, rest).map_err(Error::from_wire)?;
        if piece.is_empty() {
            let message = "the file became shorter while it was read: hand it over again";
            return Err(Error::new(crate::ErrorKind::Conflict, message));
        }
        read.extend_from_slice(&piece);
    }
    Ok(read)
}

/// Adds bytes at the end of a file that the caller takes.
///
/// # Errors
/// `invalid-request` when nobody takes a file of this name, `limit-exceeded` beyond the connection's `stream_bytes`.
pub fn write(name: &str, bytes: &[u8]) -> Result<(), Error> {
    import::write(name, bytes).map_err(Error::from_wire)
}
