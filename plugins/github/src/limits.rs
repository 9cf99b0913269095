//! What is left of the quotas. The cheapest thing to ask GitHub, so also what tells whether it can be reached.

use schemars::JsonSchema;
use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize};
use wharfage_sdk::http::Keep;
use wharfage_sdk::{Error, Request, Timestamp};

use crate::{JSON, asked};

/// Nothing needs to be said.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FindInput {}

/// The quotas of whoever asks: of the token, or without one of the address that the request comes from.
#[derive(Serialize, Deserialize, JsonSchema)]
pub(crate) struct Limits {
    /// Of an hour, for everything but searching. 60 means that no token went along.
    core: Quota,
    /// Of a minute, for searching.
    search: Quota,
}

/// A quota.
#[derive(Serialize, Deserialize, JsonSchema)]
pub(crate) struct Quota {
    /// How many requests it has.
    limit: u64,
    /// How many are left.
    remaining: u64,
    /// When it begins anew.
    #[serde(rename(deserialize = "reset"), deserialize_with = "moment")]
    resets_at: Timestamp,
}

#[derive(Deserialize)]
struct Answer {
    resources: Limits,
}

fn moment<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
    let seconds = u64::deserialize(deserializer)?;
    i64::try_from(seconds).map(Timestamp::from_unix_s).map_err(|_| D::Error::custom("no time, expected seconds"))
}

pub(crate) fn find(_input: FindInput) -> Result<Limits, Error> {
    let response = asked(Request::get("{api}/rate_limit"), JSON).keep(Keep::Never).send()?;
    Ok(response.json::<Answer>()?.resources)
}
