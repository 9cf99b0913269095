//! Calls.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wharfage_sdk::money::Money;
use wharfage_sdk::{Cursor, Error, Page, Request, Timestamp};

use crate::account;
use crate::form::Form;
use crate::listing::{self, limit};
use crate::read;

/// Whom to call, from which number, and what to do then.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateInput {
    /// The account's id: `AC…`. State it once as a default of the connection.
    account: String,
    /// Whom to call: `+15558675310`, `sip:…` or `client:…`.
    to: String,
    /// From which of your numbers.
    from: String,
    /// What to do, as TwiML: `<Response><Say>Hello</Say></Response>`. One of this, `url` and `application`.
    #[serde(default)]
    twiml: Option<String>,
    /// Where Twilio asks for TwiML once somebody answers.
    #[serde(default)]
    url: Option<String>,
    /// The application that says what to do: `AP…`.
    #[serde(default)]
    application: Option<String>,
    /// Where Twilio tells how the call goes: the address of an endpoint for the webhook `calls`.
    #[serde(default)]
    status_callback: Option<String>,
    /// Of what it tells: `initiated`, `ringing`, `answered`, `completed`; only the last where nothing is said.
    #[serde(default)]
    status_callback_events: Vec<String>,
    /// Seconds that it may ring, up to 600; 60 where nothing is said.
    #[serde(default)]
    #[schemars(range(min = 1, max = 600))]
    ring_s: Option<u32>,
    /// Seconds that the call may take; then it is ended.
    #[serde(default)]
    #[schemars(range(min = 1, max = 86400))]
    length_s: Option<u32>,
    /// Keys to press once somebody answers: digits, `#`, `*`, and `w` for half a second.
    #[serde(default)]
    digits: Option<String>,
    /// `Enable` or `DetectMessageEnd`: find out whether a machine answered. It costs extra.
    #[serde(default)]
    machine_detection: Option<String>,
    /// Record it.
    #[serde(default)]
    record: bool,
}

/// Which calls.
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
    /// Only those of this status, as `completed`.
    #[serde(default)]
    status: Option<String>,
    /// Only those that this call led to: `CA…`.
    #[serde(default)]
    parent: Option<String>,
    /// Only those that began at or after this time.
    #[serde(default)]
    since: Option<Timestamp>,
    /// Only those that began before this time.
    #[serde(default)]
    until: Option<Timestamp>,
    /// How many to a page.
    #[serde(default = "limit")]
    #[schemars(range(min = 1, max = 1000))]
    limit: u32,
}

/// Which call.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FindInput {
    /// The account's id: `AC…`. State it once as a default of the connection.
    account: String,
    /// The call's id: `CA…`.
    id: String,
}

/// A call.
#[derive(Deserialize, Serialize, JsonSchema)]
pub(crate) struct Call {
    /// Its id.
    #[serde(rename(deserialize = "sid"))]
    id: String,
    /// `queued`, `ringing`, `in-progress`, `completed`, `busy`, `failed`, `no-answer` or `canceled`.
    #[serde(default)]
    status: Option<String>,
    /// `inbound`, `outbound-api` or `outbound-dial`.
    #[serde(default)]
    direction: Option<String>,
    /// From whom.
    #[serde(default)]
    from: Option<String>,
    /// To whom.
    #[serde(default)]
    to: Option<String>,
    /// The call that led to it.
    #[serde(default, rename(deserialize = "parent_call_sid"))]
    parent: Option<String>,
    /// `human` or a kind of machine, where that was to be found out.
    #[serde(default)]
    answered_by: Option<String>,
    /// Seconds it took; null where nobody answered, and while it goes on.
    #[serde(default, rename(deserialize = "duration"), deserialize_with = "read::count")]
    duration_s: Option<u64>,
    /// What it cost, as Twilio writes it: negative. Null until it is settled, some time after its end.
    #[serde(default)]
    price: Option<Money>,
    #[serde(default, skip_serializing)]
    #[schemars(skip)]
    price_unit: Option<String>,
    /// When it was made.
    #[serde(default, rename(deserialize = "date_created"), deserialize_with = "read::moment")]
    created: Option<Timestamp>,
    /// When it began.
    #[serde(default, rename(deserialize = "start_time"), deserialize_with = "read::moment")]
    started: Option<Timestamp>,
    /// When it was over.
    #[serde(default, rename(deserialize = "end_time"), deserialize_with = "read::moment")]
    ended: Option<Timestamp>,
}

impl Call {
    fn settled(mut self) -> Self {
        // A price without a value still names its currency.
        let unit = self.price_unit.take();
        read::priced(&mut self.price, unit);
        self
    }
}

pub(crate) fn create(input: CreateInput) -> Result<Call, Error> {
    let url = account::place_to_write(&input.account, "Calls.json")?;
    let said = [&input.twiml, &input.url, &input.application];
    if said.into_iter().flatten().count() != 1 {
        return Err(Error::invalid_request("/twiml", "expected what to do: one of twiml, url and application"));
    }
    let form = Form::new()
        .with("To", input.to)
        .with("From", input.from)
        .with_some("Twiml", input.twiml)
        .with_some("Url", input.url)
        .with_some("ApplicationSid", input.application)
        .with_some("StatusCallback", input.status_callback)
        .with_all("StatusCallbackEvent", input.status_callback_events)
        .with_some("Timeout", input.ring_s.map(|seconds| seconds.to_string()))
        .with_some("TimeLimit", input.length_s.map(|seconds| seconds.to_string()))
        .with_some("SendDigits", input.digits)
        .with_some("MachineDetection", input.machine_detection)
        .with_some("Record", input.record.then(|| "true".to_owned()));
    Ok(form.post(url)?.json::<Call>()?.settled())
}

pub(crate) fn list(input: ListInput, cursor: Option<Cursor>) -> Result<Page<Call>, Error> {
    let ListInput { account, to, from, status, parent, since, until, limit } = input;
    let page: Page<Call> = listing::list(&account, "Calls.json", limit, cursor, |request| {
        request
            .query_some("To", to)
            .query_some("From", from)
            .query_some("Status", status)
            .query_some("ParentCallSid", parent)
            .query_some("StartTime>", since)
            .query_some("StartTime<", until)
    })?;
    Ok(Page { items: page.items.into_iter().map(Call::settled).collect(), next: page.next })
}

pub(crate) fn find(input: FindInput) -> Result<Call, Error> {
    let id = read::sid("/id", &input.id, &["CA"])?;
    let url = account::place(&input.account, &format!("Calls/{id}.json"))?;
    Ok(Request::get(url).send()?.json::<Call>()?.settled())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_needs_to_know_what_to_do() {
        let with = |more: &str| {
            let input = format!(
                r#"{{"account": "ACaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "to": "+15558675310", "from": "+15017122661"{more}}}"#
            );
            create(serde_json::from_str(&input).unwrap()).err().unwrap().message.clone()
        };
        let wanted = "/twiml: expected what to do: one of twiml, url and application";
        assert_eq!(with(""), wanted);
        assert_eq!(with(r#", "twiml": "<Response/>", "url": "https://app.example/twiml""#), wanted);
    }
}
