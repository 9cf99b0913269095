//! The breaker: a provider that keeps failing is left alone, asked again with care, and nothing else is counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use serde_json::json;
use wharfage::PathEvent;
use wharfage::health::CircuitState;
use wharfage::{Connection, Kind, ManualClock, RequestSent};
use wharfage_tests::provider::nobody;
use wharfage_tests::{NOW, Open, Provider, Reply, Scene, guests, skipping, until};

/// One attempt a call, so that calls and failures are the same number, and no last good answer instead of a failure.
pub(crate) fn once(connection: &mut Connection) {
    connection.limits.attempts = 1;
    connection.cache.enabled = false;
}

/// A provider whose status is set from outside.
async fn provider(status: &Arc<AtomicU16>) -> Provider {
    let status = status.clone();
    Provider::answering(move |_| match status.load(Ordering::SeqCst) {
        0 => Reply::never(),
        status => Reply::status(status),
    })
    .await
}

async fn open(provider: &Provider, clock: &ManualClock) -> Open {
    Scene::of(guests::HTTP_SEND).with(provider).grant(once).clock(clock).open().await
}

async fn kind(open: &Open) -> String {
    match open.call("send", json!({"url": "{api}/x"})).await {
        Ok(_) => "ok".to_owned(),
        Err(error) => error.kind().name().to_owned(),
    }
}

/// Item 94 of the guide: 5 failures, 60 s, 3 successes.
#[tokio::test]
async fn five_failures_open_it_and_three_successes_close_it() {
    let (clock, status) = (skipping(), Arc::new(AtomicU16::new(503)));
    let provider = provider(&status).await;
    let open = open(&provider, &clock).await;
    for _ in 0..5 {
        assert_eq!(kind(&open).await, "transient");
    }
    let error = open.error("send", json!({"url": "{api}/x"})).await;
    assert_eq!((error.kind(), error.request_sent(), error.attempts()), (&Kind::CircuitOpen, RequestSent::No, 0));
    let until = error.retry_at().unwrap();
    assert!((60_000..=75_000).contains(&until.since(NOW)), "{until}");
    assert!(error.details().unwrap().contains("[connections.acme.breaker]"), "{error}");
    assert_eq!(provider.count(), 5, "it was asked while the breaker is open");
    assert!(open.steps().iter().any(|step| matches!(step, PathEvent::Opened { .. })));
    assert_eq!(open.plugin.circuits(), [(provider.url(), CircuitState::Open { until })]);

    status.store(200, Ordering::SeqCst);
    clock.advance(until.since(NOW) - 1);
    assert_eq!(kind(&open).await, "circuit-open");
    clock.advance(1);
    for _ in 0..3 {
        assert_eq!(open.plugin.circuits()[0].1, CircuitState::HalfOpen);
        assert_eq!(kind(&open).await, "ok");
    }
    assert_eq!(open.plugin.circuits()[0].1, CircuitState::Closed);
}

#[tokio::test]
async fn a_failed_probe_opens_it_for_longer() {
    let (clock, status) = (skipping(), Arc::new(AtomicU16::new(503)));
    let provider = provider(&status).await;
    let open = open(&provider, &clock).await;
    for _ in 0..5 {
        kind(&open).await;
    }
    let mut waits = Vec::new();
    for _ in 0..6 {
        let CircuitState::Open { until } = open.plugin.circuits()[0].1 else { panic!("it is not open") };
        let now = wharfage::Clock::now(&clock);
        waits.push(until.since(now) / 1_000);
        clock.advance(until.since(now));
        assert_eq!(kind(&open).await, "transient");
    }
    assert!(waits.windows(2).all(|pair| pair[0] < pair[1] || pair[1] == 600), "{waits:?}");
    assert_eq!(waits.last(), Some(&600));
}

/// The guide's breaker counts every exception: a handful of missing orders stops everybody.
#[tokio::test]
async fn guide_s24_only_trouble_that_may_pass_counts() {
    let (clock, status) = (skipping(), Arc::new(AtomicU16::new(200)));
    let provider = provider(&status).await;
    let open = open(&provider, &clock).await;
    for said in [400, 401, 403, 404, 409, 410, 422, 429, 451] {
        status.store(said, Ordering::SeqCst);
        for _ in 0..6 {
            assert_ne!(kind(&open).await, "circuit-open", "{said} was counted");
        }
    }
    assert_eq!(open.plugin.circuits()[0].1, CircuitState::Closed);
    // The last answer but one was a success, so a single failure is far from five.
    status.store(500, Ordering::SeqCst);
    for expected in ["transient", "transient", "transient", "transient", "transient", "circuit-open"] {
        assert_eq!(kind(&open).await, expected);
    }
}

/// What a body says counts before the breaker decides.
#[tokio::test]
async fn trouble_told_in_a_200_counts() {
    const RULE: &str = "\n[[answers]]\npointer = '/status'\nequals = 'down'\nkind = 'transient'\n";
    let provider = Provider::scripted([Reply::json(&json!({"status": "down"}))]).await;
    let open = Scene::of(guests::HTTP_SEND).with(&provider).manifest(RULE).grant(once).open().await;
    for expected in ["transient", "transient", "transient", "transient", "transient", "circuit-open"] {
        assert_eq!(kind(&open).await, expected);
    }
}

/// In the guide's code all 200 of 200 waiting callers probe at once.
#[tokio::test]
async fn guide_s08_one_probe_at_a_time() {
    let (clock, status) = (ManualClock::new(NOW, 1), Arc::new(AtomicU16::new(503)));
    let provider = provider(&status).await;
    let open = open(&provider, &clock).await;
    for _ in 0..5 {
        kind(&open).await;
    }
    status.store(0, Ordering::SeqCst);
    clock.advance(75_000);
    let calls: Vec<_> = (0..60)
        .map(|_| {
            let plugin = open.plugin.clone();
            tokio::spawn(async move { plugin.call::<serde_json::Value>("send", &json!({"url": "{api}/x"})).await })
        })
        .collect();
    // All but one are refused at once; the one hangs at a provider that never answers.
    until!(calls.iter().filter(|call| call.is_finished()).count() >= 59 && provider.count() >= 6);
    assert_eq!(provider.count(), 6, "more than one probe was let through");
    for call in calls {
        if call.is_finished() {
            assert_eq!(*call.await.unwrap().unwrap_err().kind(), Kind::CircuitOpen);
        } else {
            call.abort();
        }
    }
}

/// A probe whose caller goes away frees its place: the next one may try.
#[tokio::test]
async fn a_cancelled_probe_does_not_wedge_it() {
    let (clock, status) = (ManualClock::new(NOW, 1), Arc::new(AtomicU16::new(503)));
    let provider = provider(&status).await;
    let open = open(&provider, &clock).await;
    for _ in 0..5 {
        kind(&open).await;
    }
    clock.advance(75_000);
    for round in 0..3 {
        status.store(0, Ordering::SeqCst);
        let before = provider.count();
        let mut probe = Box::pin(open.call("send", json!({"url": "{api}/x"})));
        tokio::select! {
            answer = &mut probe => panic!("it was never answered: {answer:?}"),
            () = async { until!(provider.count() != before); } => {}
        }
        assert_eq!(kind(&open).await, "circuit-open", "round {round}");
        drop(probe);
        status.store(200, Ordering::SeqCst);
        assert_eq!(kind(&open).await, "ok", "round {round}");
    }
    assert_eq!(open.plugin.circuits()[0].1, CircuitState::Closed);
}

/// R1: the breaker is asked after the wait for a permit, and what was reserved comes back when it refuses.
#[tokio::test]
async fn r1_the_breaker_is_asked_after_the_wait() {
    const ONE_AT_ONCE: &str =
        "\n[budgets.pace]\nconcurrency = 1\nsource = 'made up for the tests'\ndate = '2026-11-24'\n";
    let (clock, status) = (skipping(), Arc::new(AtomicU16::new(503)));
    let provider = provider(&status).await;
    let open =
        Scene::of(guests::HTTP_SEND).with(&provider).manifest(ONE_AT_ONCE).grant(once).clock(&clock).open().await;
    // All of them found the breaker closed and queue; the fifth failure opens it for the other fifteen.
    let calls = (0..20).map(|_| kind(&open));
    let kinds = futures_util::future::join_all(calls).await;
    assert_eq!(kinds.iter().filter(|kind| *kind == "transient").count(), 5, "{kinds:?}");
    assert_eq!(kinds.iter().filter(|kind| *kind == "circuit-open").count(), 15, "{kinds:?}");
    assert_eq!(provider.count(), 5);
    status.store(200, Ordering::SeqCst);
    clock.advance(75_000);
    assert_eq!(kind(&open).await, "ok", "a permit was lost");
}

#[tokio::test]
async fn each_origin_and_each_connection_has_its_own() {
    let (clock, status) = (skipping(), Arc::new(AtomicU16::new(503)));
    let (bad, good) = (provider(&status).await, Provider::scripted([Reply::status(200)]).await);
    let scene = || Scene::of(guests::HTTP_SEND).with(&bad);
    let open = scene().at("other", &good.url()).grant(once).clock(&clock).open().await;
    for _ in 0..6 {
        kind(&open).await;
    }
    assert_eq!(kind(&open).await, "circuit-open");
    open.output("send", json!({"url": "{other}/x"})).await;
    let account = wharfage_tests::scene::account("");
    let neighbour = scene().connect_as("neighbour", &open.host, &account).await.unwrap();
    let error = neighbour.call::<serde_json::Value>("send", &json!({"url": "{api}/x"})).await.unwrap_err();
    assert_eq!(*error.kind(), Kind::Transient);
}

#[tokio::test]
async fn the_operator_may_want_none_or_another() {
    let (clock, status) = (skipping(), Arc::new(AtomicU16::new(503)));
    let provider = provider(&status).await;
    let scene = || Scene::of(guests::HTTP_SEND).with(&provider).grant(once).clock(&clock);
    let open = scene().connection("[breaker]\nenabled = false\n").open().await;
    for _ in 0..12 {
        assert_eq!(kind(&open).await, "transient");
    }
    assert!(open.plugin.circuits().is_empty());
    let open = scene().connection("[breaker]\nfailures = 2\nopen_ms = 1_000\nsuccesses = 1\n").open().await;
    for expected in ["transient", "transient", "circuit-open"] {
        assert_eq!(kind(&open).await, expected);
    }
    let wrong = scene().connection("[breaker]\nprobes = 0\n").try_open().await.err().expect("it makes no sense");
    assert_eq!(*wrong.kind(), Kind::Configuration);
    assert!(wrong.message().contains("breaker.probes"), "{wrong}");
}

/// A name that does not resolve, and nobody at the port, are failures like any other.
#[tokio::test]
async fn who_cannot_be_reached_keeps_failing() {
    let (_held, url) = nobody();
    let open = Scene::of(guests::HTTP_SEND).at("api", &url).grant(once).open().await;
    for expected in ["network", "network", "network", "network", "network", "circuit-open"] {
        assert_eq!(kind(&open).await, expected);
    }
}

/// A call whose own attempts open it hears what the provider said, not only that the host has given up.
#[tokio::test]
async fn the_last_answer_is_told_beside_the_open_breaker() {
    let (clock, status) = (skipping(), Arc::new(AtomicU16::new(503)));
    let provider = provider(&status).await;
    let open = Scene::of(guests::HTTP_SEND)
        .with(&provider)
        .clock(&clock)
        .grant(|connection| connection.breaker.failures = 3)
        .open()
        .await;
    let error = open.error("send", json!({"url": "{api}/x"})).await;
    assert_eq!((error.kind(), error.attempts(), error.request_sent()), (&Kind::CircuitOpen, 3, RequestSent::Yes));
    assert!(error.details().unwrap().contains("the provider has trouble"), "{error}");
}
