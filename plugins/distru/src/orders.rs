//! Sales orders. Distru makes and changes them by one POST: without an id it makes another order each time, with one it
//! sets what it is given. These are two operations here, because only the second may be repeated.

use serde_json::value::RawValue;
use wharfage_sdk::http::{Repeat, segment};
use wharfage_sdk::money::Money;
use wharfage_sdk::{Cursor, Error, Page, Request, Timestamp};

use crate::body::{Body, Number};
use crate::record::{Picked, Wanted, record};
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

wharfage_sdk::input! {
    /// A new order. Distru gives it its number and its id.
    pub(crate) struct CreateInput {
        /// When it was placed.
        order_datetime: Timestamp,
        /// Its status; `PENDING` touches no stock, `PROCESSING` commits it.
        #[serde(default)]
        status: Status,
        /// The customer, by the company's id. Needed before it can be shipped.
        company_id: Option<String>,
        /// Its lines; one at least.
        items: Vec<LineInput>,
        /// When it is to be paid; as the customer's terms say where it is left out.
        due_datetime: Option<Timestamp>,
        /// When it was or will be delivered.
        delivery_datetime: Option<Timestamp>,
        /// The location it takes place at, by id; needed where a line is of a package.
        location_id: Option<String>,
        /// The customer's location that is billed, by id.
        billing_location_id: Option<String>,
        /// The customer's location it is shipped to, by id.
        shipping_location_id: Option<String>,
        /// A message that the customer sees.
        external_notes: Option<String>,
        /// A note that the customer does not see.
        internal_notes: Option<String>,
    }
}

wharfage_sdk::input! {
    /// What is to change of an order. What is left out stays as it is.
    pub(crate) struct UpdateInput {
        /// Distru's id of the order.
        id: String,
        /// Its status. To be shipped, every line must be fulfilled and the customer be set.
        status: Option<Status>,
        /// The customer, by the company's id.
        company_id: Option<String>,
        /// All its lines, if they are to change: a line whose id is not among them is deleted.
        items: Option<Vec<LineInput>>,
        /// When it is to be paid.
        due_datetime: Option<Timestamp>,
        /// When it was or will be delivered.
        delivery_datetime: Option<Timestamp>,
        /// A message that the customer sees.
        external_notes: Option<String>,
        /// A note that the customer does not see.
        internal_notes: Option<String>,
    }
}

wharfage_sdk::input! {
    /// A line that is to be.
    pub(crate) struct LineInput {
        /// The line's id, to change one that is there; what is left out of it then stays as it is.
        id: Option<String>,
        /// The product, by id.
        product_id: Option<String>,
        /// The batch it is taken from, by id.
        batch_id: Option<String>,
        /// The package it is taken from, by id.
        package_id: Option<String>,
        /// The location it is taken from, by id.
        location_id: Option<String>,
        /// How many units, as decimal text.
        #[schemars(with = "Option<String>")]
        quantity: Option<Number>,
        /// What one unit costs before discounts, as decimal text.
        #[schemars(with = "Option<String>")]
        price_base: Option<Number>,
    }
}

wharfage_sdk::words! {
    /// Where an order stands. `CANCELED` has one L.
    #[derive(Clone, Copy, Default)]
    enum Status {
        #[default]
        Pending = "PENDING",
        Processing = "PROCESSING",
        ReadyToShip = "READY_TO_SHIP",
        Delivering = "DELIVERING",
        Delivered = "DELIVERED",
        Completed = "COMPLETED",
        Canceled = "CANCELED",
    }
}

record! {
    /// An order.
    Order {
        /// Distru's id.
        id: String = "id",
        /// Its number, as people know it.
        number: Option<String> = "order_number",
        /// Where it stands, as `PROCESSING`.
        status: Option<String> = "status",
        /// The customer's id.
        customer_id: Option<String> = "company/id",
        /// The customer's name.
        customer_name: Option<String> = "company/name",
        /// What it costs in all, in the company's own currency.
        total: Option<Money> = "total",
        /// When it was placed.
        ordered_on: Option<Timestamp> = "order_datetime",
        /// When it is to be paid.
        due_on: Option<Timestamp> = "due_datetime",
        /// When it was or will be delivered.
        delivered_on: Option<Timestamp> = "delivery_datetime",
        /// When it was made at Distru.
        created_on: Option<Timestamp> = "inserted_datetime",
        /// The last change.
        modified: Option<Timestamp> = "updated_datetime",
        /// Its lines, where they were asked for.
        #[serde(skip_serializing_if = "Option::is_none")]
        line_items: Option<Vec<Line>> = "items",
        /// The order as Distru wrote it.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(with = "Option<serde_json::Value>")]
        raw: Option<Box<RawValue>> = "",
    }
}

record! {
    /// A line of an order.
    Line {
        /// The line's id.
        id: String = "id",
        /// The product's id.
        product_id: Option<String> = "product/id",
        /// The product's name.
        product_name: Option<String> = "product/name",
        /// The id of the batch it is taken from.
        batch_id: Option<String> = "batch/id",
        /// The id of the package it is taken from.
        package_id: Option<String> = "package/id",
        /// How many units, as decimal text.
        quantity: Option<String> = "quantity",
        /// What one unit costs after discounts.
        unit_price: Option<Money> = "price",
        /// Whether it is a sample.
        is_sample: Option<bool> = "is_sample",
    }
}

pub(crate) fn list(input: ListInput, cursor: Option<Cursor>) -> Result<Page<Picked<Order>>, Error> {
    let mut first = listing::sized(Request::get("{api}/orders"), input.limit);
    for status in &input.statuses {
        first = first.query("statuses[]", status.word());
    }
    let first = listing::since(first, "updated_datetime", input.since)
        .query_some("company_ids[]", input.customer_id.as_deref())
        .query_some("order_numbers[]", input.number.as_deref());
    listing::list(cursor, first, Wanted { lines: input.line_items, raw: input.raw })
}

pub(crate) fn find(input: FindInput) -> Result<Picked<Order>, Error> {
    listing::find("orders", &input)
}

pub(crate) fn create(input: CreateInput) -> Result<Picked<Order>, Error> {
    if input.items.is_empty() {
        return Err(Error::invalid_request("/items", "expected one line at least"));
    }
    let body = Body::new()
        .time("order_datetime", Some(input.order_datetime))
        .text("status", Some(input.status.word()))
        .text("company_id", input.company_id.as_deref())
        .all("items", Some(&input.items), line_of)
        .time("due_datetime", input.due_datetime)
        .time("delivery_datetime", input.delivery_datetime)
        .text("location_id", input.location_id.as_deref())
        .text("billing_location_id", input.billing_location_id.as_deref())
        .text("shipping_location_id", input.shipping_location_id.as_deref())
        .text("external_notes", input.external_notes.as_deref())
        .text("internal_notes", input.internal_notes.as_deref());
    written(body, Repeat::Never)
}

pub(crate) fn update(input: UpdateInput) -> Result<Picked<Order>, Error> {
    // An empty id would make a new order.
    segment("/id", &input.id)?;
    let body = Body::new()
        .text("id", Some(&input.id))
        .text("status", input.status.map(Status::word))
        .text("company_id", input.company_id.as_deref())
        .all("items", input.items.as_deref(), line_of)
        .time("due_datetime", input.due_datetime)
        .time("delivery_datetime", input.delivery_datetime)
        .text("external_notes", input.external_notes.as_deref())
        .text("internal_notes", input.internal_notes.as_deref());
    written(body, Repeat::Safe)
}

fn line_of(line: &LineInput) -> Body {
    Body::new()
        .text("id", line.id.as_deref())
        .text("product_id", line.product_id.as_deref())
        .text("batch_id", line.batch_id.as_deref())
        .text("package_id", line.package_id.as_deref())
        .text("location_id", line.location_id.as_deref())
        .number("quantity", line.quantity)
        .number("price_base", line.price_base)
}

fn written(body: Body, repeat: Repeat) -> Result<Picked<Order>, Error> {
    listing::one(body.post("{write}/orders").repeat(repeat), Wanted { lines: true, raw: false })
}

#[cfg(test)]
mod tests {
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
        let message = update(input).err().unwrap().message.clone();
        assert!(message.starts_with("/id: expected something that can stand in a path"), "{message}");
    }
}
