//! When to stop asking, and how to begin again: pure arithmetic, without clock, lock or network.
//!
//! A breaker watches one origin of one connection. Closed, it lets everything pass and counts failures: so many in a
//! row, or, where the operator says so, their share of a window that saw enough. Open, it refuses until a time. Then it is
//! half open and lets probes pass, never more at once than it is set to: enough of them that succeed close it, one that
//! fails opens it again, for twice as long as before, up to a longest time. Jitter only lengthens, so that those who
//! stopped together do not come back together.
//!
//! Whoever may pass gets a [`Pass`] and gives it back with what came of it. A pass belongs to the state that gave it: a
//! slow answer to something that was let go before the breaker opened closes nothing, and fails nothing a second time. A
//! pass given back without a result (the caller went away, or the answer said nothing about the provider's health) frees
//! its place and changes nothing else, so that no lost probe keeps the breaker half open for ever.

use serde::Deserialize;

use crate::observe::states::CircuitState;
use crate::time::Timestamp;

/// `[connections.<name>.breaker]`: when the host stops asking a provider that keeps failing. The defaults are the guide's.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct BreakerPolicy {
    /// Whether there is a breaker at all.
    pub enabled: bool,
    /// Failures in a row that open it.
    pub failures: u32,
    /// Milliseconds that it stays open at first.
    pub open_ms: u64,
    /// Milliseconds that it stays open at most, however often it opens again.
    pub open_ms_max: u64,
    /// Probes that must succeed to close it.
    pub successes: u32,
    /// Probes under way at once.
    pub probes: u32,
    /// Percent of a window's requests that open it when they fail, besides `failures`; absent, only `failures` counts.
    pub failure_percent: Option<u32>,
    /// Requests a window must have seen before `failure_percent` counts.
    pub volume_min: u32,
    /// Milliseconds of that window.
    pub window_ms: u64,
}

impl Default for BreakerPolicy {
    fn default() -> Self {
        Self {
            enabled: true,
            failures: 5,
            open_ms: 60_000,
            open_ms_max: 600_000,
            successes: 3,
            probes: 1,
            failure_percent: None,
            volume_min: 20,
            window_ms: 60_000,
        }
    }
}

impl BreakerPolicy {
    /// What is wrong with it, if anything.
    pub(crate) fn check(&self) -> Result<(), String> {
        let least_one = [
            ("failures", u64::from(self.failures)),
            ("open_ms", self.open_ms),
            ("successes", u64::from(self.successes)),
            ("probes", u64::from(self.probes)),
            ("volume_min", u64::from(self.volume_min)),
            ("window_ms", self.window_ms),
        ];
        if let Some((name, _)) = least_one.into_iter().find(|(_, value)| *value == 0) {
            return Err(format!("breaker.{name} must be at least 1; to have no breaker write breaker.enabled = false"));
        }
        if self.open_ms_max < self.open_ms {
            return Err("breaker.open_ms_max must not be less than breaker.open_ms".to_owned());
        }
        match self.failure_percent {
            Some(0 | 101..) => Err("breaker.failure_percent must be from 1 to 100".to_owned()),
            _ => Ok(()),
        }
    }
}

/// Leave to ask. It must go back with a result or without one: until then it holds its place.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a pass that is not given back holds its place for ever"]
pub(crate) struct Pass {
    /// Which state gave it, counted from the beginning.
    state: u64,
    is_probe: bool,
}

/// A breaker.
#[derive(Clone, Debug)]
pub(crate) struct Breaker {
    policy: BreakerPolicy,
    mode: Mode,
    /// How many states there were.
    state: u64,
    /// How often in a row it opened without closing in between.
    openings: u32,
    window: Window,
}

#[derive(Clone, Copy, Debug)]
enum Mode {
    Closed { failures: u32 },
    Open { until: Timestamp },
    HalfOpen { probing: u32, successes: u32 },
}

impl Breaker {
    /// A closed one.
    pub(crate) fn new(policy: BreakerPolicy) -> Self {
        Self { policy, mode: Mode::Closed { failures: 0 }, state: 0, openings: 0, window: Window::default() }
    }

    /// What it does at `now`.
    pub(crate) fn state(&self, now: Timestamp) -> CircuitState {
        match self.mode {
            Mode::Closed { .. } => CircuitState::Closed,
            Mode::Open { until } if now < until => CircuitState::Open { until },
            Mode::Open { .. } | Mode::HalfOpen { .. } => CircuitState::HalfOpen,
        }
    }

    /// Until when asking is certainly of no use: for whoever would otherwise queue for a permit in vain.
    pub(crate) fn refuses_until(&self, now: Timestamp) -> Option<Timestamp> {
        match self.mode {
            Mode::Open { until } if now < until => Some(until),
            _ => None,
        }
    }

    /// Asks for leave.
    ///
    /// # Errors
    /// When to ask again: the time that it opens for probes, or a little later if all probes are under way.
    pub(crate) fn ask(&mut self, now: Timestamp) -> Result<Pass, Timestamp> {
        match self.mode {
            Mode::Closed { .. } => Ok(Pass { state: self.state, is_probe: false }),
            Mode::Open { until } if now < until => Err(until),
            Mode::Open { .. } => {
                self.enter(Mode::HalfOpen { probing: 1, successes: 0 });
                Ok(Pass { state: self.state, is_probe: true })
            }
            Mode::HalfOpen { ref mut probing, .. } if *probing < self.policy.probes => {
                *probing += 1;
                Ok(Pass { state: self.state, is_probe: true })
            }
            Mode::HalfOpen { .. } => Err(now.plus(PROBE_WAIT_MS)),
        }
    }

    /// The provider answered as one that is well.
    pub(crate) fn succeed(&mut self, pass: Pass, now: Timestamp) {
        if pass.state != self.state {
            return;
        }
        match &mut self.mode {
            Mode::Closed { failures } => {
                *failures = 0;
                self.window.count(now, self.policy.window_ms, false);
            }
            Mode::HalfOpen { probing, successes } => {
                *probing = probing.saturating_sub(u32::from(pass.is_probe));
                *successes += 1;
                if *successes >= self.policy.successes {
                    self.openings = 0;
                    self.window = Window::default();
                    self.enter(Mode::Closed { failures: 0 });
                }
            }
            Mode::Open { .. } => {}
        }
    }

    /// The provider failed. `jitter` is drawn evenly from -1 to 1.
    pub(crate) fn fail(&mut self, pass: Pass, now: Timestamp, jitter: f64) {
        if pass.state != self.state {
            return;
        }
        let opens = match &mut self.mode {
            Mode::Closed { failures } => {
                *failures += 1;
                self.window.count(now, self.policy.window_ms, true);
                *failures >= self.policy.failures || self.window.is_over(&self.policy)
            }
            Mode::HalfOpen { .. } => true,
            Mode::Open { .. } => false,
        };
        if opens {
            let until = now.plus(self.open_ms(jitter));
            self.openings = self.openings.saturating_add(1);
            self.enter(Mode::Open { until });
        }
    }

    /// Nothing came of it that says anything about the provider.
    pub(crate) fn release(&mut self, pass: Pass) {
        if let Mode::HalfOpen { probing, .. } = &mut self.mode
            && pass.state == self.state
        {
            *probing = probing.saturating_sub(u32::from(pass.is_probe));
        }
    }

    fn enter(&mut self, mode: Mode) {
        self.mode = mode;
        self.state += 1;
    }

    /// `open_ms · 2^openings`, up to a quarter longer, and only then cut.
    fn open_ms(&self, jitter: f64) -> u64 {
        let factor = 2u64.checked_pow(self.openings).unwrap_or(u64::MAX);
        let middle_ms = self.policy.open_ms.saturating_mul(factor).min(self.policy.open_ms_max);
        let share = if jitter.is_finite() { (jitter.clamp(-1.0, 1.0) + 1.0) / 2.0 } else { 0.0 };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a share of a quarter, and a wait needs no more than a double's 53 bits"
        )]
        let more_ms = ((middle_ms / 4) as f64 * share) as u64;
        middle_ms.saturating_add(more_ms).min(self.policy.open_ms_max)
    }
}

/// When to ask again while all probes are under way.
const PROBE_WAIT_MS: u64 = 1_000;

/// Requests and failures of the last window, in slices, so that its memory does not grow with the traffic.
#[derive(Clone, Copy, Debug, Default)]
struct Window {
    slices: [Slice; SLICES],
}

#[derive(Clone, Copy, Debug, Default)]
struct Slice {
    /// Which slice of time it counts.
    number: u64,
    requests: u32,
    failures: u32,
}

const SLICES: usize = 10;

impl Window {
    fn count(&mut self, now: Timestamp, window_ms: u64, failed: bool) {
        let number = now.as_millis() / (window_ms / SLICES as u64).max(1);
        for slice in &mut self.slices {
            if slice.number.saturating_add(SLICES as u64) <= number {
                *slice = Slice::default();
            }
        }
        let place = usize::try_from(number % SLICES as u64).unwrap_or(0);
        let slice = &mut self.slices[place];
        if slice.number != number {
            *slice = Slice { number, requests: 0, failures: 0 };
        }
        slice.requests = slice.requests.saturating_add(1);
        slice.failures = slice.failures.saturating_add(u32::from(failed));
    }

    fn is_over(&self, policy: &BreakerPolicy) -> bool {
        let Some(percent) = policy.failure_percent else { return false };
        let sum = |of: fn(&Slice) -> u32| self.slices.iter().map(|slice| u64::from(of(slice))).sum::<u64>();
        let (requests, failures) = (sum(|slice| slice.requests), sum(|slice| slice.failures));
        requests >= u64::from(policy.volume_min) && failures * 100 >= requests * u64::from(percent)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_millis(1_000_000 + ms)
    }

    fn opened(policy: BreakerPolicy) -> Breaker {
        let mut breaker = Breaker::new(policy);
        for _ in 0..policy.failures {
            let pass = breaker.ask(at(0)).unwrap();
            breaker.fail(pass, at(0), -1.0);
        }
        assert_eq!(breaker.state(at(0)), CircuitState::Open { until: at(policy.open_ms) });
        breaker
    }

    /// The guide's figures, item 94: 5 failures in a row, 60 s, 3 successes.
    #[test]
    fn opens_waits_probes_and_closes() {
        let mut breaker = Breaker::new(BreakerPolicy::default());
        for failed in [true, true, true, true, false, true, true, true, true] {
            let pass = breaker.ask(at(0)).unwrap();
            if failed { breaker.fail(pass, at(0), -1.0) } else { breaker.succeed(pass, at(0)) }
        }
        assert_eq!(breaker.state(at(0)), CircuitState::Closed, "a success begins the count anew");
        let pass = breaker.ask(at(0)).unwrap();
        breaker.fail(pass, at(0), -1.0);
        assert_eq!(breaker.ask(at(59_999)), Err(at(60_000)));
        for ms in [60_000, 60_001, 60_002] {
            assert_ne!(breaker.state(at(ms)), CircuitState::Closed);
            let pass = breaker.ask(at(ms)).unwrap();
            breaker.succeed(pass, at(ms));
        }
        assert_eq!(breaker.state(at(60_003)), CircuitState::Closed);
    }

    /// The guide's half-open state lets 200 of 200 callers through at once.
    #[test]
    fn guide_s08_half_open_lets_no_more_probes_through_than_configured() {
        for probes in [1, 3] {
            let mut breaker = opened(BreakerPolicy { probes, ..BreakerPolicy::default() });
            let passed = (0..200).filter_map(|_| breaker.ask(at(60_000)).ok()).collect::<Vec<_>>();
            assert_eq!(passed.len(), probes as usize);
            // Who went away frees its place, and one place only.
            for pass in passed {
                breaker.release(pass);
                let again = breaker.ask(at(60_000)).unwrap();
                assert!(breaker.ask(at(60_000)).is_err());
                breaker.release(again);
                let _held = breaker.ask(at(60_000)).unwrap();
            }
        }
    }

    #[test]
    fn it_stays_open_longer_each_time_up_to_a_longest() {
        let mut breaker = opened(BreakerPolicy::default());
        let mut now = at(60_000);
        for wait_ms in [120_000, 240_000, 480_000, 600_000, 600_000] {
            let pass = breaker.ask(now).unwrap();
            breaker.fail(pass, now, -1.0);
            assert_eq!(breaker.state(now), CircuitState::Open { until: now.plus(wait_ms) });
            now = now.plus(wait_ms);
        }
        let mut late = opened(BreakerPolicy::default());
        let pass = late.ask(at(60_000)).unwrap();
        late.fail(pass, at(60_000), 1.0);
        assert_eq!(late.state(at(60_000)), CircuitState::Open { until: at(60_000 + 150_000) });
    }

    /// Slow answers to what was let go before it opened say nothing about the time after.
    #[test]
    fn a_pass_counts_only_in_the_state_that_gave_it() {
        let mut breaker = Breaker::new(BreakerPolicy::default());
        let old: Vec<Pass> = (0..20).map(|_| breaker.ask(at(0)).unwrap()).collect();
        let mut old = old.into_iter();
        for pass in old.by_ref().take(5) {
            breaker.fail(pass, at(1), -1.0);
        }
        let open = breaker.state(at(1));
        for (number, pass) in old.enumerate() {
            if number % 2 == 0 { breaker.succeed(pass, at(2)) } else { breaker.fail(pass, at(2), -1.0) }
        }
        assert_eq!(breaker.state(at(2)), open);
        let probe = breaker.ask(at(60_001)).unwrap();
        breaker.succeed(probe, at(60_001));
        assert_eq!(breaker.state(at(60_001)), CircuitState::HalfOpen);
    }

    #[test]
    fn a_share_of_failures_opens_it_where_enough_was_seen() {
        let policy = BreakerPolicy { failures: 1_000, failure_percent: Some(50), ..BreakerPolicy::default() };
        let mut breaker = Breaker::new(policy);
        let mut answer = |number: u64, failed: bool| {
            let now = at(number * 100);
            let Ok(pass) = breaker.ask(now) else { return false };
            if failed {
                breaker.fail(pass, now, -1.0)
            } else {
                breaker.succeed(pass, now)
            }
            breaker.state(now) == CircuitState::Closed
        };
        for number in 0..19 {
            assert!(answer(number, number % 2 == 0), "too little was seen at {number}");
        }
        assert!(answer(19, false));
        assert!(!answer(20, true), "11 of 21 failed");
        // What is long ago does not count.
        let mut breaker = Breaker::new(policy);
        for (number, failed) in (0..40).map(|number| (number * 10_000, number < 15)) {
            let pass = breaker.ask(at(number)).unwrap();
            if failed { breaker.fail(pass, at(number), 0.0) } else { breaker.succeed(pass, at(number)) }
        }
        assert_eq!(breaker.state(at(400_000)), CircuitState::Closed);
    }

    #[test]
    fn a_policy_that_makes_no_sense_is_told() {
        assert!(BreakerPolicy::default().check().is_ok());
        for (text, word) in [
            ("failures = 0", "failures"),
            ("probes = 0", "probes"),
            ("open_ms = 10\nopen_ms_max = 5", "open_ms_max"),
            ("failure_percent = 101", "failure_percent"),
        ] {
            let policy: BreakerPolicy = toml::from_str(text).unwrap();
            assert!(policy.check().unwrap_err().contains(word), "{text}");
        }
    }

    #[derive(Clone, Debug)]
    enum Event {
        Pass(u64),
        Ask,
        Succeed(usize),
        Fail(usize, f64),
        Release(usize),
    }

    fn events() -> impl Strategy<Value = Vec<Event>> {
        let event = prop_oneof![
            2 => (0..2_000u64).prop_map(Event::Pass),
            5 => Just(Event::Ask),
            2 => any::<usize>().prop_map(Event::Succeed),
            3 => (any::<usize>(), any::<f64>()).prop_map(|(at, jitter)| Event::Fail(at, jitter)),
            1 => any::<usize>().prop_map(Event::Release),
        ];
        prop::collection::vec(event, 1..200)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]

        /// Whatever happens: while it is open nothing passes, half open never more pass than configured, and when all
        /// that was let go has come back and the time is over, it can be asked again.
        #[test]
        fn it_keeps_its_promises(failures in 1..5u32, successes in 1..4u32, probes in 1..4u32, events in events()) {
            let policy = BreakerPolicy {
                failures, successes, probes, open_ms: 1_000, open_ms_max: 5_000,
                failure_percent: Some(70), volume_min: 5, window_ms: 1_000, ..BreakerPolicy::default()
            };
            let mut breaker = Breaker::new(policy);
            let (mut now, mut held) = (0u64, Vec::<Pass>::new());
            for event in events {
                let pick = |held: &mut Vec<Pass>, any: usize| {
                    if held.is_empty() { None } else { Some(held.swap_remove(any % held.len())) }
                };
                match event {
                    Event::Pass(ms) => now += ms,
                    Event::Ask => {
                        let before = breaker.state(at(now));
                        match breaker.ask(at(now)) {
                            Ok(pass) => {
                                prop_assert!(!matches!(before, CircuitState::Open { .. }), "it passed while open");
                                held.push(pass);
                            }
                            Err(until) => {
                                prop_assert!(before != CircuitState::Closed);
                                prop_assert!(until > at(now) && until.since(at(now)) <= 5_000);
                            }
                        }
                    }
                    Event::Succeed(any) => if let Some(pass) = pick(&mut held, any) { breaker.succeed(pass, at(now)) },
                    Event::Fail(any, jitter) => if let Some(pass) = pick(&mut held, any) { breaker.fail(pass, at(now), jitter) },
                    Event::Release(any) => if let Some(pass) = pick(&mut held, any) { breaker.release(pass) },
                }
                let probing = held.iter().filter(|pass| pass.is_probe && pass.state == breaker.state).count();
                prop_assert!(probing <= probes as usize);
                if let Mode::HalfOpen { probing: counted, .. } = breaker.mode {
                    prop_assert_eq!(counted as usize, probing);
                }
            }
            for pass in held {
                breaker.release(pass);
            }
            prop_assert!(breaker.ask(at(now + 5_000)).is_ok());
        }
    }
}
