//! `drift`: answers that differ from what the plugin says of them, as the operator wants to have them treated.

use serde_json::json;
use wharfage::{DriftKind, Drifts, PathEvent};
use wharfage::{Error, Kind, RequestSent, explain};
use wharfage_tests::component::replaced;
use wharfage_tests::{API_KEY, Open, Provider, Reply, Scene, guests};

use crate::cli::wharfage;
use crate::log::Logged;

const CANARY: &str = "c4nary-5a1ue";

async fn open(policy: &str) -> Open {
    let lines = if policy.is_empty() { String::new() } else { format!("drift = '{policy}'\n") };
    Scene::of(guests::OPERATIONS_DRIFT).connection(&lines).open().await
}

async fn answer(open: &Open, operation: &str, text: &str) -> Result<String, Error> {
    let input = json!({"answer": text}).to_string();
    open.plugin.page(operation, &input, None).await.map(|page| page.output.get().to_owned())
}

fn told(drifts: &Drifts) -> Vec<(&str, &str, &'static str, u64)> {
    let records = drifts.records.iter();
    records.map(|drift| (&*drift.operation, &*drift.path, drift.kind.name(), drift.count)).collect()
}

/// The default passes everything, digit by digit, and keeps where, in which way and how often.
#[tokio::test]
async fn each_kind_is_kept_with_its_place_and_told_once() {
    let open = open("").await;
    let right = r#"{"id":"1","total":{"amount":"12.30"},"status":"open","at":null,"lines":[{"sku":"a"}]}"#;
    assert_eq!(answer(&open, "order.get", right).await.unwrap(), right);
    assert_eq!(open.plugin.drift(), Drifts::default());

    let odd = format!(
        r#"{{"total":{{"amount":12345678901234567890.10,"{CANARY}":1}},"status":"{CANARY}","at":"{CANARY}",
            "lines":[{{"sku":1}},{{"sku":2,"more":1}},{{}},{{}}],"new":"{CANARY}","{CANARY} x":1}}"#
    );
    assert_eq!(answer(&open, "order.get", &odd).await.unwrap(), odd, "a number lost its digits");
    let drifts = open.plugin.drift();
    assert_eq!(
        told(&drifts),
        [
            ("order.get", "/*", "new", 1),
            ("order.get", "/at", "format", 1),
            ("order.get", "/id", "missing", 1),
            ("order.get", "/lines", "other", 1),
            ("order.get", "/lines/*/more", "new", 1),
            ("order.get", "/lines/*/sku", "type", 2),
            ("order.get", "/new", "new", 1),
            ("order.get", "/status", "enum", 1),
            ("order.get", "/total/amount", "type", 1),
            // The name of a field that is new is told where it looks like one.
            ("order.get", &format!("/total/{CANARY}"), "new", 1),
        ]
    );
    let first = &drifts.records[0];
    assert_eq!((first.plugin_version.as_str(), first.schema.len()), ("0.1.0", 12));
    assert_eq!((first.first_seen, first.last_seen), (wharfage_tests::NOW, wharfage_tests::NOW));
    let steps = open.steps();
    assert_eq!(steps.len(), drifts.records.len());
    assert!(steps.contains(&PathEvent::Drifted {
        operation: "order.get".into(),
        path: "/lines/*/sku".into(),
        kind: "type",
        count: 2
    }));
    // A second time it is counted and not told again.
    answer(&open, "order.get", &odd).await.unwrap();
    assert_eq!(open.steps().len(), steps.len());
    assert!(open.plugin.drift().records.iter().all(|drift| drift.count % 2 == 0));
}

#[tokio::test]
async fn every_item_of_a_list_is_looked_at() {
    let open = open("warn").await;
    answer(&open, "orders.list", r#"[{"id":"1"},{"id":2},{"id":3,"new":0},{}]"#).await.unwrap();
    assert_eq!(
        told(&open.plugin.drift()),
        [("orders.list", "/id", "missing", 1), ("orders.list", "/id", "type", 2), ("orders.list", "/new", "new", 1)]
    );
}

/// The guide, item 103: extra fields pass, anything else fails fast, with the start of the body in the error.
#[tokio::test]
async fn strict_fails_fast_and_passes_new_fields() {
    let provider = Provider::scripted([
        Reply::json(&json!({"id": "1", "new": 1})),
        Reply::json(&json!({"id": 7, "note": format!("key {API_KEY} {}", "long ".repeat(200))})),
    ])
    .await;
    let open = Scene::of(guests::OPERATIONS_DRIFT).with(&provider).connection("drift = 'strict'\n").open().await;
    assert_eq!(open.output("order.fetch", json!({})).await, json!({"id": "1", "new": 1}));
    let error = open.error("order.fetch", json!({})).await;
    assert_eq!(*error.kind(), Kind::SchemaViolation);
    assert!(error.message().ends_with("at /id (type)"), "{error}");
    assert!(error.details().unwrap().contains("/id type: expected a string, and it is an integer"), "{error}");
    assert_eq!((error.request_sent(), error.attempts()), (RequestSent::Yes, 1));
    let body = error.body().unwrap();
    assert!(body.starts_with("{\"id\":7") && body.len() <= 500 && !body.contains(API_KEY), "{body}");
    assert!(!error.to_string().contains("long"), "the body stands in the sentence: {error}");
    assert_eq!(open.plugin.drift().records.len(), 3);
}

#[tokio::test]
async fn off_does_not_look() {
    let open = open("off").await;
    assert_eq!(answer(&open, "order.get", "7").await.unwrap(), "7");
    assert_eq!(open.plugin.drift(), Drifts::default());
    assert!(explain(open.plugin.needs(), open.plugin.grant()).contains("drift = \"off\": they are not looked for"));
}

#[tokio::test]
async fn an_operation_that_promises_nothing_cannot_drift() {
    let open = open("strict").await;
    for output in ["7", "null", r#"{"a":1e999}"#] {
        assert_eq!(answer(&open, "anything", output).await.unwrap(), output);
    }
}

#[tokio::test]
async fn records_are_bounded() {
    let open = open("warn").await;
    let fields: Vec<String> = (0..1_000).map(|n| format!("\"new_{n}\":0")).collect();
    let output = format!("{{\"id\":\"1\",{}}}", fields.join(","));
    answer(&open, "order.get", &output).await.unwrap();
    let drifts = open.plugin.drift();
    assert_eq!((drifts.records.len(), drifts.beyond), (200, 800));
    assert!(drifts.records.iter().all(|drift| drift.kind == DriftKind::New));
}

/// A canary in every value is in no record, no step and no line of the log; each place is logged once.
#[tokio::test]
async fn no_value_is_kept_or_logged() {
    let logged = Logged::default();
    let _listening = logged.listen("wharfage=trace");
    // A place that logs is switched off for good if another test comes by first, without a listener, in the very moment
    // that this one begins to listen. So it is passed once, and then asked anew who listens.
    answer(&open("warn").await, "order.get", "7").await.unwrap();
    tracing::callsite::rebuild_interest_cache();
    for policy in ["warn", "strict"] {
        let open = open(policy).await;
        let output = format!(
            r#"{{"id":{{"{CANARY} a":"{CANARY}"}},"total":"{CANARY}","status":"{CANARY}","at":"{CANARY}","+1 555 {CANARY}":0}}"#
        );
        for _ in 0..3 {
            assert_eq!(answer(&open, "order.get", &output).await.is_ok(), policy == "warn");
        }
        let kept = format!("{:?}{:?}", open.plugin.drift(), open.steps());
        assert!(kept.contains("/status") && !kept.contains(CANARY), "{kept}");
    }
    let text = logged.text();
    assert!(!text.contains(CANARY), "{text}");
    let lines = text.lines().filter(|line| line.contains("differs from its schema"));
    assert_eq!(lines.filter(|line| line.contains("/status") && line.contains("enum")).count(), 2, "{text}");
}

/// `wharfage build` makes no such component. Nothing is sent whose answer could not be looked at.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_output_schema_that_cannot_be_used_fails_the_calls_that_need_it_and_a_check() {
    let scene = Scene::of(guests::OPERATIONS_DRIFT).tampered(|bytes| replaced(bytes, "\"string\"", "\"strung\""));
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("drift.wasm"), &*scene.component().await).unwrap();
    let provider = Provider::answering(|_| Reply::status(200)).await;
    let open = scene.with(&provider).open().await;
    let input = json!({"url": "{api}/order"}).to_string();
    let error = open.plugin.page("order.fetch", &input, None).await.map(drop).unwrap_err();
    assert_eq!((error.kind(), error.attempts(), error.request_sent()), (&Kind::Component, 0, RequestSent::No));
    assert!(
        error.to_string().contains("operation `order.fetch`: its output: a schema of the plugin is not valid"),
        "{error}"
    );
    assert_eq!(provider.count(), 0);
    assert_eq!(answer(&open, "anything", "1").await.unwrap(), "1");

    let (code, out, err) = wharfage(folder.path(), &["check", "drift.wasm"]);
    assert_eq!(code, 3, "{out}{err}");
    assert!(err.contains("operation `order.get`: its output") && err.contains("/properties/amount: "), "{err}");
}
