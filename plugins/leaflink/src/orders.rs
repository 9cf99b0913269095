//! Orders as a seller receives them, their lines and their history.
//!
//! A list of orders moves while it is read: each change puts an order at the top. Counting off pages then skips some and
//! shows others twice, so pages are not counted: each begins at the last change that the page before saw, and what was seen is
//! dropped. Oldest first, nothing is missed however much is written meanwhile: an order that changes comes again, later.
//! Newest first, an order that changes while the list is read is not shown again; it is the first of the next list.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use wharfage_sdk::http::segment;
use wharfage_sdk::json::{self, Kept};
use wharfage_sdk::money::Money;
use wharfage_sdk::page::{Keyset, NextUrl};
use wharfage_sdk::{Cursor, Error, Page, Request, Timestamp, log};

use crate::{LIMIT_MAX, Listing, Profile, customers, plain, written};

wharfage_sdk::input! {
    /// Which orders.
    pub(crate) struct ListInput {
        /// Only those changed at or after this time.
        #[serde(default)]
        since: Option<Timestamp>,
        /// Only those in this status.
        #[serde(default)]
        status: Option<Status>,
        /// How many to a page.
        #[schemars(range(min = 1, max = 100))]
        limit: u32 = LIMIT_MAX,
        /// Which change comes first. Without it: the oldest where `since` is given, for keeping in step; else the newest.
        #[serde(default)]
        order: Option<Sort>,
        /// Also the lines of each order.
        #[serde(default)]
        line_items: bool,
        /// Also each order as LeafLink wrote it.
        #[serde(default)]
        raw: bool,
        /// The seller's id at LeafLink. Only the profile `guide` filters by it; `/orders-received/` are the key's own anyway.
        #[serde(default)]
        seller: Option<u64>,
        /// Which form of the API.
        #[serde(default)]
        profile: Profile,
    }
}

/// What is asked for.
pub(crate) struct Asked {
    input: ListInput,
    /// Whether only what a hint needs.
    brief: bool,
}

wharfage_sdk::input! {
    /// Which order.
    pub(crate) struct FindInput {
        /// The order's number; in the profile `guide` its id.
        number: String,
        /// Also the order as LeafLink wrote it.
        #[serde(default)]
        raw: bool,
        /// Which form of the API.
        #[serde(default)]
        profile: Profile,
    }
}

wharfage_sdk::input! {
    /// Of which order.
    pub(crate) struct PartInput {
        /// The order's number; in the profile `guide` its id.
        number: String,
        /// Which form of the API.
        #[serde(default)]
        profile: Profile,
    }
}

/// Which change comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Sort {
    Newest,
    Oldest,
}

/// The statuses of V2, as LeafLink writes them.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
enum Status {
    Draft,
    Submitted,
    Accepted,
    Backorder,
    Fulfilled,
    Shipped,
    Complete,
    Rejected,
    Combined,
    Cancelled,
}

/// An order.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Order {
    /// Its number, the same in both profiles. `orders.get` asks for it, in the profile `guide` for `id`.
    number: String,
    /// Its id, where LeafLink names one.
    id: Option<u64>,
    /// Its status, as `Submitted`.
    status: String,
    /// The customer's id.
    customer_id: Option<u64>,
    /// The customer's name; null where there is no such customer or it could not be looked up.
    customer_name: Option<String>,
    /// What it costs in all.
    total: Option<Money>,
    /// When it was made.
    created_on: Option<Timestamp>,
    /// The last change.
    modified: Option<Timestamp>,
    /// Its lines, where they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    line_items: Option<Vec<Line>>,
    /// The order as LeafLink wrote it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<serde_json::Value>")]
    raw: Option<Box<RawValue>>,
}

/// A line of an order. The product itself is another question: `products.list`.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Line {
    /// LeafLink's id of the line.
    id: Option<u64>,
    /// LeafLink's id of the product.
    product: Option<String>,
    /// How many units, as decimal text.
    quantity: Option<String>,
    /// What one unit cost when it was ordered.
    unit_price: Option<Money>,
    /// Whether it is a sample.
    is_sample: Option<bool>,
    /// What was noted with it.
    notes: Option<String>,
}

/// One thing that happened to an order.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Change {
    /// LeafLink's id of the entry.
    id: Option<u64>,
    /// When it happened.
    at: Option<Timestamp>,
    /// What happened, as `accepted` or `edited`.
    event: Option<String>,
    /// The user who did it.
    by: Option<String>,
    /// In words.
    description: Option<String>,
    /// The entry as LeafLink wrote it.
    #[schemars(with = "serde_json::Value")]
    raw: Box<RawValue>,
}

wharfage_sdk::answer! {
    /// An order as either profile writes it.
    pub(crate) struct OrderRecord {
        pub(crate) number: String,
        pub(crate) status: String,
        #[serde(default)]
        id: Option<u64>,
        #[serde(default)]
        customer: Option<Party>,
        #[serde(default)]
        total: Option<Money>,
        #[serde(default)]
        created_on: Option<Timestamp>,
        #[serde(default)]
        modified: Option<Moment>,
        #[serde(default)]
        modified_on: Option<Moment>,
        #[serde(default)]
        line_items: Option<Vec<LineRecord>>,
    }
}

/// The customer on an order: an id, or an object that mostly brings its name along.
struct Party {
    id: u64,
    display_name: Option<String>,
}

impl<'de> Deserialize<'de> for Party {
    // By hand, because an untagged enum costs a component ten times the code.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        wharfage_sdk::answer! {
            struct Light {
                id: u64,
                #[serde(default)]
                display_name: Option<String>,
            }
        }
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        let party = if raw.get().starts_with('{') {
            json::parse(raw.get().as_bytes()).map(|Light { id, display_name }| Self { id, display_name })
        } else {
            json::parse(raw.get().as_bytes()).map(|id| Self { id, display_name: None })
        };
        party.ok_or_else(|| D::Error::custom("no customer, expected an id or an object with an id"))
    }
}

/// A time and its own text: LeafLink counts microseconds, and a filter must be given back exactly what was read.
#[derive(Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Moment {
    pub(crate) text: String,
    pub(crate) at: Timestamp,
}

impl TryFrom<String> for Moment {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let at = Timestamp::parse(&text).ok_or("no time, expected an RFC 3339 time with an offset")?;
        Ok(Self { text, at })
    }
}

wharfage_sdk::answer! {
    struct LineRecord {
        #[serde(default)]
        id: Option<u64>,
        #[serde(default)]
        product: Option<Box<RawValue>>,
        #[serde(default)]
        quantity: Option<Box<RawValue>>,
        #[serde(default)]
        ordered_unit_price: Option<Money>,
        #[serde(default)]
        is_sample: Option<bool>,
        #[serde(default)]
        notes: Option<String>,
    }
}

wharfage_sdk::answer! {
    struct ChangeRecord {
        #[serde(default)]
        id: Option<u64>,
        #[serde(default)]
        event_type: Option<String>,
        #[serde(default)]
        status: Option<String>,
        #[serde(default)]
        by: Option<String>,
        #[serde(default)]
        description: Option<String>,
        #[serde(default)]
        timestamp: Option<Timestamp>,
        #[serde(default)]
        created_on: Option<Timestamp>,
    }
}

/// Where a list of orders stands.
#[derive(Deserialize, Serialize)]
pub(crate) enum Place {
    /// After a change.
    #[serde(rename = "k")]
    Sorted(Keyset),
    /// At the URL that LeafLink named: the way out when it does not sort as asked, which V2 promises nowhere.
    #[serde(rename = "c")]
    Counted { at: NextUrl, seen: Vec<String> },
}

pub(crate) fn list(input: ListInput, cursor: Option<Cursor>) -> Result<Page<Order>, Error> {
    let place = match cursor {
        Some(cursor) => cursor.decode()?,
        None => Place::default(),
    };
    let asked = Asked { input, brief: false };
    let (records, next) = page(&asked, &place)?;
    Page::new(orders(records, asked.input.line_items, asked.input.raw), next.as_ref())
}

/// What is new on the page at this place, and where to go on.
pub(crate) fn page(asked: &Asked, place: &Place) -> Result<(Vec<Kept<OrderRecord>>, Option<Place>), Error> {
    let request = match place {
        Place::Sorted(keyset) => asked.request(keyset),
        Place::Counted { at, .. } => at.request(|| asked.request(&Keyset::default())),
    };
    let response = request.send()?;
    let mut listing: Listing = response.json()?;
    let next_url = listing.next.take();
    let next = next_url.as_deref();
    let records: Vec<Kept<OrderRecord>> = listing.records(&response)?;

    let next = match (place, keys(&records, asked.sort())) {
        (Place::Sorted(keyset), Some(keys)) => keyset.advance(keys, next.is_some())?.map(Place::Sorted),
        (place, _) => {
            let at = match place {
                Place::Counted { at, .. } => at.clone(),
                Place::Sorted(_) => NextUrl::default(),
            };
            if matches!(place, Place::Sorted(_)) && next.is_some() {
                log::warn(
                    "orders do not come sorted by their last change: pages are counted, so some may be missed",
                    &[],
                );
            }
            let seen = records.iter().map(|record| record.value.number.clone()).collect();
            at.advance(&response.url, next)?.map(|at| Place::Counted { at, seen })
        }
    };
    Ok((records.into_iter().filter(|record| place.is_new(&record.value)).collect(), next))
}

pub(crate) fn find(input: FindInput) -> Result<Order, Error> {
    single(written::read(one(&input.number, input.profile)?)?, true, input.raw)
}

/// One order.
pub(crate) fn single(record: Kept<OrderRecord>, with_lines: bool, with_raw: bool) -> Result<Order, Error> {
    let found = orders(vec![record], with_lines, with_raw).pop();
    found.ok_or_else(|| Error::internal("one order became none"))
}

pub(crate) fn line_items(input: PartInput, _: Option<Cursor>) -> Result<Page<Line>, Error> {
    let records = match input.profile {
        Profile::Documented => {
            let number = segment("/number", &input.number)?;
            Request::get(format!("{{api}}/orders-received/{number}/line-items/")).send()?.json()?
        }
        // There the lines are part of the order and have no path of their own.
        Profile::Guide => {
            let order: OrderRecord = one(&input.number, input.profile)?.send()?.json()?;
            order.line_items.unwrap_or_default()
        }
    };
    Ok(Page::whole(lines(records)))
}

pub(crate) fn history(input: PartInput, cursor: Option<Cursor>) -> Result<Page<Change>, Error> {
    let path = match input.profile {
        Profile::Documented => "{api}/order-event-logs/",
        Profile::Guide => "{api}/orders-status-transitions/",
    };
    let at = NextUrl::resume(cursor)?;
    let first = || Request::get(path).query("order", &input.number).query("limit", LIMIT_MAX);
    let response = at.request(first).send()?;
    let listing: Listing = response.json()?;
    let next = at.advance(&response.url, listing.next.as_deref())?;
    let records: Vec<Kept<ChangeRecord>> = listing.records(&response)?;
    let changes = records.into_iter().map(|Kept { value, raw }| Change {
        id: value.id,
        at: value.timestamp.or(value.created_on),
        event: value.event_type.or(value.status),
        by: value.by,
        description: value.description,
        raw,
    });
    Page::new(changes.collect(), next.as_ref())
}

impl Default for Place {
    fn default() -> Self {
        Self::Sorted(Keyset::default())
    }
}

impl Asked {
    /// What changed at or after `since`, the oldest change first, and of each order no more than that it changed.
    pub(crate) fn changes(since: Option<Timestamp>, seller: Option<u64>, profile: Profile) -> Self {
        let order = Some(Sort::Oldest);
        let (status, limit, line_items, raw) = (None, LIMIT_MAX, false, false);
        let input = ListInput { since, status, limit, order, line_items, raw, seller, profile };
        Self { input, brief: true }
    }

    /// The changes from the newest to the oldest.
    pub(crate) fn newest_first(self) -> Self {
        Self { input: ListInput { order: Some(Sort::Newest), ..self.input }, ..self }
    }

    /// Asks for the orders that come after so many.
    pub(crate) fn nth(&self, skip: u32) -> Request {
        self.request(&Keyset::default()).query_some("offset", Some(skip).filter(|skip| *skip > 0))
    }

    fn sort(&self) -> Sort {
        self.input.order.unwrap_or(if self.input.since.is_some() { Sort::Oldest } else { Sort::Newest })
    }

    fn request(&self, at: &Keyset) -> Request {
        let since = self.input.since.map(|since| since.to_string());
        let (ordering, from, to) = match self.sort() {
            Sort::Newest => ("-modified", since.as_deref(), at.after()),
            Sort::Oldest => ("modified", at.after().or(since.as_deref()), None),
        };
        let is_guide = self.input.profile == Profile::Guide;
        Request::get(if is_guide { "{api}/orders/" } else { "{api}/orders-received/" })
            .query("limit", self.input.limit.clamp(1, LIMIT_MAX))
            .query("ordering", ordering)
            .query_some("seller", self.input.seller.filter(|_| is_guide))
            .query_some("include_children", (self.input.line_items && !is_guide).then_some("line_items"))
            // The specification's filter knows the statuses in lower case only (tap-leaflink's OpenAPI, 2026-08-12), though
            // orders carry them with a capital; the guide asks with the capital.
            .query_some(
                "status",
                self.input
                    .status
                    .map(|status| format!("{status:?}"))
                    .map(|status| if is_guide { status } else { status.to_lowercase() }),
            )
            .query_some("modified__gte", from)
            .query_some("modified__lte", to)
            .query_some("fields_include", (self.brief && !is_guide).then_some("number,status,modified"))
            .query_some("offset", Some(at.skip()).filter(|skip| *skip > 0))
    }
}

impl Place {
    fn is_new(&self, record: &OrderRecord) -> bool {
        match self {
            Self::Sorted(keyset) => record.changed().is_none_or(|changed| keyset.is_new(&changed.text, &record.number)),
            Self::Counted { seen, .. } => !seen.contains(&record.number),
        }
    }
}

impl OrderRecord {
    pub(crate) fn changed(&self) -> Option<&Moment> {
        self.modified.as_ref().or(self.modified_on.as_ref())
    }
}

/// The keys and ids of a page, if it is sorted by its changes at all.
fn keys(records: &[Kept<OrderRecord>], sort: Sort) -> Option<Vec<(&str, &str)>> {
    let changes: Vec<&Moment> = records.iter().map(|record| record.value.changed()).collect::<Option<_>>()?;
    let is_sorted = changes.is_sorted_by(|a, b| match sort {
        Sort::Newest => a.at >= b.at,
        Sort::Oldest => a.at <= b.at,
    });
    let pairs =
        changes.iter().zip(records).map(|(changed, record)| (changed.text.as_str(), record.value.number.as_str()));
    is_sorted.then(|| pairs.collect())
}

/// Whether they come from the newest to the oldest, as they were asked for; those that say no time may stand anywhere.
pub(crate) fn are_newest_first(records: &[Kept<OrderRecord>]) -> bool {
    records.iter().filter_map(|record| record.value.changed()).is_sorted_by(|a, b| a.at >= b.at)
}

/// The request for one order. Its lines come along.
pub(crate) fn one(number: &str, profile: Profile) -> Result<Request, Error> {
    let number = segment("/number", number)?;
    Ok(match profile {
        Profile::Documented => {
            Request::get(format!("{{api}}/orders-received/{number}/")).query("include_children", "line_items")
        }
        Profile::Guide => Request::get(format!("{{api}}/orders/{number}/")),
    })
}

/// Orders with their customers' names. Each customer that came without one is looked up once, all of them side by side.
fn orders(records: Vec<Kept<OrderRecord>>, with_lines: bool, with_raw: bool) -> Vec<Order> {
    let parties = records.iter().filter_map(|record| record.value.customer.as_ref());
    let nameless: BTreeSet<u64> = parties.filter(|party| party.name().is_none()).map(|party| party.id).collect();
    let names = if nameless.is_empty() { BTreeMap::new() } else { customers::names(&nameless) };
    let order = |Kept { value, raw }: Kept<OrderRecord>| {
        let customer = value.customer.as_ref();
        Order {
            customer_id: customer.map(|party| party.id),
            customer_name: customer
                .and_then(|party| party.name().map(str::to_owned).or_else(|| names.get(&party.id).cloned())),
            modified: value.changed().map(|changed| changed.at),
            number: value.number,
            id: value.id,
            status: value.status,
            total: value.total,
            created_on: value.created_on,
            line_items: with_lines.then(|| lines(value.line_items.unwrap_or_default())),
            raw: with_raw.then_some(raw),
        }
    };
    records.into_iter().map(order).collect()
}

impl Party {
    fn name(&self) -> Option<&str> {
        self.display_name.as_deref().filter(|name| !name.is_empty())
    }
}

fn lines(records: Vec<LineRecord>) -> Vec<Line> {
    let line = |record: LineRecord| Line {
        id: record.id,
        product: record.product.as_deref().map(plain),
        quantity: record.quantity.as_deref().map(plain),
        unit_price: record.ordered_unit_price,
        is_sample: record.is_sample,
        notes: record.notes,
    };
    records.into_iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use wharfage_sdk::testing::with_exchanges;

    use super::*;

    fn listed(input: &str, cursor: Option<Cursor>, exchanges: &str) -> Page<Order> {
        let input = serde_json::from_str(input).unwrap();
        with_exchanges(exchanges, || list(input, cursor)).unwrap()
    }

    fn numbers(page: &Page<Order>) -> Vec<&str> {
        page.items.iter().map(|order| order.number.as_str()).collect()
    }

    // What went wrong: totals became floats and were printed with two decimals. An amount with more digits than a float holds,
    // written as a JSON number, must come out digit by digit.
    #[test]
    fn guide_s27_totals_were_floats() {
        let page = listed(
            "{}",
            None,
            r#"[{
                "request": {"method": "GET", "url": "{api}/orders-received/?limit=100&ordering=-modified"},
                "response": {"status": 200, "json": {"next": null, "results": [
                    {"number": "A", "status": "Draft", "total": {"amount": 90071992547409.93, "currency": "USD"}},
                    {"number": "B", "status": "Draft", "total": "4250.00"}
                ]}}
            }]"#,
        );
        let totals: Vec<String> =
            page.items.iter().filter_map(|order| order.total.as_ref()).map(Money::to_string).collect();
        assert_eq!(totals, ["90071992547409.93 USD", "4250.00"]);
    }

    // What went wrong: pages of `-modified` were counted off by offset. Here, while the first page is read, C changes and moves to
    // the top, so counting would show B again and, when B is then deleted, skip D. Beginning at the last change seen does neither.
    #[test]
    fn guide_s33_pages_moved_under_the_reader() {
        let input = r#"{"limit": 2}"#;
        let first = listed(
            input,
            None,
            r#"[{
                "request": {"method": "GET", "url": "{api}/orders-received/?limit=2&ordering=-modified"},
                "response": {"status": 200, "json": {"next": "{api}/orders-received/?limit=2&offset=2", "results": [
                    {"number": "A", "status": "Draft", "modified": "2026-02-03T04:00:00.000009Z"},
                    {"number": "B", "status": "Draft", "modified": "2026-02-03T04:00:00.000008Z"}
                ]}}
            }]"#,
        );
        assert_eq!(numbers(&first), ["A", "B"]);
        let second = listed(
            input,
            first.next,
            r#"[{
                "request": {"method": "GET",
                    "url": "{api}/orders-received/?limit=2&ordering=-modified&modified__lte=2026-02-03T04:00:00.000008Z"},
                "response": {"status": 200, "json": {"next": null, "results": [
                    {"number": "B", "status": "Draft", "modified": "2026-02-03T04:00:00.000008Z"},
                    {"number": "D", "status": "Draft", "modified": "2026-02-03T04:00:00.000006Z"}
                ]}}
            }]"#,
        );
        assert_eq!((numbers(&second), second.next.clone()), (vec!["D"], None));
    }

    // What went wrong: the customer was asked for again with every order, one after the other, and a failed lookup looked like a
    // customer without a name. Two orders of one customer must cost one lookup, and a failing one must not cost the list.
    #[test]
    fn guide_s32_each_order_looked_its_customer_up() {
        let page = listed(
            r#"{"profile": "guide"}"#,
            None,
            r#"[{
                "request": {"method": "GET", "url": "{api}/orders/?limit=100&ordering=-modified"},
                "response": {"status": 200, "json": {"next": null, "results": [
                    {"number": "A", "status": "Draft", "customer": 7}, {"number": "B", "status": "Draft", "customer": 7},
                    {"number": "C", "status": "Draft", "customer": 8}, {"number": "D", "status": "Draft", "customer": null}
                ]}}
            }, {
                "request": {"method": "GET", "url": "{api}/customers/7/"},
                "response": {"status": 200, "json": {"id": 7, "name": "Green Door", "nickname": ""}}
            }, {
                "request": {"method": "GET", "url": "{api}/customers/8/"},
                "response": {"status": 503, "text": "away"}
            }]"#,
        );
        let customers: Vec<_> =
            page.items.iter().map(|order| (order.customer_id, order.customer_name.as_deref())).collect();
        let named = (Some(7), Some("Green Door"));
        assert_eq!(customers, [named, named, (Some(8), None), (None, None)]);
    }

    #[test]
    fn an_unsorted_list_is_read_by_its_next_url() {
        let page = r#"{"next": "{api}/orders-received/?offset=2", "results": [
            {"number": "A", "status": "Draft", "modified": "2026-02-03T04:00:00Z"},
            {"number": "B", "status": "Draft", "modified": "2026-02-03T05:00:00Z"}
        ]}"#;
        let first = listed(
            "{}",
            None,
            &format!(
                r#"[{{"request": {{"method": "GET", "url": "{{api}}/orders-received/?limit=100&ordering=-modified"}},
                    "response": {{"status": 200, "json": {page}}}}}]"#
            ),
        );
        let second = listed(
            "{}",
            first.next,
            r#"[{
                "request": {"method": "GET", "url": "{api}/orders-received/?offset=2"},
                "response": {"status": 200, "json": {"next": null, "results": [
                    {"number": "B", "status": "Draft", "modified": "2026-02-03T05:00:00Z"},
                    {"number": "C", "status": "Draft", "modified": "2026-02-03T06:00:00Z"}
                ]}}
            }]"#,
        );
        assert_eq!(numbers(&second), ["C"]);
    }

    #[test]
    fn an_order_of_another_shape_is_refused_and_tells_where() {
        let exchanges = r#"[{
            "request": {"method": "GET", "url": "{api}/orders-received/?limit=100&ordering=-modified"},
            "response": {"status": 200, "json": {"next": null, "results": [{"number": "A", "status": 7}]}}
        }]"#;
        let error = with_exchanges(exchanges, || list(serde_json::from_str("{}").unwrap(), None)).err().unwrap();
        assert_eq!(error.kind.name(), "schema-violation");
        assert_eq!(error.message, "the answer has another shape at /results/0/status: expected a string");
    }

    #[test]
    fn a_number_stays_in_its_path() {
        let input = FindInput { number: "..".into(), raw: false, profile: Profile::Documented };
        let message = find(input).err().unwrap().message.clone();
        assert!(message.starts_with("/number: expected something that can stand in a path"), "{message}");
    }
}
