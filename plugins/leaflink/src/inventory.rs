//! Stock by facility and batch. LeafLink calls this part of V2 a beta.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use wharfage_sdk::money::Decimal;
use wharfage_sdk::page::NextUrl;
use wharfage_sdk::{Cursor, Error, Page, Request, json};

use crate::products::Amount;
use crate::{Listing, plain, written};

wharfage_sdk::input! {
    /// Which stock.
    pub(crate) struct ListInput {
        /// Only of this product, by LeafLink's id.
        #[serde(default)]
        product: Option<u64>,
        /// Also archived items.
        #[serde(default)]
        archived: bool,
    }
}

wharfage_sdk::input! {
    /// Which item.
    pub(crate) struct FindInput {
        /// LeafLink's id of the item.
        id: u64,
    }
}

wharfage_sdk::input! {
    /// Which item, and what it becomes.
    pub(crate) struct UpdateInput {
        /// LeafLink's id of the item.
        id: u64,
        /// How many there are now, as decimal text: the whole stock, not what is added to it.
        #[serde(default)]
        quantity: Option<Amount>,
        /// Whether it is archived.
        #[serde(default)]
        archived: Option<bool>,
    }
}

/// No choice.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FacilitiesInput {}

/// The stock of one product in one place.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Item {
    /// LeafLink's id.
    id: u64,
    /// LeafLink's id of the product.
    product: Option<u64>,
    /// LeafLink's id of the facility.
    facility: Option<u64>,
    /// LeafLink's id of the batch.
    batch: Option<u64>,
    /// How many there are, as decimal text.
    quantity: Option<String>,
    /// How many of them orders have reserved, as decimal text.
    reserved: Option<String>,
    /// The quantity in the product's own unit of measure.
    quantity_in_product_unit: Option<String>,
    /// Whether it is archived.
    is_archived: Option<bool>,
}

wharfage_sdk::answer! {
    /// A place where stock is kept.
    #[derive(Serialize, JsonSchema)]
    pub(crate) struct Facility {
        /// LeafLink's id.
        id: u64,
        /// The name.
        name: Option<String>,
        /// What it is.
        description: Option<String>,
    }
}

wharfage_sdk::answer! {
    struct Record {
        id: u64,
        #[serde(default)]
        product: Option<u64>,
        #[serde(default)]
        facility: Option<u64>,
        #[serde(default)]
        batch: Option<u64>,
        #[serde(default)]
        quantity: Option<Box<RawValue>>,
        #[serde(default)]
        reserved_qty: Option<Box<RawValue>>,
        #[serde(default)]
        quantity_in_product_uom: Option<Box<RawValue>>,
        #[serde(default)]
        is_archived: Option<bool>,
    }
}

/// A change as LeafLink reads it: here, other than at a product, a quantity is a JSON number.
#[derive(Serialize)]
struct Change {
    #[serde(skip_serializing_if = "Option::is_none")]
    quantity: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    is_archived: Option<bool>,
}

pub(crate) fn list(input: ListInput, cursor: Option<Cursor>) -> Result<Page<Item>, Error> {
    let at = NextUrl::resume(cursor)?;
    let first = || {
        Request::get("{api}/inventory/items/")
            .query_some("product", input.product)
            .query_some("include_archived", input.archived.then_some(true))
    };
    let response = at.request(first).send()?;
    let listing: Listing = response.json()?;
    let next = at.advance(&response.url, listing.next.as_deref())?;
    let records = listing.records(&response)?;
    Page::new(records.into_iter().map(|record| item(record.value)).collect(), next.as_ref())
}

pub(crate) fn find(input: FindInput) -> Result<Item, Error> {
    Ok(item(one(input.id).send()?.json()?))
}

pub(crate) fn update(input: UpdateInput) -> Result<Item, Error> {
    let UpdateInput { id, quantity, archived } = input;
    if quantity.is_none() && archived.is_none() {
        return Err(Error::invalid_request("", "expected what to change: quantity or archived"));
    }
    let quantity = quantity.map(|Amount(quantity)| quantity);
    let change = Change { quantity: quantity.map(number).transpose()?, is_archived: archived };
    // Without it LeafLink does not find an item that is archived, and it could never be brought back.
    let write =
        Request::patch(format!("{{write}}/inventory/items/{id}/")).query("include_archived", true).json(&change)?;
    let record = written::once(write, one(id), |record: &Record| {
        quantity.is_none_or(|quantity| written::is_amount(record.quantity.as_deref(), quantity))
            && archived.is_none_or(|archived| record.is_archived == Some(archived))
    })?;
    Ok(item(record.value))
}

pub(crate) fn facilities(_: FacilitiesInput, cursor: Option<Cursor>) -> Result<Page<Facility>, Error> {
    let at = NextUrl::resume(cursor)?;
    let response = at.request(|| Request::get("{api}/inventory/facilities/")).send()?;
    let listing: Listing = response.json()?;
    let next = at.advance(&response.url, listing.next.as_deref())?;
    let records = listing.records::<Facility>(&response)?;
    Page::new(records.into_iter().map(|record| record.value).collect(), next.as_ref())
}

fn one(id: u64) -> Request {
    Request::get(format!("{{api}}/inventory/items/{id}/")).query("include_archived", true)
}

/// A JSON number with every digit.
fn number(value: Decimal) -> Result<Box<RawValue>, Error> {
    json::raw(value.to_string()).ok_or_else(|| Error::internal("a decimal is no JSON number"))
}

fn item(record: Record) -> Item {
    Item {
        id: record.id,
        product: record.product,
        facility: record.facility,
        batch: record.batch,
        quantity: record.quantity.as_deref().map(plain),
        reserved: record.reserved_qty.as_deref().map(plain),
        quantity_in_product_unit: record.quantity_in_product_uom.as_deref().map(plain),
        is_archived: record.is_archived,
    }
}
