//! How Stripe is asked: one version of its API, one account, forms in, objects and pages out.

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use wharfage_sdk::http::{Method, Repeat, segment};
use wharfage_sdk::page::Opaque;
use wharfage_sdk::{Cursor, Error, Page, Request, Response, Timestamp};

use crate::fields::Fields;
use crate::record::{Field, Picked, Record, Table, raw};
use crate::refused;

/// The version that every answer is read by. Without it Stripe answers in the account's own, whatever that is.
/// Stripe's OpenAPI document `latest`, 2026-09-30.
const VERSION: &str = "2026-09-30.endive";

/// How many are asked for at once where the caller says nothing, which is also the most there are.
pub(crate) const LIMIT_MAX: u32 = 100;

/// What the inputs of all lists have in common.
pub(crate) struct Paging<'a> {
    pub(crate) limit: u32,
    pub(crate) since: Option<Timestamp>,
    pub(crate) before: Option<Timestamp>,
    pub(crate) account: Option<&'a str>,
    pub(crate) raw: bool,
}

/// One page of a list.
#[derive(Deserialize)]
pub(crate) struct Listing {
    pub(crate) data: Vec<Value>,
    pub(crate) has_more: bool,
    /// Only a search has it.
    #[serde(default)]
    next_page: Option<String>,
}

/// How a list goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// After the last id.
    Id,
    /// At the mark that the answer names.
    Mark,
}

/// A request for what `account` has; without it, for the key's own.
pub(crate) fn request(method: Method, path: &str, account: Option<&str>) -> Request {
    // What may be done at a place is the manifest's to say, method by method.
    let origin = match method {
        Method::Get => "{api}",
        Method::Delete => "{cancel}",
        _ => "{write}",
    };
    let request = Request::new(method, [origin, path].concat()).header("Stripe-Version", VERSION);
    match account {
        Some(account) => request.header("Stripe-Account", account),
        None => request,
    }
}

/// Sends it; a refusal comes with what Stripe said about it.
pub(crate) fn send(request: Request) -> Result<Response, Error> {
    request.send().map_err(refused::told)
}

/// Asks for one object.
pub(crate) fn read(path: &str, account: Option<&str>) -> Result<Response, Error> {
    send(request(Method::Get, path, account))
}

/// Changes something. The host makes a key for it and keeps it over all attempts, so that it is done once.
pub(crate) fn write(path: &str, fields: Fields, account: Option<&str>) -> Result<Response, Error> {
    send(fields.in_form(request(Method::Post, path, account)).repeat(Repeat::Keyed))
}

/// The path of one object, or of what is done to it.
pub(crate) fn path(parts: [&str; 2], id: &str) -> Result<String, Error> {
    let id = segment("/id", id)?;
    Ok([parts[0], &id, parts[1]].concat())
}

/// One page of a list, sorted by Stripe: the newest first.
pub(crate) fn list<T: Table>(
    path: &str,
    fields: Fields,
    paging: &Paging<'_>,
    cursor: Option<Cursor>,
) -> Result<Page<Picked<T>>, Error> {
    let fields = fields.moment("created[gte]", paging.since).moment("created[lt]", paging.before);
    let (items, next) = page(path, fields, paging, cursor, (Place::Id, T::FIELDS))?;
    Ok(Page { items: items.into_iter().map(Picked::new).collect(), next })
}

/// One page of what a query finds.
pub(crate) fn search<T: Table>(
    path: &str,
    query: &str,
    paging: &Paging<'_>,
    cursor: Option<Cursor>,
) -> Result<Page<Picked<T>>, Error> {
    let fields = Fields::new().text("query", Some(query));
    let (items, next) = page(path, fields, paging, cursor, (Place::Mark, T::FIELDS))?;
    Ok(Page { items: items.into_iter().map(Picked::new).collect(), next })
}

fn page(
    path: &str,
    fields: Fields,
    paging: &Paging<'_>,
    cursor: Option<Cursor>,
    (place, picked): (Place, &[Field]),
) -> Result<(Vec<Box<RawValue>>, Option<Cursor>), Error> {
    let at = Opaque::resume(cursor)?;
    let name = if place == Place::Id { "starting_after" } else { "page" };
    let fields = fields.number("limit", Some(paging.limit.clamp(1, LIMIT_MAX))).text(name, at.mark());
    let response = send(fields.in_query(request(Method::Get, path, paging.account)))?;
    let listing: Listing = response.json()?;
    let next = match place {
        _ if !listing.has_more => None,
        Place::Id => Some(last_id(&response, &listing)?),
        Place::Mark => listing.next_page,
    };
    let next = at.advance(next.as_deref())?;
    let mut items = Vec::with_capacity(listing.data.len());
    for (index, item) in listing.data.into_iter().enumerate() {
        let place = ["/data/", &index.to_string()].concat();
        items.push(Record::new(&response, place, item)?.pick(picked, raw(paging.raw))?);
    }
    Ok((items, next.map(|next| Cursor::encode(&next)).transpose()?))
}

/// The id that a list goes on after.
///
/// # Errors
/// `schema-violation` where more is promised and nothing came.
pub(crate) fn last_id(response: &Response, listing: &Listing) -> Result<String, Error> {
    let last = listing.data.last().and_then(|item| item.get("id")?.as_str());
    last.map(str::to_owned).ok_or_else(|| {
        let message = "more is promised and there is no last item to go on after";
        response.error(wharfage_sdk::ErrorKind::SchemaViolation, message)
    })
}
