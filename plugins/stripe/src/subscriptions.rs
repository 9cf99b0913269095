//! Subscriptions: prices that a customer pays again and again.

use std::collections::BTreeMap;

use serde_json::Value;
use wharfage_sdk::http::Method;
use wharfage_sdk::money::Money;
use wharfage_sdk::{Cursor, Error, ErrorKind, Page, Timestamp};

use crate::api;
use crate::fields::{Fields, nested};
use crate::inputs::{FindInput, SearchInput, list_input, words};
use crate::record::{self, Id, Picked, Record, record};

list_input! {
    /// Which subscriptions.
    ListInput {
        /// Only those of this customer, as `cus_…`.
        customer: Option<String>,
        /// Only those with this price, as `price_…`.
        price: Option<String>,
        /// Only those in this status; without it, all that are not canceled.
        status: Option<Status>,
    }
}

words! {
    /// Where a subscription stands.
    Status {
        /// It is paid and runs.
        Active "active",
        /// It runs and costs nothing yet.
        Trialing "trialing",
        /// Its latest invoice was not paid.
        PastDue "past_due",
        /// Its invoices are not paid, and nobody tries any more.
        Unpaid "unpaid",
        /// Its trial ended without a payment method.
        Paused "paused",
        /// Its first invoice is not paid yet.
        Incomplete "incomplete",
        /// Its first invoice was not paid in time.
        IncompleteExpired "incomplete_expired",
        /// It has ended.
        Canceled "canceled",
        /// It is canceled or its first invoice was not paid in time.
        Ended "ended",
        /// Every one.
        All "all",
    }
}

words! {
    /// How its invoices are paid.
    CollectionMethod {
        /// With the customer's payment method.
        ChargeAutomatically "charge_automatically",
        /// The customer gets them by e-mail and pays.
        SendInvoice "send_invoice",
    }
}

words! {
    /// What follows when the first invoice cannot be paid at once.
    PaymentBehavior {
        /// The subscription is there and waits 23 hours for its payment.
        DefaultIncomplete "default_incomplete",
        /// It is there, incomplete if the payment failed.
        AllowIncomplete "allow_incomplete",
        /// There is none, and the answer is an error.
        ErrorIfIncomplete "error_if_incomplete",
    }
}

wharfage_sdk::input! {
    /// A new subscription.
    pub(crate) struct CreateInput {
        /// The customer's id, as `cus_…`.
        customer: String,
        /// What is paid for: 1 to 20 prices.
        #[schemars(length(min = 1, max = 20))]
        items: Vec<ItemInput>,
        /// Days at the beginning that cost nothing.
        #[serde(default)]
        trial_period_days: Option<u32>,
        /// Whether it ends by itself after its first period.
        #[serde(default)]
        cancel_at_period_end: Option<bool>,
        /// How its invoices are paid; with a payment method where nothing is said.
        #[serde(default)]
        collection_method: Option<CollectionMethod>,
        /// Days until an invoice is due; needs `send_invoice`.
        #[serde(default)]
        days_until_due: Option<u32>,
        /// The payment method, as `pm_…`; without it, the customer's own.
        #[serde(default)]
        default_payment_method: Option<String>,
        /// What follows when the first invoice cannot be paid at once.
        #[serde(default)]
        payment_behavior: Option<PaymentBehavior>,
        /// What it is for; the customer sees it.
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

wharfage_sdk::input! {
    /// A price of a subscription.
    struct ItemInput {
        /// The price, as `price_…`.
        price: String,
        /// How many; one where nothing is said, none for a metered price.
        #[serde(default)]
        quantity: Option<u32>,
    }
}

wharfage_sdk::input! {
    /// A subscription that ends.
    pub(crate) struct CancelInput {
        /// Its id, as `sub_…`.
        id: String,
        /// Whether it runs until its paid period is over, instead of ending now.
        #[serde(default)]
        at_period_end: bool,
        /// Whether a last invoice is made of what was used and not billed yet; not with `at_period_end`.
        #[serde(default)]
        invoice_now: Option<bool>,
        /// Whether the rest of the paid period is credited; not with `at_period_end`.
        #[serde(default)]
        prorate: Option<bool>,
        /// The connected account, as `acct_…`; without it, the key's own account.
        #[serde(default)]
        account: Option<String>,
    }
}

record! {
    /// A subscription.
    Subscription {
        /// Its id, as `sub_…`.
        id: String = "/id",
        /// `active`, `trialing`, `past_due`, `unpaid`, `paused`, `incomplete`, `incomplete_expired` or `canceled`.
        status: Option<String> = "/status",
        /// The customer's id.
        customer: Option<Id> = "/customer",
        /// What is paid for.
        items: Vec<Item> = "/items/data",
        /// When the present period began; of its first item, where they differ.
        current_period_start: Option<Timestamp> = "/items/data/0/current_period_start",
        /// When the present period ends; of its first item, where they differ.
        current_period_end: Option<Timestamp> = "/items/data/0/current_period_end",
        /// Whether it ends with the present period.
        cancel_at_period_end: Option<bool> = "/cancel_at_period_end",
        /// When it will end.
        cancel_at: Option<Timestamp> = "/cancel_at",
        /// When somebody canceled it.
        canceled_at: Option<Timestamp> = "/canceled_at",
        /// When it ended.
        ended_at: Option<Timestamp> = "/ended_at",
        /// When its trial ends or ended.
        trial_end: Option<Timestamp> = "/trial_end",
        /// The id of its latest invoice.
        latest_invoice: Option<Id> = "/latest_invoice",
        /// `charge_automatically` or `send_invoice`.
        collection_method: Option<String> = "/collection_method",
        /// What it is for.
        description: Option<String> = "/description",
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

record! {
    /// A price of a subscription.
    Item {
        /// Its id, as `si_…`.
        id: String = "/id",
        /// The price's id.
        price: Option<Id> = "/price",
        /// The product's id.
        product: Option<Id> = "/price/product",
        /// How many.
        quantity: Option<u64> = "/quantity",
        /// What one of them costs, where the price is one amount in whole smallest units.
        unit_amount: Option<Money> = "/price/unit_amount",
        /// How often it is paid, as `month`.
        interval: Option<String> = "/price/recurring/interval",
        /// How many such intervals make a period.
        interval_count: Option<u64> = "/price/recurring/interval_count",
    }
}

pub(crate) fn list(input: ListInput, cursor: Option<Cursor>) -> Result<Page<Picked<Subscription>>, Error> {
    let fields = Fields::new()
        .text("customer", input.customer.as_deref())
        .text("price", input.price.as_deref())
        .text("status", input.status.map(Status::word));
    api::list("/subscriptions", fields, &input.paging(), cursor)
}

pub(crate) fn search(input: SearchInput, cursor: Option<Cursor>) -> Result<Page<Picked<Subscription>>, Error> {
    api::search("/subscriptions/search", input.query(), &input.paging(), cursor)
}

pub(crate) fn find(input: FindInput) -> Result<Picked<Subscription>, Error> {
    let response = api::read(&api::path(["/subscriptions/", ""], &input.id)?, input.account.as_deref())?;
    record::picked(&response, record::raw(input.raw))
}

pub(crate) fn create(input: CreateInput) -> Result<Picked<Subscription>, Error> {
    if input.items.is_empty() {
        return Err(Error::invalid_request("/items", "expected at least one price"));
    }
    let mut fields = Fields::new().text("customer", Some(&input.customer));
    for (index, item) in input.items.iter().enumerate() {
        let at = nested("items", &index.to_string());
        fields = fields.text(&nested(&at, "price"), Some(&item.price)).number(&nested(&at, "quantity"), item.quantity);
    }
    let fields = fields
        .number("trial_period_days", input.trial_period_days)
        .flag("cancel_at_period_end", input.cancel_at_period_end)
        .text("collection_method", input.collection_method.map(CollectionMethod::word))
        .number("days_until_due", input.days_until_due)
        .text("default_payment_method", input.default_payment_method.as_deref())
        .text("payment_behavior", input.payment_behavior.map(PaymentBehavior::word))
        .text("description", input.description.as_deref())
        .entries("metadata", &input.metadata);
    record::picked(&api::write("/subscriptions", fields, input.account.as_deref())?, "")
}

/// Ends it now or with its period.
///
/// Stripe knows a canceled subscription no more when it is to be canceled again: it answers 404, also to a request that is
/// repeated because its first answer was lost. What was wanted is then so already, and that is the answer.
pub(crate) fn cancel(input: CancelInput) -> Result<Picked<Subscription>, Error> {
    let path = api::path(["/subscriptions/", ""], &input.id)?;
    let account = input.account.as_deref();
    if input.at_period_end {
        if input.invoice_now.is_some() || input.prorate.is_some() {
            let message = "expected without invoice_now and prorate: with its period it ends of itself";
            return Err(Error::invalid_request("/at_period_end", message));
        }
        let fields = Fields::new().flag("cancel_at_period_end", Some(true));
        return record::picked(&api::write(&path, fields, account)?, "");
    }
    let fields = Fields::new().flag("invoice_now", input.invoice_now).flag("prorate", input.prorate);
    match api::send(fields.in_query(api::request(Method::Delete, &path, account))) {
        Ok(response) => record::picked(&response, ""),
        Err(error) if error.kind == ErrorKind::NotFound => {
            let response = match api::read(&path, account) {
                Err(again) if again.kind == ErrorKind::NotFound => return Err(error),
                looked_up => looked_up?,
            };
            let is_canceled = Record::whole(&response)?.need("/status").is_ok_and(|status| status == "canceled");
            if is_canceled { record::picked(&response, "") } else { Err(error) }
        }
        Err(error) => Err(error),
    }
}
