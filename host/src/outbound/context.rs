//! What a request has from the call that it belongs to: its deadline, who listens to what happens on the path, and what the
//! numbers and the audit trail call it.

use std::ops::Deref;
use std::sync::Arc;

use super::AnswerSource;
use crate::error::Error;
use crate::observe::metrics::OperationMeter;
use crate::observe::pulse::PROBE;
use crate::time::Timestamp;

/// What happens on the path, for whoever wants to see it: the demo, a log, an audit.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PathEvent {
    /// Waited this many milliseconds for a permit.
    Paced {
        /// Milliseconds.
        waited_ms: u64,
    },
    /// A credential was placed.
    Signed {
        /// Its name.
        credential: String,
        /// Where it was placed, without its value.
        place: String,
    },
    /// An attempt failed and another follows.
    Retrying {
        /// Which attempt failed.
        attempt: u32,
        /// The kind's name.
        kind: &'static str,
        /// Milliseconds until the next.
        wait_ms: u64,
    },
    /// A redirect is judged and followed.
    Redirected {
        /// The URL without query.
        to: String,
    },
    /// A breaker opened: the host stops asking an origin.
    Opened {
        /// The origin.
        origin: String,
        /// Until then.
        until: Timestamp,
    },
    /// An answer differs from its schema in a place and a way that were not seen before.
    Drifted {
        /// The operation.
        operation: String,
        /// Where, as a JSON Pointer with `*` for array indices.
        path: String,
        /// In which way.
        kind: &'static str,
        /// How often in this answer.
        count: u64,
    },
    /// The provider sent a secret back. It was masked.
    Leaked {
        /// The URL that answered, without query.
        path: String,
    },
    /// A kept answer serves.
    Served {
        /// Because it is fresh, or because the provider is in trouble.
        source: AnswerSource,
        /// Its age in milliseconds.
        age_ms: u64,
    },
    /// The path refused.
    Refused {
        /// The sentence.
        message: String,
    },
}

/// Who listens to it.
pub(crate) type Observer = Arc<dyn Fn(&PathEvent) + Send + Sync>;

/// What one call brings along: its deadline, who listens, and the event it is for.
#[derive(Clone)]
pub(crate) struct CallContext {
    /// When the call must be over.
    pub deadline: Timestamp,
    /// Who listens.
    pub observer: Option<Observer>,
    /// The id of the event that is handled.
    pub event: Option<Arc<str>>,
    /// The operation that runs.
    pub operation: Option<Running>,
}

/// The operation that a call runs: as the audit trail calls it, and where its numbers are added to.
#[derive(Clone)]
pub(crate) struct Running {
    name: Arc<str>,
    meter: Option<Arc<OperationMeter>>,
}

impl From<String> for Running {
    fn from(name: String) -> Self {
        Self { name: name.into(), meter: None }
    }
}

/// Its name is what most want of it.
impl Deref for Running {
    type Target = str;

    fn deref(&self) -> &str {
        &self.name
    }
}

impl Running {
    /// Of a plugin.
    pub(crate) fn metered(name: &str, meter: &Arc<OperationMeter>) -> Self {
        Self { name: name.into(), meter: Some(meter.clone()) }
    }
}

impl CallContext {
    /// What the audit trail calls the operation that runs.
    pub(crate) fn name(&self) -> Option<&str> {
        self.operation.as_ref().map(|running| &*running.name)
    }

    /// Where the numbers of the operation that runs are added to.
    pub(crate) fn meter(&self) -> Option<&OperationMeter> {
        self.operation.as_ref()?.meter.as_deref()
    }

    /// Whether this is the host's own question how a provider is: it asks once, passes the cache by and gives way.
    pub(crate) fn is_probe(&self) -> bool {
        self.name() == Some(PROBE)
    }

    pub(super) fn observe(&self, event: impl FnOnce() -> PathEvent) {
        if let Some(observer) = &self.observer {
            observer(&event());
        }
    }

    /// Tells that the path refused.
    pub(crate) fn refused(&self, error: &Error) {
        if let Some(meter) = self.meter() {
            meter.refused();
        }
        self.observe(|| PathEvent::Refused { message: error.message().to_owned() });
    }
}
