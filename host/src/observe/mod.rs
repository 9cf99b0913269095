//! What the host tells about itself: one file per kind.

pub(crate) mod alerts;
pub(crate) mod audit;
pub(crate) mod health;
#[cfg(feature = "trace")]
pub(crate) mod lines;
pub(crate) mod metrics;
#[cfg(feature = "trace")]
pub(crate) mod otlp;
pub(crate) mod policy;
pub(crate) mod redact;
pub(crate) mod refusals;
pub(crate) mod trace;
