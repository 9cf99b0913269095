//! The chains that Etherscan serves. The one question that needs no key, so none is sent.

use schemars::JsonSchema;
use wharfage_sdk::{Cursor, Error, Page, Request};

use crate::answer;
use crate::record::{Of, Picked, pick_all, record};

wharfage_sdk::input! {
    pub(crate) struct Input {}
}

record! {
    /// One chain.
    Chain {
        /// Its id, for the `chainid` of the other operations.
        chainid: u64 = Count(Name::ChainId),
        /// Its name.
        name: String = Text(Name::ChainName),
        /// How the API for it is doing.
        status: Health = Health,
        /// Its pages for people.
        explorer: String = Maybe(Name::Explorer),
        /// What Etherscan remarks on it.
        comment: Option<String> = Written(Name::Comment),
    }
}

/// How the API for a chain is doing.
#[derive(JsonSchema)]
#[serde(rename_all = "lowercase")]
#[allow(dead_code)] // it is there for its schema
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

pub(crate) fn list(_: Input, _: Option<Cursor>) -> Result<Page<Picked<Chain>>, Error> {
    let response = Request::get("{api}/chainlist").anonymous().send()?;
    let rows = answer::read("the chain list", response)?.map_or(Ok(Vec::new()), |found| found.rows(Of::Else))?;
    Ok(Page { items: pick_all(&rows)?, next: None })
}
