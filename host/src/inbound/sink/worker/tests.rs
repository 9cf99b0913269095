//! Sinks that fail in every way, workers that are killed at every place, and what must hold whatever happens: no event is lost,
//! the order is kept, what comes twice comes after a kill, and nobody is held back by another.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::task::noop_waker_ref;

use super::*;
use crate::event::Emission;
use crate::inbound::envelope::Emitter;
use crate::store::MemoryStore;
use crate::store::arrival::{Commit, Emit};
use crate::time::ManualClock;

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

/// SplitMix64.
struct Die(u64);

impl Die {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % below
    }
}

/// What a scripted sink does with what it is given, and what it has.
#[derive(Default)]
struct Script {
    /// What it answers, the first first; then it takes everything.
    answers: Vec<Trouble>,
    /// Whether it never answers.
    is_stuck: bool,
    /// The life of the worker in which it got a key, and the key.
    got: Vec<(u32, String)>,
    life: u32,
    /// When it was asked.
    asked_at: Vec<Timestamp>,
}

struct Scripted {
    script: Arc<Mutex<Script>>,
    batch: usize,
    clock: ManualClock,
    die: Die,
}

impl Scripted {
    /// Lets others go first, some times; a kill may come there.
    async fn pause(&mut self) {
        for _ in 0..self.die.roll(3) {
            tokio::task::yield_now().await;
        }
    }
}

impl SinkTarget for Scripted {
    fn batch(&self) -> usize {
        self.batch
    }

    fn give<'a>(&'a mut self, events: &'a [Emitted]) -> BoxFuture<'a, Result<(), Trouble>> {
        Box::pin(async move {
            let script = self.script.clone();
            let script = || script.lock().unwrap();
            script().asked_at.push(self.clock.now());
            self.pause().await;
            while script().is_stuck {
                tokio::task::yield_now().await;
            }
            let answer = {
                let mut script = script();
                (!script.answers.is_empty()).then(|| script.answers.remove(0))
            };
            if let Some(trouble) = answer {
                return Err(trouble);
            }
            {
                let mut script = script();
                let life = script.life;
                script.got.extend(events.iter().map(|event| (life, event.key.clone())));
            }
            // It has them, and nobody has written that down yet.
            self.pause().await;
            Ok(())
        })
    }
}

/// A store, a clock, and events in it.
struct World {
    store: Arc<MemoryStore>,
    clock: ManualClock,
    wake: WakeSignal,
    emitted: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        let clock = ManualClock::new(NOW, seed);
        Self { store: Arc::new(MemoryStore::default()), clock, wake: WakeSignal::new(), emitted: 0 }
    }

    /// Emits so many events with the keys that follow.
    async fn emit(&mut self, count: u64, event_type: &str) {
        let emitter = Emitter { connection: "acme".into(), account: None, plugin: "shop".into() };
        for _ in 0..count {
            self.emitted += 1;
            let key = self.emitted.to_string();
            let data = serde_json::value::RawValue::from_string("{}".into()).unwrap();
            let emission = Emission { event_type: event_type.into(), key: key.clone(), data };
            let content = serde_json::to_vec(&emitter.emitted(emission, self.clock.now(), None)).unwrap();
            self.commit(key, content).await;
        }
        self.wake.ring();
    }

    async fn commit(&self, name: String, content: Vec<u8>) {
        let commit = Commit {
            connection: "acme".into(),
            at: self.clock.now(),
            event: None,
            step: None,
            emit: vec![Emit { name, content }],
            known_until: Timestamp::MAX,
            bytes_max: u64::MAX,
        };
        crate::store::Arrivals::commit(&*self.store, commit).await.unwrap();
    }

    fn context(&self) -> SinkContext {
        SinkContext { store: self.store.clone(), clock: Arc::new(self.clock.clone()), wake: self.wake.clone() }
    }

    fn sink(&self, name: &str, batch: usize, policy: &str) -> Sink {
        let policy = SinkPolicy::parse(&format!("kind = 'stdout'\n{policy}")).unwrap();
        let mut sink = Sink {
            name: name.to_owned(),
            policy,
            batch,
            script: Arc::default(),
            state: None,
            run: None,
            stop: watch::channel(Stop::No).0,
        };
        sink.begin(self);
        sink
    }

    async fn letters(&self) -> Vec<(String, u64, String)> {
        let all = crate::store::Arrivals::dead_letters(&*self.store, 0, 1_000).await.unwrap();
        all.into_iter().map(|letter| (letter.sink, letter.number, letter.refused.why)).collect()
    }
}

/// A sink whose worker is moved by hand.
struct Sink {
    name: String,
    policy: SinkPolicy,
    batch: usize,
    script: Arc<Mutex<Script>>,
    state: Option<Arc<Mutex<SinkState>>>,
    run: Option<Pin<Box<dyn Future<Output = ()>>>>,
    stop: watch::Sender<Stop>,
}

impl Sink {
    /// Begins a life; the one before is dropped wherever it was.
    fn begin(&mut self, world: &World) {
        self.run = None;
        self.script().life += 1;
        let seed = world.clock.now().as_millis() ^ u64::from(self.script().life);
        let target =
            Scripted { script: self.script.clone(), batch: self.batch, clock: world.clock.clone(), die: Die(seed) };
        let worker = SinkWorker::new(&self.name, self.policy.clone(), Box::new(target), world.context()).unwrap();
        self.state = Some(worker.state());
        // Polled by hand, it would spend a budget that only a runtime gives back.
        self.run = Some(Box::pin(tokio::task::unconstrained(worker.run(self.stop.subscribe()))));
    }

    /// Goes on as far as it can without waiting for something. True when it has ended.
    fn step(&mut self) -> bool {
        let Some(run) = &mut self.run else { return true };
        let is_over = run.as_mut().poll(&mut Context::from_waker(noop_waker_ref())) == Poll::Ready(());
        if is_over {
            self.run = None;
        }
        is_over
    }

    /// Steps until nothing moves at this time.
    fn steps(&mut self) {
        for _ in 0..200 {
            self.step();
        }
    }

    /// Lets time pass until it got so many.
    fn until_got(&mut self, world: &World, count: usize) {
        for _ in 0..10_000 {
            self.steps();
            if self.script().got.len() >= count {
                self.steps();
                return;
            }
            world.clock.advance_to_next();
        }
        panic!("it got {:?}", self.script().got);
    }

    fn script(&self) -> std::sync::MutexGuard<'_, Script> {
        self.script.lock().unwrap()
    }

    fn got(&self) -> Vec<String> {
        self.script().got.iter().map(|(_, key)| key.clone()).collect()
    }

    fn state(&self) -> SinkState {
        self.state.as_ref().unwrap().lock().unwrap().clone()
    }
}

fn passing(why: &str) -> Trouble {
    Trouble::Passing { why: why.into(), until: None }
}

fn refused() -> Trouble {
    Trouble::Refused { why: "answered 400".into() }
}

fn keys(range: std::ops::RangeInclusive<u64>) -> Vec<String> {
    range.map(|key| key.to_string()).collect()
}

#[tokio::test]
async fn what_is_emitted_is_given_in_order_and_only_what_is_meant() {
    let mut world = World::new(1);
    world.emit(3, "order.paid").await;
    world.emit(2, "order.gone").await;
    world.emit(1, "order.paid").await;
    let mut all = world.sink("all", 2, "");
    let mut some = world.sink("some", 2, "types = ['order.g*']");
    let mut others = world.sink("others", 2, "connections = ['other']");
    for sink in [&mut all, &mut some, &mut others] {
        sink.steps();
        assert_eq!(sink.state().position, 6, "{}", sink.name);
    }
    assert_eq!((all.got(), some.got(), others.got()), (keys(1..=6), keys(4..=5), Vec::new()));
    // Woken by the signal, without any time passing.
    world.emit(1, "order.gone").await;
    some.steps();
    assert_eq!(some.got(), ["4", "5", "7"]);
    assert_eq!(world.clock.now(), NOW);
    // Another process does not ring; somebody looks.
    world.wake = WakeSignal::new();
    world.emit(1, "order.gone").await;
    some.until_got(&world, 4);
}

#[tokio::test]
async fn a_failure_is_followed_by_longer_and_longer_waits() {
    let mut world = World::new(2);
    world.emit(2, "t").await;
    let mut sink = world.sink("s", 1, "limits.retry_wait_ms = 8000");
    sink.script().answers = vec![passing("answered 500"); 6];
    sink.steps();
    let SinkDoing::Waiting { why, .. } = sink.state().doing else { panic!("{:?}", sink.state()) };
    assert_eq!(why, "answered 500");
    sink.until_got(&world, 2);
    let asked = sink.script().asked_at.clone();
    let waits: Vec<u64> = asked.windows(2).map(|pair| pair[1].since(pair[0])).collect();
    for (wait, least) in waits.iter().zip([1_000, 2_000, 4_000, 8_000, 8_000, 8_000, 0]) {
        assert!((least..=least + least / 4).contains(wait), "{waits:?}");
    }
    assert_eq!((sink.got(), sink.state().doing), (keys(1..=2), SinkDoing::Well));
}

#[tokio::test]
async fn a_sink_that_says_when_is_not_asked_before_and_cannot_say_for_ever() {
    let mut world = World::new(3);
    world.emit(1, "t").await;
    let mut sink = world.sink("s", 1, "limits.hold_ms = 600000");
    let until = |ms| Trouble::Passing { why: "answered 429".into(), until: Some(ms) };
    sink.script().answers = vec![until(NOW.plus(90_000)), until(Timestamp::MAX)];
    sink.until_got(&world, 1);
    let asked = sink.script().asked_at.clone();
    assert_eq!(asked[1], NOW.plus(90_000));
    assert_eq!(asked[2], NOW.plus(690_000), "its word holds longer than limits.hold_ms");
}

/// R22: what a sink refuses again and again becomes a dead letter that says which limit was reached, and the worker goes on.
#[tokio::test]
async fn r22_what_is_refused_often_enough_is_a_dead_letter_and_the_line_goes_on() {
    let mut world = World::new(4);
    world.emit(3, "t").await;
    let mut sink = world.sink("s", 1, "limits.attempts = 3\nlimits.retry_ms = 100000");
    // Trouble that passes is no refusal. The lease ends between two attempts, and nothing is forgotten with it.
    sink.script().answers = vec![refused(), passing("answered 500"), refused(), refused()];
    sink.until_got(&world, 2);
    assert_eq!(sink.got(), keys(2..=3));
    let why = "the sink answered 400, and did so limits.attempts = 3 times";
    assert_eq!(world.letters().await, [("s".to_owned(), 1, why.to_owned())]);
    assert_eq!((sink.state().dead, sink.state().given, sink.state().position), (1, 2, 3));
}

/// R22: what waited too long is a dead letter, also before a sink that is asked no more.
#[tokio::test]
async fn r22_what_waited_too_long_is_a_dead_letter() {
    let mut world = World::new(5);
    world.emit(2, "t").await;
    let mut sink = world.sink("s", 1, "limits.retention_ms = 3600000");
    sink.script().answers = vec![Trouble::Gone { why: "answered 410".into() }];
    sink.steps();
    let SinkDoing::Disabled { why } = sink.state().doing else { panic!("{:?}", sink.state()) };
    assert!(why.starts_with("the sink answered 410"), "{why}");
    world.clock.advance(3_000_000);
    sink.steps();
    assert!(world.letters().await.is_empty());
    world.emit(1, "t").await;
    world.clock.advance(700_000);
    sink.steps();
    let letters = world.letters().await;
    assert_eq!(letters.len(), 2);
    assert!(letters[0].2.contains("limits.retention_ms = 3600000"), "{letters:?}");
    assert_eq!(sink.script().asked_at.len(), 1, "it was asked again");
    // The third waits for the next start.
    world.clock.advance(60_000);
    sink.begin(&world);
    sink.until_got(&world, 1);
    assert_eq!(sink.got(), ["3"]);
}

/// Whoever replays what was given up has it given, however old it is.
#[tokio::test]
async fn what_comes_again_waits_anew() {
    let mut world = World::new(11);
    world.emit(2, "t").await;
    let mut sink = world.sink("s", 1, "limits.retention_ms = 3600000");
    sink.script().answers = vec![Trouble::Gone { why: "answered 410".into() }];
    sink.steps();
    world.clock.advance(100_000_000);
    sink.steps();
    assert_eq!(world.letters().await.len(), 2);
    let again = || crate::store::Arrivals::rewind_sink(&*world.store, "s", 0, world.clock.now());
    again().await.unwrap();
    sink.begin(&world);
    sink.until_got(&world, 2);
    assert_eq!((sink.got(), world.letters().await.len()), (keys(1..=2), 0));
    // Nor does it hold up the worker for ever.
    again().await.unwrap();
    sink.script().answers = vec![Trouble::Gone { why: "answered 410".into() }];
    sink.begin(&world);
    for _ in 0..3 {
        sink.steps();
        world.clock.advance(2_000_000);
    }
    sink.steps();
    assert_eq!(world.letters().await.len(), 2);
}

/// What was kept for others is no dead letter of a sink that was not there.
#[tokio::test]
async fn a_new_sink_begins_behind_what_is_too_old_for_it() {
    let mut world = World::new(12);
    let policy = "limits.retention_ms = 3600000";
    let mut known = world.sink("known", 1, policy);
    known.steps();
    known.run = None;
    world.emit(150, "t").await;
    world.clock.advance(3_700_000);
    world.emit(2, "t").await;
    let mut sink = world.sink("s", 1, policy);
    sink.steps();
    assert_eq!((sink.got(), world.letters().await.len()), (keys(151..=152), 0));
    // One that was there and got nothing has them told.
    known.begin(&world);
    known.steps();
    assert_eq!((known.got(), world.letters().await.len()), (keys(151..=152), 150));
}

#[tokio::test]
async fn what_cannot_be_read_is_a_dead_letter() {
    let mut world = World::new(6);
    world.emit(1, "t").await;
    world.commit("x".into(), b"garbage".to_vec()).await;
    world.emit(1, "t").await;
    let mut sink = world.sink("s", 10, "");
    sink.steps();
    assert_eq!((sink.got(), world.letters().await.len()), (keys(1..=2), 1));
}

#[tokio::test]
async fn a_slow_or_dead_sink_holds_back_its_own_events_and_nobody_elses() {
    let mut world = World::new(7);
    world.emit(50, "t").await;
    let mut dead = world.sink("dead", 1, "");
    let mut stuck = world.sink("stuck", 1, "");
    let mut gone = world.sink("gone", 1, "");
    let mut well = world.sink("well", 1, "");
    dead.script().answers = vec![passing("did not answer"); 1_000];
    stuck.script().is_stuck = true;
    gone.script().answers = vec![Trouble::Gone { why: "answered 410".into() }];
    for _ in 0..400 {
        for sink in [&mut dead, &mut stuck, &mut gone, &mut well] {
            sink.step();
        }
    }
    assert_eq!(well.got(), keys(1..=50));
    assert!(dead.got().is_empty() && stuck.got().is_empty() && gone.got().is_empty());
    assert_eq!(world.clock.now(), NOW, "it was held back");
    dead.script().answers.clear();
    stuck.script().is_stuck = false;
    dead.until_got(&world, 50);
    stuck.until_got(&world, 50);
    assert_eq!((dead.got(), stuck.got()), (keys(1..=50), keys(1..=50)));
}

/// Two processes have one configuration and one store.
#[tokio::test]
async fn one_process_at_a_time_gives_to_a_sink() {
    let mut world = World::new(8);
    world.emit(5, "t").await;
    let mut here = world.sink("s", 1, "");
    let mut there = world.sink("s", 1, "");
    here.script().is_stuck = true;
    // Longer than a lease: whoever waits for an answer goes on holding it.
    for _ in 0..10 {
        here.steps();
        there.steps();
        world.clock.advance(LEASE_MS / 2);
    }
    assert!(there.got().is_empty(), "two gave at once");
    assert_eq!(there.state().doing, SinkDoing::Elsewhere);
    here.script().is_stuck = false;
    here.steps();
    here.stop.send_replace(Stop::Last);
    here.steps();
    assert!(here.run.is_none(), "it did not end");
    assert!(!here.got().is_empty() && here.got().len() < 6);
    world.emit(1, "t").await;
    // Given back, it is free at once.
    let done = here.got().len();
    there.until_got(&world, 6 - done);
    assert_eq!([here.got(), there.got()].concat(), keys(1..=6));
}

#[tokio::test]
async fn a_line_that_is_told_to_stop_gives_what_is_there_first() {
    let mut world = World::new(9);
    world.emit(2, "t").await;
    let mut sink = world.sink("s", 1, "");
    sink.script().is_stuck = true;
    sink.steps();
    sink.stop.send_replace(Stop::Last);
    sink.steps();
    assert!(sink.run.is_some(), "it let go of what it was giving");
    sink.script().is_stuck = false;
    sink.steps();
    assert!(sink.run.is_none());
    assert_eq!((sink.got(), sink.state().position), (keys(1..=2), 2));
}

/// However many there are; whoever stops it says for how long.
#[tokio::test]
async fn a_line_that_is_told_to_stop_gives_all_that_was_emitted() {
    let mut world = World::new(13);
    let mut sink = world.sink("s", 1, "");
    sink.steps();
    world.emit(300, "t").await;
    sink.stop.send_replace(Stop::Last);
    for _ in 0..20 {
        sink.steps();
    }
    assert!(sink.run.is_none());
    assert_eq!((sink.got(), sink.state().position), (keys(1..=300), 300));
}

/// What is counted begins anew with the process, and with no reload.
#[tokio::test]
async fn a_line_counts_on_from_the_one_before_it() {
    let mut world = World::new(14);
    world.emit(2, "t").await;
    let mut sink = world.sink("s", 1, "");
    sink.steps();
    let before = [sink.state.clone().unwrap()];
    before[0].lock().unwrap().doing = SinkDoing::Disabled { why: "it answered 410".into() };
    let next = |name: &str| {
        let target = Scripted { script: Arc::default(), batch: 1, clock: world.clock.clone(), die: Die(1) };
        let worker =
            SinkWorker::new(name, sink.policy.clone(), Box::new(target), world.context()).unwrap().after(&before);
        let state = worker.state().lock().unwrap().clone();
        (state.name, state.given, state.doing)
    };
    assert_eq!(next("s"), ("s".to_owned(), 2, SinkDoing::Well));
    assert_eq!(next("other"), ("other".to_owned(), 0, SinkDoing::Well));
}

/// What a reload takes the place of gives no more to where it gave until then.
#[tokio::test]
async fn a_line_that_is_replaced_ends_after_what_it_is_giving() {
    let mut world = World::new(10);
    world.emit(3, "t").await;
    let mut sink = world.sink("s", 1, "");
    sink.script().is_stuck = true;
    sink.steps();
    sink.stop.send_replace(Stop::Soon);
    sink.script().is_stuck = false;
    sink.steps();
    assert!(sink.run.is_none());
    assert_eq!((sink.got(), sink.state().position), (keys(1..=1), 1));
    let mut next = world.sink("s", 1, "");
    next.steps();
    assert_eq!(next.got(), keys(2..=3), "the lease was kept");
}

/// Some thousand kills at any place, with sinks in trouble of every kind.
#[tokio::test]
async fn whatever_happens_no_event_is_lost_and_only_a_kill_repeats() {
    let mut kills = 0;
    for seed in 0..120 {
        let mut die = Die(seed);
        let mut world = World::new(seed);
        let mut sinks = [
            world.sink("one", 1, "limits.attempts = 3"),
            world.sink("many", 7, "limits.attempts = 3"),
            world.sink("odd", 2, "types = ['odd']"),
        ];
        let mut odd = BTreeSet::new();
        for _ in 0..400 {
            let sink = &mut sinks[usize::try_from(die.roll(3)).unwrap()];
            match die.roll(20) {
                0 | 1 => {
                    kills += 1;
                    sink.begin(&world);
                }
                2 | 3 => {
                    let kind = if die.roll(2) == 0 { "odd" } else { "even" };
                    let before = world.emitted;
                    world.emit(die.roll(4), kind).await;
                    odd.extend((before + 1..=world.emitted).filter(|_| kind == "odd"));
                }
                4 => sink.script().answers.push(passing("answered 503")),
                5 => {
                    let until = Some(world.clock.now().plus(die.roll(100_000)));
                    sink.script().answers.push(Trouble::Passing { why: "answered 429".into(), until });
                }
                6 => sink.script().answers.push(refused()),
                7 if die.roll(4) == 0 => sink.script().answers.push(Trouble::Gone { why: "answered 410".into() }),
                8 => sink.script().is_stuck ^= true,
                9 | 10 => world.clock.advance(die.roll(20_000)),
                11 => {
                    world.clock.advance_to_next();
                }
                _ => {
                    sink.step();
                }
            }
        }
        let letters = world.letters().await;
        for sink in &mut sinks {
            {
                let mut script = sink.script();
                script.answers.clear();
                script.is_stuck = false;
            }
            sink.begin(&world);
            for _ in 0..100 {
                sink.steps();
                world.clock.advance(LEASE_MS);
            }
            let is_meant = |key: &u64| sink.name != "odd" || odd.contains(key);
            let wanted: BTreeSet<u64> = (1..=world.emitted).filter(is_meant).collect();
            let got: Vec<(u32, u64)> =
                sink.script().got.iter().map(|(life, key)| (*life, key.parse().unwrap())).collect();
            let buried: BTreeSet<u64> =
                letters.iter().filter(|(of, ..)| *of == sink.name).map(|(_, number, _)| *number).collect();
            let mut seen = BTreeSet::new();
            let firsts: Vec<u64> = got.iter().map(|(_, key)| *key).filter(|key| seen.insert(*key)).collect();
            assert!(firsts.is_sorted(), "seed {seed}, {}: out of order: {firsts:?}", sink.name);
            let all: BTreeSet<u64> = seen.union(&buried).copied().collect();
            assert_eq!(all, wanted, "seed {seed}, {}", sink.name);
            for pair in got.windows(2).filter(|pair| pair[0].0 == pair[1].0) {
                assert!(pair[0].1 < pair[1].1, "seed {seed}, {}: repeated without a kill: {pair:?}", sink.name);
            }
        }
    }
    assert!(kills > 3_000, "only {kills} kills");
}
