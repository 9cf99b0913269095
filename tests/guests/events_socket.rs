//! Answers each message of a socket with an event, a message and a cursor, and fills a gap by asking what it missed.

use wharfage_guests::bindings::exports::wharfage::plugin::events::{
    Emission, Event, Guest as Events, Outcome, Trigger,
};
use wharfage_guests::{Error, bindings, http, json, request};

struct Guest;

wharfage_guests::idle!(Guest);

impl Events for Guest {
    fn handle(event: Event) -> Result<Outcome, Error> {
        let emission = |key: String| Emission {
            event_type: "thing.updated".to_owned(),
            data: json!({ "key": key.clone() }).to_string(),
            key,
        };
        match event.trigger {
            Trigger::Message((_, message)) => {
                let key = String::from_utf8_lossy(&message).into_owned();
                let send = vec![format!("took {key}").into_bytes()];
                Ok(Outcome { emit: vec![emission(key.clone())], send, cursor: Some(key), more: false })
            }
            Trigger::Gap(_) => {
                let after = event.cursor.unwrap_or_default();
                let answer = http::send(&request(&json!({"url": format!("{{other}}/after/{after}")})))?;
                let missed: Vec<String> = serde_json::from_slice(&answer.body).unwrap_or_default();
                let cursor = missed.last().cloned();
                let emit = missed.into_iter().map(emission).collect();
                Ok(Outcome { emit, send: vec![b"filled".to_vec()], cursor, more: false })
            }
            _ => Ok(Outcome { emit: vec![], send: vec![], cursor: None, more: false }),
        }
    }
}

#[allow(unsafe_code, missing_docs, unreachable_pub, clippy::all)]
mod export {
    use super::{Guest, bindings};
    bindings::export!(Guest with_types_in bindings);
}
