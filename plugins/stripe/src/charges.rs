//! Charges: single attempts to move money. A payment intent may have several; a refund gives one back.

use std::collections::BTreeMap;

use serde_json::Value;
use wharfage_sdk::money::Money;
use wharfage_sdk::{Cursor, Error, Page, Timestamp};

use crate::api;
use crate::fields::Fields;
use crate::inputs::{FindInput, SearchInput, list_input};
use crate::record::{self, Id, Picked, record};

list_input! {
    /// Which charges.
    ListInput {
        /// Only those of this customer, as `cus_…`.
        customer: Option<String>,
        /// Only those of this payment intent, as `pi_…`.
        payment_intent: Option<String>,
    }
}

record! {
    /// A charge.
    Charge {
        /// Its id, as `ch_…` or `py_…`.
        id: String = "/id",
        /// What was charged.
        amount: Option<Money> = "/amount",
        /// What of it was given back so far.
        amount_refunded: Option<Money> = "/amount_refunded",
        /// `succeeded`, `pending` or `failed`.
        status: Option<String> = "/status",
        /// Whether the money was authorized or moved.
        paid: Option<bool> = "/paid",
        /// Whether it moved, and was not only authorized.
        captured: Option<bool> = "/captured",
        /// Whether all of it was given back.
        refunded: Option<bool> = "/refunded",
        /// Whether the payer disputes it.
        disputed: Option<bool> = "/disputed",
        /// The customer's id.
        customer: Option<Id> = "/customer",
        /// The payment intent's id.
        payment_intent: Option<Id> = "/payment_intent",
        /// The kind of payment method, as `card`.
        method: Option<String> = "/payment_method_details/type",
        /// The card's brand, as `visa`.
        card_brand: Option<String> = "/payment_method_details/card/brand",
        /// The card's last four digits.
        card_last4: Option<String> = "/payment_method_details/card/last4",
        /// What it is for.
        description: Option<String> = "/description",
        /// Why it failed, as `card_declined`.
        failure_code: Option<String> = "/failure_code",
        /// When it was made.
        created: Option<Timestamp> = "/created",
        /// Whether the money is real, and not of a sandbox.
        livemode: Option<bool> = "/livemode",
        /// Your own notes.
        metadata: BTreeMap<String, String> = "/metadata",
        /// The object as Stripe wrote it.
        #[serde(skip_serializing_if = "Option::is_none")]
        raw: Option<Value> = "?",
    }
}

pub(crate) fn list(input: ListInput, cursor: Option<Cursor>) -> Result<Page<Picked<Charge>>, Error> {
    let fields = Fields::new()
        .text("customer", input.customer.as_deref())
        .text("payment_intent", input.payment_intent.as_deref());
    api::list("/charges", fields, &input.paging(), cursor)
}

pub(crate) fn search(input: SearchInput, cursor: Option<Cursor>) -> Result<Page<Picked<Charge>>, Error> {
    api::search("/charges/search", input.query(), &input.paging(), cursor)
}

pub(crate) fn find(input: FindInput) -> Result<Picked<Charge>, Error> {
    let response = api::read(&api::path(["/charges/", ""], &input.id)?, input.account.as_deref())?;
    record::picked(&response, record::raw(input.raw))
}
