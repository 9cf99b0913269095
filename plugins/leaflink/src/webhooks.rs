//! What LeafLink tells by itself: that an order or a product is new or has changed.
//!
//! A webhook is a hint. LeafLink sends it without a time and not always in order, so the event names what changed and how
//! it stood then; who needs the record asks for it (`orders.get`).

use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use wharfage_sdk::events::{Emission, Event, Outcome, Trigger};
use wharfage_sdk::{Error, ErrorKind, Timestamp, json, log};

use crate::{plain, watch};

/// A webhook's body. `data` is the whole record; of it only what is needed is read, and none of it is passed on.
#[derive(Deserialize)]
struct Told {
    #[serde(default, rename = "type")]
    about: String,
    #[serde(default)]
    action: Option<String>,
    #[serde(default)]
    data: Record,
}

#[derive(Default, Deserialize)]
struct Record {
    number: Option<Box<RawValue>>,
    id: Option<Box<RawValue>>,
    status: Option<String>,
    modified: Option<String>,
}

/// Makes an event of a webhook, and events of a round of the poll.
///
/// # Errors
/// `schema-violation` for a body of another shape.
#[allow(clippy::result_large_err)] // the SDK's own error
pub fn handle(event: Event) -> Result<Outcome, Error> {
    let webhook = match &event.trigger {
        Trigger::Webhook(webhook) => webhook,
        Trigger::Poll(poll) if poll.name == "orders" => return watch::orders(poll, event.kept()?),
        _ => return Err(Error::internal("this plugin has webhooks and the poll `orders`")),
    };
    let told: Told = json::parse(&webhook.body).ok_or_else(|| {
        let message = "the webhook's body has another shape";
        Error::new(ErrorKind::SchemaViolation, message)
    })?;
    let Told { about, action, data: Record { number, id, status, modified } } = told;
    let (event_type, id) = match about.as_str() {
        "order" => ("order.changed", number.or(id)),
        "product" => ("product.changed", id),
        other => {
            // Something that LeafLink tells by now and did not before is no failure.
            log::info("a webhook is about something that is not known here", &[("type", &other)]);
            return Ok(Outcome::default());
        }
    };
    let Some(id) = id else {
        let message = format!("the webhook's {about} has neither number nor id");
        return Err(Error::new(ErrorKind::SchemaViolation, message));
    };
    let id = plain(&id);
    let key = key(&id, modified.as_deref()).unwrap_or(event.id);
    let name = if event_type == "order.changed" { "number" } else { "id" };
    let data = json!({ name: id, "action": action, "status": status, "modified": modified });
    let emission = Emission { event_type: event_type.to_owned(), key, data };
    Ok(Outcome { emit: vec![emission], ..Outcome::default() })
}

/// The name of a change: what changed, and when, however the time is written. A poll and a webhook give it the same one.
pub(crate) fn key(id: &str, modified: Option<&str>) -> Option<String> {
    modified.map(|modified| match Timestamp::parse(modified) {
        Some(at) => format!("{id} {at}"),
        None => format!("{id} {modified}"),
    })
}

#[cfg(test)]
mod tests {
    use wharfage_sdk::events::Webhook;
    use wharfage_sdk::testing;

    use super::*;

    #[allow(clippy::result_large_err)]
    fn told(endpoint: &str, body: &str) -> Result<Outcome, Error> {
        let webhook = Webhook { endpoint: endpoint.to_owned(), headers: Vec::new(), body: body.as_bytes().to_vec() };
        let event = Event { id: format!("webhook {endpoint} 7"), trigger: Trigger::Webhook(webhook), cursor: None };
        testing::handle(include_str!("../plugin.toml"), handle, event, "[]")
    }

    #[test]
    fn a_changed_order_is_told_with_its_number_and_no_more_of_it() {
        let body = r#"{"type":"order","action":"updated","data":{"number":"aec108ac","status":"Accepted",
            "modified":"2026-11-24T10:00:00Z","buyer":{"email":"somebody@example.org"}}}"#;
        let outcome = told("orders", body).unwrap();
        assert_eq!(outcome.emit.len(), 1);
        assert_eq!(
            (outcome.emit[0].event_type.as_str(), outcome.emit[0].key.as_str()),
            ("order.changed", "aec108ac 2026-11-24T10:00:00Z")
        );
        assert_eq!(
            outcome.emit[0].data,
            json!({"number": "aec108ac", "action": "updated", "status": "Accepted", "modified": "2026-11-24T10:00:00Z"})
        );
        let product =
            told("products", r#"{"type":"product","action":"created","data":{"id":123456789012345678}}"#).unwrap();
        assert_eq!(product.emit[0].data["id"], json!("123456789012345678"));
        assert_eq!(product.emit[0].key, "webhook products 7", "without a time the delivery is all there is to go by");
    }

    /// R24: what a provider has begun to tell is no failure, neither a type, which is logged, nor a field.
    #[test]
    fn r24_what_is_not_known_yet_is_passed() {
        assert_eq!(told("orders", r#"{"type":"menu","data":{"x":1}}"#).unwrap(), Outcome::default());
        assert_eq!(testing::logged(), ["info a webhook is about something that is not known here type=menu"]);
        let more = r#"{"type":"order","action":"updated","since":"now","data":{"number":"SO-1","colour":{"r":1}}}"#;
        assert_eq!(told("orders", more).unwrap().emit.len(), 1);
    }

    #[test]
    fn what_is_broken_is_a_failure() {
        for broken in ["", "7", r#"{"type":"order","data":{}}"#, r#"{"type":"order","data":{"status":7}}"#] {
            assert_eq!(told("orders", broken).unwrap_err().kind.name(), "schema-violation", "{broken}");
        }
    }
}
