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
/// `credential-unavailable` when the secret is missing or not granted for signing, `policy-denied` for data that its
/// template does not cover and for an algorithm that the manifest does not state.
pub fn sign(name: &str, algorithm: Algorithm, data: &[u8]) -> Result<Vec<u8>, Error> {
    import::sign(name, algorithm, data).map_err(Error::from_wire)
}

/// The keyed hash of `data` in hexadecimal digits, as most providers want it written.
///
/// # Errors
/// As [`sign`].
pub fn sign_hex(name: &str, algorithm: Algorithm, data: &[u8]) -> Result<String, Error> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mac = sign(name, algorithm, data)?;
    let halves = mac.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    Ok(halves.map(|half| char::from(DIGITS[usize::from(half)])).collect())
}

/// Whether `mac` is the keyed hash of `data`; the host compares in constant time.
///
/// # Errors
/// `credential-unavailable` when the secret is missing or not granted for verifying, `policy-denied` for an algorithm that
/// the manifest does not state.
pub fn verify(name: &str, algorithm: Algorithm, data: &[u8], mac: &[u8]) -> Result<bool, Error> {
    import::verify(name, algorithm, data, mac).map_err(Error::from_wire)
}

/// Makes a JSON Web Token that says `claims`, a JSON object, and answers the name of a credential of this call for
/// [`Request::credential`](crate::http::Request): the token itself stays in the host, which also says when it begins and
/// ends. It goes to the origins that the manifest names for this secret, and nowhere else.
///
/// # Errors
/// `credential-unavailable` when the secret is missing or not granted for signing, `policy-denied` when it is not for
/// tokens or the manifest says a claim otherwise, `invalid-request` for claims that are no object or say `iat` or `exp`,
/// `limit-exceeded` for claims that are too long and for too many tokens in one call.
pub fn make_jwt(name: &str, claims: &serde_json::Value) -> Result<String, Error> {
    import::make_jwt(name, &claims.to_string()).map_err(Error::from_wire)
}

/// Checks a JSON Web Token with the secret's key, or the provider's public ones, and answers what it says.
///
/// # Errors
/// `invalid-request` with what is wrong with the token; as for [`verify`] where there is no key.
pub fn verify_jwt(name: &str, token: &str) -> Result<serde_json::Value, Error> {
    let claims = import::verify_jwt(name, token).map_err(Error::from_wire)?;
    crate::json::read(&claims).map_err(|_| Error::internal("the host answered claims that are no JSON"))
}
