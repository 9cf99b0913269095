//! Time as the host sees it. In a replay it stands still, so nothing else in a plugin may ask what time it is.

use crate::time::Timestamp;

#[cfg(target_arch = "wasm32")]
use crate::bindings::wharfage::plugin::clock as import;
#[cfg(not(target_arch = "wasm32"))]
use crate::testing::host::clock as import;

/// Now.
pub fn now() -> Timestamp {
    Timestamp::from_wire(import::now())
}
