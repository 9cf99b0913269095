//! Messages: SMS, MMS and what comes by channels such as WhatsApp.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wharfage_sdk::money::Money;
use wharfage_sdk::{Cursor, Error, Page, Request, Timestamp};

use crate::account;
use crate::form::Form;
use crate::listing::{self, limit};
use crate::read;

/// What to send, from whom, to whom.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SendInput {
    /// The account's id: `AC…`. State it once as a default of the connection.
    account: String,
    /// To whom: `+15558675310`, or with a channel before it, `whatsapp:+15558675310`.
    to: String,
    /// From which of your numbers, or with which sender's name. Either this or `messaging_service`.
    #[serde(default)]
    from: Option<String>,
    /// The messaging service that chooses the sender: `MG…`.
    #[serde(default)]
    messaging_service: Option<String>,
    /// The text, up to 1600 characters; from 160 (or 70, with other than the usual letters) on it is several messages to pay.
    #[serde(default)]
    body: Option<String>,
    /// Public addresses of pictures and other media, at most ten; Twilio fetches them.
    #[serde(default)]
    media: Vec<String>,
    /// A content template instead of a text: `HX…`.
    #[serde(default)]
    content: Option<String>,
    /// What stands for the template's variables: a JSON object as text, `{"1": "Ada"}`.
    #[serde(default)]
    content_variables: Option<String>,
    /// Where Twilio tells what becomes of the message: the address of an endpoint for the webhook `messages`.
    #[serde(default)]
    status_callback: Option<String>,
    /// Not now but then: from 15 minutes to 35 days ahead. It needs a `messaging_service`.
    #[serde(default)]
    send_at: Option<Timestamp>,
    /// Seconds for which it may wait to be sent, up to 36000; later it is not sent at all.
    #[serde(default)]
    #[schemars(range(min = 1, max = 36000))]
    validity_s: Option<u32>,
}

/// Which messages.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListInput {
    /// The account's id: `AC…`. State it once as a default of the connection.
    account: String,
    /// Only those to this number.
    #[serde(default)]
    to: Option<String>,
    /// Only those from this number.
    #[serde(default)]
    from: Option<String>,
    /// Only those sent at or after this time.
    #[serde(default)]
    since: Option<Timestamp>,
    /// Only those sent at or before this time.
    #[serde(default)]
    until: Option<Timestamp>,
    /// How many to a page.
    #[serde(default = "limit")]
    #[schemars(range(min = 1, max = 1000))]
    limit: u32,
}

/// Which message.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FindInput {
    /// The account's id: `AC…`. State it once as a default of the connection.
    account: String,
    /// The message's id: `SM…` or `MM…`.
    id: String,
}

/// A message.
#[derive(Deserialize, Serialize, JsonSchema)]
pub(crate) struct Message {
    /// Its id.
    #[serde(rename(deserialize = "sid"))]
    id: String,
    /// `accepted`, `scheduled`, `queued`, `sending`, `sent`, `delivered`, `undelivered`, `failed`, `canceled`, `read`,
    /// `receiving` or `received`.
    #[serde(default)]
    status: Option<String>,
    /// `inbound`, `outbound-api`, `outbound-call` or `outbound-reply`.
    #[serde(default)]
    direction: Option<String>,
    /// From whom; null while a messaging service has not chosen yet.
    #[serde(default)]
    from: Option<String>,
    /// To whom.
    #[serde(default)]
    to: Option<String>,
    /// The text.
    #[serde(default)]
    body: Option<String>,
    /// How many messages it is to pay.
    #[serde(default, rename(deserialize = "num_segments"), deserialize_with = "read::count")]
    segments: Option<u64>,
    /// How many pieces of media it has.
    #[serde(default, rename(deserialize = "num_media"), deserialize_with = "read::count")]
    media: Option<u64>,
    /// What it cost, as Twilio writes it: negative. Null until it is settled, some time after sending.
    #[serde(default)]
    price: Option<Money>,
    #[serde(default, skip_serializing)]
    #[schemars(skip)]
    price_unit: Option<String>,
    /// Twilio's code for why it was not delivered, as 30007: look it up at twilio.com/docs/api/errors.
    #[serde(default)]
    error_code: Option<u32>,
    /// What that code means, in a few words.
    #[serde(default)]
    error_message: Option<String>,
    /// The messaging service it went through.
    #[serde(default, rename(deserialize = "messaging_service_sid"))]
    messaging_service: Option<String>,
    /// When it was made.
    #[serde(default, rename(deserialize = "date_created"), deserialize_with = "read::moment")]
    created: Option<Timestamp>,
    /// When it was sent.
    #[serde(default, rename(deserialize = "date_sent"), deserialize_with = "read::moment")]
    sent: Option<Timestamp>,
    /// Its last change.
    #[serde(default, rename(deserialize = "date_updated"), deserialize_with = "read::moment")]
    modified: Option<Timestamp>,
}

impl Message {
    fn settled(mut self) -> Self {
        let unit = self.price_unit.take();
        read::priced(&mut self.price, unit);
        self
    }
}

pub(crate) fn send(input: SendInput) -> Result<Message, Error> {
    let url = account::place_to_write(&input.account, "Messages.json")?;
    if input.from.is_none() && input.messaging_service.is_none() {
        return Err(Error::invalid_request("/from", "expected a sender here, or a messaging_service"));
    }
    if input.body.is_none() && input.media.is_empty() && input.content.is_none() {
        return Err(Error::invalid_request("/body", "expected a text here, or media, or content"));
    }
    if input.send_at.is_some() && input.messaging_service.is_none() {
        return Err(Error::invalid_request("/send_at", "expected a messaging_service beside it"));
    }
    let form = Form::new()
        .with("To", input.to)
        .with_some("From", input.from)
        .with_some("MessagingServiceSid", input.messaging_service)
        .with_some("Body", input.body)
        .with_all("MediaUrl", input.media)
        .with_some("ContentSid", input.content)
        .with_some("ContentVariables", input.content_variables)
        .with_some("StatusCallback", input.status_callback)
        .with_some("ScheduleType", input.send_at.map(|_| "fixed".to_owned()))
        .with_some("SendAt", input.send_at.map(|at| at.to_string()))
        .with_some("ValidityPeriod", input.validity_s.map(|seconds| seconds.to_string()));
    Ok(form.post(url)?.json::<Message>()?.settled())
}

pub(crate) fn list(input: ListInput, cursor: Option<Cursor>) -> Result<Page<Message>, Error> {
    let ListInput { account, to, from, since, until, limit } = input;
    let page: Page<Message> = listing::list(&account, "Messages.json", limit, cursor, |request| {
        request
            .query_some("To", to)
            .query_some("From", from)
            .query_some("DateSent>", since)
            .query_some("DateSent<", until)
    })?;
    Ok(Page { items: page.items.into_iter().map(Message::settled).collect(), next: page.next })
}

pub(crate) fn find(input: FindInput) -> Result<Message, Error> {
    let id = read::sid("/id", &input.id, &["SM", "MM"])?;
    let url = account::place(&input.account, &format!("Messages/{id}.json"))?;
    Ok(Request::get(url).send()?.json::<Message>()?.settled())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(input: &str) -> String {
        let mut fields: serde_json::Map<String, serde_json::Value> = serde_json::from_str(input).unwrap();
        fields.insert("account".into(), "ACaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa".into());
        fields.insert("to".into(), "+15558675310".into());
        let input = serde_json::from_value(fields.into()).unwrap();
        send(input).err().unwrap().message.clone()
    }

    #[test]
    fn what_cannot_be_sent_is_told_before_it_costs_anything() {
        assert_eq!(refused(r#"{"body": "x"}"#), "/from: expected a sender here, or a messaging_service");
        assert_eq!(refused(r#"{"from": "+15017122661"}"#), "/body: expected a text here, or media, or content");
        assert_eq!(
            refused(r#"{"from": "+15017122661", "body": "x", "send_at": "2026-11-25T00:00:00Z"}"#),
            "/send_at: expected a messaging_service beside it"
        );
    }
}
