//! Webhooks: an endpoint, from a delivery that is all there to the answer that it gets.
//!
//! The host verifies, the plugin never sees the secret, and nothing is acknowledged that is not stored. Where the secret
//! cannot be had there is no endpoint. What listens, and how long it waits for whom, is `serve/webhooks.rs`.

mod endpoint;

#[cfg(test)]
pub(crate) use endpoint::Receives;
pub use endpoint::WebhookCounts;
pub(crate) use endpoint::{Endpoint, Reply};
