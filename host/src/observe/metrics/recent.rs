//! The last calls of an operation, one by one and by the minute.
//!
//! A histogram counts since the start and knows a duration as well as its bounds stand close. Beside it stand the guide's
//! last 1000 calls, each as long as it took, and how many failed over the last minutes. Both are written without a lock.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use serde::Serialize;

use crate::time::Timestamp;

/// How many calls are remembered one by one.
const CALLS: usize = 1_000;

/// What is told of the last minutes, in minutes.
const WINDOWS_MIN: [u64; 2] = [5, 60];

/// Minutes that are counted one by one: the longest window and the minute that runs.
const MINUTES: usize = 61;

/// The last 1000 calls of an operation that came to their end; fewer where there were fewer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RecentCalls {
    /// How many there are.
    pub calls: u64,
    /// How many of them failed.
    pub failed: u64,
    /// Milliseconds that half of them took no more than.
    pub p50_ms: Option<u64>,
    /// Milliseconds that 95 of 100 took no more than.
    pub p95_ms: Option<u64>,
    /// Milliseconds that 99 of 100 took no more than.
    pub p99_ms: Option<u64>,
}

/// Calls of an operation over the last minutes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct WindowMetrics {
    /// How many whole minutes; the one that runs is in it too.
    pub minutes: u64,
    /// Calls that came to their end.
    pub calls: u64,
    /// How many of them failed.
    pub failed: u64,
}

impl RecentCalls {
    /// The share of these calls that failed, from 0 to 1; nothing where there was none.
    pub fn error_rate(&self) -> Option<f64> {
        share(self.failed, self.calls)
    }
}

impl WindowMetrics {
    /// The share of these calls that failed, from 0 to 1; nothing where there was none.
    pub fn error_rate(&self) -> Option<f64> {
        share(self.failed, self.calls)
    }
}

/// A part of a whole, from 0 to 1; nothing of nothing.
pub(super) fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// The last calls, as they are written.
#[derive(Default)]
pub(super) struct Recent {
    /// Made with the first call: most operations are never called. Each place is the milliseconds, doubled, and one more
    /// where it failed.
    calls: OnceLock<Box<[AtomicU32]>>,
    next: AtomicU64,
    minutes: Minutes,
}

impl Recent {
    /// A call came to its end.
    pub(super) fn add(&self, now: Timestamp, ms: u64, has_failed: bool) {
        let calls = self.calls.get_or_init(|| (0..CALLS).map(|_| AtomicU32::new(0)).collect());
        let place = self.next.fetch_add(1, Ordering::Relaxed) % CALLS as u64;
        let ms = u32::try_from(ms).unwrap_or(u32::MAX).min(u32::MAX >> 1);
        if let Some(call) = usize::try_from(place).ok().and_then(|place| calls.get(place)) {
            call.store(ms << 1 | u32::from(has_failed), Ordering::Relaxed);
        }
        self.minutes.add(now, has_failed);
    }

    pub(super) fn read(&self) -> RecentCalls {
        let Some(calls) = self.calls.get() else { return RecentCalls::default() };
        let there = usize::try_from(self.next.load(Ordering::Relaxed)).unwrap_or(CALLS).min(CALLS);
        let mut all: Vec<u32> = calls.iter().take(there).map(|call| call.load(Ordering::Relaxed)).collect();
        let failed = all.iter().filter(|call| **call & 1 == 1).count();
        all.sort_unstable();
        // The nearest rank: a call that there was, also where there was one alone.
        let percentile = |percent: usize| {
            let rank = (all.len() * percent).div_ceil(100).max(1);
            all.get(rank - 1).map(|call| u64::from(call >> 1))
        };
        RecentCalls {
            calls: all.len() as u64,
            failed: failed as u64,
            p50_ms: percentile(50),
            p95_ms: percentile(95),
            p99_ms: percentile(99),
        }
    }

    pub(super) fn windows(&self, now: Timestamp) -> Vec<WindowMetrics> {
        WINDOWS_MIN.into_iter().map(|minutes| self.minutes.read(now, minutes)).collect()
    }
}

/// How many calls there were in each of the last minutes. A place holds which minute it is about (20 bits: two years),
/// its calls and its failures (22 bits each: seventy thousand calls a second), so that one step changes all three.
struct Minutes([AtomicU64; MINUTES]);

impl Default for Minutes {
    fn default() -> Self {
        Self([const { AtomicU64::new(0) }; MINUTES])
    }
}

const COUNT_BITS: u32 = 22;
const COUNT_MAX: u64 = (1 << COUNT_BITS) - 1;
const MINUTE_MAX: u64 = (1 << (64 - 2 * COUNT_BITS)) - 1;

fn minute(at: Timestamp) -> u64 {
    at.as_millis() / 60_000
}

impl Minutes {
    fn add(&self, now: Timestamp, has_failed: bool) {
        let minute = minute(now);
        let Some(place) = usize::try_from(minute % MINUTES as u64).ok().and_then(|place| self.0.get(place)) else {
            return;
        };
        let counted = |held: u64| {
            let (calls, failed) = counts(held, minute);
            let (calls, failed) = ((calls + 1).min(COUNT_MAX), (failed + u64::from(has_failed)).min(COUNT_MAX));
            (minute & MINUTE_MAX) << (2 * COUNT_BITS) | calls << COUNT_BITS | failed
        };
        let _ = place.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |held| Some(counted(held)));
    }

    fn read(&self, now: Timestamp, minutes: u64) -> WindowMetrics {
        let now = minute(now);
        let mut window = WindowMetrics { minutes, calls: 0, failed: 0 };
        for minute in now.saturating_sub(minutes)..=now {
            let place = usize::try_from(minute % MINUTES as u64).ok().and_then(|place| self.0.get(place));
            let held = place.map_or(0, |place| place.load(Ordering::Relaxed));
            let (calls, failed) = counts(held, minute);
            window.calls += calls;
            window.failed += failed;
        }
        window
    }
}

/// Calls and failures of a place, if it is about this minute.
fn counts(held: u64, minute: u64) -> (u64, u64) {
    if held >> (2 * COUNT_BITS) != minute & MINUTE_MAX {
        return (0, 0);
    }
    (held >> COUNT_BITS & COUNT_MAX, held & COUNT_MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_795_337_377_000);

    fn recent(all: impl IntoIterator<Item = (u64, bool)>) -> Recent {
        let recent = Recent::default();
        all.into_iter().for_each(|(ms, has_failed)| recent.add(NOW, ms, has_failed));
        recent
    }

    /// The guide's metrics raise an error as long as there is one latency only: `statistics.quantiles` wants two.
    #[test]
    fn guide_s10_one_sample_has_every_percentile() {
        assert_eq!(recent([]).read(), RecentCalls::default());
        let one = recent([(7, false)]).read();
        assert_eq!((one.calls, one.p50_ms, one.p95_ms, one.p99_ms), (1, Some(7), Some(7), Some(7)));
        let two = recent([(7, false), (9, true)]).read();
        assert_eq!((two.p50_ms, two.p95_ms, two.error_rate()), (Some(7), Some(9), Some(0.5)));
    }

    #[test]
    fn the_last_thousand_count_and_no_more() {
        let all = recent((1..=1_000).map(|ms| (ms, false))).read();
        assert_eq!((all.p50_ms, all.p95_ms, all.p99_ms), (Some(500), Some(950), Some(990)));
        let later = recent((0..5_000).map(|_| (60_000, true)).chain((0..1_000).map(|_| (3, false)))).read();
        assert_eq!((later.calls, later.failed, later.p99_ms), (1_000, 0, Some(3)));
        assert_eq!(recent([(u64::MAX, true)]).read().p50_ms, Some(u64::from(u32::MAX >> 1)));
    }

    #[test]
    fn minutes_pass() {
        let recent = Recent::default();
        let at = |minutes: u64| NOW.plus(minutes * 60_000);
        for minute in 0..10 {
            recent.add(at(minute), 1, minute < 2);
            recent.add(at(minute), 1, false);
        }
        let of = |now| recent.windows(now).into_iter().map(|window| (window.minutes, window.calls, window.failed));
        assert!(of(at(9)).eq([(5, 12, 0), (60, 20, 2)]));
        assert!(of(at(14)).eq([(5, 2, 0), (60, 20, 2)]));
        assert!(of(at(61)).eq([(5, 0, 0), (60, 18, 1)]), "the minute that ran first is over");
        assert!(of(at(200)).eq([(5, 0, 0), (60, 0, 0)]));
        recent.add(at(200), 1, true);
        assert!(of(at(200)).eq([(5, 1, 1), (60, 1, 1)]), "a place is used anew");
    }

    #[test]
    fn many_at_once_lose_no_call() {
        let recent = Recent::default();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..10_000).for_each(|number| recent.add(NOW, 5, number % 10 == 0)));
            }
        });
        let window = recent.windows(NOW)[0];
        assert_eq!((window.calls, window.failed), (40_000, 4_000));
        assert_eq!((recent.read().calls, recent.read().p99_ms), (1_000, Some(5)));
    }

    proptest! {
        #[test]
        fn percentiles_are_calls_that_there_were(all in prop::collection::vec((0..100_000u64, any::<bool>()), 1..1_500)) {
            let read = recent(all.clone()).read();
            let mut last: Vec<u64> = all.iter().rev().take(1_000).map(|(ms, _)| *ms).collect();
            last.sort_unstable();
            prop_assert_eq!(read.calls as usize, last.len());
            for (percent, found) in [(50, read.p50_ms), (95, read.p95_ms), (99, read.p99_ms)] {
                let found = found.unwrap();
                let no_more = last.iter().filter(|ms| **ms <= found).count();
                let less = last.iter().filter(|ms| **ms < found).count();
                prop_assert!(last.contains(&found) && no_more * 100 >= last.len() * percent);
                prop_assert!(less * 100 < last.len() * percent);
            }
        }
    }
}
