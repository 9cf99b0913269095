//! What the host tells about itself: one file per kind.

pub(crate) mod audit;
pub(crate) mod metrics;
pub(crate) mod policy;
pub(crate) mod redact;
pub(crate) mod trace;
