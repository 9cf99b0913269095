//! The company itself: what a connection is for, and whether it works.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::value::RawValue;
use wharfage_sdk::{Error, Timestamp};

use crate::api;
use crate::select;

wharfage_sdk::input! {
    /// Nothing to say: a connection has one company.
    pub(crate) struct FindInput {
        /// Also the whole record as QuickBooks wrote it; it holds addresses, a phone number and the tax id.
        #[serde(default)]
        raw: bool,
    }
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

/// By a query, because the id of the company would have to stand in the path a second time.
pub(crate) fn find(input: FindInput) -> Result<Company, Error> {
    const KIND: &str = "CompanyInfo";
    let response = api::send(api::get("/query").query("query", "select * from CompanyInfo"))?;
    let mut found = select::found(&response)?;
    let first = found.items(KIND)?.into_iter().next();
    let raw = first.ok_or_else(|| Error::not_found("QuickBooks names no company"))?;
    let mut record = found.item(KIND, 0, &raw)?;
    let (mut edition, mut subscription) = (None, None);
    for mut pair in record.objects("NameValue")? {
        match pair.text("Name")?.as_deref() {
            Some("OfferingSku") => edition = pair.text("Value")?,
            Some("SubscriptionStatus") => subscription = pair.text("Value")?,
            _ => {}
        }
    }
    Ok(Company {
        name: record.text("CompanyName")?,
        legal_name: record.text("LegalName")?,
        country: record.text("Country")?,
        fiscal_year_start: record.text("FiscalYearStartMonth")?,
        edition,
        subscription,
        modified: record.times()?.modified,
        raw: input.raw.then_some(raw),
    })
}
