//! The states that are counted and told: where an answer came from, what a breaker does, why an instance does not stay.
//! Whoever is in them stands above; what counts them stands beside.

use serde::Serialize;

use crate::time::Timestamp;

/// Where an answer came from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum AnswerSource {
    /// The provider, now.
    #[default]
    Live,
    /// A kept answer that is still fresh.
    Cache,
    /// The last good answer, because the provider is in trouble.
    Stale,
}

/// What a breaker does now. As JSON its name stands in `state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum CircuitState {
    /// Everything passes.
    Closed,
    /// Nothing passes before this time.
    Open {
        /// The time.
        #[serde(serialize_with = "crate::time::rfc3339::serialize")]
        until: Timestamp,
    },
    /// A few pass, to see how it is.
    HalfOpen,
}

/// Why an instance does not stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Retired {
    /// It had its calls.
    Calls,
    /// It is too old.
    Age,
    /// Nobody wanted it for too long.
    Idle,
    /// It has too much memory.
    Memory,
    /// Its call left something open.
    Resources,
    /// Its call hit a limit.
    Limit,
    /// Its call ended in an error.
    Error,
    /// Its call's caller went away, or its time was over.
    Interrupted,
    /// Since then the connection has other credentials.
    Credential,
    /// As many wait as may, or a call needed its place.
    Full,
    /// Its plugin is closed.
    Closed,
}

impl Retired {
    /// Their names, in their order.
    pub(crate) const NAMES: [&'static str; 11] = [
        "calls",
        "age",
        "idle",
        "memory",
        "resources",
        "limit",
        "error",
        "interrupted",
        "credential",
        "full",
        "closed",
    ];
}
