//! The guide's form of the API: one query and one mutation of GraphQL, word for word.
//!
//! A status of 200 says nothing here: the SDK reads `errors[]`, and the mutation's own errors are read too. No value stands
//! in a document, so a connection can grant the two by their names.

use serde_json::value::RawValue;
use serde_json::{Value, json};
use wharfage_sdk::graphql::{self, Connection, Query, UserError};
use wharfage_sdk::{Cursor, Error, Page};

use crate::record::{Record, misfit};

const ENDPOINT: &str = "{graphql}/graphql";

const PRODUCTS: &str = "query GetProducts($first: Int!, $after: String) {
  products(first: $first, after: $after) {
    edges {
      node {
        id
        name
        sku
        category {
          name
        }
        currentInventory {
          quantity
          locationName
        }
        unitPrice
        metrcTagIds
      }
      cursor
    }
    pageInfo {
      hasNextPage
      endCursor
    }
  }
}";

const ADJUST: &str = "mutation UpdateProductInventory($input: UpdateInventoryInput!) {
  updateInventory(input: $input) {
    product {
      id
      currentInventory {
        quantity
        locationName
      }
    }
    errors {
      field
      messages
    }
  }
}";

/// How many products the guide asks for at once.
const FIRST: u32 = 50;

wharfage_sdk::answer! {
    struct Listed {
        products: Connection<Box<RawValue>>,
    }
    struct Changed {
        update_inventory: Payload = "updateInventory",
    }
    struct Payload {
        #[serde(default)]
        product: Option<Box<RawValue>>,
        #[serde(default)]
        errors: Option<Vec<UserError>>,
    }
}

/// A page of products.
pub(crate) fn products(cursor: Option<Cursor>, limit: Option<u32>) -> Result<Page<Record>, Error> {
    let first = limit.unwrap_or(FIRST).clamp(1, 500);
    let page = graphql::page(cursor, |after| {
        let variables = json!({"first": first, "after": after});
        let listed: Listed = Query::new(PRODUCTS).variables(variables).send(ENDPOINT)?;
        Ok(listed.products)
    })?;
    let nodes = page.items.into_iter().enumerate();
    let records = nodes.map(|(index, node)| Record::read(node, format!("/data/products/edges/{index}/node")));
    Ok(Page { items: records.collect::<Result<_, Error>>()?, next: page.next })
}

/// Adjusts stock, and answers the product as it then is. It is never repeated: each time it adjusts once more.
pub(crate) fn adjust(input: Value) -> Result<Record, Error> {
    let changed: Changed = Query::new(ADJUST).variables(json!({"input": input})).send(ENDPOINT)?;
    let Payload { product, errors } = changed.update_inventory;
    graphql::accept(&errors.unwrap_or_default())?;
    let place = "/data/updateInventory/product";
    Record::read(
        product.ok_or_else(|| misfit(place, "", "a product, and there is neither that nor an error"))?,
        place.to_owned(),
    )
}
