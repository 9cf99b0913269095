//! Products and services. Prices are in the company's own currency, which an item does not name.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::value::RawValue;
use wharfage_sdk::money::Money;
use wharfage_sdk::{Cursor, Error, Page, Timestamp};

use crate::api::{self, FindInput};
use crate::fields::Fields;
use crate::select::{NamesInput, Select};

/// A product or a service.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Item {
    /// QuickBooks' id.
    id: String,
    /// The name.
    name: Option<String>,
    /// The company's own code for it.
    sku: Option<String>,
    /// What it is: `Service`, `Inventory`, `NonInventory`, `Group` or `Category`.
    kind: Option<String>,
    /// What stands on invoices.
    description: Option<String>,
    /// What it is sold for, in the company's currency.
    unit_price: Option<Money>,
    /// What it is bought for, in the company's currency.
    purchase_cost: Option<Money>,
    /// How many there are, as decimal text, where stock is kept.
    quantity_on_hand: Option<String>,
    /// Whether it is still sold.
    is_active: Option<bool>,
    /// The version of the record, which rises with each change.
    version: Option<String>,
    /// The last change.
    modified: Option<Timestamp>,
    /// The record as QuickBooks wrote it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<serde_json::Value>")]
    raw: Option<Box<RawValue>>,
}

pub(crate) fn list(input: NamesInput, cursor: Option<Cursor>) -> Result<Page<Item>, Error> {
    Select::of("Item", input.order, input.limit)
        .since(input.since)
        .with_some("Name", "=", input.name.as_deref())
        .with_inactive(input.inactive)
        .page(cursor, |fields, raw| item(fields, input.raw.then_some(raw)))
}

pub(crate) fn find(input: FindInput) -> Result<Item, Error> {
    api::find("Item", &input, item)
}

fn item(mut record: Fields<'_>, raw: Option<Box<RawValue>>) -> Result<Item, Error> {
    Ok(Item {
        id: record.id()?,
        name: record.text("Name")?,
        sku: record.text("Sku")?,
        kind: record.text("Type")?,
        description: record.text("Description")?,
        unit_price: record.money("UnitPrice")?,
        purchase_cost: record.money("PurchaseCost")?,
        quantity_on_hand: record.quantity("QtyOnHand")?,
        is_active: record.flag("Active")?,
        version: record.text("SyncToken")?,
        modified: record.times()?.modified,
        raw,
    })
}
