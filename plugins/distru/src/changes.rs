//! What Distru tells, and what it is asked for anew: that an order, a product or something else has changed.
//!
//! A webhook is a hint, and so is what a poll finds: the event says what changed and when, and who needs the record asks
//! for it. Which lists are polled is the table [`WATCHED`]; how one is read stands in [`walk`].

mod walk;

use serde_json::value::RawValue;
use serde_json::{Value, json};
use wharfage_sdk::events::{Emission, Event, Outcome, Trigger};
use wharfage_sdk::{Error, ErrorKind, json, log};

use crate::record::Record;

/// A kind of record whose changes are told.
struct Watched {
    /// The poll's name, and the list's path.
    poll: &'static str,
    /// How webhooks call it.
    told: &'static str,
    /// The event.
    event: &'static str,
    /// The field with the time of its last change, which is its filter too.
    changed_by: &'static str,
    /// Whether deleted ones are listed where asked for.
    lists_deleted: bool,
    /// Fields that go into the event, by our names and Distru's.
    fields: &'static [(&'static str, &'static str)],
}

const WATCHED: &[Watched] = &[
    Watched {
        poll: "orders",
        told: "ORDER",
        event: "order.changed",
        changed_by: "updated_datetime",
        lists_deleted: false,
        fields: &[("number", "order_number"), ("status", "status")],
    },
    Watched {
        poll: "invoices",
        told: "INVOICE",
        event: "invoice.changed",
        changed_by: "updated_datetime",
        lists_deleted: false,
        fields: &[("number", "invoice_number"), ("status", "status")],
    },
    Watched {
        poll: "products",
        told: "PRODUCT",
        event: "product.changed",
        changed_by: "updated_datetime",
        lists_deleted: true,
        fields: &[("sku", "sku")],
    },
    Watched {
        poll: "companies",
        told: "COMPANY",
        event: "company.changed",
        changed_by: "updated_datetime",
        lists_deleted: true,
        fields: &[],
    },
    // Only told: that the list names the time of a last change is not documented.
    Watched {
        poll: "",
        told: "PACKAGE",
        event: "package.changed",
        changed_by: "updated_datetime",
        lists_deleted: false,
        fields: &[("label", "compliance_label"), ("status", "status")],
    },
    // Only polled. They never change once they are made.
    Watched {
        poll: "adjustments",
        told: "",
        event: "stock.adjusted",
        changed_by: "inserted_datetime",
        lists_deleted: false,
        fields: &[
            ("product_id", "product_id"),
            ("batch_id", "batch_id"),
            ("package_id", "package_id"),
            ("location_id", "location_id"),
            ("quantity", "quantity"),
            ("reason", "reason"),
            ("completed_on", "completion_datetime"),
        ],
    },
];

/// Takes what the host hands over.
///
/// # Errors
/// Distru's; `schema-violation` for a webhook or a record of another shape.
pub fn handle(event: Event) -> Result<Outcome, Error> {
    match &event.trigger {
        Trigger::Webhook(webhook) => told(&webhook.body, event.id.clone()),
        Trigger::Poll(poll) => match WATCHED.iter().find(|watched| watched.poll == poll.name) {
            Some(watched) => walk::run(watched, poll, event.kept()?),
            None => Err(Error::internal("this plugin has no poll of that name")),
        },
        _ => Err(Error::internal("this plugin has webhooks and polls")),
    }
}

/// Makes an event of a webhook: `{"type", "event", "id", "object", "changes", "occurred_datetime"}`. The object is the whole
/// record as it is now, null where it is gone; none of it is passed on but what names it.
fn told(body: &[u8], key: String) -> Result<Outcome, Error> {
    let raw: Box<RawValue> =
        json::parse(body).ok_or_else(|| Error::new(ErrorKind::SchemaViolation, "the webhook's body is not JSON"))?;
    let record = Record::read(raw, String::new())?;
    let about = record.settle(record.needed("type"))?;
    let Some(watched) = WATCHED.iter().find(|watched| watched.told == about && !about.is_empty()) else {
        // Something that Distru tells and nobody here asks about is no failure.
        log::info("a webhook is about something that is not known here", &[("type", &about)]);
        return Ok(Outcome::default());
    };
    let action = match record.text("event").as_deref() {
        Some("CREATE") => "created",
        Some("DELETE") => "deleted",
        // Until 2026-09-01 nothing was said of it.
        _ => "changed",
    };
    let mut data = match record.part("object") {
        Some(object) => watched.data(&object, action)?,
        None => json!({"action": action}),
    };
    data["id"] = record.needed("id").into();
    data["occurred"] = record.text("occurred_datetime").into();
    let changes = record.part("changes");
    data["fields"] = changes.iter().flat_map(Record::names).map(|name| Value::from(name.as_str())).collect();
    let emission = Emission { event_type: watched.event.to_owned(), key, data };
    record.settle(Outcome { emit: vec![emission], ..Outcome::default() })
}

impl Watched {
    /// The event about a record that was listed. Its key is the list, the record and the
    /// time of its change, to the microsecond.
    fn emission(&self, record: &Record) -> Result<Emission, Error> {
        let (id, changed) = (record.needed("id"), record.needed(self.changed_by));
        let action = if record.text("deleted_at").is_some() { "deleted" } else { "changed" };
        let mut data = self.data(record, action)?;
        data["id"] = id.clone().into();
        Ok(Emission { event_type: self.event.to_owned(), key: format!("{} {id} {changed}", self.poll), data })
    }

    fn data(&self, record: &Record, action: &str) -> Result<Value, Error> {
        let mut data = json!({"action": action, "modified": record.text(self.changed_by)});
        for (ours, theirs) in self.fields {
            data[*ours] = record.text(theirs).into();
        }
        record.settle(data)
    }
}

#[cfg(test)]
mod tests {
    use wharfage_sdk::events::Webhook;
    use wharfage_sdk::testing;

    use super::*;

    fn told(body: &str) -> Result<Outcome, Error> {
        let webhook = Webhook { endpoint: "changes".to_owned(), headers: Vec::new(), body: body.as_bytes().to_vec() };
        let event = Event { id: "webhook changes 7".to_owned(), trigger: Trigger::Webhook(webhook), cursor: None };
        testing::handle(include_str!("../plugin.toml"), handle, event, "[]")
    }

    #[test]
    fn a_changed_order_is_told_with_its_number_and_no_more_of_it() {
        let body = r#"{"type": "ORDER", "event": "UPDATE", "id": "0b6a", "object": {"id": "0b6a", "order_number": "SO-1042",
            "status": "PROCESSING", "updated_datetime": "2026-11-24T10:00:00.123456Z", "internal_notes": "call first"},
            "changes": {"status": {"before": "PENDING", "after": "PROCESSING"}},
            "occurred_datetime": "2026-11-24T10:00:00.100000Z"}"#;
        let outcome = told(body).unwrap();
        let emitted = &outcome.emit[0];
        assert_eq!((emitted.event_type.as_str(), emitted.key.as_str()), ("order.changed", "webhook changes 7"));
        assert_eq!(
            emitted.data,
            json!({"id": "0b6a", "number": "SO-1042", "status": "PROCESSING", "action": "changed", "fields": ["status"],
                "modified": "2026-11-24T10:00:00.123456Z", "occurred": "2026-11-24T10:00:00.100000Z"})
        );
    }

    #[test]
    fn what_is_gone_has_no_record_any_more() {
        let body = r#"{"type": "PACKAGE", "event": "DELETE", "id": "7", "object": null, "changes": {},
            "occurred_datetime": "2026-11-24T10:00:00Z"}"#;
        assert_eq!(
            told(body).unwrap().emit[0].data,
            json!({"id": "7", "action": "deleted", "fields": [], "occurred": "2026-11-24T10:00:00Z"})
        );
    }

    /// R24: unknown types are logged and passed, and so are fields passed.
    #[test]
    fn r24_what_is_not_known_yet_is_passed() {
        for kind in ["ASSEMBLY", "TASK", "PURCHASE", ""] {
            let body = format!(r#"{{"type": "{kind}", "event": "CREATE", "id": "1", "object": {{"id": "1"}}}}"#);
            assert_eq!(told(&body).unwrap(), Outcome::default());
            let line = format!("info a webhook is about something that is not known here type={kind}");
            assert_eq!(testing::logged(), [line]);
        }
        let more = r#"{"type": "COMPANY", "event": "MERGE", "id": "1", "object": {"id": "1", "colour": {"r": 1}}, "since": 7}"#;
        assert_eq!(told(more).unwrap().emit[0].data["action"], "changed");
    }

    #[test]
    fn what_is_broken_is_a_failure() {
        for broken in
            ["", "7", "{}", r#"{"type": "ORDER"}"#, r#"{"type": "ORDER", "id": "1", "object": {"status": {}}}"#]
        {
            assert_eq!(told(broken).unwrap_err().kind.name(), "schema-violation", "{broken}");
        }
    }
}
