//! `[sockets.<name>]` of a manifest.

use serde::Deserialize;

/// A socket that the host keeps open for the plugin.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct SocketFacts {
    /// What it tells of, in a sentence.
    #[serde(default)]
    pub description: String,
    /// Who says so.
    #[serde(default)]
    pub source: String,
    /// When that was read.
    #[serde(default)]
    pub date: String,
}
