//! The phone numbers that an account owns.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wharfage_sdk::{Cursor, Error, Page, Timestamp};

use crate::listing::{self, limit};
use crate::read;

/// Which numbers.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListInput {
    /// The account's id: `AC…`. State it once as a default of the connection.
    account: String,
    /// Only those that hold these digits; `*` stands for one digit.
    #[serde(default)]
    number: Option<String>,
    /// Only the one of this name.
    #[serde(default)]
    name: Option<String>,
    /// How many to a page.
    #[serde(default = "limit")]
    #[schemars(range(min = 1, max = 1000))]
    limit: u32,
}

/// A phone number of the account. Addresses are shown without user and password.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Number {
    /// Its id: `PN…`.
    id: String,
    /// The number, as `+15017122661`.
    number: Option<String>,
    /// Its name.
    name: Option<String>,
    /// Whether it can send and receive SMS.
    sms: bool,
    /// Whether it can send and receive MMS.
    mms: bool,
    /// Whether it can call and be called.
    voice: bool,
    /// Whether it can send and receive fax.
    fax: bool,
    /// Where incoming messages go.
    sms_url: Option<String>,
    /// Where incoming calls go.
    voice_url: Option<String>,
    /// Where it is told how calls go.
    status_callback: Option<String>,
    /// When it came to the account.
    created: Option<Timestamp>,
}

#[derive(Deserialize)]
struct Record {
    sid: String,
    #[serde(default)]
    phone_number: Option<String>,
    #[serde(default)]
    friendly_name: Option<String>,
    #[serde(default)]
    capabilities: Option<Capabilities>,
    #[serde(default)]
    sms_url: Option<String>,
    #[serde(default)]
    voice_url: Option<String>,
    #[serde(default)]
    status_callback: Option<String>,
    #[serde(default, deserialize_with = "read::moment")]
    date_created: Option<Timestamp>,
}

/// Twilio has written these in capitals too.
#[derive(Default, Deserialize)]
struct Capabilities {
    #[serde(default, alias = "SMS")]
    sms: bool,
    #[serde(default, alias = "MMS")]
    mms: bool,
    #[serde(default)]
    voice: bool,
    #[serde(default)]
    fax: bool,
}

pub(crate) fn list(input: ListInput, cursor: Option<Cursor>) -> Result<Page<Number>, Error> {
    let ListInput { account, number, name, limit } = input;
    let page: Page<Record> = listing::list(&account, "IncomingPhoneNumbers.json", limit, cursor, |request| {
        request.query_some("PhoneNumber", number).query_some("FriendlyName", name)
    })?;
    Ok(Page { items: page.items.into_iter().map(shown).collect(), next: page.next })
}

fn shown(record: Record) -> Number {
    let address = |url: Option<String>| url.filter(|url| !url.is_empty()).map(read::without_password);
    let can = record.capabilities.unwrap_or_default();
    Number {
        id: record.sid,
        number: record.phone_number,
        name: record.friendly_name,
        sms: can.sms,
        mms: can.mms,
        voice: can.voice,
        fax: can.fax,
        sms_url: address(record.sms_url),
        voice_url: address(record.voice_url),
        status_callback: address(record.status_callback),
        created: record.date_created,
    }
}
