//! Invoices, each of one sales order.

use serde_json::value::RawValue;
use wharfage_sdk::money::Money;
use wharfage_sdk::{Cursor, Error, Page, Request, Timestamp};

use crate::record::{Picked, Wanted, record};
use crate::{FindInput, listing};

wharfage_sdk::input! {
    /// Which invoices.
    pub(crate) struct ListInput {
        /// Only those that were changed at or after this time.
        #[serde(default)]
        since: Option<Timestamp>,
        /// Only those of this customer, by the company's id.
        #[serde(default)]
        customer_id: Option<String>,
        /// Only those of this order, by id.
        #[serde(default)]
        order_id: Option<String>,
        /// How many to a page, where Distru still heeds it.
        #[serde(default)]
        #[schemars(range(min = 1, max = 500))]
        limit: Option<u32>,
        /// Also each invoice as Distru wrote it, with its lines and payments.
        #[serde(default)]
        raw: bool,
    }
}

record! {
    /// An invoice. All amounts are in the company's own currency.
    Invoice {
        /// Distru's id.
        id: String = "id",
        /// Its number, as people know it.
        number: Option<String> = "invoice_number",
        /// What is paid of it: `NOT_PAID`, `PARTIALLY_PAID`, `FULLY_PAID` or `OVER_PAID`.
        status: Option<String> = "status",
        /// The order's id.
        order_id: Option<String> = "order/id",
        /// The order's number.
        order_number: Option<String> = "order/order_number",
        /// The customer's id.
        customer_id: Option<String> = "company/id",
        /// The customer's name.
        customer_name: Option<String> = "company/name",
        /// What it comes to.
        total: Option<Money> = "total",
        /// What is paid.
        paid: Option<Money> = "paid_amount",
        /// What remains; negative where too much was paid.
        remaining: Option<Money> = "remaining_amount",
        /// The date on it.
        invoiced_on: Option<Timestamp> = "invoice_datetime",
        /// When it is to be paid.
        due_on: Option<Timestamp> = "due_datetime",
        /// When it was voided, if it was.
        voided_on: Option<Timestamp> = "voided_datetime",
        /// When it was made at Distru.
        created_on: Option<Timestamp> = "inserted_datetime",
        /// The last change.
        modified: Option<Timestamp> = "updated_datetime",
        /// The invoice as Distru wrote it.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(with = "Option<serde_json::Value>")]
        raw: Option<Box<RawValue>> = "",
    }
}

pub(crate) fn list(input: ListInput, cursor: Option<Cursor>) -> Result<Page<Picked<Invoice>>, Error> {
    let first = listing::sized(Request::get("{api}/invoices"), input.limit);
    let first = listing::since(first, "updated_datetime", input.since)
        .query_some("company_ids[]", input.customer_id.as_deref())
        .query_some("order_ids[]", input.order_id.as_deref());
    listing::list(cursor, first, Wanted { raw: input.raw, lines: false })
}

pub(crate) fn find(input: FindInput) -> Result<Picked<Invoice>, Error> {
    listing::find("invoices", &input)
}
