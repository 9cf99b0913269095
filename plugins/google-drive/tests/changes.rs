//! The poll and the webhook: nothing is lost, nothing comes twice, and what is not known yet is no failure.

#![allow(clippy::unwrap_used, reason = "what a test stands on may end it")]

use serde_json::{Value, json};
use wharfage_google_drive::handle;
use wharfage_sdk::events::{Event, Header, Outcome, Poll, Start, Trigger, Webhook};
use wharfage_sdk::{Error, ErrorKind, testing};

const MANIFEST: &str = include_str!("../plugin.toml");
const FIELDS: &str =
    "id,name,mimeType,size,md5Checksum,createdTime,modifiedTime,trashed,parents,driveId,webViewLink,version";

fn poll(start: Start, cursor: Option<String>, exchanges: &[Value]) -> Result<Outcome, Error> {
    let poll = Poll { name: "changes".into(), input: "{}".into(), start };
    let event = Event { id: "1".into(), trigger: Trigger::Poll(poll), cursor };
    testing::handle(MANIFEST, handle, event, &json!(exchanges).to_string())
}

fn get(url: &str, status: u16, answer: &Value) -> Value {
    json!({"request": {"method": "GET", "url": format!("{{api}}{url}")}, "response": {"status": status, "json": answer}})
}

fn token(token: &str) -> Value {
    get("/changes/startPageToken?supportsAllDrives=true", 200, &json!({"startPageToken": token}))
}

fn changes(token: &str, status: u16, answer: &Value) -> Value {
    let fields = format!("nextPageToken,newStartPageToken,changes(changeType,fileId,removed,time,file({FIELDS}))");
    let query =
        format!("supportsAllDrives=true&includeItemsFromAllDrives=true&pageToken={token}&pageSize=200&fields={fields}");
    get(&format!("/changes?{query}"), status, answer)
}

fn files(more: &str, answer: &Value) -> Value {
    let fields = format!("nextPageToken,incompleteSearch,files({FIELDS})");
    let query = format!(
        "supportsAllDrives=true&includeItemsFromAllDrives=true&orderBy=modifiedTime desc&q=trashed %3D false&{more}&fields={fields}"
    );
    get(&format!("/files?{query}"), 200, answer)
}

fn keys(outcome: &Outcome) -> Vec<(&str, &str)> {
    outcome.emit.iter().map(|emission| (emission.event_type.as_str(), emission.key.as_str())).collect()
}

#[test]
fn from_now_on_tells_nothing_and_then_every_page() {
    let outcome = poll(Start::FromNow, None, &[token("7")]).unwrap();
    assert!(outcome.emit.is_empty() && !outcome.more);
    let page = json!({"nextPageToken": "8", "changes": [
        {"changeType": "file", "fileId": "a", "removed": false, "time": "2026-11-24T10:00:00Z",
            "file": {"id": "a", "name": "A", "version": "12"}},
        {"changeType": "file", "fileId": "b", "removed": true, "time": "2026-11-24T10:00:01Z"},
        {"changeType": "drive", "driveId": "d", "removed": false}
    ]});
    let outcome = poll(Start::FromNow, outcome.cursor, &[changes("7", 200, &page)]).unwrap();
    assert_eq!(keys(&outcome), [("file.changed", "a v12"), ("file.removed", "b removed 2026-11-24T10:00:01Z")]);
    assert!(outcome.more);
    let last = json!({"newStartPageToken": "9", "changes": []});
    let outcome = poll(Start::FromNow, outcome.cursor, &[changes("8", 200, &last)]).unwrap();
    assert_eq!((outcome.emit.len(), outcome.more), (0, false));
    // The token of the end is where the next run begins.
    poll(Start::FromNow, outcome.cursor, &[changes("9", 200, &last)]).unwrap();
}

#[test]
fn the_token_is_taken_before_the_files_are_read() {
    let outcome = poll(Start::Backfill(3), None, &[token("7")]).unwrap();
    assert!(outcome.more);
    let page = json!({"nextPageToken": "p2", "files": [{"id": "a", "version": "1"}, {"id": "b", "version": "2"}]});
    let outcome = poll(Start::Backfill(3), outcome.cursor, &[files("pageSize=3", &page)]).unwrap();
    assert_eq!(keys(&outcome), [("file.changed", "a v1"), ("file.changed", "b v2")]);
    let page = json!({"nextPageToken": "p3", "files": [{"id": "c", "version": "3"}]});
    let outcome = poll(Start::Backfill(3), outcome.cursor, &[files("pageSize=1&pageToken=p2", &page)]).unwrap();
    assert_eq!(keys(&outcome), [("file.changed", "c v3")]);
    // What happened meanwhile: the same version has the same key, so the host tells it once.
    let page = json!({"newStartPageToken": "9", "changes": [
        {"fileId": "a", "time": "2026-11-24T10:00:00Z", "file": {"id": "a", "version": "1"}}
    ]});
    let outcome = poll(Start::Backfill(3), outcome.cursor, &[changes("7", 200, &page)]).unwrap();
    assert_eq!((keys(&outcome), outcome.more), (vec![("file.changed", "a v1")], false));
}

#[test]
fn a_token_that_drive_forgot_is_an_invalid_cursor() {
    let cursor = poll(Start::FromNow, None, &[token("7")]).unwrap().cursor;
    let answer = json!({"error": {"code": 400, "message": "Invalid Value", "errors": [
        {"message": "Invalid Value", "domain": "global", "reason": "invalid", "location": "pageToken", "locationType": "parameter"}
    ]}});
    let error = poll(Start::FromNow, cursor, &[changes("7", 400, &answer)]).unwrap_err();
    assert_eq!(error.kind, ErrorKind::CursorInvalid);
}

#[test]
fn changes_that_lead_nowhere_are_told() {
    for answer in [json!({"changes": []}), json!({"changes": [], "nextPageToken": "7"})] {
        let cursor = poll(Start::FromNow, None, &[token("7")]).unwrap().cursor;
        let error = poll(Start::FromNow, cursor, &[changes("7", 200, &answer)]).unwrap_err();
        assert_eq!(error.kind, ErrorKind::SchemaViolation);
    }
}

/// R24: a state that is not known yet is logged and passed.
#[test]
fn r24_a_notification_is_a_hint_whatever_it_says() {
    let header = |name: &str, value: &str| Header { name: name.to_owned(), value: value.to_owned() };
    let line = "info a notification has a state that is not known here state=something-new";
    for (state, lines) in [("change", 0), ("something-new", 1)] {
        let headers = vec![header("x-goog-channel-id", "c"), header("x-goog-resource-state", state)];
        let webhook = Webhook { endpoint: "changes".into(), headers, body: Vec::new() };
        let event = Event { id: "webhook changes c 2".into(), trigger: Trigger::Webhook(webhook), cursor: None };
        let outcome = testing::handle(MANIFEST, handle, event, "[]").unwrap();
        assert_eq!(testing::logged(), vec![line; lines]);
        assert_eq!(keys(&outcome), [("changes.pending", "webhook changes c 2")]);
        assert_eq!(outcome.emit[0].data, json!({"channel": "c", "resource": null, "state": state}));
    }
}

fn keep_open(cursor: Option<String>, exchanges: &[Value]) -> Outcome {
    let input = r#"{"address": "https://hooks.example.org/webhooks/drive-7"}"#;
    let poll = Poll { name: "channel".into(), input: input.into(), start: Start::FromNow };
    let event = Event { id: "1".into(), trigger: Trigger::Poll(poll), cursor };
    testing::handle(MANIFEST, handle, event, &json!(exchanges).to_string()).unwrap()
}

/// It is 2026-01-01 here. What the request is marked with is compared in the fixtures.
#[test]
fn a_channel_is_opened_and_left_alone_while_it_has_time_and_its_address() {
    let kept = |ends: &str, address: &str| {
        let channel = json!({"id": "old", "resource_id": "r", "expires_at": ends});
        Some(json!({"channel": channel, "address": address}).to_string())
    };
    let address = "https://hooks.example.org/webhooks/drive-7";
    assert_eq!(keep_open(kept("2026-01-03T00:00:00Z", address), &[]), Outcome::default());
}
