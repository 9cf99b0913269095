//! Every family of samples that Prometheus is told: the one list.
//!
//! Names end with their unit, in base units; the `_total` of a counter is put there by whoever writes. A family whose
//! labels differ in nothing but one word, as a state, has a sample for each word, of which one is 1.

use super::exposition::{Samples, Value};
use super::{ConnectionMetrics, Histogram, Metrics, OperationMetrics};
use crate::observe::states::CircuitState;
use crate::time::Timestamp;

/// One family.
pub(crate) struct Family {
    /// Its name, without the `_total` of a counter.
    pub(crate) name: &'static str,
    pub(crate) kind: Type,
    /// Its labels, in the order in which its samples give their values.
    pub(crate) labels: &'static [&'static str],
    /// A sentence.
    pub(crate) help: &'static str,
    pub(crate) samples: fn(&Metrics, &mut Samples<'_>),
}

/// What a family's samples are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Type {
    /// A number that grows.
    Counter,
    /// A number as it is now.
    Gauge,
    /// How often what fell between which bounds.
    Histogram,
}

impl Type {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

const OPERATION: &[&str] = &["plugin", "connection", "operation"];
const BUDGET: &[&str] = &["connection", "budget"];
const POLL: &[&str] = &["connection", "poll"];
const SOCKET: &[&str] = &["connection", "socket"];

/// A family with a number of each operation.
macro_rules! of_operation {
    ($name:literal, $kind:ident, $help:literal, $value:expr) => {
        Family {
            name: $name,
            kind: Type::$kind,
            labels: OPERATION,
            help: $help,
            samples: |metrics, to| of_operations(metrics, to, $value),
        }
    };
}

/// A family with anything else.
macro_rules! family {
    ($name:literal, $kind:ident, $labels:expr, $help:literal, $samples:expr) => {
        Family { name: $name, kind: Type::$kind, labels: $labels, help: $help, samples: $samples }
    };
}

/// All there are.
pub(crate) const FAMILIES: &[Family] = &[
    family!("wharfage_build_info", Gauge, &["version"], "The version of wharfage, always 1.", |_, to| to
        .put(&[env!("CARGO_PKG_VERSION")], Value::Count(1))),
    family!("wharfage_start_timestamp_seconds", Gauge, &[], "Since when is counted.", |metrics, to| to
        .put(&[], time(metrics.since))),
    family!(
        "wharfage_calls",
        Counter,
        &["plugin", "connection", "operation", "outcome"],
        "Calls of an operation that are over; ok, or the kind of error they ended in.",
        |metrics, to| each(metrics, |of, [plugin, connection, operation]| {
            let all = [("ok", of.succeeded)].into_iter().chain(of.failed.iter().map(|(kind, count)| (*kind, *count)));
            for (outcome, count) in all {
                to.put(&[plugin, connection, operation, outcome], Value::Count(count));
            }
        })
    ),
    family!(
        "wharfage_call_duration_seconds",
        Histogram,
        OPERATION,
        "How long calls took that came to their end.",
        |metrics, to| histograms(metrics, to, |of| &of.duration)
    ),
    family!(
        "wharfage_recent_call_duration_seconds",
        Gauge,
        &["plugin", "connection", "operation", "percentile"],
        "How long the last 1000 calls took, by percentile.",
        |metrics, to| each(metrics, |of, [plugin, connection, operation]| {
            let recent = of.recent;
            for (percentile, ms) in [("50", recent.p50_ms), ("95", recent.p95_ms), ("99", recent.p99_ms)] {
                if let Some(ms) = ms {
                    to.put(&[plugin, connection, operation, percentile], Value::Ms(ms));
                }
            }
        })
    ),
    of_operation!("wharfage_calls_under_way", Gauge, "Calls under way now.", |of| count(of.under_way)),
    of_operation!("wharfage_last_success_timestamp_seconds", Gauge, "When a call ended well last.", |of| of
        .succeeded_at
        .map(time)),
    of_operation!("wharfage_last_failure_timestamp_seconds", Gauge, "When a call failed last.", |of| of
        .failed_at
        .map(|(at, _)| time(at))),
    of_operation!("wharfage_requests", Counter, "Requests that calls asked for.", |of| count(of.requests)),
    of_operation!("wharfage_attempts", Counter, "Attempts that requests took.", |of| count(of.attempts)),
    family!(
        "wharfage_attempts_failed",
        Counter,
        &["plugin", "connection", "operation", "kind"],
        "Attempts that failed, by kind of error.",
        |metrics, to| each(metrics, |of, [plugin, connection, operation]| {
            for (kind, count) in &of.attempts_failed {
                to.put(&[plugin, connection, operation, kind], Value::Count(*count));
            }
        })
    ),
    of_operation!(
        "wharfage_rate_limited",
        Counter,
        "Attempts that the provider refused because there were too many, as by a 429.",
        |of| count(of.rate_limited)
    ),
    of_operation!("wharfage_retries", Counter, "Attempts that were made because one before had failed.", |of| count(
        of.retries
    )),
    of_operation!("wharfage_redirects", Counter, "Redirects that were followed.", |of| count(of.redirects)),
    family!(
        "wharfage_answers",
        Counter,
        &["plugin", "connection", "operation", "source"],
        "Answers to requests: live, kept and fresh (cache), or the last good one in trouble (stale).",
        |metrics, to| each(metrics, |of, [plugin, connection, operation]| {
            let answers = of.answers;
            for (source, count) in [("live", answers.live), ("cache", answers.cache), ("stale", answers.stale)] {
                to.put(&[plugin, connection, operation, source], Value::Count(count));
            }
        })
    ),
    family!(
        "wharfage_permit_wait_seconds",
        Histogram,
        OPERATION,
        "How long requests waited for their permits.",
        |metrics, to| histograms(metrics, to, |of| &of.waited)
    ),
    of_operation!(
        "wharfage_over_budget",
        Counter,
        "Requests that were not sent, because a budget had no room in time.",
        |of| count(of.over_budget)
    ),
    of_operation!("wharfage_sent_body_bytes", Counter, "Bytes of bodies sent, over all attempts.", |of| count(
        of.body_bytes_sent
    )),
    of_operation!("wharfage_received_body_bytes", Counter, "Bytes of bodies received, decoded.", |of| count(
        of.body_bytes_received
    )),
    of_operation!("wharfage_instances", Counter, "Instances that were made.", |of| count(of.instances)),
    of_operation!("wharfage_instances_reused", Counter, "Calls that got an instance from a call before.", |of| count(
        of.instances_reused
    )),
    of_operation!("wharfage_instances_live", Gauge, "Instances that a call is in now.", |of| count(of.instances_live)),
    family!(
        "wharfage_instances_kept",
        Gauge,
        &["connection"],
        "Instances that wait for another call.",
        |metrics, to| of_connections(metrics, to, |of| count(of.instances_kept))
    ),
    family!(
        "wharfage_instances_retired",
        Counter,
        &["connection", "reason"],
        "Instances that did not stay for another call where some may.",
        |metrics, to| for of in &metrics.connections {
            for (reason, count) in &of.instances_retired {
                to.put(&[&of.connection, reason], Value::Count(*count));
            }
        }
    ),
    of_operation!("wharfage_compute_seconds", Counter, "Time that instances computed, in ticks of 10 ms.", |of| Some(
        Value::Ms(of.compute_ms)
    )),
    of_operation!("wharfage_memory_peak_bytes", Gauge, "The most memory that one instance had.", |of| count(
        of.memory_bytes_max
    )),
    of_operation!("wharfage_drifts", Counter, "Differences between answers and their schema.", |of| count(of.drifts)),
    of_operation!("wharfage_leaks", Counter, "Answers that held a secret, which was masked.", |of| count(of.leaks)),
    of_operation!("wharfage_refusals", Counter, "Wishes that the grant refused.", |of| count(of.refusals)),
    family!(
        "wharfage_circuit_state",
        Gauge,
        &["connection", "origin", "state"],
        "What the breaker of an origin does: closed, open or half-open.",
        |metrics, to| for of in &metrics.connections {
            for circuit in &of.circuits {
                let now = match circuit.state {
                    CircuitState::Closed => "closed",
                    CircuitState::Open { .. } => "open",
                    CircuitState::HalfOpen => "half-open",
                };
                states(to, &[&of.connection, &circuit.origin], &["closed", "open", "half-open"], now);
            }
        }
    ),
    family!(
        "wharfage_circuit_openings",
        Counter,
        &["connection", "origin"],
        "How often a breaker opened.",
        |metrics, to| for of in &metrics.connections {
            for circuit in &of.circuits {
                to.put(&[&of.connection, &circuit.origin], Value::Count(circuit.openings));
            }
        }
    ),
    family!("wharfage_budget_limit", Gauge, BUDGET, "Units of a budget.", |metrics, to| {
        of_budgets(metrics, to, |of| count(of.limit));
    }),
    family!("wharfage_budget_window_seconds", Gauge, BUDGET, "The window of a budget that has one.", |metrics, to| {
        of_budgets(metrics, to, |of| of.window_ms.map(Value::Ms));
    }),
    family!("wharfage_budget_used", Gauge, BUDGET, "Units of a budget that are used now.", |metrics, to| {
        of_budgets(metrics, to, |of| count(of.used));
    }),
    family!("wharfage_budget_left", Gauge, BUDGET, "Units of a budget that are left now.", |metrics, to| {
        of_budgets(metrics, to, |of| count(of.left));
    }),
    family!(
        "wharfage_budget_blocked_until_timestamp_seconds",
        Gauge,
        BUDGET,
        "Until when the provider wants nothing of a budget, where it said so.",
        |metrics, to| of_budgets(metrics, to, |of| of.blocked_until.map(time))
    ),
    family!(
        "wharfage_health_state",
        Gauge,
        &["connection", "state"],
        "How a connection is: healthy, degraded, unhealthy, needs-connecting or unknown.",
        |metrics, to| for of in &metrics.connections {
            let all = &["healthy", "degraded", "unhealthy", "needs-connecting", "unknown"];
            if let Some(now) = of.health {
                states(to, &[&of.connection], all, now);
            }
        }
    ),
    family!(
        "wharfage_waiting_events",
        Gauge,
        &["connection"],
        "Events that arrived for a connection and wait.",
        |metrics, to| of_connections(metrics, to, |of| of.waiting.map(Value::Count))
    ),
    family!(
        "wharfage_dead_letters",
        Gauge,
        &["connection"],
        "Events that arrived for a connection and were given up.",
        |metrics, to| of_connections(metrics, to, |of| of.dead_letters.map(Value::Count))
    ),
    family!(
        "wharfage_deliveries",
        Counter,
        &["endpoint", "outcome"],
        "Deliveries to an endpoint: received, repeated, refused or turned-away.",
        |metrics, to| for of in &metrics.endpoints {
            let all = [
                ("received", of.received),
                ("repeated", of.repeated),
                ("refused", of.refused),
                ("turned-away", of.turned_away),
            ];
            for (outcome, count) in all {
                to.put(&[&of.endpoint, outcome], Value::Count(count));
            }
        }
    ),
    family!(
        "wharfage_poll_last_success_timestamp_seconds",
        Gauge,
        POLL,
        "When the last run of a poll began that came to its end.",
        |metrics, to| for of in &metrics.polls {
            if let Some(at) = of.succeeded_at {
                to.put(&[&of.connection, &of.poll], time(at));
            }
        }
    ),
    family!("wharfage_poll_lag_seconds", Gauge, POLL, "For how long a poll has been due.", |metrics, to| {
        metrics.polls.iter().for_each(|of| to.put(&[&of.connection, &of.poll], Value::Ms(of.lag_ms)));
    }),
    family!("wharfage_poll_failures", Gauge, POLL, "How many runs failed since one succeeded.", |metrics, to| {
        metrics.polls.iter().for_each(|of| to.put(&[&of.connection, &of.poll], Value::Count(of.failures.into())));
    }),
    family!(
        "wharfage_poll_behind",
        Gauge,
        POLL,
        "Whether the last run of a poll had more to read than it may.",
        |metrics, to| for of in &metrics.polls {
            to.put(&[&of.connection, &of.poll], Value::Count(of.is_behind.into()));
        }
    ),
    family!(
        "wharfage_socket_state",
        Gauge,
        &["connection", "socket", "state"],
        "Where a socket stands: connecting, open, stand-by, backoff or closed.",
        |metrics, to| for of in &metrics.sockets {
            states(
                to,
                &[&of.connection, &of.socket],
                &["connecting", "open", "stand-by", "backoff", "closed"],
                of.state,
            );
        }
    ),
    family!("wharfage_socket_openings", Counter, SOCKET, "How often a socket was opened.", |metrics, to| {
        metrics.sockets.iter().for_each(|of| to.put(&[&of.connection, &of.socket], Value::Count(of.openings)));
    }),
    family!("wharfage_socket_dropped", Counter, SOCKET, "Messages that found no room.", |metrics, to| {
        metrics.sockets.iter().for_each(|of| to.put(&[&of.connection, &of.socket], Value::Count(of.dropped)));
    }),
    family!(
        "wharfage_socket_given_up",
        Counter,
        SOCKET,
        "Messages that the plugin could not handle.",
        |metrics, to| for of in &metrics.sockets {
            to.put(&[&of.connection, &of.socket], Value::Count(of.given_up));
        }
    ),
    family!(
        "wharfage_sink_state",
        Gauge,
        &["sink", "state"],
        "What a sink does: well, elsewhere, waiting or disabled.",
        |metrics, to| for of in &metrics.sinks {
            states(to, &[&of.sink], &["well", "elsewhere", "waiting", "disabled"], of.state);
        }
    ),
    family!("wharfage_sink_events", Counter, &["sink"], "Events that a sink took.", |metrics, to| {
        metrics.sinks.iter().for_each(|of| to.put(&[&of.sink], Value::Count(of.given)));
    }),
    family!(
        "wharfage_sink_dead_letters",
        Gauge,
        &["sink"],
        "Events that a sink did not take and that are kept.",
        |metrics, to| for of in &metrics.sinks {
            if let Some(dead_letters) = of.dead_letters {
                to.put(&[&of.sink], Value::Count(dead_letters));
            }
        }
    ),
];

fn time(at: Timestamp) -> Value {
    Value::Ms(at.as_millis())
}

fn count(count: u64) -> Option<Value> {
    Some(Value::Count(count))
}

/// Each operation that was ever called, with the values of its labels. The others would be most of the text.
fn each(metrics: &Metrics, mut tell: impl FnMut(&OperationMetrics, [&str; 3])) {
    for connection in &metrics.connections {
        for operation in connection.operations.iter().filter(|operation| !operation.is_idle()) {
            tell(operation, [&connection.plugin, &connection.connection, &operation.operation]);
        }
    }
}

fn of_operations(metrics: &Metrics, to: &mut Samples<'_>, value: fn(&OperationMetrics) -> Option<Value>) {
    each(metrics, |of, labels| {
        if let Some(value) = value(of) {
            to.put(&labels, value);
        }
    });
}

fn histograms(metrics: &Metrics, to: &mut Samples<'_>, of: fn(&OperationMetrics) -> &Histogram) {
    each(metrics, |operation, labels| to.histogram(&labels, of(operation)));
}

fn of_connections(metrics: &Metrics, to: &mut Samples<'_>, value: fn(&ConnectionMetrics) -> Option<Value>) {
    for connection in &metrics.connections {
        if let Some(value) = value(connection) {
            to.put(&[&connection.connection], value);
        }
    }
}

fn of_budgets(metrics: &Metrics, to: &mut Samples<'_>, value: fn(&super::BudgetMetrics) -> Option<Value>) {
    for connection in &metrics.connections {
        for budget in &connection.budgets {
            if let Some(value) = value(budget) {
                to.put(&[&connection.connection, &budget.budget], value);
            }
        }
    }
}

/// A sample for each state, of which the one that holds is 1.
fn states(to: &mut Samples<'_>, labels: &[&str], all: &[&str], now: &str) {
    for state in all {
        let mut labels = labels.to_vec();
        labels.push(state);
        to.put(&labels, Value::Count(u64::from(*state == now)));
    }
}
