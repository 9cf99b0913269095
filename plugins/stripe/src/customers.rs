//! Customers: whom payments, invoices and subscriptions are for.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use wharfage_sdk::money::Money;
use wharfage_sdk::{Cursor, Error, Page, Timestamp};

use crate::api;
use crate::fields::Fields;
use crate::inputs::{FindInput, SearchInput, list_input};
use crate::record::Record;

list_input! {
    /// Which customers.
    ListInput {
        /// Only those with exactly this e-mail address, letter by letter.
        email: Option<String>,
    }
}

/// A new customer.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
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

/// What changes at a customer. What is left out stays; an empty text removes what was there.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
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

/// An address.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
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

/// A customer.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Customer {
    /// Its id, as `cus_…`.
    id: String,
    /// The name.
    name: Option<String>,
    /// Where receipts and invoices go.
    email: Option<String>,
    /// The phone number.
    phone: Option<String>,
    /// The note that only the account's own people see.
    description: Option<String>,
    /// What is credited (below 0) or owed (above 0) on the next invoice, where the customer has a currency.
    balance: Option<Money>,
    /// Whether its latest invoice is overdue or a payment failed.
    delinquent: Option<bool>,
    /// The payment method that invoices are paid with.
    default_payment_method: Option<String>,
    /// When it was made; not known of a deleted one.
    created: Option<Timestamp>,
    /// Whether it was deleted: then only the id is left.
    deleted: bool,
    /// Whether it is real, and not of a sandbox.
    livemode: Option<bool>,
    /// Your own notes.
    metadata: BTreeMap<String, String>,
    /// The object as Stripe wrote it.
    #[serde(skip_serializing_if = "Option::is_none")]
    raw: Option<Value>,
}

pub(crate) fn list(input: ListInput, cursor: Option<Cursor>) -> Result<Page<Customer>, Error> {
    let fields = Fields::new().text("email", input.email.as_deref());
    api::list("/customers", fields, &input.paging(), cursor, customer)
}

pub(crate) fn search(input: SearchInput, cursor: Option<Cursor>) -> Result<Page<Customer>, Error> {
    api::search("/customers/search", input.query(), &input.paging(), cursor, customer)
}

pub(crate) fn find(input: FindInput) -> Result<Customer, Error> {
    let response = api::read(&api::path(["/customers/", ""], &input.id)?, input.account.as_deref())?;
    customer(&Record::whole(&response)?, input.raw)
}

pub(crate) fn create(input: CreateInput) -> Result<Customer, Error> {
    let fields = Fields::new()
        .text("name", input.name.as_deref())
        .text("email", input.email.as_deref())
        .text("phone", input.phone.as_deref())
        .text("description", input.description.as_deref())
        .text("payment_method", input.payment_method.as_deref());
    let fields = with_address(fields, input.address).entries("metadata", &input.metadata);
    let response = api::write("/customers", fields, input.account.as_deref())?;
    customer(&Record::whole(&response)?, false)
}

pub(crate) fn update(input: UpdateInput) -> Result<Customer, Error> {
    let fields = Fields::new()
        .text("name", input.name.as_deref())
        .text("email", input.email.as_deref())
        .text("phone", input.phone.as_deref())
        .text("description", input.description.as_deref())
        .text("invoice_settings[default_payment_method]", input.default_payment_method.as_deref());
    let fields = with_address(fields, input.address).entries("metadata", &input.metadata);
    let response = api::write(&api::path(["/customers/", ""], &input.id)?, fields, input.account.as_deref())?;
    customer(&Record::whole(&response)?, false)
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

fn customer(record: &Record<'_>, with_raw: bool) -> Result<Customer, Error> {
    Ok(Customer {
        id: record.need("/id")?,
        name: record.text("/name"),
        email: record.text("/email"),
        phone: record.text("/phone"),
        description: record.text("/description"),
        balance: record.money("/balance")?,
        delinquent: record.flag("/delinquent"),
        default_payment_method: record.id_of("/invoice_settings/default_payment_method"),
        created: record.time("/created"),
        deleted: record.flag("/deleted").unwrap_or(false),
        livemode: record.flag("/livemode"),
        metadata: record.metadata(),
        raw: record.raw(with_raw),
    })
}
