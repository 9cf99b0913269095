//! Customers: a seller's own records of who buys. An order names its customer by id; the name is kept here.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::value::RawValue;
use wharfage_sdk::http::{Keep, Repeat, send_all};
use wharfage_sdk::json::Kept;
use wharfage_sdk::page::NextUrl;
use wharfage_sdk::{Cursor, Error, ErrorKind, Page, Request, Timestamp, log};

use crate::{LIMIT_MAX, Listing, Profile};

wharfage_sdk::input! {
    /// Which customers.
    pub(crate) struct ListInput {
        /// Only those changed at or after this time.
        #[serde(default)]
        since: Option<Timestamp>,
        /// How many to a page.
        #[schemars(range(min = 1, max = 100))]
        limit: u32 = LIMIT_MAX,
        /// Also the whole record as LeafLink wrote it; it holds addresses, phone numbers and e-mail.
        #[serde(default)]
        raw: bool,
        /// Which form of the API; customers are the same in both.
        #[serde(default)]
        profile: Profile,
    }
}

wharfage_sdk::input! {
    /// Which customer.
    pub(crate) struct FindInput {
        /// LeafLink's id of the customer.
        id: u64,
        /// Also the whole record as LeafLink wrote it; it holds addresses, phone numbers and e-mail.
        #[serde(default)]
        raw: bool,
        /// Which form of the API; customers are the same in both.
        #[serde(default)]
        profile: Profile,
    }
}

/// A customer. Contact data stays out unless `raw` is asked for.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Customer {
    /// LeafLink's id.
    id: u64,
    /// The name.
    name: Option<String>,
    /// What the seller calls it.
    nickname: Option<String>,
    /// The number of its licence.
    license_number: Option<String>,
    /// The state it is in, abbreviated.
    state: Option<String>,
    /// The last change.
    modified: Option<Timestamp>,
    /// The record as LeafLink wrote it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<serde_json::Value>")]
    raw: Option<Box<RawValue>>,
}

wharfage_sdk::answer! {
    struct Record {
        id: u64,
        #[serde(default)]
        name: Option<String>,
        #[serde(default)]
        nickname: Option<String>,
        #[serde(default)]
        license_number: Option<String>,
        #[serde(default)]
        state: Option<String>,
        #[serde(default)]
        modified: Option<Timestamp>,
    }
}

pub(crate) fn list(input: ListInput, cursor: Option<Cursor>) -> Result<Page<Customer>, Error> {
    let ListInput { since, limit, raw, profile: _profile } = input;
    let at = NextUrl::resume(cursor)?;
    let first = || {
        Request::get("{api}/customers/").query("limit", limit.clamp(1, LIMIT_MAX)).query_some("modified__gte", since)
    };
    let response = at.request(first).send()?;
    let listing: Listing = response.json()?;
    let next = at.advance(&response.url, listing.next.as_deref())?;
    let records = listing.records(&response)?;
    Page::new(records.into_iter().map(|record| customer(record, raw)).collect(), next.as_ref())
}

pub(crate) fn find(input: FindInput) -> Result<Customer, Error> {
    let FindInput { id, raw, profile: _profile } = input;
    let response = request(id).send()?;
    Ok(customer(response.part(response.json()?, "")?, raw))
}

/// How many lookups of a page may fail: the host leaves an origin alone after five failures in a row, and the next page of
/// orders is to be had there.
const FAILURES_MAX: usize = 4;

/// The names of these customers, looked up side by side. One that is not there has no name; neither has one whose lookup
/// failed, and the log says so: an order without its customer's name is worth more than no order. So no lookup is
/// repeated, and after some that failed none is begun.
pub(crate) fn names(ids: &BTreeSet<u64>) -> BTreeMap<u64, String> {
    let (mut named, mut failures) = (BTreeMap::new(), 0);
    let mut left = ids.iter().copied();
    loop {
        let some: Vec<u64> = left.by_ref().take(FAILURES_MAX - failures).collect();
        if some.is_empty() {
            break;
        }
        let answers = send_all(some.iter().map(|id| request(*id).repeat(Repeat::Never)).collect());
        for (id, answer) in some.into_iter().zip(answers) {
            match answer.and_then(|response| response.json::<Record>()) {
                Ok(record) => named.extend(record.display_name().map(|name| (id, name))),
                Err(error) if error.kind == ErrorKind::NotFound => {}
                Err(error) => {
                    failures += 1;
                    log::warn(
                        "a customer's name could not be looked up",
                        &[("customer_id", &id), ("kind", &error.kind.name())],
                    );
                }
            }
        }
    }
    let count = left.count();
    if count > 0 {
        log::warn("the names of the page's other customers are not looked up", &[("customers", &count)]);
    }
    named
}

/// Every page of orders names its customers again, and their names seldom change (the guide, item 69). One that is not there
/// is asked for once a page: it may come, and only an answer with a record is kept.
fn request(id: u64) -> Request {
    Request::get(format!("{{api}}/customers/{id}/")).keep(Keep::Seconds(300))
}

fn customer(record: Kept<Record>, with_raw: bool) -> Customer {
    let Kept { value, raw } = record;
    Customer {
        id: value.id,
        name: value.name,
        nickname: value.nickname,
        license_number: value.license_number,
        state: value.state,
        modified: value.modified,
        raw: with_raw.then_some(raw),
    }
}

impl Record {
    /// As LeafLink displays it on orders: the nickname if there is one, else the name.
    fn display_name(self) -> Option<String> {
        [self.nickname, self.name].into_iter().flatten().find(|name| !name.is_empty())
    }
}
