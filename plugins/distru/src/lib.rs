//! Distru from a maker's side: products and their stock, orders, invoices, companies, packages, batches and adjustments.
//!
//! What is read is eventually consistent: a change takes up to a second to be seen. What is written has no idempotency key,
//! so a POST that makes something is never repeated, and one that names what it changes may be.

use wharfage_sdk::Error;

mod adjustments;
mod batches;
mod body;
mod changes;
mod companies;
mod guide;
mod inventory;
mod invoices;
mod listing;
mod orders;
mod packages;
mod products;
mod record;

use record::record;

wharfage_sdk::operations! {
    /// Products with what there is of them, the oldest first; deleted ones only if asked for.
    list "products.list" => products::list;
    /// One product by its id.
    read "products.get" => products::find;
    /// What is in stock, rolled up by product and, if asked for, by location and batch number.
    list "inventory.list" => inventory::list;
    /// Sales orders, the latest order date first.
    list "orders.list" => orders::list;
    /// One sales order by its id, with its lines.
    read "orders.get" => orders::find;
    /// Makes a sales order; each call makes another one.
    write "orders.create" => orders::create;
    /// Changes what is given of a sales order and leaves the rest as it is.
    idempotent "orders.update" => orders::update;
    /// Invoices, with what is paid of them and what remains.
    list "invoices.list" => invoices::list;
    /// One invoice by its id.
    read "invoices.get" => invoices::find;
    /// Customers and vendors, with what they owe.
    list "companies.list" => companies::list;
    /// One customer or vendor by its id.
    read "companies.get" => companies::find;
    /// Packages with their compliance labels and quantities.
    list "packages.list" => packages::list;
    /// Batches with their numbers and what is left of them.
    list "batches.list" => batches::list;
    /// Adjustments of stock that were made by hand.
    list "adjustments.list" => adjustments::list;
    /// Adjusts stock by a quantity, up or down; it cannot be taken back, and each call adjusts once more.
    write "adjustments.create" => adjustments::create;
}
pub use changes::handle;

wharfage_sdk::plugin!(handle = handle);

wharfage_sdk::words! {
    /// Which form of the API this connection talks to.
    #[derive(Clone, Copy, Default, PartialEq, Eq)]
    enum Profile {
        /// As Distru documents it: REST.
        #[default]
        Documented = "documented",
        /// As the guide shows it: the GraphQL operations `GetProducts` and `UpdateProductInventory`.
        Guide = "guide",
    }
}

record! {
    /// What there is of a product at one place.
    Stock {
        /// The name of the location.
        location: Option<String> = "locationName",
        /// How much is there, as decimal text.
        quantity: Option<String> = "quantity",
    }
}

wharfage_sdk::input! {
    /// Which record.
    struct FindInput {
        /// Distru's id.
        id: String,
        /// Also the whole record as Distru wrote it.
        #[serde(default)]
        raw: bool,
    }
}

impl Profile {
    /// Refuses what the guide's form of the API has no words for, so that no filter is passed over in silence.
    fn refuse(self, given: &[(&str, bool)]) -> Result<(), Error> {
        match given.iter().find(|(_, is_given)| *is_given && self == Self::Guide) {
            Some((field, _)) => {
                Err(Error::invalid_request(*field, "the profile `guide` has no such thing: leave it out"))
            }
            None => Ok(()),
        }
    }
}
