//! How often a measure fell between which bounds.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::ser::SerializeStruct as _;
use serde::{Serialize, Serializer};

/// How often a measure in milliseconds fell between which of [`BOUNDS_MS`].
///
/// As JSON: `{"count": 3, "sum": 460, "buckets": [[1, 0], [2, 1], …, [null, 3]]}`, each bucket a bound with how many were
/// no more than it; none where nothing was measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram {
    counts: [u64; BOUNDS_MS.len() + 1],
    sum: u64,
}

/// Upper bounds in milliseconds; beyond the last there is one more. From 50 ms on each is less than twice the one before,
/// so that what crosses a bound by little is not taken for twice as slow.
pub const BOUNDS_MS: &[u64] = &[
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

impl Serialize for Histogram {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut fields = to.serialize_struct("Histogram", 3)?;
        fields.serialize_field("count", &self.count())?;
        fields.serialize_field("sum", &self.sum)?;
        let counted = self.cumulative().filter(|_| self.count() > 0);
        fields.serialize_field("buckets", &counted.collect::<Vec<_>>())?;
        fields.end()
    }
}

/// A histogram that is added to.
#[derive(Default)]
pub(super) struct Timings {
    counts: [AtomicU64; BOUNDS_MS.len() + 1],
    sum: AtomicU64,
}

impl Timings {
    pub(super) fn add(&self, ms: u64) {
        let place = BOUNDS_MS.partition_point(|bound| *bound < ms);
        self.counts[place].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(ms, Ordering::Relaxed);
    }

    pub(super) fn read(&self) -> Histogram {
        let mut counts = [0; BOUNDS_MS.len() + 1];
        counts.iter_mut().zip(&self.counts).for_each(|(to, from)| *to = from.load(Ordering::Relaxed));
        Histogram { counts, sum: self.sum.load(Ordering::Relaxed) }
    }
}

/// What these measures make.
#[cfg(test)]
pub(super) fn of(all: impl IntoIterator<Item = u64>) -> Histogram {
    let timings = Timings::default();
    all.into_iter().for_each(|ms| timings.add(ms));
    timings.read()
}

#[cfg(test)]
mod tests {
    use super::*;

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
