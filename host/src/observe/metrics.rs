//! What is counted and timed: for each connection and operation, never for a URL.
//!
//! The sets of labels are bounded by construction. A connection and its operations are known when it is opened, kinds of
//! errors are the contract's, and nothing that a plugin or a provider says becomes a label. Counting locks nothing that
//! two calls share: a call adds to numbers of its own operation.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::{Error, Kind};
use crate::manifest::Needs;
use crate::outbound::breaker::CircuitState;
use crate::time::{Clock, Timestamp};

/// What the handling of events is counted as, beside a plugin's operations.
pub(crate) const HANDLE: &str = "(handle)";

/// What a host has measured since it was started.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Metrics {
    /// When this was read.
    pub at: Timestamp,
    /// Since when is counted.
    pub since: Timestamp,
    /// The connections that were opened, by name.
    pub connections: Vec<ConnectionMetrics>,
}

/// What was measured of one connection.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ConnectionMetrics {
    /// Its name.
    pub connection: String,
    /// The plugin's.
    pub plugin: String,
    /// The account's, where it has one.
    pub account: Option<String>,
    /// Its operations, by name, and the handling of events as `(handle)`; those that were not called too.
    pub operations: Vec<OperationMetrics>,
    /// What the breaker of each origin does now.
    pub circuits: Vec<(String, CircuitState)>,
}

/// What was measured of one operation.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct OperationMetrics {
    /// Its name.
    pub operation: String,
    /// Calls that ended well.
    pub succeeded: u64,
    /// Calls that ended in an error, by the kind's name.
    pub failed: BTreeMap<&'static str, u64>,
    /// How long calls took, in milliseconds.
    pub duration: Histogram,
    /// When a call ended well last.
    pub succeeded_at: Option<Timestamp>,
    /// When a call failed last, and the kind's name.
    pub failed_at: Option<(Timestamp, &'static str)>,
}

/// How often a measure fell between which bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram {
    counts: [u64; BOUNDS_MS.len() + 1],
    sum: u64,
}

/// Upper bounds in milliseconds; beyond the last there is one more. From 50 ms on each is less than twice the one before,
/// so that what crosses a bound by little is not taken for twice as slow.
pub const BOUNDS_MS: [u64; 25] = [
    1, 2, 5, 10, 25, 50, 75, 100, 150, 250, 400, 600, 1_000, 1_500, 2_500, 4_000, 6_000, 10_000, 15_000, 20_000,
    30_000, 45_000, 60_000, 90_000, 120_000,
];

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: [0; BOUNDS_MS.len() + 1], sum: 0 }
    }
}

impl Histogram {
    /// How many were measured.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The sum of what was measured, in milliseconds.
    pub fn sum_ms(&self) -> u64 {
        self.sum
    }

    /// Each upper bound in milliseconds with how many were no more than it; the last, of all, has none.
    pub fn cumulative(&self) -> impl Iterator<Item = (Option<u64>, u64)> + '_ {
        let bounds = BOUNDS_MS.iter().copied().map(Some).chain([None]);
        bounds.zip(self.counts.iter().scan(0, |total, count| {
            *total += count;
            Some(*total)
        }))
    }

    /// The bound that the given share, from 0 to 1, of what was measured is no more than; a straight line within the
    /// bucket. None where nothing was measured.
    pub fn quantile_ms(&self, share: f64) -> Option<u64> {
        let all = self.count();
        if all == 0 {
            return None;
        }
        let rank = ((all as f64 * share.clamp(0.0, 1.0)).ceil() as u64).max(1);
        let mut before = 0;
        let mut low = 0;
        for (bound, count) in BOUNDS_MS.iter().copied().chain([BOUNDS_MS[BOUNDS_MS.len() - 1]]).zip(self.counts) {
            if before + count >= rank {
                return Some(low + (bound - low) * (rank - before) / count.max(1));
            }
            before += count;
            low = bound;
        }
        None
    }

    /// What was measured since an earlier reading of the same.
    pub fn since(&self, earlier: &Self) -> Self {
        let mut counts = self.counts;
        counts.iter_mut().zip(earlier.counts).for_each(|(now, before)| *now = now.saturating_sub(before));
        Self { counts, sum: self.sum.saturating_sub(earlier.sum) }
    }

    /// One more, for tests of what is made from it.
    #[cfg(test)]
    pub(crate) fn record(&mut self, ms: u64) {
        self.counts[BOUNDS_MS.partition_point(|bound| *bound < ms)] += 1;
        self.sum += ms;
    }

    /// Both together.
    pub fn and(&self, other: &Self) -> Self {
        let mut counts = self.counts;
        counts.iter_mut().zip(other.counts).for_each(|(all, more)| *all += more);
        Self { counts, sum: self.sum + other.sum }
    }
}

/// A histogram that is added to.
#[derive(Default)]
struct Timings {
    counts: [AtomicU64; BOUNDS_MS.len() + 1],
    sum: AtomicU64,
}

impl Timings {
    fn add(&self, ms: u64) {
        let place = BOUNDS_MS.partition_point(|bound| *bound < ms);
        self.counts[place].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(ms, Ordering::Relaxed);
    }

    fn read(&self) -> Histogram {
        let mut counts = [0; BOUNDS_MS.len() + 1];
        counts.iter_mut().zip(&self.counts).for_each(|(to, from)| *to = from.load(Ordering::Relaxed));
        Histogram { counts, sum: self.sum.load(Ordering::Relaxed) }
    }
}

/// The meters of a host: one for each connection that was opened.
pub(crate) struct Meters {
    since: Timestamp,
    connections: Mutex<BTreeMap<String, Arc<Meter>>>,
}

/// The meter of a connection.
pub(crate) struct Meter {
    plugin: String,
    account: Option<String>,
    operations: Vec<(String, OperationMeter)>,
}

/// The meter of one operation.
#[derive(Default)]
pub(crate) struct OperationMeter {
    succeeded: AtomicU64,
    failed: [AtomicU64; Kind::NAMES.len()],
    duration: Timings,
    succeeded_at_ms: AtomicU64,
    /// The time with the kind's place.
    failed_at: Mutex<Option<(Timestamp, &'static str)>>,
}

impl Meters {
    pub(crate) fn new(clock: &dyn Clock) -> Self {
        Self { since: clock.now(), connections: Mutex::default() }
    }

    /// The meter of a connection: the one it had, where it is opened again with the same operations.
    pub(crate) fn of(&self, connection: &str, account: Option<&str>, needs: &Needs) -> Arc<Meter> {
        let mut all = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        let names = || needs.operations.iter().map(|operation| operation.name.as_str()).chain([HANDLE]);
        if let Some(meter) = all.get(connection)
            && meter.plugin == needs.manifest.plugin.name
            && meter.operations.iter().map(|(name, _)| name.as_str()).eq(names())
        {
            return meter.clone();
        }
        let meter = Arc::new(Meter {
            plugin: needs.manifest.plugin.name.clone(),
            account: account.map(ToOwned::to_owned),
            operations: names().map(|name| (name.to_owned(), OperationMeter::default())).collect(),
        });
        all.insert(connection.to_owned(), meter.clone());
        meter
    }

    pub(crate) fn read(&self, now: Timestamp) -> Metrics {
        let all = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        let connections = all.iter().map(|(connection, meter)| meter.read(connection)).collect();
        Metrics { at: now, since: self.since, connections }
    }
}

impl Meter {
    /// The meter of the operation at this place in the plugin's needs.
    pub(crate) fn operation(&self, place: usize) -> &OperationMeter {
        &self.operations[place].1
    }

    /// The meter of the handling of events.
    pub(crate) fn handling(&self) -> &OperationMeter {
        &self.operations[self.operations.len() - 1].1
    }

    fn read(&self, connection: &str) -> ConnectionMetrics {
        ConnectionMetrics {
            connection: connection.to_owned(),
            plugin: self.plugin.clone(),
            account: self.account.clone(),
            operations: self.operations.iter().map(|(name, meter)| meter.read(name)).collect(),
            circuits: Vec::new(),
        }
    }
}

impl OperationMeter {
    /// A call that began then is over.
    pub(crate) fn ended<T>(&self, began: Timestamp, now: Timestamp, result: &Result<T, Error>) {
        self.duration.add(now.since(began));
        match result {
            Ok(_) => {
                self.succeeded.fetch_add(1, Ordering::Relaxed);
                self.succeeded_at_ms.store(now.as_millis(), Ordering::Relaxed);
            }
            Err(error) => {
                let name = error.kind().name();
                if let Some(place) = Kind::NAMES.iter().position(|known| *known == name) {
                    self.failed[place].fetch_add(1, Ordering::Relaxed);
                }
                *self.failed_at.lock().unwrap_or_else(PoisonError::into_inner) = Some((now, name));
            }
        }
    }

    fn read(&self, operation: &str) -> OperationMetrics {
        let failed = Kind::NAMES.iter().zip(&self.failed).map(|(name, count)| (*name, count.load(Ordering::Relaxed)));
        let succeeded_at_ms = self.succeeded_at_ms.load(Ordering::Relaxed);
        OperationMetrics {
            operation: operation.to_owned(),
            succeeded: self.succeeded.load(Ordering::Relaxed),
            failed: failed.filter(|(_, count)| *count > 0).collect(),
            duration: self.duration.read(),
            succeeded_at: (succeeded_at_ms > 0).then(|| Timestamp::from_millis(succeeded_at_ms)),
            failed_at: *self.failed_at.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(all: impl IntoIterator<Item = u64>) -> Histogram {
        let timings = Timings::default();
        all.into_iter().for_each(|ms| timings.add(ms));
        timings.read()
    }

    #[test]
    fn nothing_measured_has_no_quantile_and_one_measure_has_every() {
        assert_eq!(of([]).quantile_ms(0.95), None);
        for share in [0.0, 0.5, 0.95, 0.99, 1.0] {
            assert_eq!(of([7]).quantile_ms(share), Some(10), "{share}");
        }
    }

    #[test]
    fn quantiles_lie_in_the_bucket_of_their_rank() {
        let all = of((0..90).map(|_| 3).chain((0..10).map(|_| 400)));
        assert!(all.quantile_ms(0.5).is_some_and(|ms| (2..=5).contains(&ms)));
        assert!(all.quantile_ms(0.95).is_some_and(|ms| (250..=500).contains(&ms)));
        assert_eq!((all.count(), all.sum_ms()), (100, 90 * 3 + 10 * 400));
        assert_eq!(of([u64::MAX / 2]).quantile_ms(0.5), Some(120_000), "beyond the last bound");
    }

    #[test]
    fn a_reading_less_an_earlier_one_is_what_came_between() {
        let (early, late) = (of([1, 10]), of([1, 10, 10, 600]));
        assert_eq!(late.since(&early), of([10, 600]));
        assert_eq!(early.and(&late.since(&early)), late);
    }
}
