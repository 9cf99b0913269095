//! Webhooks from the door to the plugin: what `wharfage serve` makes of a delivery, over a component and a store. The shapes
//! of signatures and the limits of the listener are tested where they are made (`host/src/inbound/verify.rs`,
//! `host/src/serve/webhooks.rs`).

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;
use wharfage::{Config, Error, Grant, ManualClock, Needs, SecretSource, SecretValue, Serving, Timestamp};
use wharfage_tests::scene::{KEYS, host};
use wharfage_tests::{Provider, Reply, Scene, drained, guests, until};

use crate::secrets::{HS256, MODULUS, RS256, changing_key};

const BODY: &str = r#"{"id":"e1"}"#;
/// Of that body with the secret `signing-secret`, by another program.
pub(crate) const SIGNED: &str = "x-sign: 51a5e9bfaf19087745f3f2420fee14a6c8f04dc9c88ca69aa85ddb19c7bae7ff";

const MANIFEST: &str = r#"
[secrets.hook]
purpose = "verify"

[webhooks.things]
keys = [{ pointers = ["/id"] }]
verify = { scheme = "signature", secret = "hook", header = "X-Sign", algorithm = "hmac-sha256", encoding = "hex", content = "{body}" }
source = "made up for the tests"
date = "2026-11-24"

[events."thing.updated"]
description = "A thing has changed."
"#;

/// A `wharfage.toml` in this folder, with a guest that sends four requests for each webhook.
async fn config(folder: &Path, scene: Scene, provider: &Provider, more: &str) -> Config {
    let bytes = scene.component().await;
    std::fs::write(folder.join("plugin.wasm"), &*bytes).unwrap();
    let text = format!(
        "[plugins.p]\ncomponent = 'plugin.wasm'\n[serve]\nlisten = '127.0.0.1:0'\n[accounts.a]\n\
         [endpoints.things-8c1f]\nconnection = 'acme'\nwebhook = 'things'\n\
         [connections.acme]\nplugin = 'p'\naccount = 'a'\nimports = {}\nprivate_addresses = ['127.0.0.1/32']\n\
         origins = ['{}']\nbase.api = '{}'\n{more}",
        json!(wharfage_tests::scene::imports(&bytes).unwrap()),
        provider.url(),
        provider.url(),
    );
    let mut config = Config::parse(&text, &folder.join("wharfage.toml")).unwrap();
    config.accounts.insert("a".to_owned(), wharfage_tests::scene::account(""));
    config
}

/// The same with the secret of its webhook.
pub(crate) async fn signed(folder: &Path, provider: &Provider) -> Config {
    let scene = Scene::of(guests::EVENTS_KEYED).manifest(MANIFEST);
    let mut config = config(folder, scene, provider, "secrets = ['api_key', 'hook']\n").await;
    let account = config.accounts.remove("a").unwrap();
    let secret = SecretSource::Value(SecretValue::new("signing-secret"));
    config.accounts.insert("a".to_owned(), account.with_secret("hook", secret));
    config
}

fn clock() -> ManualClock {
    ManualClock::new(Timestamp::from_millis(1_500_000), 1)
}

/// The status that a delivery gets, and what is said with it.
pub(crate) async fn deliver(serving: &Serving, header: &str) -> (String, String) {
    wharfage_tests::deliver(serving, "things-8c1f", header, BODY).await
}

async fn counts(serving: &Serving) -> (u64, u64) {
    let state = serving.state().await.unwrap();
    (state.endpoints[0].1.received, state.endpoints[0].1.repeated)
}

/// The defect S28 of the guide: it handled an event before it answered, so that a slow handler was a lost delivery.
#[tokio::test]
async fn guide_s28_a_delivery_is_acknowledged_while_its_plugin_is_busy() {
    let folder = tempfile::tempdir().unwrap();
    let provider = Provider::answering(|_| Reply::never()).await;
    let config = signed(folder.path(), &provider).await;
    let serving = host(&folder.path().join("state"), clock()).serve(&config).await.unwrap();
    assert_eq!(deliver(&serving, SIGNED).await, ("200".to_owned(), r#"{"status":"received"}"#.to_owned()));
    until!(provider.count() > 0);
    // Its plugin waits for an answer that never comes, and deliveries are answered all the same.
    assert_eq!(deliver(&serving, SIGNED).await.0, "200");
    assert_eq!(deliver(&serving, "x-sign: ff").await.0, "401");
    assert_eq!(counts(&serving).await, (1, 1));
}

/// The defect S31 of the guide: what had been processed was known in memory only, and all of it was looked through each time.
#[tokio::test]
async fn guide_s31_what_is_known_outlives_a_restart_and_ends_with_its_time() {
    let folder = tempfile::tempdir().unwrap();
    let provider = Provider::scripted([Reply::status(200)]).await;
    let config = signed(folder.path(), &provider).await;
    let clock = clock();
    for (advance_ms, expected) in [(0, (1, 0)), (23 * 3_600_000, (0, 1)), (3_600_000, (1, 0))] {
        clock.advance(advance_ms);
        let serving = host(&folder.path().join("state"), clock.clone()).serve(&config).await.unwrap();
        assert_eq!(deliver(&serving, SIGNED).await.0, "200");
        assert_eq!(counts(&serving).await, expected, "after {advance_ms} ms");
        // It is handled: one that waits is known for as long as it waits.
        until!(provider.count() >= 4);
        assert!(drained(serving, &clock).await);
    }
}

/// Without its secret there is no route: nothing starts, and the command that helps is said.
#[tokio::test]
async fn without_its_secret_nothing_is_served() {
    let folder = tempfile::tempdir().unwrap();
    let provider = Provider::scripted([Reply::status(200)]).await;
    let refused = async |more: &str| -> Error {
        let scene = Scene::of(guests::EVENTS_KEYED).manifest(MANIFEST);
        let config = config(folder.path(), scene, &provider, more).await;
        host(&folder.path().join("state"), clock()).serve(&config).await.err().unwrap()
    };
    let absent = refused("secrets = ['api_key', 'hook']\n").await.to_string();
    assert!(absent.contains("[endpoints.things-8c1f]") && absent.contains("wharfage secret set acme hook"), "{absent}");
    let denied = refused("secrets = ['api_key']\n").await.to_string();
    assert!(denied.contains("[connections.acme]") && denied.contains("secrets = [\"api_key\", \"hook\"]"), "{denied}");
}

/// R20: whoever makes key ids up makes the host ask for the provider's keys at most once a minute.
#[tokio::test]
async fn r20_unknown_key_ids_are_asked_for_once_a_minute() {
    let folder = tempfile::tempdir().unwrap();
    let provider = Provider::scripted([Reply::status(200)]).await;
    let set = json!({"keys": [{"kty": "RSA", "kid": "k1", "alg": "RS256", "n": MODULUS, "e": "AQAB"}]});
    let keys = Provider::scripted([Reply::status(200).body(set.to_string())]).await;
    let manifest = r#"
[secrets.tokens]
purpose = "verify"
jwt = { algorithm = "RS256", issuer = "https://issuer.test", audience = ["us"], jwks = "{keys}/jwks" }

[webhooks.things]
keys = [{ pointers = ["/id"] }]
verify = { scheme = "jwt", secret = "tokens", header = "Authorization", prefix = "Bearer " }
source = "made up for the tests"
date = "2026-11-24"

[events."thing.updated"]
description = "A thing has changed."
"#;
    let scene = Scene::of(guests::EVENTS_KEYED).manifest(KEYS).manifest(manifest);
    let more = format!("secrets = ['api_key', 'tokens']\nbase.keys = '{}'\n", keys.url());
    let mut config = config(folder.path(), scene, &provider, &more).await;
    config.connections.get_mut("acme").unwrap().origins.push(keys.url());
    let clock = clock();
    let serving = host(&folder.path().join("state"), clock.clone()).serve(&config).await.unwrap();
    assert_eq!(keys.count(), 0, "nobody asked yet");
    let bearer = |token: &str| format!("authorization: Bearer {token}");
    let unknown = |id: u32| {
        let header = URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"RS256","kid":"made-up-{id}"}}"#));
        bearer(&format!("{header}.{}", RS256.split_once('.').unwrap().1))
    };
    let mut id = 0;
    for (advance_ms, asked) in [(0, 1), (0, 1), (59_999, 1), (1, 2), (59_999, 2)] {
        clock.advance(advance_ms);
        for _ in 0..3 {
            id += 1;
            assert_eq!(deliver(&serving, &unknown(id)).await.0, "401");
        }
        assert_eq!(keys.count(), asked, "after {advance_ms} ms");
    }
    assert_eq!(deliver(&serving, &bearer(RS256)).await.0, "200");
    assert_eq!(deliver(&serving, "authorization: Bearer ").await.0, "401");
    assert_eq!((keys.count(), counts(&serving).await.0), (2, 1));
}

/// While its key is changed, what is signed with either of them is taken.
#[tokio::test]
async fn a_token_of_a_delivery_is_checked_with_every_version_of_its_key() {
    let provider = Provider::scripted([Reply::status(200)]).await;
    let webhook = r#"
[webhooks.things]
keys = [{ pointers = ["/id"] }]
verify = { scheme = "jwt", secret = "tokens", header = "Authorization", prefix = "Bearer " }
source = "made up for the tests"
date = "2026-11-24"

[events."thing.updated"]
description = "A thing has changed."
"#;
    for beside in ["next", "previous"] {
        let folder = tempfile::tempdir().unwrap();
        let (manifest, source) = changing_key(folder.path(), beside);
        let scene = Scene::of(guests::EVENTS_KEYED).manifest(manifest).manifest(webhook);
        let mut config = config(folder.path(), scene, &provider, "secrets = ['api_key', 'tokens']\n").await;
        let account = config.accounts.remove("a").unwrap();
        config.accounts.insert("a".to_owned(), account.with_secret("tokens", source));
        let serving = host(&folder.path().join("state"), clock()).serve(&config).await.unwrap();
        for (token, status) in [(HS256, "200"), (&*HS256.replace("gcJP9", "gcJP8"), "401")] {
            assert_eq!(deliver(&serving, &format!("authorization: Bearer {token}")).await.0, status, "{beside}");
        }
    }
}

/// A reload that changes limits keeps the door where it is, and what was counted there.
#[tokio::test]
async fn a_reload_takes_up_endpoints_and_limits_at_the_same_address() {
    let folder = tempfile::tempdir().unwrap();
    let provider = Provider::scripted([Reply::status(200)]).await;
    let mut config = signed(folder.path(), &provider).await;
    let serving = host(&folder.path().join("state"), clock()).serve(&config).await.unwrap();
    let address = serving.address().await;
    assert_eq!(deliver(&serving, SIGNED).await.0, "200");
    config.serve.limits.head_bytes += 1;
    config.endpoints.get_mut("things-8c1f").unwrap().limits.body_bytes = 5;
    serving.reload(&config).await.unwrap();
    assert_eq!(serving.address().await, address);
    assert_eq!(deliver(&serving, SIGNED).await.0, "413");
    assert_eq!(counts(&serving).await, (1, 0));
    config.endpoints.clear();
    serving.reload(&config).await.unwrap();
    assert_eq!(serving.address().await, None, "there is nothing to listen for");
}

#[tokio::test]
async fn what_an_endpoint_takes_and_how_it_is_verified_is_explained() {
    let folder = tempfile::tempdir().unwrap();
    let provider = Provider::scripted([Reply::status(200)]).await;
    let mut config = signed(folder.path(), &provider).await;
    let needs = Needs::read(&std::fs::read(folder.path().join("plugin.wasm")).unwrap()).unwrap();
    let grant = Grant::new(&needs, "acme", &config.connections["acme"], config.accounts.get("a")).unwrap();
    let explained = wharfage::explain(&needs, &grant);
    for line in [
        "Webhooks it takes:\n  things",
        "    verified by X-Sign: hmac-sha256 in hex over `{body}`, with the secret hook\n",
        "    taken once by /id; known for 24 h\n",
        "    as of made up for the tests, 2026-11-24\n",
    ] {
        assert!(explained.contains(line), "{line}: {explained}");
    }
    let endpoints = wharfage::explain_starts(&needs, &config, "acme");
    assert!(endpoints.contains("POST /webhooks/things-8c1f takes things\n"), "{endpoints}");
    assert!(endpoints.contains("body_bytes                  1048576  Bytes of one delivery's body."), "{endpoints}");
    assert_eq!(wharfage::explain_starts(&needs, &config, "other"), "");
    let acme = config.connections.get_mut("acme").unwrap();
    acme.polls.insert("ticks".to_owned(), toml::from_str("cron = '0 6 * * *'\ntimezone = 'Europe/Berlin'").unwrap());
    acme.sockets.insert("trades".to_owned(), toml::from_str("queue_messages_max = 7").unwrap());
    let all = wharfage::explain_starts(&needs, &config, "acme");
    for line in ["ticks at 0 6 * * * Europe/Berlin", "trades, at most 7 messages waiting"] {
        assert!(all.contains(line), "{all}");
    }
}
