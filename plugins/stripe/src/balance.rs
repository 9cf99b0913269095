//! What the account holds: one small request, and so the probe for whether a connection works.

use schemars::JsonSchema;
use serde::Serialize;
use wharfage_sdk::Error;
use wharfage_sdk::money::Money;

use crate::api;
use crate::record::Record;

wharfage_sdk::input! {
    /// Whose balance.
    pub(crate) struct FindInput {
        /// The connected account, as `acct_…`; without it, the key's own account.
        #[serde(default)]
        account: Option<String>,
    }
}

/// A balance.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Balance {
    /// What can be paid out, one amount for each currency.
    available: Vec<Money>,
    /// What came and cannot be paid out yet, one amount for each currency.
    pending: Vec<Money>,
    /// Whether the money is real, and not of a sandbox.
    livemode: Option<bool>,
}

pub(crate) fn find(input: FindInput) -> Result<Balance, Error> {
    let response = api::read("/balance", input.account.as_deref())?;
    let record = Record::whole(&response)?;
    record.need("/object")?;
    Ok(Balance {
        available: amounts(&record, "/available")?,
        pending: amounts(&record, "/pending")?,
        livemode: record.flag("/livemode"),
    })
}

fn amounts(record: &Record<'_>, pointer: &str) -> Result<Vec<Money>, Error> {
    let amounts = record.all(pointer)?.iter().map(|amount| amount.money("/amount")).collect::<Result<Vec<_>, _>>()?;
    Ok(amounts.into_iter().flatten().collect())
}
