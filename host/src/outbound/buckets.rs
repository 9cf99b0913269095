//! How much may leave, and when: pure arithmetic, without clock, lock or network.
//!
//! A window bucket promises that the provider, wherever it puts the borders of its windows, never counts more than
//! `limit` units within `window_ms`. We do not know when a request reaches the provider, only that it is between the
//! moment we let it go and the moment its answer begins. So an entry counts from its reservation, for as long as it is
//! in flight, and from its answer on for one window more (and the guide's 0.1 s): whatever moment in between is the
//! provider's, the window around it is full before ours is. The units are taken when the reservation is made, not when
//! the request is done, so that many callers at once cannot all find the same room.
//!
//! A concurrency bucket counts what is in flight and nothing else. Who waits in which order, and who takes from several
//! at once, is not decided here.

use std::collections::VecDeque;

use crate::time::Timestamp;

/// A bucket's name and size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BucketSpec {
    /// As the manifest calls it.
    pub(crate) name: String,
    /// What it counts.
    pub(crate) shape: Shape,
}

/// What a bucket counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Units within any window of this length.
    Window {
        /// The most units.
        limit: u32,
        /// The window's length.
        window_ms: u64,
    },
    /// Units in flight.
    Concurrency {
        /// The most units.
        limit: u32,
    },
}

impl BucketSpec {
    /// Whether it counts over time.
    pub(crate) fn is_window(&self) -> bool {
        self.window_ms().is_some()
    }

    /// The most units.
    pub(crate) fn limit(&self) -> u32 {
        match self.shape {
            Shape::Window { limit, .. } | Shape::Concurrency { limit } => limit,
        }
    }

    /// The length of its window, if it has one.
    pub(crate) fn window_ms(&self) -> Option<u64> {
        match self.shape {
            Shape::Window { window_ms, .. } => Some(window_ms),
            Shape::Concurrency { .. } => None,
        }
    }
}

/// Units taken from a bucket. It must go back to [`Bucket::settle`] or [`Bucket::cancel`]: until then it counts.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "what is not given back counts for ever"]
pub(crate) struct Reservation(u32);

/// Why nothing was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// Ask again then; earlier is of no use. If nobody else takes anything, it will do.
    Until(Timestamp),
    /// Ask again when something in flight has come back.
    Release,
    /// The bucket can never give as much at once.
    Never,
}

/// How a bucket stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    /// The most units now: its own limit, or a smaller one that the provider told.
    pub(crate) limit: u64,
    /// Units that count now.
    pub(crate) used: u64,
    /// Units that are free now, blocked or not.
    pub(crate) left: u64,
    /// Until when nothing leaves, if that is so.
    pub(crate) blocked_until: Option<Timestamp>,
}

/// One bucket being spent.
#[derive(Clone, Debug)]
pub(crate) struct Bucket {
    spec: BucketSpec,
    in_flight: u64,
    /// What counts for a known time yet: until when (exclusive), and how many units; ordered, no time twice. Its units
    /// are never more than the limit, nor its times more than `limit` or some [`GRAINS`].
    counted: VecDeque<(Timestamp, u32)>,
    /// The sum of all units in `counted`, so that finding room costs the same however full the window is.
    counted_units: u64,
    blocked_until: Timestamp,
    /// A smaller limit that the provider told, and until when it is believed.
    told: Option<(u32, Timestamp)>,
}

/// The guide's buffer, which also covers a provider that counts both ends of a window.
const BUFFER_MS: u64 = 100;

/// Up to this limit every entry has its own time.
const EXACT_LIMIT_MAX: u32 = 4_096;

/// Above it, times are rounded up to so many grains per window.
const GRAINS: u64 = 1_024;

impl Bucket {
    /// An empty bucket.
    pub(crate) fn new(spec: BucketSpec) -> Self {
        Self {
            spec,
            in_flight: 0,
            counted: VecDeque::new(),
            counted_units: 0,
            blocked_until: Timestamp::default(),
            told: None,
        }
    }

    /// Takes units.
    ///
    /// # Errors
    /// What to wait for.
    pub(crate) fn reserve(&mut self, now: Timestamp, units: u32) -> Result<Reservation, Wait> {
        self.ready_at(now, units)?;
        self.in_flight += u64::from(units);
        Ok(Reservation(units))
    }

    /// It is of another size from now on. What was spent of it counts as the new size says; what had lapsed by the old
    /// one does not come back.
    pub(crate) fn reshape(&mut self, shape: Shape) {
        match (self.spec.shape, shape) {
            (Shape::Window { window_ms: before, .. }, Shape::Window { window_ms, limit }) => {
                for (until, _) in &mut self.counted {
                    *until = Timestamp::from_millis(until.as_millis().saturating_sub(before)).plus(window_ms);
                }
                self.told = self.told.filter(|(told, _)| *told < limit);
            }
            _ => {
                self.counted.clear();
                (self.counted_units, self.told) = (0, None);
            }
        }
        self.spec.shape = shape;
    }

    /// The answer begins, or the attempt failed, at `at`: windows age from then on, concurrency is free again.
    pub(crate) fn settle(&mut self, Reservation(units): Reservation, at: Timestamp) {
        self.land(units);
        self.count(units, at);
    }

    /// Provably nothing was sent: the units come back.
    pub(crate) fn cancel(&mut self, Reservation(units): Reservation) {
        self.land(units);
    }

    /// Until when it gives nothing, because somebody said so.
    pub(crate) fn blocked_until(&self) -> Timestamp {
        self.blocked_until
    }

    /// Nothing leaves before `until`; an earlier time changes nothing.
    pub(crate) fn block_until(&mut self, until: Timestamp) {
        self.blocked_until = self.blocked_until.max(until);
    }

    /// The provider says that `left` units are left in the window. Where that is less than we know of, somebody else
    /// has used the difference: it counts as used now, until the window's reset if that is known and earlier. It never
    /// gives more than we know of, and says nothing about concurrency. The caller must know that the provider spoke of
    /// this bucket.
    pub(crate) fn remaining(&mut self, left: u32, now: Timestamp, reset_at: Option<Timestamp>) {
        self.forget_until(now);
        let stranger = self.left(now).saturating_sub(u64::from(left));
        let until = self.counts_until(now);
        let until = reset_at.map_or(until, |reset| until.min(reset.max(now).plus(BUFFER_MS)));
        self.count_until(u32::try_from(stranger).unwrap_or(u32::MAX), until);
    }

    /// The provider says that its window holds `limit` units. A smaller figure than ours holds for one window from now;
    /// a larger one changes nothing.
    pub(crate) fn told_limit(&mut self, limit: u32, now: Timestamp) {
        if let Shape::Window { limit: own, window_ms } = self.spec.shape {
            self.told = (limit < own).then(|| (limit.max(1), now.plus(window_ms)));
        }
    }

    /// Whether it can give so many units now; else what to wait for, if nothing else happens.
    pub(crate) fn ready_at(&mut self, now: Timestamp, units: u32) -> Result<(), Wait> {
        let needed = u64::from(units);
        if needed > u64::from(self.limit()) {
            return Err(Wait::Never);
        }
        self.forget_until(now);
        let limit = match self.told {
            // More at once than the provider wants to give at all: when its word has lapsed, ours holds.
            Some((told, until)) if now < until && needed > u64::from(told) => return Err(Wait::Until(until)),
            Some((told, until)) if now < until => u64::from(told),
            _ => u64::from(self.limit()),
        };
        let mut at = now.max(self.blocked_until);
        let mut used = self.in_flight + self.counted_units;
        if used + needed > limit {
            if self.in_flight + needed > limit {
                return Err(Wait::Release);
            }
            for (until, units) in &self.counted {
                used = used.saturating_sub(u64::from(*units));
                at = at.max(*until);
                if used + needed <= limit {
                    break;
                }
            }
        }
        if at > now { Err(Wait::Until(at)) } else { Ok(()) }
    }

    fn limit(&self) -> u32 {
        self.spec.limit()
    }

    /// How it stands at `now`.
    pub(crate) fn standing(&self, now: Timestamp) -> Standing {
        let told = self.told.filter(|(_, until)| now < *until).map(|(told, _)| told);
        let limit = u64::from(told.unwrap_or_else(|| self.limit()));
        let used = self.in_flight + self.units_counted(now);
        let blocked_until = (self.blocked_until > now).then_some(self.blocked_until);
        Standing { limit, used, left: limit.saturating_sub(used), blocked_until }
    }

    /// Units free at `now`, blocked or not.
    fn left(&self, now: Timestamp) -> u64 {
        u64::from(self.limit()).saturating_sub(self.in_flight + self.units_counted(now))
    }

    fn units_counted(&self, now: Timestamp) -> u64 {
        self.counted.iter().filter(|(until, _)| *until > now).map(|(_, units)| u64::from(*units)).sum()
    }

    /// Until when something counts that the provider has counted at `at` the latest.
    fn counts_until(&self, at: Timestamp) -> Timestamp {
        match self.spec.shape {
            Shape::Window { window_ms, .. } => at.plus(window_ms).plus(BUFFER_MS),
            Shape::Concurrency { .. } => at,
        }
    }

    /// Takes units out of flight.
    fn land(&mut self, units: u32) {
        self.in_flight = self.in_flight.saturating_sub(u64::from(units));
    }

    /// Counts units that the provider has counted at `at` the latest.
    fn count(&mut self, units: u32, at: Timestamp) {
        self.count_until(units, self.counts_until(at));
    }

    /// Counts units until a time.
    fn count_until(&mut self, units: u32, exact: Timestamp) {
        let Shape::Window { limit, window_ms } = self.spec.shape else {
            return;
        };
        if units == 0 {
            return;
        }
        self.counted_units += u64::from(units);
        let grain_ms = if limit <= EXACT_LIMIT_MAX { 1 } else { window_ms.div_ceil(GRAINS).max(1) };
        // Rounded up, an entry counts a little longer than it must, never shorter.
        let until = exact.as_millis().checked_next_multiple_of(grain_ms).map_or(Timestamp::MAX, Timestamp::from_millis);
        // Answers do not come in order.
        let place = self.counted.partition_point(|(known, _)| *known < until);
        match self.counted.get_mut(place) {
            Some((known, sum)) if *known == until => *sum = sum.saturating_add(units),
            _ => self.counted.insert(place, (until, units)),
        }
    }

    /// Drops what does not count any more.
    fn forget_until(&mut self, now: Timestamp) {
        while let Some((_, units)) = self.counted.pop_front_if(|(until, _)| *until <= now) {
            self.counted_units = self.counted_units.saturating_sub(u64::from(units));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn window(limit: u32, window_ms: u64) -> BucketSpec {
        BucketSpec { name: "calls".to_owned(), shape: Shape::Window { limit, window_ms } }
    }

    fn concurrency(limit: u32) -> BucketSpec {
        BucketSpec { name: "streams".to_owned(), shape: Shape::Concurrency { limit } }
    }

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_millis(1_000_000 + ms)
    }

    /// In the guide's code 50 of 50 callers at once pass a limit of 5 a second: they look first and record later.
    #[test]
    fn guide_s03_window_admits_no_more_than_its_limit() {
        let mut bucket = Bucket::new(window(5, 1_000));
        let admitted: Vec<Reservation> = (0..50).filter_map(|_| bucket.reserve(at(0), 1).ok()).collect();
        assert_eq!(admitted.len(), 5);
        assert_eq!(bucket.reserve(at(0), 1), Err(Wait::Release));
        for (reservation, ms) in admitted.into_iter().zip([300, 100, 200, 200, 900]) {
            bucket.settle(reservation, at(ms));
        }
        // Looked at again after the wait, which the guide's code forgets too.
        assert_eq!(bucket.reserve(at(900), 1), Err(Wait::Until(at(1_200))));
        assert_eq!(bucket.reserve(at(900), 2), Err(Wait::Until(at(1_300))));
        assert_eq!(bucket.reserve(at(1_199), 1), Err(Wait::Until(at(1_200))));
        let first = bucket.reserve(at(1_200), 1).unwrap();
        assert_eq!(bucket.reserve(at(1_200), 1), Err(Wait::Until(at(1_300))));
        bucket.cancel(first);
        assert!(bucket.reserve(at(1_200), 1).is_ok());
    }

    /// Another size forgets nothing that it counts, and what is under way comes back to it.
    #[test]
    fn a_bucket_of_another_size_has_spent_what_it_had_spent() {
        let mut bucket = Bucket::new(window(2, 1_000));
        let settled = bucket.reserve(at(0), 1).unwrap();
        bucket.settle(settled, at(0));
        let under_way = bucket.reserve(at(0), 1).unwrap();
        bucket.reshape(Shape::Window { limit: 3, window_ms: 5_000 });
        let third = bucket.reserve(at(0), 1).unwrap();
        bucket.cancel(third);
        assert_eq!(bucket.reserve(at(0), 2), Err(Wait::Until(at(5_100))));
        bucket.settle(under_way, at(10));
        bucket.reshape(Shape::Window { limit: 1, window_ms: 2_000 });
        assert_eq!(bucket.reserve(at(10), 1), Err(Wait::Until(at(2_110))));
        bucket.reshape(Shape::Concurrency { limit: 1 });
        let running = bucket.reserve(at(10), 1).unwrap();
        bucket.reshape(Shape::Window { limit: 1, window_ms: 1_000 });
        assert_eq!(bucket.reserve(at(10), 1), Err(Wait::Release));
        bucket.settle(running, at(20));
        assert_eq!(bucket.reserve(at(20), 1), Err(Wait::Until(at(1_120))));
    }

    #[test]
    fn concurrency_is_free_when_settled() {
        let mut bucket = Bucket::new(concurrency(2));
        let both = bucket.reserve(at(0), 2).unwrap();
        assert_eq!(bucket.reserve(at(9_999), 1), Err(Wait::Release));
        bucket.settle(both, at(1));
        assert!(bucket.reserve(at(1), 2).is_ok());
        assert_eq!(bucket.reserve(at(1), 3), Err(Wait::Never));
    }

    #[test]
    fn a_block_is_only_ever_raised() {
        let mut bucket = Bucket::new(window(1, 10));
        bucket.block_until(at(500));
        bucket.block_until(at(400));
        assert_eq!(bucket.reserve(at(499), 1), Err(Wait::Until(at(500))));
        assert!(bucket.reserve(at(500), 1).is_ok());
    }

    #[test]
    fn the_provider_only_lowers() {
        let mut bucket = Bucket::new(window(10, 1_000));
        let held = bucket.reserve(at(0), 4).unwrap();
        bucket.settle(held, at(0));
        bucket.remaining(9, at(0), None);
        assert_eq!(bucket.left(at(0)), 6);
        bucket.remaining(2, at(100), None);
        bucket.remaining(2, at(200), None);
        assert_eq!(bucket.left(at(200)), 2);
        assert_eq!(bucket.reserve(at(200), 3), Err(Wait::Until(at(1_100))));
        assert_eq!(bucket.left(at(1_200)), 10);
        let mut streams = Bucket::new(concurrency(1));
        streams.remaining(0, at(0), None);
        assert!(streams.reserve(at(0), 1).is_ok());
    }

    #[test]
    fn what_a_stranger_used_is_free_again_at_the_reset() {
        let mut bucket = Bucket::new(window(10, 60_000));
        bucket.remaining(0, at(0), Some(at(2_000)));
        assert_eq!(bucket.reserve(at(0), 1), Err(Wait::Until(at(2_100))));
        // A reset later than a whole window, or in the past, is not believed.
        bucket.remaining(0, at(5_000), Some(at(900_000)));
        assert_eq!(bucket.reserve(at(5_000), 1), Err(Wait::Until(at(65_100))));
        let mut bucket = Bucket::new(window(10, 60_000));
        bucket.remaining(0, at(5_000), Some(at(1_000)));
        assert_eq!(bucket.reserve(at(5_000), 1), Err(Wait::Until(at(5_100))));
    }

    #[test]
    fn a_smaller_limit_is_believed_for_one_window() {
        let (mut bucket, mut streams) = (Bucket::new(window(10, 1_000)), Bucket::new(concurrency(3)));
        bucket.told_limit(50, at(0));
        assert!(bucket.clone().reserve(at(0), 10).is_ok());
        bucket.told_limit(2, at(0));
        streams.told_limit(1, at(0));
        assert!(streams.reserve(at(0), 3).is_ok(), "it is not about concurrency");
        let held = bucket.reserve(at(0), 2).unwrap();
        assert_eq!(bucket.reserve(at(0), 1), Err(Wait::Release));
        assert_eq!(bucket.reserve(at(0), 3), Err(Wait::Until(at(1_000))));
        bucket.settle(held, at(10));
        assert_eq!(bucket.reserve(at(20), 1), Err(Wait::Until(at(1_110))));
        assert!(bucket.clone().reserve(at(1_000), 8).is_ok(), "our own limit holds again");
        bucket.told_limit(0, at(2_000));
        assert!(bucket.reserve(at(2_000), 1).is_ok(), "a limit of nothing would stop all for ever");
    }

    #[test]
    fn memory_is_bounded() {
        let mut bucket = Bucket::new(window(1_000_000, 86_400_000));
        for ms in 0..100_000 {
            let held = bucket.reserve(at(ms * 2_000), 1).unwrap();
            bucket.settle(held, at(ms * 2_000));
        }
        assert!(u64::try_from(bucket.counted.len()).unwrap() <= GRAINS + 2);
        let mut bucket = Bucket::new(window(3, 1));
        for ms in 0..1_000 {
            let held = bucket.reserve(at(ms * 200), 3).unwrap();
            bucket.settle(held, at(ms * 200));
        }
        assert!(bucket.counted.len() <= 3);
    }

    /// What happens to a bucket, in order of time.
    #[derive(Clone, Debug)]
    enum Event {
        Pass(u64),
        Reserve(u32),
        /// The one at this place (of those in flight) is answered; the provider counted it at this share of its flight.
        Settle(usize, u64),
        Cancel(usize),
        Remaining(u32),
        Block(u64),
        /// Waits as told and tries again.
        Obey,
    }

    fn events() -> impl Strategy<Value = Vec<Event>> {
        let event = prop_oneof![
            3 => (0..400u64).prop_map(Event::Pass),
            5 => (0..4u32).prop_map(Event::Reserve),
            4 => (any::<usize>(), 0..=100u64).prop_map(|(i, share)| Event::Settle(i, share)),
            1 => any::<usize>().prop_map(Event::Cancel),
            1 => (0..12u32).prop_map(Event::Remaining),
            1 => (0..500u64).prop_map(Event::Block),
            3 => Just(Event::Obey),
        ];
        prop::collection::vec(event, 1..120)
    }

    /// A request: when it was let go, how many units, and once settled when the provider counted it.
    struct Sent {
        reservation: Option<Reservation>,
        from: u64,
        units: u32,
        counted_at: Option<u64>,
    }

    /// Runs a schedule; answers when the provider counted what.
    fn run(limit: u32, window_ms: u64, events: &[Event]) -> Result<Vec<(u64, u32)>, TestCaseError> {
        let mut bucket = Bucket::new(window(limit, window_ms));
        let (mut now, mut sent, mut last_wanted) = (0u64, Vec::<Sent>::new(), 1);
        for event in events {
            let in_flight: Vec<usize> = (0..sent.len()).filter(|i| sent[*i].reservation.is_some()).collect();
            let pick = |any: usize| in_flight.get(any % in_flight.len().max(1)).copied();
            let mut wanted = None;
            match event {
                Event::Pass(ms) => now += ms,
                Event::Reserve(units) => wanted = Some(*units),
                Event::Settle(any, share) => {
                    if let Some(one) = pick(*any).and_then(|i| sent.get_mut(i)) {
                        one.counted_at = Some(one.from + (now - one.from) * share / 100);
                        bucket.settle(one.reservation.take().unwrap(), at(now));
                    }
                }
                Event::Cancel(any) => {
                    if let Some(i) = pick(*any) {
                        bucket.cancel(sent.remove(i).reservation.unwrap());
                    }
                }
                Event::Remaining(left) => {
                    let before = bucket.left(at(now));
                    bucket.remaining(*left, at(now), None);
                    prop_assert_eq!(bucket.left(at(now)), before.min(u64::from(*left)));
                }
                Event::Block(ms) => bucket.block_until(at(now + ms)),
                Event::Obey => {
                    if let Err(Wait::Until(until)) = bucket.clone().reserve(at(now), last_wanted) {
                        let early = Timestamp::from_millis(until.as_millis() - 1);
                        prop_assert!(until > at(now));
                        prop_assert_eq!(bucket.clone().reserve(early, last_wanted), Err(Wait::Until(until)));
                        now = until.since(at(0));
                        prop_assert!(bucket.clone().reserve(at(now), last_wanted).is_ok());
                        wanted = Some(last_wanted);
                    }
                }
            }
            if let Some(units) = wanted {
                last_wanted = units;
                if let Ok(reservation) = bucket.reserve(at(now), units) {
                    sent.push(Sent { reservation: Some(reservation), from: now, units, counted_at: None });
                }
            }
            let flying: u64 = sent.iter().filter(|s| s.reservation.is_some()).map(|s| u64::from(s.units)).sum();
            prop_assert_eq!(bucket.in_flight, flying);
            prop_assert!(flying + bucket.units_counted(at(now)) <= u64::from(limit));
        }
        for one in sent.iter_mut().filter(|s| s.reservation.is_some()) {
            one.counted_at = Some(now);
            bucket.settle(one.reservation.take().unwrap(), at(now));
        }
        prop_assert_eq!(bucket.in_flight, 0);
        // All that was ever taken comes back.
        prop_assert_eq!(bucket.ready_at(at(now + 10 * window_ms + 10_000), limit), Ok(()));
        Ok(sent.iter().filter_map(|s| s.counted_at.map(|t| (t, s.units))).collect())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]

        #[test]
        fn no_window_of_the_provider_ever_holds_more(limit in 1..10u32, window_ms in 0..1_000u64, events in events()) {
            let counted = run(limit, window_ms, &events)?;
            for (start, _) in &counted {
                let inside = counted.iter().filter(|(t, _)| (*start..=*start + window_ms).contains(t));
                let units: u32 = inside.map(|(_, units)| units).sum();
                prop_assert!(units <= limit, "{units} of {limit} from {start}: {counted:?}");
            }
        }

        #[test]
        fn the_coarse_bucket_is_never_more_generous(
            window_ms in 1..10_000_000u64,
            flights in prop::collection::vec((0..5_000_000u64, 1..3_000u32), 1..40),
        ) {
            // The same answers in one bucket on each side of the border.
            let mut coarse = Bucket::new(window(1_000_000, window_ms));
            let mut exact = Bucket::new(window(4_096, window_ms));
            for (ms, units) in &flights {
                coarse.count(*units, at(*ms));
                exact.count(*units, at(*ms));
            }
            for (ms, _) in &flights {
                for now in [*ms, ms + window_ms, ms + window_ms + BUFFER_MS, ms + window_ms + BUFFER_MS + 1] {
                    prop_assert!(coarse.units_counted(at(now)) >= exact.units_counted(at(now)));
                    let later = now + window_ms / GRAINS + 1;
                    prop_assert!(coarse.units_counted(at(later)) <= exact.units_counted(at(now)));
                }
            }
        }

        #[test]
        fn no_numbers_break_it(
            limit in any::<u32>(),
            window_ms in any::<u64>(),
            steps in prop::collection::vec((any::<u64>(), any::<u32>(), any::<u64>()), 0..20),
        ) {
            let mut bucket = Bucket::new(window(limit, window_ms));
            for (now, units, settled) in steps {
                if let Ok(held) = bucket.reserve(Timestamp::from_millis(now), units) {
                    bucket.settle(held, Timestamp::from_millis(settled));
                }
                bucket.remaining(units, Timestamp::from_millis(now), Some(Timestamp::from_millis(settled)));
                bucket.told_limit(units, Timestamp::from_millis(now));
                bucket.block_until(Timestamp::from_millis(settled));
            }
        }
    }
}
