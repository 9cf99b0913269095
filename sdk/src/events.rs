//! What the plugin makes of something that happened: a webhook, a due poll, a message on a socket.
//!
//! `handle` may run again for the same event, with the same id. Cursor and emitted events are kept together or not at
//! all, so an event is emitted once however often the handler ran; messages leave afterwards, at most once.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::bindings::exports::wharfage::plugin::events as wire;
use crate::bindings::wharfage::plugin::types;
use crate::{Cursor, Error, ErrorKind, json};

pub use types::Header;
pub use wire::{Event, Poll, Start, Trigger, Webhook};

/// What comes of an event. `Outcome::default()` is: nothing, and the cursor stays.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// Events to emit.
    pub emit: Vec<Emission>,
    /// Messages to send on the socket that the event came from.
    pub send: Vec<Vec<u8>>,
    /// The new cursor; absent leaves it where it was.
    pub cursor: Option<String>,
    /// Whether there is more at once: a poll that moved its cursor is then handed over again.
    pub more: bool,
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

impl Event {
    /// The state that the last outcome of this trigger kept with [`Outcome::keep`]; nothing where there is no cursor.
    ///
    /// # Errors
    /// `cursor-invalid` when the cursor is no such state; the host then starts the trigger again.
    pub fn kept<S: DeserializeOwned>(&self) -> Result<Option<S>, Error> {
        self.cursor.as_deref().map(|cursor| Cursor::from(cursor).decode()).transpose()
    }
}

impl Webhook {
    /// The value of a header field, its name compared without regard to case; the first, if there are several.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
        found.map(|header| header.value.as_str())
    }
}

impl Poll {
    /// What the operator set for it.
    ///
    /// # Errors
    /// `invalid-request` when it is not such an input.
    pub fn read_input<I: DeserializeOwned>(&self) -> Result<I, Error> {
        json::parse_input(&self.input)
    }
}

impl Outcome {
    /// Keeps a state as the new cursor, for [`Event::kept`].
    ///
    /// # Errors
    /// `internal` when the state has no JSON form.
    pub fn keep<S: Serialize>(mut self, state: &S) -> Result<Self, Error> {
        self.cursor = Some(Cursor::encode(state)?.into());
        Ok(self)
    }
}

/// The handler of a plugin that names none: a refusal.
///
/// # Errors
/// Always: `internal`, because the host delivers only what a manifest declares.
pub fn no_triggers(_event: Event) -> Result<Outcome, Error> {
    let message = "plugin.toml declares a trigger, and the component handles none: plugin!(handle = …)";
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
    Ok(wire::Outcome {
        emit: emit.collect::<Result<_, Error>>()?,
        send: outcome.send,
        cursor: outcome.cursor,
        more: outcome.more,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugin_without_a_handler_says_how_to_name_one() {
        let poll = Poll { name: "orders".into(), input: "{}".into(), start: Start::All };
        let event = Event { id: "1".into(), trigger: Trigger::Poll(poll), cursor: None };
        let error = answer(no_triggers, event).unwrap_err();
        assert!(error.message.starts_with("plugin.toml declares a trigger"), "{}", error.message);
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
                more: true,
            })
        };
        let event = Event { id: "1".into(), trigger: Trigger::Gap("prices".into()), cursor: None };
        let outcome = answer(handle, event).unwrap();
        assert_eq!(outcome.emit[0].data, r#"{"number":"SO-1"}"#);
        assert_eq!((outcome.cursor.as_deref(), outcome.more), (Some("7"), true));
    }

    #[test]
    fn a_state_is_kept_from_event_to_event() {
        let event = |cursor| Event { id: "1".into(), trigger: Trigger::Gap("prices".into()), cursor };
        assert_eq!(event(None).kept::<Vec<u8>>().unwrap(), None);
        let outcome = Outcome::default().keep(&[1, 2]).unwrap();
        assert_eq!(event(outcome.cursor).kept::<Vec<u8>>().unwrap(), Some(vec![1, 2]));
        let error = event(Some("of long ago".into())).kept::<Vec<u8>>().unwrap_err();
        assert_eq!(error.kind, ErrorKind::CursorInvalid);
    }

    #[test]
    fn header_names_have_no_case() {
        let header = |name: &str, value: &str| Header { name: name.into(), value: value.into() };
        let headers = vec![header("x-about", "orders"), header("X-About", "items")];
        let webhook = Webhook { endpoint: "changes".into(), headers, body: Vec::new() };
        assert_eq!((webhook.header("X-ABOUT"), webhook.header("x-other")), (Some("orders"), None));
    }

    #[test]
    fn an_input_is_read_or_the_operator_is_told_which_field() {
        let poll = |input: &str| Poll { name: "p".into(), input: input.into(), start: Start::FromNow };
        assert_eq!(poll(r#"["a"]"#).read_input::<Vec<String>>().unwrap(), ["a"]);
        assert!(matches!(poll("7").read_input::<Vec<String>>().unwrap_err().kind, ErrorKind::InvalidRequest(_)));
    }
}
