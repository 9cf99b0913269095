//! What starts the plugin: the poll for orders that have changed.

use wharfage_sdk::events::{Emission, Event, Outcome, Start, Trigger};
use wharfage_sdk::{Error, Request, Timestamp, clock, serde_json};

wharfage_sdk::answer! {
    struct Order {
        number: String,
        modified: Timestamp,
    }
}

pub fn handle(event: Event) -> Result<Outcome, Error> {
    let Trigger::Poll(poll) = &event.trigger else { return Err(Error::internal("this plugin has one poll")) };
    let since: Timestamp = match (event.kept()?, &poll.start) {
        (Some(since), _) => since,
        (None, Start::FromNow) => return Outcome::default().keep(&clock::now()),
        (None, _) => Timestamp::from_unix_s(0),
    };
    let orders: Vec<Order> = Request::get("{api}/orders").query("modified_since", since).send()?.json()?;
    let emit = orders.iter().map(|order| Emission {
        event_type: "order.changed".to_owned(),
        key: format!("{} {}", order.number, order.modified), // the change, and not the order
        data: serde_json::json!({ "number": order.number, "modified": order.modified }),
    });
    let last = orders.iter().map(|order| order.modified).max();
    Outcome { emit: emit.collect(), ..Outcome::default() }.keep(&last.unwrap_or(since))
}

#[test]
fn an_order_that_has_changed_is_told() {
    use wharfage_sdk::events::Poll;
    use wharfage_sdk::testing::Scene;

    let mut scene = Scene::of(&crate::tidy::manifest_of_the_manual());
    let mut run = |cursor: Option<String>, exchanges: &str| {
        let poll = Poll { name: "orders".to_owned(), input: "{}".to_owned(), start: Start::FromNow };
        let event = Event { id: "1".to_owned(), trigger: Trigger::Poll(poll), cursor };
        scene.handle(handle, event, exchanges).unwrap()
    };
    let exchanges = r#"[{
        "request": { "method": "GET", "url": "{api}/orders?modified_since=2026-01-01T00%3A00%3A00Z" },
        "response": { "status": 200, "json": [{ "number": "7", "modified": "2026-01-01T00:00:05Z" }] }
    }]"#;
    let first = run(None, "[]"); // at 2026-01-01T00:00:00Z, where `scene.now` says nothing
    let second = run(first.cursor, exchanges);
    assert_eq!((first.emit.len(), second.emit[0].key.as_str()), (0, "7 2026-01-01T00:00:05Z"));
}
