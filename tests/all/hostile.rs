//! Attacks: each ends with a typed error that names the limit it ran into, and its neighbours go on as if nothing had been.

use futures_util::StreamExt;
use serde_json::{Value, json};
use wharfage::{Blame, Kind, ManualClock, Timestamp};
use wharfage_tests::{API_KEY, Open, Provider, Reply, Scene, component, guests};

use crate::assert_exists;
use crate::canary::hostile_dumps_memory;
use crate::log::Logged;

wharfage_tests::foreach_hostile!(assert_exists);

fn limit(name: &str) -> Kind {
    Kind::LimitExceeded(name.to_owned())
}

/// Runs the attack three times beside a call that does no harm.
async fn attack(open: &Open, operation: &str, expected: &Kind) {
    for _ in 0..3 {
        let (attacked, idle) =
            tokio::join!(open.error(operation, json!({})), open.output("idle", json!({"still": "here"})));
        assert_eq!(attacked.kind(), expected, "{attacked:?}");
        assert_eq!(idle, json!({"still": "here"}));
    }
}

#[tokio::test]
async fn hostile_spin() {
    let open = Scene::of(guests::HOSTILE_SPIN).grant(|connection| connection.limits.compute_ms = 100).open().await;
    attack(&open, "spin", &limit("compute_ms")).await;
    let error = open.error("spin", json!({})).await;
    assert!(error.details().unwrap().contains("limits.compute_ms"), "it does not say how to allow more: {error}");
    assert_eq!(error.kind().blame(), Blame::Operator);
}

/// Sixteen that compute for ever on one thread do not keep a neighbour from answering.
#[tokio::test]
async fn computing_gives_way() {
    let open = Scene::of(guests::HOSTILE_SPIN).grant(|connection| connection.limits.compute_ms = 200).open().await;
    let spinning = futures_util::future::join_all((0..16).map(|_| open.error("spin", json!({}))));
    let (spun, idle) = tokio::join!(spinning, open.output("idle", json!({})));
    assert!(spun.iter().all(|error| *error.kind() == limit("compute_ms")));
    assert_eq!(idle, json!({}));
}

#[tokio::test]
async fn hostile_allocate() {
    let open =
        Scene::of(guests::HOSTILE_ALLOCATE).grant(|connection| connection.limits.memory_bytes = 16 << 20).open().await;
    attack(&open, "allocate", &limit("memory_bytes")).await;
}

#[tokio::test]
async fn hostile_recurse() {
    let open = Scene::of(guests::HOSTILE_RECURSE).open().await;
    attack(&open, "recurse", &limit("stack_bytes")).await;
    let error = open.error("recurse", json!({})).await;
    assert!(error.details().unwrap().contains("calls itself too deeply"), "it does not say why: {error}");
}

#[tokio::test]
async fn hostile_flood_log() {
    let logged = Logged::default();
    let _listening = logged.listen("wharfage=trace");
    let open = Scene::of(guests::HOSTILE_FLOOD_LOG)
        .grant(|connection| {
            connection.limits.log_lines = 20;
            connection.limits.log_bytes = 8_000;
        })
        .open()
        .await;
    open.output("flood", json!({})).await;
    let text = logged.text();
    let lines = text.lines().filter(|line| line.contains("flood flood") && !line.contains("printed")).count();
    assert!(lines <= 20, "{lines} lines");
    assert!(text.len() < 64_000, "{} bytes", text.len());
    assert_eq!(text.matches("are dropped").count(), 1, "dropping is told once:\n{text:.2000}");
}

/// A plugin that logs a megabyte a second over many calls: it is bounded, and what was dropped is counted and told.
#[tokio::test]
async fn a_flood_over_many_calls_is_bounded_second_by_second() {
    let logged = Logged::default();
    let _listening = logged.listen("wharfage=info");
    let clock = ManualClock::new(Timestamp::from_millis(1_000_000), 1);
    let scene = Scene::of(guests::HOSTILE_FLOOD_LOG).clock(&clock);
    let open = scene.grant(|connection| connection.limits.log_second_bytes = 100_000).open().await;
    let mut before = 0;
    for second in 1..=3_u64 {
        for _ in 0..10 {
            open.output("flood", json!({})).await;
        }
        let text = logged.text();
        let lines = text.lines().filter(|line| line.contains("flood flood")).count();
        assert_eq!(lines - before, 100_000 / 600, "of 600 bytes each, in second {second}");
        before = lines;
        assert_eq!(open.plugin.dropped_lines(), 200_000 * second - lines as u64);
        assert!(text.contains("log_bytes 65536 is reached") && text.contains("log_second_bytes 100000 is reached"));
        // Of 20,000 lines of 600 bytes, 109 fit into a call.
        let counted = |line: &str| line.contains("lines were dropped") && line.contains("lines=19891 bytes=11934600");
        assert!(text.lines().any(counted), "how many it was is not told:\n{text:.3000}");
        clock.advance(1_000);
    }
    let told = logged.text().matches("dropped").count();
    assert!(told <= 3 * 4, "{told} lines about lines");
}

#[tokio::test]
async fn hostile_big_output() {
    let open =
        Scene::of(guests::HOSTILE_BIG_OUTPUT).grant(|connection| connection.limits.output_bytes = 1 << 20).open().await;
    let error = open.error("output", json!({})).await;
    assert_eq!(*error.kind(), limit("output_bytes"), "{error:?}");
    // A list that never ends is lazy: it costs a page a page, and stops when nobody asks.
    let pages: Vec<_> = open.plugin.pages("pages", "{}".to_owned(), None).take(10).collect().await;
    assert!(pages.iter().all(Result::is_ok));
}

/// More than the host lets through at once ends the call before it is copied.
#[tokio::test]
async fn an_output_beyond_everything_is_refused_too() {
    let open = Scene::of(guests::HOSTILE_BIG_OUTPUT)
        .grant(|connection| {
            connection.limits.output_bytes = 1 << 20;
            connection.limits.hostcall_bytes = 2 << 20;
        })
        .open()
        .await;
    let error = open.error("output", json!({})).await;
    assert!(matches!(error.kind(), Kind::LimitExceeded(_)), "{error:?}");
}

#[tokio::test]
async fn hostile_flood_requests() {
    let provider = Provider::scripted([Reply::status(200)]).await;
    let open = Scene::of(guests::HOSTILE_FLOOD_REQUESTS)
        .with(&provider)
        .grant(|connection| connection.limits.requests = 20)
        .open()
        .await;
    let error = open.error("one-by-one", json!({})).await;
    assert_eq!(*error.kind(), limit("requests"), "{error:?}");
    assert_eq!(provider.count(), 20);
    let error = open.error("at-once", json!({})).await;
    assert_eq!(*error.kind(), limit("requests"), "{error:?}");
    assert_eq!(provider.count(), 20, "of too many at once none is sent");
}

/// R9: each answer that is left open holds a place of its call, and gives it back when the call is over.
#[tokio::test]
async fn hostile_stream_hoard() {
    let provider = Provider::scripted([Reply::endless()]).await;
    let open = Scene::of(guests::HOSTILE_STREAM_HOARD).with(&provider).open().await;
    attack(&open, "hoard", &limit("streams")).await;
    assert_eq!(provider.count(), 3 * 4, "the next one is refused before it is sent");
    let error = open.error("hoard", json!({})).await;
    assert!(error.details().unwrap().contains("limits.streams"), "it does not say how to allow more: {error}");
    // More than the sockets hold is not taken for somebody who does not read.
    assert!(provider.bytes_written() < 4 * 4 * (16 << 20), "{}", provider.bytes_written());
}

#[tokio::test]
async fn hostile_sets_credential_header() {
    let provider = Provider::scripted([Reply::status(200)]).await;
    let open = Scene::of(guests::HOSTILE_SETS_CREDENTIAL_HEADER).with(&provider).open().await;
    let owned = [
        "Authorization",
        "authorization",
        "AUTHORIZATION",
        "Proxy-Authorization",
        "Cookie",
        "Host",
        "Content-Length",
        "Transfer-Encoding",
        "TE",
        "Trailer",
        "Connection",
        "Keep-Alive",
        "Upgrade",
        "Expect",
        "Accept-Encoding",
        "Forwarded",
        "X-Forwarded-For",
        "X-Forwarded-Host",
        "Via",
        "Range",
        "Referer",
        "Origin",
        "User-Agent",
        "Idempotency-Key",
        "HTTP2-Settings",
        "X-HTTP-Method-Override",
        "X-Original-URL",
    ];
    let broken = [
        ("", "a"),
        ("a b", "c"),
        ("a:b", "c"),
        ("a\r\nb", "c"),
        ("a\0", "b"),
        ("ä", "b"),
        (":path", "/x"),
        ("x-a", "b\r\nx-b: c"),
        ("x-a", "b\nc"),
        ("x-a", "b\0c"),
        ("x-a", "ä"),
        ("x-a", "\u{7f}"),
    ];
    let mut headers: Vec<Value> = owned.iter().map(|name| json!([name, "x"])).collect();
    headers.extend(broken.iter().map(|(name, value)| json!([name, value])));
    headers.push(json!(["x-harmless", "a value\twith a tab"]));
    let passed = open.output("try", json!({"headers": headers})).await;
    assert_eq!(passed, json!([["x-harmless", "a value\twith a tab"]]));
    let seen = provider.seen();
    assert_eq!(seen.len(), 1, "what is refused is not sent");
    assert_eq!(seen[0].header("authorization"), Some(&*format!("App {API_KEY}")));
    assert_eq!(seen[0].header("x-harmless"), Some("a value\twith a tab"));
}

#[tokio::test]
async fn hostile_describe_spins() {
    refused_to_describe(guests::HOSTILE_DESCRIBE_SPINS, "compute_ms").await;
}

/// R18: `describe` runs before any grant, so nothing it could import answers.
#[tokio::test]
async fn hostile_describe_calls() {
    refused_to_describe(guests::HOSTILE_DESCRIBE_CALLS, "").await;
}

#[tokio::test]
async fn hostile_describe_garbage() {
    refused_to_describe(guests::HOSTILE_DESCRIBE_GARBAGE, "no JSON").await;
}

async fn refused_to_describe(guest: wharfage_tests::Guest, why: &str) {
    let error = component::builder().describe(&guest.compiled()).await.unwrap_err();
    assert_eq!(*error.kind(), Kind::Component, "{error:?}");
    assert!(error.to_string().contains(why), "{error}");
    assert!(!error.to_string().contains('\u{1b}'), "an escape of the guest's reached a message: {error:?}");
}

#[tokio::test]
async fn hostile_huge_cursor() {
    let open = Scene::of(guests::HOSTILE_HUGE_CURSOR).open().await;
    let error = open.error("hoard", json!({})).await;
    assert_eq!(*error.kind(), limit("cursor_bytes"), "{error:?}");
}

/// A component gets what its standard library needs to start and nothing of the world: whatever it tries is empty, fails, or
/// ends the call.
#[tokio::test]
async fn hostile_reaches_out() {
    let open = Scene::of(guests::HOSTILE_REACHES_OUT).open().await;
    let empty = json!({"variables": [], "arguments": [], "typed": 0});
    assert_eq!(open.output("surroundings", json!({})).await, empty);
    for operation in ["read", "write", "list", "connect", "listen", "udp", "resolve", "thread", "process"] {
        match open.call(operation, json!({})).await {
            Ok(answer) => assert_eq!(answer.output, json!(false), "{operation} reached out"),
            Err(error) => {
                assert!(matches!(error.kind(), Kind::Internal(_)), "{operation}: {error:?}");
                assert!(
                    error.details().unwrap().contains("wasi:"),
                    "{operation} does not say what was missing: {error}"
                );
            }
        }
    }
}

/// A thousand calls that each end badly leave the host as it was.
#[tokio::test]
async fn nothing_is_used_up_by_calls_that_fail() {
    let open = Scene::of(guests::OPERATIONS_PANICS).open().await;
    for _ in 0..20 {
        let errors = futures_util::future::join_all((0..50).map(|_| open.error("panic", json!({})))).await;
        assert!(errors.iter().all(|error| matches!(error.kind(), Kind::Internal(_))));
    }
}
