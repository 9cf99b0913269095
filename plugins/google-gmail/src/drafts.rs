//! Drafts: messages that are written and not sent.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use wharfage_sdk::page::Opaque;
use wharfage_sdk::{Cursor, Error, Page, Request};

use crate::compose;
use crate::messages::{self, Done, Head, Named};

/// Which drafts.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListInput {
    /// Words to search for, as in Gmail's own search.
    #[serde(default)]
    query: Option<String>,
    /// How many to a page; each costs five of Gmail's units.
    #[serde(default = "ten")]
    #[schemars(range(min = 1, max = 100))]
    limit: u32,
}

/// Which draft.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SendInput {
    /// The draft's id, as `drafts.list` shows it; not its message's.
    id: String,
}

/// A draft.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Draft {
    /// Its id.
    id: String,
    /// The message in it.
    message: Head,
}

/// A draft that was written.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Written {
    /// Its id.
    id: String,
    /// The id of the message in it; another one once it is sent.
    message_id: String,
    /// The thread that it belongs to.
    thread_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Listing {
    #[serde(default)]
    next_page_token: Option<String>,
    #[serde(default)]
    drafts: Vec<Listed>,
}

#[derive(Deserialize)]
struct Listed {
    id: String,
    message: Named,
}

#[derive(Deserialize)]
struct Record {
    id: String,
    message: InRecord,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct InRecord {
    id: String,
    thread_id: String,
}

fn ten() -> u32 {
    10
}

pub(crate) fn list(input: ListInput, cursor: Option<Cursor>) -> Result<Page<Draft>, Error> {
    let at = Opaque::resume(cursor)?;
    let listing: Listing = Request::get("{api}/users/me/drafts")
        .query("maxResults", input.limit.clamp(1, 100))
        .query_some("q", input.query.as_deref())
        .query_some("pageToken", at.mark())
        .send()?
        .json()?;
    let next = at.advance(listing.next_page_token.as_deref())?;
    let heads = messages::heads(listing.drafts.iter().map(|draft| draft.message.id.as_str()))?;
    let drafts = listing.drafts.into_iter().zip(heads);
    // One that was sent or thrown away meanwhile is a draft no more.
    let drafts = drafts.filter_map(|(draft, message)| Some(Draft { id: draft.id, message: message? }));
    Page::new(drafts.collect(), next.as_ref())
}

pub(crate) fn create(input: compose::Input) -> Result<Written, Error> {
    let draft = json!({"message": compose::raw(input)?});
    let record: Record = Request::post("{api}/users/me/drafts").json(&draft)?.send()?.json()?;
    Ok(Written { id: record.id, message_id: record.message.id, thread_id: record.message.thread_id })
}

pub(crate) fn send(input: SendInput) -> Result<Done, Error> {
    Request::post("{api}/users/me/drafts/send").json(&json!({"id": input.id}))?.send()?.json()
}
