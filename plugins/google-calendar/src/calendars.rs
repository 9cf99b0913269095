//! The calendars in an account's list.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wharfage_sdk::page::Opaque;
use wharfage_sdk::{Cursor, Error, Page, Request};

/// Which calendars.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListInput {
    /// Also those that the account hides.
    #[serde(default)]
    hidden: bool,
    /// Only those whose events the account may change.
    #[serde(default)]
    writable: bool,
    /// How many to a page.
    #[serde(default = "most")]
    #[schemars(range(min = 1, max = 250))]
    limit: u32,
}

/// A calendar.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Calendar {
    /// Its id, which events are asked for with; the account's own calendar is also `primary`.
    id: String,
    /// What the account calls it.
    name: String,
    /// What it is for.
    description: Option<String>,
    /// Its zone, as `America/Anchorage`.
    time_zone: Option<String>,
    /// What the account may do: `freeBusyReader`, `reader`, `writer` or `owner`.
    access: Option<String>,
    /// Whether it is the account's own.
    is_primary: bool,
    /// Whether the account hides it.
    is_hidden: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Listing {
    #[serde(default)]
    next_page_token: Option<String>,
    #[serde(default)]
    items: Vec<Record>,
    kind: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    id: String,
    #[serde(default)]
    summary: Option<String>,
    #[serde(default)]
    summary_override: Option<String>,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    time_zone: Option<String>,
    #[serde(default)]
    access_role: Option<String>,
    #[serde(default)]
    primary: bool,
    #[serde(default)]
    hidden: bool,
}

const LIMIT_MAX: u32 = 250;

fn most() -> u32 {
    LIMIT_MAX
}

pub(crate) fn list(input: ListInput, cursor: Option<Cursor>) -> Result<Page<Calendar>, Error> {
    let at = Opaque::resume(cursor)?;
    let response = Request::get("{api}/users/me/calendarList")
        .query("maxResults", input.limit.clamp(1, LIMIT_MAX))
        .query_some("showHidden", input.hidden.then_some("true"))
        .query_some("minAccessRole", input.writable.then_some("writer"))
        .query_some("pageToken", at.mark())
        .send()?;
    let listing: Listing = response.json()?;
    if listing.kind != "calendar#calendarList" {
        return Err(response.error(wharfage_sdk::ErrorKind::SchemaViolation, "the answer is no list of calendars"));
    }
    let next = at.advance(listing.next_page_token.as_deref())?;
    let calendar = |record: Record| Calendar {
        name: record.summary_override.or(record.summary).unwrap_or_default(),
        id: record.id,
        description: record.description,
        time_zone: record.time_zone,
        access: record.access_role,
        is_primary: record.primary,
        is_hidden: record.hidden,
    };
    Page::new(listing.items.into_iter().map(calendar).collect(), next.as_ref())
}
