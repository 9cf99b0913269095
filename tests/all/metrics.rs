//! What is counted: every number against what the provider saw, and no name that somebody made up.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use serde_json::{Value, json};
use wharfage::PathEvent;
use wharfage::health::CircuitState;
use wharfage::metrics::{Metrics, OperationMetrics};
use wharfage::{Config, Error, Host, Kind, ManualClock};
use wharfage_tests::scene::{account, secret_file};
use wharfage_tests::{API_KEY, NOW, Open, Provider, Reply, Scene, guests, skipped, skipping, until};

fn of(metrics: &Metrics, operation: &str) -> OperationMetrics {
    let all = metrics.connections.iter().filter(|connection| connection.connection == "acme");
    let mut found = all.flat_map(|connection| &connection.operations).filter(|one| one.operation == operation);
    found.next().unwrap_or_else(|| panic!("{operation} is not there")).clone()
}

fn send(open: &Open) -> OperationMetrics {
    of(&open.host.metrics(), "send")
}

async fn get(open: &Open, path: &str) -> Result<Value, Error> {
    open.call("send", json!({"url": format!("{{api}}{path}")})).await.map(|answer| answer.output)
}

fn budget(limit: u32, window_s: u32) -> String {
    format!("\n[budgets.pace]\nlimit = {limit}\nwindow_s = {window_s}\nsource = 'made up'\ndate = '2026-11-29'\n")
}

/// Series without their values.
fn series(metrics: &Metrics) -> BTreeSet<String> {
    let text = metrics.prometheus();
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    samples.filter_map(|line| line.rsplit_once(' ')).map(|(series, _)| series.to_owned()).collect()
}

#[tokio::test]
async fn a_request_is_counted_with_everything_that_it_took() {
    let clock = skipping();
    let provider = Provider::scripted_at(
        &clock,
        [
            Reply::status(429).header("retry-after", "2"),
            Reply::status(503),
            Reply::redirect(302, "/elsewhere"),
            Reply::status(200).body("0123456789"),
        ],
    )
    .await;
    let open = Scene::of(guests::HTTP_SEND).with(&provider).manifest(&budget(2, 10)).clock(&clock).open().await;
    open.call("write", json!({"method": "PUT", "url": "{api}/x", "body": "12345"})).await.unwrap();
    let metrics = open.host.metrics();
    let write = of(&metrics, "write");
    assert_eq!(provider.count(), 4);
    assert_eq!((write.calls(), write.succeeded, write.errors(), write.under_way), (1, 1, 0, 0));
    assert_eq!((write.requests, write.attempts, write.retries, write.redirects), (1, 4, 2, 1));
    assert_eq!((write.rate_limited, &write.attempts_failed), (1, &[("rate-limited", 1), ("transient", 1)].into()));
    assert_eq!((write.answers.live, write.answers.cache, write.answers.stale), (1, 0, 0));
    // A PUT that is sent elsewhere by a 302 becomes a GET without a body.
    assert_eq!((write.body_bytes_sent, write.body_bytes_received), (15, 10));
    assert_eq!((write.instances, write.instances_live, write.over_budget), (1, 0, 0));
    assert!(write.memory_bytes_max >= 64 << 10, "{} bytes", write.memory_bytes_max);
    let steps = open.steps();
    let waits = steps.iter().filter_map(|step| match step {
        PathEvent::Paced { waited_ms } => Some(*waited_ms),
        _ => None,
    });
    let waited: u64 = waits.sum();
    assert!(waited > 0);
    assert_eq!((write.waited.count(), write.waited.sum_ms()), (4, waited));
    assert_eq!(write.duration.sum_ms(), metrics.at.since(NOW));
    assert_eq!((write.recent.calls, write.recent.p99_ms), (1, Some(metrics.at.since(NOW))));
    assert_eq!((write.succeeded_at, write.failed_at), (Some(metrics.at), None));
    assert!(of(&metrics, "send").is_idle(), "another operation was counted");
}

#[tokio::test]
async fn answers_are_told_apart_by_their_source() {
    let (clock, status) = (skipping(), Arc::new(AtomicU16::new(200)));
    let provider = Provider::answering({
        let status = status.clone();
        move |_| Reply::status(status.load(Ordering::SeqCst)).header("cache-control", "max-age=60").body("x")
    })
    .await;
    let open = Scene::of(guests::HTTP_SEND).with(&provider).clock(&clock).open().await;
    get(&open, "/x").await.unwrap();
    get(&open, "/x").await.unwrap();
    status.store(503, Ordering::SeqCst);
    clock.advance(600_000);
    get(&open, "/x").await.unwrap();
    let send = send(&open);
    assert_eq!((send.answers.live, send.answers.cache, send.answers.stale), (1, 1, 1));
    assert_eq!(send.cache_rate(), Some(2.0 / 3.0));
    assert_eq!((send.requests, send.attempts), (3, provider.count() as u64));
    assert_eq!((send.succeeded, send.errors()), (3, 0), "a call that was served is no error");
}

#[tokio::test]
async fn how_a_call_failed_is_told_without_a_secret() {
    let provider = Provider::answering(|seen| match &*seen.target {
        "/401" => Reply::status(401).body(format!("no such key: {API_KEY}")),
        _ => Reply::status(200).body(API_KEY),
    })
    .await;
    let open = Scene::of(guests::HTTP_SEND).with(&provider).open().await;
    assert_eq!(*get(&open, "/401").await.unwrap_err().kind(), Kind::Unauthorized);
    get(&open, "/leaks").await.unwrap();
    assert_eq!(
        *open.error("send", json!({"url": "https://example.org/x"})).await.kind(),
        Kind::PolicyDenied("origin".into())
    );
    let metrics = open.host.metrics();
    let send = of(&metrics, "send");
    assert_eq!((send.succeeded, &send.failed), (1, &[("policy-denied", 1), ("unauthorized", 1)].into()));
    assert_eq!((send.leaks, send.refusals), (2, 1));
    assert_eq!(send.error_rate(), Some(2.0 / 3.0));
    assert_eq!(
        send.windows.iter().map(|of| (of.minutes, of.calls, of.failed)).collect::<Vec<_>>(),
        [(5, 3, 2), (60, 3, 2)]
    );
    assert_eq!(send.failed_at.map(|(_, kind)| kind), Some("policy-denied"));
    assert!(send.failure.unwrap().contains("example.org"));
    let json = serde_json::to_value(&metrics).unwrap();
    for text in [json.to_string(), metrics.prometheus(), metrics.openmetrics(), format!("{metrics:?}")] {
        assert!(!text.contains(API_KEY), "{text}");
    }
    let told =
        json["connections"][0]["operations"].as_array().unwrap().iter().find(|one| one["operation"] == "send").unwrap();
    assert_eq!(
        (&told["failed_at"]["kind"], &told["failed_at"]["at"]),
        (&json!("policy-denied"), &json!(NOW.to_string()))
    );
    assert_eq!(told["duration_ms"]["count"], 3);
    assert_eq!(told["duration_ms"]["buckets"].as_array().unwrap().last(), Some(&json!([null, 3])));
}

#[tokio::test]
async fn breakers_and_budgets_are_told_as_they_are_now() {
    let clock = skipping();
    let provider = Provider::scripted([Reply::status(503)]).await;
    let open = Scene::of(guests::HTTP_SEND)
        .with(&provider)
        .manifest(&budget(100, 60))
        .grant(|connection| connection.limits.attempts = 1)
        .clock(&clock)
        .open()
        .await;
    for _ in 0..5 {
        get(&open, "/x").await.unwrap_err();
    }
    let connection = open.host.metrics().connections.remove(0);
    assert!(connection.is_open);
    let circuit = &connection.circuits[0];
    assert_eq!((&*circuit.origin, circuit.openings), (&*provider.url(), 1));
    assert!(matches!(circuit.state, CircuitState::Open { .. }));
    let pace = &connection.budgets[0];
    assert_eq!((&*pace.budget, pace.limit, pace.window_ms), ("pace", 100, Some(60_000)));
    assert_eq!((pace.used, pace.left, pace.blocked_until), (5, 95, None));
    assert_eq!(connection.account, None);
    clock.advance(120_000);
    let connection = open.host.metrics().connections.remove(0);
    assert_eq!((connection.circuits[0].state, connection.budgets[0].used), (CircuitState::HalfOpen, 0));
    let Open { host, plugin, .. } = open;
    drop(plugin);
    let closed = host.metrics().connections.remove(0);
    assert_eq!((closed.is_open, closed.circuits.len(), closed.budgets.len()), (false, 0, 0));
    assert_eq!(of(&host.metrics(), "send").errors(), 5, "what was counted stays");
}

#[tokio::test]
async fn a_budget_without_room_is_no_refusal_of_the_providers() {
    let clock = skipping();
    let provider = Provider::scripted([Reply::status(200)]).await;
    let open = Scene::of(guests::HTTP_SEND).with(&provider).manifest(&budget(1, 3600)).clock(&clock).open().await;
    get(&open, "/x").await.unwrap();
    assert_eq!(*get(&open, "/y").await.unwrap_err().kind(), Kind::RateLimited);
    let send = send(&open);
    assert_eq!((send.over_budget, send.rate_limited, send.attempts), (1, 0, 1));
    assert_eq!(send.failed, [("rate-limited", 1)].into());
}

#[tokio::test]
async fn whose_caller_goes_away_is_under_way_no_more() {
    let clock = ManualClock::new(NOW, 1);
    let provider = Provider::scripted([Reply::never()]).await;
    let open = Scene::of(guests::HTTP_SEND).with(&provider).clock(&clock).open().await;
    let (plugin, input) = (open.plugin.clone(), json!({"url": "{api}/x"}));
    let call = tokio::spawn(async move { plugin.call::<Value>("send", &input).await.map(drop) });
    until!(provider.count() > 0);
    let going = send(&open);
    assert_eq!((going.under_way, going.instances_live, going.attempts, going.calls()), (1, 1, 1, 0));
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled());
    let gone = send(&open);
    assert_eq!((gone.under_way, gone.instances_live, gone.errors()), (0, 0, 0));
    assert_eq!((gone.failed, gone.recent.calls), ([("cancelled", 1)].into(), 0));
}

#[tokio::test]
async fn what_the_host_asks_for_tokens_is_counted_apart() {
    let provider = Provider::answering(|seen| match &*seen.target {
        "/token" => Reply::json(&json!({"access_token": "t", "token_type": "Bearer", "expires_in": 3600})),
        _ => Reply::status(200),
    })
    .await;
    let host = Host::builder().clock(skipping()).code_dir(wharfage_tests::compiled_code()).build().unwrap();
    let plugin = Scene::of(guests::HTTP_SEND)
        .with(&provider)
        .signed_in(&provider.url())
        .connect(&host, &account(""))
        .await
        .unwrap();
    plugin.call::<Value>("send", &json!({"url": "{api}/x"})).await.unwrap();
    let metrics = host.metrics();
    assert_eq!((of(&metrics, "send").attempts, of(&metrics, "(sign-in)").attempts), (1, 1));
    assert_eq!(of(&metrics, "(sign-in)").calls(), 0);
}

#[tokio::test]
async fn drift_is_counted_each_time() {
    let open = Scene::of(guests::OPERATIONS_DRIFT).open().await;
    for _ in 0..3 {
        open.call("order.get", json!({"answer": r#"{"id": 7, "status": "lost"}"#})).await.unwrap();
    }
    assert_eq!(of(&open.host.metrics(), "order.get").drifts, 6);
}

/// Whatever a caller, a plugin or a provider calls something, no series is made of it.
#[tokio::test]
async fn ten_thousand_names_make_no_series() {
    let provider = Provider::answering(|seen| {
        let name = format!("x-{}", seen.number);
        Reply::status(200).header(&name, &name).header("x-request-id", &name).body(name.clone())
    })
    .await;
    let open = Scene::of(guests::HTTP_SEND).with(&provider).manifest(&budget(4_000_000_000, 1)).open().await;
    get(&open, "/first").await.unwrap();
    get(&open, "/refused\n").await.unwrap_err();
    open.call("send", json!({"url": "{api}/x", "credential": "made-up"})).await.unwrap_err();
    open.call("send", json!({"url": "{api}/x", "costs": [["made-up", 1]]})).await.unwrap_err();
    let before = series(&open.host.metrics());
    for number in 0..10_000 {
        let error = open.plugin.page(&format!("made.up-{number}"), "{}", None).await.unwrap_err();
        assert_eq!(*error.kind(), Kind::UnknownOperation);
    }
    for number in 0..100 {
        let name = format!("name-{number}");
        get(&open, &format!("/{name}?{name}={name}")).await.unwrap();
        for wrong in [
            json!({"url": format!("https://{name}.example.org/")}),
            json!({"url": format!("{{{name}}}/x")}),
            json!({"url": "{api}/x", "credential": name}),
            json!({"url": "{api}/x", "costs": [[name, 1]]}),
        ] {
            open.call("send", wrong).await.unwrap_err();
        }
    }
    let after = series(&open.host.metrics());
    assert_eq!(before.symmetric_difference(&after).collect::<Vec<_>>(), Vec::<&String>::new());
    assert!(send(&open).calls() >= 504);
}

/// A connection that is opened again counts on, and nothing grows.
#[tokio::test]
async fn opening_again_and_again_does_not_grow() {
    let clock = skipping();
    let provider = Provider::scripted([Reply::status(200)]).await;
    let host = Host::builder().clock(clock).code_dir(wharfage_tests::compiled_code()).build().unwrap();
    let mut lengths = BTreeSet::new();
    for round in 1..=20 {
        let plugin = Scene::of(guests::HTTP_SEND).with(&provider).connect(&host, &account("")).await.unwrap();
        plugin.call::<Value>("send", &json!({"url": "{api}/x"})).await.unwrap();
        let metrics = host.metrics();
        assert_eq!((metrics.connections.len(), of(&metrics, "send").succeeded), (1, round));
        lengths.insert(series(&metrics).len());
    }
    assert_eq!(lengths.len(), 1, "{lengths:?}");
}

/// What `wharfage serve` runs is told beside the connections.
#[tokio::test]
async fn what_is_served_is_told_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = Scene::of(guests::EVENTS_COUNTS).manifest(wharfage_tests::scene::THINGS).component().await;
    std::fs::write(folder.path().join("plugin.wasm"), bytes.as_slice()).unwrap();
    secret_file(&folder.path().join("token"), "the-token-of-the-hooks");
    let text = format!(
        "[plugins.p]\ncomponent = 'plugin.wasm'\n[accounts.a.secrets]\nverifying = {{ file = '{}' }}\n\
         [connections.acme]\nplugin = 'p'\naccount = 'a'\nsecrets = ['verifying']\n[connections.acme.polls.ticks]\n\
         [endpoints.hooks]\nconnection = 'acme'\nwebhook = 'things'\n[sinks.out]\nkind = 'file'\npath = '{}'\n\
         [serve]\nlisten = '127.0.0.1:0'\n",
        folder.path().join("token").display(),
        folder.path().join("out.jsonl").display()
    );
    let config = Config::parse(&text, &folder.path().join("wharfage.toml")).unwrap();
    let host = Host::builder().code_dir(wharfage_tests::compiled_code()).build().unwrap();
    let serving = host.serve(&config).await.unwrap();
    let address = serving.address().await.unwrap();
    let client = reqwest::Client::new();
    let deliver = |id: &'static str, token: &'static str| {
        let url = format!("http://{address}/webhooks/hooks");
        client.post(url).header("x-id", id).header("x-token", token).body("{}").send()
    };
    for (id, token) in [("1", "the-token-of-the-hooks"), ("1", "the-token-of-the-hooks"), ("2", "another")] {
        deliver(id, token).await.unwrap();
    }
    let mut metrics = serving.metrics().await.unwrap();
    until!({
        metrics = serving.metrics().await.unwrap();
        of(&metrics, "(handle)").calls() >= 2 && metrics.polls[0].succeeded_at.is_some()
    });
    let hooks = &metrics.endpoints[0];
    assert_eq!((&*hooks.endpoint, hooks.received, hooks.repeated, hooks.refused), ("hooks", 1, 1, 1));
    assert_eq!((&*metrics.polls[0].connection, &*metrics.polls[0].poll), ("acme", "ticks"));
    assert_eq!((&*metrics.sinks[0].sink, metrics.sinks[0].state), ("out", "well"));
    let acme = &metrics.connections[0];
    assert_eq!((&*acme.plugin, acme.dead_letters), ("events-counts", Some(0)));
    let text = metrics.prometheus();
    for line in [
        "wharfage_deliveries_total{endpoint=\"hooks\",outcome=\"received\"} 1",
        "wharfage_dead_letters{connection=\"acme\"} 0",
        "wharfage_sink_state{sink=\"out\",state=\"well\"} 1",
        "wharfage_poll_failures{connection=\"acme\",poll=\"ticks\"} 0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is missing of\n{text}");
    }
    promtool(&text);
    serving.drain().await;
}

/// Prometheus' own tool finds nothing to complain of, neither where there is nothing nor where there is much.
#[tokio::test]
async fn promtool_is_content() {
    promtool(&Host::builder().build().unwrap().metrics().prometheus());
    let provider = Provider::scripted([Reply::status(200), Reply::status(500)]).await;
    let open = Scene::of(guests::HTTP_SEND).with(&provider).manifest(&budget(10, 1)).open().await;
    get(&open, "/x").await.unwrap();
    let _ = get(&open, "/y").await;
    promtool(&open.host.metrics().prometheus());
}

/// `wharfage status` asks the private listener with the state folder's token, and says what to type where that fails.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn status_shows_what_a_running_serve_counts() {
    let provider = Provider::scripted([Reply::status(200), Reply::status(404)]).await;
    let open = Scene::of(guests::HTTP_SEND).with(&provider).open().await;
    get(&open, "/x").await.unwrap();
    get(&open, "/y").await.unwrap_err();
    let counted = serde_json::to_value(open.host.metrics()).unwrap();
    let told = counted.clone();
    let private = Provider::answering(move |seen| match (&*seen.target, seen.header("authorization")) {
        ("/api/metrics", Some("Bearer 0123456789abcdef")) => Reply::json(&told),
        ("/api/metrics", _) => Reply::status(401),
        (target, _) => shows(target, seen.header("host").unwrap()),
    })
    .await;
    // It hands on what is asked, and what the right one shows.
    let between = Provider::answering(|seen| shows(&seen.target, "127.0.0.1:7422")).await;
    let folder = tempfile::tempdir().unwrap();
    let config = |text: &str| std::fs::write(folder.path().join("wharfage.toml"), text).unwrap();
    let token = |text: &str| std::fs::write(folder.path().join("console.token"), text).unwrap();
    let run = async |arguments: &[&str]| {
        let mut command = Command::new(crate::cli::program());
        command.arg("status").args(arguments).args(["--state-dir", "."]).current_dir(folder.path());
        command.stdin(Stdio::null());
        tokio::task::spawn_blocking(move || crate::cli::ended(&mut command)).await.unwrap()
    };

    config("[serve.console]\nlisten = '127.0.0.1:1'\n");
    let (code, out, err) = run(&[]).await;
    assert_eq!((code, &*out), (3, ""), "{err}");
    assert!(err.contains("console.token") && err.contains("wharfage serve"), "{err}");
    token("0123456789abcdef\n");
    let (code, out, err) = run(&[]).await;
    assert_eq!((code, &*out), (4, ""), "{err}");
    assert!(err.contains("no `wharfage serve` answers at 127.0.0.1:1") && err.contains("wharfage serve"), "{err}");
    config("[serve]\n");
    let (code, _, err) = run(&[]).await;
    assert_eq!(code, 3, "{err}");
    assert!(err.contains("[serve.console]") && err.contains("listen = \"127.0.0.1:7422\""), "{err}");

    config(&format!("[serve.console]\nlisten = '127.0.0.1:{}'\n", private.port()));
    let (code, out, err) = run(&[]).await;
    assert_eq!(code, 0, "{err}");
    let rows: Vec<Vec<&str>> = out.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0][..4], ["CONNECTION", "OPERATION", "CALLS", "ERRORS"], "{out}");
    assert_eq!(rows[1][..5], ["acme", "send", "2", "50", "%"], "{out}");
    assert!(out.contains("closed") && out.contains("last 1000 calls"), "{out}");
    let (code, out, err) = run(&["--json"]).await;
    assert_eq!(code, 0, "{err}");
    assert_eq!(serde_json::from_str::<Value>(&out).unwrap(), counted);
    let (_, out, _) = run(&["--connection", "another"]).await;
    assert!(!out.contains("acme"), "{out}");
    token("another");
    let (code, _, err) = run(&[]).await;
    assert_eq!(code, 3, "{err}");
    assert!(err.contains("does not show") && err.contains("--state-dir"), "{err}");
    assert!(!err.contains("another"), "the token is shown: {err}");
    token("0123456789abcdef");
    config(&format!("[serve.console]\nlisten = '127.0.0.1:{}'\n", between.port()));
    let (code, _, err) = run(&[]).await;
    assert!(code == 3 && err.contains("does not show"), "{code} {err}");
    let got = |provider: &Provider, token: &str| provider.seen().iter().any(|seen| seen.text().contains(token));
    assert!(!got(&private, "another") && !got(&between, "0123456789abcdef"), "it sent the token");
    config("[serve.console]\nlisten = '203.0.113.5:80'\ndanger_beyond_loopback = true\n");
    let (code, _, err) = run(&[]).await;
    assert!(code == 3 && err.contains("203.0.113.5:80") && err.contains("--config wharfage.toml"), "{code} {err}");
}

/// What a private listener at this address answers to who wants to see that it has the token.
fn shows(target: &str, address: &str) -> Reply {
    let Some(drawn) = target.strip_prefix("/api/proof?of=") else { return Reply::status(404) };
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, b"0123456789abcdef");
    let made = aws_lc_rs::hmac::sign(&key, format!("wharfage console at {address} of {drawn}").as_bytes());
    let digits: String = made.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    Reply::json(&json!({ "proof": digits }))
}

/// Every family stands in the manual, and every one that stands there is a family.
#[test]
fn the_manual_lists_every_family() {
    let manual = std::fs::read_to_string(wharfage_tests::root().join("host/MANUAL.md")).unwrap();
    let text = Host::builder().build().unwrap().metrics().prometheus();
    let families: BTreeSet<&str> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    let told: BTreeSet<&str> = manual
        .lines()
        .filter_map(|line| line.strip_prefix("| `wharfage_")?.split_once('`'))
        .filter_map(|(name, _)| families.iter().find(|family| **family == format!("wharfage_{name}")).copied())
        .collect();
    assert_eq!(families.difference(&told).collect::<Vec<_>>(), Vec::<&&str>::new(), "the manual does not tell these");
    let rows = manual.lines().filter(|line| line.starts_with("| `wharfage_")).count();
    assert_eq!(rows, families.len(), "the manual tells a family that there is not");
}

fn promtool(text: &str) {
    let mut command = Command::new("promtool");
    let child = command.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = match child.spawn() {
        Ok(child) => child,
        Err(error) => {
            return skipped("promtool", &format!("it is not here ({error}); the package `prometheus` has it"));
        }
    };
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let told = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && told.trim().is_empty(), "promtool says:\n{told}\nof\n{text}");
}
