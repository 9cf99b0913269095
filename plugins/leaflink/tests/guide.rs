//! What went wrong in the guide's own client and needs the whole manifest to be shown, one test each.

use serde_json::{Value, json};
use wharfage_leaflink::OPERATIONS;
use wharfage_sdk::testing;

const MANIFEST: &str = include_str!("../plugin.toml");

/// Every failed request was sent again, whatever it did, so an order could be shipped twice. Where a server fails after it
/// may have acted, the order is looked at instead, and nothing is sent a second time: an exchange stands here once.
#[test]
fn guide_s22_a_write_was_sent_again_and_again() {
    let lost = [
        json!({"status": 500, "text": "oops"}),
        json!({"status": 503, "text": "away"}),
        json!({"status": 200, "text": "<html>"}),
    ];
    for answer in lost {
        transition(&[sent(answer.clone()), looked("Accepted")], json!({"output": order("Accepted")}));
        let kind = if answer["status"] == 200 { "schema-violation" } else { "transient" };
        transition(&[sent(answer), looked("Submitted")], json!({"error": {"kind": kind}}));
    }
}

/// What LeafLink refuses is final and is not looked at either; what it says it has not taken is sent again.
#[test]
fn guide_s02_a_refusal_was_sent_again() {
    transition(
        &[sent(json!({"status": 400, "json": {"detail": "Order can not be accepted."}}))],
        json!({"error": {"kind": "invalid-request", "status": 400}}),
    );
    let limited = sent(json!({"status": 429, "headers": {"retry-after": "1"}, "text": ""}));
    let taken = sent(json!({"status": 200, "json": {"number": "SO-1", "status": "Accepted"}}));
    transition(&[limited, taken], json!({"output": order("Accepted")}));
}

fn sent(answer: Value) -> Value {
    let url = "{write}/orders-received/SO-1/transition/accept/";
    json!({"request": {"method": "POST", "url": url}, "response": answer})
}

fn looked(status: &str) -> Value {
    let url = "{api}/orders-received/SO-1/?include_children=line_items";
    let answer = json!({"status": 200, "json": {"number": "SO-1", "status": status}});
    json!({"request": {"method": "GET", "url": url}, "response": answer})
}

fn order(status: &str) -> Value {
    json!({
        "number": "SO-1", "id": null, "status": status, "customer_id": null, "customer_name": null, "total": null,
        "created_on": null, "modified": null,
    })
}

fn transition(exchanges: &[Value], expect: Value) {
    let fixture = json!({
        "operation": "orders.transition", "input": {"number": "SO-1", "action": "accept"}, "from": "from-spec",
        "source": "LeafLink Marketplace V2 OpenAPI", "date": "2026-08-12", "exchanges": exchanges, "expect": expect,
    });
    testing::replay(MANIFEST, OPERATIONS, &fixture.to_string());
}
