//! Invoices. An amount is a JSON number at QuickBooks and never passes a float here; its currency stands beside it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use wharfage_sdk::json::Kept;
use wharfage_sdk::money::{Decimal, Money};
use wharfage_sdk::{Cursor, Error, Page, Timestamp};

use crate::api::{self, MetaData, Named, Reference, named, number, priced};
use crate::select::{Changed, Order, Select, limit};

/// Which invoices.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListInput {
    /// Only those changed at or after this time.
    #[serde(default)]
    since: Option<Timestamp>,
    /// Only those of this customer, by its id.
    #[serde(default)]
    customer_id: Option<String>,
    /// Only the one with this number, as it is printed on it.
    #[serde(default)]
    number: Option<String>,
    /// Only those on which something is still to be paid.
    #[serde(default)]
    open: bool,
    /// Newest or oldest change first.
    #[serde(default)]
    order: Order,
    /// How many to a page.
    #[serde(default = "limit")]
    #[schemars(range(min = 1, max = 1000))]
    limit: u32,
    /// Also the lines of each.
    #[serde(default)]
    lines: bool,
    /// Also the whole record as QuickBooks wrote it; it holds addresses and e-mail.
    #[serde(default)]
    raw: bool,
}

/// Which invoice.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FindInput {
    /// QuickBooks' id of the invoice, which is not the number on it.
    id: String,
    /// Also the whole record as QuickBooks wrote it; it holds addresses and e-mail.
    #[serde(default)]
    raw: bool,
}

/// What is to be on an invoice.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateInput {
    /// Whom it is for: the customer's id.
    customer_id: String,
    /// What is charged; at least one line.
    #[schemars(length(min = 1, max = 750))]
    lines: Vec<LineInput>,
    /// Its number; QuickBooks counts where it is left out.
    #[serde(default)]
    #[schemars(length(max = 21))]
    number: Option<String>,
    /// Its day, as 2026-11-24; today where it is left out.
    #[serde(default)]
    date: Option<String>,
    /// The day by which it is to be paid; by the customer's terms where it is left out.
    #[serde(default)]
    due_date: Option<String>,
    /// The currency, as USD; needed where the company has several.
    #[serde(default)]
    currency: Option<String>,
    /// The address it would be sent to.
    #[serde(default)]
    email: Option<String>,
    /// A message that the customer reads.
    #[serde(default)]
    memo: Option<String>,
    /// A note for the company's own eyes.
    #[serde(default)]
    note: Option<String>,
    /// A key of your own: with the same one, the same invoice is made once, also by a later call. Without it, the host makes
    /// one for this call.
    #[serde(default)]
    #[schemars(length(min = 1, max = 50))]
    request_id: Option<String>,
}

/// One line that is to be on an invoice.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct LineInput {
    /// What the line comes to, as decimal text. Quantity times unit price where both are given.
    #[serde(with = "wharfage_sdk::money::decimal")]
    #[schemars(with = "String")]
    amount: Decimal,
    /// The product or service, by its id; QuickBooks takes its default one where it is left out.
    #[serde(default)]
    item_id: Option<String>,
    /// What the line says.
    #[serde(default)]
    description: Option<String>,
    /// How many.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    quantity: Option<Money>,
    /// What one costs.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    unit_price: Option<Money>,
}

/// An invoice.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Invoice {
    /// QuickBooks' id.
    id: String,
    /// The number on it.
    number: Option<String>,
    /// The customer's id.
    customer_id: Option<String>,
    /// The customer's name.
    customer_name: Option<String>,
    /// Its day.
    date: Option<String>,
    /// The day by which it is to be paid.
    due_date: Option<String>,
    /// What it comes to, taxes included.
    total: Option<Money>,
    /// What is still to be paid.
    balance: Option<Money>,
    /// Whether it was sent: `NotSet`, `NeedToSend` or `EmailSent`.
    email_status: Option<String>,
    /// The version of the record, which rises with each change.
    version: Option<String>,
    /// When it was made.
    created: Option<Timestamp>,
    /// The last change.
    modified: Option<Timestamp>,
    /// Its lines, where they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    lines: Option<Vec<Line>>,
    /// The record as QuickBooks wrote it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<serde_json::Value>")]
    raw: Option<Box<RawValue>>,
}

/// A line of an invoice. Sums of lines are lines at QuickBooks too; they are left out.
#[derive(Serialize, JsonSchema)]
struct Line {
    /// QuickBooks' id of the line within its invoice.
    id: Option<String>,
    /// What it is: `SalesItemLineDetail`, `DiscountLineDetail`, `GroupLineDetail` or `DescriptionOnly`.
    kind: Option<String>,
    /// What it says.
    description: Option<String>,
    /// The product's or service's id.
    item_id: Option<String>,
    /// Its name.
    item_name: Option<String>,
    /// How many, as decimal text.
    quantity: Option<String>,
    /// What one costs.
    unit_price: Option<Money>,
    /// What the line comes to.
    amount: Option<Money>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Record {
    id: String,
    #[serde(default)]
    sync_token: Option<String>,
    #[serde(default)]
    doc_number: Option<String>,
    #[serde(default)]
    customer_ref: Reference,
    #[serde(default)]
    currency_ref: Option<Reference>,
    #[serde(default)]
    txn_date: Option<String>,
    #[serde(default)]
    due_date: Option<String>,
    #[serde(default)]
    total_amt: Option<Money>,
    #[serde(default)]
    balance: Option<Money>,
    #[serde(default)]
    email_status: Option<String>,
    #[serde(default)]
    line: Vec<LineRecord>,
    #[serde(default)]
    meta_data: MetaData,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct LineRecord {
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    amount: Option<Money>,
    #[serde(default)]
    detail_type: Option<String>,
    #[serde(default)]
    sales_item_line_detail: Detail,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Detail {
    #[serde(default)]
    item_ref: Reference,
    #[serde(default)]
    qty: Option<Money>,
    #[serde(default)]
    unit_price: Option<Money>,
}

impl Changed for Record {
    fn id(&self) -> &str {
        &self.id
    }

    fn modified(&self) -> Option<Timestamp> {
        self.meta_data.last_updated_time
    }
}

pub(crate) fn list(input: ListInput, cursor: Option<Cursor>) -> Result<Page<Invoice>, Error> {
    let open = input.open.then_some("0");
    Select::of("Invoice", input.order, input.limit)
        .since(input.since)
        .with_some("CustomerRef", "=", input.customer_id.as_deref())
        .with_some("DocNumber", "=", input.number.as_deref())
        .with_some("Balance", ">", open)
        .page(cursor, |record| invoice(record, input.lines, input.raw))
}

pub(crate) fn find(input: FindInput) -> Result<Invoice, Error> {
    Ok(invoice(api::find("Invoice", &input.id)?, true, input.raw))
}

pub(crate) fn create(input: CreateInput) -> Result<Invoice, Error> {
    let lines: Vec<NewLine> = input.lines.into_iter().map(new_line).collect::<Result<_, _>>()?;
    if lines.is_empty() {
        return Err(Error::invalid_request("/lines", "expected at least one line"));
    }
    let new = New {
        customer_ref: named(input.customer_id),
        line: lines,
        doc_number: input.number,
        txn_date: api::day("/date", input.date)?,
        due_date: api::day("/due_date", input.due_date)?,
        currency_ref: input.currency.map(named),
        bill_email: input.email.map(|address| Address { address }),
        customer_memo: input.memo.map(named),
        private_note: input.note,
    };
    Ok(invoice(api::create("Invoice", input.request_id.as_deref(), &new)?, true, false))
}

/// An invoice in QuickBooks' words.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct New {
    customer_ref: Named,
    line: Vec<NewLine>,
    #[serde(skip_serializing_if = "Option::is_none")]
    doc_number: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    txn_date: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    due_date: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    currency_ref: Option<Named>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bill_email: Option<Address>,
    #[serde(skip_serializing_if = "Option::is_none")]
    customer_memo: Option<Named>,
    #[serde(skip_serializing_if = "Option::is_none")]
    private_note: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Address {
    address: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct NewLine {
    detail_type: &'static str,
    amount: Box<RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    sales_item_line_detail: NewDetail,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct NewDetail {
    #[serde(skip_serializing_if = "Option::is_none")]
    item_ref: Option<Named>,
    #[serde(skip_serializing_if = "Option::is_none")]
    qty: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unit_price: Option<Box<RawValue>>,
}

fn new_line(line: LineInput) -> Result<NewLine, Error> {
    let detail = NewDetail {
        item_ref: line.item_id.map(named),
        qty: line.quantity.map(|quantity| number(&quantity.amount)).transpose()?,
        unit_price: line.unit_price.map(|price| number(&price.amount)).transpose()?,
    };
    Ok(NewLine {
        detail_type: "SalesItemLineDetail",
        amount: number(&line.amount)?,
        description: line.description,
        sales_item_line_detail: detail,
    })
}

fn invoice(record: Kept<Record>, with_lines: bool, with_raw: bool) -> Invoice {
    let Kept { value, raw } = record;
    let currency = value.currency_ref.as_ref();
    let lines = with_lines.then(|| {
        let own = value.line.into_iter().filter(|line| line.detail_type.as_deref() != Some("SubTotalLineDetail"));
        own.map(|record| line(record, currency)).collect()
    });
    Invoice {
        id: value.id,
        number: value.doc_number,
        customer_id: value.customer_ref.value,
        customer_name: value.customer_ref.name,
        date: value.txn_date,
        due_date: value.due_date,
        total: priced(value.total_amt, currency),
        balance: priced(value.balance, currency),
        email_status: value.email_status,
        version: value.sync_token,
        created: value.meta_data.create_time,
        modified: value.meta_data.last_updated_time,
        lines,
        raw: with_raw.then_some(raw),
    }
}

fn line(record: LineRecord, currency: Option<&Reference>) -> Line {
    let Detail { item_ref, qty, unit_price } = record.sales_item_line_detail;
    Line {
        id: record.id,
        kind: record.detail_type,
        description: record.description,
        item_id: item_ref.value,
        item_name: item_ref.name,
        quantity: qty.map(|quantity| quantity.amount.to_string()),
        unit_price: priced(unit_price, currency),
        amount: priced(record.amount, currency),
    }
}
