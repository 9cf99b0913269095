//! `[polls.<name>]` of a manifest.

use serde::Deserialize;

/// A polled trigger: what the plugin asks for anew from time to time.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct PollFacts {
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
