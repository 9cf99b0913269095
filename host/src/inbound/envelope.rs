//! The envelope of an emitted event: what a plugin made, with what only the host may say of it (R21).
//!
//! The outbox keeps an [`Emitted`]; sinks give it away as a CloudEvents 1.0 event in the JSON format
//! (<https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md>, read 2026-11-24). The content
//! goes through as the plugin wrote it: a number with thirty digits arrives with thirty digits.

use aws_lc_rs::digest;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::error::{Error, Result};
use crate::event::Emission;
use crate::hex::hex;
use crate::observe::trace::Trace;
use crate::policy::sink::SinkPolicy;
use crate::time::{Timestamp, rfc3339};

/// How the types of the host's own events begin. No plugin may declare one.
pub(crate) const HOST_EVENTS: &str = "wharfage.";

/// An event that a plugin emitted, or the host itself, as the outbox keeps it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Emitted {
    /// The host's id of it: the same whenever the same connection emits the same type and key, so that whoever gets it
    /// twice can tell.
    pub id: String,
    /// Its type, which the plugin's manifest declares.
    pub event_type: String,
    /// The connection whose plugin emitted it.
    pub connection: String,
    /// The connection's account, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// The plugin.
    pub plugin: String,
    /// When the host took it over.
    #[serde(with = "rfc3339")]
    pub at: Timestamp,
    /// What identifies it among the events of its type and connection, as the plugin says.
    pub key: String,
    /// Its content, as the plugin wrote it.
    pub data: Box<RawValue>,
    /// Where its trigger stood after it, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// The only sink that it is for, where the host emitted it to be told there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sink: Option<String>,
    /// The trace that it is a part of, as W3C Trace Context writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
}

/// Who emits, as the host knows it. A plugin says none of this.
#[derive(Clone, Debug)]
pub(crate) struct Emitter {
    /// The connection.
    pub(crate) connection: String,
    /// Its account, where it has one.
    pub(crate) account: Option<String>,
    /// Its plugin.
    pub(crate) plugin: String,
}

impl Emitter {
    /// What it emitted, taken over at this time. Whether the type is declared is not asked here.
    pub(crate) fn emitted(&self, emission: Emission, at: Timestamp, cursor: Option<&str>) -> Emitted {
        Emitted {
            id: id(&self.connection, &emission.event_type, &emission.key),
            event_type: emission.event_type,
            connection: self.connection.clone(),
            account: self.account.clone(),
            plugin: self.plugin.clone(),
            at,
            key: emission.key,
            data: emission.data,
            cursor: cursor.map(str::to_owned),
            sink: None,
            traceparent: Trace::current().map(Trace::traceparent),
        }
    }
}

impl Emitted {
    /// Whether it goes to the sink of this name and policy. What is addressed goes there, and nowhere else.
    pub(crate) fn is_for(&self, sink: &str, policy: &SinkPolicy) -> bool {
        match &self.sink {
            Some(only) => only == sink,
            None => policy.wants(self),
        }
    }

    /// The event as CloudEvents 1.0 writes it in JSON: what every sink gives away.
    ///
    /// # Errors
    /// None that is known; a defect would be [`Kind::Internal`](crate::Kind::Internal).
    pub fn to_cloud_event(&self) -> Result<String> {
        let event = CloudEvent {
            specversion: "1.0",
            id: &self.id,
            source: match self.event_type.starts_with(HOST_EVENTS) {
                true => "urn:wharfage:host".to_owned(),
                false => source(&self.connection),
            },
            event_type: attribute(&self.event_type),
            time: self.at.to_string(),
            datacontenttype: "application/json",
            connection: Some(attribute(&self.connection)).filter(|name| !name.is_empty()),
            account: self.account.as_deref().map(attribute),
            plugin: Some(attribute(&self.plugin)).filter(|name| !name.is_empty()),
            key: attribute(&self.key),
            cursor: self.cursor.as_deref().map(attribute),
            traceparent: self.traceparent.as_deref(),
            data: &self.data,
        };
        serde_json::to_string(&event).map_err(|_| Error::internal("an event could not be written"))
    }
}

/// The attributes in the order in which they are written. Names of extensions are of letters and digits only.
#[derive(Serialize)]
struct CloudEvent<'a> {
    specversion: &'a str,
    id: &'a str,
    source: String,
    #[serde(rename = "type")]
    event_type: String,
    time: String,
    datacontenttype: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    connection: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    plugin: Option<String>,
    key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    traceparent: Option<&'a str>,
    data: &'a RawValue,
}

/// What stays the same over all repetitions of an event, and what no two events share. Each part with its length, so that
/// no two lists of parts read alike.
fn id(connection: &str, event_type: &str, key: &str) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in [connection, event_type, key] {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part.as_bytes());
    }
    hex(&context.finish().as_ref()[..16])
}

/// Where an event comes from, as a URI: the connection, in a name space of our own, since a host need not have an address.
fn source(connection: &str) -> String {
    let mut out = "urn:wharfage:connection:".to_owned();
    for byte in connection.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ => escape(&mut out, byte),
        }
    }
    out
}

/// Text as an attribute may hold it: what CloudEvents forbids in a string (control characters and what is no character) is
/// percent-encoded.
fn attribute(text: &str) -> String {
    let is_forbidden = |c: char| c.is_control() || matches!(u32::from(c) & 0xffff, 0xfffe | 0xffff) || is_hole(c);
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match is_forbidden(c) {
            false => out.push(c),
            true => c.encode_utf8(&mut [0; 4]).bytes().for_each(|byte| escape(&mut out, byte)),
        }
    }
    out
}

/// Whether it is one of the characters in the middle of Unicode that are none.
fn is_hole(c: char) -> bool {
    ('\u{fdd0}'..='\u{fdef}').contains(&c)
}

fn escape(out: &mut String, byte: u8) {
    out.push('%');
    out.push_str(&hex(&[byte]).to_ascii_uppercase());
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn emitted(key: &str, data: &str) -> Emitted {
        let emitter = Emitter { connection: "acme".into(), account: Some("main".into()), plugin: "shop".into() };
        let data = RawValue::from_string(data.into()).unwrap();
        let emission = Emission { event_type: "order.paid".into(), key: key.into(), data };
        emitter.emitted(emission, Timestamp::from_millis(1_700_000_000_123), Some("page 7"))
    }

    /// R21: whatever a plugin puts into its content, the attributes say what the host knows.
    #[test]
    fn r21_the_host_sets_id_source_account_connection_and_time() {
        let data =
            r#"{"id":"x","source":"urn:evil","connection":"other","account":"other","time":"1970-01-01T00:00:00Z"}"#;
        let event: Value = serde_json::from_str(&emitted("order 7", data).to_cloud_event().unwrap()).unwrap();
        for (name, value) in [
            ("specversion", "1.0"),
            ("source", "urn:wharfage:connection:acme"),
            ("type", "order.paid"),
            ("time", "2023-11-14T22:13:20.123Z"),
            ("datacontenttype", "application/json"),
            ("connection", "acme"),
            ("account", "main"),
            ("plugin", "shop"),
            ("key", "order 7"),
            ("cursor", "page 7"),
        ] {
            assert_eq!(event[name], value, "{name}");
        }
        assert_eq!(event["id"].as_str().unwrap().len(), 32);
        assert_eq!(event["data"]["source"], "urn:evil", "the content is the plugin's");
        for name in event.as_object().unwrap().keys() {
            assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()), "{name}");
        }
    }

    /// R21: the same key of two connections, or of two types, is two events.
    #[test]
    fn r21_an_id_is_one_connections_one_types_and_one_keys() {
        assert_eq!(id("a", "t", "k"), id("a", "t", "k"));
        let all = [id("a", "t", "k"), id("b", "t", "k"), id("a", "u", "k"), id("a", "t", "l"), id("at", "", "k")];
        let distinct: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(distinct.len(), all.len());
    }

    #[test]
    fn what_the_host_tells_goes_to_one_sink_and_says_who_tells_it() {
        let emitter = Emitter { connection: String::new(), account: None, plugin: String::new() };
        let data = RawValue::from_string("{}".into()).unwrap();
        let emission = Emission { event_type: "wharfage.alert.firing".into(), key: "k".into(), data };
        let mut event = emitter.emitted(emission, Timestamp::from_millis(5), None);
        event.sink = Some("ops".into());
        let policy = |text: &str| SinkPolicy::parse(text).unwrap();
        assert!(
            event.is_for("ops", &policy("kind = 'stdout'\ntypes = ['order.*']")),
            "patterns are for what plugins emit"
        );
        assert!(!event.is_for("billing", &policy("kind = 'stdout'")));
        let written: Value = serde_json::from_str(&event.to_cloud_event().unwrap()).unwrap();
        assert_eq!(written["source"], "urn:wharfage:host");
        for name in ["connection", "plugin", "account", "sink"] {
            assert!(written.get(name).is_none(), "{name}");
        }
    }

    #[test]
    fn content_goes_through_as_it_was_written() {
        let data = "{\"amount\": 123456789012345678901234567890.10, \"b\":1.0e+2,\n \"b\": \"\\u00e9\"}";
        let event = emitted("k", data).to_cloud_event().unwrap();
        assert!(event.ends_with(&format!("\"data\":{data}}}")), "{event}");
        // And through the outbox.
        let kept = serde_json::to_vec(&emitted("k", data)).unwrap();
        let back: Emitted = serde_json::from_slice(&kept).unwrap();
        assert_eq!((back.data.get(), back.at), (data, Timestamp::from_millis(1_700_000_000_123)));
        assert_eq!(back.to_cloud_event().unwrap(), event);
    }

    #[test]
    fn attributes_hold_nothing_that_cloudevents_forbids() {
        assert_eq!(attribute("a\u{1b}[2J\nb\u{85}\u{ffff}\u{fdd0}é"), "a%1B[2J%0Ab%C2%85%EF%BF%BF%EF%B7%90é");
        assert_eq!(source("a b/ü"), "urn:wharfage:connection:a%20b%2F%C3%BC");
    }
}
