//! Products. Deleted ones stay findable by id and are left out of lists unless asked for.

use serde_json::value::RawValue;
use wharfage_sdk::money::Money;
use wharfage_sdk::{Cursor, Error, Page, Request, Timestamp};

use crate::record::{Picked, Wanted, record};
use crate::{FindInput, Profile, Stock, guide, listing};

wharfage_sdk::input! {
    /// Which products.
    pub(crate) struct ListInput {
        /// Only those that were changed at or after this time.
        #[serde(default)]
        since: Option<Timestamp>,
        /// Only those whose name holds this, in any case of letters.
        #[serde(default)]
        name: Option<String>,
        /// Only those with one of these SKUs, in any case of letters; 200 at most.
        #[serde(default)]
        skus: Vec<String>,
        /// Also deleted products.
        #[serde(default)]
        deleted: bool,
        /// How many to a page, where Distru still heeds it.
        #[serde(default)]
        #[schemars(range(min = 1, max = 500))]
        limit: Option<u32>,
        /// Also each product as it was answered.
        #[serde(default)]
        raw: bool,
        /// Which form of the API. `guide` has no filters.
        #[serde(default)]
        profile: Profile,
    }
}

record! {
    /// A product.
    Product {
        /// Distru's id.
        id: String = "id",
        /// The name.
        name: Option<String> = "name",
        /// The company's own code for it.
        sku: Option<String> = "sku",
        /// The name of its category.
        category: Option<String> = "category/name",
        /// The name of its brand.
        brand: Option<String> = "brand/name",
        /// What one unit is sold for.
        unit_price: Option<Money> = "unit_price|unitPrice",
        /// What it is counted in.
        unit: Option<String> = "unit_type/name",
        /// How its stock is kept: by `PRODUCT`, `BATCH` or `PACKAGE`.
        tracked_by: Option<String> = "inventory_tracking_method",
        /// How much there is, as decimal text.
        on_hand: Option<String> = "quantity_active",
        /// How much of it orders have reserved, as decimal text.
        reserved: Option<String> = "quantity_reserved",
        /// How much can be sold now, as decimal text.
        available: Option<String> = "quantity_available",
        /// Whether it is in use.
        is_active: Option<bool> = "is_active",
        /// When it was made.
        created_on: Option<Timestamp> = "inserted_datetime",
        /// The last change.
        modified: Option<Timestamp> = "updated_datetime",
        /// When it was deleted, if it was.
        deleted_on: Option<Timestamp> = "deleted_at",
        /// What there is where; only in the profile `guide`, else ask `inventory.list`.
        #[serde(skip_serializing_if = "Option::is_none")]
        stock: Option<Vec<Stock>> = "currentInventory",
        /// The ids of its Metrc tags; only in the profile `guide`.
        #[serde(skip_serializing_if = "Option::is_none")]
        metrc_tags: Option<Vec<String>> = "metrcTagIds",
        /// The product as it was answered.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(with = "Option<serde_json::Value>")]
        raw: Option<Box<RawValue>> = "",
    }
}

pub(crate) fn list(input: ListInput, cursor: Option<Cursor>) -> Result<Page<Picked<Product>>, Error> {
    let wanted = Wanted { raw: input.raw, lines: false };
    if input.profile == Profile::Guide {
        input.profile.refuse(&[
            ("/since", input.since.is_some()),
            ("/name", input.name.is_some()),
            ("/skus", !input.skus.is_empty()),
            ("/deleted", input.deleted),
        ])?;
        let page = guide::products(cursor, input.limit)?;
        return Ok(Page { items: listing::picked(&page.items, wanted)?, next: page.next });
    }
    let first = listing::sized(Request::get("{api}/products"), input.limit);
    let first = listing::since(first, "updated_datetime", input.since).query_some("name", input.name.as_deref());
    let first = listing::any_of(first, "skus[]", &input.skus).query_some("deleted", input.deleted.then_some("include"));
    listing::list(cursor, first, wanted)
}

pub(crate) fn find(input: FindInput) -> Result<Picked<Product>, Error> {
    listing::find("products", &input)
}

#[cfg(test)]
mod tests {
    use wharfage_sdk::testing::with_exchanges;

    use super::*;

    fn input(text: &str) -> ListInput {
        serde_json::from_str(text).unwrap()
    }

    // What went wrong: the URL in `next` was followed wherever it pointed, with the key in its header. A list that is told to go
    // on elsewhere must end with a refusal, and nothing may be asked there.
    #[test]
    fn guide_s34_next_led_to_another_host() {
        let exchanges = r#"[{
            "request": {"method": "GET", "url": "{api}/products"},
            "response": {"status": 200, "json": {"next_page": "https://attacker.example/public/v1/products?page[number]=2", "data": []}}
        }]"#;
        let error = with_exchanges(exchanges, || list(input("{}"), None)).err().unwrap();
        assert_eq!(error.kind.name(), "policy-denied");
    }

    // What went wrong: a page shorter than expected was taken for the last one. Distru has made its pages smaller more than once.
    #[test]
    fn a_list_ends_where_distru_says_so() {
        let first = with_exchanges(
            r#"[{
                "request": {"method": "GET", "url": "{api}/products?skus%5B%5D=A&skus%5B%5D=B"},
                "response": {"status": 200, "json": {"data": [], "next_page": "{api}/products?page%5Bafter%5D=x"}}
            }]"#,
            || list(input(r#"{"skus": ["A", "B"]}"#), None),
        );
        let next = first.unwrap().next;
        assert!(next.is_some());
        let last = with_exchanges(
            r#"[{
                "request": {"method": "GET", "url": "{api}/products?page%5Bafter%5D=x"},
                "response": {"status": 200, "json": {"data": [{"id": "1"}]}}
            }]"#,
            || list(input("{}"), next),
        );
        assert_eq!(last.unwrap().next, None);
    }

    #[test]
    fn a_filter_is_not_passed_over() {
        let error = list(input(r#"{"profile": "guide", "skus": ["A"]}"#), None).err().unwrap();
        assert_eq!(error.message, "/skus: the profile `guide` has no such thing: leave it out");
    }
}
