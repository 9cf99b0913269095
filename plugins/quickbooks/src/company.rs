//! The company itself: what a connection is for, and whether it works.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use wharfage_sdk::{Error, Timestamp};

use crate::api::MetaData;
use crate::select;

/// Nothing to say: a connection has one company.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FindInput {
    /// Also the whole record as QuickBooks wrote it; it holds addresses, a phone number and the tax id.
    #[serde(default)]
    raw: bool,
}

/// A company.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Company {
    /// Its name.
    name: Option<String>,
    /// Its legal name.
    legal_name: Option<String>,
    /// The country it keeps its books for.
    country: Option<String>,
    /// The first month of its fiscal year, in English.
    fiscal_year_start: Option<String>,
    /// The edition of QuickBooks it pays for.
    edition: Option<String>,
    /// How its subscription stands, as `PAID` or `TRIAL`.
    subscription: Option<String>,
    /// The last change.
    modified: Option<Timestamp>,
    /// The record as QuickBooks wrote it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<serde_json::Value>")]
    raw: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Record {
    #[serde(default)]
    company_name: Option<String>,
    #[serde(default)]
    legal_name: Option<String>,
    #[serde(default)]
    country: Option<String>,
    #[serde(default)]
    fiscal_year_start_month: Option<String>,
    #[serde(default)]
    name_value: Vec<Pair>,
    #[serde(default)]
    meta_data: MetaData,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Pair {
    #[serde(default)]
    name: String,
    #[serde(default)]
    value: String,
}

/// By a query, because the id of the company would have to stand in the path a second time.
pub(crate) fn find(input: FindInput) -> Result<Company, Error> {
    let found = select::rows::<Record>("CompanyInfo", "select * from CompanyInfo")?;
    let record = found.into_iter().next().ok_or_else(|| Error::not_found("QuickBooks names no company"))?;
    let company = record.value;
    let more = |name: &str| company.name_value.iter().find(|pair| pair.name == name).map(|pair| pair.value.clone());
    Ok(Company {
        edition: more("OfferingSku"),
        subscription: more("SubscriptionStatus"),
        name: company.company_name,
        legal_name: company.legal_name,
        country: company.country,
        fiscal_year_start: company.fiscal_year_start_month,
        modified: company.meta_data.last_updated_time,
        raw: input.raw.then_some(record.raw),
    })
}
