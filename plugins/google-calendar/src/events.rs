//! Events of a calendar: to look at, to make, to change and to delete.
//!
//! A list shows each occurrence of a series by itself, as a person sees a week. Its range is fixed with its first page:
//! what "now" was then holds for all of it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use wharfage_sdk::http::{Repeat, segment};
use wharfage_sdk::json::Kept;
use wharfage_sdk::page::Opaque;
use wharfage_sdk::{Cursor, Error, ErrorKind, Page, Request, Response, Timestamp};

use crate::moment::{Moment, When};
use crate::{Range, Tell, events_path, primary};

/// Which events.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListInput {
    /// The calendar's id; the account's own unless stated.
    #[serde(default = "primary")]
    calendar: String,
    /// Only events that end after this time; now unless stated.
    #[serde(default)]
    from: Option<Timestamp>,
    /// Only events that begin before this time. Instead of it, `days`.
    #[serde(default)]
    to: Option<Timestamp>,
    /// How many days from the beginning; 7 unless `to` or this is stated.
    #[serde(default)]
    days: Option<u32>,
    /// Only those in whose summary, description, place or guests these words are.
    #[serde(default)]
    query: Option<String>,
    /// How many to a page.
    #[serde(default = "page")]
    #[schemars(range(min = 1, max = 2500))]
    limit: u32,
    /// Also each event as Google wrote it.
    #[serde(default)]
    raw: bool,
}

/// Which event.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FindInput {
    /// The event's id, as `events.list` shows it.
    id: String,
    /// The calendar's id; the account's own unless stated.
    #[serde(default = "primary")]
    calendar: String,
    /// Also the event as Google wrote it.
    #[serde(default)]
    raw: bool,
}

/// A new event.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateInput {
    /// When it begins.
    start: When,
    /// When it ends: for whole days the day after the last one.
    end: When,
    /// The calendar's id; the account's own unless stated.
    #[serde(default = "primary")]
    calendar: String,
    /// Its id: 5 to 1024 letters a to v and digits. With one of yours the same event is not made twice: the second time is a conflict.
    #[serde(default)]
    id: Option<String>,
    /// Its title.
    #[serde(default)]
    summary: Option<String>,
    /// What it is about; may hold HTML.
    #[serde(default)]
    description: Option<String>,
    /// Where it is.
    #[serde(default)]
    location: Option<String>,
    /// The guests' e-mail addresses.
    #[serde(default)]
    guests: Option<Vec<String>>,
    /// How it repeats (RFC 5545), as `RRULE:FREQ=WEEKLY;COUNT=10`; its times then say their zone.
    #[serde(default)]
    recurrence: Option<Vec<String>>,
    /// Whom Google tells.
    #[serde(default)]
    tell: Tell,
}

/// What is to be different about an event. What is left out stays.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UpdateInput {
    /// The event's id.
    id: String,
    /// The calendar's id; the account's own unless stated.
    #[serde(default = "primary")]
    calendar: String,
    /// When it begins.
    #[serde(default)]
    start: Option<When>,
    /// When it ends: for whole days the day after the last one.
    #[serde(default)]
    end: Option<When>,
    /// The `etag` that the event had when it was looked at: if it has changed since, nothing happens and the answer is a conflict.
    #[serde(default)]
    etag: Option<String>,
    /// Its title.
    #[serde(default)]
    summary: Option<String>,
    /// What it is about; may hold HTML.
    #[serde(default)]
    description: Option<String>,
    /// Where it is.
    #[serde(default)]
    location: Option<String>,
    /// The guests' e-mail addresses; those who are guests now and are not named are guests no more.
    #[serde(default)]
    guests: Option<Vec<String>>,
    /// How it repeats (RFC 5545), as `RRULE:FREQ=WEEKLY;COUNT=10`; its times then say their zone.
    #[serde(default)]
    recurrence: Option<Vec<String>>,
    /// Whom Google tells.
    #[serde(default)]
    tell: Tell,
}

/// Which event is to go.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeleteInput {
    /// The event's id. The id of one occurrence deletes that one; the id of a series all of it.
    id: String,
    /// The calendar's id; the account's own unless stated.
    #[serde(default = "primary")]
    calendar: String,
    /// Whom Google tells.
    #[serde(default)]
    tell: Tell,
}

/// An event, or one occurrence of a series.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Entry {
    /// Its id.
    id: String,
    /// `confirmed`, `tentative` or `cancelled`.
    status: Option<String>,
    /// Its title; null where it has none or the account may only see that somebody is busy.
    summary: Option<String>,
    /// When it begins.
    start: Option<Moment>,
    /// When it ends; for whole days the day after the last one.
    end: Option<Moment>,
    /// Where it is.
    location: Option<String>,
    /// What it is about; may hold HTML.
    description: Option<String>,
    /// The organizer's e-mail address.
    organizer: Option<String>,
    /// The guests.
    guests: Vec<Guest>,
    /// How a series repeats (RFC 5545); empty for anything else.
    recurrence: Vec<String>,
    /// The id of the series that it is an occurrence of.
    series_id: Option<String>,
    /// Where people meet by video.
    meeting_link: Option<String>,
    /// Where a browser shows it.
    link: Option<String>,
    /// When it was made.
    created: Option<Timestamp>,
    /// The last change.
    updated: Option<Timestamp>,
    /// Its version, for `events.update`.
    etag: Option<String>,
    /// The event as Google wrote it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<serde_json::Value>")]
    raw: Option<Box<RawValue>>,
}

/// A guest.
#[derive(Deserialize, Serialize, JsonSchema)]
pub(crate) struct Guest {
    /// The e-mail address.
    #[serde(default)]
    email: Option<String>,
    /// The name.
    #[serde(rename(deserialize = "displayName"), default)]
    name: Option<String>,
    /// `needsAction`, `declined`, `tentative` or `accepted`.
    #[serde(rename(deserialize = "responseStatus"), default)]
    response: Option<String>,
    /// Whether the event does without.
    #[serde(rename(deserialize = "optional"), default)]
    is_optional: bool,
}

/// What became of a deletion.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Deleted {
    /// The event's id.
    id: String,
    /// Whether it was there; false where it had been deleted before.
    was_there: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Listing {
    #[serde(default)]
    next_page_token: Option<String>,
    #[serde(default)]
    items: Vec<Box<RawValue>>,
    kind: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    id: String,
    #[serde(default)]
    status: Option<String>,
    #[serde(default)]
    summary: Option<String>,
    #[serde(default)]
    start: Option<Moment>,
    #[serde(default)]
    end: Option<Moment>,
    #[serde(default)]
    location: Option<String>,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    organizer: Option<Organizer>,
    #[serde(default)]
    attendees: Vec<Guest>,
    #[serde(default)]
    recurrence: Vec<String>,
    #[serde(default)]
    recurring_event_id: Option<String>,
    #[serde(default)]
    hangout_link: Option<String>,
    #[serde(default)]
    html_link: Option<String>,
    #[serde(default)]
    created: Option<Timestamp>,
    #[serde(default)]
    updated: Option<Timestamp>,
    #[serde(default)]
    etag: Option<String>,
}

#[derive(Deserialize)]
struct Organizer {
    #[serde(default)]
    email: Option<String>,
}

/// Where a list stands: its range stays what it was with the first page.
#[derive(Serialize, Deserialize)]
struct Place {
    #[serde(rename = "r")]
    range: Range,
    #[serde(rename = "p")]
    page: Opaque,
}

const LIMIT_MAX: u32 = 2500;

fn page() -> u32 {
    50
}

pub(crate) fn list(input: ListInput, cursor: Option<Cursor>) -> Result<Page<Entry>, Error> {
    let Place { range, page } = match cursor {
        Some(cursor) => cursor.decode()?,
        None => Place { range: Range::new(input.from, input.to, input.days)?, page: Opaque::resume(None)? },
    };
    let response = Request::get(events_path(&input.calendar)?)
        .query("timeMin", range.from)
        .query("timeMax", range.to)
        .query("singleEvents", "true")
        .query("orderBy", "startTime")
        .query("maxResults", input.limit.clamp(1, LIMIT_MAX))
        .query_some("q", input.query.as_deref())
        .query_some("pageToken", page.mark())
        .send()?;
    let listing: Listing = response.json()?;
    if listing.kind != "calendar#events" {
        return Err(response.error(ErrorKind::SchemaViolation, "the answer is no list of events"));
    }
    let next = page.advance(listing.next_page_token.as_deref())?.map(|page| Place { range, page });
    let mut items = Vec::new();
    for raw in listing.items {
        items.push(entry(response.part(raw, "/items")?, input.raw));
    }
    Page::new(items, next.as_ref())
}

pub(crate) fn find(input: FindInput) -> Result<Entry, Error> {
    let response = Request::get(path(&input.calendar, &input.id)?).send()?;
    one(&response, input.raw)
}

pub(crate) fn create(input: CreateInput) -> Result<Entry, Error> {
    let mut fields = Map::new();
    put(&mut fields, "id", input.id);
    fields.insert("start".to_owned(), input.start.to_json("/start", false)?);
    fields.insert("end".to_owned(), input.end.to_json("/end", false)?);
    if input.recurrence.is_some() && !(input.start.has_zone() && input.end.has_zone()) {
        return Err(Error::invalid_request("/start", "expected `time_zone`, because a series is repeated there"));
    }
    put_all(&mut fields, input.summary, input.description, input.location, input.guests, input.recurrence);
    let request = Request::post(events_path(&input.calendar)?).query("sendUpdates", input.tell.name());
    one(&request.json(&fields)?.send()?, false)
}

pub(crate) fn update(input: UpdateInput) -> Result<Entry, Error> {
    let mut fields = Map::new();
    for (name, field, when) in [("start", "/start", &input.start), ("end", "/end", &input.end)] {
        if let Some(when) = when {
            fields.insert(name.to_owned(), when.to_json(field, true)?);
        }
    }
    put_all(&mut fields, input.summary, input.description, input.location, input.guests, input.recurrence);
    if fields.is_empty() {
        return Err(Error::invalid_request("", "expected a field that is to be different"));
    }
    let mut request = Request::patch(path(&input.calendar, &input.id)?).query("sendUpdates", input.tell.name());
    match input.etag {
        Some(etag) => request = request.header("If-Match", etag),
        // Twice is as once, as long as nobody is told twice.
        None if input.tell == Tell::Nobody => request = request.repeat(Repeat::Safe),
        None => {}
    }
    one(&request.json(&fields)?.send()?, false)
}

pub(crate) fn delete(input: DeleteInput) -> Result<Deleted, Error> {
    let request = Request::delete(path(&input.calendar, &input.id)?).query("sendUpdates", input.tell.name());
    let was_there = match request.send() {
        Ok(response) => {
            response.must_be_empty()?;
            true
        }
        // 410: it was deleted before. A 404 is another matter: there never was such an event, or not here.
        Err(error) if error.status == Some(410) => false,
        Err(error) => return Err(error),
    };
    Ok(Deleted { id: input.id, was_there })
}

fn path(calendar: &str, id: &str) -> Result<String, Error> {
    Ok([events_path(calendar)?.as_str(), "/", &segment("/id", id)?].concat())
}

fn put(fields: &mut Map<String, Value>, name: &str, value: Option<String>) {
    if let Some(value) = value {
        fields.insert(name.to_owned(), Value::String(value));
    }
}

/// The fields that a new event and a changed one have in common.
fn put_all(
    fields: &mut Map<String, Value>,
    summary: Option<String>,
    description: Option<String>,
    location: Option<String>,
    guests: Option<Vec<String>>,
    recurrence: Option<Vec<String>>,
) {
    put(fields, "summary", summary);
    put(fields, "description", description);
    put(fields, "location", location);
    if let Some(guests) = guests {
        let guest = |email: String| Value::Object(Map::from_iter([("email".to_owned(), Value::String(email))]));
        fields.insert("attendees".to_owned(), guests.into_iter().map(guest).collect());
    }
    if let Some(lines) = recurrence {
        fields.insert("recurrence".to_owned(), lines.into_iter().map(Value::String).collect());
    }
}

fn one(response: &Response, with_raw: bool) -> Result<Entry, Error> {
    Ok(entry(response.part(response.json()?, "")?, with_raw))
}

fn entry(record: Kept<Record>, with_raw: bool) -> Entry {
    let Kept { value, raw } = record;
    Entry {
        id: value.id,
        status: value.status,
        summary: value.summary,
        start: value.start,
        end: value.end,
        location: value.location,
        description: value.description,
        organizer: value.organizer.and_then(|organizer| organizer.email),
        guests: value.attendees,
        recurrence: value.recurrence,
        series_id: value.recurring_event_id,
        meeting_link: value.hangout_link,
        link: value.html_link,
        created: value.created,
        updated: value.updated,
        etag: value.etag,
        raw: with_raw.then_some(raw),
    }
}
