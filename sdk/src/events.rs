//! What the plugin makes of something that happened: a webhook, a due poll, a message on a socket.
//!
//! `handle` may run again for the same event, with the same id. Cursor and emitted events are kept together or not at
//! all, so an event is emitted once however often the handler ran; messages leave afterwards, at most once.

use crate::bindings::exports::wharfage::plugin::events as wire;
use crate::bindings::wharfage::plugin::types;
use crate::{Error, ErrorKind, json};

pub use wire::{Event, Trigger, Webhook};

/// What comes of an event. `Outcome::default()` is: nothing, and the cursor stays.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// Events to emit.
    pub emit: Vec<Emission>,
    /// Messages to send on the socket that the event came from.
    pub send: Vec<Vec<u8>>,
    /// The new cursor; absent leaves it where it was.
    pub cursor: Option<String>,
}

/// An event to emit. The host adds id, source, account, connection and time.
#[derive(Clone, Debug, PartialEq)]
pub struct Emission {
    /// A type that the manifest declares, as `order.updated`.
    pub event_type: String,
    /// What identifies it, so that it is emitted once.
    pub key: String,
    /// Its content.
    pub data: serde_json::Value,
}

/// The handler of a plugin without triggers: a refusal.
///
/// # Errors
/// Always: `internal`, because the host delivers only what a manifest declares.
pub fn no_triggers(_event: Event) -> Result<Outcome, Error> {
    let message = "this plugin declares no triggers";
    Err(Error::new(ErrorKind::Internal(message.to_owned()), message))
}

#[doc(hidden)]
#[allow(clippy::result_large_err)] // the contract's own record, which crosses the border unboxed
pub fn answer(handle: fn(Event) -> Result<Outcome, Error>, event: Event) -> Result<wire::Outcome, types::Error> {
    handle(event).and_then(to_wire).map_err(Error::into_wire)
}

fn to_wire(outcome: Outcome) -> Result<wire::Outcome, Error> {
    let emit = outcome.emit.into_iter().map(|emission| {
        Ok(wire::Emission { event_type: emission.event_type, key: emission.key, data: json::to_text(&emission.data)? })
    });
    Ok(wire::Outcome { emit: emit.collect::<Result<_, Error>>()?, send: outcome.send, cursor: outcome.cursor })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugin_without_triggers_says_so() {
        let event = Event { id: "1".into(), trigger: Trigger::Poll("orders".into()), cursor: None };
        let error = answer(no_triggers, event).unwrap_err();
        assert_eq!(error.message, "this plugin declares no triggers");
    }

    #[test]
    fn an_outcome_keeps_its_cursor_and_its_data() {
        let handle = |event: Event| {
            Ok(Outcome {
                emit: vec![Emission {
                    event_type: "order.updated".into(),
                    key: event.id,
                    data: serde_json::json!({"number": "SO-1"}),
                }],
                send: Vec::new(),
                cursor: Some("7".into()),
            })
        };
        let event = Event { id: "1".into(), trigger: Trigger::Gap("prices".into()), cursor: None };
        let outcome = answer(handle, event).unwrap();
        assert_eq!(outcome.emit[0].data, r#"{"number":"SO-1"}"#);
        assert_eq!(outcome.cursor.as_deref(), Some("7"));
    }
}
