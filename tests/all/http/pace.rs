//! Pace: budgets, costs and hints, and many calls at once.

use std::collections::BTreeMap;

use serde_json::json;
use wharfage::PathEvent;
use wharfage::{Clock, Kind, ManualClock, Timestamp};
use wharfage_tests::{NOW, Provider, Reply, Scene, guests, skipping, until};

fn budget(text: &str) -> String {
    format!("\n[budgets.pace]\n{text}\nsource = \"made up for the tests\"\ndate = \"2026-11-22\"\n")
}

/// The most requests in any window, by when they came.
fn most_in_a_window(provider: &Provider, window_ms: u64) -> usize {
    let times: Vec<Timestamp> = provider.seen().iter().map(|seen| seen.at.unwrap()).collect();
    times
        .iter()
        .map(|start| times.iter().filter(|at| **at >= *start && at.since(*start) < window_ms).count())
        .max()
        .unwrap()
}

/// The guide's limiter looked, waited and then recorded: fifty calls at once all saw an empty window and all went.
#[tokio::test]
async fn guide_s03_fifty_at_once_keep_to_five_a_second() {
    let clock = skipping();
    let provider = Provider::scripted_at(&clock, [Reply::status(200)]).await;
    let open = Scene::of(guests::HTTP_SEND)
        .with(&provider)
        .manifest(&budget("limit = 5\nwindow_s = 1"))
        .grant(patient)
        .clock(&clock)
        .open()
        .await;
    let answers = futures_util::future::join_all((0..50).map(|_| open.call("send", json!({"url": "{api}/x"})))).await;
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(provider.count(), 50);
    assert!(most_in_a_window(&provider, 1_000) <= 5, "{} in one second", most_in_a_window(&provider, 1_000));
    assert!(clock.now().since(NOW) >= 9 * 1_000);
    assert!(open.steps().iter().any(|step| matches!(step, PathEvent::Paced { .. })));
}

#[tokio::test]
async fn a_permit_for_so_many_at_once_comes_back_whatever_happens() {
    let provider = Provider::answering(|seen| match (&*seen.target, seen.number % 3) {
        ("/held", _) => Reply::never(),
        (_, 0) => Reply::status(404),
        (_, 1) => Reply::reset(),
        _ => Reply::status(200),
    })
    .await;
    let scene = Scene::of(guests::HTTP_SEND).with(&provider).manifest(&budget("concurrency = 2"));
    let open = scene.grant(patient).open().await;
    for _ in 0..5 {
        let calls = (0..6).map(|_| open.call("send", json!({"url": "{api}/x"})));
        futures_util::future::join_all(calls).await;
        // Whoever goes away leaves its permit behind.
        drop(tokio::time::timeout(std::time::Duration::ZERO, open.call("send", json!({"url": "{api}/x"}))).await);
    }
    assert!(provider.count() > 30);
    // Both are there: what is never answered is under way twice.
    let held = futures_util::future::join_all((0..2).map(|_| open.call("send", json!({"url": "{api}/held"}))));
    let both = async { until!(provider.seen().iter().filter(|seen| seen.target == "/held").count() == 2) };
    tokio::select! {
        ended = held => panic!("it was never answered, and ended: {ended:?}"),
        () = both => {}
    }
}

#[tokio::test]
async fn a_request_may_cost_more_than_one_unit() {
    let clock = skipping();
    let provider = Provider::scripted_at(&clock, [Reply::status(200)]).await;
    let open = Scene::of(guests::HTTP_SEND)
        .with(&provider)
        .manifest(&budget("limit = 10\nwindow_s = 60"))
        .clock(&clock)
        .open()
        .await;
    let send = |units: u32| json!({"url": "{api}/x", "costs": [["pace", units]]});
    open.output("send", send(9)).await;
    open.output("send", json!({"url": "{api}/x"})).await;
    assert_eq!(clock.now(), NOW);
    open.output("send", json!({"url": "{api}/x"})).await;
    assert_eq!(clock.now(), NOW.plus(60_100));
    let error = open.error("send", send(11)).await;
    assert_eq!(*error.kind(), Kind::LimitExceeded("pace".into()), "{error:?}");
    let error = open.error("send", json!({"url": "{api}/x", "costs": [["no-such", 1]]})).await;
    assert!(matches!(error.kind(), Kind::InvalidRequest(_)), "{error:?}");
}

/// After a 429 that says how long, every call of the account stays away, not only the one that heard it.
#[tokio::test]
async fn what_one_hears_all_heed() {
    let clock = ManualClock::new(NOW, 1);
    let provider =
        Provider::scripted_at(&clock, [Reply::status(429).header("retry-after", "30"), Reply::status(200)]).await;
    let open = Scene::of(guests::HTTP_SEND)
        .with(&provider)
        .manifest(&budget("limit = 100\nwindow_s = 1"))
        .grant(patient)
        .grant(|connection| connection.limits.attempts = 1)
        .clock(&clock)
        .open()
        .await;
    assert_eq!(*open.error("send", json!({"url": "{api}/x"})).await.kind(), Kind::RateLimited);
    let turn = async {
        for _ in 0..40 {
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            clock.advance(1_000);
        }
    };
    let (answer, ()) = tokio::join!(open.call("send", json!({"url": "{api}/x"})), turn);
    answer.unwrap();
    assert!(provider.seen()[1].at.unwrap() >= NOW.plus(30_000));
}

/// What a provider says about what is left lowers our count.
#[tokio::test]
async fn a_hint_in_the_headers_slows_down() {
    let clock = skipping();
    let hint = Reply::status(200).header("x-ratelimit-remaining", "0").header("x-ratelimit-limit", "100");
    let provider = Provider::scripted_at(&clock, [hint, Reply::status(200)]).await;
    let open = Scene::of(guests::HTTP_SEND)
        .with(&provider)
        .manifest(&budget("limit = 100\nwindow_s = 10"))
        .clock(&clock)
        .open()
        .await;
    open.output("send", json!({"url": "{api}/x"})).await;
    open.output("send", json!({"url": "{api}/x"})).await;
    let seen = provider.seen();
    assert!(seen[1].at.unwrap().since(seen[0].at.unwrap()) >= 9_000, "{:?}", seen[1].at);
}

/// Time that others let pass is nobody's time-out, and fates that are told to be bad open no breaker.
fn patient(connection: &mut wharfage::Connection) {
    connection.breaker.enabled = false;
    connection.limits.attempt_ms = u64::from(u32::MAX);
    connection.limits.call_ms = u64::from(u32::MAX);
}

/// A hundred calls each with its own lost answer end with what they should, whatever the order.
#[tokio::test]
async fn many_calls_with_many_fates_all_end() {
    let provider =
        Provider::answering(|seen| match seen.target.rsplit('/').next().unwrap().parse::<u32>().unwrap() % 7 {
            0 => Reply::status(200),
            1 => Reply::status(404),
            2 => Reply::reset(),
            3 => Reply::cut(),
            4 => Reply::status(500),
            5 => Reply::status(429).header("retry-after", "1"),
            _ => Reply::redirect(302, "/7"),
        })
        .await;
    // On a clock that skips, everybody's waits pass for everybody.
    let open = Scene::of(guests::HTTP_SEND).with(&provider).grant(patient).open().await;
    let calls = (0..98).map(|number| open.call("send", json!({"url": format!("{{api}}/{number}")})));
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    for answer in futures_util::future::join_all(calls).await {
        *kinds.entry(answer.map_or_else(|error| error.kind().name().to_owned(), |_| "ok".to_owned())).or_default() += 1;
    }
    let expected = [("network", 28), ("not-found", 14), ("ok", 28), ("rate-limited", 14), ("transient", 14)];
    assert_eq!(kinds, expected.map(|(name, count)| (name.to_owned(), count)).into());
}
