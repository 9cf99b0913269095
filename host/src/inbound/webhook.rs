//! Webhooks: the route of an endpoint, from the first byte to the answer.

use serde::Deserialize;

/// `[endpoints.<id>]` of a `wharfage.toml`: `POST /webhooks/<id>` takes a webhook for a connection.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct EndpointPolicy {
    /// The connection whose plugin takes it.
    pub connection: String,
    /// The webhook's name in the manifest.
    pub webhook: String,
}
