//! Webhooks, and the poll that tells what none of them brought: one list of events, however each came.
//!
//! The deliveries are vectors that the provider's own client library agrees with (stripe-python 16.1.0, read 2026-11-24):
//! what it takes is taken here, what it refuses is refused.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use wharfage::{Config, ManualClock, SecretSource, SecretValue, Serving, Timestamp};
use wharfage_tests::scene::{account, host, imports};
use wharfage_tests::{PLUGINS, PluginFolder, Provider, Reply, component, drained, until};

const BODY: &str = "{\n  \"id\": \"evt_test_webhook\",\n  \"object\": \"event\",\n  \"data\": { \"object\": { \"id\": \"rdr_123\", \"object\": \"terminal.reader\" } }\n}";
const SIGNED_AT_S: u64 = 1_614_265_330;
const SIGNED: &str = "t=1614265330,v1=117f2d4aa1697fc9f837f2feca4e5e23ec790ffa7b6b669073d3677ae48c4b5f";

/// The status that a delivery gets.
async fn deliver(serving: &Serving, signature: &str) -> String {
    wharfage_tests::deliver(serving, "shop-1f2e", &format!("stripe-signature: {signature}"), BODY).await.0
}

/// What came by webhook and stands in the list too is told once; what no webhook brought is told all the same.
#[tokio::test]
async fn what_a_webhook_missed_is_told_once() {
    let signs_so = |plugin: &&PluginFolder| plugin.manifest().contains("\"Stripe-Signature\"");
    let plugin = PLUGINS.iter().find(signs_so).expect("a plugin whose provider signs so");
    let bytes = component::built(plugin.name, || plugin.compiled(), &plugin.manifest()).await;
    let provider = Provider::answering(|_| {
        let happened = |id: &str, created: u64| {
            json!({"id": id, "object": "event", "type": "terminal.reader.action_succeeded", "created": created,
                "data": {"object": {"id": "rdr_123", "object": "terminal.reader"}}})
        };
        let data = [happened("evt_test_webhook", SIGNED_AT_S), happened("evt_missed", SIGNED_AT_S - 90_000)];
        Reply::json(&json!({"object": "list", "has_more": false, "data": data}))
    })
    .await;

    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("plugin.wasm"), &*bytes).unwrap();
    let out = folder.path().join("events.jsonl");
    let url = provider.url();
    let imports = imports(&bytes).unwrap();
    let text = format!(
        r#"
            [plugins.p]
            component = "plugin.wasm"
            [serve]
            listen = "127.0.0.1:0"
            [accounts.a]
            [connections.shop]
            plugin = "p"
            account = "a"
            imports = {imports:?}
            origins = ["{url}"]
            base = {{ api = "{url}" }}
            private_addresses = ["127.0.0.1/32"]
            secrets = ["api_key", "webhook_secret"]
            [endpoints.shop-1f2e]
            connection = "shop"
            webhook = "events"
            [connections.shop.polls.events]
            first = "all"
            [sinks.out]
            kind = "file"
            path = "{}"
        "#,
        out.display()
    );
    let mut config = Config::parse(&text, &folder.path().join("wharfage.toml")).unwrap();
    let secret = SecretSource::Value(SecretValue::new("whsec_test_secret"));
    config.accounts.insert("a".to_owned(), account("").with_secret("webhook_secret", secret));
    let clock = ManualClock::new(Timestamp::from_millis((SIGNED_AT_S + 10) * 1_000), 1);
    let serving = host(&folder.path().join("state"), clock.clone()).serve(&config).await.unwrap();

    for (signature, status) in [
        (SIGNED.to_owned(), "200"),
        // While a secret is rolled there are two.
        (format!("{SIGNED},v1=bad_signature"), "200"),
        (format!("t=1614265330,v1=0000,{}", &SIGNED[13..]), "200"),
        ("i'm not even a real signature header".to_owned(), "401"),
        (SIGNED.replace("117f", "117e"), "401"),
        (SIGNED.replace("1614265330", "1614265331"), "401"),
        (SIGNED.replace("v1=", "v0="), "401"),
    ] {
        assert_eq!(deliver(&serving, &signature).await, status, "{signature}");
    }
    let mut told: BTreeMap<String, u32> = BTreeMap::new();
    until!({
        told.clear();
        for line in std::fs::read_to_string(&out).unwrap_or_default().lines() {
            let Ok(event) = serde_json::from_str::<Value>(line) else { continue };
            assert_eq!(event["type"], "other.changed");
            *told.entry(event["key"].as_str().unwrap().to_owned()).or_default() += 1;
        }
        told.len() >= 2
    });
    assert_eq!(told, BTreeMap::from([("evt_missed".to_owned(), 1), ("evt_test_webhook".to_owned(), 1)]));
    // Five minutes after it was made a signature is good no more.
    clock.advance(291_000);
    assert_eq!(deliver(&serving, SIGNED).await, "401");
    assert!(drained(serving, &clock).await);
    assert_eq!(std::fs::read_to_string(&out).unwrap().lines().count(), 2);
}
