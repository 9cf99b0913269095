//! What a seller does with an order: accept it, ship it, and so on. One step at a time, and never twice by accident.

use schemars::JsonSchema;
use serde::Deserialize;
use wharfage_sdk::http::segment;
use wharfage_sdk::{Error, Request};

use crate::orders::{self, Order, OrderRecord};
use crate::{Profile, written};

wharfage_sdk::input! {
    /// Which order, and what is done with it.
    pub(crate) struct Input {
        /// The order's number.
        number: String,
        /// What is done: `submit` a draft, `accept` or `reject` what was submitted, then `fulfill`, `ship`, `complete`; or
        /// `cancel`. LeafLink refuses what does not follow from the order's status.
        action: Action,
        /// Also the order as LeafLink wrote it.
        #[serde(default)]
        raw: bool,
    }
}

/// The actions of V2.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Action {
    Submit,
    Accept,
    Fulfill,
    Ship,
    Complete,
    Reject,
    Cancel,
}

impl Action {
    /// Its word in the path, and the status of an order for which it was done.
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Submit => ("submit", "Submitted"),
            Self::Accept => ("accept", "Accepted"),
            Self::Fulfill => ("fulfill", "Fulfilled"),
            Self::Ship => ("ship", "Shipped"),
            Self::Complete => ("complete", "Complete"),
            Self::Reject => ("reject", "Rejected"),
            Self::Cancel => ("cancel", "Cancelled"),
        }
    }
}

pub(crate) fn transition(input: Input) -> Result<Order, Error> {
    let number = segment("/number", &input.number)?;
    let (word, status) = input.action.words();
    let write = Request::post(format!("{{write}}/orders-received/{number}/transition/{word}/"));
    let look = orders::one(&input.number, Profile::Documented)?;
    let record = written::once(write, look, |order: &OrderRecord| order.status == status)?;
    orders::single(record, false, input.raw)
}
