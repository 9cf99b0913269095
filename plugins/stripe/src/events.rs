//! Events: what happened in the account during the last 30 days, as Stripe keeps it.

use serde_json::Value;
use wharfage_sdk::{Cursor, Error, Page, Timestamp};

use crate::api;
use crate::fields::Fields;
use crate::inputs::{FindInput, list_input};
use crate::record::{self, Picked, record};

list_input! {
    /// Which events.
    ListInput {
        /// Only those of these types, as `invoice.paid`: up to 20, or one that may end in `*`, as `customer.*`.
        #[schemars(length(max = 20))]
        types: Vec<String>,
        /// `false`: only those that at least one webhook endpoint has not taken (yet). `true`: only those that all have taken.
        delivered: Option<bool>,
    }
}

record! {
    /// Something that happened.
    Happening {
        /// Its id, as `evt_…`.
        id: String = "/id",
        /// What happened, as `invoice.paid`.
        r#type: String = "/type",
        /// When.
        created: Option<Timestamp> = "/created",
        /// To what kind of object, as `invoice`.
        object: Option<String> = "/data/object/object",
        /// To which; some objects have no id.
        object_id: Option<String> = "/data/object/id",
        /// Where that object stood then.
        status: Option<String> = "/data/object/status",
        /// The connected account that it happened in, where it is not the key's own.
        account: Option<String> = "/account",
        /// The id of the request that caused it, where one did.
        request_id: Option<String> = "/request/id",
        /// How many webhook endpoints have not taken it yet.
        pending_webhooks: Option<u64> = "/pending_webhooks",
        /// Whether it is real, and not of a sandbox.
        livemode: Option<bool> = "/livemode",
        /// The event as Stripe wrote it, with the object as it was then.
        #[serde(skip_serializing_if = "Option::is_none")]
        raw: Option<Value> = "?",
    }
}

pub(crate) fn list(input: ListInput, cursor: Option<Cursor>) -> Result<Page<Picked<Happening>>, Error> {
    let fields = filters(&input.types, input.delivered)?;
    api::list("/events", fields, &input.paging(), cursor)
}

pub(crate) fn find(input: FindInput) -> Result<Picked<Happening>, Error> {
    let response = api::read(&api::path(["/events/", ""], &input.id)?, input.account.as_deref())?;
    record::picked(&response, record::raw(input.raw))
}

/// What a list of events is narrowed by. Only a type that stands alone may end in `*`.
pub(crate) fn filters(types: &[String], delivered: Option<bool>) -> Result<Fields, Error> {
    let fields = Fields::new().flag("delivery_success", delivered);
    match types {
        [] => Ok(fields),
        [one] => Ok(fields.text("type", Some(one))),
        several if several.len() > 20 || several.iter().any(|name| name.contains('*')) => {
            let message = "expected up to 20 types, or a single one that may end in `*`";
            Err(Error::invalid_request("/types", message))
        }
        several => Ok(fields.texts("types", several)),
    }
}
