//! Refunds: money that goes back.

use std::collections::BTreeMap;

use serde_json::Value;
use wharfage_sdk::money::Money;
use wharfage_sdk::{Cursor, Error, Page, Timestamp};

use crate::fields::Fields;
use crate::inputs::{FindInput, list_input, words};
use crate::record::{self, Id, Picked, Record, record};
use crate::{api, currency};

list_input! {
    /// Which refunds.
    ListInput {
        /// Only those of this charge, as `ch_…`.
        charge: Option<String>,
        /// Only those of this payment intent, as `pi_…`.
        payment_intent: Option<String>,
    }
}

words! {
    /// Why money goes back.
    Reason {
        /// It was paid twice.
        Duplicate "duplicate",
        /// Somebody cheated.
        Fraudulent "fraudulent",
        /// The customer asked for it.
        RequestedByCustomer "requested_by_customer",
    }
}

wharfage_sdk::input! {
    /// What is given back.
    pub(crate) struct CreateInput {
        /// Of which payment intent, as `pi_…`; or say `charge`.
        #[serde(default)]
        payment_intent: Option<String>,
        /// Of which charge, as `ch_…`; or say `payment_intent`.
        #[serde(default)]
        charge: Option<String>,
        /// How much, as `{"amount": "5.00", "currency": "EUR"}`; without it, all that is left. The payment's currency is looked up
        /// first, and another one is refused.
        #[serde(default)]
        amount: Option<Money>,
        /// Why.
        #[serde(default)]
        reason: Option<Reason>,
        /// Whether what a connected account got of it comes back too.
        #[serde(default)]
        reverse_transfer: Option<bool>,
        /// Whether the platform's fee comes back too.
        #[serde(default)]
        refund_application_fee: Option<bool>,
        /// Your own notes: up to 50, names of up to 40 characters and values of up to 500.
        #[serde(default)]
        metadata: BTreeMap<String, String>,
        /// The connected account, as `acct_…`; without it, the key's own account.
        #[serde(default)]
        account: Option<String>,
    }
}

record! {
    /// A refund.
    Refund {
        /// Its id, as `re_…` or `pyr_…`.
        id: String = "/id",
        /// How much goes back.
        amount: Option<Money> = "/amount",
        /// `pending`, `requires_action`, `succeeded`, `failed` or `canceled`.
        status: Option<String> = "/status",
        /// The charge's id.
        charge: Option<Id> = "/charge",
        /// The payment intent's id.
        payment_intent: Option<Id> = "/payment_intent",
        /// Why.
        reason: Option<String> = "/reason",
        /// Why it failed, as `expired_or_canceled_card`.
        failure_reason: Option<String> = "/failure_reason",
        /// When it was made.
        created: Option<Timestamp> = "/created",
        /// Your own notes.
        metadata: BTreeMap<String, String> = "/metadata",
        /// The object as Stripe wrote it.
        #[serde(skip_serializing_if = "Option::is_none")]
        raw: Option<Value> = "?",
    }
}

pub(crate) fn list(input: ListInput, cursor: Option<Cursor>) -> Result<Page<Picked<Refund>>, Error> {
    let fields =
        Fields::new().text("charge", input.charge.as_deref()).text("payment_intent", input.payment_intent.as_deref());
    api::list("/refunds", fields, &input.paging(), cursor)
}

pub(crate) fn find(input: FindInput) -> Result<Picked<Refund>, Error> {
    let response = api::read(&api::path(["/refunds/", ""], &input.id)?, input.account.as_deref())?;
    record::picked(&response, record::raw(input.raw))
}

/// Gives money back.
///
/// Stripe takes a bare number here and reads it in the payment's currency: 500 is five dollars of one payment and five
/// hundred yen of another. So the payment says its currency first.
pub(crate) fn create(input: CreateInput) -> Result<Picked<Refund>, Error> {
    let account = input.account.as_deref();
    let payment = match (&input.payment_intent, &input.charge) {
        (Some(id), None) => api::path(["/payment_intents/", ""], id)?,
        (None, Some(id)) => api::path(["/charges/", ""], id)?,
        _ => return Err(Error::invalid_request("/payment_intent", "expected either a payment intent or a charge")),
    };
    let units = match &input.amount {
        None => None,
        Some(amount) => {
            let (units, wanted) = currency::sent("/amount", amount)?;
            let response = api::read(&payment, account)?;
            if Record::whole(&response)?.need("/currency")? != wanted {
                return Err(Error::invalid_request("/amount/currency", "expected the currency of the payment"));
            }
            Some(units)
        }
    };
    let fields = Fields::new()
        .text("payment_intent", input.payment_intent.as_deref())
        .text("charge", input.charge.as_deref())
        .text("amount", units.as_deref())
        .text("reason", input.reason.map(Reason::word))
        .flag("reverse_transfer", input.reverse_transfer)
        .flag("refund_application_fee", input.refund_application_fee)
        .entries("metadata", &input.metadata);
    record::picked(&api::write("/refunds", fields, account)?, "")
}
