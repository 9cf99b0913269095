//! What was paid for an order and what was said about it.

use schemars::JsonSchema;
use serde::Serialize;
use wharfage_sdk::http::segment;
use wharfage_sdk::money::Money;
use wharfage_sdk::{Cursor, Error, Page, Request, Timestamp};

wharfage_sdk::input! {
    /// Of which order.
    pub(crate) struct Input {
        /// The order's number.
        number: String,
    }
}

wharfage_sdk::answer! {
    /// A payment that was recorded with an order.
    #[derive(Serialize, JsonSchema)]
    pub(crate) struct Payment {
        /// LeafLink's id.
        id: u64,
        /// The order's number.
        order: Option<String>,
        /// What was paid.
        total: Option<Money>,
        /// When it was paid.
        payment_date: Option<Timestamp>,
        /// How: `cash`, `check`, `ach` and their like.
        payment_type: Option<String>,
        /// What for.
        reason: Option<String>,
        /// Who recorded it.
        recorder_name: Option<String>,
        /// When it was recorded.
        created_on: Option<Timestamp>,
        /// The last change.
        modified: Option<Timestamp>,
    }
}

wharfage_sdk::answer! {
    /// A comment on an order.
    #[derive(Serialize, JsonSchema)]
    pub(crate) struct Comment {
        /// LeafLink's id.
        id: Option<u64>,
        /// The order's number.
        order: Option<String>,
        /// Who wrote it.
        author_name: Option<String>,
        /// The words.
        message: String,
        /// When it was written.
        created_on: Option<Timestamp>,
        /// The last change.
        modified: Option<Timestamp>,
    }
}

pub(crate) fn payments(input: Input, _: Option<Cursor>) -> Result<Page<Payment>, Error> {
    Ok(Page::whole(part(&input, "payments")?.send()?.json()?))
}

pub(crate) fn comments(input: Input, _: Option<Cursor>) -> Result<Page<Comment>, Error> {
    Ok(Page::whole(part(&input, "comments")?.send()?.json()?))
}

fn part(input: &Input, name: &str) -> Result<Request, Error> {
    let number = segment("/number", &input.number)?;
    Ok(Request::get(format!("{{api}}/orders-received/{number}/{name}/")))
}
