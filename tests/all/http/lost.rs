//! What gets lost: answers that never come, time that is over, and when a write may be sent again.

use serde_json::{Value, json};
use wharfage::{Connection, Error, Kind, ManualClock, NetworkStage, RequestSent};
use wharfage_tests::provider::nobody;
use wharfage_tests::{NOW, Open, Provider, Reply, Scene, guests, until};

use super::{denied, get, open};

#[tokio::test]
async fn a_lost_answer_is_asked_for_again() {
    for lost in
        [Reply::cut(), Reply::reset(), Reply::closed(), Reply::raw("HTTP/9.9 what?\r\n\r\n"), Reply::raw(vec![0; 100])]
    {
        let name = format!("{lost:?}");
        let (answer, provider, _open) = get([lost.clone(), Reply::status(200)]).await;
        assert_eq!(answer.unwrap_or_else(|error| panic!("{name:.60}: {error:?}"))["attempts"], 2, "{name:.60}");
        assert_eq!(provider.count(), 2);
        let (answer, provider, _open) = get([lost]).await;
        let error = answer.unwrap_err();
        assert_eq!(*error.kind(), Kind::Network(NetworkStage::Reset), "{name:.60}");
        assert_eq!((error.attempts(), provider.count()), (5, 5));
        assert!(!error.to_string().contains("http://"), "a URL is in {error}");
    }
}

#[tokio::test]
async fn nobody_there_is_told_as_such() {
    let (_held, url) = nobody();
    // Two calls of five attempts each; the breaker would refuse the second.
    let scene = Scene::of(guests::HTTP_SEND).at("api", &url).grant(|connection| connection.breaker.enabled = false);
    let open = scene.open().await;
    for method in ["GET", "POST"] {
        let error = open.error("send", json!({"method": method, "url": "{api}/x?secret=1"})).await;
        assert_eq!(*error.kind(), Kind::Network(NetworkStage::Connect), "{method}: {error:?}");
        assert_eq!(
            (error.request_sent(), error.attempts()),
            (RequestSent::No, 5),
            "{method}: nothing left, so it may be tried again"
        );
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}

/// One attempt, of 150 milliseconds.
fn hasty(connection: &mut Connection) {
    connection.limits.attempt_ms = 150;
    connection.limits.attempts = 1;
}

/// A connection that never comes about, here because nobody answers the first word of TLS, carried nothing.
#[tokio::test]
async fn whoever_cannot_be_reached_was_sent_nothing() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", silent.local_addr().unwrap());
    let clock = ManualClock::new(NOW, 1);
    let open = Scene::of(guests::HTTP_SEND).at("api", &url).clock(&clock).grant(hasty).open().await;
    let passes = async {
        let accepted = silent.accept().await.unwrap();
        clock.advance(150);
        accepted
    };
    let write = open.error("write", json!({"method": "POST", "url": "{api}/x"}));
    let (error, _accepted) = tokio::join!(write, passes);
    assert_eq!((error.kind(), error.request_sent()), (&Kind::Timeout, RequestSent::No), "{error:?}");
    assert!(error.message().contains("no connection within 150 ms"), "{error}");
}

/// How a call ends for which so many milliseconds pass when the provider has seen its request.
async fn left(open: &Open, clock: &ManualClock, provider: &Provider, ms: u64, operation: &str, input: Value) -> Error {
    let before = provider.count();
    let passes = async {
        until!(provider.count() > before);
        clock.advance(ms);
    };
    tokio::join!(open.error(operation, input), passes).0
}

#[tokio::test]
async fn who_never_answers_is_left() {
    for reply in [Reply::never(), Reply::dribble()] {
        let (clock, provider) = (ManualClock::new(NOW, 1), Provider::scripted([reply]).await);
        let open = Scene::of(guests::HTTP_SEND).with(&provider).clock(&clock).grant(hasty).open().await;
        let error = left(&open, &clock, &provider, 150, "send", json!({"url": "{api}/x"})).await;
        assert_eq!((error.kind(), error.request_sent()), (&Kind::Timeout, RequestSent::Maybe));
        let error = left(&open, &clock, &provider, 20, "send", json!({"url": "{api}/x", "timeout_ms": 20})).await;
        assert_eq!(*error.kind(), Kind::Timeout);
        assert!(error.message().contains("20 ms"), "{error}");
        // A plugin may shorten the wait and never lengthen it.
        let longer = json!({"url": "{api}/x", "timeout_ms": 4_000_000_000u32});
        let error = left(&open, &clock, &provider, 150, "send", longer).await;
        assert!(error.message().contains("150 ms"), "{error}");
        let write = json!({"method": "POST", "url": "{api}/x"});
        let error = left(&open, &clock, &provider, 150, "write", write).await;
        assert_eq!((error.kind(), error.request_sent()), (&Kind::OutcomeUnknown, RequestSent::Maybe));
    }
}

#[tokio::test]
async fn a_call_ends_when_its_time_is_over() {
    let (clock, provider) = (ManualClock::new(NOW, 1), Provider::scripted([Reply::never()]).await);
    let open = Scene::of(guests::HTTP_SEND)
        .with(&provider)
        .clock(&clock)
        .grant(|connection| connection.limits.call_ms = 200)
        .open()
        .await;
    let error = left(&open, &clock, &provider, 200, "send", json!({"url": "{api}/x"})).await;
    assert_eq!(*error.kind(), Kind::Deadline, "{error:?}");
    let write = json!({"method": "POST", "url": "{api}/x"});
    let error = left(&open, &clock, &provider, 200, "write", write).await;
    assert_ne!(error.request_sent(), RequestSent::No, "a write that left may have happened: {error:?}");
}

/// The guide's client repeated whatever failed, writes included: an order whose answer was lost was made up to five times.
#[tokio::test]
async fn guide_s22_a_lost_write_is_sent_once_and_said_to_be_unknown() {
    for method in ["POST", "PATCH"] {
        for lost in [Reply::cut(), Reply::reset(), Reply::closed(), Reply::raw(vec![0; 100])] {
            let provider = Provider::scripted([lost]).await;
            let open = open(&provider).await;
            let error = open.error("write", json!({"method": method, "url": "{api}/orders", "body": "{}"})).await;
            assert_eq!(*error.kind(), Kind::OutcomeUnknown, "{error:?}");
            assert_ne!(error.request_sent(), RequestSent::No);
            assert!(!error.may_retry());
            assert_eq!((provider.count(), error.attempts()), (1, 1));
        }
        for status in [500, 502, 503, 504] {
            let provider = Provider::scripted([Reply::status(status)]).await;
            let open = open(&provider).await;
            let error = open.error("write", json!({"method": method, "url": "{api}/orders"})).await;
            assert_eq!((provider.count(), error.status()), (1, Some(status)), "{error:?}");
        }
    }
}

#[tokio::test]
async fn a_write_is_sent_again_where_that_is_known_to_be_safe() {
    // Who answers 429 has not acted.
    for (request, reply) in [
        (json!({"method": "POST"}), Reply::status(429)),
        (json!({"method": "PUT"}), Reply::reset()),
        (json!({"method": "DELETE"}), Reply::status(503)),
        (json!({"method": "POST", "repeat": "safe"}), Reply::cut()),
        (json!({"method": "POST", "repeat": "keyed"}), Reply::reset()),
        (json!({"method": "POST", "repeat": "never"}), Reply::status(429)),
    ] {
        let provider = Provider::scripted([reply, Reply::status(200)]).await;
        let open = open(&provider).await;
        let mut input = request.clone();
        input["url"] = json!("{api}/orders");
        input["body"] = json!("{}");
        let answer = open.call("write", input).await.unwrap_or_else(|error| panic!("{request}: {error:?}"));
        assert_eq!((answer.attempts, provider.count()), (2, 2), "{request}");
        let seen = provider.seen();
        let keys: Vec<_> = seen.iter().map(|seen| seen.header("idempotency-key")).collect();
        if request["repeat"] == "keyed" {
            assert!(keys[0].is_some_and(|key| key.len() >= 32) && keys[0] == keys[1], "{keys:?}");
        } else {
            assert_eq!(keys, [None, None]);
        }
    }
    let provider = Provider::scripted([Reply::status(500)]).await;
    let open = open(&provider).await;
    let error = open.error("write", json!({"method": "PUT", "url": "{api}/x", "repeat": "never"})).await;
    assert_eq!((provider.count(), error.attempts()), (1, 1));
}

#[tokio::test]
async fn every_keyed_write_has_a_key_of_its_own() {
    let provider = Provider::scripted([Reply::status(200)]).await;
    let open = open(&provider).await;
    for _ in 0..5 {
        open.output("write", json!({"method": "POST", "url": "{api}/x", "repeat": "keyed"})).await;
    }
    let keys: std::collections::BTreeSet<_> =
        provider.seen().iter().map(|seen| seen.header("idempotency-key").unwrap().to_owned()).collect();
    assert_eq!(keys.len(), 5);
}

/// Some providers take the key in the query. It is the same over all attempts, and the plugin cannot set it beside the host.
#[tokio::test]
async fn a_key_may_go_into_the_query() {
    let provider = Provider::scripted([Reply::reset(), Reply::status(200)]).await;
    let scene = Scene::of(guests::HTTP_SEND).manifest_with("header = \"Idempotency-Key\"", "query = \"requestid\"");
    let open = scene.with(&provider).open().await;
    let write = |url: &str| json!({"method": "POST", "url": url, "repeat": "keyed", "body": "{}"});
    open.output("write", write("{api}/x?a=1")).await;
    let seen: Vec<_> = provider.seen().iter().map(|seen| seen.target.clone()).collect();
    let (before, key) = seen[0].split_once("&requestid=").unwrap();
    assert_eq!((before, key.len(), &seen[0]), ("/x?a=1", 32, &seen[1]));
    let error = open.error("write", write("{api}/x?requestid=mine")).await;
    assert_eq!((error.kind(), provider.count()), (&denied("idempotency"), 2));
}

/// A provider with a header of its own for the id of a request, on an answer and on a failure.
#[tokio::test]
async fn the_manifest_may_say_where_the_id_of_a_request_is() {
    let about = "\n[request_id]\nheader = \"acme_tid\"\nsource = \"made up\"\ndate = \"2026-11-24\"\n";
    let reply = |status| Reply::status(status).header("acme_tid", "1-a").header("x-request-id", "of a proxy");
    let provider = Provider::scripted([reply(200), reply(404)]).await;
    let open = Scene::of(guests::HTTP_SEND).manifest(about).with(&provider).open().await;
    assert_eq!(open.output("send", json!({"url": "{api}/x"})).await["request_id"], "1-a");
    assert_eq!(open.error("send", json!({"url": "{api}/x"})).await.request_id(), Some("1-a"));
}

/// An attempt that never left does not undo one before it that may have been acted on.
#[tokio::test]
async fn what_was_once_sent_stays_sent() {
    let elsewhere = Provider::scripted([Reply::status(200)]).await;
    let provider = Provider::scripted([Reply::redirect(303, &elsewhere.url())]).await;
    let open = open(&provider).await;
    let error = open.error("write", json!({"method": "POST", "url": "{api}/orders", "body": "{}"})).await;
    assert_eq!((error.kind(), error.request_sent(), error.attempts()), (&denied("origin"), RequestSent::Yes, 1));
}
