//! Batches: lots that were made or received.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::value::RawValue;
use wharfage_sdk::{Cursor, Error, Page, Request, Timestamp};

use crate::listing;
use crate::record::Record;

wharfage_sdk::input! {
    /// Which batches.
    pub(crate) struct ListInput {
        /// Only those that were changed at or after this time.
        #[serde(default)]
        since: Option<Timestamp>,
        /// Only of these products, by id.
        #[serde(default)]
        product_ids: Vec<String>,
        /// Only those with one of these numbers, exactly as they are written.
        #[serde(default)]
        batch_numbers: Vec<String>,
        /// How many to a page, where Distru still heeds it.
        #[serde(default)]
        #[schemars(range(min = 1, max = 500))]
        limit: Option<u32>,
        /// Also each batch as Distru wrote it.
        #[serde(default)]
        raw: bool,
    }
}

/// A batch.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Batch {
    /// Distru's id.
    id: String,
    /// Its number.
    batch_number: Option<String>,
    /// Its name.
    name: Option<String>,
    /// The product's id.
    product_id: Option<String>,
    /// How much is left of it, as decimal text.
    on_hand: Option<String>,
    /// When it was made.
    manufactured_on: Option<Timestamp>,
    /// The day it expires, as `2027-04-12`.
    expires: Option<String>,
    /// When it was deleted, if it was.
    deleted_on: Option<Timestamp>,
    /// The batch as Distru wrote it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<serde_json::Value>")]
    raw: Option<Box<RawValue>>,
}

pub(crate) fn list(input: ListInput, cursor: Option<Cursor>) -> Result<Page<Batch>, Error> {
    let first = listing::sized(Request::get("{api}/batches"), input.limit);
    let first = listing::since(first, "updated_datetime", input.since);
    let first = listing::any_of(first, "product_ids[]", &input.product_ids);
    let first = listing::any_of(first, "batch_numbers[]", &input.batch_numbers);
    listing::list(cursor, first, |record| batch(record, input.raw))
}

fn batch(record: &Record, with_raw: bool) -> Result<Batch, Error> {
    let product_id = record.text("product_id");
    record.settle(Batch {
        id: record.needed("id"),
        batch_number: record.text("batch_number"),
        name: record.text("name"),
        product_id: if product_id.is_some() { product_id } else { record.text_of("product", "id") },
        on_hand: record.text("quantity_active"),
        manufactured_on: record.time("manufactured_datetime"),
        expires: record.first_text(["expiration_date", "expiration_datetime"]),
        deleted_on: record.time("deleted_at"),
        raw: record.raw(with_raw),
    })
}
