//! Counts what starts it in its cursor and emits each under its own text; some texts are tricks.

use wharfage_guests::bindings::exports::wharfage::plugin::events::{
    Emission, Event, Guest as Events, Outcome, Trigger,
};
use wharfage_guests::{Error, bindings, json};

struct Guest;

wharfage_guests::idle!(Guest);

impl Events for Guest {
    fn handle(event: Event) -> Result<Outcome, Error> {
        let count: u64 = event.cursor.as_deref().and_then(|cursor| cursor.parse().ok()).unwrap_or(0);
        let (text, from) = match event.trigger {
            Trigger::Webhook(webhook) => (String::from_utf8_lossy(&webhook.body).into_owned(), "webhook"),
            Trigger::Poll(poll) => (format!("{} {count}", poll.name), "poll"),
            Trigger::Message((_, message)) => (String::from_utf8_lossy(&message).into_owned(), "message"),
            Trigger::Gap(_) => (format!("gap {count}"), "gap"),
        };
        let mut copies = 1;
        match text.as_str() {
            "trap" => panic!("as it was told"),
            #[allow(clippy::empty_loop)]
            "loop" => loop {},
            "flood" => copies = 2_000,
            _ => {}
        }
        let emission = |number: u64| Emission {
            event_type: "thing.seen".to_owned(),
            key: if number == 0 { text.clone() } else { format!("{text} {number}") },
            data: json!({"text": text, "from": from, "count": count}).to_string(),
        };
        let emit = (0..copies).map(emission).collect();
        Ok(Outcome { emit, send: vec![], cursor: Some((count + 1).to_string()), more: false })
    }
}

#[allow(unsafe_code, missing_docs, unreachable_pub, clippy::all)]
mod export {
    use super::{Guest, bindings};
    bindings::export!(Guest with_types_in bindings);
}
