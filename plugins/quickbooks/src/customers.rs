//! Customers. Names are unique over customers, vendors and employees together; who is no longer dealt with is inactive and
//! stays, for invoices point at it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use wharfage_sdk::json::Kept;
use wharfage_sdk::money::Money;
use wharfage_sdk::{Cursor, Error, Page, Timestamp};

use crate::api::{self, MetaData, Named, Reference, named, priced};
use crate::select::{Changed, Order, Select, limit};

/// Which customers.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListInput {
    /// Only those changed at or after this time.
    #[serde(default)]
    since: Option<Timestamp>,
    /// Only the one of exactly this name.
    #[serde(default)]
    name: Option<String>,
    /// Also inactive ones.
    #[serde(default)]
    inactive: bool,
    /// Newest or oldest change first.
    #[serde(default)]
    order: Order,
    /// How many to a page.
    #[serde(default = "limit")]
    #[schemars(range(min = 1, max = 1000))]
    limit: u32,
    /// Also the whole record as QuickBooks wrote it; it holds addresses, phone numbers and e-mail.
    #[serde(default)]
    raw: bool,
}

/// Which customer.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FindInput {
    /// QuickBooks' id of the customer.
    id: String,
    /// Also the whole record as QuickBooks wrote it; it holds addresses, phone numbers and e-mail.
    #[serde(default)]
    raw: bool,
}

/// What is known of a new customer.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
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

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Record {
    id: String,
    #[serde(default)]
    sync_token: Option<String>,
    #[serde(default)]
    display_name: Option<String>,
    #[serde(default)]
    company_name: Option<String>,
    #[serde(default)]
    balance: Option<Money>,
    #[serde(default)]
    currency_ref: Option<Reference>,
    #[serde(default)]
    active: Option<bool>,
    #[serde(default)]
    meta_data: MetaData,
}

impl Changed for Record {
    fn id(&self) -> &str {
        &self.id
    }

    fn modified(&self) -> Option<Timestamp> {
        self.meta_data.last_updated_time
    }
}

pub(crate) fn list(input: ListInput, cursor: Option<Cursor>) -> Result<Page<Customer>, Error> {
    Select::of("Customer", input.order, input.limit)
        .since(input.since)
        .with_some("DisplayName", "=", input.name.as_deref())
        .with_inactive(input.inactive)
        .page(cursor, |record| customer(record, input.raw))
}

pub(crate) fn find(input: FindInput) -> Result<Customer, Error> {
    Ok(customer(api::find("Customer", &input.id)?, input.raw))
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
    Ok(customer(api::create("Customer", input.request_id.as_deref(), &new)?, false))
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

fn customer(record: Kept<Record>, with_raw: bool) -> Customer {
    let Kept { value, raw } = record;
    Customer {
        id: value.id,
        name: value.display_name,
        company_name: value.company_name,
        balance: priced(value.balance, value.currency_ref.as_ref()),
        is_active: value.active,
        version: value.sync_token,
        created: value.meta_data.create_time,
        modified: value.meta_data.last_updated_time,
        raw: with_raw.then_some(raw),
    }
}
