//! What Twilio tells by itself: that a message came in, what became of one that was sent, how a call goes.
//!
//! Twilio tells it as a form, and not always in order. An event names what changed and how it stands; the text of a message and
//! its price are asked for (`messages.get`, `calls.get`).

use serde_json::{Value, json};
use wharfage_sdk::events::{Emission, Event, Outcome, Trigger};
use wharfage_sdk::http::form_pairs;
use wharfage_sdk::{Error, log};

use crate::read;

/// Makes an event of a webhook.
///
/// # Errors
/// None: what is not known here is logged and passed.
#[allow(clippy::result_large_err)] // the SDK's own error
pub fn handle(event: Event) -> Result<Outcome, Error> {
    let Trigger::Webhook(webhook) = event.trigger else { return Ok(Outcome::default()) };
    let told = Told(form_pairs(&webhook.body));
    let emission = match webhook.endpoint.as_str() {
        "messages" => message(&told),
        "calls" => call(&told),
        _ => None,
    };
    if emission.is_none() {
        // Twilio sends more to the same addresses than is asked for here, and will send more yet.
        log::info("a webhook tells of something that is not known here", &[("endpoint", &webhook.endpoint)]);
    }
    Ok(Outcome { emit: emission.into_iter().collect(), ..Outcome::default() })
}

/// A message that came in has an `SmsStatus` only; one that was sent has a `MessageStatus` as well.
fn message(told: &Told) -> Option<Emission> {
    let id = told.text("MessageSid").or_else(|| told.text("SmsSid"))?;
    let status = told.text("MessageStatus").or_else(|| told.text("SmsStatus"))?;
    let is_incoming = told.text("MessageStatus").is_none() && matches!(status, "received" | "receiving");
    let (from, to, service) = (told.text("From"), told.text("To"), told.text("MessagingServiceSid"));
    if is_incoming {
        let data = json!({
            "id": id, "from": from, "to": to, "messaging_service": service,
            "media": told.count("NumMedia"), "segments": told.count("NumSegments"), "opt_out": told.text("OptOutType"),
        });
        return Some(emission("message.received", id.to_owned(), data));
    }
    let data = json!({
        "id": id, "status": status, "error_code": told.count("ErrorCode"), "from": from, "to": to, "messaging_service": service,
    });
    Some(emission("message.status-changed", format!("{id} {status}"), data))
}

fn call(told: &Told) -> Option<Emission> {
    let (id, status) = (told.text("CallSid")?, told.text("CallStatus")?);
    let sequence = told.count("SequenceNumber");
    let data = json!({
        "id": id, "status": status, "direction": told.text("Direction"), "from": told.text("From"), "to": told.text("To"),
        "parent": told.text("ParentCallSid"), "duration_s": told.count("CallDuration"), "sequence": sequence,
        "at": told.text("Timestamp").and_then(read::date).map(|at| at.to_string()),
    });
    let key = match sequence {
        Some(sequence) => format!("{id} {status} {sequence}"),
        None => format!("{id} {status}"),
    };
    Some(emission("call.status-changed", key, data))
}

fn emission(event_type: &str, key: String, data: Value) -> Emission {
    Emission { event_type: event_type.to_owned(), key, data }
}

/// The fields of a form.
struct Told(Vec<(String, String)>);

impl Told {
    /// A field that is there and not empty.
    fn text(&self, name: &str) -> Option<&str> {
        let field = self.0.iter().find(|(own, value)| own == name && !value.is_empty());
        field.map(|(_, value)| value.as_str())
    }

    fn count(&self, name: &str) -> Option<u64> {
        self.text(name)?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use wharfage_sdk::events::Webhook;
    use wharfage_sdk::testing;

    use super::*;

    const MESSAGE: &str = "SMaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const CALL: &str = "CAaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

    fn told(endpoint: &str, body: &str) -> Vec<Emission> {
        let webhook = Webhook { endpoint: endpoint.to_owned(), headers: Vec::new(), body: body.as_bytes().to_vec() };
        let event = Event { id: format!("webhook {endpoint} 7"), trigger: Trigger::Webhook(webhook), cursor: None };
        testing::handle(include_str!("../plugin.toml"), handle, event, "[]").unwrap().emit
    }

    #[test]
    fn a_message_that_came_in_is_told_without_its_text() {
        let body = format!(
            "ToCountry=US&SmsMessageSid={MESSAGE}&NumMedia=1&SmsSid={MESSAGE}&SmsStatus=received&Body=my+secret&To=%2B15017122661\
             &NumSegments=1&MessageSid={MESSAGE}&AccountSid=ACaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa&From=%2B15558675310&ApiVersion=2010-04-01"
        );
        let emitted = told("messages", &body);
        assert_eq!((emitted[0].event_type.as_str(), emitted[0].key.as_str()), ("message.received", MESSAGE));
        assert_eq!(
            emitted[0].data,
            json!({"id": MESSAGE, "from": "+15558675310", "to": "+15017122661", "messaging_service": null, "media": 1,
                "segments": 1, "opt_out": null})
        );
    }

    #[test]
    fn each_status_of_a_message_is_an_event_of_its_own() {
        let status = |status: &str, more: &str| {
            let body = format!(
                "SmsSid={MESSAGE}&SmsStatus={status}&MessageStatus={status}&To=%2B15558675310&MessageSid={MESSAGE}\
                 &AccountSid=ACaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa&From=%2B15017122661&ApiVersion=2010-04-01{more}"
            );
            told("messages", &body).remove(0)
        };
        let (sent, failed) = (status("sent", ""), status("undelivered", "&ErrorCode=30007"));
        assert_eq!(sent.event_type, "message.status-changed");
        assert_eq!(
            (sent.key.as_str(), failed.key.as_str()),
            (&*format!("{MESSAGE} sent"), &*format!("{MESSAGE} undelivered"))
        );
        assert_eq!((&failed.data["status"], &failed.data["error_code"]), (&json!("undelivered"), &json!(30007)));
    }

    #[test]
    fn how_a_call_goes_is_told() {
        let body = format!(
            "CallSid={CALL}&AccountSid=ACaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa&From=%2B15017122661&To=%2B15558675310\
             &CallStatus=completed&Direction=outbound-api&CallDuration=15&CallbackSource=call-progress-events&SequenceNumber=2\
             &Timestamp=Tue%2C+24+Nov+2026+12%3A00%3A15+%2B0000"
        );
        let emitted = told("calls", &body);
        assert_eq!(
            (emitted[0].event_type.as_str(), &*emitted[0].key),
            ("call.status-changed", &*format!("{CALL} completed 2"))
        );
        assert_eq!(
            emitted[0].data,
            json!({"id": CALL, "status": "completed", "direction": "outbound-api", "from": "+15017122661",
                "to": "+15558675310", "parent": null, "duration_s": 15, "sequence": 2, "at": "2026-11-24T12:00:15Z"})
        );
    }

    /// R24: unknown types are logged and passed.
    #[test]
    fn r24_what_is_not_known_yet_is_passed() {
        for (endpoint, body) in [
            ("calls", "CallSid=CA1&RecordingSid=RE1&RecordingStatus=completed"),
            ("messages", "Colour=red"),
            ("messages", r#"{"a": 1}"#),
            ("messages", ""),
            ("calls", "&&=&%&%zz=%e9"),
        ] {
            assert_eq!(told(endpoint, body), [], "{body}");
            let line = format!("info a webhook tells of something that is not known here endpoint={endpoint}");
            assert_eq!(testing::logged(), [line]);
        }
    }
}
