//! Hours in simulated time: each rule fires when it should, is quiet when it should, and ends.

use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::alerts::evaluate::*;
use crate::observe::metrics::{BOUNDS_MS, ConnectionMetrics};

/// When it all begins.
const BEGIN: u64 = 1_795_337_377_000;

/// Seconds between two readings.
const EVERY_S: u64 = 15;

const HOUR_S: u64 = 3_600;

/// A host that is watched: what is called in it, and what stands in it.
struct Scene {
    now: Timestamp,
    evaluator: Evaluator,
    reading: Reading,
    operation: OperationMetrics,
    /// Calls since the start, in thousandths.
    calls: u64,
    changes: Vec<(u64, AlertRule, AlertState)>,
}

/// What happens from reading to reading.
#[derive(Clone, Copy)]
struct Weather {
    per_hour: u64,
    /// One in so many fails; none where it is 0.
    fails: u64,
    kind: &'static str,
    ms: u64,
}

const FAIR: Weather = Weather { per_hour: 3_600, fails: 0, kind: "transient", ms: 40 };

impl Scene {
    fn new(policy: &str) -> Self {
        let policy = AlertPolicy::parse(policy).unwrap();
        let now = Timestamp::from_millis(BEGIN);
        Self {
            now,
            evaluator: Evaluator::new(policy, now),
            reading: Reading::default(),
            operation: OperationMetrics { operation: "orders.list".into(), ..OperationMetrics::default() },
            calls: 0,
            changes: Vec::new(),
        }
    }

    /// Another process over the same store.
    fn restart(&mut self) {
        let firing: Vec<Alert> =
            self.evaluator.alerts().filter(|alert| alert.state == AlertState::Firing).cloned().collect();
        self.evaluator = Evaluator::new(self.evaluator.policy.clone(), self.now);
        self.evaluator.restore(firing);
        self.operation = OperationMetrics { operation: "orders.list".into(), ..OperationMetrics::default() };
        self.calls = 0;
        self.reading.dead.iter_mut().for_each(|(_, dead)| *dead = 0);
    }

    fn call(&mut self, ms: u64, failed: Option<&'static str>) {
        self.operation.duration.record(ms);
        match failed {
            None => {
                self.operation.succeeded += 1;
                self.operation.succeeded_at = Some(self.now);
            }
            Some(kind) => {
                *self.operation.failed.entry(kind).or_default() += 1;
                self.operation.rate_limited += u64::from(kind == "rate-limited");
            }
        }
    }

    fn pass(&mut self, seconds: u64, weather: Weather) -> &mut Self {
        for _ in 0..seconds / EVERY_S {
            self.now = self.now.plus(EVERY_S * 1_000);
            let before = self.calls;
            self.calls += weather.per_hour * EVERY_S;
            for call in before / HOUR_S..self.calls / HOUR_S {
                let fails = weather.fails > 0 && call % weather.fails == 0;
                self.call(weather.ms, fails.then_some(weather.kind));
            }
            self.look();
        }
        self
    }

    fn look(&mut self) {
        self.reading.metrics.connections = vec![ConnectionMetrics {
            connection: "acme".into(),
            plugin: "shop".into(),
            operations: vec![self.operation.clone()],
            ..ConnectionMetrics::default()
        }];
        for change in self.evaluator.observe(&self.reading, self.now) {
            let at_s = self.now.since(Timestamp::from_millis(BEGIN)) / 1_000;
            self.changes.push((at_s, change.alert.rule, change.state));
        }
    }

    /// When a rule came into a state, in seconds since the beginning.
    fn times(&self, rule: AlertRule, state: AlertState) -> Vec<u64> {
        let of = |(at, of, what): &(u64, AlertRule, AlertState)| (*of == rule && *what == state).then_some(*at);
        self.changes.iter().filter_map(of).collect()
    }

    fn firing(&self) -> Vec<AlertRule> {
        let firing = self.evaluator.alerts().filter(|alert| alert.state == AlertState::Firing);
        firing.map(|alert| alert.rule).collect()
    }

    fn is_quiet(&self) -> bool {
        self.changes.iter().all(|(_, _, state)| *state == AlertState::Pending) && self.firing().is_empty()
    }
}

#[test]
fn a_fair_day_and_a_quiet_one_say_nothing() {
    let mut day = Scene::new("");
    day.pass(24 * HOUR_S, FAIR);
    assert_eq!(day.changes, []);
    let mut nobody_calls = Scene::new("");
    nobody_calls.pass(5 * HOUR_S, Weather { per_hour: 0, ..FAIR });
    assert_eq!(nobody_calls.changes, []);
}

#[test]
fn an_hour_of_one_failure_in_a_hundred_is_no_availability() {
    let mut scene = Scene::new("");
    scene.pass(HOUR_S, FAIR);
    // Two in a thousand calls are not served: less than one in a hundred, more than one in a thousand.
    scene.pass(HOUR_S, Weather { fails: 500, ..FAIR });
    assert_eq!(scene.firing(), [AlertRule::Availability]);
    let [fired] = scene.times(AlertRule::Availability, AlertState::Firing)[..] else { panic!("{:?}", scene.changes) };
    assert!((HOUR_S + 1_200..HOUR_S + 2_800).contains(&fired), "{fired}");
    let alert = scene.evaluator.alerts().next().unwrap();
    assert!((99.0..99.9).contains(&alert.value) && alert.threshold == 99.9, "{alert:?}");
    assert_eq!(alert.plugin.as_deref(), Some("shop"));
    // It is over when an hour holds no more than one in a thousand, and then some.
    scene.pass(2 * HOUR_S, FAIR);
    assert!(scene.firing().is_empty());
    assert_eq!(scene.times(AlertRule::Availability, AlertState::Resolved).len(), 1);
}

#[test]
fn one_call_in_a_thousand_is_what_was_promised() {
    let mut scene = Scene::new("");
    scene.pass(6 * HOUR_S, Weather { fails: 1_000, ..FAIR });
    assert!(scene.is_quiet(), "{:?}", scene.changes);
}

#[test]
fn errors_fire_within_minutes_and_end() {
    let mut scene = Scene::new("");
    scene.pass(HOUR_S, FAIR);
    scene.pass(600, Weather { fails: 10, kind: "forbidden", ..FAIR });
    assert_eq!(scene.firing(), [AlertRule::Errors], "what the operator must allow is nobody's outage");
    let [fired] = scene.times(AlertRule::Errors, AlertState::Firing)[..] else { panic!("{:?}", scene.changes) };
    assert!((HOUR_S + 120..=HOUR_S + 240).contains(&fired), "{fired}");
    scene.pass(HOUR_S, FAIR);
    let [over] = scene.times(AlertRule::Errors, AlertState::Resolved)[..] else { panic!("{:?}", scene.changes) };
    assert!((HOUR_S + 1_100..=HOUR_S + 1_300).contains(&over), "{over}");
}

#[test]
fn an_outage_fires_availability_and_errors() {
    let mut scene = Scene::new("");
    scene.pass(HOUR_S, FAIR).pass(900, Weather { fails: 1, kind: "network", ..FAIR });
    assert_eq!(scene.firing(), [AlertRule::Availability, AlertRule::Errors]);
}

#[test]
fn answers_and_callers_who_left_are_no_errors() {
    for kind in NO_ERROR {
        let mut scene = Scene::new("");
        scene.pass(2 * HOUR_S, Weather { fails: 2, kind, ..FAIR });
        // Nor is it stale what gets nothing else for hours.
        scene.pass(3 * HOUR_S, Weather { per_hour: 4, fails: 1, kind, ..FAIR });
        assert!(scene.is_quiet(), "{kind}: {:?}", scene.changes);
    }
}

#[test]
fn few_calls_say_nothing() {
    let mut scene = Scene::new("stale = { enabled = false }");
    scene.pass(6 * HOUR_S, Weather { per_hour: 12, fails: 1, ..FAIR });
    assert!(scene.is_quiet(), "{:?}", scene.changes);
    // Five in five minutes are enough to fail three times, and not to say how many in a hundred do.
    let mut scene = Scene::new("availability = { enabled = false }");
    scene.pass(HOUR_S, Weather { per_hour: 60, fails: 1, kind: "rate-limited", ..FAIR });
    assert!(scene.is_quiet(), "{:?}", scene.changes);
    let mut scene = Scene::new("");
    scene.pass(3 * HOUR_S, FAIR).pass(2 * HOUR_S, Weather { per_hour: 60, ms: 5_000, ..FAIR });
    assert!(scene.is_quiet(), "{:?}", scene.changes);
}

#[test]
fn what_comes_and_goes_is_told_once() {
    let mut scene = Scene::new("availability = { enabled = false }");
    scene.pass(HOUR_S, FAIR);
    // Three minutes of trouble, three of none, for an hour.
    for _ in 0..10 {
        scene.pass(180, Weather { fails: 5, ..FAIR }).pass(180, FAIR);
    }
    assert_eq!(scene.times(AlertRule::Errors, AlertState::Firing).len(), 1, "{:?}", scene.changes);
    assert_eq!(scene.times(AlertRule::Errors, AlertState::Resolved).len(), 0, "{:?}", scene.changes);
    scene.pass(HOUR_S, FAIR);
    assert_eq!(scene.times(AlertRule::Errors, AlertState::Resolved).len(), 1);
}

#[test]
fn three_times_as_slow_as_normal_fires() {
    let mut scene = Scene::new("");
    scene.pass(3 * HOUR_S, Weather { ms: 80, ..FAIR });
    assert!(scene.is_quiet());
    scene.pass(HOUR_S, Weather { ms: 400, ..FAIR });
    assert_eq!(scene.firing(), [AlertRule::Latency]);
    let [fired] = scene.times(AlertRule::Latency, AlertState::Firing)[..] else { panic!("{:?}", scene.changes) };
    assert!((3 * HOUR_S + 300..3 * HOUR_S + 700).contains(&fired), "{fired}");
    // Hours of trouble do not become normal.
    scene.pass(HOUR_S, Weather { ms: 400, ..FAIR });
    assert_eq!(scene.firing(), [AlertRule::Latency]);
    scene.pass(HOUR_S, Weather { ms: 80, ..FAIR });
    assert!(scene.firing().is_empty());
    assert_eq!(scene.times(AlertRule::Latency, AlertState::Resolved).len(), 1, "{:?}", scene.changes);
}

#[test]
fn one_slow_call_is_none() {
    let mut scene = Scene::new("");
    scene.pass(3 * HOUR_S, FAIR);
    scene.call(110_000, None);
    scene.pass(HOUR_S, FAIR);
    assert!(scene.is_quiet(), "{:?}", scene.changes);
}

#[test]
fn what_was_always_slow_and_what_is_quick_all_the_same_is_no_latency() {
    let mut slow = Scene::new("");
    slow.pass(6 * HOUR_S, Weather { ms: 20_000, ..FAIR });
    assert!(slow.is_quiet());
    let mut quick = Scene::new("");
    quick.pass(2 * HOUR_S, Weather { ms: 2, ..FAIR }).pass(HOUR_S, Weather { ms: 20, ..FAIR });
    assert!(quick.is_quiet(), "ten times two milliseconds is quick: {:?}", quick.changes);
    // Normal is what it mostly was, not what it was at best.
    let mut at_first = Scene::new("");
    at_first.pass(900, Weather { ms: 20, ..FAIR }).pass(5 * HOUR_S, Weather { ms: 400, ..FAIR });
    assert!(at_first.is_quiet(), "{:?}", at_first.changes);
}

/// What happened: 95 ms became 105, both counted as "up to the next bound", and that bound was more than twice as high.
#[test]
fn a_tenth_more_across_a_bound_of_the_histogram_is_no_latency() {
    for bound in BOUNDS_MS.iter().copied().filter(|bound| (20..100_000).contains(bound)) {
        let mut scene = Scene::new("availability = { enabled = false }");
        scene.pass(2 * HOUR_S, Weather { ms: bound - bound / 20, ..FAIR });
        scene.pass(HOUR_S, Weather { ms: bound + bound / 20, ..FAIR });
        assert!(scene.is_quiet(), "around {bound} ms: {:?}", scene.changes);
    }
}

#[test]
fn nothing_is_slow_before_normal_is_known() {
    let mut scene = Scene::new("");
    scene.pass(1_200, FAIR).pass(1_200, Weather { ms: 5_000, ..FAIR });
    assert!(scene.is_quiet(), "{:?}", scene.changes);
}

#[test]
fn a_burst_of_429_fires_and_one_now_and_then_does_not() {
    let mut scene = Scene::new("errors = { enabled = false }");
    scene.pass(2 * HOUR_S, Weather { fails: 500, kind: "rate-limited", ..FAIR });
    assert!(scene.is_quiet(), "{:?}", scene.changes);
    scene.pass(HOUR_S, Weather { fails: 20, kind: "rate-limited", ..FAIR });
    assert_eq!(scene.firing(), [AlertRule::RateLimited], "429 is no outage");
    scene.pass(HOUR_S, FAIR);
    assert!(scene.firing().is_empty());
}

#[test]
fn an_operation_that_only_fails_for_an_hour_is_stale() {
    let mut scene = Scene::new("");
    scene.pass(HOUR_S, Weather { per_hour: 4, ..FAIR });
    scene.pass(HOUR_S, Weather { per_hour: 4, fails: 1, ..FAIR });
    assert!(scene.is_quiet(), "{:?}", scene.changes);
    scene.pass(HOUR_S, Weather { per_hour: 4, fails: 1, ..FAIR });
    assert_eq!(scene.firing(), [AlertRule::Stale], "too few calls for anything else");
    // Nobody calls it any more: nobody waits for its data.
    scene.pass(2 * HOUR_S, Weather { per_hour: 0, ..FAIR });
    assert!(scene.firing().is_empty());
    scene.pass(HOUR_S, Weather { per_hour: 4, ..FAIR });
    assert!(scene.firing().is_empty());
}

#[test]
fn a_poll_that_is_overdue_is_stale_and_one_that_is_not_due_is_fresh() {
    let begin = Timestamp::from_millis(BEGIN);
    let poll = |name: &str, is_overdue| PollReading {
        connection: "acme".into(),
        poll: name.into(),
        succeeded_at: Some(begin),
        is_overdue,
    };
    let mut scene = Scene::new("");
    scene.reading.polls = vec![poll("orders", true), poll("daily", false)];
    let never = PollReading { succeeded_at: None, ..poll("never", true) };
    scene.reading.polls.push(never);
    scene.pass(HOUR_S, FAIR);
    assert!(scene.is_quiet());
    scene.pass(HOUR_S, FAIR);
    let names: Vec<AlertSubject> = scene.evaluator.alerts().map(|alert| alert.subject.clone()).collect();
    assert_eq!(names, ["never", "orders"].map(|name| AlertSubject::Poll(name.into())));
    let now = scene.now;
    scene.reading.polls.iter_mut().for_each(|poll| (poll.succeeded_at, poll.is_overdue) = (Some(now), false));
    scene.pass(300, FAIR);
    assert!(scene.firing().is_empty());
    assert_eq!(scene.times(AlertRule::Stale, AlertState::Resolved).len(), 2);
}

#[test]
fn a_breaker_that_stays_open_fires_and_one_that_opens_for_a_minute_does_not() {
    let mut scene = Scene::new("");
    let circuit = |is_open| vec![("acme".to_owned(), "https://api.stand-in.test".to_owned(), is_open)];
    scene.reading.circuits = circuit(false);
    scene.pass(600, FAIR);
    scene.reading.circuits = circuit(true);
    scene.pass(60, FAIR);
    scene.reading.circuits = circuit(false);
    scene.pass(900, FAIR);
    assert!(scene.is_quiet(), "{:?}", scene.changes);
    // Open for a minute, half open for a moment, and open again, for half an hour.
    for _ in 0..25 {
        scene.reading.circuits = circuit(true);
        scene.pass(60, FAIR);
        scene.reading.circuits = circuit(false);
        scene.pass(15, FAIR);
    }
    assert_eq!(scene.firing(), [AlertRule::BreakerOpen]);
    assert_eq!(scene.times(AlertRule::BreakerOpen, AlertState::Firing).len(), 1);
    scene.pass(600, FAIR);
    assert!(scene.firing().is_empty());
    // A process that starts under an open breaker, which closes after a minute.
    scene.restart();
    scene.reading.circuits = circuit(true);
    scene.pass(60, FAIR);
    scene.reading.circuits = circuit(false);
    scene.pass(600, FAIR);
    assert!(scene.firing().is_empty(), "{:?}", scene.changes);
}

#[test]
fn consent_dead_letters_and_sinks_fire_and_end() {
    let mut scene = Scene::new("");
    let credential = |why: Option<&str>| vec![("acme".to_owned(), "user".to_owned(), why.map(str::to_owned))];
    let sink = |disabled: Option<&str>, dead| {
        vec![SinkReading { sink: "billing".into(), dead, disabled: disabled.map(str::to_owned) }]
    };
    scene.reading.credentials = credential(None);
    scene.reading.dead = vec![("acme".into(), 0)];
    scene.reading.sinks = sink(None, 0);
    scene.pass(600, FAIR);
    assert_eq!(scene.changes, []);
    scene.reading.credentials = credential(Some("the consent was withdrawn"));
    scene.reading.dead = vec![("acme".into(), 2)];
    scene.reading.sinks = sink(Some("the sink answered 410"), 1);
    scene.pass(120, FAIR);
    let mut firing = scene.firing();
    firing.sort();
    let expected =
        [AlertRule::NeedsConnecting, AlertRule::DeadLetters, AlertRule::DeadLetters, AlertRule::SinkDisabled];
    assert_eq!(firing, expected);
    let why: Vec<String> = scene.evaluator.alerts().filter_map(|alert| alert.why.clone()).collect();
    assert_eq!(why, ["the consent was withdrawn", "the sink answered 410"]);
    scene.reading.credentials = credential(None);
    scene.reading.sinks = sink(None, 1);
    scene.pass(120, FAIR);
    assert_eq!(scene.firing(), [AlertRule::DeadLetters, AlertRule::DeadLetters], "for an hour somebody may see them");
    scene.pass(HOUR_S, FAIR);
    assert!(scene.firing().is_empty());
}

#[test]
fn after_a_restart_only_what_was_seen_counts_and_what_fired_goes_on() {
    let mut scene = Scene::new("");
    scene.reading.dead = vec![("acme".into(), 0)];
    scene.pass(3 * HOUR_S, FAIR);
    scene.reading.dead = vec![("acme".into(), 2)];
    scene.pass(1_200, Weather { fails: 5, ms: 400, ..FAIR });
    let before = [AlertRule::Availability, AlertRule::Latency, AlertRule::Errors, AlertRule::DeadLetters];
    assert_eq!(scene.firing(), before);
    scene.changes.clear();
    scene.restart();
    // Nobody calls at first: nobody knows better.
    scene.pass(420, Weather { per_hour: 0, ..FAIR });
    assert_eq!((scene.firing(), scene.changes.len()), (before.to_vec(), 0));
    // It goes on: none of it is told again.
    scene.pass(1_200, Weather { fails: 5, ms: 400, ..FAIR });
    assert_eq!((scene.firing(), scene.changes.len()), (before.to_vec(), 0), "{:?}", scene.changes);
    // It is over, and known to be by what was normal before.
    scene.pass(3 * HOUR_S, FAIR);
    assert!(scene.firing().is_empty(), "{:?}", scene.changes);
    // A host that starts in good weather says nothing.
    scene.changes.clear();
    scene.restart();
    scene.pass(HOUR_S, FAIR);
    assert_eq!(scene.changes, []);
}

#[test]
fn nobody_knows_what_held_while_nobody_read() {
    let mut scene = Scene::new("");
    scene.pass(HOUR_S, FAIR).pass(60, Weather { fails: 2, ..FAIR });
    assert!(scene.evaluator.alerts().any(|alert| alert.state == AlertState::Pending), "{:?}", scene.changes);
    // The machine slept. The window still holds what was before, which is not to say that it went on.
    scene.now = scene.now.plus(150_000);
    scene.look();
    assert!(scene.is_quiet(), "{:?}", scene.changes);
}

#[test]
fn another_policy_is_taken_up_on_the_way() {
    let mut scene = Scene::new("");
    scene.pass(HOUR_S, FAIR).pass(600, Weather { fails: 10, ..FAIR });
    assert_eq!(scene.firing(), [AlertRule::Availability, AlertRule::Errors]);
    let policy = AlertPolicy::parse("errors = { enabled = false }\navailability = { below_percent = 50 }").unwrap();
    scene.evaluator.set_policy(policy);
    assert_eq!(scene.firing(), [AlertRule::Availability]);
    scene.pass(600, Weather { fails: 10, ..FAIR });
    assert!(scene.firing().is_empty());
    scene.evaluator.set_policy(AlertPolicy::parse("enabled = false").unwrap());
    scene.pass(HOUR_S, Weather { fails: 1, ..FAIR });
    assert!(scene.firing().is_empty());
}

#[test]
fn a_window_forgets_and_its_memory_is_bounded() {
    let mut window = Window::default();
    let at = |seconds: u64| Timestamp::from_millis(BEGIN + seconds * 1_000);
    for second in 0..10_000 {
        window.add(300, at(second), 1_u64);
        assert!(window.slots.len() as u64 <= SLOTS);
        let seen = window.sum(300, at(second));
        assert!(seen <= 300 && (second < 300 || seen > 290), "{second}: {seen}");
    }
    assert_eq!(window.sum(300, at(10_400)), 0);
    assert_eq!(window.sum(600, at(10_000)), 0, "another length begins anew");
}

proptest! {
    /// Whatever happens: an alert fires only after it did not, is resolved only after it fired, and nothing grows.
    #[test]
    fn an_alert_is_firing_or_resolved_and_never_both(
        steps in proptest::collection::vec((0u64..400, 0u64..60_000, 0u64..7, 1u64..4, any::<bool>(), 0u64..3), 1..300),
    ) {
        let mut scene = Scene::new("");
        let mut stands: BTreeMap<(AlertRule, AlertSubject), bool> = BTreeMap::new();
        for (calls, ms, fails, gap, flag, extra) in steps {
            scene.now = scene.now.plus(gap * gap * 20_000);
            for call in 0..calls {
                let failed = fails > 0 && call % fails == 0;
                scene.call(ms, failed.then_some(["transient", "rate-limited", "not-found"][extra as usize]));
            }
            scene.reading.circuits = vec![("acme".into(), "o".into(), flag)];
            scene.reading.credentials = vec![("acme".into(), "c".into(), flag.then(|| "why".into()))];
            scene.reading.sinks = vec![SinkReading { sink: "s".into(), dead: extra, disabled: None }];
            scene.reading.polls = (extra > 0).then(|| PollReading { is_overdue: flag, ..PollReading::default() }).into_iter().collect();
            scene.reading.metrics.connections = vec![ConnectionMetrics {
                connection: "acme".into(),
                operations: vec![scene.operation.clone()],
                ..ConnectionMetrics::default()
            }];
            let changes = scene.evaluator.observe(&scene.reading, scene.now);
            let mut seen = BTreeSet::new();
            for change in changes {
                prop_assert_eq!(change.state, change.alert.state);
                prop_assert!(change.alert.value.is_finite() && change.alert.threshold.is_finite());
                let key = (change.alert.rule, change.alert.subject.clone());
                prop_assert!(seen.insert(key.clone()), "two changes of {:?} at once", key);
                let fired = stands.get(&key).copied().unwrap_or(false);
                match change.state {
                    AlertState::Pending => prop_assert!(!fired),
                    AlertState::Firing => prop_assert!(stands.insert(key, true) != Some(true)),
                    AlertState::Resolved => prop_assert_eq!(stands.insert(key, false), Some(true)),
                }
            }
            let firing: BTreeSet<_> = scene.evaluator.alerts().filter(|alert| alert.state == AlertState::Firing)
                .map(|alert| (alert.rule, alert.subject.clone())).collect();
            let told: BTreeSet<_> = stands.iter().filter(|(_, fired)| **fired).map(|(key, _)| key.clone()).collect();
            prop_assert_eq!(firing, told);
            for operation in scene.evaluator.operations.values() {
                prop_assert!(operation.durations.slots.len() as u64 <= SLOTS);
                prop_assert!(operation.unavailable.slots.len() as u64 <= SLOTS);
                prop_assert!(operation.normals.len() as u64 <= NORMALS * 2);
            }
        }
    }
}
