//! Small durable values of this connection. No other connection and no other plugin sees them.
//!
//! A value is durable when the call that set it returns; number and size of all values together are limited per connection.

use serde::{Serialize, de::DeserializeOwned};

use crate::Error;

#[cfg(target_arch = "wasm32")]
use crate::bindings::wharfage::plugin::state as import;
#[cfg(not(target_arch = "wasm32"))]
use crate::testing::host::state as import;

/// The value under `key`, if there is one.
///
/// # Errors
/// `internal` when the store fails, `invalid-request` for an empty key, `limit-exceeded` for one of more than 256 bytes.
pub fn get(key: &str) -> Result<Option<Vec<u8>>, Error> {
    import::get(key).map_err(Error::from_wire)
}

/// Keeps `value` under `key`.
///
/// # Errors
/// As [`get`], and `limit-exceeded` when the connection's values together are too many or too large.
pub fn set(key: &str, value: &[u8]) -> Result<(), Error> {
    import::set(key, value).map_err(Error::from_wire)
}

/// Forgets `key`; no error if it was not there.
///
/// # Errors
/// As [`get`].
pub fn delete(key: &str) -> Result<(), Error> {
    import::delete(key).map_err(Error::from_wire)
}

/// The keys that begin with `prefix`, in byte order.
///
/// # Errors
/// `internal` when the store fails.
pub fn keys(prefix: &str) -> Result<Vec<String>, Error> {
    import::keys(prefix).map_err(Error::from_wire)
}

/// The JSON value under `key`. A value of another shape, as an older version of the plugin may have left, counts as absent.
///
/// # Errors
/// As [`get`].
pub fn json<T: DeserializeOwned>(key: &str) -> Result<Option<T>, Error> {
    Ok(get(key)?.and_then(|value| crate::json::read(std::str::from_utf8(&value).ok()?).ok()))
}

/// Keeps `value` under `key` as JSON.
///
/// # Errors
/// As [`set`], and `internal` when `value` has no JSON form.
pub fn set_json<T: Serialize>(key: &str, value: &T) -> Result<(), Error> {
    set(key, crate::json::to_text(value)?.as_bytes())
}
