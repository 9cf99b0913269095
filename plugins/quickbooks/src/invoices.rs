//! Invoices. An amount is a JSON number at QuickBooks and never passes a float here; its currency stands beside it.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::value::RawValue;
use wharfage_sdk::money::Money;
use wharfage_sdk::{Cursor, Error, Page, Timestamp};

use crate::api::{self, Exact, FindInput, Named, named, number};
use crate::fields::{Fields, priced};
use crate::select::{Order, Select, limit};

wharfage_sdk::input! {
    /// Which invoices.
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
        #[schemars(range(min = 1, max = 1000))]
        limit: u32 = limit(),
        /// Also the lines of each.
        #[serde(default)]
        lines: bool,
        /// Also the whole record as QuickBooks wrote it; it holds addresses and e-mail.
        #[serde(default)]
        raw: bool,
    }
}

wharfage_sdk::input! {
    /// What is to be on an invoice.
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
}

wharfage_sdk::input! {
    /// One line that is to be on an invoice.
    struct LineInput {
        /// What the line comes to, as decimal text. Quantity times unit price where both are given.
        #[schemars(with = "String")]
        amount: Exact,
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

pub(crate) fn list(input: ListInput, cursor: Option<Cursor>) -> Result<Page<Invoice>, Error> {
    let open = input.open.then_some("0");
    Select::of("Invoice", input.order, input.limit)
        .since(input.since)
        .with_some("CustomerRef", "=", input.customer_id.as_deref())
        .with_some("DocNumber", "=", input.number.as_deref())
        .with_some("Balance", ">", open)
        .page(cursor, |fields, raw| invoice(fields, input.raw.then_some(raw), input.lines))
}

pub(crate) fn find(input: FindInput) -> Result<Invoice, Error> {
    api::find("Invoice", &input, |fields, raw| invoice(fields, raw, true))
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
    api::create("Invoice", input.request_id.as_deref(), &new, |fields, raw| invoice(fields, raw, true))
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
        amount: number(&line.amount.0)?,
        description: line.description,
        sales_item_line_detail: detail,
    })
}

fn invoice(mut record: Fields<'_>, raw: Option<Box<RawValue>>, with_lines: bool) -> Result<Invoice, Error> {
    let (currency, _) = record.reference("CurrencyRef")?;
    let (customer_id, customer_name) = record.reference("CustomerRef")?;
    let times = record.times()?;
    let currency = currency.as_ref();
    let mut lines = None;
    if with_lines {
        let all = record.objects("Line")?.into_iter().map(|fields| line(fields, currency));
        lines = Some(all.filter_map(Result::transpose).collect::<Result<Vec<Line>, Error>>()?);
    }
    Ok(Invoice {
        id: record.id()?,
        number: record.text("DocNumber")?,
        customer_id,
        customer_name,
        date: record.text("TxnDate")?,
        due_date: record.text("DueDate")?,
        total: priced(record.money("TotalAmt")?, currency),
        balance: priced(record.money("Balance")?, currency),
        email_status: record.text("EmailStatus")?,
        version: record.text("SyncToken")?,
        created: times.created,
        modified: times.modified,
        lines,
        raw,
    })
}

/// A line; nothing where it is the sum of those above it.
fn line(mut record: Fields<'_>, currency: Option<&String>) -> Result<Option<Line>, Error> {
    let kind = record.text("DetailType")?;
    if kind.as_deref() == Some("SubTotalLineDetail") {
        return Ok(None);
    }
    let mut line = Line {
        id: record.text("Id")?,
        kind,
        description: record.text("Description")?,
        item_id: None,
        item_name: None,
        quantity: None,
        unit_price: None,
        amount: priced(record.money("Amount")?, currency),
    };
    if let Some(mut detail) = record.object("SalesItemLineDetail")? {
        (line.item_id, line.item_name) = detail.reference("ItemRef")?;
        line.quantity = detail.quantity("Qty")?;
        line.unit_price = priced(detail.money("UnitPrice")?, currency);
    }
    Ok(Some(line))
}
