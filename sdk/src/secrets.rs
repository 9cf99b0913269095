//! What can be done with a secret without reading it: sign and verify, by name.
//!
//! Credentials on requests need none of this: the host attaches them. A name that is not granted and one that does not
//! exist answer alike.

use crate::Error;

pub use crate::bindings::wharfage::plugin::secrets::Algorithm;

#[cfg(target_arch = "wasm32")]
use crate::bindings::wharfage::plugin::secrets as import;
#[cfg(not(target_arch = "wasm32"))]
use crate::testing::host::secrets as import;

/// Whether a secret of this name is granted and can be had now.
pub fn is_available(name: &str) -> bool {
    import::is_available(name)
}

/// The keyed hash of `data`.
///
/// # Errors
/// `credential-unavailable` when the secret is missing or not granted for signing.
pub fn sign(name: &str, algorithm: Algorithm, data: &[u8]) -> Result<Vec<u8>, Error> {
    import::sign(name, algorithm, data).map_err(Error::from_wire)
}

/// Whether `mac` is the keyed hash of `data`; the host compares in constant time.
///
/// # Errors
/// `credential-unavailable` when the secret is missing or not granted for verifying.
pub fn verify(name: &str, algorithm: Algorithm, data: &[u8], mac: &[u8]) -> Result<bool, Error> {
    import::verify(name, algorithm, data, mac).map_err(Error::from_wire)
}
