//! Webhooks in both forms, and the poll over several answers.

use wharfage_sdk::serde_json::Value;
use wharfage_sdk::testing;

use super::*;

const LEGACY: &str = r#"{"eventNotifications":[
    {"realmId":"1185883450","dataChangeEvent":{"entities":[
        {"name":"Invoice","id":"130","operation":"Update","lastUpdated":"2026-11-24T02:00:00-0800"},
        {"name":"Customer","id":"24","operation":"Merge","lastUpdated":"2026-11-24T10:00:01.000Z","deletedID":"12"}]}},
    {"realmId":"7","dataChangeEvent":{"entities":[
        {"name":"Vendor","id":"1","operation":"Create","lastUpdated":"2026-11-24T10:00:02Z","colour":"red"}]}}]}"#;

const CLOUD: &str = r#"[
    {"specversion":"1.0","id":"88cd52aa","source":"intuit.dsnBgbseACLLRZNxo2dfc4evmEJdxde58xeeYcZliOU=",
     "type":"qbo.invoice.updated.v1","datacontenttype":"application/json","time":"2026-11-24T10:00:00Z",
     "intuitentityid":"130","intuitaccountid":"1185883450","data":{}},
    {"specversion":"1.0","id":"88cd52ab","type":"qbo.payment.deleted.v1","time":"2026-11-24T10:00:03Z",
     "intuitentityid":"301","intuitaccountid":"1185883450"},
    {"specversion":"1.0","id":"88cd52ac","type":"payroll.employee","time":"2026-11-24T10:00:04Z"}]"#;

#[allow(clippy::result_large_err)]
fn webhook(body: &str) -> Result<Outcome, Error> {
    let webhook = Webhook { endpoint: "changes".to_owned(), headers: Vec::new(), body: body.as_bytes().to_vec() };
    let event = Event { id: "webhook 1".to_owned(), trigger: Trigger::Webhook(webhook), cursor: None };
    testing::handle(include_str!("../../plugin.toml"), handle, event, "[]")
}

#[allow(clippy::result_large_err)]
fn poll(input: &str, start: Start, cursor: Option<String>, exchanges: &str) -> Result<Outcome, Error> {
    let poll = Poll { name: "changes".to_owned(), input: input.to_owned(), start };
    let event = Event { id: "poll 1".to_owned(), trigger: Trigger::Poll(poll), cursor };
    testing::handle(include_str!("../../plugin.toml"), handle, event, exchanges)
}

fn keys(outcome: &Outcome) -> Vec<(&str, &str)> {
    outcome.emit.iter().map(|emission| (emission.event_type.as_str(), emission.key.as_str())).collect()
}

#[test]
fn event_notifications_are_told_one_by_one() {
    let outcome = webhook(LEGACY).unwrap();
    assert_eq!(
        keys(&outcome),
        [
            ("invoice.changed", "1185883450/invoice/130/2026-11-24T10:00:00Z"),
            ("customer.changed", "1185883450/customer/24/2026-11-24T10:00:01Z"),
            ("record.changed", "7/vendor/1/2026-11-24T10:00:02Z"),
        ]
    );
    let merged = &outcome.emit[1].data;
    assert_eq!((&merged["change"], &merged["replaced"]), (&json!("merged"), &json!("12")));
    assert_eq!(outcome.emit[2].data["realm"], json!("7"));
}

/// What is told in both forms is known by one key. A type that is not of the books is passed.
#[test]
fn cloud_events_become_the_same_events() {
    let outcome = webhook(CLOUD).unwrap();
    assert_eq!(
        keys(&outcome),
        [
            ("invoice.changed", "1185883450/invoice/130/2026-11-24T10:00:00Z"),
            ("payment.changed", "1185883450/payment/301/deleted"),
        ]
    );
    assert_eq!(outcome.emit[0].data["change"], json!("updated"));
}

/// R24: unknown types are logged and passed, unknown fields are passed.
#[test]
fn r24_what_is_not_known_yet_is_passed() {
    assert_eq!(webhook(r#"[{"type":"payroll.employee"}]"#).unwrap(), Outcome::default());
    assert_eq!(testing::logged(), ["info a webhook is about something that is not known here type=payroll.employee"]);
    assert_eq!(webhook("[]").unwrap(), Outcome::default());
    assert_eq!(webhook(r#"{"eventNotifications":[{"realmId":"1"}],"more":1}"#).unwrap(), Outcome::default());
    let one = r#"[{"type":"qbo.shipment.teleported.v9","intuitentityid":"5","intuitaccountid":"1"}]"#;
    let outcome = webhook(one).unwrap();
    assert_eq!(keys(&outcome), [("record.changed", "1/shipment/5/-")]);
    assert_eq!(outcome.emit[0].data["change"], json!("teleported"));
}

#[test]
fn what_is_broken_is_a_failure() {
    for broken in [
        "",
        "7",
        "{}",
        r#"[{"type":"qbo.invoice.created.v1"}]"#,
        r#"{"eventNotifications":[{"dataChangeEvent":{"entities":[{"name":"Invoice"}]}}]}"#,
    ] {
        assert_eq!(webhook(broken).unwrap_err().kind.name(), "schema-violation", "{broken}");
    }
}

fn cdc(entities: &str, since: &str, records: &[(String, String, Option<&str>)], kind: &str) -> String {
    let rows: Vec<Value> = records
        .iter()
        .map(|(id, at, status)| json!({"Id": id, "status": status, "MetaData": {"LastUpdatedTime": at}}))
        .collect();
    let path = "{api}/v3/company/{realmId}/cdc?minorversion=75&entities=";
    let url = [path, entities, "&changedSince=", since].concat();
    let answer = json!({"CDCResponse": [{"QueryResponse": [{kind: rows}, {}]}], "time": "2026-01-01T00:00:00.5Z"});
    json!({"request": {"method": "GET", "url": url}, "response": {"status": 200, "json": answer}}).to_string()
}

fn record(id: u32, at: &str, status: Option<&'static str>) -> (String, String, Option<&'static str>) {
    (id.to_string(), at.to_owned(), status)
}

/// As far as the poll looks back.
const EARLIEST: &str = "2025-12-02T00:10:00Z";

fn at(number: u32) -> String {
    Timestamp::from_unix_s(1_767_000_000 + i64::from(number)).to_string()
}

/// As many as an answer holds, a second apart.
fn full() -> Vec<(String, String, Option<&'static str>)> {
    (0..1000).map(|number| record(number, &at(number), None)).collect()
}

/// The first run from the beginning, over more invoices than one answer holds.
fn begun(input: &str) -> Outcome {
    let both = cdc("Invoice,Item", EARLIEST, &full(), "Invoice");
    let begin = ["[", &both, ",", &cdc("Invoice", EARLIEST, &full(), "Invoice"), "]"].concat();
    poll(input, Start::All, None, &begin).unwrap()
}

/// A run reads from where the last one began, with some overlap; the company's id makes its keys those of webhooks.
#[test]
fn the_poll_tells_what_webhooks_missed() {
    let input = r#"{"entities": ["Invoice", "Item"], "realm": "1185883450"}"#;
    let begin = ["[", &cdc("Invoice,Item", "2025-12-31T23:58:00Z", &[], "Item"), "]"].concat();
    let first = poll(input, Start::FromNow, None, &begin).unwrap();
    assert_eq!((first.emit.len(), first.more), (0, false));
    let records = [record(130, "2026-01-01T00:00:30-00:00", None), record(99, "2026-01-01T00:00:40Z", Some("Deleted"))];
    let exchange = cdc("Invoice,Item", "2025-12-31T23:58:00.500Z", &records, "Invoice");
    let second = poll(input, Start::FromNow, first.cursor, &["[", &exchange, "]"].concat()).unwrap();
    assert_eq!(
        keys(&second),
        [
            ("invoice.changed", "1185883450/invoice/130/2026-01-01T00:00:30Z"),
            ("invoice.changed", "1185883450/invoice/99/deleted"),
        ]
    );
    let third = cdc("Invoice,Item", "2025-12-31T23:58:00.500Z", &[], "Item");
    let third = poll(input, Start::FromNow, second.cursor, &["[", &third, "]"].concat()).unwrap();
    assert_eq!((third.emit.len(), third.more), (0, false));
}

/// Where 1000 are not all, each kind is read by itself, again from the last change seen, and nothing is told twice.
#[test]
fn a_full_answer_goes_on_kind_by_kind() {
    let input = r#"{"entities": ["Invoice", "Item"]}"#;
    let first = begun(input);
    assert_eq!((first.emit.len(), first.more), (1000, true));

    let rest = [record(999, &at(999), None), record(1000, &at(1000), None)];
    let rest = ["[", &cdc("Invoice", &at(999), &rest, "Invoice"), "]"].concat();
    let second = poll(input, Start::All, first.cursor, &rest).unwrap();
    assert_eq!(
        (keys(&second), second.more),
        (vec![("invoice.changed", ["-/invoice/1000/", &at(1000)].concat().as_str())], true)
    );

    let items = ["[", &cdc("Item", EARLIEST, &[record(5, &at(1), None)], "Item"), "]"].concat();
    let third = poll(input, Start::All, second.cursor, &items).unwrap();
    assert_eq!((third.emit.len(), third.more), (1, false));
    assert!(third.cursor.unwrap().contains("2025-12-31T23:58:00.500Z"), "the next run begins where this one began");
}

/// The last 30 days move on while a run reads them; a step of a minute here.
#[test]
fn a_run_from_the_beginning_gets_past_its_first_answer() {
    let input = r#"{"entities": ["Invoice", "Item"]}"#;
    let first = begun(input);
    let earlier = first.cursor.map(|cursor| cursor.replace(EARLIEST, "2025-12-02T00:09:00Z"));
    let rest = ["[", &cdc("Invoice", &at(999), &[record(1000, &at(1000), None)], "Invoice"), "]"].concat();
    let second = poll(input, Start::All, earlier, &rest).unwrap();
    assert_eq!((second.emit.len(), second.more), (1, true));
    let items = ["[", &cdc("Item", EARLIEST, &[], "Item"), "]"].concat();
    assert!(!poll(input, Start::All, second.cursor, &items).unwrap().more);
}

#[test]
fn a_page_of_changes_may_come_later_than_its_first() {
    let cursor = Some(r#"{"e":1,"k":{"s":[],"o":0,"n":0}}"#.into());
    let input = serde_json::from_str(r#"{"since": "2025-12-02T00:09:00Z", "entities": ["Invoice", "Item"]}"#).unwrap();
    let item = cdc("Item", "2025-12-02T00:10:00Z", &[record(5, "2025-12-30T00:00:00Z", None)], "Item");
    let page = testing::with_exchanges(&["[", &item, "]"].concat(), || changes::list(input, cursor)).unwrap();
    assert_eq!((page.items.len(), page.next), (1, None));
}

/// What was deleted stands behind what is there: where deletions fill an answer, asking again brings nothing else.
#[test]
fn more_deletions_than_an_answer_holds_do_not_stop_the_run() {
    let input = r#"{"entities": ["Invoice", "Item"]}"#;
    let at = "2025-12-30T00:00:00Z";
    let gone = |from: u32| (from..1000).map(|number| record(number, "2025-12-31T00:00:00Z", Some("Deleted")));
    let mixed: Vec<_> = (0..5).map(|number| record(number, at, None)).chain(gone(5)).collect();
    let since = "2025-12-02T00:10:00Z";
    let begin =
        ["[", &cdc("Invoice,Item", since, &mixed, "Invoice"), ",", &cdc("Invoice", since, &mixed, "Invoice"), "]"]
            .concat();
    let first = poll(input, Start::All, None, &begin).unwrap();
    let again = ["[", &cdc("Invoice", at, &mixed, "Invoice"), "]"].concat();
    let second = poll(input, Start::All, first.cursor, &again).unwrap();
    assert_eq!((second.emit.len(), second.more), (995, true));
    let items = ["[", &cdc("Item", since, &gone(0).collect::<Vec<_>>(), "Item"), "]"].concat();
    let third = poll(input, Start::All, second.cursor, &items).unwrap();
    assert_eq!((third.emit.len(), third.more), (1000, false));
}

#[test]
fn from_now_tells_nothing_of_the_past() {
    let input = r#"{"entities": ["Invoice"]}"#;
    let begin = ["[", &cdc("Invoice", "2025-12-31T23:58:00Z", &[], "Invoice"), "]"].concat();
    let first = poll(input, Start::FromNow, None, &begin).unwrap();
    // What changes within the second in which the watch begins is told.
    let records = [
        record(1, "2025-12-31T23:59:59Z", None),
        record(2, "2026-01-01T00:00:00Z", None),
        record(3, "2026-01-01T00:00:01Z", None),
    ];
    let told = [
        ("invoice.changed", "-/invoice/2/2026-01-01T00:00:00Z"),
        ("invoice.changed", "-/invoice/3/2026-01-01T00:00:01Z"),
    ];
    for since in ["2025-12-31T23:58:00Z", "2025-12-31T23:58:00.500Z"] {
        let cursor = first.cursor.clone().map(|cursor| cursor.replace("2025-12-31T23:58:00.500Z", since));
        let exchange = ["[", &cdc("Invoice", since, &records, "Invoice"), "]"].concat();
        let outcome = poll(input, Start::FromNow, cursor, &exchange).unwrap();
        assert_eq!(keys(&outcome), told);
        assert!(outcome.cursor.unwrap().contains(r#""before":"2025-12-31T23:59:59.999Z""#));
    }
}

/// The host's clock is a minute ahead: what changes in that minute is not of the past.
#[test]
fn from_now_begins_by_the_clock_of_quickbooks() {
    let input = r#"{"entities": ["Invoice"]}"#;
    let begin = cdc("Invoice", "2025-12-31T23:58:00Z", &[], "Invoice");
    let begin = ["[", &begin.replace("2026-01-01T00:00:00.5Z", "2025-12-31T23:59:00Z"), "]"].concat();
    let first = poll(input, Start::FromNow, None, &begin).unwrap();
    let records = [record(1, "2025-12-31T23:58:59Z", None), record(2, "2025-12-31T23:59:30Z", None)];
    let exchange = ["[", &cdc("Invoice", "2025-12-31T23:57:00Z", &records, "Invoice"), "]"].concat();
    let second = poll(input, Start::FromNow, first.cursor, &exchange).unwrap();
    assert_eq!(keys(&second), [("invoice.changed", "-/invoice/2/2025-12-31T23:59:30Z")]);
}

#[test]
fn a_cursor_of_long_ago_is_moved_and_a_strange_one_is_refused() {
    let exchange = ["[", &cdc("Invoice", "2025-12-02T00:10:00Z", &[], "Invoice"), "]"].concat();
    let input = r#"{"entities": ["Invoice"]}"#;
    let old = Some(r#"{"since":"2025-06-01T00:00:00Z"}"#.to_owned());
    assert_eq!(poll(input, Start::FromNow, old, &exchange).unwrap().emit.len(), 0);
    let strange = poll(input, Start::FromNow, Some("7".to_owned()), "[]").unwrap_err();
    assert_eq!(strange.kind.name(), "cursor-invalid");
    let wrong = poll(r#"{"entities": ["Invoice; drop"]}"#, Start::FromNow, None, "[]").unwrap_err();
    assert_eq!(wrong.kind.name(), "invalid-request");
}

#[test]
fn a_backfill_tells_the_newest() {
    let records = [record(1, "2025-12-30T00:00:00Z", None), record(2, "2025-12-31T00:00:00Z", None)];
    let exchange = ["[", &cdc("Invoice", "2025-12-02T00:10:00Z", &records, "Invoice"), "]"].concat();
    let outcome = poll(r#"{"entities": ["Invoice"]}"#, Start::Backfill(1), None, &exchange).unwrap();
    assert_eq!(keys(&outcome), [("invoice.changed", "-/invoice/2/2025-12-31T00:00:00Z")]);
}

/// Of more than one answer holds, those of half the time are asked for, and so on.
#[test]
fn a_backfill_of_a_busy_company_tells_no_more_than_it_is_to() {
    let input = r#"{"entities": ["Invoice"]}"#;
    let full: Vec<_> = (0..1000).map(|number| record(number, "2025-12-10T00:00:00Z", None)).collect();
    let rest = [
        record(1, "2025-12-30T00:00:00Z", None),
        record(2, "2025-12-31T23:59:50Z", None),
        record(3, "2025-12-31T23:59:40Z", None),
    ];
    let begin = cdc("Invoice", "2025-12-02T00:10:00Z", &full, "Invoice");
    let half = cdc("Invoice", "2025-12-17T00:05:00Z", &rest, "Invoice");
    let first = poll(input, Start::Backfill(2), None, &["[", &begin, ",", &half, "]"].concat()).unwrap();
    let newest = [
        ("invoice.changed", "-/invoice/3/2025-12-31T23:59:40Z"),
        ("invoice.changed", "-/invoice/2/2025-12-31T23:59:50Z"),
    ];
    assert_eq!((keys(&first), first.more), (newest.to_vec(), false));
    let again = [&rest[1..], &[record(4, "2025-12-31T23:59:00Z", None)]].concat();
    let next = ["[", &cdc("Invoice", "2025-12-31T23:58:00.500Z", &again, "Invoice"), "]"].concat();
    let second = poll(input, Start::Backfill(2), first.cursor, &next).unwrap();
    assert_eq!(keys(&second), [newest[1], newest[0]], "what is known already, by its keys, and nothing before it");
}

#[test]
fn a_backfill_of_more_than_an_answer_holds_goes_on_page_by_page() {
    let input = r#"{"entities": ["Invoice"]}"#;
    let all = ["[", &cdc("Invoice", EARLIEST, &full(), "Invoice"), "]"].concat();
    let first = poll(input, Start::Backfill(5000), None, &all).unwrap();
    assert_eq!((first.emit.len(), first.more), (0, true));
    let second = poll(input, Start::Backfill(5000), first.cursor, &all).unwrap();
    assert_eq!((second.emit.len(), second.more), (1000, true));
    let rest = ["[", &cdc("Invoice", &at(999), &[record(1000, &at(1000), None)], "Invoice"), "]"].concat();
    let third = poll(input, Start::Backfill(5000), second.cursor, &rest).unwrap();
    assert_eq!((third.emit.len(), third.more), (1, false));
    assert!(third.cursor.unwrap().contains(r#""since":"2025-12-31T23:58:00.500Z""#));
}

/// Many changed at one time, and since then fewer than are to be told.
#[test]
fn a_backfill_tells_more_rather_than_fewer() {
    let all = full();
    let [mut since, mut fits, many] =
        [EARLIEST, "2026-01-01T00:00:00Z", "2025-12-31T00:00:00Z"].map(|time| Timestamp::parse(time).unwrap());
    let mut exchanges = vec![cdc("Invoice", EARLIEST, &all, "Invoice")];
    for _ in 0..12 {
        let between = since.plus_ms((fits.as_ms() - since.as_ms()) / 2);
        let found = if between < many { &all[..] } else { &all[..20] };
        exchanges.push(cdc("Invoice", &between.to_string(), found, "Invoice"));
        *(if between < many { &mut since } else { &mut fits }) = between;
    }
    let exchanges = ["[", &exchanges.join(","), "]"].concat();
    let outcome = poll(r#"{"entities": ["Invoice"]}"#, Start::Backfill(100), None, &exchanges).unwrap();
    assert_eq!((outcome.emit.len(), outcome.more), (0, true));
    assert!(outcome.cursor.unwrap().contains(&["\"since\":\"", &since.to_string(), "\""].concat()));
}
