//! Where emitted events go.

use serde::Deserialize;

/// `[sinks.<name>]` of a `wharfage.toml`.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct SinkPolicy {}
