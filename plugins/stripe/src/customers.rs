//! Customers: whom payments, invoices and subscriptions are for.

use std::collections::BTreeMap;

use serde_json::Value;
use wharfage_sdk::money::Money;
use wharfage_sdk::{Cursor, Error, Page, Timestamp};

use crate::api;
use crate::fields::Fields;
use crate::inputs::{FindInput, SearchInput, list_input};
use crate::record::{self, Id, Picked, record};

list_input! {
    /// Which customers.
    ListInput {
        /// Only those with exactly this e-mail address, letter by letter.
        email: Option<String>,
    }
}

wharfage_sdk::input! {
    /// A new customer.
    pub(crate) struct CreateInput {
        /// The name.
        #[serde(default)]
        name: Option<String>,
        /// Where receipts and invoices go.
        #[serde(default)]
        email: Option<String>,
        /// The phone number.
        #[serde(default)]
        phone: Option<String>,
        /// A note that only the account's own people see.
        #[serde(default)]
        description: Option<String>,
        /// Where it is.
        #[serde(default)]
        address: Option<Address>,
        /// A payment method to attach, as `pm_…`.
        #[serde(default)]
        payment_method: Option<String>,
        /// Your own notes: up to 50, names of up to 40 characters and values of up to 500.
        #[serde(default)]
        metadata: BTreeMap<String, String>,
        /// The connected account, as `acct_…`; without it, the key's own account.
        #[serde(default)]
        account: Option<String>,
    }
}

wharfage_sdk::input! {
    /// What changes at a customer. What is left out stays; an empty text removes what was there.
    pub(crate) struct UpdateInput {
        /// Its id, as `cus_…`.
        id: String,
        /// The name.
        #[serde(default)]
        name: Option<String>,
        /// Where receipts and invoices go.
        #[serde(default)]
        email: Option<String>,
        /// The phone number.
        #[serde(default)]
        phone: Option<String>,
        /// A note that only the account's own people see.
        #[serde(default)]
        description: Option<String>,
        /// Where it is; the whole address is replaced.
        #[serde(default)]
        address: Option<Address>,
        /// The payment method that invoices are paid with, as `pm_…`; it must be attached.
        #[serde(default)]
        default_payment_method: Option<String>,
        /// Your own notes that change; an empty value removes one.
        #[serde(default)]
        metadata: BTreeMap<String, String>,
        /// The connected account, as `acct_…`; without it, the key's own account.
        #[serde(default)]
        account: Option<String>,
    }
}

wharfage_sdk::input! {
    /// An address.
    struct Address {
        /// Street and number.
        #[serde(default)]
        line1: Option<String>,
        /// Flat, floor or building.
        #[serde(default)]
        line2: Option<String>,
        /// The city.
        #[serde(default)]
        city: Option<String>,
        /// State, county or province.
        #[serde(default)]
        state: Option<String>,
        /// The postal code.
        #[serde(default)]
        postal_code: Option<String>,
        /// The country in two letters, as `DE`.
        #[serde(default)]
        country: Option<String>,
    }
}

record! {
    /// A customer.
    Customer {
        /// Its id, as `cus_…`.
        id: String = "/id",
        /// The name.
        name: Option<String> = "/name",
        /// Where receipts and invoices go.
        email: Option<String> = "/email",
        /// The phone number.
        phone: Option<String> = "/phone",
        /// The note that only the account's own people see.
        description: Option<String> = "/description",
        /// What is credited (below 0) or owed (above 0) on the next invoice, where the customer has a currency.
        balance: Option<Money> = "/balance",
        /// Whether its latest invoice is overdue or a payment failed.
        delinquent: Option<bool> = "/delinquent",
        /// The payment method that invoices are paid with.
        default_payment_method: Option<Id> = "/invoice_settings/default_payment_method",
        /// When it was made; not known of a deleted one.
        created: Option<Timestamp> = "/created",
        /// Whether it was deleted: then only the id is left.
        deleted: bool = "/deleted",
        /// Whether it is real, and not of a sandbox.
        livemode: Option<bool> = "/livemode",
        /// Your own notes.
        metadata: BTreeMap<String, String> = "/metadata",
        /// The object as Stripe wrote it.
        #[serde(skip_serializing_if = "Option::is_none")]
        raw: Option<Value> = "?",
    }
}

pub(crate) fn list(input: ListInput, cursor: Option<Cursor>) -> Result<Page<Picked<Customer>>, Error> {
    let fields = Fields::new().text("email", input.email.as_deref());
    api::list("/customers", fields, &input.paging(), cursor)
}

pub(crate) fn search(input: SearchInput, cursor: Option<Cursor>) -> Result<Page<Picked<Customer>>, Error> {
    api::search("/customers/search", input.query(), &input.paging(), cursor)
}

pub(crate) fn find(input: FindInput) -> Result<Picked<Customer>, Error> {
    let response = api::read(&api::path(["/customers/", ""], &input.id)?, input.account.as_deref())?;
    record::picked(&response, record::raw(input.raw))
}

pub(crate) fn create(input: CreateInput) -> Result<Picked<Customer>, Error> {
    let fields = Fields::new()
        .text("name", input.name.as_deref())
        .text("email", input.email.as_deref())
        .text("phone", input.phone.as_deref())
        .text("description", input.description.as_deref())
        .text("payment_method", input.payment_method.as_deref());
    let fields = with_address(fields, input.address).entries("metadata", &input.metadata);
    let response = api::write("/customers", fields, input.account.as_deref())?;
    record::picked(&response, "")
}

pub(crate) fn update(input: UpdateInput) -> Result<Picked<Customer>, Error> {
    let fields = Fields::new()
        .text("name", input.name.as_deref())
        .text("email", input.email.as_deref())
        .text("phone", input.phone.as_deref())
        .text("description", input.description.as_deref())
        .text("invoice_settings[default_payment_method]", input.default_payment_method.as_deref());
    let fields = with_address(fields, input.address).entries("metadata", &input.metadata);
    let response = api::write(&api::path(["/customers/", ""], &input.id)?, fields, input.account.as_deref())?;
    record::picked(&response, "")
}

fn with_address(fields: Fields, address: Option<Address>) -> Fields {
    let Some(address) = address else { return fields };
    fields
        .text("address[line1]", address.line1.as_deref())
        .text("address[line2]", address.line2.as_deref())
        .text("address[city]", address.city.as_deref())
        .text("address[state]", address.state.as_deref())
        .text("address[postal_code]", address.postal_code.as_deref())
        .text("address[country]", address.country.as_deref())
}
