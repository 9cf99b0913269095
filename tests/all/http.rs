//! `http`: the whole outbound path, through a guest, against a provider made of a plain socket.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use wharfage::{Clock, Connection, Error, Kind, ManualClock, NetworkStage, RequestSent, Severity, Step, Timestamp};
use wharfage_tests::{API_KEY, NOW, Open, Provider, Reply, Scene, USER, guests, skipping, until};

use crate::assert_exists;

wharfage_tests::foreach_http!(assert_exists);

async fn open(provider: &Provider) -> Open {
    Scene::of(guests::HTTP_SEND).with(provider).open().await
}

/// One GET of `/x` with these replies in turn: what came of it, and the provider.
async fn get(replies: impl IntoIterator<Item = Reply>) -> (Result<Value, Error>, Provider, Open) {
    let provider = Provider::scripted(replies).await;
    let open = open(&provider).await;
    let answer = open.call("send", json!({"url": "{api}/x"})).await;
    (answer.map(|answer| answer.output), provider, open)
}

fn denied(rule: &str) -> Kind {
    Kind::PolicyDenied(rule.to_owned())
}

fn header<'a>(answer: &'a Value, name: &str) -> Option<&'a str> {
    let headers = answer["headers"].as_array().unwrap();
    headers.iter().find(|pair| pair[0].as_str() == Some(name)).and_then(|pair| pair[1].as_str())
}

// ---------------------------------------------------------------------------------------------- there and back

pub(crate) use crate::kept::r13_a_kept_url_stands_nowhere as http_kept;

#[tokio::test]
async fn http_send() {
    let reply = Reply::json(&json!({"number": "SO-7"})).header("x-request-id", "r-1").header("x-shape", "caf\u{e9}");
    let provider = Provider::scripted([reply]).await;
    let open = open(&provider).await;
    let answer = open
        .call(
            "send",
            json!({"method": "POST", "url": "{api}/orders?a=1&b=%20c", "headers": [["x-shop", "7"], ["content-type", "application/json"]],
                "body": "{\"total\":\"12.30\"}"}),
        )
        .await
        .unwrap();
    let told = &answer.output;
    assert_eq!(told["status"], 200);
    assert_eq!(told["body"], "{\"number\":\"SO-7\"}");
    assert_eq!((&told["source"], &told["age_ms"], &told["attempts"]), (&json!("live"), &json!(0), &json!(1)));
    assert_eq!(told["request_id"], "r-1");
    assert_eq!(told["url"], format!("{}/orders?a=1&b=%20c", provider.url()));
    assert_eq!(header(told, "content-type"), Some("application/json"));
    assert_eq!(answer.attempts, 1);

    let seen = &provider.seen()[0];
    assert_eq!((seen.method.as_str(), seen.target.as_str()), ("POST", "/orders?a=1&b=%20c"));
    assert_eq!(seen.body, b"{\"total\":\"12.30\"}");
    assert_eq!(seen.header("content-length"), Some("17"));
    assert_eq!(seen.header("authorization"), Some(&*format!("App {API_KEY}")));
    assert_eq!(seen.header("x-shop"), Some("7"));
    assert_eq!(seen.header("host"), provider.url().strip_prefix("http://"));
    assert!(seen.header("user-agent").unwrap().starts_with("wharfage/"));
    assert_eq!(seen.header("accept"), Some("application/json"));
    for absent in ["cookie", "referer", "origin", "forwarded", "x-forwarded-for", "via"] {
        assert_eq!(seen.header(absent), None, "{absent}");
    }
}

/// 32 MiB, where a whole answer may have 64 KiB.
#[tokio::test]
async fn http_stream() {
    const BYTES: usize = 32 << 20;
    let reply = Reply::status(200).header("x-request-id", "r-1").body(vec![b'x'; BYTES]);
    let provider = Provider::scripted([reply]).await;
    let open = Scene::of(guests::HTTP_STREAM)
        .with(&provider)
        .grant(|connection| connection.limits.response_body_bytes = 64 << 10)
        .open()
        .await;
    let told = open.output("open", json!({"url": "{api}/large", "max": 100_000})).await;
    assert_eq!((&told["bytes"], &told["is_over"], &told["status"]), (&json!(BYTES), &json!(true), &json!(200)));
    assert!(told["largest"].as_u64().unwrap() <= 100_000 && told["pieces"].as_u64().unwrap() >= 335, "{told}");
    assert_eq!((&told["attempts"], told["url"].as_str()), (&json!(1), Some(&*format!("{}/large", provider.url()))));
    assert_eq!(header(&told, "x-request-id"), Some("r-1"));
}

#[tokio::test]
async fn every_method_goes_as_it_is() {
    let provider = Provider::scripted([Reply::status(200).body("answer")]).await;
    let open = open(&provider).await;
    for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"] {
        let told = open.output("send", json!({"method": method, "url": "{api}/x"})).await;
        assert_eq!(told["body_bytes"], if method == "HEAD" { 0 } else { 6 }, "{method}");
    }
    let methods: Vec<String> = provider.seen().into_iter().map(|seen| seen.method).collect();
    assert_eq!(methods, ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]);
    assert_eq!(provider.connections(), 1, "a connection is used again");
}

#[tokio::test]
async fn the_provider_may_answer_nothing_html_and_any_bytes() {
    for (reply, bytes) in [
        (Reply::status(200), 0),
        (Reply::status(204), 0),
        (Reply::status(200).header("content-type", "text/html").body("<html>Just a moment…</html>"), 29),
        (Reply::status(200).body(vec![0, 255, 254, 128]), 4),
        (Reply::raw("HTTP/1.1 200\r\n\r\nuntil the end"), 13),
        (Reply::raw("HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok"), 2),
        (Reply::raw("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"), 3),
        (Reply::raw("HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"), 2),
    ] {
        let name = format!("{reply:?}");
        let (answer, provider, _open) = get([reply]).await;
        assert_eq!(answer.unwrap()["body_bytes"], bytes, "{name}");
        assert_eq!(provider.count(), 1);
    }
}

// ---------------------------------------------------------------------------------------------- what a status means

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

// ---------------------------------------------------------------------------------------------- what gets lost

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
    let provider = Provider::scripted([Reply::status(200)]).await;
    // Two calls of five attempts each; the breaker would refuse the second.
    let scene = Scene::of(guests::HTTP_SEND).with(&provider).grant(|connection| connection.breaker.enabled = false);
    drop(provider);
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

// ---------------------------------------------------------------------------------------------- what is too large

#[tokio::test]
async fn an_answer_too_large_is_cut_off_early() {
    const LIMIT: u64 = 256 << 10;
    // What lies in buffers on the way; far less than what the provider would like to send.
    const ON_THE_WAY: u64 = 16 << 20;
    for reply in [Reply::declared(1 << 40), Reply::declared(LIMIT + 1), Reply::endless(), Reply::gzip_bomb(256 << 20)] {
        let name = format!("{reply:?}");
        let provider = Provider::scripted([reply]).await;
        let open = Scene::of(guests::HTTP_SEND)
            .with(&provider)
            .grant(|connection| connection.limits.response_body_bytes = LIMIT)
            .open()
            .await;
        let error = open.error("send", json!({"url": "{api}/x"})).await;
        assert_eq!(*error.kind(), Kind::TooLarge, "{name:.80}: {error:?}");
        assert_eq!((error.attempts(), provider.count()), (1, 1), "asking again makes it no smaller");
        assert!(error.message().contains("response_body_bytes"), "{error}");
        assert!(provider.bytes_written() < ON_THE_WAY, "{name:.80}: {} bytes", provider.bytes_written());
    }
    let provider = Provider::scripted([Reply::status(200).body(vec![b'x'; LIMIT as usize])]).await;
    let open = Scene::of(guests::HTTP_SEND)
        .with(&provider)
        .grant(|connection| connection.limits.response_body_bytes = LIMIT)
        .open()
        .await;
    assert_eq!(
        open.output("send", json!({"url": "{api}/x"})).await["body_bytes"],
        LIMIT,
        "the limit itself is allowed"
    );
}

#[tokio::test]
async fn headers_without_end_are_too_much() {
    let mut flood = "HTTP/1.1 200 OK\r\n".to_owned();
    for number in 0..2_000 {
        flood.push_str(&format!("x-flood-{number}: {}\r\n", "y".repeat(100)));
    }
    flood.push_str("content-length: 0\r\n\r\n");
    // Many fields, very many, and just one too many: each is told as what it is, and asked for once.
    let fields =
        |count: usize| (0..count).fold(Reply::status(200), |reply, number| reply.header(&format!("x-{number}"), "y"));
    for reply in [Reply::raw(flood), fields(300), fields(100)] {
        let (answer, provider, _open) = get([reply]).await;
        let error = answer.unwrap_err();
        assert_eq!((error.kind(), provider.count()), (&Kind::TooLarge, 1), "{error:?}");
        assert!(error.to_string().contains("limits.headers"), "{error}");
    }
    // With its own content-length that makes 100.
    assert_eq!(get([fields(99)]).await.0.unwrap()["status"], 200);
    let (answer, _provider, _open) = get([Reply::status(200).header("x-large", &"y".repeat(40_000))]).await;
    let error = answer.unwrap_err();
    assert_eq!(*error.kind(), Kind::TooLarge, "{error:?}");
}

#[tokio::test]
async fn a_packed_answer_is_unpacked_and_an_unknown_packing_refused() {
    let (answer, provider, _open) = get([Reply::gzip_bomb(128 << 10)]).await;
    assert_eq!(answer.unwrap()["body_bytes"], 128 << 10);
    assert_eq!(provider.seen()[0].header("accept-encoding"), Some("gzip"));
    for coding in ["br", "zstd", "gzip, gzip", "made-up"] {
        let (answer, _provider, _open) = get([Reply::status(200).header("content-encoding", coding).body("???")]).await;
        let error = answer.unwrap_err();
        assert!(matches!(error.kind(), Kind::SchemaViolation | Kind::Network(_)), "{coding}: {error:?}");
    }
}

#[tokio::test]
async fn a_request_too_large_does_not_leave() {
    let provider = Provider::scripted([Reply::status(200)]).await;
    let open = Scene::of(guests::HTTP_SEND)
        .with(&provider)
        .grant(|connection| {
            connection.limits.request_body_bytes = 100;
            connection.limits.url_bytes = 200;
            connection.limits.headers = 2;
            connection.limits.header_bytes = 50;
        })
        .open()
        .await;
    for (input, limit) in [
        (json!({"method": "POST", "url": "{api}/", "body": "x".repeat(101)}), "request_body_bytes"),
        (json!({"url": format!("{{api}}/{}", "x".repeat(200))}), "url_bytes"),
        (json!({"url": "{api}/", "headers": [["a", "1"], ["b", "2"], ["c", "3"]]}), "headers"),
        (json!({"url": "{api}/", "headers": [["a", "x".repeat(60)]]}), "header_bytes"),
    ] {
        let error = open.error("send", input).await;
        assert_eq!(*error.kind(), Kind::LimitExceeded(limit.to_owned()), "{error:?}");
    }
    assert_eq!(provider.count(), 0);
}

// ---------------------------------------------------------------------------------------------- credentials

#[tokio::test]
async fn a_credential_is_placed_as_it_is_declared() {
    let provider = Provider::scripted([Reply::status(200)]).await;
    let open = open(&provider).await;
    for (credential, authorization, target) in [
        (None, Some(format!("App {API_KEY}")), "/x"),
        (Some("bearer"), Some(format!("Bearer {API_KEY}")), "/x"),
        (Some("pair"), Some("Basic aGFyYm91ci1tYXN0ZXI6d2hhcmYtczNjcmV0LTA0NTEtYmVydGgrY3JhbmUvNw==".to_owned()), "/x"),
        (Some("in-query"), None, "/x?apikey=wharf-s3cret-0451-berth%2Bcrane%2F7"),
        (Some("anonymous"), None, "/x"),
    ] {
        let told = open.output("send", json!({"url": "{api}/x", "credential": credential})).await;
        let seen = provider.seen().pop().unwrap();
        assert_eq!(
            (seen.header("authorization"), seen.target.as_str()),
            (authorization.as_deref(), target),
            "{credential:?}"
        );
        assert_eq!(
            told["url"],
            format!("{}/x", provider.url()),
            "the URL that a plugin sees is the one without the credential"
        );
    }
    let signed: Vec<Step> = open.steps().into_iter().filter(|step| matches!(step, Step::Signed { .. })).collect();
    assert_eq!(signed.len(), 4);
    assert!(!format!("{signed:?}").contains(API_KEY));
}

/// Item 21 and S8 of the lessons: what cannot be signed is not sent at all.
#[tokio::test]
async fn without_the_secret_nothing_leaves() {
    let provider = Provider::scripted([Reply::status(200)]).await;
    let open = Scene::of(guests::HTTP_SEND).with(&provider).grant(|connection| connection.secrets.clear()).open().await;
    let error = open.error("send", json!({"url": "{api}/x"})).await;
    assert_eq!((error.kind(), error.request_sent()), (&Kind::CredentialUnavailable, RequestSent::No));
    assert_eq!(provider.count(), 0);
    open.output("send", json!({"url": "{api}/x", "credential": "anonymous"})).await;
}

#[tokio::test]
async fn a_credential_goes_to_its_own_origins_only() {
    let (api, other) = (Provider::scripted([Reply::status(200)]).await, Provider::scripted([Reply::status(200)]).await);
    let open = Scene::of(guests::HTTP_SEND).with(&api).at("other", &other.url()).open().await;
    for credential in ["key", "bearer", "in-query", "no-such"] {
        let error = open.error("send", json!({"url": "{other}/x", "credential": credential})).await;
        assert_eq!(*error.kind(), denied("credential"), "{error:?}");
    }
    assert_eq!(other.count(), 0);
    open.output("send", json!({"url": "{other}/x"})).await;
    assert_eq!(other.seen()[0].header("authorization"), None);
}

#[tokio::test]
async fn a_plugin_cannot_set_the_hosts_query_parameter() {
    let provider = Provider::scripted([Reply::status(200)]).await;
    let open = open(&provider).await;
    for query in ["apikey=x", "a=1&apikey=", "apikey", "%61pikey=x"] {
        let error = open.error("send", json!({"url": format!("{{api}}/x?{query}"), "credential": "in-query"})).await;
        assert_eq!(*error.kind(), denied("credential"), "{query}: {error:?}");
    }
    assert_eq!(provider.count(), 0);
}

/// More places for the same key, and one that is for less than the origin.
const PLACES: &str = r#"
[credentials.in-cookie]
scheme = "api-key"
secret = "api_key"
cookie = "session"
origins = ["api"]

[credentials.in-body]
scheme = "api-key"
secret = "api_key"
body = "key"
origins = ["api"]

[credentials.in-path]
scheme = "api-key"
secret = "api_key"
path = "{key}"
origins = ["api"]

[credentials.narrow]
scheme = "bearer"
secret = "api_key"
origins = ["api"]
methods = ["GET"]
paths = ["/v1/**"]
"#;

async fn placing(provider: &Provider) -> Open {
    Scene::of(guests::HTTP_SEND).manifest(PLACES).with(provider).open().await
}

#[tokio::test]
async fn a_key_goes_into_a_cookie_a_body_or_a_path() {
    let provider = Provider::scripted([Reply::status(200)]).await;
    let open = placing(&provider).await;
    open.output("send", json!({"credential": "in-cookie"})).await;
    assert_eq!(provider.seen().pop().unwrap().header("cookie"), Some(&*format!("session={API_KEY}")));
    for (kind, body, sent) in [
        ("application/x-www-form-urlencoded", "a=1", "a=1&key=wharf-s3cret-0451-berth%2Bcrane%2F7".to_owned()),
        ("application/json", "{\"a\":1.0}", format!("{{\"key\":\"{API_KEY}\",\"a\":1.0}}")),
    ] {
        let input =
            json!({"method": "POST", "headers": [["content-type", kind]], "body": body, "credential": "in-body"});
        open.output("send", input).await;
        assert_eq!(String::from_utf8(provider.seen().pop().unwrap().body).unwrap(), sent);
    }
    let told = open.output("send", json!({"url": "{api}/bot{key}/send?a=1", "credential": "in-path"})).await;
    let encoded = API_KEY.replace('/', "%2F");
    assert_eq!(provider.seen().pop().unwrap().target, format!("/bot{encoded}/send?a=1"));
    assert_eq!(
        told["url"],
        format!("{}/bot%7Bkey%7D/send?a=1", provider.url()),
        "the marker stays where it can be seen"
    );
}

/// L9: what is made of a secret is masked like it.
#[tokio::test]
async fn what_the_host_signs_is_signed_at_its_time_and_does_not_come_back() {
    let schemes = r#"
[credentials.app]
scheme = "jwt"
secret = "api_key"
algorithm = "HS256"
issuer = "user"
origins = ["api"]

[credentials.signed]
scheme = "aws-sigv4"
access_key = "user"
secret = "api_key"
region = "here-1"
service = "x"
origins = ["api"]
"#;
    let clock = ManualClock::skipping(Timestamp::from_millis(1_440_938_160_000), 1);
    let provider = Provider::answering(|seen| Reply::status(200).body(seen.text())).await;
    let open = Scene::of(guests::HTTP_SEND).manifest(schemes).with(&provider).clock(&clock).open().await;
    let told = open.output("send", json!({"url": "{api}/x", "credential": "signed"})).await;
    let seen = provider.seen().pop().unwrap();
    assert_eq!(seen.header("x-amz-date"), Some("20150830T123600Z"));
    let authorization = seen.header("authorization").unwrap();
    let scope = format!(
        "AWS4-HMAC-SHA256 Credential={USER}/20150830/here-1/x/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date"
    );
    assert!(authorization.starts_with(&scope), "{authorization}");
    let signature = authorization.split("Signature=").nth(1).unwrap();
    assert!(!told.to_string().contains(signature) && told.to_string().contains("[masked]"), "{told}");
    // The same token until shortly before its end.
    let mut tokens = Vec::new();
    for advance_ms in [0, 239_000, 2_000] {
        clock.advance(advance_ms);
        let told = open.output("send", json!({"url": "{api}/x", "credential": "app"})).await.to_string();
        tokens.push(provider.seen().pop().unwrap().header("authorization").unwrap().to_owned());
        assert!(
            told.contains("[masked]") && !told.contains(tokens.last().unwrap().split('.').nth(2).unwrap()),
            "{told}"
        );
    }
    assert!(tokens[0].starts_with("Bearer eyJ") && tokens[0] == tokens[1] && tokens[1] != tokens[2]);
    // What the host sets the plugin does not.
    let error = open.error("send", json!({"headers": [["x-amz-date", "1"]], "credential": "signed"})).await;
    assert_eq!(*error.kind(), denied("credential"));
}

/// L8: what stands for a credential never leaves, and a credential is never left out in silence.
#[tokio::test]
async fn no_marker_leaves_and_nothing_is_sent_unsigned() {
    let provider = Provider::scripted([Reply::status(200)]).await;
    let open = placing(&provider).await;
    let json_type = json!([["content-type", "application/json"]]);
    for input in [
        json!({"url": "{api}/send", "credential": "in-path"}),
        json!({"url": "{api}/{key}/{key}", "credential": "in-path"}),
        json!({"url": "{api}/{key}?a={key}", "credential": "in-path"}),
        json!({"url": "{api}/x?a=%7bKEY%7d", "credential": "anonymous"}),
        json!({"url": "{api}/{key}"}),
        json!({"url": "{api}/{key}", "credential": "bearer"}),
        json!({"headers": [["x-a", "{key}"]], "credential": "anonymous"}),
        json!({"method": "POST", "credential": "in-body"}),
        json!({"method": "POST", "body": "{}", "credential": "in-body"}),
        json!({"method": "POST", "body": "[]", "headers": json_type, "credential": "in-body"}),
        json!({"method": "POST", "body": "{\"key\":1}", "headers": json_type, "credential": "in-body"}),
    ] {
        let error = open.error("send", input.clone()).await;
        assert_eq!(
            (error.kind(), error.request_sent()),
            (&denied("credential"), RequestSent::No),
            "{input}: {error:?}"
        );
    }
    assert_eq!(provider.count(), 0);
}

/// L7: an origin may be granted whole, and the credential be for a part of it.
#[tokio::test]
async fn a_credential_goes_with_its_own_methods_to_its_own_paths() {
    let provider = Provider::scripted([Reply::status(200)]).await;
    let open = placing(&provider).await;
    for (method, path) in [("POST", "/v1/x"), ("GET", "/v2/x"), ("GET", "/v1x"), ("HEAD", "/v1/x")] {
        let input = json!({"method": method, "url": format!("{{api}}{path}"), "credential": "narrow"});
        let error = open.error("send", input).await;
        assert_eq!(*error.kind(), denied("credential"), "{method} {path}: {error:?}");
        let details = error.details().unwrap();
        assert!(details.contains("GET to the paths /v1/**") && details.contains("[credentials.narrow]"), "{details}");
    }
    assert_eq!(provider.count(), 0);
    open.output("send", json!({"url": "{api}/v1/x", "credential": "narrow"})).await;
    // A redirect out of it loses the way, not the rule.
    let provider = Provider::scripted([Reply::status(302).header("location", "/v2/x"), Reply::status(200)]).await;
    let open = placing(&provider).await;
    let error = open.error("send", json!({"url": "{api}/v1/x", "credential": "narrow"})).await;
    assert_eq!((error.kind(), provider.count()), (&denied("credential"), 1));
}

/// A provider that shows what it was sent (as httpbin does) would hand the key to the plugin.
#[tokio::test]
async fn a_secret_that_comes_back_is_masked() {
    let echo = |seen: &wharfage_tests::Seen| {
        let key = seen.text();
        let quoted = json!(key).to_string();
        let hex: String = API_KEY.bytes().map(|byte| format!("{byte:02X}")).collect();
        let reply = if seen.target.contains("fail") { Reply::status(400) } else { Reply::status(200) };
        reply
            .header("x-echo", seen.header("authorization").unwrap_or("none"))
            .header("x-request-id", API_KEY)
            .header("set-cookie", "session=1")
            .header("x-api-key", "refreshed")
            .header("authorization", "Bearer refreshed")
            .body(format!("{key}\n{quoted}\n{hex}\n{}", seen.target))
    };
    let provider = Provider::answering(echo).await;
    let open = open(&provider).await;
    for credential in ["key", "bearer", "pair", "in-query"] {
        for path in ["ok", "fail"] {
            let answer = open.call("send", json!({"url": format!("{{api}}/{path}"), "credential": credential})).await;
            let shown = match &answer {
                Ok(answer) => answer.output.to_string(),
                Err(error) => format!("{error:?} {:?} {:?}", error.body(), error.request_id()),
            };
            for leak in [
                API_KEY,
                "wharf-s3cret",
                "berth%2Bcrane",
                "d2hhcmYtczNjcmV0LTA0NTEt",
                "77686172662D7333637265742D",
                "session=1",
                "refreshed",
            ] {
                assert!(!shown.contains(leak), "{credential} {path}: {leak} came back in {shown}");
            }
            assert!(shown.contains("[masked]"), "{credential} {path}: {shown}");
        }
    }
}

// ---------------------------------------------------------------------------------------------- where it may go

#[tokio::test]
async fn what_is_not_granted_does_not_leave() {
    let (provider, elsewhere) =
        (Provider::scripted([Reply::status(200)]).await, Provider::scripted([Reply::status(200)]).await);
    let open = Scene::of(guests::HTTP_SEND)
        .with(&provider)
        .manifest_with(
            "methods = [\"GET\", \"HEAD\", \"POST\", \"PUT\", \"PATCH\", \"DELETE\"]\npaths = [\"/**\"]",
            "methods = [\"GET\"]\npaths = [\"/orders/*\", \"/open/**\"]",
        )
        .open()
        .await;
    let at = |rest: &str| format!("{}{rest}", provider.url());
    let port = provider.port();
    for (method, url, rule) in [
        ("GET", elsewhere.url() + "/orders/1", "origin"),
        ("GET", "{other}/orders/1".into(), "origin"),
        ("GET", "{nowhere}/orders/1".into(), "origin"),
        ("GET", format!("https://127.0.0.1:{port}/orders/1"), "origin"),
        ("GET", format!("http://localhost:{port}/orders/1"), "origin"),
        ("GET", format!("http://127.0.0.1.nip.io:{port}/orders/1"), "origin"),
        ("GET", "http://127.0.0.1/orders/1".into(), "origin"),
        ("POST", "{api}/orders/1".into(), "method"),
        ("GET", "{api}/orders".into(), "path"),
        ("GET", "{api}/orders/".into(), "path"),
        ("GET", "{api}/orders/1/2".into(), "path"),
        ("GET", "{api}/other".into(), "path"),
        ("GET", "{api}".into(), "path"),
        ("GET", "{api}x/orders/1".into(), "url"),
        ("GET", "{api".into(), "url"),
        ("GET", "".into(), "url"),
        ("GET", "/orders/1".into(), "url"),
        ("GET", "//127.0.0.1/orders/1".into(), "url"),
        ("GET", "file:///etc/passwd".into(), "url"),
        ("GET", "ftp://127.0.0.1/orders/1".into(), "url"),
        ("GET", "{api}/open/../orders".into(), "url"),
        ("GET", "{api}/open/%2e%2e/orders".into(), "url"),
        ("GET", "{api}/open/.%2E/orders".into(), "url"),
        ("GET", "{api}/open/a%2fb".into(), "url"),
        ("GET", "{api}/open\\..\\x".into(), "url"),
        ("GET", "{api}/open/..;/x".into(), "url"),
        ("GET", "{api}/open/a b".into(), "url"),
        ("GET", "{api}/open/\r\nx-injected: 1".into(), "url"),
        ("GET", "{api}/open/x HTTP/1.1\r\nhost: evil\r\n\r\n".into(), "url"),
        ("GET", "{api}/open/%00".into(), "url"),
        ("GET", "{api}/open/#fragment".into(), "url"),
        ("GET", "{api}/open/\t".into(), "url"),
        ("GET", format!("http://user:pass@127.0.0.1:{port}/orders/1"), "url"),
        ("GET", format!("http://127.0.0.1:{port}@evil.test/orders/1"), "url"),
        ("GET", format!("http:\\\\127.0.0.1:{port}\\orders\\1"), "url"),
        ("GET", format!("http://127.0.0.1:{port}\\@evil.test/orders/1"), "url"),
        ("GET", format!("http:127.0.0.1:{port}/orders/1"), "url"),
        ("GET", format!(" {}", at("/orders/1")), "url"),
    ] {
        let error = open.error("send", json!({"method": method, "url": url})).await;
        assert_eq!(*error.kind(), denied(rule), "{method} {url}: {error:?}");
        assert_eq!((error.request_sent(), error.attempts()), (RequestSent::No, 0), "{method} {url}");
    }
    assert_eq!((provider.connections(), elsewhere.connections()), (0, 0));
    // The same place, written otherwise, is the same place.
    for url in [
        at("/orders/1?a=%2e%2e/x"),
        format!("HTTP://127.0.0.1:{port}/orders/1"),
        format!("http://2130706433:{port}/orders/1"),
        format!("http://0x7f.1:{port}/orders/1"),
        "{api}/open/".into(),
        "{api}/open".into(),
    ] {
        open.output("send", json!({"url": url})).await;
    }
    assert!(provider.seen().iter().all(|seen| seen.header("host") == provider.url().strip_prefix("http://")));
}

#[tokio::test]
async fn a_refusal_names_the_rule_and_shows_no_query() {
    let provider = Provider::scripted([Reply::status(200)]).await;
    let open = open(&provider).await;
    let error = open.error("send", json!({"url": "https://example.org/x?token=hidden"})).await;
    assert_eq!(error.message(), "http-send wanted GET https://example.org/x, which connection `acme` does not grant.");
    assert!(!format!("{error:?}").contains("hidden"));
    assert!(error.details().unwrap().contains("The manifest of http-send does not ask for this"), "{error}");
    assert!(
        open.steps().iter().any(|step| matches!(step, Step::Refused { message } if message.contains("example.org")))
    );
}

/// Who forgot to state an origin was told that there is no such name, and who was told to state one that the manifest
/// never asks for got nothing by it.
#[tokio::test]
async fn a_refusal_tells_unstated_from_unasked_and_its_line_helps() {
    let provider = Provider::scripted([Reply::status(200)]).await;
    let open = Scene::of(guests::HTTP_SEND).with(&provider).grant(|connection| connection.origins.clear()).open().await;
    let unstated = open.error("send", json!({"url": "{api}/x"})).await;
    assert_eq!(unstated.kind(), &denied("origin"));
    let line = unstated.details().unwrap().split("   ").last().unwrap().to_owned();
    assert_eq!(line, format!("origins = [\"http://127.0.0.1:{}\"]", provider.port()));
    let origin = format!("http://127.0.0.1:{}", provider.port());
    let stated = Scene::of(guests::HTTP_SEND).with(&provider).grant(|connection| connection.origins = vec![origin]);
    let open = stated.open().await;
    open.call("send", json!({"url": "{api}/x"})).await.unwrap();
    let unasked = open.error("send", json!({"url": "https://example.org/x"})).await;
    assert!(unasked.details().unwrap().contains("does not ask for this"), "{unasked}");
}

#[tokio::test]
async fn a_private_address_is_dialled_only_where_it_is_granted() {
    for (base, refused) in [
        ("http://127.0.0.1:PORT", "loopback"),
        ("http://localhost:PORT", "loopback"),
        ("http://api.localhost:PORT", "loopback"),
        ("http://[::1]:PORT", "loopback"),
        ("http://[::ffff:127.0.0.1]:PORT", "loopback"),
        ("http://2130706433:PORT", "loopback"),
        ("http://0x7f.1:PORT", "loopback"),
        ("http://0.0.0.0:PORT", ""),
        ("http://169.254.169.254", ""),
        ("http://[fd00:ec2::254]", ""),
        ("http://10.0.0.1", "private"),
        ("http://192.168.1.1", "private"),
        ("http://100.64.0.1", ""),
        ("http://[64:ff9b::7f00:1]", "loopback"),
        ("http://[2002:7f00:1::]", "loopback"),
    ] {
        let provider = Provider::scripted([Reply::status(200)]).await;
        let base = base.replace("PORT", &provider.port().to_string());
        let open = Scene::of(guests::HTTP_SEND)
            .at("api", &base)
            .grant(|connection| connection.private_addresses.clear())
            .open()
            .await;
        let error = open.error("send", json!({"url": "{api}/x"})).await;
        assert_eq!(*error.kind(), denied("address"), "{base}: {error:?}");
        assert!(error.message().to_lowercase().contains(refused), "{base}: it does not say what it is: {error}");
        assert_eq!((provider.connections(), error.request_sent()), (0, RequestSent::No));
    }
    // A grant of one address is no grant of another.
    let provider = Provider::scripted([Reply::status(200)]).await;
    let open = Scene::of(guests::HTTP_SEND)
        .with(&provider)
        .grant(|connection| {
            connection.private_addresses = vec!["127.0.0.2/32".parse().unwrap(), "10.0.0.0/8".parse().unwrap()]
        })
        .open()
        .await;
    assert_eq!(*open.error("send", json!({"url": "{api}/x"})).await.kind(), denied("address"));
}

#[tokio::test]
async fn a_name_of_this_machine_needs_no_question_to_anybody() {
    let provider = Provider::scripted([Reply::status(200)]).await;
    let open = Scene::of(guests::HTTP_SEND)
        .at("api", &format!("http://api.localhost:{}", provider.port()))
        .grant(|connection| {
            connection.private_addresses = vec!["127.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()]
        })
        .open()
        .await;
    open.output("send", json!({"url": "{api}/x"})).await;
    assert_eq!(provider.seen()[0].header("host"), Some(&*format!("api.localhost:{}", provider.port())));
}

/// The guide's pager followed `next` wherever it pointed, with the key on the request.
#[tokio::test]
async fn guide_s34_a_next_url_elsewhere_gets_nothing() {
    let elsewhere = Provider::scripted([Reply::status(200)]).await;
    let provider = Provider::scripted([Reply::json(&json!({"next": elsewhere.url() + "/orders?page=2"}))]).await;
    let open = open(&provider).await;
    let first = open.output("send", json!({"url": "{api}/orders"})).await;
    let next: Value = serde_json::from_str(first["body"].as_str().unwrap()).unwrap();
    let error = open.error("send", json!({"url": next["next"]})).await;
    assert_eq!(*error.kind(), denied("origin"));
    assert_eq!(elsewhere.connections(), 0);
}

// ---------------------------------------------------------------------------------------------- redirects

#[tokio::test]
async fn a_redirect_inside_the_origin_is_followed_with_the_credential() {
    for status in [301, 302, 303, 307, 308] {
        let provider =
            Provider::scripted([Reply::redirect(status, "../there?x=1#part"), Reply::status(200).body("there")]).await;
        let open = open(&provider).await;
        let told = open.output("send", json!({"url": "{api}/a/b"})).await;
        assert_eq!(told["body"], "there");
        assert_eq!(told["url"], provider.url() + "/there?x=1");
        let seen = provider.seen();
        assert_eq!((seen[1].method.as_str(), seen[1].target.as_str()), ("GET", "/there?x=1"), "{status}");
        assert_eq!(seen[1].header("authorization"), Some(&*format!("App {API_KEY}")));
        assert_eq!(seen[1].header("referer"), None);
        assert!(open.steps().iter().any(|step| matches!(step, Step::Redirected { to } if to.ends_with("/there"))));
    }
}

#[tokio::test]
async fn a_redirect_to_another_origin_loses_the_credential() {
    for status in [301, 302, 303, 307, 308] {
        let other = Provider::scripted([Reply::status(200).body("other")]).await;
        let provider = Provider::scripted([Reply::redirect(status, &(other.url() + "/there"))]).await;
        let open = Scene::of(guests::HTTP_SEND).with(&provider).at("other", &other.url()).open().await;
        for credential in ["key", "in-query"] {
            let told = open.output("send", json!({"url": "{api}/x", "credential": credential})).await;
            assert_eq!(told["body"], "other");
        }
        for seen in other.seen() {
            assert!(!seen.text().contains("wharf-s3cret"), "{status}: {}", seen.text());
        }
    }
}

/// As redirects to another shard or to a closing slash do: what the host put into the query comes back and goes there once.
#[tokio::test]
async fn a_redirect_that_keeps_the_query_keeps_the_hosts_part_of_it_once() {
    let key = url::form_urlencoded::byte_serialize(API_KEY.as_bytes()).collect::<String>();
    for (location, followed) in [
        (format!("/there?apikey={key}"), format!("/there?apikey={key}")),
        (format!("/there?a=1&apikey={key}&b=%20"), format!("/there?a=1&b=+&apikey={key}")),
    ] {
        let provider = Provider::scripted([Reply::redirect(307, &location), Reply::status(200)]).await;
        let open = open(&provider).await;
        open.output("send", json!({"url": "{api}/x", "credential": "in-query"})).await;
        assert_eq!(provider.seen()[1].target, followed, "{location}");
    }
    let provider = Provider::answering(|asked| match asked.target.strip_prefix("/x") {
        Some(query) => Reply::redirect(307, &format!("/there{query}")),
        None => Reply::status(200),
    })
    .await;
    let scene = Scene::of(guests::HTTP_SEND).manifest_with("header = \"Idempotency-Key\"", "query = \"requestid\"");
    let open = scene.with(&provider).open().await;
    open.output("write", json!({"method": "POST", "url": "{api}/x", "repeat": "keyed", "body": "{}"})).await;
    let seen = provider.seen();
    assert_eq!(seen[1].target, seen[0].target.replace("/x", "/there"));
}

#[tokio::test]
async fn a_redirect_to_a_secret_is_refused_without_a_word_of_it() {
    let key = url::form_urlencoded::byte_serialize(API_KEY.as_bytes()).collect::<String>();
    for location in [format!("https://elsewhere.test/bot{key}/x"), format!("/bot{key}/x"), format!("/x?again={key}")] {
        let (answer, provider, open) = get([Reply::redirect(302, &location), Reply::status(404)]).await;
        let error = answer.unwrap_err();
        assert_eq!((error.kind(), provider.count()), (&denied("redirect"), 1), "{location}: {error:?}");
        let told = format!("{error:?}{:?}", open.steps());
        assert!(!told.contains(&key) && !told.contains(API_KEY), "{told}");
        assert_eq!(open.plugin.leaks(), 1);
    }
}

#[tokio::test]
async fn a_redirect_outside_the_grant_is_refused() {
    let elsewhere = Provider::scripted([Reply::status(200)]).await;
    for (location, rule) in [
        (elsewhere.url() + "/there", "origin"),
        ("http://169.254.169.254/latest/meta-data/".into(), "origin"),
        ("//evil.test/".into(), "origin"),
        ("file:///etc/passwd".into(), "url"),
        ("http://user:pw@127.0.0.1/".into(), "url"),
        ("javascript:alert(1)".into(), "url"),
    ] {
        let (answer, provider, _open) = get([Reply::redirect(302, &location)]).await;
        let error = answer.unwrap_err();
        assert_eq!(*error.kind(), denied(rule), "{location}: {error:?}");
        assert_eq!((provider.count(), elsewhere.connections()), (1, 0));
        assert_eq!(error.attempts(), 1, "{location}: one request left for it");
        assert!(!error.to_string().contains("pw@"), "{error}");
    }
}

#[tokio::test]
async fn redirects_come_to_an_end() {
    let (answer, provider, _open) = get([Reply::redirect(302, "/x")]).await;
    let error = answer.unwrap_err();
    assert_eq!(*error.kind(), Kind::LimitExceeded("redirects".into()), "{error:?}");
    assert_eq!((provider.count(), error.attempts()), (6, 6), "five are followed");
    for location in ["http://[", "http://"] {
        let (answer, provider, _open) = get([Reply::redirect(302, location)]).await;
        let error = answer.unwrap_err();
        assert!(matches!(error.kind(), Kind::SchemaViolation | Kind::PolicyDenied(_)), "{location}: {error:?}");
        assert_eq!(provider.count(), 1);
    }
    // A redirect that says nowhere, and a 304 that nobody asked for, are answers like any other.
    for status in [300, 302, 304] {
        let (answer, provider, _open) = get([Reply::status(status)]).await;
        assert_eq!((answer.unwrap()["status"].as_u64(), provider.count()), (Some(status.into()), 1));
    }
}

/// R3: a body, and what the host made for the first place, never goes to another one.
#[tokio::test]
async fn r3_a_body_is_not_replayed_to_another_origin() {
    let post = |repeat: &str| {
        json!({"method": "POST", "url": "{api}/x", "body": "{\"card\":1}", "repeat": repeat,
            "headers": [["content-type", "application/json"], ["x-plain", "1"]]})
    };
    for status in [307, 308] {
        let other = Provider::scripted([Reply::status(200)]).await;
        let provider = Provider::scripted([Reply::redirect(status, &(other.url() + "/there"))]).await;
        let open = Scene::of(guests::HTTP_SEND).with(&provider).at("other", &other.url()).open().await;
        let error = open.error("write", post("by-method")).await;
        assert_eq!(*error.kind(), denied("redirect"), "{error:?}");
        assert_eq!(other.connections(), 0);

        let provider = Provider::scripted([Reply::redirect(status, "/there"), Reply::status(200)]).await;
        let open = self::open(&provider).await;
        open.output("write", post("keyed")).await;
        let seen = provider.seen();
        assert_eq!((seen[1].method.as_str(), seen[1].body.as_slice()), ("POST", &b"{\"card\":1}"[..]));
    }
    for status in [301, 302, 303] {
        let other = Provider::scripted([Reply::status(200)]).await;
        let provider = Provider::scripted([Reply::redirect(status, &(other.url() + "/there"))]).await;
        let open = Scene::of(guests::HTTP_SEND).with(&provider).at("other", &other.url()).open().await;
        open.output("write", post("keyed")).await;
        let seen = &other.seen()[0];
        assert_eq!((seen.method.as_str(), seen.body.len()), ("GET", 0));
        for absent in ["content-type", "content-length", "authorization", "idempotency-key"] {
            assert_eq!(seen.header(absent), None, "{status}: {absent}");
        }
    }
}

// ---------------------------------------------------------------------------------------------- side by side

#[tokio::test]
async fn http_send_all() {
    // The first is answered when all four have come, so they are under way at once; the answers stand in their order.
    let provider = Provider::answering(|seen| {
        let reply = if seen.target == "/2" { Reply::status(404) } else { Reply::status(200).body(seen.target.clone()) };
        reply.once_seen(4)
    })
    .await;
    let open = Scene::of(guests::HTTP_SEND_ALL).with(&provider).open().await;
    let requests: Vec<Value> = (0..4).map(|number| json!({"url": format!("{{api}}/{number}")})).collect();
    let answer = open.call("send-all", json!({"requests": requests})).await.unwrap();
    let bodies: Vec<_> = answer.output.as_array().unwrap().iter().map(|answer| answer["body"].clone()).collect();
    assert_eq!(bodies, [json!("/0"), json!("/1"), json!(null), json!("/3")]);
    assert!(answer.output[2]["error"].as_str().unwrap().contains("NotFound"), "{}", answer.output[2]);
    assert_eq!(answer.attempts, 4);
    assert_eq!(open.output("send-all", json!({"requests": []})).await, json!([]));
}

/// A list that no call could send was answered with an error for each of its requests: a plugin could have the host make
/// as many as it liked.
#[tokio::test]
async fn more_at_once_than_a_call_may_send_end_it() {
    let provider = Provider::scripted([Reply::status(200)]).await;
    let open = Scene::of(guests::HTTP_SEND_ALL)
        .with(&provider)
        .grant(|connection| connection.limits.requests = 3)
        .open()
        .await;
    let requests = |count: usize| json!({"requests": vec![json!({"url": "{api}/x"}); count]});
    open.output("send-all", requests(3)).await;
    let error = open.error("send-all", requests(4)).await;
    assert_eq!(*error.kind(), Kind::LimitExceeded("requests".to_owned()));
    assert!(error.message().contains("limit requests of 3"), "{error}");
    assert!(error.details().unwrap().contains("limits.requests on the connection"), "{error}");
    assert_eq!(provider.count(), 3);
}

#[tokio::test]
async fn no_more_are_under_way_than_allowed() {
    let provider = Provider::answering(|seen| Reply::status(200).once_seen(seen.number.next_multiple_of(2))).await;
    let open = Scene::of(guests::HTTP_SEND_ALL)
        .with(&provider)
        .grant(|connection| connection.limits.side_by_side = 2)
        .open()
        .await;
    let requests: Vec<Value> = (0..10).map(|_| json!({"url": "{api}/x"})).collect();
    open.output("send-all", json!({"requests": requests})).await;
    assert_eq!(provider.count(), 10);
    assert!(provider.connections() <= 2, "{} connections", provider.connections());
}

// ---------------------------------------------------------------------------------------------- pace

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
    assert!(open.steps().iter().any(|step| matches!(step, Step::Paced { .. })));
}

#[tokio::test]
async fn a_permit_for_so_many_at_once_comes_back_whatever_happens() {
    let provider = Provider::answering(|seen| match seen.number % 3 {
        0 => Reply::status(404),
        1 => Reply::reset(),
        _ => Reply::status(200),
    })
    .await;
    let open = Scene::of(guests::HTTP_SEND).with(&provider).manifest(&budget("concurrency = 2")).open().await;
    for _ in 0..5 {
        let calls = (0..6).map(|_| open.call("send", json!({"url": "{api}/x"})));
        futures_util::future::join_all(calls).await;
        // Whoever goes away leaves its permit behind.
        drop(tokio::time::timeout(std::time::Duration::ZERO, open.call("send", json!({"url": "{api}/x"}))).await);
    }
    open.call("send", json!({"url": "{api}/x"})).await.ok();
    assert!(provider.count() > 30);
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

/// A 200 that the plugin finds to be an error is no good answer: it is not kept, however long the plugin said that a good
/// one holds, and the last good one stays.
#[tokio::test]
async fn http_judges() {
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
