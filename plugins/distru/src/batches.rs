//! Batches: lots that were made or received.

use serde_json::value::RawValue;
use wharfage_sdk::{Cursor, Error, Page, Request, Timestamp};

use crate::listing;
use crate::record::{Picked, Wanted, record};

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

record! {
    /// A batch.
    Batch {
        /// Distru's id.
        id: String = "id",
        /// Its number.
        batch_number: Option<String> = "batch_number",
        /// Its name.
        name: Option<String> = "name",
        /// The product's id.
        product_id: Option<String> = "product_id|product/id",
        /// How much is left of it, as decimal text.
        on_hand: Option<String> = "quantity_active",
        /// When it was made.
        manufactured_on: Option<Timestamp> = "manufactured_datetime",
        /// The day it expires, as `2027-04-12`.
        expires: Option<String> = "expiration_date|expiration_datetime",
        /// When it was deleted, if it was.
        deleted_on: Option<Timestamp> = "deleted_at",
        /// The batch as Distru wrote it.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(with = "Option<serde_json::Value>")]
        raw: Option<Box<RawValue>> = "",
    }
}

pub(crate) fn list(input: ListInput, cursor: Option<Cursor>) -> Result<Page<Picked<Batch>>, Error> {
    let first = listing::sized(Request::get("{api}/batches"), input.limit);
    let first = listing::since(first, "updated_datetime", input.since);
    let first = listing::any_of(first, "product_ids[]", &input.product_ids);
    let first = listing::any_of(first, "batch_numbers[]", &input.batch_numbers);
    listing::list(cursor, first, Wanted { raw: input.raw, lines: false })
}
