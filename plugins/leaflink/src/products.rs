//! Products of a seller and their stock. Archived ones still exist and stay findable; they are left out unless asked for.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;
use wharfage_sdk::json::Kept;
use wharfage_sdk::money::{self, Decimal, Money};
use wharfage_sdk::page::NextUrl;
use wharfage_sdk::{Cursor, Error, Page, Request, Timestamp};

use crate::{LIMIT_MAX, Listing, Profile, plain, written};

wharfage_sdk::input! {
    /// Which products.
    pub(crate) struct ListInput {
        /// Also archived products.
        #[serde(default)]
        archived: bool,
        /// Only those changed at or after this time.
        #[serde(default)]
        since: Option<Timestamp>,
        /// How many to a page.
        #[schemars(range(min = 1, max = 100))]
        limit: u32 = LIMIT_MAX,
        /// Also the whole product as LeafLink wrote it.
        #[serde(default)]
        raw: bool,
        /// The seller's id at LeafLink. Only the profile `guide` filters by it; a company's key sees its own products anyway.
        #[serde(default)]
        seller: Option<u64>,
        /// Which form of the API.
        #[serde(default)]
        profile: Profile,
    }
}

wharfage_sdk::input! {
    /// Which product.
    pub(crate) struct FindInput {
        /// LeafLink's id of the product.
        id: u64,
        /// Also the whole product as LeafLink wrote it.
        #[serde(default)]
        raw: bool,
    }
}

wharfage_sdk::input! {
    /// Which product, and what it becomes.
    pub(crate) struct UpdateInput {
        /// LeafLink's id of the product.
        id: u64,
        /// How much there is now, as decimal text: the whole stock, not what is added to it.
        #[serde(default)]
        quantity: Option<Amount>,
        /// Whether and how it is sold.
        #[serde(default)]
        listing_state: Option<ListingState>,
        /// What buyers pay.
        #[serde(default)]
        wholesale_price: Option<Price>,
        /// What consumers are suggested to pay.
        #[serde(default)]
        retail_price: Option<Price>,
        /// Also the whole product as LeafLink wrote it.
        #[serde(default)]
        raw: bool,
    }
}

/// An amount as decimal text, not below zero.
#[derive(Clone, Copy)]
pub(crate) struct Amount(pub(crate) Decimal);

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let amount = money::decimal::deserialize(deserializer)?;
        if amount.is_sign_negative() {
            Err(D::Error::custom("negative, expected an amount of 0 or more"))
        } else {
            Ok(Self(amount))
        }
    }
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl JsonSchema for Amount {
    fn schema_name() -> Cow<'static, str> {
        "Amount".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "pattern": "^[0-9]+(\\.[0-9]+)?$"})
    }
}

/// A price.
#[derive(Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Price {
    /// The amount, as decimal text.
    amount: Amount,
    /// The currency, as `USD`.
    currency: String,
}

/// Whether and how a product is sold, as LeafLink writes it.
#[derive(Clone, Copy, Deserialize, Serialize, JsonSchema)]
enum ListingState {
    Available,
    Archived,
    Sample,
    Backorder,
    Internal,
    Unavailable,
}

impl ListingState {
    fn as_str(self) -> &'static str {
        match self {
            Self::Available => "Available",
            Self::Archived => "Archived",
            Self::Sample => "Sample",
            Self::Backorder => "Backorder",
            Self::Internal => "Internal",
            Self::Unavailable => "Unavailable",
        }
    }
}

/// A change as LeafLink reads it.
#[derive(Serialize)]
struct Change<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    quantity: Option<Amount>,
    #[serde(skip_serializing_if = "Option::is_none")]
    listing_state: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    wholesale_price: Option<&'a Price>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retail_price: Option<&'a Price>,
}

/// A product.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Product {
    /// LeafLink's id.
    id: u64,
    /// The name.
    name: Option<String>,
    /// The seller's own code for it.
    sku: Option<String>,
    /// What buyers pay.
    wholesale_price: Option<Money>,
    /// What consumers are suggested to pay.
    retail_price: Option<Money>,
    /// The stock. Decimal text.
    quantity: Option<String>,
    /// How much can be sold now: stock without what orders have reserved. Decimal text.
    available: Option<String>,
    /// What it is counted in.
    unit_of_measure: Option<String>,
    /// `Available`, `Archived`, `Sample`, `Backorder`, `Internal` or `Unavailable`.
    listing_state: Option<String>,
    /// The last change.
    modified: Option<Timestamp>,
    /// The product as LeafLink wrote it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<serde_json::Value>")]
    raw: Option<Box<RawValue>>,
}

wharfage_sdk::answer! {
    struct Record {
        id: u64,
        #[serde(default)]
        name: Option<String>,
        #[serde(default)]
        sku: Option<String>,
        #[serde(default)]
        wholesale_price: Option<Money>,
        #[serde(default)]
        retail_price: Option<Money>,
        #[serde(default)]
        quantity: Option<Box<RawValue>>,
        #[serde(default)]
        available_inventory: Option<Box<RawValue>>,
        #[serde(default)]
        unit_of_measure: Option<String>,
        #[serde(default)]
        listing_state: Option<String>,
        #[serde(default)]
        modified: Option<Timestamp>,
    }
}

pub(crate) fn list(input: ListInput, cursor: Option<Cursor>) -> Result<Page<Product>, Error> {
    let at = NextUrl::resume(cursor)?;
    let first = || {
        Request::get("{api}/products/")
            .query("limit", input.limit.clamp(1, LIMIT_MAX))
            .query_some("seller", input.seller.filter(|_| input.profile == Profile::Guide))
            .query_some("archived", (!input.archived).then_some(false))
            .query_some("modified__gte", input.since)
    };
    let response = at.request(first).send()?;
    let listing: Listing = response.json()?;
    let next = at.advance(&response.url, listing.next.as_deref())?;
    let records = listing.records(&response)?;
    Page::new(records.into_iter().map(|record| product(record, input.raw)).collect(), next.as_ref())
}

pub(crate) fn find(input: FindInput) -> Result<Product, Error> {
    Ok(product(written::read(one(input.id))?, input.raw))
}

pub(crate) fn update(input: UpdateInput) -> Result<Product, Error> {
    let UpdateInput { id, quantity, listing_state, wholesale_price, retail_price, raw } = input;
    let listing_state = listing_state.map(ListingState::as_str);
    if quantity.is_none() && listing_state.is_none() && wholesale_price.is_none() && retail_price.is_none() {
        let message = "expected what to change: quantity, listing_state, wholesale_price or retail_price";
        return Err(Error::invalid_request("", message));
    }
    let change = Change {
        quantity,
        listing_state,
        wholesale_price: wholesale_price.as_ref(),
        retail_price: retail_price.as_ref(),
    };
    let write = Request::patch(format!("{{write}}/products/{id}/")).json(&change)?;
    let is_price = |found: Option<&Money>, wanted: Option<&Price>| {
        wanted.is_none_or(|wanted| found.is_some_and(|found| found.amount == wanted.amount.0))
    };
    let record = written::once(write, one(id), |record: &Record| {
        quantity.is_none_or(|Amount(quantity)| written::is_amount(record.quantity.as_deref(), quantity))
            && listing_state.is_none_or(|state| record.listing_state.as_deref() == Some(state))
            && is_price(record.wholesale_price.as_ref(), wholesale_price.as_ref())
            && is_price(record.retail_price.as_ref(), retail_price.as_ref())
    })?;
    Ok(product(record, raw))
}

fn one(id: u64) -> Request {
    Request::get(format!("{{api}}/products/{id}/"))
}

fn product(record: Kept<Record>, with_raw: bool) -> Product {
    let Kept { value, raw } = record;
    Product {
        id: value.id,
        name: value.name,
        sku: value.sku,
        wholesale_price: value.wholesale_price,
        retail_price: value.retail_price,
        quantity: value.quantity.as_deref().map(plain),
        available: value.available_inventory.as_deref().map(plain),
        unit_of_measure: value.unit_of_measure,
        listing_state: value.listing_state,
        modified: value.modified,
        raw: with_raw.then_some(raw),
    }
}

#[cfg(test)]
mod tests {
    use wharfage_sdk::testing::with_exchanges;

    use super::*;

    // What went wrong: the filter was handed over as a boolean, which the HTTP library of the time refused to put into a query,
    // so every listing of active products failed before it left. The request must carry the text `false`.
    #[test]
    fn guide_s12_archived_was_no_text() {
        let exchanges = r#"[{
            "request": {"method": "GET", "url": "{api}/products/?limit=100&archived=false"},
            "response": {"status": 200, "json": {"next": null, "results": [{"id": 1}]}}
        }]"#;
        let page = with_exchanges(exchanges, || list(input(), None)).unwrap();
        assert_eq!(page.items.len(), 1);
    }

    // What went wrong: the URL in `next` was followed wherever it pointed, with the key in its header. A list that is told to go
    // on elsewhere must end with a refusal, and nothing may be asked there.
    #[test]
    fn guide_s34_next_led_to_another_host() {
        let exchanges = r#"[{
            "request": {"method": "GET", "url": "{api}/products/?limit=100&archived=false"},
            "response": {"status": 200, "json": {"next": "https://attacker.example/?offset=100", "results": []}}
        }]"#;
        let error = with_exchanges(exchanges, || list(input(), None)).unwrap_err();
        assert_eq!(error.kind.name(), "policy-denied");
    }

    fn input() -> ListInput {
        serde_json::from_str("{}").unwrap()
    }
}
