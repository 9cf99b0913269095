//! What is counted and timed: for each connection and operation, never for a URL.
//!
//! The sets of labels are bounded by construction. A connection and its operations are known when it is opened, kinds of
//! errors are the contract's, and nothing that a plugin or a provider says becomes a label. Counting locks nothing that
//! two calls share: a call adds to numbers of its own operation.
//!
//! A reading is a plain value: [`Metrics`] of a host, with what `wharfage serve` runs where that is asked for it. It is
//! JSON by `serde`, text for Prometheus by [`Metrics::prometheus`] and [`Metrics::openmetrics`], and what
//! [`Host::export`](crate::Host::export) sends to a receiver of OpenTelemetry's protocol.
//!
//! An operation that was never called takes about 2 KiB, one that was called 4 KiB more, for its last 1000 calls. A
//! connection that is opened again counts on; of connections that are closed, the 256 that were opened last are kept.

pub(crate) mod exposition;
pub(crate) mod families;
mod histogram;
mod meter;
mod recent;

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

pub use self::histogram::{BOUNDS_MS, Histogram};
pub(crate) use self::meter::{Meter, Meters, OperationMeter, Paced};
pub use self::recent::{RecentCalls, WindowMetrics};
use crate::observe::states::CircuitState;
use crate::time::Timestamp;

/// What the handling of events is counted as, beside a plugin's operations.
pub(crate) const HANDLE: &str = "(handle)";

/// What the host's own requests for tokens and keys are counted as.
pub(crate) const SIGN_IN: &str = "(sign-in)";

/// What the opening of sockets is counted as.
pub(crate) const SOCKET: &str = "(socket)";

/// What a host has measured since it was started.
#[derive(Clone, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct Metrics {
    /// When this was read.
    #[serde(serialize_with = "crate::time::rfc3339::serialize")]
    pub at: Timestamp,
    /// Since when is counted.
    #[serde(serialize_with = "crate::time::rfc3339::serialize")]
    pub since: Timestamp,
    /// The connections that were opened, by name.
    pub connections: Vec<ConnectionMetrics>,
    /// The endpoints of webhooks; only in a reading of what `wharfage serve` runs, as all that follows.
    pub endpoints: Vec<EndpointMetrics>,
    /// The polled triggers.
    pub polls: Vec<PollMetrics>,
    /// The sockets.
    pub sockets: Vec<SocketMetrics>,
    /// The sinks.
    pub sinks: Vec<SinkMetrics>,
}

/// What was measured of one connection.
#[derive(Clone, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct ConnectionMetrics {
    /// Its name.
    pub connection: String,
    /// The plugin's.
    pub plugin: String,
    /// The account's, where it has one.
    pub account: Option<String>,
    /// Whether it is open now; what was counted of one that is not stays.
    pub is_open: bool,
    /// How it is, by the state's name, where somebody has judged it.
    pub health: Option<&'static str>,
    /// Its operations, by name, and those that were not called too; the handling of events as `(handle)`, the host's own
    /// requests for tokens and keys as `(sign-in)`, the opening of sockets as `(socket)`.
    pub operations: Vec<OperationMetrics>,
    /// What the breaker of each origin does now; nothing where the operator wants no breaker, or it is not open.
    pub circuits: Vec<CircuitMetrics>,
    /// How much of its budgets is used now. Those of an account are told for each connection that draws on them.
    pub budgets: Vec<BudgetMetrics>,
    /// Instances that wait for another call now, where its operator wants that.
    pub instances_kept: u64,
    /// Instances that did not stay for another call, by reason, where its operator wants that some do.
    pub instances_retired: BTreeMap<&'static str, u64>,
    /// Events that arrived for it and wait; only in a reading of what `wharfage serve` runs.
    pub waiting: Option<u64>,
    /// Events that arrived for it and were given up; only in a reading of what `wharfage serve` runs.
    pub dead_letters: Option<u64>,
}

/// The breaker of one origin.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct CircuitMetrics {
    /// The origin, as `https://api.example.org`.
    pub origin: String,
    /// What it does now.
    #[serde(flatten)]
    pub state: CircuitState,
    /// How often it opened since the connection was opened.
    pub openings: u64,
}

/// One budget.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct BudgetMetrics {
    /// The manifest's name of it.
    pub budget: String,
    /// Whose it is: `account acme`, `connection orders`, `plugin …`.
    pub owner: String,
    /// The units of one window, or of what may be under way at once; less while the provider says less.
    pub limit: u64,
    /// Milliseconds of its window; absent where it counts what is under way.
    pub window_ms: Option<u64>,
    /// Units that count now, of this process: what is under way and what was sent within the window.
    pub used: u64,
    /// Units that are left now.
    pub left: u64,
    /// Until when the provider wants nothing, where it does.
    #[serde(serialize_with = "time_or_none")]
    pub blocked_until: Option<Timestamp>,
}

/// What was measured of one operation.
#[derive(Clone, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct OperationMetrics {
    /// Its name.
    pub operation: String,
    /// Calls that ended well.
    pub succeeded: u64,
    /// Calls that ended in an error, by the kind's name; those whose caller went away as `cancelled`.
    pub failed: BTreeMap<&'static str, u64>,
    /// Calls under way now.
    pub under_way: u64,
    /// How long calls took that came to their end, in milliseconds.
    #[serde(rename = "duration_ms")]
    pub duration: Histogram,
    /// The last 1000 calls that came to their end.
    pub recent: RecentCalls,
    /// How many calls failed over the last minutes: the last 5, and the last 60.
    pub windows: Vec<WindowMetrics>,
    /// When a call ended well last.
    #[serde(serialize_with = "time_or_none")]
    pub succeeded_at: Option<Timestamp>,
    /// When a call failed last, and the kind's name.
    #[serde(serialize_with = "time_and_kind")]
    pub failed_at: Option<(Timestamp, &'static str)>,
    /// The sentence of that failure, masked, escaped and cut. A plugin may have written it: it is no label anywhere.
    pub failure: Option<String>,
    /// Requests that its calls asked for.
    pub requests: u64,
    /// Attempts that these took.
    pub attempts: u64,
    /// Attempts that failed, by the kind's name; also those for which no name resolved.
    pub attempts_failed: BTreeMap<&'static str, u64>,
    /// Attempts that the provider refused because there were too many, as by a 429.
    pub rate_limited: u64,
    /// Attempts that were made because one before had failed.
    pub retries: u64,
    /// Redirects that were followed.
    pub redirects: u64,
    /// Where answers to its requests came from.
    pub answers: AnswerCounts,
    /// How long requests waited for their permits, in milliseconds; only those to which a budget applies.
    #[serde(rename = "waited_ms")]
    pub waited: Histogram,
    /// Requests that were not sent, because a budget had no room before the call's deadline.
    pub over_budget: u64,
    /// Bytes of bodies sent, over all attempts.
    pub body_bytes_sent: u64,
    /// Bytes of bodies received, decoded.
    pub body_bytes_received: u64,
    /// Instances that were made for its calls.
    pub instances: u64,
    /// Calls that got an instance which was there from another one.
    pub instances_reused: u64,
    /// Instances that a call is in now.
    pub instances_live: u64,
    /// Milliseconds that its instances computed, as the limit `compute_ms` counts them: in ticks of 10 ms, of which a wait
    /// may add one.
    pub compute_ms: u64,
    /// The most bytes of memory that one instance had.
    pub memory_bytes_max: u64,
    /// Differences between its answers and its schema, however often they were seen before.
    pub drifts: u64,
    /// Answers that held a secret, which was masked.
    pub leaks: u64,
    /// Requests and other wishes that were refused by the grant.
    pub refusals: u64,
}

/// Where answers came from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct AnswerCounts {
    /// The provider.
    pub live: u64,
    /// A kept answer that was fresh enough.
    pub cache: u64,
    /// The last good answer, because the provider was in trouble.
    pub stale: u64,
}

/// What became of deliveries to one endpoint since it was opened.
#[derive(Clone, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct EndpointMetrics {
    /// Its id.
    pub endpoint: String,
    /// Acknowledged for the first time.
    pub received: u64,
    /// Acknowledged again.
    pub repeated: u64,
    /// Not the provider's own.
    pub refused: u64,
    /// Told to come again, because there was no room or the store was in trouble.
    pub turned_away: u64,
}

/// One polled trigger.
#[derive(Clone, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct PollMetrics {
    /// Its connection.
    pub connection: String,
    /// Its name.
    pub poll: String,
    /// When the last run began that came to its end.
    #[serde(serialize_with = "time_or_none")]
    pub succeeded_at: Option<Timestamp>,
    /// Milliseconds since then: how old the data may be.
    pub age_ms: Option<u64>,
    /// Milliseconds for which it has been due.
    pub lag_ms: u64,
    /// How many runs failed since one succeeded.
    pub failures: u32,
    /// Whether the last run had more to read than it may.
    pub is_behind: bool,
}

/// One socket.
#[derive(Clone, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct SocketMetrics {
    /// Its connection.
    pub connection: String,
    /// Its name.
    pub socket: String,
    /// Where it stands: `connecting`, `open`, `stand-by`, `backoff` or `closed`.
    pub state: &'static str,
    /// Since when.
    #[serde(serialize_with = "crate::time::rfc3339::serialize")]
    pub since: Timestamp,
    /// How often it was opened.
    pub openings: u64,
    /// Messages that found no room.
    pub dropped: u64,
    /// Messages and gaps that the plugin could not handle.
    pub given_up: u64,
}

/// One sink.
#[derive(Clone, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct SinkMetrics {
    /// Its name.
    pub sink: String,
    /// What it does now: `well`, `elsewhere`, `waiting` or `disabled`.
    pub state: &'static str,
    /// Events that it took since the start.
    pub given: u64,
    /// Events that went to its dead letters since the start.
    pub dead: u64,
    /// Its dead letters that are kept now; nothing where the store cannot be read.
    pub dead_letters: Option<u64>,
    /// The number of the last event that it is done with.
    pub position: u64,
}

impl OperationMetrics {
    /// Whether anything was ever counted of it.
    pub fn is_idle(&self) -> bool {
        (self.calls(), self.under_way, self.requests) == (0, 0, 0)
    }

    /// Calls that are over: those that ended well, failed, or whose caller went away.
    pub fn calls(&self) -> u64 {
        self.succeeded + self.failed.values().sum::<u64>()
    }

    /// Calls that ended in an error. Whose caller went away is none.
    pub fn errors(&self) -> u64 {
        self.failed.iter().filter(|(kind, _)| **kind != CANCELLED).map(|(_, count)| count).sum()
    }

    /// The share of calls that ended in an error, from 0 to 1; nothing where no call came to its end.
    pub fn error_rate(&self) -> Option<f64> {
        recent::share(self.errors(), self.succeeded + self.errors())
    }

    /// The share of answers that were kept ones, from 0 to 1; nothing where there was no answer.
    pub fn cache_rate(&self) -> Option<f64> {
        let AnswerCounts { live, cache, stale } = self.answers;
        recent::share(cache + stale, live + cache + stale)
    }
}

/// What calls are counted as whose caller went away.
const CANCELLED: &str = "cancelled";

fn time_or_none<S: Serializer>(at: &Option<Timestamp>, to: S) -> Result<S::Ok, S::Error> {
    match at {
        Some(at) => to.serialize_some(&format_args!("{at}")),
        None => to.serialize_none(),
    }
}

fn time_and_kind<S: Serializer>(failed: &Option<(Timestamp, &'static str)>, to: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Failed {
        #[serde(serialize_with = "crate::time::rfc3339::serialize")]
        at: Timestamp,
        kind: &'static str,
    }
    failed.map(|(at, kind)| Failed { at, kind }).serialize(to)
}
