//! Answers each event with four keyed writes, two of them side by side, an emission and a cursor.

use wharfage_guests::bindings::exports::wharfage::plugin::events::{
    Emission, Event, Guest as Events, Outcome, Trigger,
};
use wharfage_guests::{Error, bindings, http, json, request};

struct Guest;

wharfage_guests::idle!(Guest);

impl Events for Guest {
    fn handle(event: Event) -> Result<Outcome, Error> {
        let write = |name: &str| {
            request(&json!({"method": "POST", "url": format!("{{api}}/{name}"), "body": "{}", "repeat": "keyed"}))
        };
        http::send(&write("a"))?;
        http::send(&write("b"))?;
        for answer in http::send_all(&[write("c"), write("d")]) {
            answer?;
        }
        let Trigger::Poll(poll) = event.trigger else {
            return Ok(Outcome { emit: vec![], send: vec![], cursor: None, more: false });
        };
        let data = json!({"polled": poll.name, "from": event.cursor}).to_string();
        let emission = Emission { event_type: "thing.updated".to_owned(), key: "1".to_owned(), data };
        Ok(Outcome { emit: vec![emission], send: vec![], cursor: Some("next".to_owned()), more: false })
    }
}

#[allow(unsafe_code, missing_docs, unreachable_pub, clippy::all)]
mod export {
    use super::{Guest, bindings};
    bindings::export!(Guest with_types_in bindings);
}
