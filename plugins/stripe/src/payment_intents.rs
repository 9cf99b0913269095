//! Payment intents: one payment from the wish to the money, over as many attempts as it takes.

use std::collections::BTreeMap;

use serde_json::Value;
use wharfage_sdk::money::Money;
use wharfage_sdk::{Cursor, Error, Page, Timestamp};

use crate::fields::Fields;
use crate::inputs::{FindInput, SearchInput, list_input, words};
use crate::record::{self, Id, Picked, record};
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

wharfage_sdk::input! {
    /// A new payment.
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
}

wharfage_sdk::input! {
    /// A payment that is to be tried.
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
}

wharfage_sdk::input! {
    /// A payment that is given up.
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
}

record! {
    /// A payment intent.
    PaymentIntent {
        /// Its id, as `pi_…`.
        id: String = "/id",
        /// What is to be paid.
        amount: Option<Money> = "/amount",
        /// What came.
        amount_received: Option<Money> = "/amount_received",
        /// What is authorized and can be captured.
        amount_capturable: Option<Money> = "/amount_capturable",
        /// `requires_payment_method`, `requires_confirmation`, `requires_action`, `processing`, `requires_capture`, `canceled` or
        /// `succeeded`.
        status: Option<String> = "/status",
        /// What the payer must do, as `redirect_to_url`, where the status is `requires_action`.
        next_action: Option<String> = "/next_action/type",
        /// Where the payer must go for it.
        next_url: Option<String> = "/next_action/redirect_to_url/url",
        /// Why the last attempt failed, as `card_declined`.
        last_error: Option<String> = "/last_payment_error/code",
        /// The bank's own reason for it, as `insufficient_funds`.
        last_decline: Option<String> = "/last_payment_error/decline_code",
        /// The customer's id.
        customer: Option<Id> = "/customer",
        /// The payment method's id.
        payment_method: Option<Id> = "/payment_method",
        /// The id of the latest attempt.
        latest_charge: Option<Id> = "/latest_charge",
        /// `automatic`, `automatic_async` or `manual`.
        capture_method: Option<String> = "/capture_method",
        /// What it is for.
        description: Option<String> = "/description",
        /// When it was given up.
        canceled_at: Option<Timestamp> = "/canceled_at",
        /// Why it was given up.
        cancellation_reason: Option<String> = "/cancellation_reason",
        /// When it was made.
        created: Option<Timestamp> = "/created",
        /// Whether the money is real, and not of a sandbox.
        livemode: Option<bool> = "/livemode",
        /// Your own notes.
        metadata: BTreeMap<String, String> = "/metadata",
        /// With this a browser completes the payment: it belongs to the payer and into no log. Only where it was asked for.
        #[serde(skip_serializing_if = "Option::is_none")]
        client_secret: Option<String> = "?/client_secret",
        /// The object as Stripe wrote it.
        #[serde(skip_serializing_if = "Option::is_none")]
        raw: Option<Value> = "?",
    }
}

pub(crate) fn list(input: ListInput, cursor: Option<Cursor>) -> Result<Page<Picked<PaymentIntent>>, Error> {
    let fields = Fields::new().text("customer", input.customer.as_deref());
    api::list("/payment_intents", fields, &input.paging(), cursor)
}

pub(crate) fn search(input: SearchInput, cursor: Option<Cursor>) -> Result<Page<Picked<PaymentIntent>>, Error> {
    api::search("/payment_intents/search", input.query(), &input.paging(), cursor)
}

pub(crate) fn find(input: FindInput) -> Result<Picked<PaymentIntent>, Error> {
    let response = api::read(&api::path(["/payment_intents/", ""], &input.id)?, input.account.as_deref())?;
    record::picked(&response, record::raw(input.raw))
}

pub(crate) fn create(input: CreateInput) -> Result<Picked<PaymentIntent>, Error> {
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
    record::picked(&response, if input.with_client_secret { "client_secret" } else { "" })
}

pub(crate) fn confirm(input: ConfirmInput) -> Result<Picked<PaymentIntent>, Error> {
    let fields = Fields::new()
        .text("payment_method", input.payment_method.as_deref())
        .flag("off_session", input.off_session)
        .text("return_url", input.return_url.as_deref());
    let path = api::path(["/payment_intents/", "/confirm"], &input.id)?;
    record::picked(&api::write(&path, fields, input.account.as_deref())?, "")
}

pub(crate) fn cancel(input: CancelInput) -> Result<Picked<PaymentIntent>, Error> {
    let fields = Fields::new().text("cancellation_reason", input.reason.map(CancelReason::word));
    let path = api::path(["/payment_intents/", "/cancel"], &input.id)?;
    record::picked(&api::write(&path, fields, input.account.as_deref())?, "")
}
