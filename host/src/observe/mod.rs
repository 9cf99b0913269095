//! What the host tells about itself: one file per kind.

pub(crate) mod audit;
#[cfg(feature = "trace")]
pub(crate) mod lines;
pub(crate) mod metrics;
#[cfg(feature = "trace")]
pub(crate) mod otlp;
pub(crate) mod policy;
pub(crate) mod redact;
pub(crate) mod trace;
