//! What is in stock, as Distru rolls it up now. There is no history here: that is `adjustments.list`.

use serde_json::value::RawValue;
use wharfage_sdk::{Cursor, Error, Page, Request, Timestamp};

use crate::record::{Picked, Wanted, record, record_of, written};
use crate::{Profile, guide, listing};

wharfage_sdk::input! {
    /// What of the stock.
    pub(crate) struct ListInput {
        /// Whether each location has a row of its own.
        #[serde(default)]
        by_location: bool,
        /// Whether each batch number has a row of its own. Products that are kept without batches are then left out, and
        /// nothing counts as reserved.
        #[serde(default)]
        by_batch: bool,
        /// Only these products, by id.
        #[serde(default)]
        product_ids: Vec<String>,
        /// Only at these locations, by id.
        #[serde(default)]
        location_ids: Vec<String>,
        /// Only products with one of these SKUs, in any case of letters.
        #[serde(default)]
        skus: Vec<String>,
        /// Also each row as it was answered; it holds costs.
        #[serde(default)]
        raw: bool,
        /// Which form of the API. `guide` has no filters and always a row for each product and location.
        #[serde(default)]
        profile: Profile,
    }
}

record! {
    /// A row of the stock.
    Row {
        /// The product's id.
        product_id: String = "product_id",
        /// The product's name; only in the profile `guide`.
        product_name: Option<String> = "",
        /// The location's id, where rows are by location.
        location_id: Option<String> = "location_id",
        /// The location's name; only in the profile `guide`.
        location: Option<String> = "",
        /// The batch number, where rows are by batch.
        batch_number: Option<String> = "batch_number",
        /// How much there is, as decimal text.
        on_hand: Option<String> = "active",
        /// How much of it orders have reserved, as decimal text.
        reserved: Option<String> = "reserved",
        /// How much can be sold now, as decimal text.
        available: Option<String> = "available",
        /// The last change.
        modified: Option<Timestamp> = "updated_datetime",
        /// The row as it was answered.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(with = "Option<serde_json::Value>")]
        raw: Option<Box<RawValue>> = "",
    }
}

pub(crate) fn list(input: ListInput, cursor: Option<Cursor>) -> Result<Page<Picked<Row>>, Error> {
    if input.profile == Profile::Guide {
        return of_products(&input, cursor);
    }
    let mut first = Request::get("{api}/inventory").query("groupings[]", "PRODUCT");
    for (is_wanted, grouping) in [(input.by_location, "LOCATION"), (input.by_batch, "BATCH_NUMBER")] {
        first = first.query_some("groupings[]", is_wanted.then_some(grouping));
    }
    let first = listing::any_of(first, "product_ids[]", &input.product_ids);
    let first = listing::any_of(first, "location_ids[]", &input.location_ids);
    let first = listing::any_of(first, "product_skus[]", &input.skus);
    listing::list(cursor, first, Wanted { raw: input.raw, lines: false })
}

/// The guide knows stock as a part of products.
fn of_products(input: &ListInput, cursor: Option<Cursor>) -> Result<Page<Picked<Row>>, Error> {
    input.profile.refuse(&[
        ("/by_batch", input.by_batch),
        ("/product_ids", !input.product_ids.is_empty()),
        ("/location_ids", !input.location_ids.is_empty()),
        ("/skus", !input.skus.is_empty()),
    ])?;
    let page = guide::products(cursor, None)?;
    let mut rows = Vec::new();
    for product in &page.items {
        for stock in product.parts("currentInventory") {
            let (location, on_hand) = stock.settle((stock.text("locationName"), stock.text("quantity")))?;
            let mut given = vec![
                ("product_id", written(&product.needed("id"))),
                ("product_name", written(&product.text("name"))),
                ("location", written(&location)),
                ("on_hand", written(&on_hand)),
            ];
            if input.raw {
                given.push(("raw", product.raw().to_owned()));
            }
            rows.push(record_of(&given)?);
        }
        product.settle(())?;
    }
    Ok(Page { items: rows, next: page.next })
}
