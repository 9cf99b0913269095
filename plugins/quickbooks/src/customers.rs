//! Customers. Names are unique over customers, vendors and employees together; who is no longer dealt with is inactive and
//! stays, for invoices point at it.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::value::RawValue;
use wharfage_sdk::money::Money;
use wharfage_sdk::{Cursor, Error, Page, Timestamp};

use crate::api::{self, FindInput, Named, named};
use crate::fields::{Fields, priced};
use crate::select::{NamesInput, Select};

wharfage_sdk::input! {
    /// What is known of a new customer.
    pub(crate) struct CreateInput {
        /// The name to show; no other customer, vendor or employee may have it.
        #[schemars(length(min = 1, max = 500))]
        name: String,
        /// The company's name.
        #[serde(default)]
        company_name: Option<String>,
        /// A person's first name.
        #[serde(default)]
        given_name: Option<String>,
        /// A person's last name.
        #[serde(default)]
        family_name: Option<String>,
        /// The e-mail address that invoices go to.
        #[serde(default)]
        email: Option<String>,
        /// The phone number.
        #[serde(default)]
        phone: Option<String>,
        /// The currency, as USD, where the company has several; it cannot be changed later.
        #[serde(default)]
        currency: Option<String>,
        /// Notes for the company's own eyes.
        #[serde(default)]
        notes: Option<String>,
        /// A key of your own: with the same one, the same customer is made once, also by a later call. Without it, the host makes
        /// one for this call.
        #[serde(default)]
        #[schemars(length(min = 1, max = 50))]
        request_id: Option<String>,
    }
}

/// A customer. Contact data stays out unless `raw` is asked for.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Customer {
    /// QuickBooks' id.
    id: String,
    /// The name shown.
    name: Option<String>,
    /// The company's name.
    company_name: Option<String>,
    /// What it owes.
    balance: Option<Money>,
    /// Whether it is still dealt with.
    is_active: Option<bool>,
    /// The version of the record, which rises with each change.
    version: Option<String>,
    /// When it was made.
    created: Option<Timestamp>,
    /// The last change.
    modified: Option<Timestamp>,
    /// The record as QuickBooks wrote it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<serde_json::Value>")]
    raw: Option<Box<RawValue>>,
}

pub(crate) fn list(input: NamesInput, cursor: Option<Cursor>) -> Result<Page<Customer>, Error> {
    Select::of("Customer", input.order, input.limit)
        .since(input.since)
        .with_some("DisplayName", "=", input.name.as_deref())
        .with_inactive(input.inactive)
        .page(cursor, |fields, raw| customer(fields, input.raw.then_some(raw)))
}

pub(crate) fn find(input: FindInput) -> Result<Customer, Error> {
    api::find("Customer", &input, customer)
}

pub(crate) fn create(input: CreateInput) -> Result<Customer, Error> {
    let new = New {
        display_name: input.name,
        company_name: input.company_name,
        given_name: input.given_name,
        family_name: input.family_name,
        primary_email_addr: input.email.map(|address| Address { address }),
        primary_phone: input.phone.map(|free_form_number| Phone { free_form_number }),
        currency_ref: input.currency.map(named),
        notes: input.notes,
    };
    api::create("Customer", input.request_id.as_deref(), &new, customer)
}

/// A customer in QuickBooks' words.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct New {
    display_name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    company_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    given_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    family_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    primary_email_addr: Option<Address>,
    #[serde(skip_serializing_if = "Option::is_none")]
    primary_phone: Option<Phone>,
    #[serde(skip_serializing_if = "Option::is_none")]
    currency_ref: Option<Named>,
    #[serde(skip_serializing_if = "Option::is_none")]
    notes: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Address {
    address: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Phone {
    free_form_number: String,
}

fn customer(mut record: Fields<'_>, raw: Option<Box<RawValue>>) -> Result<Customer, Error> {
    let (currency, _) = record.reference("CurrencyRef")?;
    let times = record.times()?;
    Ok(Customer {
        id: record.id()?,
        name: record.text("DisplayName")?,
        company_name: record.text("CompanyName")?,
        balance: priced(record.money("Balance")?, currency.as_ref()),
        is_active: record.flag("Active")?,
        version: record.text("SyncToken")?,
        created: times.created,
        modified: times.modified,
        raw,
    })
}
