//! LeafLink's "Marketplace V2" API from a seller's side: orders and what is done with them, products, stock, customers.
//!
//! LeafLink speaks in two ways, and `profile` says which is meant. Where they go and what the fields are called differs;
//! what comes out of an operation does not. Paths end in `/`, always: without it V2 answers 400.

use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use wharfage_sdk::json::Kept;
use wharfage_sdk::{Error, Response};

mod customers;
mod inventory;
mod order_parts;
mod orders;
mod products;
mod transitions;
mod watch;
mod webhooks;
mod written;

wharfage_sdk::operations! {
    /// Orders by their last change: newest first to look at, oldest first to keep in step with.
    list "orders.list" => orders::list;
    /// One order by its number.
    read "orders.get" => orders::find;
    /// The lines of one order.
    list "orders.line-items" => orders::line_items;
    /// What happened to one order: every change of its status and by whom.
    list "orders.history" => orders::history;
    /// What was paid for one order.
    list "orders.payments" => order_parts::payments;
    /// What was said about one order.
    list "orders.comments" => order_parts::comments;
    /// Accepts, rejects, fulfills, ships, completes, cancels or submits one order. It is sent once; if its answer is lost,
    /// the order's status tells whether it was done.
    write "orders.transition" => transitions::transition;
    /// Products; archived ones only if asked for.
    list "products.list" => products::list;
    /// One product by id.
    read "products.get" => products::find;
    /// Sets the stock, prices or listing state of one product. What is not named stays as it is.
    write "products.update" => products::update;
    /// Stock by facility and batch.
    list "inventory.list" => inventory::list;
    /// The stock of one inventory item.
    read "inventory.get" => inventory::find;
    /// Sets the stock of one inventory item, or archives it.
    write "inventory.update" => inventory::update;
    /// The facilities that stock is kept in.
    list "facilities.list" => inventory::facilities;
    /// Customers of the company that the key belongs to.
    list "customers.list" => customers::list;
    /// One customer by id.
    read "customers.get" => customers::find;
}
pub use webhooks::handle;

wharfage_sdk::plugin!(handle = handle);

/// Which form of the API this connection talks to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Profile {
    /// As LeafLink documents V2: `/orders-received/`, `modified`, the customer as an object, amounts with a currency.
    #[default]
    Documented,
    /// As integrations written before it know it: `/orders/`, `modified_on`, the customer as an id, the total as text.
    Guide,
}

wharfage_sdk::answer! {
    /// One page of a listing. The count beside it is left out: it is stale before it arrives.
    struct Listing {
        #[serde(default)]
        next: Option<String>,
        results: Vec<Box<RawValue>>,
    }
}

impl Listing {
    /// Its items, each with its own text.
    fn records<T: DeserializeOwned>(self, response: &Response) -> Result<Vec<Kept<T>>, Error> {
        let items = self.results.into_iter().enumerate();
        items.map(|(index, raw)| response.part(raw, &format!("/results/{index}"))).collect()
    }
}

/// How many items LeafLink is asked for at once, at most.
const LIMIT_MAX: u32 = 100;

/// A number or a text, as text: LeafLink writes quantities and ids now so, now so, and no digit may be lost.
fn plain(raw: &RawValue) -> String {
    wharfage_sdk::json::parse(raw.get().as_bytes()).unwrap_or_else(|| raw.get().to_owned())
}
