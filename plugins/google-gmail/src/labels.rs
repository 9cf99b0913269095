//! The labels of a mailbox.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wharfage_sdk::{Cursor, Error, Page, Request};

/// Nothing to choose.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListInput {}

/// A label.
#[derive(Deserialize, Serialize, JsonSchema)]
pub(crate) struct Label {
    /// Its id, which everything else here wants.
    id: String,
    /// Its name, as Gmail shows it.
    name: String,
    /// `system` for Gmail's own, `user` for the user's.
    #[serde(rename(deserialize = "type"), default)]
    kind: Option<String>,
}

#[derive(Deserialize)]
struct Listing {
    /// Gmail answers all of them at once.
    labels: Vec<Label>,
}

pub(crate) fn list(_: ListInput, _: Option<Cursor>) -> Result<Page<Label>, Error> {
    let listing: Listing = Request::get("{api}/users/me/labels").send()?.json()?;
    Ok(Page::whole(listing.labels))
}
