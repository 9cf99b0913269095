//! Invoices: drafted, finalized (from then on a document with a number), paid or voided. And the lines of drafts.

use std::collections::BTreeMap;

use serde_json::Value;
use wharfage_sdk::money::Money;
use wharfage_sdk::{Cursor, Error, Page, Timestamp};

use crate::fields::Fields;
use crate::inputs::{FindInput, SearchInput, list_input, words};
use crate::record::{self, Id, Picked, record};
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

wharfage_sdk::input! {
    /// A new draft.
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
}

wharfage_sdk::input! {
    /// A draft that becomes a document.
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
}

wharfage_sdk::input! {
    /// A line for an invoice.
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
}

record! {
    /// An invoice.
    Invoice {
        /// Its id, as `in_…`.
        id: String = "/id",
        /// Its number, once it is finalized.
        number: Option<String> = "/number",
        /// `draft`, `open`, `paid`, `uncollectible` or `void`.
        status: Option<String> = "/status",
        /// The customer's id.
        customer: Option<Id> = "/customer",
        /// The customer's name as it stands on it.
        customer_name: Option<String> = "/customer_name",
        /// The subscription's id, where it is of one.
        subscription: Option<Id> = "/parent/subscription_details/subscription",
        /// Why it was made, as `manual` or `subscription_cycle`.
        billing_reason: Option<String> = "/billing_reason",
        /// What it comes to, with taxes and after discounts.
        total: Option<Money> = "/total",
        /// What of it is to be paid, after the customer's balance.
        amount_due: Option<Money> = "/amount_due",
        /// What was paid.
        amount_paid: Option<Money> = "/amount_paid",
        /// What is left to pay.
        amount_remaining: Option<Money> = "/amount_remaining",
        /// `charge_automatically` or `send_invoice`.
        collection_method: Option<String> = "/collection_method",
        /// Whether Stripe goes on with it by itself.
        auto_advance: Option<bool> = "/auto_advance",
        /// When it was made.
        created: Option<Timestamp> = "/created",
        /// When it is due.
        due_date: Option<Timestamp> = "/due_date",
        /// When it was finalized.
        finalized_at: Option<Timestamp> = "/status_transitions/finalized_at",
        /// When it was paid.
        paid_at: Option<Timestamp> = "/status_transitions/paid_at",
        /// The page on which it is seen and paid, by everybody who knows the address.
        hosted_invoice_url: Option<String> = "/hosted_invoice_url",
        /// Its PDF, for everybody who knows the address.
        invoice_pdf: Option<String> = "/invoice_pdf",
        /// Whether the money is real, and not of a sandbox.
        livemode: Option<bool> = "/livemode",
        /// Your own notes.
        metadata: BTreeMap<String, String> = "/metadata",
        /// The object as Stripe wrote it.
        #[serde(skip_serializing_if = "Option::is_none")]
        raw: Option<Value> = "?",
    }
}

record! {
    /// A line of an invoice, or one that waits for it.
    Item {
        /// Its id, as `ii_…`.
        id: String = "/id",
        /// The customer's id.
        customer: Option<Id> = "/customer",
        /// The invoice that it is on.
        invoice: Option<Id> = "/invoice",
        /// What it costs in all.
        amount: Option<Money> = "/amount",
        /// How many.
        quantity: Option<u64> = "/quantity",
        /// What it is.
        description: Option<String> = "/description",
        /// When it was made.
        created: Option<Timestamp> = "/date",
        /// Your own notes.
        metadata: BTreeMap<String, String> = "/metadata",
    }
}

pub(crate) fn list(input: ListInput, cursor: Option<Cursor>) -> Result<Page<Picked<Invoice>>, Error> {
    let fields = Fields::new()
        .text("customer", input.customer.as_deref())
        .text("subscription", input.subscription.as_deref())
        .text("status", input.status.map(Status::word));
    api::list("/invoices", fields, &input.paging(), cursor)
}

pub(crate) fn search(input: SearchInput, cursor: Option<Cursor>) -> Result<Page<Picked<Invoice>>, Error> {
    api::search("/invoices/search", input.query(), &input.paging(), cursor)
}

pub(crate) fn find(input: FindInput) -> Result<Picked<Invoice>, Error> {
    let response = api::read(&api::path(["/invoices/", ""], &input.id)?, input.account.as_deref())?;
    record::picked(&response, record::raw(input.raw))
}

pub(crate) fn create(input: CreateInput) -> Result<Picked<Invoice>, Error> {
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
    record::picked(&api::write("/invoices", fields, input.account.as_deref())?, "")
}

pub(crate) fn finalize(input: FinalizeInput) -> Result<Picked<Invoice>, Error> {
    let fields = Fields::new().flag("auto_advance", input.auto_advance);
    let path = api::path(["/invoices/", "/finalize"], &input.id)?;
    record::picked(&api::write(&path, fields, input.account.as_deref())?, "")
}

pub(crate) fn create_item(input: CreateItemInput) -> Result<Picked<Item>, Error> {
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
    record::picked(&api::write("/invoiceitems", fields, input.account.as_deref())?, "")
}
