//! What a host tells of itself while it runs: lines, spans, events of the path, refusals, drift; and how a text loses
//! its secrets first. [`HostBuilder::observer`](crate::HostBuilder::observer), [`Host::refusals`](crate::Host::refusals),
//! [`Plugin::drift`](crate::Plugin::drift) and `Host::export` are where it comes from. One file per kind.

pub(crate) mod audit;
#[cfg(feature = "trace")]
pub(crate) mod lines;
pub(crate) mod metrics;
pub(crate) mod policy;
pub(crate) mod pulse;
pub(crate) mod redact;
pub(crate) mod refusals;
pub(crate) mod states;
pub(crate) mod trace;

#[cfg(feature = "trace")]
pub use self::lines::{LineFormat, Lines};
pub use self::policy::ObservePolicy;
pub use self::redact::{LINE_BYTES_MAX, Redacted, Redactor, redact, redact_header};
pub use self::refusals::{REFUSALS_PER_CONNECTION, Refusal};
pub use self::trace::Trace;
