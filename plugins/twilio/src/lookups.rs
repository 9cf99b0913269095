//! What is known of a phone number.
//!
//! Whether it can exist and how it is written is free of charge. Each further package costs money and has its own shape; the
//! two most asked for are typed, the others come as Twilio writes them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use wharfage_sdk::http::segment;
use wharfage_sdk::{Error, Request};

/// Which number, and what is asked of it.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FindInput {
    /// The number: `+14159929960`, or as it is written in its country, with `country` beside it.
    number: String,
    /// The country of a number without `+`, as `US` or `DE`; the United States where nothing is said.
    #[serde(default)]
    country: Option<String>,
    /// Packages that cost money.
    #[serde(default)]
    fields: Vec<Package>,
}

/// A package of facts.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Package {
    /// Mobile, landline or over the internet, and the carrier.
    LineTypeIntelligence,
    /// Who it belongs to; numbers of the United States only.
    CallerName,
    /// When its SIM card was last changed.
    SimSwap,
    /// Whether calls are forwarded.
    CallForwarding,
    /// Whether the phone is reachable, ported or roaming.
    LiveActivity,
    /// Whether it is known for fraud by SMS.
    SmsPumpingRisk,
}

impl Package {
    fn name(self) -> &'static str {
        match self {
            Self::LineTypeIntelligence => "line_type_intelligence",
            Self::CallerName => "caller_name",
            Self::SimSwap => "sim_swap",
            Self::CallForwarding => "call_forwarding",
            Self::LiveActivity => "live_activity",
            Self::SmsPumpingRisk => "sms_pumping_risk",
        }
    }
}

/// A phone number.
#[derive(Deserialize, Serialize, JsonSchema)]
pub(crate) struct Lookup {
    /// The number, as `+14159929960`.
    #[serde(default, rename(deserialize = "phone_number"))]
    number: Option<String>,
    /// Whether it can exist. A number that cannot is an answer and no error.
    #[serde(default)]
    valid: Option<bool>,
    /// Why it cannot, as `TOO_LONG`.
    #[serde(default)]
    validation_errors: Option<Vec<String>>,
    /// Its country, as `US`.
    #[serde(default, rename(deserialize = "country_code"))]
    country: Option<String>,
    /// What is dialled for that country, as `1`.
    #[serde(default)]
    calling_country_code: Option<String>,
    /// As it is written there.
    #[serde(default)]
    national_format: Option<String>,
    /// Mobile, landline or over the internet, if that was asked.
    #[serde(default, rename(deserialize = "line_type_intelligence"))]
    line_type: Option<LineType>,
    /// Who it belongs to, if that was asked.
    #[serde(default, rename(deserialize = "caller_name"))]
    caller: Option<Caller>,
    /// When its SIM card was last changed, if that was asked, as Twilio writes it.
    #[serde(default)]
    #[schemars(with = "Option<serde_json::Value>")]
    sim_swap: Option<Box<RawValue>>,
    /// Whether calls are forwarded, if that was asked, as Twilio writes it.
    #[serde(default)]
    #[schemars(with = "Option<serde_json::Value>")]
    call_forwarding: Option<Box<RawValue>>,
    /// Whether the phone is reachable, if that was asked, as Twilio writes it.
    #[serde(default)]
    #[schemars(with = "Option<serde_json::Value>")]
    live_activity: Option<Box<RawValue>>,
    /// Whether it is known for fraud, if that was asked, as Twilio writes it.
    #[serde(default)]
    #[schemars(with = "Option<serde_json::Value>")]
    sms_pumping_risk: Option<Box<RawValue>>,
}

/// What kind of line it is.
#[derive(Deserialize, Serialize, JsonSchema)]
struct LineType {
    /// `mobile`, `landline`, `fixedVoip`, `nonFixedVoip`, `tollFree`, … or null.
    #[serde(default, rename(deserialize = "type"))]
    kind: Option<String>,
    /// The carrier.
    #[serde(default, rename(deserialize = "carrier_name"))]
    carrier: Option<String>,
    /// The country of the mobile network.
    #[serde(default)]
    mobile_country_code: Option<String>,
    /// The mobile network.
    #[serde(default)]
    mobile_network_code: Option<String>,
    /// Twilio's code for why this package is empty.
    #[serde(default)]
    error_code: Option<u32>,
}

/// Who a number belongs to.
#[derive(Deserialize, Serialize, JsonSchema)]
struct Caller {
    /// The name.
    #[serde(default, rename(deserialize = "caller_name"))]
    name: Option<String>,
    /// `CONSUMER`, `BUSINESS` or null.
    #[serde(default, rename(deserialize = "caller_type"))]
    kind: Option<String>,
    /// Twilio's code for why this package is empty.
    #[serde(default)]
    error_code: Option<u32>,
}

pub(crate) fn find(input: FindInput) -> Result<Lookup, Error> {
    let number = segment("/number", &input.number)?;
    let fields: Vec<&str> = input.fields.iter().map(|package| package.name()).collect();
    Request::get(format!("{{lookups}}/PhoneNumbers/{number}"))
        .query_some("Fields", Some(fields.join(",")).filter(|fields| !fields.is_empty()))
        .query_some("CountryCode", input.country)
        .send()?
        .json()
}
