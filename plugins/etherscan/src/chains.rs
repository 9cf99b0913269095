//! The chains that Etherscan serves. The one question that needs no key, so none is sent.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wharfage_sdk::{Cursor, Error, Page, Request};

use crate::{answer, exact};

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Input {}

/// One chain.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Chain {
    /// Its id, for the `chainid` of the other operations.
    chainid: u64,
    /// Its name.
    name: String,
    /// How the API for it is doing.
    status: Health,
    /// Its pages for people.
    explorer: String,
    /// What Etherscan remarks on it.
    comment: Option<String>,
}

/// How the API for a chain is doing.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Health {
    /// It answers.
    Ok,
    /// It answers badly.
    Degraded,
    /// It does not answer.
    Offline,
    /// Etherscan says something that it does not document.
    Unknown,
}

/// A chain as Etherscan writes it.
#[derive(Deserialize)]
struct Row {
    #[serde(deserialize_with = "exact::count")]
    chainid: u64,
    chainname: String,
    #[serde(deserialize_with = "exact::text")]
    status: String,
    #[serde(default)]
    blockexplorer: String,
    #[serde(default)]
    comment: String,
}

pub(crate) fn list(_: Input, _: Option<Cursor>) -> Result<Page<Chain>, Error> {
    let response = Request::get("{api}/chainlist").anonymous().send()?;
    let rows: Option<Vec<Row>> = answer::read("the chain list", &response)?;
    Ok(Page { items: rows.unwrap_or_default().into_iter().map(chain).collect(), next: None })
}

fn chain(row: Row) -> Chain {
    Chain {
        chainid: row.chainid,
        name: row.chainname,
        // "Available Status codes are (0)=Offline, (1)=Ok, (2)=Degraded", says the answer itself.
        status: match row.status.as_str() {
            "0" => Health::Offline,
            "1" => Health::Ok,
            "2" => Health::Degraded,
            _ => Health::Unknown,
        },
        explorer: row.blockexplorer,
        comment: Some(row.comment).filter(|comment| !comment.is_empty()),
    }
}
