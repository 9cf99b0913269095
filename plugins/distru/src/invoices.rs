//! Invoices, each of one sales order.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::value::RawValue;
use wharfage_sdk::http::segment;
use wharfage_sdk::money::Money;
use wharfage_sdk::{Cursor, Error, Page, Request, Timestamp};

use crate::record::Record;
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

/// An invoice. All amounts are in the company's own currency.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Invoice {
    /// Distru's id.
    id: String,
    /// Its number, as people know it.
    number: Option<String>,
    /// What is paid of it: `NOT_PAID`, `PARTIALLY_PAID`, `FULLY_PAID` or `OVER_PAID`.
    status: Option<String>,
    /// The order's id.
    order_id: Option<String>,
    /// The order's number.
    order_number: Option<String>,
    /// The customer's id.
    customer_id: Option<String>,
    /// The customer's name.
    customer_name: Option<String>,
    /// What it comes to.
    total: Option<Money>,
    /// What is paid.
    paid: Option<Money>,
    /// What remains; negative where too much was paid.
    remaining: Option<Money>,
    /// The date on it.
    invoiced_on: Option<Timestamp>,
    /// When it is to be paid.
    due_on: Option<Timestamp>,
    /// When it was voided, if it was.
    voided_on: Option<Timestamp>,
    /// When it was made at Distru.
    created_on: Option<Timestamp>,
    /// The last change.
    modified: Option<Timestamp>,
    /// The invoice as Distru wrote it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<serde_json::Value>")]
    raw: Option<Box<RawValue>>,
}

pub(crate) fn list(input: ListInput, cursor: Option<Cursor>) -> Result<Page<Invoice>, Error> {
    let first = listing::sized(Request::get("{api}/invoices"), input.limit);
    let first = listing::since(first, "updated_datetime", input.since)
        .query_some("company_ids[]", input.customer_id.as_deref())
        .query_some("order_ids[]", input.order_id.as_deref());
    listing::list(cursor, first, |record| invoice(record, input.raw))
}

pub(crate) fn find(input: FindInput) -> Result<Invoice, Error> {
    let request = Request::get(format!("{{api}}/invoices/{}", segment("/id", &input.id)?));
    listing::one(request, |record| invoice(record, input.raw))
}

fn invoice(record: &Record, with_raw: bool) -> Result<Invoice, Error> {
    record.settle(Invoice {
        id: record.needed("id"),
        number: record.text("invoice_number"),
        status: record.text("status"),
        order_id: record.text_of("order", "id"),
        order_number: record.text_of("order", "order_number"),
        customer_id: record.text_of("company", "id"),
        customer_name: record.text_of("company", "name"),
        total: record.money("total"),
        paid: record.money("paid_amount"),
        remaining: record.money("remaining_amount"),
        invoiced_on: record.time("invoice_datetime"),
        due_on: record.time("due_datetime"),
        voided_on: record.time("voided_datetime"),
        created_on: record.time("inserted_datetime"),
        modified: record.time("updated_datetime"),
        raw: record.raw(with_raw),
    })
}
