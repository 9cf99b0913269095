//! Payments that customers made: records in the books, which move no money.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::value::RawValue;
use wharfage_sdk::money::Money;
use wharfage_sdk::{Cursor, Error, Page, Timestamp};

use crate::api::{self, Exact, FindInput, Named, named, number};
use crate::fields::{Fields, priced};
use crate::select::{Order, Select, limit};

wharfage_sdk::input! {
    /// Which payments.
    pub(crate) struct ListInput {
        /// Only those changed at or after this time.
        #[serde(default)]
        since: Option<Timestamp>,
        /// Only those by this customer, by its id.
        #[serde(default)]
        customer_id: Option<String>,
        /// Newest or oldest change first.
        #[serde(default)]
        order: Order,
        /// How many to a page.
        #[schemars(range(min = 1, max = 1000))]
        limit: u32 = limit(),
        /// Also the whole record as QuickBooks wrote it.
        #[serde(default)]
        raw: bool,
    }
}

wharfage_sdk::input! {
    /// A payment that is to be recorded.
    pub(crate) struct CreateInput {
        /// Who paid: the customer's id.
        customer_id: String,
        /// How much, as decimal text.
        #[schemars(with = "String")]
        amount: Exact,
        /// What it is for; what is not for an invoice stays unapplied.
        #[serde(default)]
        invoices: Vec<Applied>,
        /// The day, as 2026-11-24; today where it is left out.
        #[serde(default)]
        date: Option<String>,
        /// The number of a cheque or a transfer.
        #[serde(default)]
        #[schemars(length(max = 21))]
        reference: Option<String>,
        /// The currency, as USD; needed where the company has several.
        #[serde(default)]
        currency: Option<String>,
        /// A note for the company's own eyes.
        #[serde(default)]
        note: Option<String>,
        /// A key of your own: with the same one, the same payment is recorded once, also by a later call. Without it, the host
        /// makes one for this call.
        #[serde(default)]
        #[schemars(length(min = 1, max = 50))]
        request_id: Option<String>,
    }
}

wharfage_sdk::input! {
    /// A part of a payment that is for an invoice.
    struct Applied {
        /// QuickBooks' id of the invoice.
        id: String,
        /// How much of the payment is for it, as decimal text.
        #[schemars(with = "String")]
        amount: Exact,
    }
}

/// A payment.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Payment {
    /// QuickBooks' id.
    id: String,
    /// The customer's id.
    customer_id: Option<String>,
    /// The customer's name.
    customer_name: Option<String>,
    /// The day.
    date: Option<String>,
    /// How much.
    total: Option<Money>,
    /// How much of it is for nothing yet.
    unapplied: Option<Money>,
    /// The number of a cheque or a transfer.
    reference: Option<String>,
    /// What it is for.
    applied_to: Vec<Part>,
    /// The version of the record, which rises with each change.
    version: Option<String>,
    /// When it was recorded.
    created: Option<Timestamp>,
    /// The last change.
    modified: Option<Timestamp>,
    /// The record as QuickBooks wrote it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<serde_json::Value>")]
    raw: Option<Box<RawValue>>,
}

/// What a part of a payment is for.
#[derive(Serialize, JsonSchema)]
struct Part {
    /// What it is, as `Invoice` or `CreditMemo`.
    kind: Option<String>,
    /// Its id.
    id: Option<String>,
    /// How much.
    amount: Option<Money>,
}

pub(crate) fn list(input: ListInput, cursor: Option<Cursor>) -> Result<Page<Payment>, Error> {
    Select::of("Payment", input.order, input.limit)
        .since(input.since)
        .with_some("CustomerRef", "=", input.customer_id.as_deref())
        .page(cursor, |fields, raw| payment(fields, input.raw.then_some(raw)))
}

pub(crate) fn find(input: FindInput) -> Result<Payment, Error> {
    api::find("Payment", &input, payment)
}

pub(crate) fn create(input: CreateInput) -> Result<Payment, Error> {
    let lines: Vec<NewLine> = input.invoices.into_iter().map(new_line).collect::<Result<_, _>>()?;
    let new = New {
        customer_ref: named(input.customer_id),
        total_amt: number(&input.amount.0)?,
        line: lines,
        txn_date: api::day("/date", input.date)?,
        payment_ref_num: input.reference,
        currency_ref: input.currency.map(named),
        private_note: input.note,
    };
    api::create("Payment", input.request_id.as_deref(), &new, payment)
}

/// A payment in QuickBooks' words.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct New {
    customer_ref: Named,
    total_amt: Box<RawValue>,
    line: Vec<NewLine>,
    #[serde(skip_serializing_if = "Option::is_none")]
    txn_date: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payment_ref_num: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    currency_ref: Option<Named>,
    #[serde(skip_serializing_if = "Option::is_none")]
    private_note: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct NewLine {
    amount: Box<RawValue>,
    linked_txn: [NewLinked; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct NewLinked {
    txn_id: String,
    txn_type: &'static str,
}

fn new_line(part: Applied) -> Result<NewLine, Error> {
    let linked = NewLinked { txn_id: part.id, txn_type: "Invoice" };
    Ok(NewLine { amount: number(&part.amount.0)?, linked_txn: [linked] })
}

fn payment(mut record: Fields<'_>, raw: Option<Box<RawValue>>) -> Result<Payment, Error> {
    let (currency, _) = record.reference("CurrencyRef")?;
    let (customer_id, customer_name) = record.reference("CustomerRef")?;
    let times = record.times()?;
    let currency = currency.as_ref();
    let mut applied_to = Vec::new();
    for mut line in record.objects("Line")? {
        let amount = priced(line.money("Amount")?, currency);
        let (mut kind, mut id) = (None, None);
        if let Some(mut linked) = line.objects("LinkedTxn")?.into_iter().next() {
            (kind, id) = (linked.text("TxnType")?, linked.text("TxnId")?);
        }
        applied_to.push(Part { kind, id, amount });
    }
    Ok(Payment {
        id: record.id()?,
        customer_id,
        customer_name,
        date: record.text("TxnDate")?,
        total: priced(record.money("TotalAmt")?, currency),
        unapplied: priced(record.money("UnappliedAmt")?, currency),
        reference: record.text("PaymentRefNum")?,
        applied_to,
        version: record.text("SyncToken")?,
        created: times.created,
        modified: times.modified,
        raw,
    })
}
