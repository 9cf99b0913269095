//! What an operator states in `wharfage.toml` about what runs by itself: how `wharfage serve` listens and keeps, and what
//! it takes, asks, keeps open and hands on. Reading and judging is all that happens here; `inbound/` does it.

pub(crate) mod poll;
#[cfg(feature = "serve")]
pub(crate) mod schedule;
pub(crate) mod serve;
pub(crate) mod sink;
pub(crate) mod socket;
pub(crate) mod webhook;
