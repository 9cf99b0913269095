//! Companies: customers, vendors and brands as the CRM knows them. Contact data stays out unless `raw` is asked for.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::value::RawValue;
use wharfage_sdk::http::segment;
use wharfage_sdk::money::Money;
use wharfage_sdk::{Cursor, Error, Page, Request, Timestamp};

use crate::record::Record;
use crate::{FindInput, listing};

wharfage_sdk::input! {
    /// Which companies.
    pub(crate) struct ListInput {
        /// Only those that were changed at or after this time.
        #[serde(default)]
        since: Option<Timestamp>,
        /// Only those whose name holds this, in any case of letters.
        #[serde(default)]
        name: Option<String>,
        /// Also deleted companies.
        #[serde(default)]
        deleted: bool,
        /// How many to a page, where Distru still heeds it.
        #[serde(default)]
        #[schemars(range(min = 1, max = 500))]
        limit: Option<u32>,
        /// Also each company as Distru wrote it; it holds addresses, phone numbers and e-mail.
        #[serde(default)]
        raw: bool,
    }
}

/// A company.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Company {
    /// Distru's id; orders and invoices name it as `customer_id`.
    id: String,
    /// The name.
    name: Option<String>,
    /// The name it is registered under.
    legal_name: Option<String>,
    /// What it is, as `Dispensary`.
    category: Option<String>,
    /// What it is to you, in your own words.
    relationship: Option<String>,
    /// What it owes, in the company's own currency; negative where it has credit.
    outstanding_balance: Option<Money>,
    /// The numbers of its licences.
    licenses: Vec<String>,
    /// When it was made at Distru.
    created_on: Option<Timestamp>,
    /// The last change.
    modified: Option<Timestamp>,
    /// When it was deleted, if it was.
    deleted_on: Option<Timestamp>,
    /// The company as Distru wrote it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<serde_json::Value>")]
    raw: Option<Box<RawValue>>,
}

pub(crate) fn list(input: ListInput, cursor: Option<Cursor>) -> Result<Page<Company>, Error> {
    let first = listing::sized(Request::get("{api}/companies"), input.limit);
    let first = listing::since(first, "updated_datetime", input.since)
        .query_some("name", input.name.as_deref())
        .query_some("deleted", input.deleted.then_some("include"));
    listing::list(cursor, first, |record| company(record, input.raw))
}

pub(crate) fn find(input: FindInput) -> Result<Company, Error> {
    let request = Request::get(format!("{{api}}/companies/{}", segment("/id", &input.id)?));
    listing::one(request, |record| company(record, input.raw))
}

fn company(record: &Record, with_raw: bool) -> Result<Company, Error> {
    let mut licenses = Vec::new();
    for license in record.parts("licenses") {
        licenses.extend(license.settle(license.text("license_number"))?);
    }
    record.settle(Company {
        id: record.needed("id"),
        name: record.text("name"),
        // Never set, it is an empty text.
        legal_name: record.text("legal_business_name").filter(|name| !name.is_empty()),
        category: record.text("category"),
        relationship: record.text_of("relationship_type", "name"),
        outstanding_balance: record.money("outstanding_balance"),
        licenses,
        created_on: record.time("inserted_datetime"),
        modified: record.time("updated_datetime"),
        deleted_on: record.time("deleted_at"),
        raw: record.raw(with_raw),
    })
}
