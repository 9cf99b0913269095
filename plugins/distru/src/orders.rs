//! Sales orders. Distru makes and changes them by one POST: without an id it makes another order each time, with one it
//! sets what it is given. These are two operations here, because only the second may be repeated.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use wharfage_sdk::http::{Repeat, segment};
use wharfage_sdk::money::Money;
use wharfage_sdk::{Cursor, Error, Page, Request, Timestamp};

use crate::record::{Number, Record};
use crate::{FindInput, listing};

wharfage_sdk::input! {
    /// Which orders.
    pub(crate) struct ListInput {
        /// Only those that were changed at or after this time.
        #[serde(default)]
        since: Option<Timestamp>,
        /// Only those in one of these statuses.
        #[serde(default)]
        statuses: Vec<Status>,
        /// Only those of this customer, by the company's id.
        #[serde(default)]
        customer_id: Option<String>,
        /// Only the one with this number, as `SO-1042`.
        #[serde(default)]
        number: Option<String>,
        /// How many to a page, where Distru still heeds it.
        #[serde(default)]
        #[schemars(range(min = 1, max = 500))]
        limit: Option<u32>,
        /// Also the lines of each order.
        #[serde(default)]
        line_items: bool,
        /// Also each order as Distru wrote it; it holds addresses, costs and people's names.
        #[serde(default)]
        raw: bool,
    }
}

/// A new order. Distru gives it its number and its id.
#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateInput {
    /// When it was placed.
    order_datetime: Timestamp,
    /// Its status; `PENDING` touches no stock, `PROCESSING` commits it.
    #[serde(default)]
    status: Status,
    /// The customer, by the company's id. Needed before it can be shipped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    company_id: Option<String>,
    /// Its lines; one at least.
    items: Vec<LineInput>,
    /// When it is to be paid; as the customer's terms say where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    due_datetime: Option<Timestamp>,
    /// When it was or will be delivered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    delivery_datetime: Option<Timestamp>,
    /// The location it takes place at, by id; needed where a line is of a package.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    location_id: Option<String>,
    /// The customer's location that is billed, by id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    billing_location_id: Option<String>,
    /// The customer's location it is shipped to, by id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    shipping_location_id: Option<String>,
    /// A message that the customer sees.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    external_notes: Option<String>,
    /// A note that the customer does not see.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    internal_notes: Option<String>,
}

/// What is to change of an order. What is left out stays as it is.
#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UpdateInput {
    /// Distru's id of the order.
    id: String,
    /// Its status. To be shipped, every line must be fulfilled and the customer be set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    status: Option<Status>,
    /// The customer, by the company's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    company_id: Option<String>,
    /// All its lines, if they are to change: a line whose id is not among them is deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    items: Option<Vec<LineInput>>,
    /// When it is to be paid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    due_datetime: Option<Timestamp>,
    /// When it was or will be delivered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    delivery_datetime: Option<Timestamp>,
    /// A message that the customer sees.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    external_notes: Option<String>,
    /// A note that the customer does not see.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    internal_notes: Option<String>,
}

/// A line that is to be.
#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LineInput {
    /// The line's id, to change one that is there; what is left out of it then stays as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    /// The product, by id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    product_id: Option<String>,
    /// The batch it is taken from, by id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    batch_id: Option<String>,
    /// The package it is taken from, by id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    package_id: Option<String>,
    /// The location it is taken from, by id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    location_id: Option<String>,
    /// How many units, as decimal text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    quantity: Option<Number>,
    /// What one unit costs before discounts, as decimal text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    price_base: Option<Number>,
}

/// Where an order stands. `CANCELED` has one L.
#[derive(Clone, Copy, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum Status {
    #[default]
    Pending,
    Processing,
    ReadyToShip,
    Delivering,
    Delivered,
    Completed,
    Canceled,
}

/// An order.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Order {
    /// Distru's id.
    id: String,
    /// Its number, as people know it.
    number: Option<String>,
    /// Where it stands, as `PROCESSING`.
    status: Option<String>,
    /// The customer's id.
    customer_id: Option<String>,
    /// The customer's name.
    customer_name: Option<String>,
    /// What it costs in all, in the company's own currency.
    total: Option<Money>,
    /// When it was placed.
    ordered_on: Option<Timestamp>,
    /// When it is to be paid.
    due_on: Option<Timestamp>,
    /// When it was or will be delivered.
    delivered_on: Option<Timestamp>,
    /// When it was made at Distru.
    created_on: Option<Timestamp>,
    /// The last change.
    modified: Option<Timestamp>,
    /// Its lines, where they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    line_items: Option<Vec<Line>>,
    /// The order as Distru wrote it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<serde_json::Value>")]
    raw: Option<Box<RawValue>>,
}

/// A line of an order.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Line {
    /// The line's id.
    id: String,
    /// The product's id.
    product_id: Option<String>,
    /// The product's name.
    product_name: Option<String>,
    /// The id of the batch it is taken from.
    batch_id: Option<String>,
    /// The id of the package it is taken from.
    package_id: Option<String>,
    /// How many units, as decimal text.
    quantity: Option<String>,
    /// What one unit costs after discounts.
    unit_price: Option<Money>,
    /// Whether it is a sample.
    is_sample: Option<bool>,
}

pub(crate) fn list(input: ListInput, cursor: Option<Cursor>) -> Result<Page<Order>, Error> {
    let mut first = listing::sized(Request::get("{api}/orders"), input.limit);
    for status in &input.statuses {
        first = first.query("statuses[]", status.name());
    }
    let first = listing::since(first, "updated_datetime", input.since)
        .query_some("company_ids[]", input.customer_id.as_deref())
        .query_some("order_numbers[]", input.number.as_deref());
    listing::list(cursor, first, |record| order(record, input.line_items, input.raw))
}

pub(crate) fn find(input: FindInput) -> Result<Order, Error> {
    let request = Request::get(format!("{{api}}/orders/{}", segment("/id", &input.id)?));
    listing::one(request, |record| order(record, true, input.raw))
}

pub(crate) fn create(input: CreateInput) -> Result<Order, Error> {
    if input.items.is_empty() {
        return Err(Error::invalid_request("/items", "expected one line at least"));
    }
    written(Request::post("{api}/orders").json(&input)?.repeat(Repeat::Never))
}

pub(crate) fn update(input: UpdateInput) -> Result<Order, Error> {
    // An empty id would make a new order.
    segment("/id", &input.id)?;
    written(Request::post("{api}/orders").json(&input)?.repeat(Repeat::Safe))
}

fn written(request: Request) -> Result<Order, Error> {
    listing::one(request, |record| order(record, true, false))
}

fn order(record: &Record, with_lines: bool, with_raw: bool) -> Result<Order, Error> {
    let lines = if with_lines { Some(record.parts("items")) } else { None };
    record.settle(Order {
        id: record.needed("id"),
        number: record.text("order_number"),
        status: record.text("status"),
        customer_id: record.text_of("company", "id"),
        customer_name: record.text_of("company", "name"),
        total: record.money("total"),
        ordered_on: record.time("order_datetime"),
        due_on: record.time("due_datetime"),
        delivered_on: record.time("delivery_datetime"),
        created_on: record.time("inserted_datetime"),
        modified: record.time("updated_datetime"),
        line_items: lines.map(|lines| lines.iter().map(line).collect::<Result<_, Error>>()).transpose()?,
        raw: record.raw(with_raw),
    })
}

fn line(record: &Record) -> Result<Line, Error> {
    record.settle(Line {
        id: record.needed("id"),
        product_id: record.text_of("product", "id"),
        product_name: record.text_of("product", "name"),
        batch_id: record.text_of("batch", "id"),
        package_id: record.text_of("package", "id"),
        quantity: record.text("quantity"),
        unit_price: record.money("price"),
        is_sample: record.flag("is_sample"),
    })
}

impl Status {
    fn name(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Processing => "PROCESSING",
            Self::ReadyToShip => "READY_TO_SHIP",
            Self::Delivering => "DELIVERING",
            Self::Delivered => "DELIVERED",
            Self::Completed => "COMPLETED",
            Self::Canceled => "CANCELED",
        }
    }
}

#[cfg(test)]
mod tests {
    use wharfage_sdk::testing::with_exchanges;

    use super::*;

    #[test]
    fn an_order_without_lines_is_not_sent() {
        let input = serde_json::from_str(r#"{"order_datetime": "2026-11-24T10:00:00Z", "items": []}"#).unwrap();
        assert_eq!(create(input).err().unwrap().message, "/items: expected one line at least");
    }

    /// The same POST without an id makes an order: an empty id must not slip through.
    #[test]
    fn an_update_names_its_order() {
        let input = serde_json::from_str(r#"{"id": "", "status": "PROCESSING"}"#).unwrap();
        assert_eq!(update(input).err().unwrap().message, "/id: expected an id that can stand in a path");
    }

    #[test]
    fn every_status_is_written_as_distru_writes_it() {
        use Status::*;
        for status in [Pending, Processing, ReadyToShip, Delivering, Delivered, Completed, Canceled] {
            assert_eq!(serde_json::to_value(status).unwrap(), status.name());
        }
    }

    #[test]
    fn a_field_that_is_refused_is_named() {
        let exchanges = r#"[{
            "request": {"method": "POST", "url": "{api}/orders", "json": {"id": "1", "items": [{"quantity": -1}]}},
            "response": {"status": 400, "json": {"errors": [{"message": "must be greater than 0", "pointer": ["items", 0, "quantity"]}]}}
        }]"#;
        let input = serde_json::from_str(r#"{"id": "1", "items": [{"quantity": "-1"}]}"#).unwrap();
        let error = with_exchanges(exchanges, || update(input)).err().unwrap();
        assert_eq!(error.to_json()["fields"][0]["path"], "/items/0/quantity");
    }
}
