//! Companies: customers, vendors and brands as the CRM knows them. Contact data stays out unless `raw` is asked for.

use serde_json::value::RawValue;
use wharfage_sdk::money::Money;
use wharfage_sdk::{Cursor, Error, Page, Request, Timestamp};

use crate::record::{Picked, Wanted, record};
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

record! {
    /// A company.
    Company {
        /// Distru's id; orders and invoices name it as `customer_id`.
        id: String = "id",
        /// The name.
        name: Option<String> = "name",
        /// The name it is registered under.
        legal_name: Option<String> = "legal_business_name?",
        /// What it is, as `Dispensary`.
        category: Option<String> = "category",
        /// What it is to you, in your own words.
        relationship: Option<String> = "relationship_type/name",
        /// What it owes, in the company's own currency; negative where it has credit.
        outstanding_balance: Option<Money> = "outstanding_balance",
        /// The numbers of its licences.
        licenses: Vec<String> = "licenses/license_number",
        /// When it was made at Distru.
        created_on: Option<Timestamp> = "inserted_datetime",
        /// The last change.
        modified: Option<Timestamp> = "updated_datetime",
        /// When it was deleted, if it was.
        deleted_on: Option<Timestamp> = "deleted_at",
        /// The company as Distru wrote it.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(with = "Option<serde_json::Value>")]
        raw: Option<Box<RawValue>> = "",
    }
}

pub(crate) fn list(input: ListInput, cursor: Option<Cursor>) -> Result<Page<Picked<Company>>, Error> {
    let first = listing::sized(Request::get("{api}/companies"), input.limit);
    let first = listing::since(first, "updated_datetime", input.since)
        .query_some("name", input.name.as_deref())
        .query_some("deleted", input.deleted.then_some("include"));
    listing::list(cursor, first, Wanted { raw: input.raw, lines: false })
}

pub(crate) fn find(input: FindInput) -> Result<Picked<Company>, Error> {
    listing::find("companies", &input)
}
