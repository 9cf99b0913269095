//! Packages: what carries a tag of the state's tracking system. They are read only here.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::value::RawValue;
use wharfage_sdk::{Cursor, Error, Page, Request, Timestamp};

use crate::listing;
use crate::record::Record;

wharfage_sdk::input! {
    /// Which packages.
    pub(crate) struct ListInput {
        /// Only those that were changed at or after this time.
        #[serde(default)]
        since: Option<Timestamp>,
        /// Only of these products, by id.
        #[serde(default)]
        product_ids: Vec<String>,
        /// Only at these locations, by id.
        #[serde(default)]
        location_ids: Vec<String>,
        /// Only in one of these statuses, as `ACTIVE`, `SELLING` or `FINISHED`. One that Distru does not know matches nothing.
        #[serde(default)]
        statuses: Vec<String>,
        /// How many to a page, where Distru still heeds it.
        #[serde(default)]
        #[schemars(range(min = 1, max = 500))]
        limit: Option<u32>,
        /// Also each package as Distru wrote it.
        #[serde(default)]
        raw: bool,
    }
}

/// A package.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Package {
    /// Distru's id.
    id: String,
    /// The tag of the state's tracking system.
    label: Option<String>,
    /// The product's id.
    product_id: Option<String>,
    /// The batch number.
    batch_number: Option<String>,
    /// How much is in it, as decimal text.
    quantity: Option<String>,
    /// How much of it can be used now, as decimal text.
    available: Option<String>,
    /// What it is measured in.
    unit: Option<String>,
    /// Where it stands, as `active`: Distru writes it in lower case here.
    status: Option<String>,
    /// The name of the location.
    location: Option<String>,
    /// How its test went, as `TestPassed`.
    lab_state: Option<String>,
    /// The day it expires, as `2027-04-12`.
    expires: Option<String>,
    /// The package as Distru wrote it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<serde_json::Value>")]
    raw: Option<Box<RawValue>>,
}

pub(crate) fn list(input: ListInput, cursor: Option<Cursor>) -> Result<Page<Package>, Error> {
    let first = listing::sized(Request::get("{api}/packages"), input.limit);
    let first = listing::since(first, "updated_datetime", input.since);
    let first = listing::any_of(first, "product_ids[]", &input.product_ids);
    let first = listing::any_of(first, "location_ids[]", &input.location_ids);
    let first = listing::any_of(first, "distru_statuses[]", &input.statuses);
    listing::list(cursor, first, |record| package(record, input.raw))
}

fn package(record: &Record, with_raw: bool) -> Result<Package, Error> {
    let product_id = record.text("product_id");
    record.settle(Package {
        id: record.needed("id"),
        label: record.first_text(["compliance_label", "metrc_label"]),
        product_id: if product_id.is_some() { product_id } else { record.text_of("product", "id") },
        batch_number: record.text("batch_number"),
        quantity: record.text("quantity"),
        available: record.text("quantity_available"),
        unit: record.text_of("unit_type", "name"),
        status: record.text("status"),
        location: record.text_of("location", "name"),
        lab_state: record.text("lab_testing_state"),
        expires: record.first_text(["expiration_date", "expiration_datetime"]),
        raw: record.raw(with_raw),
    })
}
