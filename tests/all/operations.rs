//! `operations`: what a call brings in and takes out, and what a guest that fails leaves behind.

use futures_util::StreamExt;
use serde_json::{Value, json};
use wharfage::{AnswerSource, Blame, Cursor, Error, Kind, explain};
use wharfage_tests::component::{MANIFEST, OPERATIONS, with_custom};
use wharfage_tests::{Provider, Reply, Scene, guests};

use crate::assert_exists;
use crate::warm::operations_counter;

wharfage_tests::foreach_operations!(assert_exists);

#[tokio::test]
async fn operations_echo() {
    let open = Scene::of(guests::OPERATIONS_ECHO).open().await;
    let input = json!({"money": "12.30", "text": "ä\u{1f6a2}\u{0}", "deep": {"list": [1, null, true]}});
    let answer = open.call("echo", input.clone()).await.unwrap();
    assert_eq!(answer.output, input);
    assert_eq!((answer.attempts, answer.age_ms, answer.source, answer.next), (0, 0, AnswerSource::Live, None));
}

/// No number passes a float on its way in or out, nor beside a field that is filled in: the guest answers what it got, and
/// every digit is there. `operations_drift` has an output that differs from its schema.
#[tokio::test]
async fn guide_s27_a_number_keeps_its_digits() {
    let open = Scene::of(guests::OPERATIONS_ECHO).connection("[defaults]\nshop = 'one'\n").open().await;
    for (operation, input, output) in [
        ("echo", r#"{"a":12345678901234567890.10,"b":1.10}"#, r#"{"a":12345678901234567890.10,"b":1.10}"#),
        ("echo", r#"{ "b": 1E+2, "a": -0.0 }"#, r#"{ "b": 1E+2, "a": -0.0 }"#),
        ("echo.strict", r#"{"count": 10.00}"#, r#"{"count":10.00,"shop":"one"}"#),
        ("echo.strict", r#"{"count":10.00,"shop":"two"}"#, r#"{"count":10.00,"shop":"two"}"#),
    ] {
        let page = open.plugin.page(operation, input, None).await.unwrap();
        assert_eq!(page.output.get(), output, "{operation} {input}");
    }
}

#[tokio::test]
async fn a_list_is_read_page_by_page_and_on_demand() {
    let open = Scene::of(guests::OPERATIONS_ECHO).open().await;
    let numbers: Vec<u64> =
        open.plugin.stream::<u64, _>("numbers.list", &json!({"count": 7})).map(Result::unwrap).collect().await;
    assert_eq!(numbers, [0, 1, 2, 3, 4, 5, 6]);
    let (first, cursor) = open.page("numbers.list", json!({"count": 3}), None).await.unwrap();
    assert_eq!(first, json!([0, 1]));
    let kept = Cursor::new(cursor.unwrap().as_str());
    let (second, cursor) = open.page("numbers.list", json!({"count": 3}), Some(kept.clone())).await.unwrap();
    assert_eq!((second, cursor), (json!([2]), None));
    let (again, _) = open.page("numbers.list", json!({"count": 3}), Some(kept)).await.unwrap();
    assert_eq!(again, json!([2]), "a page can be read again after a crash");
    let empty: Vec<Result<u64, Error>> = open.plugin.stream("numbers.list", &json!({"count": 0})).collect().await;
    assert!(empty.is_empty());
}

/// R15: a cursor is sealed, so that nobody makes one, and means nothing elsewhere.
#[tokio::test]
async fn r15_a_cursor_belongs_to_its_connection_and_operation() {
    let scene = Scene::of(guests::OPERATIONS_ECHO);
    let bytes = scene.component().await;
    let open = scene.open().await;
    let (_, cursor) = open.page("numbers.list", json!({"count": 9}), None).await.unwrap();
    let cursor = cursor.unwrap();
    let connection = wharfage::Connection::parse("plugin = 'operations-echo'").unwrap();
    let neighbour = open.host.connect("other", &bytes, &connection, None).await.unwrap();
    let elsewhere = neighbour.page("numbers.list", r#"{"count":9}"#, Some(cursor.clone())).await.unwrap_err();
    assert_eq!(*elsewhere.kind(), Kind::CursorInvalid);
    let other = open.page("numbers.broken", json!({}), Some(cursor.clone())).await.unwrap_err();
    assert_eq!(*other.kind(), Kind::CursorInvalid);
    let mut changed = cursor.as_str().to_owned();
    let last = if changed.pop() == Some('A') { 'B' } else { 'A' };
    changed.push(last);
    for forged in ["", "2", "!!!", "AAAA", &changed, &"A".repeat(100_000)] {
        let error = open.page("numbers.list", json!({"count": 9}), Some(Cursor::new(forged))).await.unwrap_err();
        assert_eq!(*error.kind(), Kind::CursorInvalid, "{forged:.40}");
    }
    assert!(!cursor.as_str().contains('2') || cursor.as_str().len() > 20, "a cursor shows what it holds");
}

#[tokio::test]
async fn an_input_that_does_not_fit_is_told_with_path_and_reason() {
    let open = Scene::of(guests::OPERATIONS_ECHO).open().await;
    for (input, path) in [
        (r#"{"count": "three"}"#, "/count"),
        (r#"{"count": 5000}"#, "/count"),
        (r#"{"cuont": 3}"#, ""),
        (r#"[1]"#, ""),
        (r#""text""#, ""),
        (r#"{"count": 3"#, ""),
        ("\u{feff}{}", ""),
    ] {
        let error = open.plugin.page("numbers.list", input, None).await.unwrap_err();
        let Kind::InvalidRequest(fields) = error.kind() else { panic!("{input}: {error:?}") };
        assert_eq!(fields[0].path, path, "{input}: {error}");
        assert_eq!(error.kind().blame(), Blame::Caller);
    }
    assert_eq!(open.plugin.page("echo", "", None).await.unwrap().output.get(), "{}");
}

#[tokio::test]
async fn an_unknown_operation_is_told_with_the_nearest_names() {
    let open = Scene::of(guests::OPERATIONS_ECHO).open().await;
    let error = open.error("number.list", json!({})).await;
    assert_eq!(*error.kind(), Kind::UnknownOperation);
    assert!(error.to_string().contains("numbers.list"), "{error}");
    let error = open.error("echo\u{1b}[2J", json!({})).await;
    assert!(!error.to_string().contains('\u{1b}'), "{error:?}");
}

#[tokio::test]
async fn defaults_fill_in_what_the_caller_left_out() {
    let open = Scene::of(guests::OPERATIONS_ECHO).connection("[defaults]\nshop = 'one'\n").open().await;
    assert_eq!(open.output("echo.strict", json!({"count": 1})).await, json!({"count": 1, "shop": "one"}));
    assert_eq!(open.output("echo.strict", json!({"shop": "two"})).await, json!({"shop": "two"}));
    assert_eq!(open.output("echo", json!({})).await, json!({}), "it has no such field");
    assert!(explain(open.plugin.needs(), open.plugin.grant()).contains("filled in:\n  shop = \"one\"\n"));
}

#[tokio::test]
async fn an_answer_that_is_none_is_the_plugins_defect() {
    let open = Scene::of(guests::OPERATIONS_ECHO).open().await;
    for operation in ["text", "numbers.broken"] {
        let error = open.error(operation, json!({})).await;
        assert_eq!(error.kind().blame(), Blame::Us, "{error:?}");
    }
    assert_eq!(open.output("echo", json!({})).await, json!({}));
}

/// An output is held against its schema and goes on as it was written: no digit, space or unknown field is lost. What
/// differs is `drift.rs`.
#[tokio::test]
async fn operations_drift() {
    let open = Scene::of(guests::OPERATIONS_DRIFT).open().await;
    let text = r#"{"id": "1", "total": {"amount": "1.10"}, "wei": 123456789012345678901234567890.10}"#;
    let page = open.plugin.page("order.get", &json!({"answer": text}).to_string(), None).await.unwrap();
    assert_eq!(page.output.get(), text);
}

/// The stream ends after the first error, so that nobody loops on it.
#[tokio::test]
async fn a_stream_ends_after_its_first_error() {
    let open = Scene::of(guests::OPERATIONS_ECHO).open().await;
    let answers: Vec<Result<Value, Error>> = open.plugin.stream("numbers.broken", &json!({})).collect().await;
    assert_eq!(answers.len(), 1);
    assert!(answers[0].is_err());
}

/// The benches measure what really happens.
#[tokio::test]
async fn operations_bench() {
    let provider = Provider::scripted([Reply::json(&json!({"orders": [1, 2, 3]}))]).await;
    let open = Scene::of(guests::OPERATIONS_BENCH).with(&provider).open().await;
    assert_eq!(open.output("nothing", json!({})).await, Value::Null);
    assert!(open.output("clock", json!({"times": 3})).await.as_u64() >= Some(wharfage_tests::NOW.as_millis()));
    assert_eq!(open.output("parse", json!({"url": "{api}/orders"})).await, 3);
    assert_eq!(
        open.output("send", json!({"url": "{api}/orders", "times": 4})).await,
        4 * r#"{"orders":[1,2,3]}"#.len()
    );
    assert_eq!(provider.seen().len(), 5);
}

#[tokio::test]
async fn operations_panics() {
    let open = Scene::of(guests::OPERATIONS_PANICS).open().await;
    let error = open.error("panic", json!({"why": "no reason"})).await;
    assert!(matches!(error.kind(), Kind::Internal(_)), "{error:?}");
    assert!(error.details().unwrap().contains("the guest gave up on"), "{error}");
    let error = open.error("exit", json!({})).await;
    assert!(matches!(error.kind(), Kind::Internal(_)), "{error:?}");
    // An error of the plugin's own making is bounded and clean before anybody sees it.
    let error = open.error("err", json!({})).await;
    assert_eq!(error.kind().name(), "policy-denied");
    let shown = format!("{error:?}{:?}", error.kind());
    assert!(shown.len() < 8_000, "{} bytes", shown.len());
    assert!(error.body().unwrap().len() <= 1_000 && !error.body().unwrap().contains('\u{1b}'));
}

/// A schema that is none is found when the component is built, not when somebody calls.
#[tokio::test]
async fn operations_wrong_schema() {
    let scene = Scene::of(guests::OPERATIONS_WRONG_SCHEMA);
    let compiled = guests::OPERATIONS_WRONG_SCHEMA.compiled();
    let host = wharfage_tests::component::builder();
    let error = host.build(&compiled, scene.manifest_text()).await.map(|bytes| bytes.len()).unwrap_err();
    assert_eq!(*error.kind(), Kind::Component, "{error:?}");
    assert!(error.to_string().contains("odd"), "it does not say which operation: {error}");
    // One that was put together by hand, past the check, is loaded and not run.
    let operations = serde_json::to_vec(&host.describe(&compiled).await.unwrap()).unwrap();
    let bytes = with_custom(with_custom(compiled, MANIFEST, scene.manifest_text().as_bytes()), OPERATIONS, &operations);
    if let Ok(plugin) = host.connect("acme", &bytes, &wharfage::Connection::default(), None).await {
        let error = plugin.call::<Value>("odd", &json!({})).await.unwrap_err();
        assert_eq!(*error.kind(), Kind::Component, "{error:?}");
    }
}
