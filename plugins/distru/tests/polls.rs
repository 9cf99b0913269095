//! The polls: what an integration that asks anew from time to time forgets, loses or tells twice, and what is done about it.

#![allow(clippy::unwrap_used, reason = "what a test stands on may end it")]

use std::collections::BTreeMap;

use serde_json::{Value, json};
use wharfage_distru::handle;
use wharfage_sdk::events::{Event, Outcome, Poll, Start, Trigger};
use wharfage_sdk::{Error, ErrorKind, Timestamp, testing};

const MANIFEST: &str = include_str!("../plugin.toml");

fn poll_with(
    name: &str,
    input: &str,
    start: Start,
    cursor: Option<String>,
    exchanges: Vec<Value>,
) -> Result<Outcome, Error> {
    let poll = Poll { name: name.into(), input: input.into(), start };
    let event = Event { id: "1".into(), trigger: Trigger::Poll(poll), cursor };
    testing::handle(MANIFEST, handle, event, &Value::from(exchanges).to_string())
}

fn poll(name: &str, cursor: Option<String>, exchanges: Vec<Value>) -> Outcome {
    poll_with(name, "{}", Start::All, cursor, exchanges).unwrap()
}

fn page(url: &str, records: &[Value], next: Option<&str>) -> Value {
    answer(url, 200, json!({"data": records, "next_page": next}))
}

fn answer(url: &str, status: u16, body: Value) -> Value {
    json!({"request": {"method": "GET", "url": url}, "response": {"status": status, "json": body}})
}

fn order(id: &str, changed: &str) -> Value {
    json!({"id": id, "order_number": format!("SO-{id}"), "status": "PENDING", "updated_datetime": changed, "total": "1"})
}

/// The time that the cursor goes on from.
fn since(outcome: &Outcome) -> Timestamp {
    let cursor: Value = serde_json::from_str(outcome.cursor.as_deref().unwrap()).unwrap();
    Timestamp::parse(cursor["since"].as_str().unwrap()).unwrap()
}

/// The first page of a list.
fn at(since: Option<Timestamp>) -> String {
    match since {
        Some(since) => counted(since) + "&page%5Bsize%5D=200",
        None => "{api}/orders?page%5Bsize%5D=200".to_owned(),
    }
}

/// The first page of one that is only counted.
fn counted(since: Timestamp) -> String {
    format!("{{api}}/orders?updated_datetime={since},").replace(':', "%3A").replace(',', "%2C")
}

/// What the outcome emits, by key, as the host keeps it: a key that is known is not emitted again.
fn keep(outbox: &mut BTreeMap<String, Value>, outcome: &Outcome) {
    for emission in &outcome.emit {
        outbox.entry(emission.key.clone()).or_insert_with(|| emission.data.clone());
    }
}

/// The clock of a test stands still at this time.
fn now() -> Timestamp {
    Timestamp::parse("2026-01-01T00:00:00Z").unwrap()
}

fn before(minutes: i64) -> String {
    now().plus_ms(-minutes * 60_000).to_string()
}

#[test]
fn a_first_run_from_now_on_tells_no_history() {
    let (url, old, changed) = (at(Some(now().plus_ms(-300_000))), order("1", &before(4)), before(2));
    let begin = vec![page(&url, std::slice::from_ref(&old), None)];
    let outcome = poll_with("orders", "{}", Start::FromNow, None, begin).unwrap();
    assert_eq!((outcome.emit.len(), outcome.more), (0, false));
    // Distru's clock is more than two minutes behind the host's: what changes after the beginning is told all the same.
    let next = poll("orders", outcome.cursor, vec![page(&url, &[old, order("2", &changed)], None)]);
    assert_eq!(next.emit.len(), 1);
    assert_eq!(
        next.emit[0].data,
        json!({"id": "2", "number": "SO-2", "status": "PENDING", "action": "changed", "modified": changed})
    );
}

/// The first page says how late it is at Distru, whatever a wrong clock says there. What changes while and after it is read
/// is told, on whichever page it stands.
#[test]
fn a_first_run_from_now_on_loses_nothing_that_changes_meanwhile() {
    let url = at(Some(now().plus_ms(-300_000)));
    let next = "{api}/orders?page%5Bafter%5D=x";
    let wrong = order("9", "2099-01-01T00:00:00Z");
    let begin = vec![page(&url, &[order("1", &before(4)), order("2", &before(3)), wrong], Some(next))];
    let outcome = poll_with("orders", "{}", Start::FromNow, None, begin).unwrap();
    assert_eq!((outcome.emit.len(), outcome.more), (0, false));
    // Order 1 changed then, and order 240, of a further page, still later.
    let first = page(&url, &[order("1", &before(2)), order("2", &before(3))], Some(next));
    let second = page(next, &[order("239", &before(4)), order("240", &before(1))], None);
    let told = poll("orders", outcome.cursor, vec![first, second]);
    let ids: Vec<&Value> = told.emit.iter().map(|emission| &emission.data["id"]).collect();
    assert_eq!(ids, ["1", "240"]);
}

/// No list is sorted by its last change. The time to go on from is moved at a list's end only, to some minutes behind the
/// latest change, and what is then read again has the same key.
#[test]
fn nothing_is_lost_between_pages_and_nothing_comes_twice() {
    let mut outbox = BTreeMap::new();
    let next = "{api}/orders?page%5Bafter%5D=x";
    let exchanges = vec![
        page(&at(None), &[order("1", &before(20)), order("2", &before(30))], Some(next)),
        page(next, &[order("3", &before(40))], None),
    ];
    let outcome = poll("orders", None, exchanges);
    keep(&mut outbox, &outcome);
    assert_eq!(since(&outcome), now().plus_ms(-25 * 60_000), "five minutes behind the latest change");
    // Order 2 changed while the second page was read, and order 1 is read again.
    let exchanges = vec![page(&at(Some(since(&outcome))), &[order("1", &before(20)), order("2", &before(19))], None)];
    keep(&mut outbox, &poll("orders", outcome.cursor, exchanges));
    assert_eq!(outbox.len(), 4);
}

/// Two changes within a millisecond are two: a key holds the time as Distru wrote it.
#[test]
fn microseconds_tell_changes_apart() {
    let records = [order("1", "2026-11-24T10:00:00.000001Z"), order("1", "2026-11-24T10:00:00.000002Z")];
    let outcome = poll("orders", None, vec![page(&at(None), &records, None)]);
    assert_ne!(outcome.emit[0].key, outcome.emit[1].key);
}

/// A record from the future, as of a clock that was wrong, would otherwise take everything before it along.
#[test]
fn a_time_in_the_future_moves_nothing_beyond_the_present() {
    let outcome = poll("orders", None, vec![page(&at(None), &[order("1", "2099-01-01T00:00:00Z")], None)]);
    assert_eq!(since(&outcome), now().plus_ms(-300_000));
}

/// The host knows a key for a month: the last change of a quiet company must not be read for ever.
#[test]
fn what_is_settled_is_not_read_again() {
    let outcome = poll("orders", None, vec![page(&at(None), &[order("1", "2020-01-01T00:00:00Z")], None)]);
    assert_eq!(since(&outcome), now().plus_ms(-3_600_000));
    let quiet = poll("orders", outcome.cursor.clone(), vec![page(&at(Some(since(&outcome))), &[], None)]);
    assert_eq!((quiet.cursor, quiet.more), (outcome.cursor, false));
}

/// A long history is handed back in portions, each kept with its cursor; a run that is cut off goes on there.
#[test]
fn a_long_history_comes_in_portions() {
    let mark = |n: usize| format!("{{api}}/orders?page%5Bafter%5D={n}");
    let url = |n: usize| if n == 0 { at(None) } else { mark(n) };
    let pages: Vec<Value> = (0..6)
        .map(|n| page(&url(n), &[order(&n.to_string(), &before(60))], (n < 5).then(|| mark(n + 1)).as_deref()))
        .collect();
    let first = poll("orders", None, pages[..4].to_vec());
    assert_eq!((first.emit.len(), first.more), (4, true));
    let second = poll("orders", first.cursor, pages[4..].to_vec());
    assert_eq!((second.emit.len(), second.more), (2, false));
}

/// Distru may make a page longer than it was asked to: what is found is handed back before it is more than the host takes.
#[test]
fn long_pages_end_a_call_sooner() {
    let mark = |n: usize| format!("{{api}}/orders?page%5Bafter%5D={n}");
    let orders: Vec<Value> = (0..400).map(|n| order(&n.to_string(), &before(60))).collect();
    let url = |n: usize| if n == 0 { at(None) } else { mark(n) };
    let pages: Vec<Value> = (0..4).map(|n| page(&url(n), &orders, (n < 3).then(|| mark(n + 1)).as_deref())).collect();
    let first = poll("orders", None, pages[..2].to_vec());
    assert_eq!((first.emit.len(), first.more), (800, true));
    let second = poll("orders", first.cursor, pages[2..].to_vec());
    assert_eq!((second.emit.len(), second.more), (800, false));
}

/// A mark inside a list that Distru does not know any more: the list is read again from where it began.
#[test]
fn a_mark_that_grew_old_costs_a_second_reading() {
    let mark = |n: usize| format!("{{api}}/orders?page%5Bafter%5D={n}");
    let url = |n: usize| if n == 0 { at(None) } else { mark(n) };
    let pages: Vec<Value> = (0..4).map(|n| page(&url(n), &[order("1", &before(60))], Some(&mark(n + 1)))).collect();
    let first = poll("orders", None, pages);
    let refused = answer(&mark(4), 400, json!({"errors": [{"message": "is invalid", "pointer": ["page", "after"]}]}));
    let second = poll("orders", first.cursor, vec![refused]);
    assert_eq!((second.emit.len(), second.more), (0, true));
    let third = poll("orders", second.cursor, vec![page(&at(None), &[order("1", &before(60))], None)]);
    assert_eq!((third.emit.len(), third.more), (1, false));
}

/// One that Distru refuses again and again is a failure that is seen. The clock stands at the first second of 2026.
#[test]
fn a_mark_that_is_refused_again_and_again_is_a_failure() {
    let next = "{api}/orders?page%5Bafter%5D=x";
    let ask = |again: &str| {
        let first = page(&at(None), &[order("1", &before(1))], Some(next));
        let refused = answer(next, 400, json!({"errors": [{"message": "is invalid"}]}));
        let cursor = json!({"since": null, "again": again}).to_string();
        poll_with("orders", "{}", Start::All, Some(cursor), vec![first, refused])
    };
    let begun = ask("2025-12-31T23:00:00Z").unwrap();
    assert!(begun.more && begun.cursor.unwrap().contains(r#""again":"2026-01-01T00:00:00Z""#));
    assert!(matches!(ask("2025-12-31T23:00:01Z").unwrap_err().kind, ErrorKind::InvalidRequest(_)));
    // It is remembered to the list's end.
    let cursor = json!({"since": null, "again": "2025-12-31T23:00:01Z"}).to_string();
    let outcome = poll("orders", Some(cursor), vec![page(&at(None), &[order("1", &before(1))], None)]);
    assert!(!outcome.cursor.unwrap().contains("again"));
}

#[test]
fn a_backfill_reaches_as_far_back_as_it_takes() {
    let days_ago = |days: i64| now().plus_ms(-days * 86_400_000);
    let back = |days: i64| counted(days_ago(days));
    let two = [order("1", &before(60)), order("2", &before(90))];
    let exchanges =
        vec![page(&back(1), &[], None), page(&back(10), &two, None), page(&at(Some(days_ago(10))), &two, None)];
    let outcome = poll_with("orders", "{}", Start::Backfill(2), None, exchanges).unwrap();
    assert_eq!(outcome.emit.len(), 2);
    let few = vec![
        page(&back(1), &[], None),
        page(&back(10), &two, None),
        page(&back(100), &two, None),
        page(&back(1_000), &two, None),
        page(&at(None), &two, None),
    ];
    assert_eq!(poll_with("orders", "{}", Start::Backfill(3), None, few).unwrap().emit.len(), 2);
}

#[test]
fn deletions_are_told_where_distru_lists_them() {
    let gone = json!({"id": "7", "sku": "PRE-1", "updated_datetime": "2026-11-24T10:00:00Z", "deleted_at": "2026-11-24T10:00:00Z"});
    let outcome =
        poll("products", None, vec![page("{api}/products?deleted=include&page%5Bsize%5D=200", &[gone], None)]);
    assert_eq!(outcome.emit[0].event_type, "product.changed");
    assert_eq!(
        outcome.emit[0].data,
        json!({"id": "7", "sku": "PRE-1", "action": "deleted", "modified": "2026-11-24T10:00:00Z"})
    );
}

#[test]
fn an_adjustment_is_told_with_what_it_moved() {
    let record = json!({"id": "80", "product_id": "1", "batch_id": null, "package_id": null, "location_id": "40", "quantity": "-4",
        "reason": "damaged", "completion_datetime": "2026-11-20T10:00:00Z", "inserted_datetime": "2026-11-20T10:00:01.120045Z"});
    let outcome = poll("adjustments", None, vec![page("{api}/adjustments?page%5Bsize%5D=200", &[record], None)]);
    assert_eq!(outcome.emit[0].event_type, "stock.adjusted");
    assert_eq!(outcome.emit[0].data["quantity"], "-4");
    assert_eq!(outcome.emit[0].data["product_id"], "1");
}

#[test]
fn what_makes_no_sense_is_refused() {
    let refused = |input: &str, cursor: Option<String>, exchanges| {
        poll_with("orders", input, Start::All, cursor, exchanges).unwrap_err().kind.clone()
    };
    assert!(matches!(refused(r#"{"status": "PENDING"}"#, None, Vec::new()), ErrorKind::InvalidRequest(_)));
    assert_eq!(refused("{}", Some("of long ago".into()), Vec::new()), ErrorKind::CursorInvalid);
    // Without the time of its last change, a record could neither be told once nor be gone on from.
    let nameless = json!({"id": "1"});
    assert_eq!(refused("{}", None, vec![page(&at(None), &[nameless], None)]), ErrorKind::SchemaViolation);
    // A first page that is refused is no mark that grew old.
    let bad = answer(&at(None), 400, json!({"errors": [{"message": "is invalid"}]}));
    assert!(matches!(refused("{}", None, vec![bad]), ErrorKind::InvalidRequest(_)));
}

/// A failure in the middle keeps nothing: the host asks again with the same cursor.
#[test]
fn a_failure_is_the_hosts_to_wait_for() {
    let next = "{api}/orders?page%5Bafter%5D=x";
    let exchanges = vec![
        page(&at(None), &[order("1", &before(1))], Some(next)),
        answer(next, 401, json!({"errors": [{"message": "expired"}]})),
    ];
    assert_eq!(poll_with("orders", "{}", Start::All, None, exchanges).unwrap_err().kind, ErrorKind::Unauthorized);
}
