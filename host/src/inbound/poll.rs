//! Polled triggers: when they are due, and what is kept of them.

use serde::Deserialize;

/// `[connections.<name>.polls.<poll>]` of a `wharfage.toml`: this polled trigger runs.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct PollPolicy {}
