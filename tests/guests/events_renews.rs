//! Keeps a watch channel of the provider's alive: its cursor is the time at which the channel ends, and a poll renews it
//! while less than an hour is left.

use wharfage_guests::bindings::exports::wharfage::plugin::events::{Event, Guest as Events, Outcome, Trigger};
use wharfage_guests::{Error, bindings, clock, http, json, request};

struct Guest;

wharfage_guests::idle!(Guest);

impl Events for Guest {
    fn handle(event: Event) -> Result<Outcome, Error> {
        let quiet = Outcome { emit: vec![], send: vec![], cursor: None, more: false };
        let Trigger::Poll(_) = event.trigger else { return Ok(quiet) };
        let ends: Option<u64> = event.cursor.and_then(|cursor| cursor.parse().ok());
        if ends.is_some_and(|ends| clock::now() + 3_600_000 < ends) {
            return Ok(quiet);
        }
        let watch = json!({"method": "POST", "url": "{api}/watch", "body": "{}", "repeat": "keyed"});
        let answer = http::send(&request(&watch))?;
        Ok(Outcome { cursor: Some(String::from_utf8_lossy(&answer.body).into_owned()), ..quiet })
    }
}

#[allow(unsafe_code, missing_docs, unreachable_pub, clippy::all)]
mod export {
    use super::{Guest, bindings};
    bindings::export!(Guest with_types_in bindings);
}
