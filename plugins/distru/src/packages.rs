//! Packages: what carries a tag of the state's tracking system. They are read only here.

use serde_json::value::RawValue;
use wharfage_sdk::{Cursor, Error, Page, Request, Timestamp};

use crate::listing;
use crate::record::{Picked, Wanted, record};

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

record! {
    /// A package.
    Package {
        /// Distru's id.
        id: String = "id",
        /// The tag of the state's tracking system.
        label: Option<String> = "compliance_label|metrc_label",
        /// The product's id.
        product_id: Option<String> = "product_id|product/id",
        /// The batch number.
        batch_number: Option<String> = "batch_number",
        /// How much is in it, as decimal text.
        quantity: Option<String> = "quantity",
        /// How much of it can be used now, as decimal text.
        available: Option<String> = "quantity_available",
        /// What it is measured in.
        unit: Option<String> = "unit_type/name",
        /// Where it stands, as `active`: Distru writes it in lower case here.
        status: Option<String> = "status",
        /// The name of the location.
        location: Option<String> = "location/name",
        /// How its test went, as `TestPassed`.
        lab_state: Option<String> = "lab_testing_state",
        /// The day it expires, as `2027-04-12`.
        expires: Option<String> = "expiration_date|expiration_datetime",
        /// The package as Distru wrote it.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(with = "Option<serde_json::Value>")]
        raw: Option<Box<RawValue>> = "",
    }
}

pub(crate) fn list(input: ListInput, cursor: Option<Cursor>) -> Result<Page<Picked<Package>>, Error> {
    let first = listing::sized(Request::get("{api}/packages"), input.limit);
    let first = listing::since(first, "updated_datetime", input.since);
    let first = listing::any_of(first, "product_ids[]", &input.product_ids);
    let first = listing::any_of(first, "location_ids[]", &input.location_ids);
    let first = listing::any_of(first, "distru_statuses[]", &input.statuses);
    listing::list(cursor, first, Wanted { raw: input.raw, lines: false })
}
