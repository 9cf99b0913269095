//! Where emitted events go: `[sinks.<name>]` of a `wharfage.toml`.
//!
//! Every sink reads the outbox from a position of its own and moves it only after it took an event: at least once, in the
//! order in which the events were committed, and held back by nobody but itself. What it will not take goes to its dead
//! letters, and the worker goes on.

pub(crate) mod channel;
pub(crate) mod http;
pub(crate) mod lines;
pub(crate) mod worker;

use super::envelope::Emitted;
use crate::policy::sink::{SinkPolicy, is_meant};

impl SinkPolicy {
    /// Whether an event goes to this sink that is not addressed to one.
    pub fn wants(&self, event: &Emitted) -> bool {
        is_meant(&self.connections, &event.connection) && is_meant(&self.types, &event.event_type)
    }
}
