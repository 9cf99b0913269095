//! Payment intents: one payment from the wish to the money, over as many attempts as it takes.

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
    /// Which payment intents.
    ListInput {
        /// Only those of this customer, as `cus_…`.
        customer: Option<String>,
    }
}

words! {
    /// When the money moves.
    CaptureMethod {
        /// At once.
        Automatic "automatic",
        /// At once, while the answer does not wait for all of its facts.
        AutomaticAsync "automatic_async",
        /// Later, when somebody captures it.
        Manual "manual",
    }
}

words! {
    /// What the payment method is kept for.
    FutureUsage {
        /// Payments at which the payer is present.
        OnSession "on_session",
        /// Payments at which the payer may be away.
        OffSession "off_session",
    }
}

words! {
    /// Why a payment is given up.
    CancelReason {
        /// It was made twice.
        Duplicate "duplicate",
        /// Somebody cheated.
        Fraudulent "fraudulent",
        /// The customer asked for it.
        RequestedByCustomer "requested_by_customer",
        /// The customer left.
        Abandoned "abandoned",
    }
}

/// A new payment.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateInput {
    /// What is to be paid, as `{"amount": "10.99", "currency": "EUR"}`: whole units with their parts, as people write it.
    amount: Money,
    /// The customer's id, as `cus_…`.
    #[serde(default)]
    customer: Option<String>,
    /// The payment method, as `pm_…`.
    #[serde(default)]
    payment_method: Option<String>,
    /// The kinds of payment methods that are offered, as `card`; without it, those that the account has switched on.
    #[serde(default)]
    payment_method_types: Vec<String>,
    /// Whether to try the payment at once; it needs `payment_method`, and for some of them `return_url`.
    #[serde(default)]
    confirm: Option<bool>,
    /// Whether the payer is away, so that nobody can be asked anything; only together with `confirm`.
    #[serde(default)]
    off_session: Option<bool>,
    /// Where the payer comes back to from a bank's page.
    #[serde(default)]
    return_url: Option<String>,
    /// When the money moves; at once where nothing is said.
    #[serde(default)]
    capture_method: Option<CaptureMethod>,
    /// What the payment method is kept for.
    #[serde(default)]
    setup_future_usage: Option<FutureUsage>,
    /// What it is for.
    #[serde(default)]
    description: Option<String>,
    /// Where the receipt goes.
    #[serde(default)]
    receipt_email: Option<String>,
    /// Your own notes: up to 50, names of up to 40 characters and values of up to 500.
    #[serde(default)]
    metadata: BTreeMap<String, String>,
    /// Whether the answer holds the client secret, with which a browser completes this payment.
    #[serde(default)]
    with_client_secret: bool,
    /// The connected account, as `acct_…`; without it, the key's own account.
    #[serde(default)]
    account: Option<String>,
}

/// A payment that is to be tried.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConfirmInput {
    /// Its id, as `pi_…`.
    id: String,
    /// The payment method, as `pm_…`, where it has none or another.
    #[serde(default)]
    payment_method: Option<String>,
    /// Whether the payer is away, so that nobody can be asked anything.
    #[serde(default)]
    off_session: Option<bool>,
    /// Where the payer comes back to from a bank's page.
    #[serde(default)]
    return_url: Option<String>,
    /// The connected account, as `acct_…`; without it, the key's own account.
    #[serde(default)]
    account: Option<String>,
}

/// A payment that is given up.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CancelInput {
    /// Its id, as `pi_…`.
    id: String,
    /// Why.
    #[serde(default)]
    reason: Option<CancelReason>,
    /// The connected account, as `acct_…`; without it, the key's own account.
    #[serde(default)]
    account: Option<String>,
}

/// A payment intent.
#[derive(Serialize, JsonSchema)]
pub(crate) struct PaymentIntent {
    /// Its id, as `pi_…`.
    id: String,
    /// What is to be paid.
    amount: Option<Money>,
    /// What came.
    amount_received: Option<Money>,
    /// What is authorized and can be captured.
    amount_capturable: Option<Money>,
    /// `requires_payment_method`, `requires_confirmation`, `requires_action`, `processing`, `requires_capture`, `canceled` or
    /// `succeeded`.
    status: Option<String>,
    /// What the payer must do, as `redirect_to_url`, where the status is `requires_action`.
    next_action: Option<String>,
    /// Where the payer must go for it.
    next_url: Option<String>,
    /// Why the last attempt failed, as `card_declined`.
    last_error: Option<String>,
    /// The bank's own reason for it, as `insufficient_funds`.
    last_decline: Option<String>,
    /// The customer's id.
    customer: Option<String>,
    /// The payment method's id.
    payment_method: Option<String>,
    /// The id of the latest attempt.
    latest_charge: Option<String>,
    /// `automatic`, `automatic_async` or `manual`.
    capture_method: Option<String>,
    /// What it is for.
    description: Option<String>,
    /// When it was given up.
    canceled_at: Option<Timestamp>,
    /// Why it was given up.
    cancellation_reason: Option<String>,
    /// When it was made.
    created: Option<Timestamp>,
    /// Whether the money is real, and not of a sandbox.
    livemode: Option<bool>,
    /// Your own notes.
    metadata: BTreeMap<String, String>,
    /// With this a browser completes the payment: it belongs to the payer and into no log. Only where it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    client_secret: Option<String>,
    /// The object as Stripe wrote it.
    #[serde(skip_serializing_if = "Option::is_none")]
    raw: Option<Value>,
}

pub(crate) fn list(input: ListInput, cursor: Option<Cursor>) -> Result<Page<PaymentIntent>, Error> {
    let fields = Fields::new().text("customer", input.customer.as_deref());
    api::list("/payment_intents", fields, &input.paging(), cursor, payment_intent)
}

pub(crate) fn search(input: SearchInput, cursor: Option<Cursor>) -> Result<Page<PaymentIntent>, Error> {
    api::search("/payment_intents/search", input.query(), &input.paging(), cursor, payment_intent)
}

pub(crate) fn find(input: FindInput) -> Result<PaymentIntent, Error> {
    let response = api::read(&api::path(["/payment_intents/", ""], &input.id)?, input.account.as_deref())?;
    payment_intent(&Record::whole(&response)?, input.raw)
}

pub(crate) fn create(input: CreateInput) -> Result<PaymentIntent, Error> {
    let (units, currency) = currency::sent("/amount", &input.amount)?;
    let fields = Fields::new()
        .text("amount", Some(&units))
        .text("currency", Some(&currency))
        .text("customer", input.customer.as_deref())
        .text("payment_method", input.payment_method.as_deref())
        .texts("payment_method_types", &input.payment_method_types)
        .flag("confirm", input.confirm)
        .flag("off_session", input.off_session)
        .text("return_url", input.return_url.as_deref())
        .text("capture_method", input.capture_method.map(CaptureMethod::word))
        .text("setup_future_usage", input.setup_future_usage.map(FutureUsage::word))
        .text("description", input.description.as_deref())
        .text("receipt_email", input.receipt_email.as_deref())
        .entries("metadata", &input.metadata);
    let response = api::write("/payment_intents", fields, input.account.as_deref())?;
    let record = Record::whole(&response)?;
    let client_secret = input.with_client_secret.then(|| record.text("/client_secret")).flatten();
    Ok(PaymentIntent { client_secret, ..payment_intent(&record, false)? })
}

pub(crate) fn confirm(input: ConfirmInput) -> Result<PaymentIntent, Error> {
    let fields = Fields::new()
        .text("payment_method", input.payment_method.as_deref())
        .flag("off_session", input.off_session)
        .text("return_url", input.return_url.as_deref());
    let path = api::path(["/payment_intents/", "/confirm"], &input.id)?;
    payment_intent(&Record::whole(&api::write(&path, fields, input.account.as_deref())?)?, false)
}

pub(crate) fn cancel(input: CancelInput) -> Result<PaymentIntent, Error> {
    let fields = Fields::new().text("cancellation_reason", input.reason.map(CancelReason::word));
    let path = api::path(["/payment_intents/", "/cancel"], &input.id)?;
    payment_intent(&Record::whole(&api::write(&path, fields, input.account.as_deref())?)?, false)
}

fn payment_intent(record: &Record<'_>, with_raw: bool) -> Result<PaymentIntent, Error> {
    Ok(PaymentIntent {
        id: record.need("/id")?,
        amount: record.money("/amount")?,
        amount_received: record.money("/amount_received")?,
        amount_capturable: record.money("/amount_capturable")?,
        status: record.text("/status"),
        next_action: record.text("/next_action/type"),
        next_url: record.text("/next_action/redirect_to_url/url"),
        last_error: record.text("/last_payment_error/code"),
        last_decline: record.text("/last_payment_error/decline_code"),
        customer: record.id_of("/customer"),
        payment_method: record.id_of("/payment_method"),
        latest_charge: record.id_of("/latest_charge"),
        capture_method: record.text("/capture_method"),
        description: record.text("/description"),
        canceled_at: record.time("/canceled_at"),
        cancellation_reason: record.text("/cancellation_reason"),
        created: record.time("/created"),
        livemode: record.flag("/livemode"),
        metadata: record.metadata(),
        client_secret: None,
        raw: record.raw(with_raw),
    })
}
