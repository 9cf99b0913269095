//! What the host tells about itself: one file per kind.

pub(crate) mod alerts;
pub(crate) mod audit;
pub(crate) mod health;
pub(crate) mod metrics;
pub(crate) mod refusals;
