//! The runner against a scripted plugin, over a store in memory. Time is turned by hand.

mod simulation;

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use serde_json::value::RawValue;

use crate::event::{Emission, Event, Outcome};
use crate::inbound::envelope::{Emitted, Emitter};
use crate::inbound::handler::{Handles, Keeping, Parts};
use crate::inbound::poll::*;
use crate::limits::Limits;
use crate::store::{Arrivals as _, MemoryStore};
use crate::time::ManualClock;

/// What a scripted plugin answers: the keys of what it emits, its new cursor, and whether there is more.
type Answer = Result<(Vec<String>, Option<String>, bool)>;

/// What it is asked: the trigger's id, where it starts, and the cursor.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Asked {
    id: String,
    start: PollStart,
    cursor: Option<String>,
}

/// A plugin in a closure.
struct Script<F> {
    plugin: Arc<Mutex<F>>,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl<F: FnMut(&Asked) -> Answer + Send + 'static> Handles for Script<F> {
    fn handle(&self, event: Event) -> BoxFuture<'_, Result<Outcome>> {
        Box::pin(async move {
            let Trigger::Poll(poll) = event.trigger else { panic!("no poll") };
            let asked = Asked { id: event.id, start: poll.start, cursor: event.cursor };
            self.asked.lock().unwrap_or_else(PoisonError::into_inner).push(asked.clone());
            tokio::task::yield_now().await;
            let answer = (self.plugin.lock().unwrap_or_else(PoisonError::into_inner))(&asked);
            tokio::task::yield_now().await;
            let (keys, cursor, more) = answer?;
            let emit = keys.into_iter().map(|key| Emission {
                event_type: "thing.seen".into(),
                key,
                data: RawValue::from_string("{}".into()).unwrap(),
            });
            Ok(Outcome { emit: emit.collect(), send: Vec::new(), cursor, more })
        })
    }
}

/// Before and after each step somebody may pull the plug.
struct Interruptible(Handler);

impl Pages for Interruptible {
    fn hand<'a>(&'a self, name: &'a str, id: &'a str, trigger: Trigger) -> BoxFuture<'a, Result<Handled>> {
        between(self.0.hand(name, id, trigger))
    }

    fn cursor<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Standing>> {
        between(Pages::cursor(&self.0, name))
    }

    fn set_cursor<'a>(&'a self, name: &'a str, expected: u64, cursor: Option<String>) -> BoxFuture<'a, Result<bool>> {
        between(Pages::set_cursor(&self.0, name, expected, cursor))
    }

    fn room(&self) -> BoxFuture<'_, ()> {
        self.0.room()
    }
}

fn between<'a, T: Send + 'a>(step: BoxFuture<'a, T>) -> BoxFuture<'a, T> {
    Box::pin(async move {
        tokio::task::yield_now().await;
        let done = step.await;
        tokio::task::yield_now().await;
        done
    })
}

/// One connection's poll, and everything around it.
struct Scene<F> {
    store: Arc<MemoryStore>,
    clock: ManualClock,
    facts: String,
    policy: String,
    limits: Limits,
    plugin: Arc<Mutex<F>>,
    asked: Arc<Mutex<Vec<Asked>>>,
    stop: watch::Sender<bool>,
}

const START: Timestamp = Timestamp::from_millis(1_795_337_377_000);

impl<F: FnMut(&Asked) -> Answer + Send + 'static> Scene<F> {
    fn of(plugin: F) -> Self {
        Self {
            store: Arc::default(),
            clock: ManualClock::new(START, 7),
            facts: "every_s = 60".into(),
            policy: "jitter_percent = 0".into(),
            limits: Limits::default(),
            plugin: Arc::new(Mutex::new(plugin)),
            asked: Arc::default(),
            stop: watch::channel(false).0,
        }
    }

    fn policy(mut self, lines: &str) -> Self {
        self.policy = format!("{}\n{lines}", self.policy);
        self
    }

    fn facts(mut self, lines: &str) -> Self {
        self.facts = format!("{}\n{lines}", self.facts);
        self
    }

    /// Another process over the same state.
    fn poller(&self) -> Poller<Interruptible> {
        let facts = format!("source = 's'\ndate = '2026-11-24'\n{}", self.facts);
        let handler = Handler::new(Parts {
            handles: Arc::new(Script { plugin: self.plugin.clone(), asked: self.asked.clone() }),
            emitter: Emitter { connection: "acme".into(), account: None, plugin: "p".into() },
            event_types: ["thing.seen".to_owned()].into(),
            limits: self.limits,
            keeping: Keeping { known_ms: 1 << 40, bytes_max: 1 << 20 },
            store: self.store.clone(),
            clock: Arc::new(self.clock.clone()),
            told: Arc::new(|| ()),
        });
        Poller::new(
            ("acme", "things"),
            &toml::from_str(&facts).unwrap(),
            &toml::from_str(&self.policy).unwrap(),
            Interruptible(handler),
            self.store.clone(),
            Arc::new(self.clock.clone()),
        )
        .unwrap()
    }

    async fn turn(&self, poller: &Poller<Interruptible>) -> Timestamp {
        poller.turn(&self.stop.subscribe()).await.unwrap()
    }

    fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }

    async fn emitted(&self) -> Vec<String> {
        let all = self.store.outbox(0, u64::MAX).await.unwrap();
        all.iter().map(|out| serde_json::from_slice::<Emitted>(&out.content).unwrap().key).collect()
    }
}

/// Answers these, one after the other, and then that there is nothing.
fn script(answers: impl IntoIterator<Item = Answer>) -> impl FnMut(&Asked) -> Answer + Send + 'static {
    let mut answers: VecDeque<Answer> = answers.into_iter().collect();
    move |_| answers.pop_front().unwrap_or_else(|| Ok((Vec::new(), None, false)))
}

fn page(emit: &[&str], cursor: &str, more: bool) -> Answer {
    Ok((emit.iter().map(|name| (*name).to_owned()).collect(), Some(cursor.to_owned()), more))
}

#[tokio::test]
async fn a_first_run_is_at_once_and_begins_as_the_operator_says() {
    for (policy, start) in [
        ("", PollStart::FromNow),
        ("first = { backfill = 3 }", PollStart::Backfill(3)),
        ("first = 'all'", PollStart::All),
    ] {
        let scene = Scene::of(script([page(&[], "1", false)])).policy(policy);
        let next = scene.turn(&scene.poller()).await;
        let id = "poll acme things 0".to_owned();
        assert_eq!(scene.asked(), [Asked { id, start, cursor: None }]);
        assert_eq!(next, START.plus(60_000));
    }
}

#[tokio::test]
async fn a_run_catches_up_page_by_page() {
    let scene = Scene::of(script([page(&["a", "b"], "1", true), page(&[], "2", true), page(&["c"], "3", false)]));
    scene.turn(&scene.poller()).await;
    let cursors: Vec<_> = scene.asked().into_iter().map(|asked| asked.cursor).collect();
    assert_eq!(cursors, [None, Some("1".into()), Some("2".into())]);
    assert_eq!(scene.emitted().await, ["a", "b", "c"]);
}

#[tokio::test]
async fn a_run_takes_so_many_pages_and_the_next_goes_on() {
    let mut number = 0;
    let endless = move |_: &Asked| {
        number += 1;
        page(&[&number.to_string()], &number.to_string(), number < 12)
    };
    let scene = Scene::of(endless).policy("pages_max = 5");
    let poller = scene.poller();
    for (pages, is_behind) in [(5, true), (5, true), (2, false)] {
        let next = scene.turn(&poller).await;
        assert_eq!((scene.asked().len(), poller.health().await.unwrap().is_behind), (pages, is_behind));
        scene.clock.advance(next.since(scene.clock.now()));
    }
    assert_eq!(scene.emitted().await.len(), 12);
}

#[tokio::test]
async fn more_without_a_step_does_not_go_round() {
    let scene = Scene::of(|_: &Asked| page(&["a"], "1", true));
    scene.turn(&scene.poller()).await;
    assert_eq!(scene.asked().len(), 2, "the second page did not move the cursor");
}

#[tokio::test]
async fn runs_that_were_missed_are_made_up_for_once() {
    let scene = Scene::of(script([]));
    let poller = scene.poller();
    scene.turn(&poller).await;
    scene.clock.advance(600_000);
    let health = poller.health().await.unwrap();
    assert_eq!(health.lag_ms, 540_000);
    let next = scene.turn(&poller).await;
    assert_eq!((scene.asked().len(), next), (2, START.plus(660_000)));
    assert_eq!(scene.turn(&poller).await, next);
    assert!(scene.asked().is_empty(), "a run was not due");
}

/// One that had never run was late since 1970, and its connection unhealthy for as long as the first run took.
#[tokio::test]
async fn a_first_run_is_late_from_when_there_is_somebody_to_run_it() {
    let scene = Scene::of(script([]));
    let (poller, stop) = (scene.poller(), scene.stop.subscribe());
    let health = poller.health().await.unwrap();
    assert_eq!((health.due, health.lag_ms), (START, 0));
    let mut turn = pin!(poller.turn(&stop));
    while scene.asked().is_empty() {
        assert!(poll_once(turn.as_mut()).is_none());
    }
    scene.clock.advance(600_000);
    assert_eq!(poller.health().await.unwrap().lag_ms, 600_000, "its first page hangs");
    assert_eq!(scene.poller().health().await.unwrap().lag_ms, 0, "another process looks");
}

/// A page that has begun is finished; one that waits for its pace has not, and the next process begins with it.
#[tokio::test]
async fn a_page_that_waits_for_its_pace_does_not_hold_up_a_stop() {
    let mut scene = Scene::of(script([page(&["a", "b"], "1", true), page(&["c"], "2", false)]));
    scene.limits.emitted_second_events = 1;
    let (poller, stop) = (scene.poller(), scene.stop.subscribe());
    let mut turn = pin!(poller.turn(&stop));
    let mut asked = 0;
    for _ in 0..40 {
        assert!(poll_once(turn.as_mut()).is_none());
        asked += scene.asked().len();
        tokio::task::yield_now().await;
    }
    assert_eq!(asked, 1, "the next page did not wait");
    scene.stop.send_replace(true);
    let mut left = None;
    for _ in 0..40 {
        if left.is_none() {
            left = poll_once(turn.as_mut());
        }
        tokio::task::yield_now().await;
    }
    assert!(left.is_some_and(|left| left.is_ok()) && scene.asked().is_empty(), "the stop was not heard");
}

/// The guide's wallet monitor began anew with each start.
#[tokio::test]
async fn guide_s26_a_restart_neither_forgets_nor_repeats_a_run() {
    let scene = Scene::of(script([page(&["a"], "1", false), page(&["b"], "2", false)]));
    let due = scene.turn(&scene.poller()).await;
    scene.clock.advance(59_999);
    let again = scene.poller();
    assert_eq!(scene.turn(&again).await, due);
    assert_eq!(scene.asked().len(), 1);
    scene.clock.advance(1);
    scene.turn(&again).await;
    assert_eq!(scene.asked()[0].cursor.as_deref(), Some("1"));
}

/// An error that the guide's monitor did not know ended its loop. Here none does, and each further one waits longer.
#[tokio::test]
async fn guide_s26_no_error_ends_a_poll() {
    let errors = [Kind::Internal("a trap".into()), Kind::Transient, Kind::Unauthorized, Kind::Transient];
    let answers = errors.map(|kind| Err(Error::new(kind, "no luck"))).into_iter().chain([page(&["a"], "1", false)]);
    let scene = Scene::of(script(answers.collect::<Vec<_>>()));
    let poller = scene.poller();
    let mut waits = Vec::new();
    for failures in 1..=4 {
        let next = scene.turn(&poller).await;
        let health = poller.health().await.unwrap();
        assert_eq!((health.failures, health.succeeded_at), (failures, None));
        assert_eq!(health.failed.map(|(_, why)| why).as_deref(), Some("no luck"));
        waits.push(next.since(scene.clock.now()));
        scene.clock.advance(next.since(scene.clock.now()));
    }
    for (wait, middle) in waits.into_iter().zip([60_000, 20_000, 240_000, 80_000]) {
        assert!((middle * 8 / 10..=middle * 12 / 10).contains(&wait), "{wait} of {middle}");
    }
    let next = scene.turn(&poller).await;
    assert_eq!(next, scene.clock.now().plus(60_000), "the usual pace");
    assert_eq!(poller.health().await.unwrap().failures, 0);
}

#[tokio::test]
async fn a_provider_that_says_when_is_not_asked_before() {
    let later = START.plus(3_000_000);
    let limited = Error::new(Kind::RateLimited, "slow down").with_retry_at(Some(later));
    let scene = Scene::of(script([Err(limited)]));
    assert_eq!(scene.turn(&scene.poller()).await, later);
    // A restart does not forget it.
    assert_eq!(scene.turn(&scene.poller()).await, later);
    assert_eq!(scene.asked().len(), 1);
    for error in [Error::new(Kind::Transient, "x"), Error::new(Kind::Forbidden, "x")] {
        for failures in [1, 5, u32::MAX] {
            assert!(not_before(&error, failures, START, 1.0) <= START.plus(WAIT_MS_MAX), "jitter leads over the cap");
        }
    }
    let never = Error::new(Kind::RateLimited, "x").with_retry_at(Some(Timestamp::MAX));
    assert_eq!(not_before(&never, 1, START, 0.0), START.plus(RETRY_AT_MS_MAX));
}

#[tokio::test]
async fn a_cursor_that_became_invalid_leads_to_what_the_manifest_declares() {
    for (facts, start) in [("", PollStart::All), ("cursor_invalid = 'from-now'", PollStart::FromNow)] {
        let invalid = || Err(Error::new(Kind::CursorInvalid, "it is too old"));
        let scene = Scene::of(script([page(&["a"], "1", false), invalid(), page(&["a", "b"], "9", false)]));
        let scene = scene.policy("first = { backfill = 5 }").facts(facts);
        let poller = scene.poller();
        let next = scene.turn(&poller).await;
        scene.clock.advance(next.since(scene.clock.now()));
        scene.turn(&poller).await;
        let asked = scene.asked();
        assert_eq!((asked[1].cursor.as_deref(), asked[1].id.as_str()), (Some("1"), "poll acme things 1"));
        assert_eq!((asked[2].cursor.as_deref(), asked[2].start), (None, start));
        assert_eq!(scene.emitted().await, ["a", "b"], "what came again was emitted again");
        let (_, why) = poller.health().await.unwrap().failed.unwrap();
        assert!(why.contains("became invalid (it is too old)"), "{why}");
    }
}

#[tokio::test]
async fn a_plugin_that_always_says_invalid_is_asked_twice_and_then_waited_for() {
    let scene = Scene::of(|asked: &Asked| match asked.cursor {
        None if asked.id.ends_with(" 0") => page(&[], "1", false),
        _ => Err(Error::new(Kind::CursorInvalid, "never")),
    });
    let poller = scene.poller();
    scene.clock.advance(scene.turn(&poller).await.since(START));
    scene.turn(&poller).await;
    assert_eq!((scene.asked().len(), poller.health().await.unwrap().failures), (3, 1));
}

/// R8: keys are made of the trigger's id, so it stays the same until what came of it is kept.
#[tokio::test]
async fn r8_a_page_that_is_handed_over_again_has_the_same_id() {
    let failed = || Err(Error::new(Kind::Transient, "no luck"));
    let scene = Scene::of(script([failed(), failed(), page(&["a"], "1", true), failed(), page(&["b"], "2", false)]));
    for _ in 0..5 {
        let poller = scene.poller();
        let next = scene.turn(&poller).await;
        scene.clock.advance(next.since(scene.clock.now()));
    }
    let ids: Vec<String> = scene.asked().into_iter().map(|asked| asked.id).collect();
    let expected = [0, 0, 0, 1, 1, 2].map(|version| format!("poll acme things {version}"));
    assert_eq!(ids, expected);
}

#[tokio::test]
async fn of_two_processes_over_one_state_one_runs_it() {
    let scene = Scene::of(script([]));
    let (one, other) = (scene.poller(), scene.poller());
    for round in 1..=3 {
        let (a, b) = tokio::join!(scene.turn(&one), scene.turn(&other));
        assert_eq!(scene.asked().len(), 1, "round {round}");
        scene.clock.advance(a.max(b).since(scene.clock.now()));
        // Who stood by looks, and finds that it was done.
        let next = scene.turn(&one).await.max(scene.turn(&other).await);
        let more = scene.asked().len();
        assert!(more <= 1, "round {round}: {more}");
        scene.clock.advance(next.since(scene.clock.now()));
    }
}

#[tokio::test]
async fn a_process_that_died_during_a_run_makes_room() {
    let scene = Scene::of(script([]));
    {
        let (poller, stop) = (scene.poller(), scene.stop.subscribe());
        let mut turn = pin!(poller.turn(&stop));
        while scene.asked().is_empty() {
            assert!(poll_once(turn.as_mut()).is_none());
        }
    }
    let other = scene.poller();
    let look = scene.turn(&other).await;
    assert_eq!((scene.asked().len(), look), (0, START.plus(STAND_BY_MS)), "the lease holds");
    scene.clock.advance(LEASE_MS);
    scene.turn(&other).await;
    assert_eq!(scene.asked().len(), 1);
}

#[tokio::test]
async fn stopping_ends_after_the_page_under_way_and_the_next_process_goes_on_at_once() {
    let stop = watch::channel(false).0;
    let stops = stop.clone();
    let mut answers = script([page(&["a"], "1", true), page(&["b"], "2", false)]);
    let mut scene = Scene::of(move |asked: &Asked| {
        stops.send_replace(true);
        answers(asked)
    });
    scene.stop = stop;
    scene.poller().run(scene.stop.subscribe()).await;
    assert_eq!((scene.asked().len(), scene.emitted().await), (1, vec!["a".to_owned()]));
    scene.stop.send_replace(false);
    let next = scene.poller();
    scene.turn(&next).await;
    assert_eq!(scene.emitted().await, ["a", "b"]);
}

#[tokio::test]
async fn it_runs_whenever_it_is_due_until_it_is_stopped() {
    let stop = watch::channel(false).0;
    let stops = stop.clone();
    let mut number = 0;
    let mut scene = Scene::of(move |_: &Asked| {
        number += 1;
        stops.send_replace(number == 100);
        page(&[&number.to_string()], &number.to_string(), false)
    });
    scene.stop = stop;
    scene.clock = ManualClock::skipping(START, 7);
    scene.policy = "jitter_percent = 50".into();
    scene.poller().run(scene.stop.subscribe()).await;
    assert_eq!(scene.emitted().await.len(), 100);
    let passed = scene.clock.now().since(START);
    assert!((99 * 60_000..=99 * 91_000).contains(&passed), "{passed}");
}

#[tokio::test]
async fn a_shorter_pace_does_not_wait_for_what_the_longer_one_had_drawn() {
    let mut scene = Scene::of(script([]));
    scene.facts = "every_s = 86400".into();
    scene.turn(&scene.poller()).await;
    scene.facts = "every_s = 60".into();
    let next = scene.turn(&scene.poller()).await;
    assert_eq!(next, START.plus(60_000));
}

/// Events with equal times come on both sides of a page's edge. A plugin that keeps a time reads the last one again, and
/// what it emits again is known by its key.
#[tokio::test]
async fn an_overlap_of_equal_times_loses_nothing_and_doubles_nothing() {
    let all = [("a", 1), ("b", 1), ("c", 2), ("d", 2), ("e", 2), ("f", 3)];
    let mut seen = 2;
    let plugin = move |asked: &Asked| {
        let since: u32 = asked.cursor.as_deref().map_or(0, |cursor| cursor.parse().unwrap());
        let found: Vec<_> = all[..seen].iter().filter(|(_, time)| *time >= since).collect();
        seen = (seen + 2).min(all.len());
        let last = found.last().map_or(since, |(_, time)| *time);
        Ok((found.iter().map(|(name, _)| (*name).to_owned()).collect(), Some(last.to_string()), false))
    };
    let scene = Scene::of(plugin).policy("first = 'all'");
    let poller = scene.poller();
    for _ in 0..4 {
        let next = scene.turn(&poller).await;
        scene.clock.advance(next.since(scene.clock.now()));
    }
    assert_eq!(scene.emitted().await, ["a", "b", "c", "d", "e", "f"]);
}

/// Polls once.
fn poll_once<T>(future: std::pin::Pin<&mut impl Future<Output = T>>) -> Option<T> {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match future.poll(&mut context) {
        std::task::Poll::Ready(done) => Some(done),
        std::task::Poll::Pending => None,
    }
}
