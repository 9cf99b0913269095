//! What is kept of answers: when it serves instead of asking, when it serves instead of failing, and who never sees it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use serde_json::{Value, json};
use wharfage::PathEvent;
use wharfage::{Account, AnswerSource, Connection, Error, Host, Kind, ManualClock, Plugin, SecretSource, SecretValue};
use wharfage_tests::scene::{account, imports};
use wharfage_tests::{Open, Provider, Reply, Scene, guests, skipping, until};

async fn get(open: &Open) -> Result<Value, Error> {
    open.call("send", json!({"url": "{api}/x"})).await.map(|answer| answer.output)
}

fn seen(answer: &Value) -> (&str, u64, &str) {
    let text = |name: &str| answer[name].as_str().unwrap();
    (text("source"), answer["age_ms"].as_u64().unwrap(), text("body"))
}

/// A provider that answers with its number, or with this status.
async fn provider(status: &Arc<AtomicU16>, headers: &'static [(&'static str, &'static str)]) -> Provider {
    let status = status.clone();
    Provider::answering(move |seen| match status.load(Ordering::SeqCst) {
        200 => {
            let reply = Reply::status(200).body(format!("answer {}", seen.number));
            headers.iter().fold(reply, |reply, (name, value)| reply.header(name, value))
        }
        status => Reply::status(status).body("no"),
    })
    .await
}

fn well() -> Arc<AtomicU16> {
    Arc::new(AtomicU16::new(200))
}

async fn open(provider: &Provider, clock: &ManualClock) -> Open {
    Scene::of(guests::HTTP_SEND).with(provider).clock(clock).open().await
}

#[tokio::test]
async fn a_fresh_answer_is_not_asked_for_again() {
    let (clock, status) = (skipping(), well());
    let provider = provider(&status, &[("cache-control", "max-age=60")]).await;
    let open = open(&provider, &clock).await;
    assert_eq!(seen(&get(&open).await.unwrap()), ("live", 0, "answer 1"));
    clock.advance(59_000);
    let answer = open.call("send", json!({"url": "{api}/x"})).await.unwrap();
    assert_eq!(seen(&answer.output), ("cache", 59_000, "answer 1"));
    assert_eq!((answer.source, answer.age_ms, answer.attempts), (AnswerSource::Cache, 59_000, 0));
    assert!(open.steps().contains(&PathEvent::Served { source: AnswerSource::Cache, age_ms: 59_000 }));
    clock.advance(1_000);
    assert_eq!(seen(&get(&open).await.unwrap()), ("live", 0, "answer 2"));
    assert_eq!(provider.count(), 2);
    // Another URL, another method: other answers.
    open.output("send", json!({"url": "{api}/y"})).await;
    open.output("send", json!({"url": "{api}/x", "method": "HEAD"})).await;
    assert_eq!(provider.count(), 4);
}

/// Without a word of the provider nothing is fresh, however old its content is.
#[tokio::test]
async fn nothing_is_fresh_by_guessing() {
    let (clock, status) = (skipping(), well());
    let provider = provider(&status, &[("last-modified", "Thu, 01 Jan 2015 00:00:00 GMT")]).await;
    let open = open(&provider, &clock).await;
    for number in 1..4 {
        assert_eq!(seen(&get(&open).await.unwrap()), ("live", 0, &*format!("answer {number}")));
    }
}

#[tokio::test]
async fn an_old_answer_is_asked_about_and_refreshed() {
    let clock = skipping();
    let provider = Provider::answering(|seen| match seen.header("if-none-match") {
        Some("\"v1\"") if seen.number < 4 => {
            Reply::status(304).header("etag", "\"v1\"").header("cache-control", "max-age=10").header("x-new", "yes")
        }
        _ => Reply::status(200)
            .header("etag", "\"v1\"")
            .header("cache-control", "max-age=10")
            .body(format!("answer {}", seen.number)),
    })
    .await;
    let open = open(&provider, &clock).await;
    assert_eq!(seen(&get(&open).await.unwrap()), ("live", 0, "answer 1"));
    clock.advance(11_000);
    let refreshed = open.call("send", json!({"url": "{api}/x"})).await.unwrap();
    assert_eq!((seen(&refreshed.output), refreshed.attempts), (("live", 0, "answer 1"), 1));
    assert_eq!(refreshed.output["status"], 200);
    assert_eq!(provider.seen()[1].header("if-none-match"), Some("\"v1\""));
    clock.advance(9_000);
    assert_eq!(seen(&get(&open).await.unwrap()), ("cache", 9_000, "answer 1"), "it was refreshed");
    clock.advance(2_000);
    assert_eq!(seen(&get(&open).await.unwrap()), ("live", 0, "answer 1"));
    clock.advance(11_000);
    assert_eq!(seen(&get(&open).await.unwrap()), ("live", 0, "answer 4"), "a new one takes its place");
    assert_eq!(provider.count(), 4);
}

/// "Not modified" of something that was never asked about is no answer.
#[tokio::test]
async fn a_304_about_another_version_is_asked_again() {
    let clock = skipping();
    let provider = Provider::answering(|seen| match seen.header("if-none-match") {
        Some(_) => Reply::status(304).header("etag", "\"other\""),
        None => Reply::status(200).header("etag", "\"v1\"").body(format!("answer {}", seen.number)),
    })
    .await;
    let open = open(&provider, &clock).await;
    get(&open).await.unwrap();
    assert_eq!(seen(&get(&open).await.unwrap()), ("live", 0, "answer 3"));
}

#[tokio::test]
async fn vary_is_honoured() {
    let (clock, status) = (skipping(), well());
    let provider = provider(&status, &[("cache-control", "max-age=60"), ("vary", "Accept-Language")]).await;
    let open = open(&provider, &clock).await;
    let ask = |language: &'static str| {
        open.output("send", json!({"url": "{api}/x", "headers": [["accept-language", language]]}))
    };
    ask("en").await;
    assert_eq!(seen(&ask("en").await).0, "cache");
    assert_eq!(seen(&ask("de").await), ("live", 0, "answer 2"));
    assert_eq!(seen(&ask("de").await).0, "cache");
}

#[tokio::test]
async fn a_write_makes_what_was_kept_wrong() {
    let (clock, status) = (skipping(), well());
    let provider = provider(&status, &[("cache-control", "max-age=60"), ("content-location", "/y")]).await;
    let open = open(&provider, &clock).await;
    for place in ["x", "y", "z"] {
        open.output("send", json!({"url": format!("{{api}}/{place}")})).await;
    }
    // A query sent by POST changes nothing; a write that fails neither.
    open.output("write", json!({"method": "POST", "url": "{api}/x", "repeat": "safe"})).await;
    assert_eq!(seen(&open.output("send", json!({"url": "{api}/x"})).await).0, "cache");
    status.store(422, Ordering::SeqCst);
    open.error("write", json!({"method": "PUT", "url": "{api}/x"})).await;
    status.store(200, Ordering::SeqCst);
    assert_eq!(seen(&open.output("send", json!({"url": "{api}/x"})).await).0, "cache");
    open.output("write", json!({"method": "PUT", "url": "{api}/x"})).await;
    for (place, source) in [("x", "live"), ("y", "live"), ("z", "cache")] {
        assert_eq!(seen(&open.output("send", json!({"url": format!("{{api}}/{place}")})).await).0, source, "{place}");
    }
}

/// That it may be repeated says that it does no harm twice, and not that it changes nothing.
#[tokio::test]
async fn a_write_that_may_be_repeated_makes_what_was_kept_wrong() {
    let (clock, status) = (skipping(), well());
    let provider = provider(&status, &[("cache-control", "max-age=60")]).await;
    let open = open(&provider, &clock).await;
    for method in ["PUT", "PATCH", "DELETE"] {
        get(&open).await.unwrap();
        assert_eq!(seen(&get(&open).await.unwrap()).0, "cache", "before {method}");
        open.output("write", json!({"method": method, "url": "{api}/x", "repeat": "safe"})).await;
        assert_eq!(seen(&get(&open).await.unwrap()).0, "live", "after {method}");
    }
}

/// However a write goes: its answer read piece by piece, or its body written so.
#[tokio::test]
async fn a_write_in_pieces_makes_what_was_kept_wrong() {
    let (clock, status) = (skipping(), well());
    let provider = provider(&status, &[("cache-control", "max-age=60")]).await;
    let open = Scene::of(guests::HTTP_STREAM).with(&provider).clock(&clock).open().await;
    let then = json!([{"url": "{api}/x"}]);
    for (operation, write) in [("open", "POST"), ("up", "PUT")] {
        for source in ["live", "cache"] {
            let told = open.output("open", json!({"url": "{api}/y", "then": then})).await;
            assert_eq!(told["then"][0]["source"], source, "before {write}");
        }
        open.output(operation, json!({"method": write, "url": "{api}/x"})).await;
    }
    let told = open.output("open", json!({"url": "{api}/y", "then": then})).await;
    assert_eq!(told["then"][0]["source"], "live");
}

/// And whether or not its answer comes.
#[tokio::test]
async fn a_write_in_pieces_that_may_have_happened_makes_what_was_kept_wrong() {
    let provider = Provider::answering(|seen| match seen.method.as_str() {
        "GET" => Reply::status(200).header("cache-control", "max-age=60"),
        _ => Reply::reset(),
    })
    .await;
    let open = Scene::of(guests::HTTP_STREAM).with(&provider).clock(&skipping()).open().await;
    let source = async || {
        let told = open.output("open", json!({"url": "{api}/y", "then": [{"url": "{api}/x"}]})).await;
        told["then"][0]["source"].as_str().unwrap().to_owned()
    };
    for (operation, write) in [("open", "POST"), ("up", "PUT")] {
        assert_eq!((&*source().await, &*source().await), ("live", "cache"), "before {write}");
        open.error(operation, json!({"method": write, "url": "{api}/x"})).await;
    }
    assert_eq!(source().await, "live");
}

/// And whether or not somebody waits for it.
#[tokio::test]
async fn a_write_whose_caller_has_gone_makes_what_was_kept_wrong() {
    let provider = Provider::answering(|seen| match seen.method.as_str() {
        "GET" => Reply::status(200).header("cache-control", "max-age=60"),
        _ => Reply::never(),
    })
    .await;
    let open = open(&provider, &ManualClock::new(wharfage_tests::NOW, 1)).await;
    get(&open).await.unwrap();
    assert_eq!(seen(&get(&open).await.unwrap()).0, "cache");
    tokio::select! {
        answer = open.call("write", json!({"method": "PUT", "url": "{api}/x"})) => panic!("it was answered: {answer:?}"),
        () = async { until!(provider.count() > 1); } => {}
    }
    assert_eq!(seen(&get(&open).await.unwrap()).0, "live");
}

/// Headers of a liar are clamped or passed over, and nothing counts beyond its end.
#[tokio::test]
async fn lying_headers_break_nothing() {
    for header in [
        ("age", "18446744073709551615"),
        ("age", "-1"),
        ("cache-control", "max-age=99999999999999999999999"),
        ("cache-control", "max-age=18446744073709551615, stale-while-revalidate=18446744073709551615"),
        ("expires", "Fri, 31 Dec 9999 23:59:59 GMT"),
        ("expires", "0"),
        ("date", "Sun, 22 Nov 1926 08:49:37 GMT"),
        ("last-modified", "Fri, 31 Dec 9999 23:59:59 GMT"),
        ("vary", "*"),
        ("vary", "\u{e9}, , ,"),
        ("etag", "\"\u{e9}"),
        ("warning", "1 1 1"),
        ("connection", "etag, vary"),
    ] {
        let clock = skipping();
        let provider = Provider::answering(move |_| Reply::status(200).header(header.0, header.1).body("x")).await;
        let open = open(&provider, &clock).await;
        for _ in 0..3 {
            get(&open).await.unwrap_or_else(|error| panic!("{header:?}: {error:?}"));
            clock.advance(10_000);
        }
    }
}

/// An answer that was asked for before a write and comes after it may show what was: it is not kept.
#[tokio::test]
async fn an_answer_overtaken_by_a_write_is_not_kept() {
    let provider = Provider::answering(|seen| {
        let reply = Reply::status(200).header("cache-control", "max-age=60").body(format!("answer {}", seen.number));
        if seen.number == 1 { reply.once_seen(2) } else { reply }
    })
    .await;
    let open = open(&provider, &ManualClock::new(wharfage_tests::NOW, 1)).await;
    let (first, _) = tokio::join!(get(&open), async {
        until!(provider.count() > 0);
        open.output("write", json!({"method": "PUT", "url": "{api}/x"})).await
    });
    assert_eq!(seen(&first.unwrap()).2, "answer 1");
    assert_eq!(seen(&get(&open).await.unwrap()), ("live", 0, "answer 3"));
}

/// R4: a part of an answer is not kept, nor one that is read piece by piece.
#[tokio::test]
async fn r4_a_part_and_a_stream_are_never_kept() {
    let partial = Provider::answering(|_| {
        Reply::status(206).header("content-range", "bytes 0-0/9").header("cache-control", "max-age=60").body("x")
    })
    .await;
    let open = open(&partial, &skipping()).await;
    for keep in [Value::Null, json!(60)] {
        for _ in 0..2 {
            let answer = open.output("send", json!({"url": "{api}/x", "keep": keep})).await;
            assert_eq!((&answer["status"], seen(&answer).0), (&json!(206), "live"), "{keep}");
        }
    }
    let provider = provider(&well(), &[("cache-control", "max-age=60")]).await;
    let open = Scene::of(guests::HTTP_STREAM).with(&provider).clock(&skipping()).open().await;
    let told = open.output("open", json!({"url": "{api}/x", "then": [{"url": "{api}/x"}]})).await;
    assert_eq!((&told["then"][0]["source"], provider.count()), (&json!("live"), 2));
}

/// R4: what carries a cookie, or is forbidden to be kept, is not; nor what the plugin asks about itself.
#[tokio::test]
async fn r4_some_answers_are_never_kept() {
    for headers in [
        &[("cache-control", "max-age=60"), ("set-cookie", "session=1")][..],
        &[("cache-control", "no-store, max-age=60")],
    ] {
        let (clock, status) = (skipping(), well());
        let provider = provider(&status, headers).await;
        let open = open(&provider, &clock).await;
        get(&open).await.unwrap();
        assert_eq!(seen(&get(&open).await.unwrap()), ("live", 0, "answer 2"), "{headers:?}");
        status.store(503, Ordering::SeqCst);
        assert_eq!(*get(&open).await.unwrap_err().kind(), Kind::Transient, "{headers:?}");
    }
    let (clock, status) = (skipping(), well());
    let provider = provider(&status, &[("cache-control", "max-age=60")]).await;
    let open = open(&provider, &clock).await;
    for input in [
        json!({"url": "{api}/x", "keep": "never"}),
        json!({"url": "{api}/x", "headers": [["if-none-match", "\"mine\""]]}),
        json!({"url": "{api}/x", "headers": [["cache-control", "no-cache"]]}),
        json!({"url": "{api}/x", "headers": [["range", "bytes=0-1"]], "credential": "anonymous"}),
    ] {
        for _ in 0..2 {
            assert_eq!(seen(&open.output("send", input.clone()).await).0, "live", "{input}");
        }
    }
}

/// Items 95 and 96 of the guide: the last good answer, called stale from five minutes on, for an hour.
#[tokio::test]
async fn the_last_good_answer_serves_in_trouble() {
    let (clock, status) = (skipping(), well());
    let provider = provider(&status, &[]).await;
    let open = open(&provider, &clock).await;
    get(&open).await.unwrap();
    status.store(503, Ordering::SeqCst);
    clock.advance(100_000);
    let answer = open.call("send", json!({"url": "{api}/x"})).await.unwrap();
    assert_eq!((answer.source, seen(&answer.output).2, answer.attempts), (AnswerSource::Cache, "answer 1", 5));
    assert!(answer.age_ms >= 100_000 && answer.age_ms < 200_000);
    clock.advance(300_000);
    // The breaker has opened meanwhile, or the provider fails again: either way the answer serves, and says how old it is.
    let answer = open.call("send", json!({"url": "{api}/x"})).await.unwrap();
    assert_eq!((answer.source, seen(&answer.output).2), (AnswerSource::Stale, "answer 1"));
    assert!(answer.age_ms >= 400_000);
    clock.advance(3_600_000);
    let error = get(&open).await.unwrap_err();
    assert!(matches!(error.kind(), Kind::Transient | Kind::CircuitOpen), "{error:?}");
    assert!(error.details().unwrap().contains("cache.beyond = true"), "{error}");
}

#[tokio::test]
async fn every_trouble_that_may_pass_is_one() {
    for (reply, attempts) in
        [(Reply::reset(), 5), (Reply::status(429).header("retry-after", "1800"), 1), (Reply::status(500), 5)]
    {
        let provider = Provider::scripted([Reply::status(200).body("good"), reply.clone()]).await;
        let open = open(&provider, &skipping()).await;
        get(&open).await.unwrap();
        let answer = open.call("send", json!({"url": "{api}/x"})).await.unwrap();
        assert_eq!(
            (answer.source, answer.attempts, seen(&answer.output).2),
            (AnswerSource::Cache, attempts, "good"),
            "{reply:?}"
        );
    }
}

/// A refusal is an answer: serving the last good one would hide that the key is gone, or the order.
#[tokio::test]
async fn a_refusal_is_never_covered_up() {
    for status_code in [400, 401, 403, 404, 409, 410, 422] {
        let (clock, status) = (skipping(), well());
        let provider = provider(&status, &[("etag", "\"v1\"")]).await;
        let open = open(&provider, &clock).await;
        get(&open).await.unwrap();
        status.store(status_code, Ordering::SeqCst);
        assert_eq!(get(&open).await.unwrap_err().status(), Some(status_code));
    }
}

#[tokio::test]
async fn the_operator_decides() {
    let (clock, status) = (skipping(), well());
    let provider = provider(&status, &[("cache-control", "max-age=60")]).await;
    let scene = |lines: &str| Scene::of(guests::HTTP_SEND).with(&provider).clock(&clock).connection(lines);
    let none = scene("[cache]\nenabled = false\n").open().await;
    get(&none).await.unwrap();
    assert_eq!(seen(&get(&none).await.unwrap()).0, "live");
    let fresh_only = scene("[cache]\nfall_back = false\n").open().await;
    let beyond = scene("[cache]\nbeyond = true\nstale_from_ms = 1\n").open().await;
    for open in [&fresh_only, &beyond] {
        get(open).await.unwrap();
        assert_eq!(seen(&get(open).await.unwrap()).0, "cache");
    }
    status.store(503, Ordering::SeqCst);
    clock.advance(7_200_000);
    assert_eq!(*get(&fresh_only).await.unwrap_err().kind(), Kind::Transient);
    assert_eq!(seen(&get(&beyond).await.unwrap()).0, "stale");
}

/// What the plugin knows of an answer comes before the headers: confirmed blocks never change.
#[tokio::test]
async fn the_plugin_may_know_how_long_an_answer_holds() {
    let (clock, status) = (skipping(), well());
    let provider = provider(&status, &[("cache-control", "max-age=1")]).await;
    let open = open(&provider, &clock).await;
    let ask = |keep: Value| open.output("send", json!({"url": "{api}/x", "keep": keep}));
    ask(json!("immutable")).await;
    clock.advance(365 * 86_400_000);
    assert_eq!(seen(&ask(json!("immutable")).await).2, "answer 1");
    assert_eq!(seen(&ask(json!(60)).await), ("live", 0, "answer 2"));
    clock.advance(59_000);
    assert_eq!(seen(&ask(json!(60)).await), ("cache", 59_000, "answer 2"));
    clock.advance(1_000);
    assert_eq!(seen(&ask(json!(60)).await), ("live", 0, "answer 3"));
}

/// What was kept before the plugin knew that it never changes is judged as any other: it may have been another then.
#[tokio::test]
async fn only_what_was_kept_as_immutable_serves_for_ever() {
    let (clock, status) = (skipping(), well());
    let provider = provider(&status, &[("cache-control", "max-age=60")]).await;
    let open = open(&provider, &clock).await;
    let immutable = || open.output("send", json!({"url": "{api}/x", "keep": "immutable"}));
    get(&open).await.unwrap();
    assert_eq!(seen(&immutable().await), ("cache", 0, "answer 1"));
    clock.advance(60_000);
    assert_eq!(seen(&immutable().await), ("live", 0, "answer 2"));
    clock.advance(3_600_000);
    assert_eq!(seen(&immutable().await), ("cache", 3_600_000, "answer 2"));
}

/// Fifty at once: one asks, and the others have its answer.
#[tokio::test]
async fn the_same_is_asked_for_once() {
    let (clock, status) = (ManualClock::new(wharfage_tests::NOW, 1), well());
    let provider = provider(&status, &[("cache-control", "max-age=60")]).await;
    let open = open(&provider, &clock).await;
    let ask = || open.output("send", json!({"url": "{api}/x", "keep": 60}));
    futures_util::future::join_all((0..50).map(|_| ask())).await;
    assert_eq!(provider.count(), 1);
    clock.advance(61_000);
    futures_util::future::join_all((0..50).map(|_| get(&open))).await;
    assert_eq!(provider.count(), 2, "it was kept before, so it will be again");
}

/// Who asks for all and goes away hands on, and nobody waits for ever.
#[tokio::test]
async fn a_cancelled_leader_hands_on() {
    let provider = Provider::answering(|seen| {
        if seen.number == 1 {
            Reply::never()
        } else {
            Reply::status(200).header("cache-control", "max-age=60").body("good")
        }
    })
    .await;
    let open = open(&provider, &ManualClock::new(wharfage_tests::NOW, 1)).await;
    let ask = || open.call("send", json!({"url": "{api}/x", "keep": 60}));
    let mut leader = Box::pin(ask());
    tokio::select! {
        answer = &mut leader => panic!("it was never answered: {answer:?}"),
        () = async { until!(provider.count() > 0); } => {}
    }
    let mut follower = Box::pin(ask());
    tokio::select! {
        biased;
        answer = &mut follower => panic!("it did not wait: {answer:?}"),
        () = async { for _ in 0..200 { tokio::task::yield_now().await } } => {}
    }
    drop(leader);
    assert_eq!(seen(&follower.await.unwrap().output).2, "good");
    assert_eq!(provider.count(), 2);
}

#[tokio::test]
async fn memory_is_bounded_and_the_oldest_goes() {
    let provider =
        Provider::answering(|_| Reply::status(200).header("cache-control", "max-age=600").body("x".repeat(10_000)))
            .await;
    let clock = skipping();
    let open = Scene::of(guests::HTTP_SEND)
        .with(&provider)
        .clock(&clock)
        .grant(|connection| {
            connection.limits.cache_bytes = 40_000;
            connection.limits.cache_entry_bytes = 20_000;
        })
        .open()
        .await;
    let ask = |number: usize| open.output("send", json!({"url": format!("{{api}}/{number}")}));
    for number in 0..5 {
        ask(number).await;
        clock.advance(1);
    }
    assert_eq!(seen(&ask(4).await).0, "cache");
    assert_eq!(seen(&ask(0).await).0, "live");
    let large =
        Provider::answering(|_| Reply::status(200).header("cache-control", "max-age=600").body("x".repeat(30_000)))
            .await;
    let open = Scene::of(guests::HTTP_SEND)
        .with(&large)
        .grant(|connection| connection.limits.cache_entry_bytes = 20_000)
        .open()
        .await;
    for _ in 0..2 {
        assert_eq!(seen(&open.output("send", json!({"url": "{api}/"})).await).0, "live");
    }
}

/// One host over a state folder, as a program that starts anew.
struct Kept {
    folder: tempfile::TempDir,
    clock: ManualClock,
}

impl Kept {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), clock: skipping() }
    }

    async fn connect(&self, scene: &Scene, provider: &Provider, account: &Account, lines: &str) -> Plugin {
        let host = Host::builder().state_dir(self.folder.path()).clock(self.clock.clone()).build().unwrap();
        let bytes = scene.component().await;
        let mut connection = Connection::parse(&format!(
            "private_addresses = ['127.0.0.1/32']\nsecrets = ['api_key']\norigins = ['{}']\n{lines}",
            provider.url()
        ))
        .unwrap();
        connection.imports = imports(&bytes).unwrap();
        connection.base.insert("api".into(), provider.url());
        host.connect("acme", &bytes, &connection, Some(account)).await.unwrap()
    }
}

async fn send(plugin: &Plugin, path: &str) -> Value {
    let answer = plugin.call::<Value>("send", &json!({"url": format!("{{api}}/{path}")})).await.unwrap().output;
    plugin.flush().await;
    answer
}

/// R4: a restart keeps what was kept; another key, a narrower grant or another component begin with nothing, and what was
/// kept before is gone also for those who come back.
#[tokio::test]
async fn r4_another_key_or_grant_sees_nothing() {
    let (kept, status) = (Kept::new(), well());
    let provider = provider(&status, &[("cache-control", "max-age=6000")]).await;
    let scene = Scene::of(guests::HTTP_SEND);
    let old = account("");
    let new = account("").with_secret("api_key", SecretSource::Value(SecretValue::new("another-key-altogether")));
    let narrow = "limits = { requests = 10 }";
    for (account, lines, expected) in [
        (&old, "", "live"),
        (&old, "", "cache"),
        (&new, "", "live"),
        (&new, "", "cache"),
        (&new, narrow, "live"),
        (&old, "", "live"),
        (&old, "", "cache"),
    ] {
        let plugin = kept.connect(&scene, &provider, account, lines).await;
        assert_eq!(seen(&send(&plugin, "x").await).0, expected);
    }
    let other = Scene::of(guests::HTTP_SEND).manifest("\n# another component\n");
    let plugin = kept.connect(&other, &provider, &old, "").await;
    assert_eq!(seen(&send(&plugin, "x").await).0, "live");
}

/// The guide's cache takes keys for file names (`../` leads anywhere), keeps personal data in the clear, and its "maximum
/// age" limits nothing.
#[tokio::test]
async fn guide_s25_what_is_kept_has_no_names_no_clear_text_and_an_end() {
    let (kept, status) = (Kept::new(), well());
    let provider = Provider::answering({
        let status = status.clone();
        move |_| match status.load(Ordering::SeqCst) {
            200 => Reply::status(200).body("Ada Lovelace, ada@example.test"),
            status => Reply::status(status),
        }
    })
    .await;
    let scene = Scene::of(guests::HTTP_SEND);
    let plugin = kept.connect(&scene, &provider, &account(""), "").await;
    send(&plugin, "customers/ada-lovelace?next=..%2F..%2Fetc%2Fpasswd").await;
    drop(plugin);
    let mut looked_at = 0;
    for entry in std::fs::read_dir(kept.folder.path()).unwrap() {
        let path = entry.unwrap().path();
        let Ok(bytes) = std::fs::read(&path) else { continue };
        looked_at += bytes.len();
        // The audit trail beside it names the origin; no answer, path or query does.
        for word in ["Lovelace", "lovelace", "example.test", "passwd", wharfage_tests::API_KEY] {
            let is_there = bytes.windows(word.len()).any(|window| window == word.as_bytes());
            assert!(!is_there, "{} holds {word} in the clear", path.display());
        }
    }
    assert!(looked_at > 10_000, "nothing was written");
    status.store(503, Ordering::SeqCst);
    kept.clock.advance(1_800_000);
    let plugin = kept.connect(&scene, &provider, &account(""), "").await;
    let answer = send(&plugin, "customers/ada-lovelace?next=..%2F..%2Fetc%2Fpasswd").await;
    assert_eq!((seen(&answer).0, seen(&answer).2), ("stale", "Ada Lovelace, ada@example.test"));
    kept.clock.advance(1_900_000);
    let plugin = kept.connect(&scene, &provider, &account(""), "").await;
    let input = json!({"url": "{api}/customers/ada-lovelace?next=..%2F..%2Fetc%2Fpasswd"});
    let error = plugin.call::<Value>("send", &input).await.unwrap_err();
    assert_eq!(*error.kind(), Kind::Transient, "an hour is an hour");
}

/// A record that was changed from outside is no answer and no failure: it is asked for anew.
#[tokio::test]
async fn a_damaged_state_file_is_a_miss() {
    let (kept, status) = (Kept::new(), well());
    let provider = provider(&status, &[("cache-control", "max-age=6000")]).await;
    let scene = Scene::of(guests::HTTP_SEND);
    let plugin = kept.connect(&scene, &provider, &account(""), "").await;
    send(&plugin, "x").await;
    drop(plugin);
    // Another installation's key: nothing opens.
    let key = std::fs::read_dir(kept.folder.path()).unwrap().map(|entry| entry.unwrap().path());
    for path in key.filter(|path| path.extension().is_some_and(|extension| extension == "key")) {
        std::fs::remove_file(path).unwrap();
    }
    let plugin = kept.connect(&scene, &provider, &account(""), "").await;
    assert_eq!(seen(&send(&plugin, "x").await).0, "live");
}

/// An answer that echoes the key is masked before it is kept.
#[tokio::test]
async fn r14_an_echoed_key_is_kept_masked() {
    let kept = Kept::new();
    let provider = Provider::answering(|seen| {
        let echo = seen.header("authorization").unwrap_or_default().to_owned();
        Reply::status(200)
            .header("cache-control", "max-age=6000")
            .header("x-echo", &echo)
            .body(format!("you sent {echo}"))
    })
    .await;
    let scene = Scene::of(guests::HTTP_SEND);
    for _ in 0..2 {
        let plugin = kept.connect(&scene, &provider, &account(""), "").await;
        let answer = send(&plugin, "x").await.to_string();
        assert!(answer.contains("[masked]") && !answer.contains(wharfage_tests::API_KEY), "{answer}");
    }
    assert_eq!(provider.count(), 1);
}

/// Directives count in any case, and an age may be a lie: neither keeps what must not be kept, nor makes it fresh.
#[tokio::test]
async fn what_headers_say_is_read_with_care() {
    for (headers, source) in [
        (vec![("cache-control", "No-Store, max-age=60")], "live"),
        (vec![("cache-control", "Max-Age=60")], "cache"),
        (vec![("cache-control", "max-age=60"), ("age", "18446744073709551615")], "live"),
        (vec![("cache-control", "max-age=60"), ("age", "99999999999999999999999999")], "live"),
        (vec![("cache-control", "max-age=60"), ("age", "-1")], "cache"),
        (vec![("cache-control", "max-age=18446744073709551615")], "cache"),
        (vec![("cache-control", "max-age=60"), ("age", "59")], "live"),
        // That it does not change while it is fresh does not make it fresh.
        (vec![("cache-control", "private, immutable"), ("expires", "Thu, 01 Jan 1970 00:00:00 GMT")], "live"),
        (vec![("cache-control", "immutable")], "live"),
        (vec![("cache-control", "max-age=60, immutable")], "cache"),
        (vec![("expires", "Fri, 31 Dec 9999 23:59:59 GMT"), ("date", "Mon, 01 Jan 0001 00:00:00 GMT")], "cache"),
    ] {
        let provider = Provider::answering({
            let headers = headers.clone();
            move |_| headers.iter().fold(Reply::status(200), |reply, (name, value)| reply.header(name, value))
        })
        .await;
        let clock = skipping();
        let open = open(&provider, &clock).await;
        get(&open).await.unwrap();
        clock.advance(2_000);
        assert_eq!(seen(&get(&open).await.unwrap()).0, source, "{headers:?}");
    }
}

/// A "not modified" replaces the fields it brings, all of a name by all of that name, and need not say which tag it means.
#[tokio::test]
async fn a_304_leaves_every_other_field_as_it_was() {
    let provider = Provider::scripted([
        Reply::status(200)
            .header("etag", "\"1\"")
            .header("link", "</2>; rel=next")
            .header("link", "</9>; rel=last")
            .header("x-left", "1")
            .body("good"),
        Reply::status(304).header("x-left", "7").header("cache-control", "max-age=60"),
    ])
    .await;
    let clock = skipping();
    let open = open(&provider, &clock).await;
    get(&open).await.unwrap();
    for source in ["live", "cache"] {
        let answer = get(&open).await.unwrap();
        assert_eq!((seen(&answer).0, seen(&answer).2, &answer["status"]), (source, "good", &json!(200)));
        let all = |name: &str| -> Vec<String> {
            let pairs = answer["headers"].as_array().unwrap().iter().filter(|pair| pair[0] == name);
            pairs.map(|pair| pair[1].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(all("link"), ["</2>; rel=next", "</9>; rel=last"]);
        assert_eq!(all("x-left"), ["7"]);
    }
    assert_eq!(provider.count(), 2);
}

/// Programs that make one call each: what one wrote makes wrong what another kept before, on the disk too.
#[tokio::test]
async fn a_write_of_a_new_process_forgets_what_an_older_kept() {
    let (kept, status) = (Kept::new(), well());
    let provider = provider(&status, &[("cache-control", "max-age=6000")]).await;
    let scene = Scene::of(guests::HTTP_SEND);
    for (method, source) in [("GET", "live"), ("GET", "cache"), ("POST", "live"), ("GET", "live"), ("GET", "cache")] {
        let plugin = kept.connect(&scene, &provider, &account(""), "").await;
        let operation = if method == "GET" { "send" } else { "write" };
        let input = json!({"method": method, "url": "{api}/x"});
        let answer = plugin.call::<Value>(operation, &input).await.unwrap().output;
        assert_eq!(seen(&answer).0, source, "{method}");
        plugin.flush().await;
    }
}

/// Who was told that it is gone, or not theirs, does not get what was there before when the provider then has trouble.
#[tokio::test]
async fn a_refusal_ends_the_last_good_answer() {
    for refusal in [401, 403, 404, 410] {
        let (clock, status) = (skipping(), well());
        let provider = provider(&status, &[]).await;
        let open = open(&provider, &clock).await;
        get(&open).await.unwrap();
        status.store(refusal, Ordering::SeqCst);
        get(&open).await.unwrap_err();
        status.store(503, Ordering::SeqCst);
        assert_eq!(*get(&open).await.unwrap_err().kind(), Kind::Transient, "{refusal}");
    }
}

/// Some wait for one answer, and the provider is down: they do not stand in line behind one slow failure after the other.
#[tokio::test]
async fn trouble_does_not_keep_the_others_in_line() {
    let provider = Provider::answering(|seen| match seen.number {
        1 => Reply::status(503),
        // Each of these is answered only when all of them are there.
        _ => Reply::status(503).once_seen(5),
    })
    .await;
    let open = Scene::of(guests::HTTP_SEND)
        .with(&provider)
        .real_time()
        .grant(|connection| {
            connection.limits.attempts = 1;
            connection.limits.attempt_ms = 5_000;
            connection.cache.fall_back = false;
        })
        .open()
        .await;
    let ask = || open.call("send", json!({"url": "{api}/x", "keep": 60}));
    for answer in futures_util::future::join_all((0..5).map(|_| ask())).await {
        assert_eq!(*answer.unwrap_err().kind(), Kind::Transient);
    }
}

/// Nor while who asked waits before it asks again.
#[tokio::test]
async fn who_waits_to_ask_again_keeps_nobody_in_line() {
    let provider = Provider::answering(|seen| match seen.number {
        2 => Reply::status(503),
        number => Reply::status(200).header("cache-control", "max-age=60").body(format!("answer {number}")),
    })
    .await;
    let clock = ManualClock::new(wharfage_tests::NOW, 1);
    let open = open(&provider, &clock).await;
    get(&open).await.unwrap();
    clock.advance(61_000);
    let mut first = std::pin::pin!(get(&open));
    tokio::select! {
        answer = &mut first => panic!("it does not wait: {answer:?}"),
        () = async { until!(provider.count() > 1) } => {}
    }
    let both = async { tokio::join!(get(&open), async { until!(provider.count() > 2, "it waits in line") }) };
    tokio::select! {
        answer = &mut first => panic!("it does not wait: {answer:?}"),
        (answer, ()) = both => assert_eq!(seen(&answer.unwrap()), ("live", 0, "answer 3")),
    }
}

/// A write under one credential makes wrong what was answered under another.
#[tokio::test]
async fn a_write_counts_for_every_credential() {
    let status = well();
    let provider = provider(&status, &[("cache-control", "max-age=60")]).await;
    let open = open(&provider, &skipping()).await;
    let ask = |credential: &str| open.output("send", json!({"url": "{api}/x", "credential": credential}));
    for credential in ["bearer", "anonymous"] {
        ask(credential).await;
        assert_eq!(seen(&ask(credential).await).0, "cache");
    }
    open.output("write", json!({"method": "PUT", "url": "{api}/x"})).await;
    for credential in ["bearer", "anonymous"] {
        assert_eq!(seen(&ask(credential).await).0, "live", "{credential}");
    }
}
