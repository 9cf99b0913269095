//! `state`: small, durable, its own, and limited.

use serde_json::json;
use wharfage::Kind;
use wharfage_tests::scene::imports;
use wharfage_tests::{Scene, guests};

use crate::assert_exists;

wharfage_tests::foreach_state!(assert_exists);

#[tokio::test]
async fn state_roundtrip() {
    let open = Scene::of(guests::STATE_ROUNDTRIP).open().await;
    assert_eq!(open.output("get", json!({"key": "a"})).await, json!(null));
    for (key, value) in [("b", "2"), ("a", "1"), ("ab", "3")] {
        open.output("set", json!({"key": key, "value": value})).await;
    }
    assert_eq!(open.output("get", json!({"key": "a"})).await, json!("1"));
    open.output("set", json!({"key": "a", "value": ""})).await;
    assert_eq!(open.output("get", json!({"key": "a"})).await, json!(""), "an empty value is a value");
    assert_eq!(open.output("keys", json!({"key": ""})).await, json!(["a", "ab", "b"]));
    assert_eq!(open.output("keys", json!({"key": "a"})).await, json!(["a", "ab"]));
    open.output("delete", json!({"key": "a"})).await;
    open.output("delete", json!({"key": "a"})).await;
    assert_eq!(open.output("keys", json!({"key": ""})).await, json!(["ab", "b"]));
}

#[tokio::test]
async fn no_connection_sees_anothers() {
    let scene = Scene::of(guests::STATE_ROUNDTRIP);
    let bytes = scene.component().await;
    let open = scene.open().await;
    open.output("set", json!({"key": "mine", "value": "1"})).await;
    let mut connection = wharfage::Connection::parse("plugin = 'state-roundtrip'").unwrap();
    connection.imports = imports(&bytes).unwrap();
    let neighbour = open.host.connect("other", &bytes, &connection, None).await.unwrap();
    let answer = neighbour.call::<serde_json::Value>("get", &json!({"key": "mine"})).await.unwrap();
    assert_eq!(answer.output, json!(null));
}

#[tokio::test]
async fn it_is_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let scene = Scene::of(guests::STATE_ROUNDTRIP);
    let bytes = scene.component().await;
    let mut connection = wharfage::Connection::parse("plugin = 'state-roundtrip'").unwrap();
    connection.imports = imports(&bytes).unwrap();
    // The last host stays open while its files are read: one that closes takes away the log beside its database.
    let mut open = None;
    for round in 0..2 {
        drop(open.take());
        let host = wharfage::Host::builder().state_dir(folder.path().join("state")).build().unwrap();
        let plugin = host.connect("acme", &bytes, &connection, None).await.unwrap();
        let found = plugin.call::<serde_json::Value>("get", &json!({"key": "k"})).await.unwrap().output;
        assert_eq!(found, if round == 0 { json!(null) } else { json!("kept in the wharf's own safe") });
        let value = json!({"key": "k", "value": "kept in the wharf's own safe"});
        plugin.call::<serde_json::Value>("set", &value).await.unwrap();
        open = Some((host, plugin));
    }
    let mut files = vec![folder.path().to_owned()];
    while let Some(path) = files.pop() {
        if path.is_dir() {
            files.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else {
            let bytes = std::fs::read(&path).unwrap();
            let shows = bytes.windows(12).any(|window| window == b"wharf's own ");
            assert!(!shows, "{} holds a value in the clear", path.display());
        }
    }
}

#[tokio::test]
async fn where_no_key_has_room_an_old_one_takes_a_new_value() {
    let scene = Scene::of(guests::STATE_ROUNDTRIP).grant(|connection| connection.limits.state_keys = 2);
    let open = scene.open().await;
    let set = |key: &str, value: &str| json!({"key": key, "value": value});
    open.output("set", set("a", "1")).await;
    open.output("set", set("b", "2")).await;
    let error = open.error("set", set("c", "3")).await;
    assert_eq!(*error.kind(), Kind::LimitExceeded("state_keys".into()), "{error}");
    open.output("set", set("b", "a new value for an old key")).await;
    let error = open.error("set", set("", "1")).await;
    assert!(matches!(error.kind(), Kind::InvalidRequest(_)), "{error}");
}

/// It tries to keep one value that is too large, and 1,500 of 500 bytes. The second call replaces what is there, which
/// takes no more room and is written all the same.
#[tokio::test]
async fn what_one_call_writes_is_limited_however_little_is_kept() {
    let open = Scene::of(guests::HOSTILE_FILLS_STATE).connection("limits.state_written_bytes = 8000\n").open().await;
    let told = json!({"limit state_bytes": 1, "limit state_written_bytes": 1_490, "passed": 10});
    for _ in 0..2 {
        assert_eq!(open.output("attack", json!({})).await, told);
    }
    let open = Scene::of(guests::STATE_ROUNDTRIP).connection("limits.state_written_bytes = 256\n").open().await;
    let error = open.error("delete", json!({"key": "k"})).await;
    assert_eq!(*error.kind(), Kind::LimitExceeded("state_written_bytes".into()), "{error}");
}
