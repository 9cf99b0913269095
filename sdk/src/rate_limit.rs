//! Pacing for what the host cannot see by itself.
//!
//! Every request takes its permits without being asked. This is for a cost that only the plugin knows, and for limits
//! that a body tells. A cost known before sending is better put on the request, with [`Request::cost`](crate::Request::cost).

use crate::{Error, Timestamp};

#[cfg(target_arch = "wasm32")]
use crate::bindings::wharfage::plugin::rate_limit as import;
use crate::bindings::wharfage::plugin::rate_limit as wire;
#[cfg(not(target_arch = "wasm32"))]
use crate::testing::host::rate_limit as import;

/// What an answer said about a limit. Start from `Feedback::default()` and fill in what is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Feedback {
    /// The bucket it is about; when absent, all that no other account shares.
    pub bucket: Option<String>,
    /// Nothing may be sent before this time. The host caps it.
    pub blocked_until: Option<Timestamp>,
    /// How many units the provider says are left. It lowers the host's own count and never raises it.
    pub remaining: Option<u32>,
}

/// Waits until `units` of a bucket are free and spends them.
///
/// # Errors
/// `rate-limited` with the time when they do, where they do not come free within the call's time; the same as
/// `quota-exhausted` for a bucket that is counted over restarts. `limit-exceeded` for more than the bucket ever holds,
/// `invalid-request` for one that the manifest does not name.
pub fn acquire(bucket: &str, units: u32) -> Result<(), Error> {
    import::acquire(bucket, units).map_err(Error::from_wire)
}

/// Tells the host what an answer said about a limit.
///
/// # Errors
/// `invalid-request` for a bucket that the manifest does not name.
pub fn report(feedback: Feedback) -> Result<(), Error> {
    import::report(&wire::Feedback {
        bucket: feedback.bucket,
        blocked_until: feedback.blocked_until.map(Timestamp::to_wire),
        remaining: feedback.remaining,
    })
    .map_err(Error::from_wire)
}
