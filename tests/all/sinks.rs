//! Events on their way out, from a plugin that emits to whoever takes them: a file, a receiver over HTTP, the embedding
//! program; and what becomes of one that a receiver does not want.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;
use wharfage::serving::SinkDoing;
use wharfage::{Config, Host, Serving};
use wharfage_tests::scene::{imports, secret_file};
use wharfage_tests::{API_KEY, Provider, Reply, Scene, compiled_code, guests, until};

use crate::cli::wharfage;

/// The example secret of the Standard Webhooks specification.
pub(crate) const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A folder with a plugin that asks the provider when it is polled and emits an event, and a `wharfage.toml` that ends so.
pub(crate) async fn folder(provider: &Provider, more: &str) -> tempfile::TempDir {
    let manifest = "\n[polls.things]\nevery_s = 86400\nsource = 'made up for the tests'\ndate = '2026-11-24'\n\
                    [events.\"thing.updated\"]\ndescription = 'a thing has changed'\n";
    folder_of(provider, manifest, more).await
}

/// The same with a manifest that ends otherwise.
pub(crate) async fn folder_of(provider: &Provider, manifest: &str, more: &str) -> tempfile::TempDir {
    let bytes = Scene::of(guests::EVENTS_KEYED).manifest(manifest).component().await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("plugin.wasm"), bytes.as_slice()).unwrap();
    secret_file(&folder.path().join("key"), API_KEY);
    secret_file(&folder.path().join("sink-secret"), SECRET);
    let (url, imports) = (provider.url(), imports(&bytes).unwrap());
    let text = format!(
        "[plugins.p]\ncomponent = 'plugin.wasm'\n[accounts.main.secrets]\napi_key = {{ file = 'key' }}\n\
         [connections.acme]\nplugin = 'p'\naccount = 'main'\nsecrets = ['api_key']\nimports = {imports:?}\n\
         origins = ['{url}']\nbase.api = '{url}'\nprivate_addresses = ['127.0.0.1/32']\n[connections.acme.polls.things]\n{more}"
    );
    std::fs::write(folder.path().join("wharfage.toml"), text).unwrap();
    folder
}

pub(crate) fn config(folder: &Path) -> Config {
    let path = folder.join("wharfage.toml");
    Config::parse(&std::fs::read_to_string(&path).unwrap(), &path).unwrap()
}

fn host(folder: &Path) -> Host {
    Host::builder().state_dir(folder.join("state")).code_dir(compiled_code()).build().unwrap()
}

/// Until every sink is as it should be.
async fn until(serving: &Serving, is_so: impl Fn(&wharfage::serving::SinkState) -> bool) {
    until!(serving.state().await.unwrap().sinks.iter().all(&is_so));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_plugin_emits_reaches_every_sink_and_says_who_emitted_it() {
    let provider = Provider::answering(|_| Reply::status(200)).await;
    let count = Arc::new(AtomicUsize::new(0));
    let receiver = {
        let count = count.clone();
        Provider::answering(move |_| match count.fetch_add(1, Ordering::SeqCst) {
            0 => Reply::status(500),
            _ => Reply::status(204),
        })
        .await
    };
    let sinks = format!(
        "[sinks.log]\nkind = 'file'\npath = 'events.jsonl'\n\
         [sinks.billing]\nkind = 'http'\nurl = '{}/in?key=1'\nsecret = {{ file = 'sink-secret' }}\n\
         private_addresses = ['127.0.0.1/32']\ntypes = ['thing.*']\nlimits.retry_ms = 1\n\
         [sinks.other]\nkind = 'file'\npath = 'other.jsonl'\ntypes = ['order.*']\n",
        receiver.url()
    );
    let folder = folder(&provider, &sinks).await;
    let host = host(folder.path());
    let mut events = host.emitted("test").await.unwrap();
    let serving = host.serve(&config(folder.path())).await.unwrap();
    let delivery = events.next().await.unwrap();
    until(&serving, |sink| sink.position == 1).await;
    assert!(serving.drain().await);
    let trail = host.audit().page(0, 1_000).await.unwrap();
    let signed = |row: &&wharfage::audit::AuditRow| {
        row.entry.as_ref().is_some_and(|entry| {
            entry.action == wharfage::audit::AuditAction::Sign && entry.connection == "sink billing"
        })
    };
    assert!(trail.iter().any(|row| signed(&row)), "nobody says that its secret was used");

    let event = &delivery.event;
    assert_eq!((event.connection.as_str(), event.account.as_deref()), ("acme", Some("main")));
    assert_eq!((event.plugin.as_str(), event.event_type.as_str()), ("events-keyed", "thing.updated"));
    let written = delivery.event.to_cloud_event().unwrap();
    delivery.acknowledge().await.unwrap();
    assert_eq!(std::fs::read_to_string(folder.path().join("events.jsonl")).unwrap(), format!("{written}\n"));
    assert!(!folder.path().join("other.jsonl").exists());
    let seen = receiver.seen();
    assert_eq!(seen.len(), 2, "once refused, once taken");
    for seen in &seen {
        assert_eq!((seen.body.as_slice(), seen.target.as_str()), (written.as_bytes(), "/in?key=1"));
        let id = serde_json::from_str::<Value>(&written).unwrap()["id"].clone();
        assert_eq!(seen.header("webhook-id"), id.as_str());
        assert!(seen.header("webhook-signature").unwrap().starts_with("v1,"));
    }
}

/// What a receiver does not want is seen on the command line, and given again when it is asked for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_letter_is_shown_and_given_once_more() {
    let provider = Provider::answering(|_| Reply::status(200)).await;
    let count = Arc::new(AtomicUsize::new(0));
    let receiver = {
        let count = count.clone();
        Provider::answering(move |_| match count.fetch_add(1, Ordering::SeqCst) {
            0 | 1 => Reply::status(404),
            _ => Reply::status(200),
        })
        .await
    };
    let sinks = format!(
        "[sinks.billing]\nkind = 'http'\nurl = '{}/in'\nsecret = {{ file = 'sink-secret' }}\n\
         private_addresses = ['127.0.0.1/32']\nlimits.retry_ms = 1\nlimits.attempts = 2\n",
        receiver.url()
    );
    let folder = folder(&provider, &sinks).await;
    let (host, config) = (host(folder.path()), config(folder.path()));
    let serving = host.serve(&config).await.unwrap();
    until(&serving, |sink| sink.dead == 1 && sink.position == 1).await;
    assert!(serving.drain().await);

    let (code, out, err) = wharfage(folder.path(), &["events", "dead"]);
    let letter: Value = serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out} {err}"));
    assert_eq!((code, letter["sink"].as_str(), letter["number"].as_u64()), (0, Some("billing"), Some(1)));
    assert_eq!((letter["type"].as_str(), letter["connection"].as_str()), (Some("thing.updated"), Some("acme")));
    assert_eq!(letter["why"], "the sink answered 404, and did so limits.attempts = 2 times");
    assert!(err.contains("wharfage events replay NUMBER --sink NAME"), "{err}");

    let (code, _, err) = wharfage(folder.path(), &["events", "replay", "1", "--sink", "billing"]);
    assert_eq!(code, 0, "{err}");
    let serving = host.serve(&config).await.unwrap();
    until(&serving, |sink| sink.given == 1).await;
    assert!(serving.drain().await);
    assert_eq!(count.load(Ordering::SeqCst), 3);
    let (_, out, err) = wharfage(folder.path(), &["events", "dead"]);
    assert_eq!(out, "", "it was taken and is dead all the same: {err}");
}

/// A receiver that is gone is asked once, and the others go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_is_gone_is_told_in_health_and_its_event_waits() {
    let provider = Provider::answering(|_| Reply::status(200)).await;
    let receiver = Provider::answering(|_| Reply::status(410)).await;
    let sinks = format!(
        "[sinks.billing]\nkind = 'http'\nurl = '{}/in'\nsecret = {{ file = 'sink-secret' }}\n\
         private_addresses = ['127.0.0.1/32']\n[sinks.log]\nkind = 'file'\npath = 'events.jsonl'\n",
        receiver.url()
    );
    let folder = folder(&provider, &sinks).await;
    let serving = host(folder.path()).serve(&config(folder.path())).await.unwrap();
    until(&serving, |sink| match &sink.doing {
        SinkDoing::Disabled { why } => why.contains("answered 410") && sink.position == 0,
        _ => sink.given == 1,
    })
    .await;
    assert!(serving.drain().await);
    assert_eq!(receiver.count(), 1);
}

/// Nothing starts half configured.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sink_that_cannot_sign_keeps_all_from_starting() {
    let provider = Provider::answering(|_| Reply::status(200)).await;
    let sink = "[sinks.billing]\nkind = 'http'\nurl = 'https://sink.example/in'\nsecret = ";
    for (source, told) in
        [("{ file = 'key' }", "openssl rand -base64 32"), ("{ env = 'WHARFAGE_NO_SUCH' }", "WHARFAGE_NO_SUCH")]
    {
        let folder = folder(&provider, &format!("{sink}{source}\n")).await;
        let Err(error) = host(folder.path()).serve(&config(folder.path())).await else { panic!("it started") };
        let text = error.to_string();
        assert!(text.contains("sink `billing`") && text.contains(told) && !text.contains(API_KEY), "{text}");
        assert!(!text.contains("connection"), "a sink is none: {text}");
    }
    assert_eq!(provider.count(), 0);
}
