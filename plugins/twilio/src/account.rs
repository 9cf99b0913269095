//! The account: what everything of the API of 2010 is below of.
//!
//! Its id is no secret and part of every path, so it is an input. A connection says it once (`defaults = { account = "AC…" }`),
//! a call for a subaccount says another.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wharfage_sdk::{Error, Request, Timestamp};

use crate::read;

/// Which account.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FindInput {
    /// The account's id: `AC…`, as the first page of Twilio's console shows it. State it once as a default of the connection.
    account: String,
}

/// An account. Twilio's answer holds its auth token too, which is not read.
#[derive(Deserialize, Serialize, JsonSchema)]
pub(crate) struct Account {
    /// Its id.
    #[serde(default, skip_deserializing)]
    id: String,
    /// Its name.
    #[serde(default, rename(deserialize = "friendly_name"))]
    name: Option<String>,
    /// `active`, `suspended` or `closed`.
    #[serde(default)]
    status: Option<String>,
    /// `Trial` or `Full`. A trial sends to verified numbers only.
    #[serde(default, rename = "type")]
    kind: Option<String>,
    /// When it was opened.
    #[serde(default, rename(deserialize = "date_created"), deserialize_with = "read::moment")]
    created: Option<Timestamp>,
}

/// One account. Its id is the one that was asked for: in the answer the host masks it where it is the user's name too.
pub(crate) fn find(input: FindInput) -> Result<Account, Error> {
    let id = read::sid("/account", &input.account, &["AC"])?;
    let mut account: Account = Request::get(format!("{{api}}/Accounts/{id}.json")).send()?.json()?;
    account.id = input.account;
    Ok(account)
}

/// Where something of an account is.
pub(crate) fn place(account: &str, place: &str) -> Result<String, Error> {
    at("{api}", account, place)
}

/// The same, where it is made.
pub(crate) fn place_to_write(account: &str, place: &str) -> Result<String, Error> {
    at("{write}", account, place)
}

fn at(origin: &str, account: &str, place: &str) -> Result<String, Error> {
    let account = read::sid("/account", account, &["AC"])?;
    Ok(format!("{origin}/Accounts/{account}/{place}"))
}
