//! `[webhooks.<name>]` of a manifest.

use serde::Deserialize;

/// A webhook: how the provider signs it, and what identifies one.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct WebhookFacts {
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
