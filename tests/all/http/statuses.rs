//! What a status means: success, failure, an error in a 200, and when it is worth asking again.

use serde_json::json;
use wharfage::{Kind, RequestSent, Severity, Timestamp};
use wharfage_tests::{NOW, Provider, Reply, Scene, guests, skipping};

use super::{get, open};

/// The guide's client took every 2xx but 200 for a failure: it sent a created order five times and then reported an error.
#[tokio::test]
async fn guide_s01_any_2xx_is_a_success() {
    for status in [200, 201, 202, 203, 204, 206, 226] {
        let (answer, provider, _open) = get([Reply::status(status)]).await;
        assert_eq!(answer.unwrap()["status"], status);
        assert_eq!(provider.count(), 1, "{status}");
    }
    let provider = Provider::scripted([Reply::status(201)]).await;
    let open = open(&provider).await;
    open.output("send", json!({"method": "POST", "url": "{api}/x", "body": "{}"})).await;
    assert_eq!(provider.count(), 1);
}

/// The guide's client tried a missing order five times, with backoff, before it said that it is missing.
#[tokio::test]
async fn guide_s02_what_will_not_change_is_asked_once() {
    for (status, kind) in [
        (400, "invalid-request"),
        (401, "unauthorized"),
        (403, "forbidden"),
        (404, "not-found"),
        (405, "provider-reported"),
        (409, "conflict"),
        (410, "cursor-invalid"),
        (412, "conflict"),
        (422, "invalid-request"),
        (451, "provider-reported"),
    ] {
        let (answer, provider, open) = get([Reply::status(status).header("x-request-id", "r-9").body("no")]).await;
        let error = answer.unwrap_err();
        assert_eq!(error.kind().name(), kind, "{status}");
        assert_eq!(provider.count(), 1, "{status} was sent again");
        assert_eq!((error.status(), error.attempts(), error.request_sent()), (Some(status), 1, RequestSent::Yes));
        assert_eq!((error.endpoint(), error.request_id(), error.body()), (Some("GET /x"), Some("r-9"), Some("no")));
        assert!(error.to_string().contains(&format!("[HTTP {status}] at GET /x (request_id: r-9)")), "{error}");
        assert!(open.waits_ms().is_empty());
    }
}

#[tokio::test]
async fn trouble_is_waited_out_with_growing_patience() {
    for status in [500, 502, 503, 504, 599] {
        let replies = [Reply::status(status), Reply::status(status), Reply::status(status), Reply::status(200)];
        let (answer, provider, open) = get(replies).await;
        assert_eq!(answer.unwrap()["attempts"], 4);
        assert_eq!(provider.count(), 4);
        for (wait_ms, middle_ms) in open.waits_ms().into_iter().zip([1_000, 2_000, 4_000]) {
            assert!(wait_ms.abs_diff(middle_ms) * 4 <= middle_ms, "{wait_ms} for {middle_ms}");
        }
    }
    let (answer, provider, _open) = get([Reply::status(503).body("down for maintenance")]).await;
    let error = answer.unwrap_err();
    assert_eq!((error.kind(), error.attempts(), provider.count()), (&Kind::Transient, 5, 5));
    assert_eq!(error.severity(), Severity::Transient);
    assert_eq!(error.body(), Some("down for maintenance"));
}

/// Item 50 of the guide: a 400 that calls itself temporary is.
#[tokio::test]
async fn a_400_that_says_temporarily_is_tried_again() {
    let (answer, provider, _open) = get([Reply::status(400).body("Temporarily unavailable"), Reply::status(200)]).await;
    assert_eq!(answer.unwrap()["attempts"], 2);
    assert_eq!(provider.count(), 2);
}

/// The guide's client died of a ValueError when `Retry-After` was a date, which RFC 9110 allows.
#[tokio::test]
async fn guide_s04_retry_after_is_read_in_every_form() {
    let date = |at: Timestamp| {
        httpdate::fmt_http_date(std::time::UNIX_EPOCH + std::time::Duration::from_millis(at.as_millis()))
    };
    for (reply, wait_ms) in [
        (Reply::status(429).header("retry-after", "7"), 7_000),
        (Reply::status(429).header("retry-after", "0.5"), 500),
        (Reply::status(429).header("retry-after", &date(NOW.plus(9_000))), 9_000),
        // The provider's clock is an hour behind; only the distance counts.
        (
            Reply::status(429)
                .header("date", &date(Timestamp::from_millis(NOW.as_millis() - 3_600_000)))
                .header("retry-after", &date(Timestamp::from_millis(NOW.as_millis() - 3_590_000))),
            10_000,
        ),
        (Reply::status(503).header("retry-after", "3"), 3_000),
    ] {
        let clock = skipping();
        let provider = Provider::scripted_at(&clock, [reply.clone(), Reply::status(200)]).await;
        let open = Scene::of(guests::HTTP_SEND).with(&provider).clock(&clock).open().await;
        open.output("send", json!({"url": "{api}/x"})).await;
        let seen = provider.seen();
        let waited_ms = seen[1].at.unwrap().since(seen[0].at.unwrap());
        assert!((wait_ms..=wait_ms + 250).contains(&waited_ms), "{reply:?}: {waited_ms}");
    }
    for garbage in ["", "soon", "-3", "1e9", "0", "99999999999999999999", "Sun, 99 Nov 2026 00:00:00 GMT"] {
        let (answer, provider, _open) =
            get([Reply::status(429).header("retry-after", garbage), Reply::status(200)]).await;
        if garbage.len() == 20 {
            assert_eq!(*answer.unwrap_err().kind(), Kind::RateLimited);
        } else {
            assert_eq!(answer.unwrap()["status"], 200, "{garbage}");
            assert_eq!(provider.count(), 2);
        }
    }
}

/// Whoever would have to wait longer than a wait may last hears when to come back, instead of being kept.
#[tokio::test]
async fn a_long_retry_after_is_handed_on() {
    let (answer, provider, _open) = get([Reply::status(429).header("retry-after", "3600")]).await;
    let error = answer.unwrap_err();
    assert_eq!((error.kind(), provider.count()), (&Kind::RateLimited, 1));
    assert_eq!(error.retry_at(), Some(NOW.plus(3_600_000)));
    // A 429 that says nothing is answered with the guide's minute, for the caller's eyes.
    let provider = Provider::scripted([Reply::status(429)]).await;
    let open = Scene::of(guests::HTTP_SEND).with(&provider).grant(|c| c.limits.attempts = 1).open().await;
    let error = open.error("send", json!({"url": "{api}/x"})).await;
    assert_eq!(error.retry_at(), Some(NOW.plus(60_000)));
}

/// A rate message inside a 200 (S43) is a rate limit to the retry and the caller alike.
#[tokio::test]
async fn guide_s43_a_rate_limit_in_a_200_is_one() {
    const RULE: &str = r#"
        [[answers]]
        origin = "api"
        status = [200]
        pointer = "/result"
        contains = "RATE limit"
        and = [{ pointer = "/status", equals = "0" }]
        kind = "rate-limited"
        retry_after_s = 2
        code = "/result"
    "#;
    let limited = || Reply::json(&json!({"status": "0", "result": "Max rate limit reached"}));
    let provider =
        Provider::scripted([limited(), Reply::json(&json!({"status": "1", "result": "rate limit: none"}))]).await;
    let open = Scene::of(guests::HTTP_SEND).with(&provider).manifest(RULE).open().await;
    let told = open.output("send", json!({"url": "{api}/x"})).await;
    assert_eq!(told["attempts"], 2);
    assert!((2_000..=2_250).contains(&open.waits_ms()[0]), "{:?}", open.waits_ms());
    let provider = Provider::scripted([limited()]).await;
    let open = Scene::of(guests::HTTP_SEND).with(&provider).manifest(RULE).open().await;
    let error = open.error("send", json!({"url": "{api}/x"})).await;
    assert_eq!((error.kind(), error.attempts(), error.status()), (&Kind::RateLimited, 5, Some(200)));
    assert_eq!(error.provider_code(), Some("Max rate limit reached"));
}

#[tokio::test]
async fn an_errors_body_is_kept_to_a_thousand_bytes() {
    let (answer, _provider, _open) = get([Reply::status(404).body("ä".repeat(5_000))]).await;
    let error = answer.unwrap_err();
    assert_eq!(error.body().unwrap(), "ä".repeat(500));
}

/// A 200 that the plugin finds to be an error is no good answer: it is not kept, however long the plugin said that a good
/// one holds, and the last good one stays.
#[tokio::test]
pub(super) async fn http_judges() {
    let provider = Provider::scripted([
        Reply::status(200).body("error: not yet"),
        Reply::status(200).body("good"),
        Reply::status(200).body("error: busy"),
        Reply::status(503),
    ])
    .await;
    let clock = skipping();
    let open = Scene::of(guests::HTTP_JUDGES).with(&provider).clock(&clock).open().await;
    let ask = async || open.call("send", json!({"url": "{api}/judged", "keep": 60})).await;
    assert_eq!(*ask().await.unwrap_err().kind(), Kind::ProviderReported);
    assert_eq!(ask().await.unwrap().output["body"], "good", "an error was kept");
    assert_eq!(ask().await.unwrap().output["source"], "cache");
    clock.advance(60_000);
    assert_eq!(*ask().await.unwrap_err().kind(), Kind::ProviderReported);
    let answer = ask().await.unwrap().output;
    assert_eq!((&answer["body"], answer["age_ms"].as_u64() > Some(60_000)), (&json!("good"), true), "{answer}");
}
