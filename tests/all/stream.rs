//! Bodies piece by piece, both ways: back pressure, limits of size and time, permits, and what is lost midway (R9, R10).

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use wharfage::PathEvent;
use wharfage::tape::{Tape, TapeMode};
use wharfage::{Connection, Error, Host, Kind, NetworkStage, RequestSent};
use wharfage_tests::clocks::TurningClock;
use wharfage_tests::{API_KEY, Open, PATIENCE, Provider, Reply, Scene, guests, scene};

async fn open_with(provider: &Provider, change: impl FnOnce(&mut Connection) + Send + 'static) -> Open {
    Scene::of(guests::HTTP_STREAM).with(provider).grant(change).open().await
}

async fn open(provider: &Provider) -> Open {
    open_with(provider, |_| {}).await
}

/// One answer read to its end.
async fn read(reply: Reply) -> Result<Value, Error> {
    let provider = Provider::scripted([reply]).await;
    open(&provider).await.call("open", json!({"url": "{api}/x"})).await.map(|answer| answer.output)
}

fn limit(name: &str) -> Kind {
    Kind::LimitExceeded(name.to_owned())
}

// ---------------------------------------------------------------------------------------------- reading

/// Whoever does not read is not sent more than the sockets hold, while other requests go on.
#[tokio::test]
async fn r9_what_is_not_read_is_not_taken() {
    let provider = Provider::answering(|seen| match seen.target.as_str() {
        "/endless" => Reply::endless(),
        _ => Reply::status(200).body("other"),
    })
    .await;
    let open = open(&provider).await;
    let then: Vec<Value> = (0..20).map(|_| json!({"url": "{api}/other"})).collect();
    let told = open.output("open", json!({"url": "{api}/endless", "reads": 2, "then": then})).await;
    assert_eq!((&told["is_over"], &told["then"][19]["body"]), (&json!(false), &json!("other")));
    let written = provider.bytes_written();
    assert!(written < 16 << 20, "{written} bytes were taken for two small readings");
}

#[tokio::test]
async fn r9_a_stream_has_a_limit_of_bytes() {
    for (reply, what) in [
        (Reply::endless(), "chunks without end"),
        (Reply::declared(1 << 40), "a declared length"),
        (Reply::gzip_bomb(64 << 20), "a bomb"),
    ] {
        let provider = Provider::scripted([reply]).await;
        let open = open_with(&provider, |connection| connection.limits.stream_bytes = 1 << 20).await;
        let error = open.error("open", json!({"url": "{api}/x"})).await;
        assert_eq!((error.kind(), error.status()), (&Kind::TooLarge, Some(200)), "{what}: {error:?}");
        assert!(error.details().unwrap().contains("limits.stream_bytes"), "{what}: {error}");
        assert_eq!(provider.count(), 1, "{what}");
    }
}

/// A packed answer is read unpacked, and larger than a whole one may be.
#[tokio::test]
async fn a_packed_answer_is_read_unpacked() {
    let told = read(Reply::gzip_bomb(24 << 20)).await.unwrap();
    assert_eq!((&told["bytes"], &told["is_over"]), (&json!(24 << 20), &json!(true)));
}

/// R9 and R10: what was cut is no end, and nothing is asked for again once the head was handed on.
#[tokio::test]
async fn r9_a_cut_body_is_an_error_and_is_not_asked_for_again() {
    let cut_chunks = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n";
    for reply in [Reply::cut(), Reply::raw(cut_chunks), Reply::raw_then_reset(cut_chunks)] {
        let provider = Provider::scripted([reply, Reply::status(200).body("again")]).await;
        let open = open(&provider).await;
        let error = open.error("open", json!({"url": "{api}/x"})).await;
        assert_eq!(*error.kind(), Kind::Network(NetworkStage::Reset), "{error:?}");
        assert_eq!((error.request_sent(), provider.count()), (RequestSent::Yes, 1));
    }
}

/// Until the head is here all is as for a whole answer: trouble is waited out, statuses become errors, redirects are followed.
#[tokio::test]
async fn until_the_head_all_is_as_ever() {
    let provider = Provider::scripted([
        Reply::status(503),
        Reply::reset(),
        Reply::redirect(302, "/y"),
        Reply::status(200).body("there"),
        Reply::status(404).header("x-request-id", "r-4").body("no"),
        Reply::status(200).header("content-encoding", "br").body("?"),
    ])
    .await;
    let open = open(&provider).await;
    let told = open.output("open", json!({"url": "{api}/x"})).await;
    assert_eq!((&told["text"], &told["attempts"]), (&json!("there"), &json!(4)));
    let error = open.error("open", json!({"url": "{api}/x"})).await;
    assert_eq!((error.kind(), error.body(), error.request_id()), (&Kind::NotFound, Some("no"), Some("r-4")));
    let error = open.error("open", json!({"url": "{api}/x"})).await;
    assert_eq!(*error.kind(), Kind::SchemaViolation, "{error:?}");
}

const RULES: &str = r#"
[[answers]]
status = [202]
kind = "transient"
source = "made up for the tests"
date = "2026-11-30"

[[answers]]
pointer = "/error"
equals = "yes"
kind = "forbidden"
source = "made up for the tests"
date = "2026-11-30"
"#;

/// What the manifest says of a status or a header field holds for an answer that is opened as for any other; what it says of
/// a body does not, and with a tape, which has the body, neither.
#[tokio::test]
async fn a_rule_about_a_status_holds_for_what_is_opened_and_one_about_a_body_does_not() {
    let folder = tempfile::tempdir().unwrap();
    for is_taped in [false, true] {
        let replies = [Reply::status(202).body("not ready"), Reply::status(200).body(r#"{"error":"yes"}"#)];
        let provider = Provider::scripted(replies).await;
        let mut host = Host::builder().code_dir(wharfage_tests::compiled_code()).clock(wharfage_tests::skipping());
        if is_taped {
            host = host.tape(Tape::open(folder.path().join("tape.json"), TapeMode::Record).unwrap());
        }
        let scene = Scene::of(guests::HTTP_STREAM).manifest(RULES).with(&provider);
        let plugin = scene.connect(&host.build().unwrap(), &scene::account("")).await.unwrap();
        let input = json!({"url": "{api}/x"});
        let told = plugin.call::<Value>("open", &input).await.unwrap().output;
        assert_eq!((&told["text"], &told["attempts"]), (&json!(r#"{"error":"yes"}"#), &json!(2)), "taped: {is_taped}");
    }
}

/// In real time, for that is what it is about.
#[tokio::test]
async fn r9_a_stream_that_stands_still_ends() {
    let provider = Provider::scripted([Reply::dribble()]).await;
    let open = Scene::of(guests::HTTP_STREAM)
        .with(&provider)
        .grant(|connection| connection.limits.stream_idle_ms = 100)
        .real_time()
        .open()
        .await;
    let error = open.error("open", json!({"url": "{api}/x"})).await;
    assert_eq!(*error.kind(), Kind::Timeout, "{error:?}");
    assert!(error.message().contains("stream_idle_ms of 100") && error.details().is_some(), "{error}");
}

/// The call's own deadline is the longest that a stream lasts.
#[tokio::test]
async fn r9_a_stream_ends_with_its_call() {
    let provider = Provider::scripted([Reply::dribble()]).await;
    let open = Scene::of(guests::HTTP_STREAM)
        .with(&provider)
        .grant(|connection| connection.limits.call_ms = 300)
        .real_time()
        .open()
        .await;
    let error = open.error("open", json!({"url": "{api}/x"})).await;
    assert_eq!(*error.kind(), Kind::Deadline, "{error:?}");
}

const ONE_AT_A_TIME: &str = "\n[budgets.slots]\nscope = \"account\"\norigins = [\"api\"]\nconcurrency = 1\n\
                             source = \"made up for the tests\"\ndate = \"2026-11-22\"\n";

async fn one_at_a_time(provider: &Provider, clock: &TurningClock) -> Open {
    let scene = Scene::of(guests::HTTP_STREAM).manifest(ONE_AT_A_TIME).with(provider);
    scene.grant(|connection| connection.limits.call_ms = 1_000).any_clock(Arc::new(clock.clone())).open().await
}

#[tokio::test]
async fn r9_an_open_answer_holds_its_permit_until_it_is_let_go() {
    let provider = Provider::answering(|seen| match seen.target.as_str() {
        "/endless" => Reply::endless(),
        _ => Reply::status(200).body("x"),
    })
    .await;
    let clock = TurningClock::default();
    let open = one_at_a_time(&provider, &clock).await;
    let mut input = json!({"url": "{api}/endless", "reads": 1, "then": [{"url": "{api}/other"}]});
    let error = clock.run(open.error("open", input.clone())).await;
    assert_eq!(provider.count(), 1, "the second request went out beside the first: {error:?}");
    // The call is over, and what it held came back. Let go, it comes back at once; read to its end, too.
    input["drop"] = json!(true);
    open.output("open", input).await;
    open.output("open", json!({"url": "{api}/short", "then": [{"url": "{api}/other"}]})).await;
    assert_eq!(provider.count(), 5);
}

#[tokio::test]
async fn r9_events_hold_a_permit_of_their_own() {
    let provider = Provider::answering(|seen| match seen.target.as_str() {
        "/events" => Reply::chunked("text/event-stream; charset=utf-8", [&b"data: 1\n\n"[..]]).then_never(),
        _ => Reply::status(200).body("other"),
    })
    .await;
    let open = one_at_a_time(&provider, &TurningClock::default()).await;
    let told = open.output("open", json!({"url": "{api}/events", "reads": 1, "then": [{"url": "{api}/other"}]})).await;
    assert_eq!((&told["text"], &told["then"][0]["body"]), (&json!("data: 1\n\n"), &json!("other")));

    let open = open_with(&provider, |connection| connection.limits.event_streams = 2).await;
    open.output("open", json!({"url": "{api}/events", "reads": 1, "more": 1})).await;
    let error = open.error("open", json!({"url": "{api}/events", "reads": 1, "more": 2})).await;
    assert_eq!(*error.kind(), limit("event_streams"), "{error:?}");
    assert!(error.details().unwrap().contains("limits.event_streams"), "{error}");
    assert_eq!((error.status(), error.request_sent()), (Some(200), RequestSent::Yes), "{error:?}");
    open.output("open", json!({"url": "{api}/events", "reads": 1, "more": 1})).await;
}

/// A write whose answer would be thrown away for want of a place was sent all the same: whoever says that events are
/// wanted is refused before.
#[tokio::test]
async fn r9_who_wants_events_has_a_place_before_anything_is_sent() {
    let provider = Provider::answering(|seen| match seen.target.as_str() {
        "/events" => Reply::chunked("text/event-stream", [&b"data: 1\n\n"[..]]).then_never(),
        _ => Reply::status(200).body("other"),
    })
    .await;
    let open = open_with(&provider, |connection| connection.limits.event_streams = 1).await;
    let wanting = |url: &str, accept: &str, more: u64| json!({"method": "POST", "url": url, "headers": [["Accept", accept]], "reads": 1, "more": more});
    let error = open.error("open", wanting("{api}/events", "Text/Event-Stream;q=1", 1)).await;
    assert_eq!((error.kind(), error.request_sent()), (&limit("event_streams"), RequestSent::No), "{error:?}");
    assert_eq!(provider.count(), 1, "the second write was sent and its answer thrown away");
    // What is answered in another way gives the place back, and who takes either has none before.
    open.output("open", wanting("{api}/other", "text/event-stream", 2)).await;
    open.output("open", wanting("{api}/other", "application/json, text/event-stream", 2)).await;
    open.output("open", wanting("{api}/events", "text/event-stream", 0)).await;
    assert_eq!(provider.count(), 8);
}

/// What arrived is handed on at once: an event does not wait for the next.
#[tokio::test]
async fn an_event_is_not_held_back() {
    let provider = Provider::scripted([Reply::chunked("text/event-stream", [&b"data: 1\n\n"[..]]).then_never()]).await;
    let open = open(&provider).await;
    let told = open.output("open", json!({"url": "{api}/x", "reads": 1})).await;
    assert_eq!(told["text"], "data: 1\n\n");
}

/// R10: however the provider cuts what it sends back.
#[tokio::test]
async fn r10_a_secret_across_pieces_is_masked() {
    let percent: String = API_KEY.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let hex: String = API_KEY.bytes().map(|byte| format!("{byte:02x}")).collect();
    let quoted = json!({ "key": API_KEY }).to_string();
    let forms = [API_KEY.to_owned(), percent, hex, quoted]
        .into_iter()
        .chain(["", "a", "ab"].map(|before| STANDARD.encode(format!("{before}{API_KEY}"))));
    for form in forms {
        for size in [1, 3, 7] {
            let text = format!("before {form} after");
            let pieces: Vec<&[u8]> = text.as_bytes().chunks(size).collect();
            let provider = Provider::scripted([Reply::chunked("text/plain", pieces)]).await;
            let open = open(&provider).await;
            let told = open.output("open", json!({"url": "{api}/x", "max": 5})).await;
            let got = told["text"].as_str().unwrap();
            assert!(got.starts_with("before ") && got.ends_with(" after") && got.contains("[masked]"), "{got}");
            assert!(!got.to_lowercase().contains(&API_KEY.to_lowercase()), "{got}");
            assert!(!got.contains(form.get(8..form.len() - 4).unwrap()), "{got}");
            let leaks = open.steps().into_iter().filter(|step| matches!(step, PathEvent::Leaked { .. })).count();
            assert_eq!((leaks, open.plugin.leaks()), (1, 1), "it is told once for each answer");
        }
    }
}

/// A whole answer that holds a secret is told in the same way, and so is an error.
#[tokio::test]
async fn every_answer_with_a_secret_is_told_once() {
    let twice = format!("{API_KEY} and {API_KEY}");
    let provider = Provider::scripted([
        Reply::status(200).header("x-echo", API_KEY).body(twice.clone()),
        Reply::status(404).body(twice),
        Reply::status(200).body("clean"),
    ])
    .await;
    let open = Scene::of(guests::HTTP_SEND).with(&provider).open().await;
    for leaks in [1, 2, 2] {
        let _ = open.call("send", json!({"url": "{api}/x?secret=1"})).await;
        assert_eq!(open.plugin.leaks(), leaks);
    }
    let paths: Vec<PathEvent> =
        open.steps().into_iter().filter(|step| matches!(step, PathEvent::Leaked { .. })).collect();
    let leaked = PathEvent::Leaked { path: format!("{}/x", provider.url()) };
    assert_eq!(paths, [leaked.clone(), leaked]);
}

/// The same where the head of an answer holds it and the pieces of its body do, too.
#[tokio::test]
async fn an_opened_answer_with_a_secret_is_told_once() {
    let provider = Provider::scripted([
        Reply::status(200).header("x-echo", API_KEY).body(API_KEY),
        Reply::status(200).header("x-echo", API_KEY).body("clean"),
        Reply::status(200).body(API_KEY),
    ])
    .await;
    let open = open(&provider).await;
    for leaks in 1..=3 {
        open.output("open", json!({"url": "{api}/x"})).await;
        assert_eq!(open.plugin.leaks(), leaks);
    }
}

/// A body that is not read yet says nothing; that of an error is read, and the manifest's rules are asked about it.
#[tokio::test]
async fn rules_about_bodies_are_for_bodies_that_are_read() {
    let rule = "\n[[answers]]\npointer = \"/error\"\ncontains = \"slow down\"\nkind = \"quota-exhausted\"\n";
    let body = json!({"error": "slow down"});
    let provider = Provider::scripted([Reply::json(&body), Reply::status(418).body(body.to_string())]).await;
    let open = Scene::of(guests::HTTP_STREAM).manifest(rule).with(&provider).open().await;
    assert_eq!(open.output("open", json!({"url": "{api}/x"})).await["text"], body.to_string());
    let error = open.error("open", json!({"url": "{api}/x"})).await;
    assert_eq!((error.kind(), error.status()), (&Kind::QuotaExhausted, Some(418)), "{error:?}");
}

/// R10: a part of an answer goes with no credential; without one it does.
#[tokio::test]
async fn r10_a_range_goes_only_without_a_credential() {
    let provider = Provider::scripted([Reply::status(206).body("part")]).await;
    let open = open(&provider).await;
    let mut input = json!({"url": "{api}/x", "headers": [["Range", "bytes=0-3"]]});
    for credential in [json!(null), json!("bearer")] {
        input["credential"] = credential;
        let error = open.error("open", input.clone()).await;
        assert_eq!(*error.kind(), Kind::PolicyDenied("header".to_owned()), "{error:?}");
    }
    assert_eq!(provider.count(), 0);
    input["credential"] = json!("anonymous");
    let told = open.output("open", input).await;
    assert_eq!((&told["text"], &told["status"]), (&json!("part"), &json!(206)));
    assert_eq!(provider.seen()[0].header("range"), Some("bytes=0-3"));
    assert_eq!(provider.seen()[0].header("authorization"), None);
}

// ---------------------------------------------------------------------------------------------- writing

/// 16 MiB, where a whole body may have 64 KiB; with a length and without.
#[tokio::test]
async fn an_upload_arrives_whole() {
    const PIECES: usize = 160;
    const BYTES: usize = 100 << 10;
    for length in [json!(null), json!(PIECES * BYTES)] {
        let provider = Provider::scripted([Reply::status(201).body("made")]).await;
        let open = open_with(&provider, |connection| connection.limits.request_body_bytes = 64 << 10).await;
        let input = json!({"method": "POST", "url": "{api}/up", "pieces": PIECES, "bytes": BYTES, "length": length});
        let told = open.output("up", input).await;
        assert_eq!((&told["status"], &told["body"]), (&json!(201), &json!("made")));
        let seen = &provider.seen()[0];
        assert_eq!(seen.body.len(), PIECES * BYTES);
        assert!(
            seen.body.chunks(BYTES).all(|piece| piece.iter().enumerate().all(|(at, b)| *b == b'a' + (at % 23) as u8))
        );
        assert_eq!(seen.header("authorization"), Some(&*format!("App {API_KEY}")));
        assert_eq!(seen.header("content-length").is_some(), !length.is_null());
        assert_eq!(provider.count(), 1);
    }
}

#[tokio::test]
async fn an_upload_may_be_empty() {
    for length in [json!(null), json!(0)] {
        let provider = Provider::scripted([Reply::status(201)]).await;
        let open = open(&provider).await;
        let told = open.output("up", json!({"method": "PUT", "url": "{api}/up", "pieces": 0, "length": length})).await;
        assert_eq!((&told["status"], provider.seen()[0].body.len(), provider.count()), (&json!(201), 0, 1));
    }
}

/// It does not wait for the next one, or for the end: a provider that hears nothing in between hangs up.
#[tokio::test]
async fn a_piece_leaves_when_it_is_written() {
    let provider = Provider::answering(|seen| match seen.target.starts_with("/up") {
        true => Reply::status(201),
        false => Reply::status(200).once_seen(2),
    });
    let provider = provider.await;
    let open = open(&provider).await;
    let input = json!({"method": "POST", "url": "{api}/up?patience=10000", "pieces": 1, "bytes": 10_000,
        "then": [{"url": "{api}/once-it-is-there"}]});
    let told = tokio::time::timeout(PATIENCE, open.output("up", input)).await.expect("the piece leaves");
    assert_eq!((&told["status"], provider.count()), (&json!(201), 2));
}

/// What was there already goes with `send`.
#[tokio::test]
async fn an_upload_is_written_and_not_given() {
    let provider = Provider::scripted([Reply::status(201)]).await;
    let open = open(&provider).await;
    let error = open.error("up", json!({"method": "PUT", "url": "{api}/up", "body": "given"})).await;
    assert!(matches!(error.kind(), Kind::InvalidRequest(_)) && provider.count() == 0, "{error:?}");
}

#[tokio::test]
async fn r9_an_upload_has_a_limit_of_bytes() {
    let provider = Provider::scripted([Reply::status(200)]).await;
    let open = open_with(&provider, |connection| connection.limits.upload_bytes = 100_000).await;
    let mut input = json!({"method": "POST", "url": "{api}/up", "pieces": 20, "bytes": 10_000});
    let error = open.error("up", input.clone()).await;
    assert_eq!(*error.kind(), limit("upload_bytes"), "{error:?}");
    input["length"] = json!(200_000);
    let error = open.error("up", input).await;
    assert_eq!((error.kind(), error.request_sent()), (&limit("upload_bytes"), RequestSent::No), "{error:?}");
    assert_eq!(provider.count(), 0, "what was broken off looked whole");
}

/// A length that was stated is kept, or nothing looks whole to the provider.
#[tokio::test]
async fn an_upload_keeps_to_its_length() {
    let provider = Provider::scripted([Reply::status(200)]).await;
    let open = open(&provider).await;
    for length in [5_000, 50_000] {
        let input = json!({"method": "POST", "url": "{api}/up", "pieces": 2, "bytes": 10_000, "length": length});
        let error = open.error("up", input).await;
        assert!(matches!(error.kind(), Kind::InvalidRequest(_)), "{error:?}");
    }
    let input = json!({"method": "POST", "url": "{api}/up", "pieces": 2, "bytes": 10_000, "drop": true});
    open.output("up", input).await;
    assert_eq!(provider.count(), 0, "what was broken off looked whole");
}

/// A provider that refuses midway is heard at once.
#[tokio::test]
async fn a_refusal_midway_ends_the_upload() {
    for finish_anyway in [false, true] {
        let provider = Provider::scripted([Reply::status(413).body("too much")]).await;
        let open = open(&provider).await;
        let input = json!({"method": "POST", "url": "{api}/up?patience=100000", "pieces": 4_000, "bytes": 10_000,
            "finish_anyway": finish_anyway});
        let error = open.error("up", input).await;
        assert_eq!((error.status(), error.body()), (Some(413), Some("too much")), "{error:?}");
        assert_eq!(provider.count(), 1);
    }
}

/// A provider that has what it wants before the end is not written to in vain.
#[tokio::test]
async fn an_early_answer_is_an_answer() {
    let provider = Provider::scripted([Reply::status(200).body("enough").then_closed()]).await;
    let open = open(&provider).await;
    let input = json!({"method": "PUT", "url": "{api}/up?patience=100000", "pieces": 1_000, "bytes": 10_000});
    assert_eq!(open.output("up", input).await["body"], "enough");
    assert_eq!(provider.count(), 1);
}

/// R9: once a byte has left, an upload is never sent again; a write that was lost may have happened.
#[tokio::test]
async fn r9_a_lost_upload_is_not_repeated() {
    for (method, kind) in
        [("POST", Kind::OutcomeUnknown), ("PUT", Kind::Network(NetworkStage::Reset)), ("PATCH", Kind::OutcomeUnknown)]
    {
        let provider = Provider::scripted([Reply::reset(), Reply::status(200)]).await;
        let open = open(&provider).await;
        let input = json!({"method": method, "url": "{api}/up?patience=20000", "pieces": 30, "bytes": 10_000});
        let error = open.error("up", input).await;
        assert_eq!((error.kind(), provider.count()), (&kind, 1), "{method}: {error:?}");
        assert_eq!(error.request_sent(), RequestSent::Maybe, "{method}");
    }
    for reply in [Reply::status(429), Reply::status(503), Reply::redirect(307, "/elsewhere")] {
        let provider = Provider::scripted([reply, Reply::status(200)]).await;
        let open = open(&provider).await;
        let input = json!({"method": "PUT", "url": "{api}/up", "pieces": 2, "bytes": 10_000});
        let error = open.error("up", input).await;
        assert_eq!((error.request_sent(), provider.count()), (RequestSent::Yes, 1), "{error:?}");
    }
}

/// Nothing has left when no connection came about, so another is tried.
#[tokio::test]
async fn an_upload_that_never_left_is_tried_again() {
    let open = Scene::of(guests::HTTP_STREAM).at("api", "http://127.0.0.1:1").open().await;
    let error = open.error("up", json!({"method": "PUT", "url": "{api}/up"})).await;
    assert_eq!((error.kind(), error.attempts()), (&Kind::Network(NetworkStage::Connect), 5), "{error:?}");
    assert_eq!(error.request_sent(), RequestSent::No);
}

/// In real time: a provider that takes nothing more.
#[tokio::test]
async fn r9_an_upload_that_stands_still_ends() {
    let provider = Provider::scripted([Reply::never().once_seen(2)]).await;
    let open = Scene::of(guests::HTTP_STREAM)
        .with(&provider)
        .grant(|connection| connection.limits.stream_idle_ms = 200)
        .real_time()
        .open()
        .await;
    let input = json!({"method": "POST", "url": "{api}/up?patience=1000", "pieces": 8_000, "bytes": 10_000});
    let error = open.error("up", input).await;
    assert_eq!(*error.kind(), Kind::OutcomeUnknown, "{error:?}");
    assert!(error.message().contains("stream_idle_ms of 200"), "{error}");
}
