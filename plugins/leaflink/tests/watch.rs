//! The poll over orders: it begins where it should, loses nothing, and gives a change the name that a webhook gives it.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use wharfage_leaflink::handle;
use wharfage_sdk::events::{Event, Outcome, Poll, Start, Trigger, Webhook};
use wharfage_sdk::{Error, ErrorKind, testing};

const MANIFEST: &str = include_str!("../plugin.toml");
const BRIEF: &str = "fields_include=number,status,modified";

fn order(number: &str, modified: &str) -> Value {
    json!({"number": number, "status": "Accepted", "modified": modified})
}

/// A page of changes that begin at `from`, the oldest first.
fn page(from: &str, more: &str, orders: &[Value], next: Option<&str>) -> Value {
    let from = if from.is_empty() { String::new() } else { format!("&modified__gte={from}") };
    let url = format!("{{api}}/orders-received/?limit=100&ordering=modified{from}&{BRIEF}{more}");
    let answer = json!({"count": 9, "next": next, "results": orders});
    json!({"request": {"method": "GET", "url": url}, "response": {"status": 200, "json": answer}})
}

fn newest(offset: &str, orders: &[Value]) -> Value {
    let url = format!("{{api}}/orders-received/?limit=100&ordering=-modified&{BRIEF}{offset}");
    let answer = json!({"count": 9, "next": null, "results": orders});
    json!({"request": {"method": "GET", "url": url}, "response": {"status": 200, "json": answer}})
}

fn poll(start: Start, cursor: Option<String>, exchanges: Vec<Value>) -> Result<Outcome, Error> {
    poll_with(json!({}), start, cursor, exchanges)
}

fn poll_with(input: Value, start: Start, cursor: Option<String>, exchanges: Vec<Value>) -> Result<Outcome, Error> {
    let poll = Poll { name: "orders".into(), input: input.to_string(), start };
    let event = Event { id: "1".into(), trigger: Trigger::Poll(poll), cursor };
    testing::handle(MANIFEST, handle, event, &Value::from(exchanges).to_string())
}

fn numbers(outcome: &Outcome) -> Vec<&str> {
    outcome.emit.iter().filter_map(|emission| emission.data["number"].as_str()).collect()
}

#[test]
fn a_watch_from_now_tells_no_history_and_then_each_change() {
    let old = order("A", "2026-02-03T04:00:00.000500Z");
    let begun = poll(Start::FromNow, None, vec![newest("", std::slice::from_ref(&old))]).unwrap();
    assert_eq!((begun.emit.len(), begun.more), (0, false));

    let change = order("B", "2026-02-03T04:10:00.123456Z");
    let read = page("2026-02-03T04:00:00Z", "", &[old, change], None);
    let outcome = poll(Start::FromNow, begun.cursor, vec![read]).unwrap();
    assert_eq!(
        outcome.emit[0].data,
        json!({"number": "B", "action": null, "status": "Accepted", "modified": "2026-02-03T04:10:00.123456Z"})
    );
    assert_eq!((outcome.emit.len(), outcome.emit[0].event_type.as_str()), (1, "order.changed"));

    // The next run reads two minutes again: what comes to light late is not lost, and what was told keeps its name.
    let late = order("C", "2026-02-03T04:09:00Z");
    let read = page("2026-02-03T04:08:00.123Z", "", &[late, order("B", "2026-02-03T04:10:00.123456Z")], None);
    let again = poll(Start::FromNow, outcome.cursor, vec![read]).unwrap();
    assert_eq!(numbers(&again), ["C", "B"]);
    assert_eq!(again.emit[1].key, outcome.emit[0].key);
}

/// Where there is no order yet, whose clock is late does not matter: the first one is told.
#[test]
fn a_watch_from_now_of_nothing_tells_the_first_order() {
    let begun = poll(Start::FromNow, None, vec![newest("", &[])]).unwrap();
    let first = page("", "", &[order("A", "2025-12-31T23:59:00Z")], None);
    assert_eq!(numbers(&poll(Start::FromNow, begun.cursor, vec![first]).unwrap()), ["A"]);
    // Orders that say no time are there all the same.
    let timeless = json!({"number": "A", "status": "Accepted", "modified": null});
    let begun = poll(Start::FromNow, None, vec![newest("", &[timeless])]).unwrap();
    assert!(begun.cursor.unwrap().contains(r#""before":"2026-01-01T00:00:00Z""#));
}

/// V2 promises nowhere to sort. What comes first then is any order, and not the last change.
#[test]
fn a_watch_of_what_is_not_sorted_begins_now() {
    let orders = [order("A", "2025-02-03T04:00:00Z"), order("B", "2025-12-31T23:00:00Z")];
    let begun = poll(Start::FromNow, None, vec![newest("", &orders)]).unwrap();
    assert!(begun.cursor.unwrap().contains(r#""before":"2026-01-01T00:00:00Z""#));
    let changed = page("2025-12-31T23:59:59.999Z", "", &[order("C", "2026-01-01T00:00:01Z")], None);
    let begun = poll(Start::Backfill(1), None, vec![newest("", &orders), changed]).unwrap();
    assert_eq!(numbers(&begun), ["C"]);
}

/// A change of `-modified` pages moved orders past the reader. Here C changes while the first page is read: it comes again,
/// later, and nothing is missed.
#[test]
fn guide_s33_what_changes_meanwhile_is_not_missed() {
    let first =
        page("", "", &[order("A", "2026-02-03T04:00:00Z"), order("C", "2026-02-03T04:01:00Z")], Some("{api}/more"));
    let second = page(
        "2026-02-03T04:01:00Z",
        "",
        &[order("D", "2026-02-03T04:02:00Z"), order("C", "2026-02-03T05:00:00Z")],
        None,
    );
    let outcome = poll(Start::All, None, vec![first, second]).unwrap();
    assert_eq!(numbers(&outcome), ["A", "C", "D", "C"]);
    let names: BTreeMap<&str, ()> = outcome.emit.iter().map(|emission| (emission.key.as_str(), ())).collect();
    assert_eq!(names.len(), 4, "each change has a name of its own");
}

#[test]
fn a_quiet_run_leaves_the_cursor_as_it_was() {
    let read = || vec![page("2026-02-03T03:58:00Z", "", &[order("A", "2026-02-03T04:00:00Z")], None)];
    let first = poll(Start::All, None, vec![page("", "", &[order("A", "2026-02-03T04:00:00Z")], None)]).unwrap();
    let second = poll(Start::All, first.cursor.clone(), read()).unwrap();
    assert_eq!((second.cursor.clone(), second.more), (first.cursor, false));
    let none = vec![page("2026-02-03T03:58:00Z", "", &[], None)];
    assert_eq!(poll(Start::All, second.cursor.clone(), none).unwrap().cursor, second.cursor);
}

/// The host knows a name for a month: the last order of a quiet shop must not be read for ever. The clock stands at the first
/// second of 2026.
#[test]
fn what_is_settled_is_not_read_again() {
    let old = page("", "", &[order("A", "2025-12-31T12:00:00Z")], None);
    let first = poll(Start::All, None, vec![old]).unwrap();
    let none = page("2025-12-31T22:58:00Z", "", &[], None);
    let quiet = poll(Start::All, first.cursor.clone(), vec![none]).unwrap();
    assert_eq!((quiet.cursor, quiet.more), (first.cursor, false));
    // Orders that say no time would not be found by one.
    let timeless = || page("", "", &[json!({"number": "A", "status": "Accepted", "modified": null})], None);
    let first = poll(Start::All, None, vec![timeless()]).unwrap();
    assert_eq!(poll(Start::All, first.cursor, vec![timeless()]).unwrap().emit.len(), 1);
}

#[test]
fn a_backfill_begins_with_so_many_of_the_newest() {
    let third = order("C", "2026-02-03T04:02:00Z");
    let exchanges = vec![
        newest("&offset=2", std::slice::from_ref(&third)),
        page("2026-02-03T04:01:59.999Z", "", &[third, order("D", "2026-02-03T04:03:00Z")], None),
    ];
    assert_eq!(numbers(&poll(Start::Backfill(3), None, exchanges).unwrap()), ["C", "D"]);
}

/// An order that says no time is in nobody's way, wherever it stands.
#[test]
fn an_order_without_a_time_does_not_cancel_a_backfill() {
    let [timeless, newer, older] = [Value::Null, json!("2025-02-03T04:02:00Z"), json!("2025-02-03T04:01:00Z")]
        .map(|modified| json!({"number": "A", "status": "Accepted", "modified": modified}));
    for orders in [[&timeless, &newer, &older], [&newer, &timeless, &older]] {
        let exchanges = vec![
            newest("&offset=2", &orders.map(Value::clone)),
            page("2025-02-03T04:01:59.999Z", "", std::slice::from_ref(&newer), None),
        ];
        assert_eq!(poll(Start::Backfill(3), None, exchanges).unwrap().emit.len(), 1);
    }
}

/// A long list is handed back in portions, each kept with its cursor.
#[test]
fn a_long_list_comes_in_portions() {
    let mut exchanges = Vec::new();
    let mut from = String::new();
    for minute in 0..12 {
        let modified = format!("2026-02-03T04:{minute:02}:00Z");
        let next = (minute < 11).then_some("{api}/more");
        exchanges.push(page(&from, "", &[order("A", &modified)], next));
        from = modified;
    }
    let rest = exchanges.split_off(10);
    let first = poll(Start::All, None, exchanges).unwrap();
    assert_eq!((first.emit.len(), first.more), (10, true));
    let second = poll(Start::All, first.cursor, rest).unwrap();
    assert_eq!((second.emit.len(), second.more), (2, false));
}

/// A change that a webhook told, too, is one event: the host emits a name once.
#[test]
fn a_webhook_and_the_poll_give_a_change_one_name() {
    let body = r#"{"type":"order","action":"updated","data":{"number":"A","status":"Accepted","modified":"2026-02-02T21:00:00-07:00"}}"#;
    let webhook = Webhook { endpoint: "orders".into(), headers: Vec::new(), body: body.into() };
    let event = Event { id: "w".into(), trigger: Trigger::Webhook(webhook), cursor: None };
    let told = testing::handle(MANIFEST, handle, event, "[]").unwrap();
    let seen = poll(Start::All, None, vec![page("", "", &[order("A", "2026-02-03T04:00:00Z")], None)]).unwrap();
    assert_eq!(told.emit[0].key, seen.emit[0].key);
}

#[test]
fn the_guides_profile_is_watched_its_own_way() {
    let answer = json!({"next": null, "results": [{"number": "SO-1", "id": 7, "status": "Submitted", "modified_on": "2026-02-03T04:00:00Z"}]});
    let url = "{api}/orders/?limit=100&ordering=modified&seller=6808";
    let exchange = json!({"request": {"method": "GET", "url": url}, "response": {"status": 200, "json": answer}});
    let input = json!({"profile": "guide", "seller": 6808});
    assert_eq!(numbers(&poll_with(input, Start::All, None, vec![exchange]).unwrap()), ["SO-1"]);
}

#[test]
fn what_makes_no_sense_is_refused() {
    let error = poll_with(json!({"sellers": []}), Start::All, None, Vec::new()).unwrap_err();
    assert!(matches!(error.kind, ErrorKind::InvalidRequest(_)), "{error:?}");
    let error = poll(Start::All, Some("of long ago".into()), Vec::new()).unwrap_err();
    assert_eq!(error.kind, ErrorKind::CursorInvalid);
}
