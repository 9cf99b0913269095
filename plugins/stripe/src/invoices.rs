//! Invoices: drafted, finalized (from then on a document with a number), paid or voided. And the lines of drafts.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use wharfage_sdk::money::Money;
use wharfage_sdk::{Cursor, Error, Page, Timestamp};

use crate::fields::Fields;
use crate::inputs::{FindInput, SearchInput, list_input, words};
use crate::record::Record;
use crate::{api, currency};

list_input! {
    /// Which invoices.
    ListInput {
        /// Only those of this customer, as `cus_…`.
        customer: Option<String>,
        /// Only those of this subscription, as `sub_…`.
        subscription: Option<String>,
        /// Only those in this status.
        status: Option<Status>,
    }
}

words! {
    /// Where an invoice stands.
    Status {
        /// It can still be changed.
        Draft "draft",
        /// It waits for its payment.
        Open "open",
        /// It is paid.
        Paid "paid",
        /// Nobody expects its payment any more.
        Uncollectible "uncollectible",
        /// It is not valid any more.
        Void "void",
    }
}

words! {
    /// How an invoice is paid.
    CollectionMethod {
        /// With the customer's payment method.
        ChargeAutomatically "charge_automatically",
        /// The customer gets it by e-mail and pays.
        SendInvoice "send_invoice",
    }
}

words! {
    /// What becomes of the customer's lines that wait for an invoice.
    PendingItems {
        /// They come onto this one.
        Include "include",
        /// They go on waiting.
        Exclude "exclude",
    }
}

/// A new draft.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateInput {
    /// The customer's id, as `cus_…`.
    customer: String,
    /// The currency in three letters, as `EUR`; without it, the customer's or the account's own.
    #[serde(default)]
    currency: Option<String>,
    /// Whose invoice it is beside the regular ones, as `sub_…`.
    #[serde(default)]
    subscription: Option<String>,
    /// A note on it that the customer sees.
    #[serde(default)]
    description: Option<String>,
    /// What stands at its end.
    #[serde(default)]
    footer: Option<String>,
    /// How it is paid; with the customer's payment method where nothing is said.
    #[serde(default)]
    collection_method: Option<CollectionMethod>,
    /// Days until it is due; needs `send_invoice`, and not `due_date`.
    #[serde(default)]
    days_until_due: Option<u32>,
    /// When it is due; needs `send_invoice`, and not `days_until_due`.
    #[serde(default)]
    due_date: Option<Timestamp>,
    /// Whether Stripe finalizes and collects it by itself, about an hour later. Without it, no.
    #[serde(default)]
    auto_advance: Option<bool>,
    /// What becomes of lines that wait; they go on waiting where nothing is said.
    #[serde(default)]
    pending_items: Option<PendingItems>,
    /// Your own notes: up to 50, names of up to 40 characters and values of up to 500.
    #[serde(default)]
    metadata: BTreeMap<String, String>,
    /// The connected account, as `acct_…`; without it, the key's own account.
    #[serde(default)]
    account: Option<String>,
}

/// A draft that becomes a document.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FinalizeInput {
    /// Its id, as `in_…`.
    id: String,
    /// Whether Stripe collects it by itself from now on.
    #[serde(default)]
    auto_advance: Option<bool>,
    /// The connected account, as `acct_…`; without it, the key's own account.
    #[serde(default)]
    account: Option<String>,
}

/// A line for an invoice.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateItemInput {
    /// The customer's id, as `cus_…`.
    customer: String,
    /// The draft that it comes onto, as `in_…`; without it, it waits for the customer's next invoice.
    #[serde(default)]
    invoice: Option<String>,
    /// What it costs in all, as `{"amount": "10.99", "currency": "EUR"}`; or say `price`.
    #[serde(default)]
    amount: Option<Money>,
    /// A price of the account, as `price_…`; or say `amount`.
    #[serde(default)]
    price: Option<String>,
    /// How many of the price; one where nothing is said.
    #[serde(default)]
    quantity: Option<u32>,
    /// What it is; the customer sees it.
    #[serde(default)]
    description: Option<String>,
    /// Your own notes: up to 50, names of up to 40 characters and values of up to 500.
    #[serde(default)]
    metadata: BTreeMap<String, String>,
    /// The connected account, as `acct_…`; without it, the key's own account.
    #[serde(default)]
    account: Option<String>,
}

/// An invoice.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Invoice {
    /// Its id, as `in_…`.
    id: String,
    /// Its number, once it is finalized.
    number: Option<String>,
    /// `draft`, `open`, `paid`, `uncollectible` or `void`.
    status: Option<String>,
    /// The customer's id.
    customer: Option<String>,
    /// The customer's name as it stands on it.
    customer_name: Option<String>,
    /// The subscription's id, where it is of one.
    subscription: Option<String>,
    /// Why it was made, as `manual` or `subscription_cycle`.
    billing_reason: Option<String>,
    /// What it comes to, with taxes and after discounts.
    total: Option<Money>,
    /// What of it is to be paid, after the customer's balance.
    amount_due: Option<Money>,
    /// What was paid.
    amount_paid: Option<Money>,
    /// What is left to pay.
    amount_remaining: Option<Money>,
    /// `charge_automatically` or `send_invoice`.
    collection_method: Option<String>,
    /// Whether Stripe goes on with it by itself.
    auto_advance: Option<bool>,
    /// When it was made.
    created: Option<Timestamp>,
    /// When it is due.
    due_date: Option<Timestamp>,
    /// When it was finalized.
    finalized_at: Option<Timestamp>,
    /// When it was paid.
    paid_at: Option<Timestamp>,
    /// The page on which it is seen and paid, by everybody who knows the address.
    hosted_invoice_url: Option<String>,
    /// Its PDF, for everybody who knows the address.
    invoice_pdf: Option<String>,
    /// Whether the money is real, and not of a sandbox.
    livemode: Option<bool>,
    /// Your own notes.
    metadata: BTreeMap<String, String>,
    /// The object as Stripe wrote it.
    #[serde(skip_serializing_if = "Option::is_none")]
    raw: Option<Value>,
}

/// A line of an invoice, or one that waits for it.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Item {
    /// Its id, as `ii_…`.
    id: String,
    /// The customer's id.
    customer: Option<String>,
    /// The invoice that it is on.
    invoice: Option<String>,
    /// What it costs in all.
    amount: Option<Money>,
    /// How many.
    quantity: Option<u64>,
    /// What it is.
    description: Option<String>,
    /// When it was made.
    created: Option<Timestamp>,
    /// Your own notes.
    metadata: BTreeMap<String, String>,
}

pub(crate) fn list(input: ListInput, cursor: Option<Cursor>) -> Result<Page<Invoice>, Error> {
    let fields = Fields::new()
        .text("customer", input.customer.as_deref())
        .text("subscription", input.subscription.as_deref())
        .text("status", input.status.map(Status::word));
    api::list("/invoices", fields, &input.paging(), cursor, invoice)
}

pub(crate) fn search(input: SearchInput, cursor: Option<Cursor>) -> Result<Page<Invoice>, Error> {
    api::search("/invoices/search", input.query(), &input.paging(), cursor, invoice)
}

pub(crate) fn find(input: FindInput) -> Result<Invoice, Error> {
    let response = api::read(&api::path(["/invoices/", ""], &input.id)?, input.account.as_deref())?;
    invoice(&Record::whole(&response)?, input.raw)
}

pub(crate) fn create(input: CreateInput) -> Result<Invoice, Error> {
    let currency = input.currency.map(|currency| currency.to_ascii_lowercase());
    let fields = Fields::new()
        .text("customer", Some(&input.customer))
        .text("currency", currency.as_deref())
        .text("subscription", input.subscription.as_deref())
        .text("description", input.description.as_deref())
        .text("footer", input.footer.as_deref())
        .text("collection_method", input.collection_method.map(CollectionMethod::word))
        .number("days_until_due", input.days_until_due)
        .moment("due_date", input.due_date)
        .flag("auto_advance", Some(input.auto_advance.unwrap_or(false)))
        .text("pending_invoice_items_behavior", input.pending_items.map(PendingItems::word))
        .entries("metadata", &input.metadata);
    invoice(&Record::whole(&api::write("/invoices", fields, input.account.as_deref())?)?, false)
}

pub(crate) fn finalize(input: FinalizeInput) -> Result<Invoice, Error> {
    let fields = Fields::new().flag("auto_advance", input.auto_advance);
    let path = api::path(["/invoices/", "/finalize"], &input.id)?;
    invoice(&Record::whole(&api::write(&path, fields, input.account.as_deref())?)?, false)
}

pub(crate) fn create_item(input: CreateItemInput) -> Result<Item, Error> {
    let (units, currency) = match (&input.amount, &input.price) {
        (Some(amount), None) => {
            let (units, currency) = currency::sent("/amount", amount)?;
            (Some(units), Some(currency))
        }
        (None, Some(_)) => (None, None),
        _ => return Err(Error::invalid_request("/amount", "expected either an amount or a price")),
    };
    if input.quantity.is_some() && input.price.is_none() {
        return Err(Error::invalid_request(
            "/quantity",
            "expected only with a price: an amount is that of all together",
        ));
    }
    let fields = Fields::new()
        .text("customer", Some(&input.customer))
        .text("invoice", input.invoice.as_deref())
        .text("amount", units.as_deref())
        .text("currency", currency.as_deref())
        .text("pricing[price]", input.price.as_deref())
        .number("quantity", input.quantity)
        .text("description", input.description.as_deref())
        .entries("metadata", &input.metadata);
    let response = api::write("/invoiceitems", fields, input.account.as_deref())?;
    let record = Record::whole(&response)?;
    Ok(Item {
        id: record.need("/id")?,
        customer: record.id_of("/customer"),
        invoice: record.id_of("/invoice"),
        amount: record.money("/amount")?,
        quantity: record.count("/quantity"),
        description: record.text("/description"),
        created: record.time("/date"),
        metadata: record.metadata(),
    })
}

fn invoice(record: &Record<'_>, with_raw: bool) -> Result<Invoice, Error> {
    Ok(Invoice {
        id: record.need("/id")?,
        number: record.text("/number"),
        status: record.text("/status"),
        customer: record.id_of("/customer"),
        customer_name: record.text("/customer_name"),
        subscription: record.id_of("/parent/subscription_details/subscription"),
        billing_reason: record.text("/billing_reason"),
        total: record.money("/total")?,
        amount_due: record.money("/amount_due")?,
        amount_paid: record.money("/amount_paid")?,
        amount_remaining: record.money("/amount_remaining")?,
        collection_method: record.text("/collection_method"),
        auto_advance: record.flag("/auto_advance"),
        created: record.time("/created"),
        due_date: record.time("/due_date"),
        finalized_at: record.time("/status_transitions/finalized_at"),
        paid_at: record.time("/status_transitions/paid_at"),
        hosted_invoice_url: record.text("/hosted_invoice_url"),
        invoice_pdf: record.text("/invoice_pdf"),
        livemode: record.flag("/livemode"),
        metadata: record.metadata(),
        raw: record.raw(with_raw),
    })
}
