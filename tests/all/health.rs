//! How connections are: judged by what calls tell, asked where nobody called, and told with what to do about it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use serde_json::{Value, json};
use wharfage::health::{Cause, Health, HealthState, Subject};
use wharfage::stand_in::{Manner, StandIn};
use wharfage::tape::Fixture;
use wharfage::{Config, Connection, Host, Kind, ManualClock};
use wharfage_tests::clocks::TurningClock;
use wharfage_tests::fixture::Theatre;
use wharfage_tests::scene::host;
use wharfage_tests::{API_KEY, NOW, Open, PLUGINS, Provider, Reply, Scene, drained, guests, root, skipping, until};

use crate::breaker::once;
use crate::cli::{KEY, Setup};

/// How the guests are probed.
const PROBE: &str = "
[health]
operation = 'send'
input = { url = '{api}/ping' }
source = 'made up for the tests'
date = '2026-11-29'
";

/// A provider whose status is set from outside; 0 never answers.
async fn weather(status: &Arc<AtomicU16>) -> Provider {
    let status = status.clone();
    Provider::answering(move |_| match status.load(Ordering::SeqCst) {
        0 => Reply::never(),
        200 => Reply::json(&json!({"well": true})),
        status => Reply::status(status),
    })
    .await
}

fn scene(provider: &Provider, clock: &ManualClock) -> Scene {
    Scene::of(guests::HTTP_SEND).with(provider).manifest(PROBE).grant(once).clock(clock)
}

async fn call(open: &Open) -> Result<(), Kind> {
    open.call("send", json!({"url": "{api}/x"})).await.map(drop).map_err(|error| error.kind().clone())
}

fn causes(health: &Health) -> Vec<&'static str> {
    health.findings.iter().map(|finding| finding.cause.name()).collect()
}

fn said(health: &Health) -> (&'static str, Vec<&'static str>) {
    (health.state.name(), causes(health))
}

/// Healthy, refused, healthy, asked too often, down, back, and left alone: each is told for what it is.
#[tokio::test]
async fn a_connection_through_its_weather() {
    let (clock, status) = (skipping(), Arc::new(AtomicU16::new(200)));
    let provider = weather(&status).await;
    let open = scene(&provider, &clock).open().await;
    assert_eq!(said(&open.plugin.health().await), ("unknown", vec!["no-traffic"]));
    assert_eq!(provider.count(), 0, "who looks asks nobody");
    let health = open.plugin.probe().await;
    assert_eq!(said(&health), ("healthy", vec![]));
    assert_eq!(health.probe.as_ref().map(|probe| probe.error), Some(None));
    assert!(provider.seen()[0].target.ends_with("/ping"));

    status.store(401, Ordering::SeqCst);
    clock.advance(60_000);
    let health = open.plugin.probe().await;
    assert_eq!(said(&health), ("needs-connecting", vec!["credential-refused"]));
    assert_eq!(health.findings[0].help, "wharfage secret set acme api_key");
    // It stays so, however long ago it was.
    clock.advance(3_600_000);
    assert_eq!(said(&open.plugin.health().await).0, "needs-connecting");

    status.store(200, Ordering::SeqCst);
    call(&open).await.unwrap();
    assert_eq!(said(&open.plugin.health().await), ("healthy", vec![]));

    status.store(429, Ordering::SeqCst);
    for _ in 0..20 {
        assert_eq!(call(&open).await, Err(Kind::RateLimited));
    }
    assert_eq!(said(&open.plugin.health().await), ("degraded", vec!["rate-limited"]));

    status.store(503, Ordering::SeqCst);
    clock.advance(400_000);
    for _ in 0..5 {
        assert_eq!(call(&open).await, Err(Kind::Transient));
    }
    let health = open.plugin.health().await;
    assert_eq!(said(&health), ("unhealthy", vec!["breaker-open", "failing"]));
    assert!(health.findings[0].until.is_some());

    // It is back: at first it is no more than better, and after five minutes it is well.
    status.store(200, Ordering::SeqCst);
    clock.advance(75_000);
    for _ in 0..3 {
        call(&open).await.unwrap();
    }
    assert_eq!(said(&open.plugin.health().await), ("degraded", vec!["failing"]));
    clock.advance(300_000);
    call(&open).await.unwrap();
    assert_eq!(said(&open.plugin.health().await), ("healthy", vec![]));

    clock.advance(300_001);
    assert_eq!(said(&open.plugin.health().await), ("unknown", vec!["stale-reading"]));
    assert_eq!(said(&open.plugin.probe().await), ("healthy", vec![]));
}

/// The guide's probe is sent however much is known, and a second one with it.
#[tokio::test]
async fn guide_s38_a_probe_spends_nothing_that_is_known_anyway() {
    let (clock, status) = (skipping(), Arc::new(AtomicU16::new(200)));
    let provider = weather(&status).await;
    let open = scene(&provider, &clock).open().await;
    call(&open).await.unwrap();
    for _ in 0..10 {
        assert_eq!(said(&open.plugin.probe().await), ("healthy", vec![]));
    }
    assert_eq!(provider.count(), 1, "a call had told already");
    clock.advance(60_000);
    let probes: Vec<_> = (0..10).map(|_| open.plugin.clone()).collect();
    futures_util::future::join_all(probes.iter().map(|plugin| plugin.probe())).await;
    assert_eq!(provider.count(), 2, "one probe is for everybody");
}

/// The guide's probe takes a place like any call, and takes a 429 for a provider that is down.
#[tokio::test]
async fn guide_s38_a_probe_leaves_the_last_permit_and_a_429_is_not_down() {
    const BUDGET: &str = "
[budgets.few]
limit = 2
window_s = 3600
source = 'made up for the tests'
date = '2026-11-29'
";
    let (clock, status) = (skipping(), Arc::new(AtomicU16::new(200)));
    let provider = weather(&status).await;
    let open = scene(&provider, &clock).manifest(BUDGET).open().await;
    call(&open).await.unwrap();
    clock.advance(400_000);
    let health = open.plugin.probe().await;
    assert_eq!(said(&health), ("unknown", vec!["stale-reading"]), "{health:?}");
    assert_eq!(health.probe.and_then(|probe| probe.error), Some("rate-limited"));
    assert_eq!(provider.count(), 1, "the probe took the last permit");
    call(&open).await.unwrap();
    clock.advance(3_600_200);
    status.store(429, Ordering::SeqCst);
    let health = open.plugin.probe().await;
    assert_eq!(provider.count(), 3);
    assert_eq!(health.state, HealthState::Degraded);
    assert!(causes(&health).iter().all(|cause| ["rate-limited", "quota-exhausted"].contains(cause)), "{health:?}");
}

/// It gives way to whoever waits for a permit.
#[tokio::test]
async fn a_probe_gives_way_to_calls_that_wait() {
    const ONE: &str = "
[budgets.one]
concurrency = 1
source = 'made up for the tests'
date = '2026-11-29'
";
    let (clock, status) = (ManualClock::new(NOW, 1), Arc::new(AtomicU16::new(0)));
    let provider = weather(&status).await;
    let open = scene(&provider, &clock).manifest(ONE).open().await;
    let plugin = open.plugin.clone();
    let held = tokio::spawn(async move { plugin.call::<Value>("send", &json!({"url": "{api}/x"})).await });
    until!(provider.count() >= 1);
    let health = open.plugin.probe().await;
    assert_eq!(said(&health), ("unknown", vec!["no-traffic"]));
    assert!(health.findings[0].message.contains("gives way"), "{health:?}");
    assert_eq!(provider.count(), 1);
    held.abort();
}

/// One request, no second attempt, and not from what is kept.
#[tokio::test]
async fn a_probe_asks_once_and_passes_the_cache_by() {
    let (clock, status) = (skipping(), Arc::new(AtomicU16::new(200)));
    let provider = weather(&status).await;
    let keeps = |connection: &mut Connection| connection.cache.enabled = true;
    let open = Scene::of(guests::HTTP_SEND).with(&provider).manifest(PROBE).grant(keeps).clock(&clock).open().await;
    let ping = json!({"url": "{api}/ping", "keep": "immutable"});
    open.call("send", ping).await.unwrap();
    clock.advance(60_000);
    status.store(503, Ordering::SeqCst);
    let health = open.plugin.probe().await;
    assert_eq!(provider.count(), 2, "it was asked more or less than once");
    assert_eq!(said(&health), ("unhealthy", vec!["failing"]));
    assert_eq!(health.probe.and_then(|probe| probe.error), Some("transient"));
}

/// A last good answer is an answer, and no sign of health.
#[tokio::test]
async fn what_is_kept_is_told_as_such() {
    let (clock, status) = (skipping(), Arc::new(AtomicU16::new(200)));
    let provider = weather(&status).await;
    let one = |connection: &mut Connection| connection.limits.attempts = 1;
    let open = Scene::of(guests::HTTP_SEND).with(&provider).grant(one).clock(&clock).open().await;
    call(&open).await.unwrap();
    clock.advance(400_000);
    status.store(503, Ordering::SeqCst);
    call(&open).await.unwrap();
    let health = open.plugin.health().await;
    assert_eq!(health.state, HealthState::Degraded);
    assert!(causes(&health).contains(&"answers-stale"), "{health:?}");
    assert_eq!(health.succeeded_at, Some(NOW));
}

/// Ten seconds, whatever else hangs.
#[tokio::test]
async fn a_probe_that_hangs_is_over_after_ten_seconds() {
    let (clock, status) = (ManualClock::new(NOW, 1), Arc::new(AtomicU16::new(0)));
    let provider = weather(&status).await;
    let open = scene(&provider, &clock).open().await;
    let plugin = open.plugin.clone();
    let probe = tokio::spawn(async move { plugin.probe().await });
    until!(provider.count() >= 1);
    clock.advance(9_999);
    tokio::task::yield_now().await;
    assert!(!probe.is_finished());
    clock.advance(1);
    let health = probe.await.unwrap();
    assert_eq!(said(&health), ("unhealthy", vec!["failing"]));
    let probe = health.probe.unwrap();
    assert_eq!((probe.latency_ms, probe.error), (10_000, Some("timeout")));
}

/// A `wharfage.toml` over one guest: connections with the provider each is at.
async fn config(folder: &Path, connections: &[(&str, &str)], more: &str) -> Config {
    let scene = Scene::of(guests::HTTP_SEND).manifest(PROBE);
    let bytes = scene.component().await;
    std::fs::write(folder.join("plugin.wasm"), bytes.as_slice()).unwrap();
    let mut text = "[plugins.p]\ncomponent = 'plugin.wasm'\n[plugins.gone]\ncomponent = 'gone.wasm'\n".to_owned();
    text += "[accounts.a]\n";
    for (name, url) in connections {
        let plugin = if url.is_empty() { "gone" } else { "p" };
        text += &format!("[connections.{name}]\nplugin = '{plugin}'\naccount = 'a'\nimports = ['http']\n");
        text += "secrets = ['api_key']\nprivate_addresses = ['127.0.0.1/32']\nlimits.attempts = 1\n";
        if !url.is_empty() {
            text += &format!("origins = ['{url}']\nbase = {{ api = '{url}' }}\n");
        }
    }
    text += more;
    let mut config = Config::parse(&text, &folder.join("wharfage.toml")).unwrap();
    config.accounts.insert("a".to_owned(), wharfage_tests::scene::account(""));
    config
}

/// All side by side: one hangs, one is gone, one refuses, and each is told for itself.
#[tokio::test]
async fn one_that_hangs_or_does_not_open_holds_nobody_up() {
    let folder = tempfile::tempdir().unwrap();
    let clock = TurningClock::default();
    let (well, hangs) = (Arc::new(AtomicU16::new(200)), Arc::new(AtomicU16::new(0)));
    let refuses = Arc::new(AtomicU16::new(401));
    let (well, hanging, refusing) = (weather(&well).await, weather(&hangs).await, weather(&refuses).await);
    let all = [("hangs", hanging.url()), ("well", well.url()), ("gone", String::new()), ("refused", refusing.url())];
    let all: Vec<(&str, &str)> = all.iter().map(|(name, url)| (*name, url.as_str())).collect();
    let config = config(folder.path(), &all, "").await;
    let host = host(&folder.path().join("state"), clock.clone());
    let report = clock.run(host.health(&config, &[], true)).await;
    let told: Vec<(&str, &str)> = report.all.iter().map(|health| (health.name.as_str(), health.state.name())).collect();
    assert_eq!(
        told,
        [("gone", "unhealthy"), ("hangs", "unhealthy"), ("refused", "needs-connecting"), ("well", "healthy")]
    );
    assert_eq!(causes(&report.all[0]), ["not-opening"]);
    assert_eq!(report.state, HealthState::NeedsConnecting);
    assert!(report.at.since(NOW) < 15_000, "they were asked one after the other");
    let none = host.health(&config, &["well".to_owned()], false).await;
    assert_eq!((none.all.len(), well.count()), (1, 1), "nobody was to be asked");
}

/// `/healthz` and `/readyz`: a provider that refuses the key takes no host out of service, and is told all the same.
#[tokio::test]
async fn what_serves_is_ready_whatever_providers_do() {
    let folder = tempfile::tempdir().unwrap();
    let clock = ManualClock::new(NOW, 1);
    let status = Arc::new(AtomicU16::new(200));
    let provider = weather(&status).await;
    let more = "[serve]\nlisten = '127.0.0.1:0'\n[sinks.out]\nkind = 'file'\npath = 'events.jsonl'\n\
                [endpoints.hooks]\nconnection = 'acme'\nwebhook = 'things'\n";
    let bytes = Scene::of(guests::HTTP_SEND).manifest(PROBE).manifest(WEBHOOK).component().await;
    let mut config = config(folder.path(), &[("acme", &provider.url())], more).await;
    std::fs::write(folder.path().join("plugin.wasm"), bytes.as_slice()).unwrap();
    if let Some(connection) = config.connections.get_mut("acme") {
        connection.secrets.push("verifying".to_owned());
    }
    let serving = host(&folder.path().join("state"), clock.clone()).serve(&config).await.unwrap();
    assert_eq!(serving.lived().0, 200);
    let report = serving.health().await;
    let told: Vec<(Subject, &str, &str)> =
        report.all.iter().map(|health| (health.subject, health.name.as_str(), health.state.name())).collect();
    assert_eq!(told, [(Subject::Connection, "acme", "unknown"), (Subject::Sink, "out", "healthy")]);
    assert_eq!(serving.ready().await.0, 200, "nobody has said that it does not work");

    // By itself it is asked after a while, once whoever asks has begun to wait.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    clock.advance(60_000);
    until!(provider.count() >= 1);
    until!(serving.health().await.state == HealthState::Healthy);
    status.store(401, Ordering::SeqCst);
    clock.advance(60_000);
    let report = serving.probe().await;
    assert_eq!(report.state, HealthState::NeedsConnecting);
    // What was seen before serves for so long.
    clock.advance(5_000);
    let (status, text) = serving.ready().await;
    let answer: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((status, &answer["ready"], &answer["hindrances"]), (200, &json!(true), &json!([])), "{text}");
    assert_eq!(answer["state"], "needs-connecting");
    assert_eq!(answer["causes"][0]["cause"], "credential-refused");
    assert_eq!(answer["causes"][0]["help"], "wharfage secret set acme api_key");
    assert!(!text.contains(API_KEY), "{text}");
    assert!(drained(serving, &clock).await);
}

const WEBHOOK: &str = "
[webhooks.things]
keys = [{ hash = true }]
source = 'made up for the tests'
date = '2026-11-29'

[webhooks.things.verify]
scheme = 'token'
secret = 'verifying'
header = 'X-Token'
";

/// What the connection may not call, a probe does not ask for either: only calls tell then.
#[tokio::test]
async fn a_probe_asks_for_nothing_that_is_not_granted() {
    let (clock, status) = (skipping(), Arc::new(AtomicU16::new(200)));
    let provider = weather(&status).await;
    let without = |connection: &mut Connection| connection.operations = Some(vec!["write".to_owned()]);
    let open = scene(&provider, &clock).grant(without).open().await;
    let health = open.plugin.probe().await;
    assert_eq!(said(&health), ("unknown", vec!["no-traffic"]));
    assert!(health.findings[0].help.contains("wharfage call acme"), "{health:?}");
    assert_eq!((provider.count(), health.probe.is_none()), (0, true));
}

/// A manifest that would probe with what changes something, or with what is not there, is refused before it runs.
#[tokio::test]
async fn a_probe_that_writes_is_refused() {
    for (from, to, why) in [
        ("'send'", "'write'", "does not only read"),
        ("'send'", "'sned'", "does not have"),
        ("source = 'made up for the tests'\n", "", "source and date"),
    ] {
        let scene = Scene::of(guests::HTTP_SEND).manifest(&PROBE.replace(from, to));
        let (host, compiled) = (wharfage_tests::component::builder(), guests::HTTP_SEND.compiled());
        let error = host.build(&compiled, scene.manifest_text()).await.unwrap_err();
        assert!(error.to_string().contains(why), "{error}");
    }
}

/// Every plugin of this repository says how it is probed, with one request that a fixture holds; and the real component
/// is seen to be well by it, and to need connecting where the key is another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_plugin_is_probed_with_one_cheap_read() {
    for plugin in PLUGINS {
        let theatre = Theatre::of(*plugin).await;
        let facts = theatre.needs.manifest.health.clone();
        let facts = facts.unwrap_or_else(|| panic!("plugins/{}/plugin.toml has no [health]", plugin.name));
        let input = serde_json::to_value(&facts.input).unwrap();
        let operation = theatre.needs.operation(&facts.operation).unwrap();
        let required = operation.input_schema["required"].as_array().cloned().unwrap_or_default();
        // What the connection's `defaults` must fill in.
        let is_filled = |name: &str| input.get(name).is_none() && required.iter().any(|own| own == name);
        let is_probe = |fixture: &Fixture| {
            let own: Value = serde_json::from_str(fixture.input.get()).unwrap();
            let asked = own.as_object().unwrap().iter().filter(|(name, _)| !is_filled(name));
            let asked: serde_json::Map<String, Value> =
                asked.map(|(name, value)| (name.clone(), value.clone())).collect();
            let error = fixture.expect.error.as_ref().map(|error| serde_json::to_value(error).unwrap()["kind"].clone());
            fixture.operation == facts.operation
                && Value::from(asked) == input
                && error.is_none_or(|kind| kind == "not-found")
                && fixture.exchanges.len() == 1
        };
        let fixtures = theatre.fixtures().into_iter().map(|(_, text)| Fixture::parse(&text).unwrap());
        let fixture = fixtures.into_iter().find(is_probe);
        let fixture = fixture.unwrap_or_else(|| panic!("{}: no fixture is a probe {facts:?}", plugin.name));
        for (key, state) in [(KEY, HealthState::Healthy), ("another", HealthState::NeedsConnecting)] {
            // A stand-in finds no exchange for another key in the query, and a 404 comes whoever asks.
            let is_in_query = plugin.manifest().lines().any(|line| line.starts_with("query = "));
            if (fixture.expect.error.is_some() || is_in_query) && key != KEY {
                continue;
            }
            let manner = Manner::default().repeating().signed_with(KEY).filled_for(&theatre.needs);
            let stand_in = StandIn::start(fixture.exchanges.clone(), manner).await.unwrap();
            let mut connection = stand_in.connection(&theatre.needs);
            let own: Value = serde_json::from_str(fixture.input.get()).unwrap();
            for (name, value) in own.as_object().unwrap().iter().filter(|(name, _)| is_filled(name)) {
                connection.defaults.insert(name.clone(), toml::Value::from(value.as_str().unwrap()));
            }
            let account = StandIn::account(&theatre.needs, key);
            let host = Host::builder().code_dir(wharfage_tests::compiled_code()).clock(skipping()).build().unwrap();
            let bytes = wharfage_tests::component::built(plugin.name, || plugin.compiled(), &plugin.manifest()).await;
            let opened = host.connect("acme", &bytes, &connection, Some(&account)).await.unwrap();
            let health = opened.probe().await;
            assert_eq!(health.state, state, "{}: {health:?}", plugin.name);
            let seen = stand_in.seen();
            assert!(seen.iter().all(|seen| seen.method == "GET" || seen.method == "POST"), "{seen:?}");
            assert!(seen.len() <= 2, "{}: a probe is one request, {seen:?}", plugin.name);
        }
    }
}

/// The program: JSON in a pipe, and a code that scripts go by.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_program_tells_health_by_its_exit_code() {
    let has_probe = |plugin: &&wharfage_tests::PluginFolder| plugin.manifest().contains("\n[health]\n");
    for plugin in PLUGINS.iter().filter(has_probe) {
        // What is probed is not what the setup's fixture asks for, except where it is.
        let Some(setup) = Setup::of(plugin).await else { continue };
        let (code, out, err) = setup.run(&["health", "--no-probe"]).await;
        assert_eq!(code, 1, "{err}");
        let told: Value = serde_json::from_str(out.trim()).unwrap();
        assert_eq!((&told["state"], &told["findings"][0]["cause"]), (&json!("unknown"), &json!("no-traffic")));
        assert!(setup.stand_in.seen().is_empty(), "nobody was to be asked");
        // Of a stand-in that knows no such request, anything is said but that all is well.
        let (code, out, err) = setup.run(&["health", "desk", "--json"]).await;
        assert!([0, 1, 3].contains(&code), "{code} {out} {err}");
        assert!(!out.contains(KEY) && !err.contains(KEY));
        let told: Value = serde_json::from_str(out.trim()).unwrap();
        let expected = match told["state"].as_str().unwrap() {
            "healthy" => 0,
            "unknown" | "degraded" => 1,
            _ => 3,
        };
        assert_eq!(code, expected, "{out}");
        let (code, _, err) = setup.run(&["health", "dekk"]).await;
        assert_eq!(code, 3, "{err}");
        assert!(err.contains("dekk"), "{err}");
        let (code, _, _) = setup.run(&["health", "--no-such"]).await;
        assert_eq!(code, 2);
        // A secret that is not there is somebody's to give.
        let digest = wharfage::Digest::of(&std::fs::read(setup.folder.path().join("plugin.wasm")).unwrap()).to_string();
        setup.write_config_with(&digest, "{ env = 'DESK_KEY_THAT_IS_NOT_THERE' }");
        let (code, out, _) = setup.run(&["health", "--no-probe"]).await;
        assert_eq!(code, 3, "{out}");
        assert!(out.contains("secret-missing") && out.contains("wharfage secret list desk"), "{out}");
        return;
    }
    panic!("no desk has a probe");
}

/// The manual's tables are the program's own.
#[test]
fn the_manual_has_every_state_and_every_cause() {
    let text = std::fs::read_to_string(root().join("host/MANUAL.md")).unwrap();
    let section = text.split("\n## Health\n").nth(1).unwrap().split("\n## ").next().unwrap();
    for name in HealthState::ALL.iter().map(|state| state.name()).chain(Cause::ALL.iter().map(|cause| cause.name())) {
        assert!(section.contains(&format!("| `{name}` |")), "the manual, section Health, has no row for {name}");
    }
}
