//! How calls went over the last hour, step by step, so that a page shows more than what came since it was opened.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use serde::Serialize;

use crate::observe::metrics::{ConnectionMetrics, Histogram, Metrics};
use crate::time::Timestamp;

/// Milliseconds of one step.
pub(super) const STEP_MS: u64 = 10_000;

/// Steps that are kept: an hour.
const STEPS: usize = 360;

/// Connections of one step; what further ones did is told for all together. With the steps it bounds the memory: 360
/// steps of 100 connections that all were called are some 8 MiB.
const CONNECTIONS_MAX: usize = 100;

/// What happened, and since when nothing was sampled.
pub(super) struct History {
    steps: VecDeque<Step>,
    /// The readings that the last step ended with.
    last: BTreeMap<String, Tally>,
    began: Timestamp,
}

struct Step {
    began: Timestamp,
    /// Only those with calls.
    connections: Vec<(Arc<str>, Tally)>,
    all: Tally,
}

/// Calls by how they ended, and how long they took.
#[derive(Clone, Default)]
struct Tally {
    ended: [u64; ENDS],
    duration: Histogram,
}

/// One step as a page draws it.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Point {
    /// When it began, in milliseconds since 1970.
    at_ms: u64,
    /// Calls that ended well, and those that did not by who can help.
    ok: u64,
    caller: u64,
    operator: u64,
    waiting: u64,
    provider: u64,
    defect: u64,
    p50_ms: Option<u64>,
    p95_ms: Option<u64>,
    p99_ms: Option<u64>,
}

/// Well, then whoever can help.
const ENDS: usize = 6;

impl History {
    /// From this reading on.
    pub(super) fn new(metrics: &Metrics) -> Self {
        let last = metrics.connections.iter().map(|of| (of.connection.clone(), Tally::of(of))).collect();
        Self { steps: VecDeque::new(), last, began: metrics.at }
    }

    /// Ends the step under way with this reading.
    pub(super) fn sample(&mut self, metrics: &Metrics) {
        let step = self.under_way(metrics);
        self.last = metrics.connections.iter().map(|of| (of.connection.clone(), Tally::of(of))).collect();
        self.began = metrics.at;
        if self.steps.len() == STEPS {
            self.steps.pop_front();
        }
        self.steps.push_back(step);
    }

    /// Every step, the one under way included: of one connection, or of all.
    pub(super) fn points(&self, metrics: &Metrics, connection: Option<&str>) -> Vec<Point> {
        self.steps.iter().chain([&self.under_way(metrics)]).map(|step| step.point(connection)).collect()
    }

    /// The last step that has ended, and the one under way.
    pub(super) fn latest(&self, metrics: &Metrics, connection: Option<&str>) -> Vec<Point> {
        self.steps.back().into_iter().chain([&self.under_way(metrics)]).map(|step| step.point(connection)).collect()
    }

    fn under_way(&self, metrics: &Metrics) -> Step {
        let nothing = Tally::default();
        let mut step = Step { began: self.began, connections: Vec::new(), all: Tally::default() };
        for of in &metrics.connections {
            let tally = Tally::of(of).since(self.last.get(&of.connection).unwrap_or(&nothing));
            if tally.calls() == 0 {
                continue;
            }
            step.all = step.all.and(&tally);
            if step.connections.len() < CONNECTIONS_MAX {
                step.connections.push((of.connection.as_str().into(), tally));
            }
        }
        step
    }
}

impl Step {
    fn point(&self, connection: Option<&str>) -> Point {
        let nothing = Tally::default();
        let tally = match connection {
            None => &self.all,
            Some(wanted) => {
                self.connections.iter().find(|(name, _)| &**name == wanted).map_or(&nothing, |(_, tally)| tally)
            }
        };
        let [ok, caller, operator, waiting, provider, defect] = tally.ended;
        let quantile = |share| tally.duration.quantile_ms(share);
        Point {
            at_ms: self.began.as_millis(),
            ok,
            caller,
            operator,
            waiting,
            provider,
            defect,
            p50_ms: quantile(0.5),
            p95_ms: quantile(0.95),
            p99_ms: quantile(0.99),
        }
    }
}

impl Tally {
    /// Everything that a connection did so far.
    fn of(connection: &ConnectionMetrics) -> Self {
        connection.operations.iter().fold(Self::default(), |mut all, operation| {
            all.ended[0] += operation.succeeded;
            for (kind, count) in &operation.failed {
                all.ended[place(kind)] += count;
            }
            all.duration = all.duration.and(&operation.duration);
            all
        })
    }

    fn calls(&self) -> u64 {
        self.ended.iter().sum()
    }

    /// What came since an earlier reading; everything, where counting has begun anew since then.
    fn since(&self, earlier: &Self) -> Self {
        if self.calls() < earlier.calls() {
            return self.clone();
        }
        let mut ended = self.ended;
        ended.iter_mut().zip(earlier.ended).for_each(|(now, before)| *now = now.saturating_sub(before));
        Self { ended, duration: self.duration.since(&earlier.duration) }
    }

    fn and(&self, other: &Self) -> Self {
        let mut ended = self.ended;
        ended.iter_mut().zip(other.ended).for_each(|(all, more)| *all += more);
        Self { ended, duration: self.duration.and(&other.duration) }
    }
}

/// Where a kind is counted: by who can help, as [`Kind::blame`](crate::Kind::blame) has it.
fn place(kind: &str) -> usize {
    match kind {
        "invalid-request" | "not-found" | "conflict" | "cursor-invalid" | "unknown-operation" | "cancelled" => 1,
        "policy-denied"
        | "credential-unavailable"
        | "unauthorized"
        | "reauthorization-needed"
        | "forbidden"
        | "limit-exceeded"
        | "configuration"
        | "component" => 2,
        "busy" | "rate-limited" | "quota-exhausted" | "circuit-open" | "transient" | "timeout" | "deadline"
        | "network" => 3,
        "outcome-unknown" | "schema-violation" | "too-large" | "provider-reported" => 4,
        _ => 5,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Blame, Kind};
    use crate::observe::metrics::OperationMetrics;

    /// A connection, how many calls went well, and how many failed in which way.
    type Counted<'a> = (&'a str, u64, &'a [(&'static str, u64)]);

    fn metrics(at_ms: u64, of: &[Counted<'_>]) -> Metrics {
        let connection = |(name, succeeded, failed): &Counted<'_>| {
            let mut connection = ConnectionMetrics { connection: (*name).to_owned(), ..ConnectionMetrics::default() };
            let operation = OperationMetrics {
                succeeded: *succeeded,
                failed: failed.iter().copied().collect(),
                ..OperationMetrics::default()
            };
            connection.operations.push(operation);
            connection
        };
        let mut all = Metrics { at: Timestamp::from_millis(at_ms), ..Metrics::default() };
        all.connections = of.iter().map(connection).collect();
        all
    }

    #[test]
    fn a_step_is_what_came_since_the_one_before() {
        let mut history = History::new(&metrics(0, &[("a", 5, &[])]));
        history.sample(&metrics(10, &[("a", 7, &[("rate-limited", 2)]), ("b", 1, &[])]));
        let now = metrics(12, &[("a", 8, &[("rate-limited", 2), ("internal", 1)]), ("b", 1, &[])]);
        let told = |connection| {
            let points = history.points(&now, connection);
            points.iter().map(|point| (point.at_ms, point.ok, point.waiting, point.defect)).collect::<Vec<_>>()
        };
        assert_eq!(told(None), [(0, 3, 2, 0), (10, 1, 0, 1)]);
        assert_eq!(told(Some("b")), [(0, 1, 0, 0), (10, 0, 0, 0)]);
        assert_eq!(told(Some("none")), [(0, 0, 0, 0), (10, 0, 0, 0)]);
        assert_eq!(history.latest(&now, None), history.points(&now, None));
    }

    #[test]
    fn a_connection_that_counts_anew_is_no_negative_number() {
        let history = History::new(&metrics(0, &[("a", 500, &[])]));
        assert_eq!(history.points(&metrics(9, &[("a", 3, &[])]), None)[0].ok, 3);
    }

    #[test]
    fn an_hour_is_kept_and_so_many_connections() {
        let names: Vec<String> = (0..CONNECTIONS_MAX + 50).map(|number| format!("c{number:04}")).collect();
        let mut history = History::new(&metrics(0, &[]));
        for round in 1..400 {
            let all: Vec<_> = names.iter().map(|name| (name.as_str(), round, &[][..])).collect();
            history.sample(&metrics(round * STEP_MS, &all));
        }
        assert_eq!(history.steps.len(), STEPS);
        assert!(history.steps.iter().all(|step| step.connections.len() == CONNECTIONS_MAX));
        assert_eq!(history.steps[0].all.calls(), names.len() as u64, "all are counted together");
    }

    #[test]
    fn every_kind_has_its_place() {
        let defects = crate::error::Kind::NAMES.iter().filter(|name| place(name) == 5).collect::<Vec<_>>();
        assert_eq!(defects, [&"internal"], "a kind has no place of its own");
        for kind in
            [Kind::Conflict, Kind::Forbidden, Kind::QuotaExhausted, Kind::TooLarge, Kind::Internal(String::new())]
        {
            let of_blame = match kind.blame() {
                Blame::Caller => 1,
                Blame::Operator => 2,
                Blame::Time => 3,
                Blame::Provider => 4,
                Blame::Us => 5,
            };
            assert_eq!(place(kind.name()), of_blame, "{kind:?}");
        }
    }
}
