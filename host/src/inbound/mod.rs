//! What starts a plugin besides a call: webhooks, schedules, sockets. What arrives is verified and stored before anybody
//! handles it; what a plugin emits is stored together with its cursor, and leaves through sinks.

#[cfg(feature = "serve")]
pub(crate) mod envelope;
#[cfg(feature = "serve")]
pub(crate) mod handler;
#[cfg(feature = "serve")]
pub(crate) mod inbox;
#[cfg(feature = "serve")]
pub(crate) mod log;
#[cfg(feature = "serve")]
pub(crate) mod poll;
#[cfg(feature = "serve")]
pub(crate) mod sink;
#[cfg(feature = "serve")]
pub(crate) mod socket;
// Without the listener only the fuzzer judges deliveries.
#[cfg_attr(not(feature = "serve"), allow(dead_code))]
pub(crate) mod verify;
#[cfg(feature = "serve")]
pub(crate) mod webhook;

/// How far ahead the provider, or a plugin in its name, may put off the next try.
#[cfg(feature = "serve")]
pub(crate) const RETRY_AT_MS_MAX: u64 = crate::store::rules::PUT_OFF_MS_MAX;
