//! Charges: single attempts to move money. A payment intent may have several; a refund gives one back.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use wharfage_sdk::money::Money;
use wharfage_sdk::{Cursor, Error, Page, Timestamp};

use crate::api;
use crate::fields::Fields;
use crate::inputs::{FindInput, SearchInput, list_input};
use crate::record::Record;

list_input! {
    /// Which charges.
    ListInput {
        /// Only those of this customer, as `cus_…`.
        customer: Option<String>,
        /// Only those of this payment intent, as `pi_…`.
        payment_intent: Option<String>,
    }
}

/// A charge.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Charge {
    /// Its id, as `ch_…` or `py_…`.
    id: String,
    /// What was charged.
    amount: Option<Money>,
    /// What of it was given back so far.
    amount_refunded: Option<Money>,
    /// `succeeded`, `pending` or `failed`.
    status: Option<String>,
    /// Whether the money was authorized or moved.
    paid: Option<bool>,
    /// Whether it moved, and was not only authorized.
    captured: Option<bool>,
    /// Whether all of it was given back.
    refunded: Option<bool>,
    /// Whether the payer disputes it.
    disputed: Option<bool>,
    /// The customer's id.
    customer: Option<String>,
    /// The payment intent's id.
    payment_intent: Option<String>,
    /// The kind of payment method, as `card`.
    method: Option<String>,
    /// The card's brand, as `visa`.
    card_brand: Option<String>,
    /// The card's last four digits.
    card_last4: Option<String>,
    /// What it is for.
    description: Option<String>,
    /// Why it failed, as `card_declined`.
    failure_code: Option<String>,
    /// When it was made.
    created: Option<Timestamp>,
    /// Whether the money is real, and not of a sandbox.
    livemode: Option<bool>,
    /// Your own notes.
    metadata: BTreeMap<String, String>,
    /// The object as Stripe wrote it.
    #[serde(skip_serializing_if = "Option::is_none")]
    raw: Option<Value>,
}

pub(crate) fn list(input: ListInput, cursor: Option<Cursor>) -> Result<Page<Charge>, Error> {
    let fields = Fields::new()
        .text("customer", input.customer.as_deref())
        .text("payment_intent", input.payment_intent.as_deref());
    api::list("/charges", fields, &input.paging(), cursor, charge)
}

pub(crate) fn search(input: SearchInput, cursor: Option<Cursor>) -> Result<Page<Charge>, Error> {
    api::search("/charges/search", input.query(), &input.paging(), cursor, charge)
}

pub(crate) fn find(input: FindInput) -> Result<Charge, Error> {
    let response = api::read(&api::path(["/charges/", ""], &input.id)?, input.account.as_deref())?;
    charge(&Record::whole(&response)?, input.raw)
}

fn charge(record: &Record<'_>, with_raw: bool) -> Result<Charge, Error> {
    Ok(Charge {
        id: record.need("/id")?,
        amount: record.money("/amount")?,
        amount_refunded: record.money("/amount_refunded")?,
        status: record.text("/status"),
        paid: record.flag("/paid"),
        captured: record.flag("/captured"),
        refunded: record.flag("/refunded"),
        disputed: record.flag("/disputed"),
        customer: record.id_of("/customer"),
        payment_intent: record.id_of("/payment_intent"),
        method: record.text("/payment_method_details/type"),
        card_brand: record.text("/payment_method_details/card/brand"),
        card_last4: record.text("/payment_method_details/card/last4"),
        description: record.text("/description"),
        failure_code: record.text("/failure_code"),
        created: record.time("/created"),
        livemode: record.flag("/livemode"),
        metadata: record.metadata(),
        raw: record.raw(with_raw),
    })
}
