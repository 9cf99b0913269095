//! Tapes: what is recorded of a call, what is never in the file, and what a replay does with it.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use wharfage::tape::{Fixture, Tape, TapeMode};
use wharfage::{Error, Host, Kind, ManualClock, Plugin};
use wharfage_tests::fixture::Closed;
use wharfage_tests::{API_KEY, NOW, Provider, Reply, Scene, guests, scene};

/// A guest that sends what it is told, over and over with another tape in the host.
struct Studio {
    url: String,
    folder: tempfile::TempDir,
}

impl Studio {
    fn with(provider: &Provider) -> Self {
        Self { url: provider.url(), folder: tempfile::tempdir().unwrap() }
    }

    fn scene(&self) -> Scene {
        Scene::of(guests::HTTP_SEND).at("api", &self.url)
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("tape.json")
    }

    fn text(&self) -> String {
        std::fs::read_to_string(self.path()).unwrap()
    }

    fn names(&self) -> Vec<String> {
        let names = std::fs::read_dir(self.folder.path()).unwrap();
        names.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
    }

    fn tape(&self, mode: TapeMode) -> Tape {
        Tape::open(self.path(), mode).unwrap()
    }

    async fn open(&self, tape: &Tape) -> Plugin {
        let (tape, clock) = (tape.clone(), ManualClock::skipping(NOW, 7));
        let host = Host::builder().state_dir(wharfage_tests::compiled_code()).clock(clock).tape(tape).build().unwrap();
        self.scene().connect(&host, &scene::account("")).await.unwrap()
    }

    /// Calls once and ends the tape.
    async fn call(&self, mode: TapeMode, input: &Value) -> Result<Value, Error> {
        let tape = self.tape(mode);
        let result = self.open(&tape).await.call::<Value>("send", input).await.map(|answer| answer.output);
        tape.finish().unwrap();
        result
    }

    async fn record(&self, input: &Value) -> Result<Value, Error> {
        self.call(TapeMode::Record, input).await
    }

    async fn replay(&self, input: &Value) -> Result<Value, Error> {
        self.call(TapeMode::Replay, input).await
    }
}

/// An answer without its header fields, of which a tape keeps only those that matter.
fn bare(answer: &Value) -> Value {
    let mut answer = answer.clone();
    answer.as_object_mut().unwrap().remove("headers");
    answer
}

/// A secret in the forms in which providers send one back.
fn echoes(secret: &str) -> Vec<String> {
    let percent: String = secret.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
    let phases = ["", "a", "ab"].map(|before| STANDARD.encode(format!("{before}{secret}tail")));
    let url_safe = URL_SAFE_NO_PAD.encode(format!("x{secret}"));
    let escaped = secret.replace('/', "\\/");
    let encoded = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
    [secret.to_owned(), secret.to_ascii_uppercase(), percent, hex, url_safe, escaped, encoded]
        .into_iter()
        .chain(phases)
        .collect()
}

/// What of a secret would be found in a text.
fn found(text: &str, secret: &str) -> Vec<String> {
    // The middle of what base64 makes of it is the same wherever it stands in three bytes.
    let middles = (0..3).map(|skip| {
        let whole = STANDARD.encode(format!("{}{secret}", &"abc"[..skip]));
        whole[8..whole.len() - 8].to_owned()
    });
    let hex = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
    let escaped: String = secret.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let lower = text.to_ascii_lowercase();
    [secret.to_owned(), secret.replace('/', "\\/"), hex, escaped]
        .into_iter()
        .chain(middles)
        .filter(|form| lower.contains(&form.to_ascii_lowercase()))
        .collect()
}

#[tokio::test]
async fn r14_no_secret_is_in_the_file_whatever_a_provider_echoes() {
    for credential in ["key", "bearer", "pair", "in-query"] {
        let bodies = [
            ("application/json", json!({"echo": echoes(API_KEY)}).to_string().replace(r"\\/", r"\/").into_bytes()),
            ("text/plain", echoes(API_KEY).join("\n").into_bytes()),
            ("application/octet-stream", [b"\xff\xfe", echoes(API_KEY).join("\0").as_bytes()].concat()),
        ];
        for (content_type, body) in bodies {
            let provider = Provider::scripted([Reply::status(200)
                .header("content-type", content_type)
                .header("etag", &format!("\"{API_KEY}\""))
                .header("x-request-id", &echoes(API_KEY).pop().unwrap())
                .header("link", &format!("<https://x.test/?k={API_KEY}>"))
                .header("set-cookie", "session=canary-cookie")
                .header("x-refresh-token", "canary-token")
                .header("server", "canary-server")
                .body(body)])
            .await;
            let studio = Studio::with(&provider);
            let input = json!({"credential": credential, "url": "{api}/echo?page=1"});
            studio.record(&input).await.unwrap();
            let sent = provider.seen()[0].text();
            let pair = STANDARD.encode(format!("{}:{API_KEY}", wharfage_tests::USER));
            let form: String = url::form_urlencoded::byte_serialize(API_KEY.as_bytes()).collect();
            assert!([API_KEY, &pair, &form].iter().any(|form| sent.contains(*form)), "it was not signed: {sent}");
            let text = studio.text();
            assert_eq!(found(&text, API_KEY), [] as [&str; 0], "{credential} {content_type}: {text}");
            // This guest repeats every header field it got; the exchanges hold what stays.
            let exchanges = serde_json::from_str::<Value>(&text).unwrap()["exchanges"].to_string();
            assert!(!exchanges.contains("canary") && !text.contains(&pair), "{text}");
            assert!(exchanges.contains("{api}/echo?page=1") && !exchanges.contains("authorization"), "{text}");
            // Inside base64 nothing hides either.
            let fixture = Fixture::parse(&text).unwrap();
            let body = fixture.exchanges[0].response.body(&|_| None);
            assert_eq!(found(&String::from_utf8_lossy(&body), API_KEY), [] as [&str; 0]);
            let replayed = studio.replay(&input).await.unwrap();
            assert_eq!(found(&replayed.to_string(), API_KEY), [] as [&str; 0]);
        }
    }
}

#[tokio::test]
async fn what_was_escaped_twice_cannot_be_masked_and_is_not_written() {
    let inner = json!({"key": API_KEY}).to_string().replace('/', r"\/");
    let provider = Provider::scripted([Reply::json(&json!({"request": inner}))]).await;
    let studio = Studio::with(&provider);
    let tape = studio.tape(TapeMode::Record);
    studio.open(&tape).await.call::<Value>("send", &json!({})).await.unwrap();
    assert_eq!(tape.finish().unwrap_err().kind(), &Kind::PolicyDenied("tape".to_owned()));
    assert_eq!(studio.names(), [] as [&str; 0]);
}

#[tokio::test]
async fn what_would_hold_a_known_secret_is_not_written() {
    let provider = Provider::scripted([Reply::json(&json!({}))]).await;
    let studio = Studio::with(&provider);
    let tape = studio.tape(TapeMode::Record);
    let plugin = studio.open(&tape).await;
    // The caller puts it into the input, where no mask passes.
    plugin.call::<Value>("send", &json!({"note": API_KEY})).await.unwrap();
    let error = tape.finish().unwrap_err();
    assert_eq!(error.kind(), &Kind::PolicyDenied("tape".to_owned()));
    assert!(!error.to_string().contains(API_KEY), "{error}");
    assert_eq!(studio.names(), [] as [&str; 0], "a file was left");
}

#[tokio::test]
async fn a_secret_too_short_for_the_mask_is_not_written_either() {
    let provider = Provider::scripted([Reply::json(&json!({"you": "ab12"}))]).await;
    let studio = Studio::with(&provider);
    let tape = studio.tape(TapeMode::Record);
    let host = Host::builder().state_dir(wharfage_tests::compiled_code()).tape(tape.clone()).build().unwrap();
    let short = wharfage::SecretSource::Value(wharfage::SecretValue::new("ab12"));
    let account = scene::account("").with_secret("api_key", short);
    let plugin = studio.scene().connect(&host, &account).await.unwrap();
    plugin.call::<Value>("send", &json!({})).await.unwrap();
    let error = tape.finish().unwrap_err();
    assert!(error.message().contains("`api_key` is too short"), "{error}");
    assert_eq!(studio.names(), [] as [&str; 0]);
}

#[cfg(unix)]
#[tokio::test]
async fn the_file_is_its_owners_alone_and_nothing_is_left_beside_it() {
    use std::os::unix::fs::PermissionsExt as _;
    let provider = Provider::scripted([Reply::json(&json!({}))]).await;
    let studio = Studio::with(&provider);
    studio.record(&json!({})).await.unwrap();
    assert_eq!(std::fs::metadata(studio.path()).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(studio.names(), ["tape.json"]);
}

#[tokio::test]
async fn r14_a_strict_replay_reaches_no_network_and_is_the_same_each_time() {
    let provider = Provider::scripted([
        Reply::status(503).header("retry-after", "1"),
        Reply::status(500),
        Reply::json(&json!({"n": 1})).header("date", "Sun, 22 Nov 2026 08:49:37 GMT"),
    ])
    .await;
    let studio = Studio::with(&provider);
    let input = json!({"url": "{api}/x?b=2&a=1"});
    let live = studio.record(&input).await.unwrap();
    let asked = provider.count();
    let mut runs = BTreeSet::new();
    for _ in 0..3 {
        let tape = studio.tape(TapeMode::Replay);
        let steps: Arc<std::sync::Mutex<Vec<String>>> = Arc::default();
        let heard = steps.clone();
        let host = Host::builder()
            .state_dir(wharfage_tests::compiled_code())
            .transport(Closed)
            .tape(tape.clone())
            .observer(move |step| heard.lock().unwrap().push(format!("{step:?}")))
            .build()
            .unwrap();
        // Nobody is there, and no key: a name that does not resolve and an account without secrets.
        let plugin = studio.scene().connect(&host, &wharfage::Account::default()).await.unwrap();
        let answer = plugin.call::<Value>("send", &input).await.unwrap();
        assert_eq!(answer.attempts, 3);
        assert_eq!(answer.output["body"], live["body"]);
        assert_eq!(tape.unused(), [] as [&str; 0]);
        runs.insert(format!("{:?} {:?}", answer, steps.lock().unwrap()));
    }
    assert_eq!(runs.len(), 1, "{runs:#?}");
    assert!(runs.first().unwrap().contains("Retrying"), "{runs:?}");
    assert_eq!(provider.count(), asked);
}

#[tokio::test]
async fn what_is_not_on_the_tape_is_told_with_the_nearest() {
    let provider = Provider::scripted([Reply::json(&json!({"n": 1}))]).await;
    let studio = Studio::with(&provider);
    studio.record(&json!({"url": "{api}/orders?page=1&limit=5"})).await.unwrap();
    let told = |error: Error| (error.message().to_owned(), error.details().unwrap_or_default().to_owned());
    let error = studio.replay(&json!({"url": "{api}/orders?limit=5&page=2"})).await.unwrap_err();
    assert_eq!(error.kind(), &Kind::PolicyDenied("tape".to_owned()));
    let (message, details) = told(error);
    assert!(
        message.contains("GET {api}/orders, which is not on the tape") && message.contains("tape.json"),
        "{message}"
    );
    assert!(details.contains("asked for GET {api}/orders?limit=5&page=2"), "{details}");
    assert!(details.contains("nearest there is GET {api}/orders?page=1&limit=5\n"), "{details}");
    assert!(details.contains("--record-new"), "{details}");
    let (_, details) =
        told(studio.replay(&json!({"url": "{api}/orders?page=1&limit=5", "method": "POST"})).await.unwrap_err());
    assert!(details.contains("nearest there is GET"), "{details}");
    let input = json!({"url": "{api}/orders?page=1&limit=5", "body": "x"});
    let (_, details) = told(studio.replay(&input).await.unwrap_err());
    assert!(details.contains("with another body or other header fields"), "{details}");
    // Once is once.
    let tape = studio.tape(TapeMode::Replay);
    let plugin = studio.open(&tape).await;
    let input = json!({"url": "{api}/orders?limit=5&page=1"});
    assert_eq!(tape.unused(), ["GET {api}/orders?page=1&limit=5"]);
    plugin.call::<Value>("send", &input).await.unwrap();
    assert_eq!(tape.unused(), [] as [&str; 0]);
    let (_, details) = told(plugin.call::<Value>("send", &input).await.unwrap_err());
    assert!(details.contains("which was played already"), "{details}");
    assert_eq!(provider.count(), 1);
}

#[tokio::test]
async fn each_mode_does_what_it_says() {
    let count = AtomicUsize::new(0);
    let provider = Provider::answering(move |seen| {
        Reply::json(&json!({"n": count.fetch_add(1, Ordering::SeqCst), "at": seen.target}))
    })
    .await;
    let studio = Studio::with(&provider);
    let (first, second) = (json!({"url": "{api}/1"}), json!({"url": "{api}/2"}));

    // A replay without a tape says how to make one.
    let error = Tape::open(studio.path(), TapeMode::Replay).err().unwrap();
    assert!(error.details().unwrap().contains("--record"), "{error}");
    // The first time it is recorded, from then on it is played.
    let live = studio.call(TapeMode::FailOnNew, &first).await.unwrap();
    assert_eq!(bare(&studio.call(TapeMode::FailOnNew, &first).await.unwrap()), bare(&live));
    assert_eq!(provider.count(), 1);
    assert!(studio.call(TapeMode::FailOnNew, &second).await.is_err());
    assert_eq!(provider.count(), 1);
    // Recording asks again, whatever is there.
    let anew = studio.record(&first).await.unwrap();
    assert_ne!(anew["body"], live["body"]);
    assert_eq!((provider.count(), studio.replay(&first).await.unwrap()["body"].clone()), (2, anew["body"].clone()));
    // With what is there and nothing new, nothing is sent; and once it says what came of it, nothing is written.
    assert_eq!(studio.call(TapeMode::ReplayOrRecord, &first).await.unwrap()["body"], anew["body"]);
    let before = studio.text();
    assert_eq!(studio.call(TapeMode::ReplayOrRecord, &first).await.unwrap()["body"], anew["body"]);
    assert_eq!((provider.count(), studio.text()), (2, before.clone()));
    // A tape holds one call: another one is refused before anything of it is sent.
    let tape = studio.tape(TapeMode::ReplayOrRecord);
    let plugin = studio.open(&tape).await;
    let refused = async |operation: &str| plugin.call::<Value>(operation, &second).await.unwrap_err();
    assert!(refused("send").await.message().contains("the tape is of send with another input"));
    assert!(refused("write").await.message().contains("the tape is of send;"));
    assert_eq!((provider.count(), studio.text()), (2, before));
}

#[tokio::test]
async fn what_is_new_is_added_to_what_is_there() {
    let provider = Provider::scripted([Reply::redirect(302, "/2"), Reply::json(&json!({"n": 2}))]).await;
    let studio = Studio::with(&provider);
    let input = json!({"url": "{api}/1"});
    let live = studio.record(&input).await.unwrap();
    // Only the first hop is left.
    let mut cut: Value = serde_json::from_str(&studio.text()).unwrap();
    cut["exchanges"].as_array_mut().unwrap().pop();
    std::fs::write(studio.path(), cut.to_string()).unwrap();
    assert!(studio.replay(&input).await.is_err());
    assert_eq!(studio.call(TapeMode::ReplayOrRecord, &input).await.unwrap()["body"], live["body"]);
    assert_eq!(provider.seen().iter().map(|seen| seen.target.as_str()).collect::<Vec<_>>(), ["/1", "/2", "/2"]);
    assert_eq!(Fixture::parse(&studio.text()).unwrap().exchanges.len(), 2);
    assert_eq!(studio.replay(&input).await.unwrap()["body"], live["body"]);
}

#[tokio::test]
async fn a_taped_429_is_waited_out_and_a_taped_redirect_followed() {
    let provider = Provider::scripted([
        Reply::status(429).header("retry-after", "7"),
        Reply::redirect(307, "/moved?a=1"),
        Reply::json(&json!({"there": true})),
    ])
    .await;
    let studio = Studio::with(&provider);
    let input = json!({"url": "{api}/old"});
    let live = studio.record(&input).await.unwrap();
    let replayed = studio.replay(&input).await.unwrap();
    assert_eq!((bare(&replayed), replayed["attempts"].as_u64()), (bare(&live), Some(3)));
    assert!(replayed["url"].as_str().unwrap().ends_with("/moved?a=1"));
    let fixture = Fixture::parse(&studio.text()).unwrap();
    let statuses: Vec<u16> = fixture.exchanges.iter().map(|exchange| exchange.response.status).collect();
    assert_eq!(statuses, [429, 307, 200]);
    // Without the good end, a replay ends as live: the wait of the tape is in the error.
    let last: Value = serde_json::from_str(&studio.text()).unwrap();
    let mut first_only = last;
    first_only["exchanges"].as_array_mut().unwrap().truncate(1);
    std::fs::write(studio.path(), first_only.to_string()).unwrap();
    assert_eq!(studio.replay(&input).await.unwrap_err().kind(), &Kind::PolicyDenied("tape".to_owned()));
}

/// A tape holds whole bodies, so what goes and comes piece by piece is put together for it.
#[tokio::test]
async fn streams_are_taped_whole() {
    let provider = Provider::scripted([
        Reply::chunked("text/event-stream", [&b"data: 1\n"[..], b"\n"]),
        Reply::status(201).body("made"),
    ])
    .await;
    let folder = tempfile::tempdir().unwrap();
    let call = async |mode, operation: &str, input: Value| {
        let tape = Tape::open(folder.path().join(operation), mode).unwrap();
        let clock = ManualClock::skipping(NOW, 7);
        let host = Host::builder().state_dir(wharfage_tests::compiled_code()).clock(clock).tape(tape.clone()).build();
        let scene = Scene::of(guests::HTTP_STREAM).at("api", &provider.url());
        let plugin = scene.connect(&host.unwrap(), &scene::account("")).await.unwrap();
        let output = plugin.call::<Value>(operation, &input).await.map(|answer| answer.output);
        tape.finish().unwrap();
        output
    };
    let up = |bytes: u32| json!({"method": "PUT", "url": "{api}/up", "pieces": 3, "bytes": bytes});
    for mode in [TapeMode::Record, TapeMode::Replay] {
        let read = call(mode, "open", json!({"url": "{api}/events"})).await.unwrap();
        assert_eq!((&read["text"], &read["is_over"]), (&json!("data: 1\n\n"), &json!(true)));
        assert_eq!(call(mode, "up", up(1_000)).await.unwrap()["body"], "made");
    }
    let error = call(TapeMode::Replay, "up", up(999)).await.unwrap_err();
    assert_eq!(*error.kind(), Kind::PolicyDenied("tape".to_owned()), "another body was taken for it: {error:?}");
    assert_eq!((provider.count(), provider.seen()[1].body.len()), (2, 3_000));
}

#[tokio::test]
async fn bytes_and_numbers_come_back_as_they_were() {
    let bytes: Vec<u8> = (0..=255).collect();
    let numbers =
        r#"{"wei": 115792089237316195423570985008687907853269984665640564039457584007913129639935, "n": 1.10}"#;
    let provider = Provider::answering({
        let bytes = bytes.clone();
        move |seen| match seen.target.as_str() {
            "/bytes" => Reply::status(200).header("content-type", "image/png").body(bytes.clone()),
            _ => Reply::status(200).header("content-type", "application/json").body(numbers),
        }
    })
    .await;
    for (path, said) in [("/bytes", STANDARD.encode(&bytes)), ("/numbers", numbers.to_owned())] {
        let studio = Studio::with(&provider);
        let input = json!({"url": format!("{{api}}{path}")});
        let live = studio.record(&input).await.unwrap();
        assert!(studio.text().contains(&said), "{}", studio.text());
        assert_eq!(bare(&studio.replay(&input).await.unwrap()), bare(&live));
    }
}

#[tokio::test]
async fn every_body_of_a_request_is_found_again() {
    let provider = Provider::scripted([Reply::json(&json!({}))]).await;
    for (content_type, body, again) in [
        ("application/json", r#"{"a":1.50,"b":[]}"#, r#"{ "b": [], "a": 1.5 }"#),
        ("application/x-www-form-urlencoded", "a=1+2&b=%C3%A4", "a=1%202&b=%c3%a4"),
        ("text/csv", "a,b\n1,2\n", "a,b\n1,2\n"),
    ] {
        let studio = Studio::with(&provider);
        let input = |body: &str| json!({"method": "POST", "repeat": "keyed", "headers": [["Content-Type", content_type], ["X-Other", "1"]], "body": body});
        studio.record(&input(body)).await.unwrap();
        studio.replay(&input(again)).await.unwrap();
        assert!(studio.replay(&input("b")).await.is_err());
        let fixture = Fixture::parse(&studio.text()).unwrap();
        let names: Vec<&String> = fixture.exchanges[0].request.headers.keys().collect();
        assert_eq!(names, ["content-type"]);
        assert!(!studio.text().to_ascii_lowercase().contains("idempotency-key"));
    }
}

#[tokio::test]
async fn errors_are_on_tape_and_what_was_never_answered_is_not() {
    let provider = Provider::scripted([Reply::status(404).header("x-request-id", "r-1").body("gone")]).await;
    let studio = Studio::with(&provider);
    let live = studio.record(&json!({})).await.unwrap_err();
    let replayed = studio.replay(&json!({})).await.unwrap_err();
    assert_eq!(format!("{live:?}"), format!("{replayed:?}"));
    let fixture: Value = serde_json::from_str(&studio.text()).unwrap();
    let expected = json!({"kind": "not-found", "status": 404, "request_id": "r-1"});
    assert_eq!(fixture["expect"]["error"], expected);

    let provider = Provider::scripted([Reply::reset()]).await;
    let studio = Studio::with(&provider);
    let tape = studio.tape(TapeMode::Record);
    studio.open(&tape).await.call::<Value>("send", &json!({})).await.unwrap_err();
    let error = tape.finish().unwrap_err();
    assert!(error.message().contains("without an answer of the provider (network)"), "{error}");
    assert_eq!(studio.names(), [] as [&str; 0]);
    // Nor was anything answered where the key is missing.
    let tape = studio.tape(TapeMode::Record);
    let host = Host::builder().state_dir(wharfage_tests::compiled_code()).tape(tape.clone()).build().unwrap();
    let plugin = studio.scene().connect(&host, &wharfage::Account::default()).await.unwrap();
    plugin.call::<Value>("send", &json!({})).await.unwrap_err();
    assert!(tape.finish().unwrap_err().message().contains("(credential-unavailable)"));
    assert_eq!(studio.names(), [] as [&str; 0]);
    // Nothing was called at all.
    assert!(studio.tape(TapeMode::Record).finish().unwrap_err().message().contains("no call ended"));
}

#[tokio::test]
async fn a_bad_tape_is_refused_with_its_place() {
    let provider = Provider::scripted([Reply::json(&json!({}))]).await;
    let studio = Studio::with(&provider);
    studio.record(&json!({})).await.unwrap();
    let good = studio.text();
    let deep = format!("{{\"operation\": {}1{}", "[".repeat(1_000_000), "]".repeat(1_000_000));
    for (text, said) in [
        (good[..good.len() / 2].to_owned(), "EOF"),
        (good.replacen("\"status\"", "\"status\": 200, \"status\"", 1), "duplicate field `status`"),
        (good.replacen("200", "1e400", 1), "line"),
        ("\u{feff}".to_owned() + &good, "line 1 column 1"),
        (deep, "line 1"),
        (String::new(), "line 1"),
    ] {
        std::fs::write(studio.path(), text).unwrap();
        for mode in [TapeMode::Replay, TapeMode::ReplayOrRecord, TapeMode::FailOnNew] {
            let error = Tape::open(studio.path(), mode).err().unwrap();
            assert_eq!(error.kind(), &Kind::Configuration);
            assert!(error.message().contains("tape.json") && error.details().unwrap().contains(said), "{error:?}");
        }
    }
    std::fs::write(studio.path(), b"\xff").unwrap();
    assert!(Tape::open(studio.path(), TapeMode::Replay).err().unwrap().message().contains("no text"));
    // Sparse, so that nothing is really written; reading stops at the limit.
    let file = std::fs::File::create(studio.path()).unwrap();
    file.set_len(1 << 40).unwrap();
    assert!(
        Tape::open(studio.path(), TapeMode::Replay).err().unwrap().message().contains("longer than 67108864 bytes")
    );
    assert!(Tape::open(studio.folder.path().join("not/there.json"), TapeMode::Record).is_err());
}

#[tokio::test]
async fn the_sdk_plays_what_a_host_recorded() {
    let bytes: Vec<u8> = (0..=255).collect();
    let provider = Provider::scripted([
        Reply::status(429).header("retry-after", "1"),
        Reply::redirect(302, "/new?a=1"),
        Reply::status(200).header("content-type", "image/png").body(bytes.clone()),
    ])
    .await;
    let studio = Studio::with(&provider);
    let input = json!({"url": "{api}/old"});
    studio.record(&input).await.unwrap();
    let mut fixture: Value = serde_json::from_str(&studio.text()).unwrap();
    assert_eq!(fixture["expect"]["output"]["body_bytes"], 256);
    assert!(native::replay(&fixture.to_string()).unwrap_err().contains("differs"));
    // The two tell what they got in their own words.
    fixture["expect"]["output"] = json!({"status": 200, "bytes": bytes});
    native::replay(&fixture.to_string()).unwrap();
}

/// The SDK reads by itself, for it must not depend on the host. Both accept and refuse the same files.
#[test]
fn host_and_sdk_read_the_same_files() {
    let whole = |operation: &str, input: &str, exchanges: &str, expect: &str| {
        format!(
            r#"{{"operation":"{operation}","input":{input},"from":"recorded","source":"s","date":"2026-01-31",
                "now":"2026-01-31T12:00:00.5+01:00","secrets":[],"exchanges":[{exchanges}],"expect":{expect}}}"#
        )
    };
    let get = |number: &str| {
        format!(r#"{{"request":{{"method":"GET","url":"{{api}}/{number}"}},"response":{{"status":200}}}}"#)
    };
    let sent = r#"{"output":{"status":200,"bytes":[97,255]}}"#;
    let one = r#"{"request":{"method":"POST","url":"{api}/x","text":"b","headers":{"Content-Type":"text/plain"}},
        "response":{"status":200,"headers":{"etag":"1"},"base64":"Yf8="}}"#;
    let good = whole("send", r#"{"url":"{api}/x","body":"b"}"#, one, sent);
    let three = format!("{},{},{}", get("1"), get("2"), get("3"));
    let two = format!("{},{}", get("1"), get("2"));
    let accepted = [
        good.clone(),
        good.replace(r#""text":"b""#, r#""base64":"Yg==""#),
        good.replace(r#","now":"2026-01-31T12:00:00.5+01:00","secrets":[]"#, ""),
        whole("list", "{}", &three, r#"{"output":[1,2,3],"pages":3}"#),
        whole("list", "{}", &two, r#"{"output":[1,2],"pages":2,"goes_on":true}"#),
    ];
    for (number, text) in accepted.iter().enumerate() {
        Fixture::parse(text).unwrap_or_else(|error| panic!("{number}: {error}"));
        native::replay(text).unwrap_or_else(|account| panic!("{number}: {account}"));
    }
    // A list that ends is not one that goes on.
    let ends = whole("list", "{}", &three, r#"{"output":[1,2,3],"pages":3,"goes_on":true}"#);
    assert!(native::replay(&ends).is_err());

    let deep = format!("{}1{}", "[".repeat(300), "]".repeat(300));
    let refused = [
        String::new(),
        "[]".to_owned(),
        good[..good.len() - 1].to_owned(),
        good.clone() + "1",
        good.replacen('{', r#"{"operation":"send","#, 1),
        good.replace("recorded", "made-up"),
        good.replace(r#""source":"s""#, r#""source":"""#),
        good.replace("2026-01-31\"", "2026-02-30\""),
        good.replace("T12:00:00.5+01:00", ""),
        good.replace("\"POST\"", "\"BREW\""),
        good.replace("\"status\":200,\"headers\"", "\"status\":42,\"headers\""),
        good.replace("\"status\":200,\"headers\"", "\"status\":1e99,\"headers\""),
        good.replace("\"status\":200,\"headers\"", "\"status\":200,\"status\":200,\"headers\""),
        good.replace("Yf8=", "Yf8"),
        good.replace("Yf8=", "Yf9="),
        good.replace("Yf8=", "Y-8="),
        good.replace(r#""base64":"Yf8=""#, r#""base64":"Yf8=","text":"""#),
        good.replace(r#""base64":"Yf8=""#, r#""base64":"Yf8=","json":null"#),
        good.replace(r#""text":"b""#, r#""text":"b","json":null"#),
        good.replace(r#""text":"b""#, &format!(r#""json":{deep}"#)),
        good.replace(r#""text":"b""#, r#""json":1e999"#),
        good.replace(r#""etag":"1""#, r#""etag":"1","ETag":"1""#),
        good.replace(r#""etag":"1""#, r#""etag":1"#),
        good.replace(r#""headers":{"etag""#, r#""cookies":{"etag""#),
        good.replace(sent, "{}"),
        good.replace(sent, r#"{"output":1,"error":{}}"#),
        good.replace(sent, r#"{"output":1e999}"#),
        good.replace(sent, &format!(r#"{{"output":{deep}}}"#)),
        good.replace(sent, &format!(r#"{{"error":{{"kind":{deep}}}}}"#)),
    ];
    for (number, text) in refused.iter().enumerate() {
        assert!(*text != good, "{number} changes nothing");
        assert!(Fixture::parse(text).is_err(), "the host accepts {number}: {text:.2000}");
        let why = native::replay(text).err().unwrap_or_else(|| panic!("the SDK accepts {number}: {text:.2000}"));
        let is_of_reading = native::READING.iter().any(|beginning| why.trim_start().starts_with(beginning));
        assert!(is_of_reading, "the SDK plays {number}, and says only then: {why:.2000}\n{text:.2000}");
    }
}

/// The same call for the SDK, which plays it without a host.
mod native {
    use wharfage_sdk::http::Request;
    use wharfage_sdk::{Cursor, Error, Page};

    #[derive(serde::Deserialize, schemars::JsonSchema)]
    struct Input {
        #[serde(default)]
        url: String,
        body: Option<String>,
    }

    fn send(input: Input) -> Result<serde_json::Value, Error> {
        let request = match input.body {
            Some(body) => Request::post(input.url).body("text/plain", body),
            None => Request::get(input.url),
        };
        let response = request.send()?;
        Ok(serde_json::json!({"status": response.status, "bytes": response.body}))
    }

    /// Three pages, each with its number.
    fn list(input: Input, cursor: Option<Cursor>) -> Result<Page<u64>, Error> {
        let number = cursor.map_or(Ok(1), |cursor| cursor.decode::<u64>())?;
        Request::get(format!("{{api}}{}/{number}", input.url)).send()?;
        Page::new(vec![number], Some(&(number + 1)).filter(|next| **next <= 3))
    }

    wharfage_sdk::operations! {
        /// Sends.
        read "send" => send;
        /// Lists.
        list "list" => list;
    }

    pub(super) const MANIFEST: &str = r#"
        [origins.api]
        url = "https://api.stand-in.test"
        methods = ["GET", "POST"]
        paths = ["/**"]
        [operations.send]
        effect = "read"
        [operations.list]
        effect = "read"
    "#;

    /// How it says that a file is none, before anything of it is played.
    pub(super) const READING: [&str; 5] = [
        "it cannot be read",
        "it does not say where it is from",
        "exchanges[",
        "files: base64",
        "`expect` needs either",
    ];

    /// Whether the SDK plays this file.
    pub(super) fn replay(text: &str) -> Result<(), String> {
        std::panic::catch_unwind(|| wharfage_sdk::testing::replay(MANIFEST, OPERATIONS, text))
            .map_err(|cause| cause.downcast_ref::<String>().cloned().unwrap_or_default())
    }
}
