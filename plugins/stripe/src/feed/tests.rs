//! What is made of webhooks and of the list of events, natively.

use wharfage_sdk::events::Webhook;
use wharfage_sdk::testing;

use super::*;

/// A page: the query it is asked for with, the times and numbers of its events, and whether there are more.
type Asked<'a> = (&'a str, &'a [(i64, u32)], bool);

const MANIFEST: &str = include_str!("../../plugin.toml");
const T: i64 = 1_767_225_600; // 2026-01-01T00:00:00Z

fn told(body: &str) -> Result<Outcome, Error> {
    let webhook = Webhook { endpoint: "events".to_owned(), headers: Vec::new(), body: body.as_bytes().to_vec() };
    let event = Event { id: "webhook events 7".to_owned(), trigger: Trigger::Webhook(webhook), cursor: None };
    testing::handle(MANIFEST, handle, event, "[]")
}

/// One run of the poll, and what Stripe answers: the query of each request, and the seconds of the events in its page.
fn run(input: &str, start: Start, cursor: Option<String>, pages: &[Asked<'_>]) -> Result<Outcome, Error> {
    let exchanges: Vec<Value> = pages
        .iter()
        .map(|(query, events, more)| {
            let data: Vec<Value> = events.iter().map(|(at, number)| happened(*at, *number)).collect();
            json!({
                "request": {"method": "GET", "url": format!("{{api}}/events?{query}")},
                "response": {"status": 200, "json": {"object": "list", "has_more": more, "data": data}},
            })
        })
        .collect();
    poll(input, start, cursor, &json!(exchanges).to_string())
}

fn poll(input: &str, start: Start, cursor: Option<String>, exchanges: &str) -> Result<Outcome, Error> {
    let poll = Poll { name: "events".to_owned(), input: input.to_owned(), start };
    let event = Event { id: "poll events 1".to_owned(), trigger: Trigger::Poll(poll), cursor };
    testing::handle(MANIFEST, handle, event, exchanges)
}

/// An event at this second after `T`.
fn happened(at: i64, number: u32) -> Value {
    json!({
        "id": format!("evt_{number}"), "object": "event", "type": "invoice.paid", "created": T + at, "livemode": false,
        "data": {"object": {"id": format!("in_{number}"), "object": "invoice", "status": "paid"}},
    })
}

fn keys(outcome: &Outcome) -> Vec<&str> {
    outcome.emit.iter().map(|emission| emission.key.as_str()).collect()
}

#[test]
fn a_webhook_is_told_as_a_hint() {
    let body = r#"{"id": "evt_1", "object": "event", "type": "customer.subscription.deleted", "created": 1767225600,
        "livemode": true, "account": "acct_1", "data": {"object": {"id": "sub_1", "object": "subscription",
        "status": "canceled", "customer": "cus_1"}}}"#;
    let outcome = told(body).unwrap();
    assert_eq!(outcome.emit.len(), 1);
    assert_eq!(outcome.emit[0].event_type, "subscription.changed");
    assert_eq!(outcome.emit[0].key, "evt_1");
    assert_eq!(
        outcome.emit[0].data,
        json!({"event": "evt_1", "type": "customer.subscription.deleted", "object": "subscription", "id": "sub_1",
            "status": "canceled", "at": "2026-01-01T00:00:00Z", "livemode": true, "account": "acct_1"})
    );
}

/// R24: what a provider has begun to tell is no failure, neither a type nor a field nor a newer form.
#[test]
fn r24_what_is_not_known_yet_is_told_all_the_same() {
    let later = r#"{"id": "evt_2", "type": "moon.landed", "data": {"object": {"object": "moon"}}, "colour": {"r": 1}}"#;
    assert_eq!(told(later).unwrap().emit[0].event_type, "other.changed");
    let thin = r#"{"id": "evt_3", "object": "v2.core.event", "type": "v2.core.account.updated",
        "created": "2026-01-01T00:00:00.123Z", "related_object": {"id": "acct_9", "type": "v2.core.account"}}"#;
    let data = told(thin).unwrap().emit.remove(0).data;
    assert_eq!((&data["id"], &data["at"]), (&json!("acct_9"), &json!("2026-01-01T00:00:00.123Z")));
}

#[test]
fn what_is_no_event_is_a_failure() {
    for broken in ["", "7", "[]", "{}", r#"{"id": 7, "type": "x"}"#, "{\"id\": \"evt_1\""] {
        assert_eq!(told(broken).unwrap_err().kind.name(), "schema-violation", "{broken}");
    }
}

#[test]
fn the_poll_tells_the_same_as_the_webhook() {
    let event = happened(5, 1);
    let by_webhook = told(&event.to_string()).unwrap();
    let by_poll = run("{}", Start::All, None, &[("limit=100", &[(5, 1)], false)]).unwrap();
    assert_eq!(by_webhook.emit, by_poll.emit);
}

#[test]
fn a_poll_from_now_on_tells_nothing_that_was_there() {
    let first = run("{}", Start::FromNow, None, &[("limit=100", &[(9, 3), (9, 2), (8, 1)], true)]).unwrap();
    assert_eq!((keys(&first).len(), first.more), (0, false));
    // The same second once more: what was there is known, what came into it since is told, oldest first.
    let query = format!("created[gte]={}&limit=100", T + 9);
    let second =
        run("{}", Start::FromNow, first.cursor, &[(&query, &[(10, 5), (9, 4), (9, 3), (9, 2)], false)]).unwrap();
    assert_eq!(keys(&second), ["evt_4", "evt_5"]);
}

/// Also the first run begins before the newest event: one that comes to stand in the list late is told, and what was there is
/// not, however long it is read again.
#[test]
fn a_late_event_is_told_from_now_on_too() {
    let first = run("{}", Start::FromNow, None, &[("limit=100", &[(200, 2), (100, 1), (10, 0)], false)]).unwrap();
    assert!(keys(&first).is_empty());
    let from = |second: i64| format!("created[gte]={}&limit=100", T + second);
    let events: &[(i64, u32)] = &[(201, 4), (200, 2), (195, 3), (100, 1)];
    let second = run("{}", Start::FromNow, first.cursor, &[(&from(80), events, false)]).unwrap();
    assert_eq!(keys(&second), ["evt_3", "evt_4"]);
    let third = run("{}", Start::FromNow, second.cursor, &[(&from(81), &[(400, 5), (201, 4), (200, 2)], false)]);
    let third = third.unwrap();
    assert_eq!(keys(&third), ["evt_4", "evt_5"]);
    let cursor: Value = serde_json::from_str(third.cursor.as_deref().unwrap()).unwrap();
    assert_eq!(cursor, json!({"since": T + 280, "newest": T + 400}), "what is not read again is not remembered");
}

#[test]
fn where_nothing_has_happened_everything_is_from_now_on() {
    let first = run("{}", Start::FromNow, None, &[("limit=100", &[], false)]).unwrap();
    let second = run("{}", Start::FromNow, first.cursor, &[("limit=100", &[(1, 1)], false)]).unwrap();
    assert_eq!(keys(&second), ["evt_1"]);
}

/// An event that comes to stand in the list late, with an earlier second, is told: each round begins before the newest.
#[test]
fn a_late_event_is_told() {
    let first = run("{}", Start::All, None, &[("limit=100", &[(1000, 2)], false)]).unwrap();
    let query = format!("created[gte]={}&limit=100", T + 1000 - OVERLAP_S);
    let second = run("{}", Start::All, first.cursor, &[(&query, &[(1000, 2), (990, 1)], false)]).unwrap();
    assert_eq!(keys(&second), ["evt_1", "evt_2"]);
}

#[test]
fn a_long_gap_is_read_over_several_runs() {
    let page = |number: u32| [(1000 - i64::from(number), number)];
    let pages: Vec<[(i64, u32); 1]> = (0..8).map(page).collect();
    let queries: Vec<String> = (0..8)
        .map(|at| if at == 0 { "limit=100".to_owned() } else { format!("limit=100&starting_after=evt_{}", at - 1) })
        .collect();
    let all: Vec<Asked<'_>> = (0..8).map(|at| (queries[at].as_str(), pages[at].as_slice(), at < 7)).collect();
    let first = run("{}", Start::All, None, &all[..5]).unwrap();
    assert!(first.more);
    assert_eq!(keys(&first), ["evt_4", "evt_3", "evt_2", "evt_1", "evt_0"]);
    let second = run("{}", Start::All, first.cursor, &all[5..]).unwrap();
    assert_eq!((keys(&second), second.more), (vec!["evt_7", "evt_6", "evt_5"], false));
    // The next round begins by the newest event of all, which the first page had.
    let query = format!("created[gte]={}&limit=100", T + 1000 - OVERLAP_S);
    assert_eq!(keys(&run("{}", Start::All, second.cursor, &[(&query, &[], false)]).unwrap()).len(), 0);
}

#[test]
fn a_beginning_with_some_of_the_newest_tells_no_older_ones() {
    let first = run("{}", Start::Backfill(2), None, &[("limit=2", &[(50, 9), (40, 8)], true)]).unwrap();
    assert_eq!((keys(&first), first.more), (vec!["evt_8", "evt_9"], false));
    let query = format!("created[gte]={}&limit=100", T + 40);
    run("{}", Start::Backfill(2), first.cursor, &[(&query, &[(50, 9), (40, 8)], false)]).unwrap();
    let none = run("{}", Start::Backfill(0), None, &[("limit=100", &[(50, 9)], false)]).unwrap();
    assert_eq!(keys(&none).len(), 0);
}

#[test]
fn what_the_operator_set_goes_along() {
    let input = r#"{"types": ["invoice.paid", "invoice.voided"], "undelivered_only": true, "account": "acct_1"}"#;
    let exchanges = json!([{
        "request": {
            "method": "GET", "headers": {"Stripe-Account": "acct_1"},
            "url": "{api}/events?delivery_success=false&types[0]=invoice.paid&types[1]=invoice.voided&limit=100",
        },
        "response": {"status": 200, "json": {"has_more": false, "data": [happened(1, 1)]}},
    }]);
    let outcome = poll(input, Start::All, None, &exchanges.to_string()).unwrap();
    assert_eq!(outcome.emit[0].data["account"], "acct_1");
    for wrong in [r#"{"types": ["a.*", "b.*"]}"#, r#"{"tpyes": []}"#] {
        assert_eq!(poll(wrong, Start::All, None, "[]").unwrap_err().kind.name(), "invalid-request", "{wrong}");
    }
}

/// A place that is gone starts the trigger again with everything there is, as the manifest says: keys tell what is new.
#[test]
fn a_lost_place_is_a_cursor_that_is_no_good() {
    let cursor = Outcome::default().keep(&Round { after: Some("evt_old".into()), ..Round::default() }).unwrap().cursor;
    let exchanges = json!([{
        "request": {"method": "GET", "url": "{api}/events?limit=100&starting_after=evt_old"},
        "response": {"status": 400, "json": {"error": {"code": "resource_missing", "message": "No such event: 'evt_old'",
            "param": "starting_after", "type": "invalid_request_error"}}},
    }]);
    let error = poll("{}", Start::All, cursor, &exchanges.to_string()).unwrap_err();
    assert_eq!(error.kind, ErrorKind::CursorInvalid);
    assert_eq!(poll("{}", Start::All, Some("?".into()), "[]").unwrap_err().kind, ErrorKind::CursorInvalid);
}

#[test]
fn the_same_place_twice_ends_the_round() {
    let cursor = Outcome::default().keep(&Round { after: Some("evt_1".into()), ..Round::default() }).unwrap().cursor;
    let pages: &[Asked<'_>] = &[("limit=100&starting_after=evt_1", &[(1, 1)], true)];
    assert_eq!(run("{}", Start::All, cursor, pages).unwrap_err().kind, ErrorKind::SchemaViolation);
}
