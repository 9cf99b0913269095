//! What can start a plugin besides a call, and what comes of it: the words of the contract's `events` as an embedder has
//! them.
//!
//! Handling the same event again, with the same id, sends no keyed write a second time: the idempotency keys of its
//! requests are made of the event's id and of the request's number.

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::bindings::exports::wharfage::plugin::events as contract;
use crate::bindings::wharfage::plugin::types;
use crate::error::{Error, Result};
use crate::limits::Limits;

/// Most bytes of an emitted event's type, and of its key.
pub(crate) const EVENT_NAME_BYTES_MAX: usize = 1_024;

/// Something that happened, with what the host knows about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The id, the same over all attempts to handle it.
    pub id: String,
    /// What happened.
    pub trigger: Trigger,
    /// Where this trigger stands, as the plugin left it.
    pub cursor: Option<String>,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Trigger {
    /// A webhook arrived. Whoever hands it over has verified it.
    Webhook {
        /// The endpoint's name in the manifest.
        endpoint: String,
        /// Its header fields, without those that carry signatures.
        headers: Vec<(String, String)>,
        /// The body as received.
        body: Vec<u8>,
    },
    /// The schedule of a polled trigger is due.
    Poll(Poll),
    /// A message came in on this socket.
    Message {
        /// The socket's name.
        socket: String,
        /// The message.
        message: Vec<u8>,
    },
    /// This socket was away and is back: what happened meanwhile may be missing.
    Gap(String),
}

/// A polled trigger that is due.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Poll {
    /// Its name in the manifest.
    pub name: String,
    /// What the operator set for it.
    pub input: Map<String, Value>,
    /// Where it begins while there is no cursor, and with what its cursor does not know yet.
    pub start: PollStart,
}

/// Where a polled trigger begins.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum PollStart {
    /// With what happens from now on.
    #[default]
    FromNow,
    /// With so many of the newest, and then onwards.
    Backfill(u32),
    /// With everything there is.
    All,
}

impl Poll {
    /// The poll of this name, without an input, from now on.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), input: Map::new(), start: PollStart::FromNow }
    }

    /// With this input.
    pub fn input(mut self, input: Map<String, Value>) -> Self {
        self.input = input;
        self
    }

    /// Beginning there.
    pub fn start(mut self, start: PollStart) -> Self {
        self.start = start;
        self
    }
}

/// What comes of an event. Cursor and emissions belong together: keep both or neither, and send messages afterwards.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Outcome {
    /// Events to emit.
    pub emit: Vec<Emission>,
    /// Messages to send on the socket that the event came from.
    pub send: Vec<Vec<u8>>,
    /// The new cursor; absent leaves it where it was.
    pub cursor: Option<String>,
    /// Whether there is more at once. Hand a poll over again then, as long as its cursor moves.
    pub more: bool,
}

/// An event to emit.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Emission {
    /// Its type.
    pub event_type: String,
    /// What identifies it, so that it is emitted once.
    pub key: String,
    /// Its content, as the plugin wrote it.
    pub data: Box<RawValue>,
}

impl From<Event> for contract::Event {
    fn from(event: Event) -> Self {
        Self {
            id: event.id,
            trigger: match event.trigger {
                Trigger::Webhook { endpoint, headers, body } => contract::Trigger::Webhook(contract::Webhook {
                    endpoint,
                    headers: headers.into_iter().map(|(name, value)| types::Header { name, value }).collect(),
                    body,
                }),
                Trigger::Poll(poll) => contract::Trigger::Poll(contract::Poll {
                    name: poll.name,
                    input: Value::Object(poll.input).to_string(),
                    start: match poll.start {
                        PollStart::FromNow => contract::Start::FromNow,
                        PollStart::Backfill(newest) => contract::Start::Backfill(newest),
                        PollStart::All => contract::Start::All,
                    },
                }),
                Trigger::Message { socket, message } => contract::Trigger::Message((socket, message)),
                Trigger::Gap(socket) => contract::Trigger::Gap(socket),
            },
            cursor: event.cursor,
        }
    }
}

impl Outcome {
    /// What a plugin answered.
    ///
    /// # Errors
    /// [`Kind::Internal`](crate::Kind::Internal) where the content of an emission is no JSON.
    pub(crate) fn read(plugin: &str, said: contract::Outcome) -> Result<Self> {
        let emit = said.emit.into_iter().map(|emission| {
            let data = RawValue::from_string(emission.data)
                .map_err(|_| Error::internal(format!("{plugin} emitted something that is no JSON")))?;
            Ok(Emission { event_type: emission.event_type, key: emission.key, data })
        });
        Ok(Self { emit: emit.collect::<Result<_>>()?, send: said.send, cursor: said.cursor, more: said.more })
    }

    /// R21: what a plugin emits, sends and wants kept is bounded.
    ///
    /// # Errors
    /// [`Kind::LimitExceeded`](crate::Kind::LimitExceeded) with the line that allows more.
    pub(crate) fn check(&self, plugin: &str, limits: &Limits) -> Result<()> {
        let emitted: usize = self.emit.iter().map(|emission| emission.data.get().len()).sum();
        let sent: usize = self.send.iter().map(Vec::len).sum();
        let cursor = self.cursor.as_ref().map_or(0, String::len);
        let all = [
            ("emitted_events", self.emit.len(), limits.emitted_events),
            ("emitted_bytes", emitted, limits.emitted_bytes),
            ("messages", self.send.len(), limits.messages),
            ("message_bytes", sent, limits.message_bytes),
            ("cursor_bytes", cursor, limits.cursor_bytes),
        ];
        match all.into_iter().find(|(_, value, most)| *value as u64 > *most) {
            None => Ok(()),
            Some((name, value, most)) => {
                let message = format!("{plugin} answered an event with {value}; the limit {name} is {most}");
                Err(Error::limit(name, message).with_more(name))
            }
        }
    }
}
