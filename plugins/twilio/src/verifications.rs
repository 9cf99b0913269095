//! One-time codes: Twilio makes one, sends it, and says whether what somebody entered is right.
//!
//! Nothing here knows the code but the person, and Twilio. These are newer parts of Twilio's API: dates are RFC 3339, and a list
//! names its next page by an absolute URL in `meta`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wharfage_sdk::page::NextUrl;
use wharfage_sdk::{Cursor, Error, Page, Request, Timestamp};

use crate::form::Form;
use crate::listing::{LIMIT_MAX, limit};
use crate::read;

/// To whom a code goes, and how.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateInput {
    /// The verification service: `VA…`. State it once as a default of the connection.
    service: String,
    /// To whom: `+15017122661`, or an address for the channel `email`.
    to: String,
    /// How: `sms`, `whatsapp`, `call`, `email`, `sna` or `auto`.
    #[serde(default = "sms")]
    channel: String,
    /// The language of the message, as `de`; otherwise that of the number's country.
    #[serde(default)]
    locale: Option<String>,
}

/// Which verification, and the code that was entered.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CheckInput {
    /// The verification service: `VA…`. State it once as a default of the connection.
    service: String,
    /// To whom the code went. Either this or `id`.
    #[serde(default)]
    to: Option<String>,
    /// The verification's id: `VE…`.
    #[serde(default)]
    id: Option<String>,
    /// The code as it was entered: 4 to 10 characters.
    code: String,
}

/// How many services.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ServicesInput {
    /// How many to a page.
    #[serde(default = "limit")]
    #[schemars(range(min = 1, max = 1000))]
    limit: u32,
}

/// A verification.
#[derive(Deserialize, Serialize, JsonSchema)]
pub(crate) struct Verification {
    /// Its id: `VE…`.
    #[serde(rename(deserialize = "sid"))]
    id: String,
    /// To whom.
    #[serde(default)]
    to: Option<String>,
    /// How.
    #[serde(default)]
    channel: Option<String>,
    /// `pending`, `approved`, `canceled`, `expired`, `max_attempts_reached`, `deleted` or `failed`. After a wrong code it is still
    /// `pending`.
    #[serde(default)]
    status: Option<String>,
    /// Whether the code was right.
    #[serde(default)]
    valid: Option<bool>,
    /// When it was begun.
    #[serde(default, rename(deserialize = "date_created"), deserialize_with = "read::moment")]
    created: Option<Timestamp>,
    /// Its last change.
    #[serde(default, rename(deserialize = "date_updated"), deserialize_with = "read::moment")]
    modified: Option<Timestamp>,
}

/// A verification service: how codes look, and who they say they are from.
#[derive(Deserialize, Serialize, JsonSchema)]
pub(crate) struct Service {
    /// Its id: `VA…`.
    #[serde(rename(deserialize = "sid"))]
    id: String,
    /// Its name; messages show it.
    #[serde(default, rename(deserialize = "friendly_name"))]
    name: Option<String>,
    /// How many characters its codes have.
    #[serde(default)]
    code_length: Option<u32>,
    /// When it was made.
    #[serde(default, rename(deserialize = "date_created"), deserialize_with = "read::moment")]
    created: Option<Timestamp>,
}

#[derive(Deserialize)]
struct Listing {
    meta: Meta,
    services: Vec<Service>,
}

#[derive(Deserialize)]
struct Meta {
    #[serde(default)]
    next_page_url: Option<String>,
}

pub(crate) fn create(input: CreateInput) -> Result<Verification, Error> {
    let service = read::sid("/service", &input.service, &["VA"])?;
    Form::new()
        .with("To", input.to)
        .with("Channel", input.channel)
        .with_some("Locale", input.locale)
        .post(format!("{{codes}}/Services/{service}/Verifications"))?
        .json()
}

pub(crate) fn check(input: CheckInput) -> Result<Verification, Error> {
    let service = read::sid("/service", &input.service, &["VA"])?;
    if input.to.is_some() == input.id.is_some() {
        return Err(Error::invalid_request("/to", "expected whose code it is: one of to and id"));
    }
    Form::new()
        .with_some("To", input.to)
        .with_some("VerificationSid", input.id)
        .with("Code", input.code)
        .post(format!("{{codes}}/Services/{service}/VerificationCheck"))?
        .json()
}

pub(crate) fn services(input: ServicesInput, cursor: Option<Cursor>) -> Result<Page<Service>, Error> {
    let at = NextUrl::resume(cursor)?;
    let first = || Request::get("{verify}/Services").query("PageSize", input.limit.clamp(1, LIMIT_MAX));
    let response = at.request(first).send()?;
    let Listing { meta, services } = response.json()?;
    let next = at.advance(&response.url, meta.next_page_url.as_deref())?;
    Page::new(services, next.as_ref())
}

fn sms() -> String {
    "sms".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_checked_for_one_verification() {
        let with = |more: &str| {
            let input = format!(r#"{{"service": "VAaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "code": "1234"{more}}}"#);
            check(serde_json::from_str(&input).unwrap()).err().unwrap().message.clone()
        };
        let wanted = "/to: expected whose code it is: one of to and id";
        assert_eq!(with(""), wanted);
        assert_eq!(with(r#", "to": "+15017122661", "id": "VE""#), wanted);
    }
}
