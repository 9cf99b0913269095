//! Products and services. Prices are in the company's own currency, which an item does not name.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use wharfage_sdk::json::Kept;
use wharfage_sdk::money::Money;
use wharfage_sdk::{Cursor, Error, Page, Timestamp};

use crate::api::{self, MetaData};
use crate::select::{Changed, Order, Select, limit};

/// Which items.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListInput {
    /// Only those changed at or after this time.
    #[serde(default)]
    since: Option<Timestamp>,
    /// Only the one of exactly this name.
    #[serde(default)]
    name: Option<String>,
    /// Also inactive ones.
    #[serde(default)]
    inactive: bool,
    /// Newest or oldest change first.
    #[serde(default)]
    order: Order,
    /// How many to a page.
    #[serde(default = "limit")]
    #[schemars(range(min = 1, max = 1000))]
    limit: u32,
    /// Also the whole record as QuickBooks wrote it.
    #[serde(default)]
    raw: bool,
}

/// Which item.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FindInput {
    /// QuickBooks' id of the item.
    id: String,
    /// Also the whole record as QuickBooks wrote it.
    #[serde(default)]
    raw: bool,
}

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

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Record {
    id: String,
    #[serde(default)]
    sync_token: Option<String>,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    sku: Option<String>,
    #[serde(default, rename = "Type")]
    kind: Option<String>,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    unit_price: Option<Money>,
    #[serde(default)]
    purchase_cost: Option<Money>,
    #[serde(default)]
    qty_on_hand: Option<Money>,
    #[serde(default)]
    active: Option<bool>,
    #[serde(default)]
    meta_data: MetaData,
}

impl Changed for Record {
    fn id(&self) -> &str {
        &self.id
    }

    fn modified(&self) -> Option<Timestamp> {
        self.meta_data.last_updated_time
    }
}

pub(crate) fn list(input: ListInput, cursor: Option<Cursor>) -> Result<Page<Item>, Error> {
    Select::of("Item", input.order, input.limit)
        .since(input.since)
        .with_some("Name", "=", input.name.as_deref())
        .with_inactive(input.inactive)
        .page(cursor, |record| item(record, input.raw))
}

pub(crate) fn find(input: FindInput) -> Result<Item, Error> {
    Ok(item(api::find("Item", &input.id)?, input.raw))
}

fn item(record: Kept<Record>, with_raw: bool) -> Item {
    let Kept { value, raw } = record;
    Item {
        id: value.id,
        name: value.name,
        sku: value.sku,
        kind: value.kind,
        description: value.description,
        unit_price: value.unit_price,
        purchase_cost: value.purchase_cost,
        quantity_on_hand: value.qty_on_hand.map(|quantity| quantity.amount.to_string()),
        is_active: value.active,
        version: value.sync_token,
        modified: value.meta_data.last_updated_time,
        raw: with_raw.then_some(raw),
    }
}
