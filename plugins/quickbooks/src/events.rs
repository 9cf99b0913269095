//! What happened: told by Intuit's webhooks, and by a poll that closes the gaps of webhooks or stands in for them.
//!
//! An event says which record and what was done to it; who needs the record asks for it. Webhooks come in two forms, the
//! array of CloudEvents and `eventNotifications`; both become the same events, known by company, kind, id and time, so that
//! what comes in both ways, or from the poll as well, is told once. Webhooks are an app's and not a company's: one delivery
//! may be about several, and each event names its own.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;
use wharfage_sdk::events::{Emission, Event, Outcome, Poll, Start, Trigger, Webhook};
use wharfage_sdk::{Error, ErrorKind, Timestamp, clock, json, log};

use crate::changes::{self, Change, Newest, Place};

/// How far a run reads again what the last one has read: changes are not all there at once.
const OVERLAP_MS: i64 = 120_000;

/// Takes what the host hands over.
///
/// # Errors
/// QuickBooks', `schema-violation` for a webhook of another shape, `invalid-request` for an input that is none.
#[allow(clippy::result_large_err)] // the SDK's own error
pub fn handle(event: Event) -> Result<Outcome, Error> {
    match &event.trigger {
        Trigger::Webhook(webhook) => told(webhook),
        Trigger::Poll(poll) => look(poll, event.kept()?),
        _ => Ok(Outcome::default()),
    }
}

/// Something that was done to a record.
struct Happened {
    realm: Option<String>,
    entity: String,
    id: String,
    change: String,
    time: Option<String>,
    /// The record that was merged into this one.
    replaced: Option<String>,
}

impl Happened {
    fn emission(self) -> Emission {
        let kind = self.entity.to_ascii_lowercase();
        let event_type = match kind.as_str() {
            "invoice" => "invoice.changed",
            "customer" => "customer.changed",
            "payment" => "payment.changed",
            "item" => "item.changed",
            _ => "record.changed",
        };
        let realm = self.realm.as_deref().unwrap_or("-");
        let time = self.time.as_deref().unwrap_or("-");
        // An id is not given a second time, so a record is gone once. Whether a change was the first is not always told, so
        // that is not part of the key.
        let when = if self.change == "deleted" { "deleted" } else { time };
        let key = [realm, &kind, &self.id, when].join("/");
        let data = json!({
            "entity": kind, "id": self.id, "change": self.change, "time": self.time, "realm": self.realm,
            "replaced": self.replaced,
        });
        Emission { event_type: event_type.to_owned(), key, data }
    }
}

wharfage_sdk::answer! {
    /// `eventNotifications`, which Intuit sent until 2026.
    struct Notifications {
        all: Vec<Notification> = "eventNotifications",
    }
}

wharfage_sdk::answer! {
    struct Notification {
        #[serde(default)]
        realm_id: Option<String> = "realmId",
        #[serde(default)]
        data_change_event: DataChange = "dataChangeEvent",
    }
}

wharfage_sdk::answer! {
    #[derive(Default)]
    struct DataChange {
        #[serde(default)]
        entities: Vec<Entity>,
    }
}

#[derive(Deserialize)]
struct Entity {
    name: String,
    id: String,
    #[serde(default)]
    operation: String,
    #[serde(default, rename = "lastUpdated")]
    last_updated: Option<String>,
    #[serde(default, rename = "deletedId", alias = "deletedID")]
    deleted_id: Option<String>,
}

wharfage_sdk::answer! {
    /// A CloudEvent with Intuit's own members.
    struct CloudEvent {
        kind: String = "type",
        #[serde(default)]
        time: Option<String>,
        #[serde(default)]
        entity_id: Option<String> = "intuitentityid",
        #[serde(default)]
        account_id: Option<String> = "intuitaccountid",
        #[serde(default)]
        data: Option<Box<RawValue>>,
    }
}

#[derive(Default, Deserialize)]
struct Merged {
    #[serde(default, rename = "deletedId", alias = "deletedID", alias = "deletedid")]
    deleted_id: Option<String>,
}

#[allow(clippy::result_large_err)]
fn told(webhook: &Webhook) -> Result<Outcome, Error> {
    let broken = || Error::new(ErrorKind::SchemaViolation, "the webhook's body has another shape");
    let text = std::str::from_utf8(&webhook.body).map_err(|_| broken())?.trim_start();
    let happened = if text.starts_with('[') {
        let events: Vec<CloudEvent> = json::parse(text.as_bytes()).ok_or_else(broken)?;
        let mut happened = Vec::with_capacity(events.len());
        for event in events {
            happened.extend(of_cloud_event(event)?);
        }
        happened
    } else {
        let all: Notifications = json::parse(text.as_bytes()).ok_or_else(broken)?;
        all.all.into_iter().flat_map(of_notification).collect()
    };
    Ok(Outcome { emit: once(happened.into_iter().map(Happened::emission)), ..Outcome::default() })
}

fn of_notification(notification: Notification) -> Vec<Happened> {
    let Notification { realm_id, data_change_event } = notification;
    let of_entity = |entity: Entity| Happened {
        realm: realm_id.clone(),
        change: past(&entity.operation),
        entity: entity.name,
        id: entity.id,
        time: entity.last_updated.as_deref().map(in_utc),
        replaced: entity.deleted_id,
    };
    data_change_event.entities.into_iter().map(of_entity).collect()
}

/// `qbo.invoice.created.v1` is about an invoice. What is not of `qbo` is not of the books: it is logged and passed.
#[allow(clippy::result_large_err)]
fn of_cloud_event(event: CloudEvent) -> Result<Option<Happened>, Error> {
    let mut parts = event.kind.split('.');
    let (Some("qbo"), Some(entity), Some(operation)) = (parts.next(), parts.next(), parts.next()) else {
        log::info("a webhook is about something that is not known here", &[("type", &event.kind)]);
        return Ok(None);
    };
    let Some(id) = event.entity_id else {
        return Err(Error::new(ErrorKind::SchemaViolation, "a webhook's event does not say which record it is about"));
    };
    let merged = event.data.and_then(|data| json::parse::<Merged>(data.get().as_bytes())).unwrap_or_default();
    Ok(Some(Happened {
        realm: event.account_id,
        entity: entity.to_owned(),
        id,
        change: past(operation),
        time: event.time.as_deref().map(in_utc),
        replaced: merged.deleted_id,
    }))
}

/// The word for what was done: one form says `Create`, the other `created`.
fn past(operation: &str) -> String {
    let operation = operation.to_ascii_lowercase();
    let known = match operation.as_str() {
        "create" => "created",
        "update" => "updated",
        "delete" => "deleted",
        "merge" => "merged",
        "void" => "voided",
        "emailed" | "email" => "emailed",
        "" => "changed",
        _ => return operation,
    };
    known.to_owned()
}

/// A time in UTC; `eventNotifications` write an offset without its colon. What is no time stays as it is.
fn in_utc(text: &str) -> String {
    let bytes = text.as_bytes();
    let has_bare_offset = bytes.len() > 5
        && matches!(bytes[bytes.len() - 5], b'+' | b'-')
        && bytes[bytes.len() - 4..].iter().all(u8::is_ascii_digit);
    let whole = if has_bare_offset {
        let (rest, minutes) = text.split_at(text.len() - 2);
        [rest, ":", minutes].concat()
    } else {
        text.to_owned()
    };
    Timestamp::parse(&whole).map_or(whole, |time| time.to_string())
}

/// Each key once, its last event: a delivery may tell of the same twice.
fn once(emissions: impl Iterator<Item = Emission>) -> Vec<Emission> {
    let mut all: Vec<Emission> = Vec::new();
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    for emission in emissions {
        match places.get(&emission.key) {
            Some(place) => all[*place] = emission,
            None => {
                places.insert(emission.key.clone(), all.len());
                all.push(emission);
            }
        }
    }
    all
}

wharfage_sdk::input! {
    /// `[connections.<name>.polls.changes.input]`.
    struct Input {
        /// The kinds of record, as `Invoice`.
        entities: Vec<String> = changes::entities(),
        /// The company's id, as webhooks tell it: with it, what both tell of is emitted once.
        #[serde(default)]
        realm: Option<String>,
    }
}

/// How far the poll has read.
#[derive(Deserialize, Serialize)]
struct Mark {
    since: Timestamp,
    /// Changes up to here were there before the watch began and are not told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    before: Option<Timestamp>,
    /// Where it goes on within a run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    place: Option<Place>,
    /// The time at QuickBooks when the run began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    began: Option<Timestamp>,
}

impl Mark {
    fn new(since: Timestamp) -> Self {
        Self { since, before: None, place: None, began: None }
    }
}

#[allow(clippy::result_large_err)]
fn look(poll: &Poll, mark: Option<Mark>) -> Result<Outcome, Error> {
    let input: Input = poll.read_input()?;
    changes::check(&input.entities)?;
    let earliest = changes::earliest();
    let mut mark = match (mark, poll.start) {
        (Some(mark), _) => mark,
        (None, Start::FromNow) => {
            // By QuickBooks' clock: the host's may be ahead, and what changes until it is that late is not of the past.
            let now = clock::now();
            let now = changes::time(&input.entities, now.plus_ms(-OVERLAP_MS))?.unwrap_or(now);
            // QuickBooks tells whole seconds: what changes later within this one is told.
            let before = Timestamp::from_unix_s(now.as_ms().div_euclid(1000)).plus_ms(-1);
            return Outcome::default().keep(&Mark { before: Some(before), ..Mark::new(now.plus_ms(-OVERLAP_MS)) });
        }
        (None, Start::Backfill(count)) => return backfill(&input, usize::try_from(count).unwrap_or(usize::MAX)),
        (None, Start::All) => Mark::new(earliest),
    };
    if mark.since < earliest {
        // Within a run it is only the time that the run takes.
        if mark.place.is_none() {
            log::warn("QuickBooks looks back 30 days; what changed before that is not told", &[("since", &mark.since)]);
        }
        mark.since = earliest;
    }
    let step = changes::step(&input.entities, mark.since, mark.place)?;
    let began = mark.began.or(step.time).unwrap_or_else(clock::now);
    let is_news = |change: &Change| change.modified.is_none() || change.modified > mark.before;
    let emit = emissions(step.changes.into_iter().filter(is_news), &input);
    let more = step.next.is_some();
    let next = match step.next {
        Some(place) => Mark { place: Some(place), began: Some(began), ..Mark::new(mark.since) },
        None => Mark::new(mark.since.max(began.plus_ms(-OVERLAP_MS))),
    };
    Outcome { emit, more, ..Outcome::default() }.keep(&Mark { before: mark.before, ..next })
}

/// Tells the newest changes; of those before them the next run, which reads a little of them again, tells nothing.
///
/// Where one answer does not hold them, the next runs tell them, and more rather than fewer.
#[allow(clippy::result_large_err)]
fn backfill(input: &Input, count: usize) -> Result<Outcome, Error> {
    let (newest, time) = changes::newest(&input.entities, count)?;
    let began = time.unwrap_or_else(clock::now);
    let changes = match newest {
        Newest::Changes(changes) => latest(changes, count),
        Newest::Since(since) => {
            let mark = Mark { place: Some(Place::default()), began: Some(began), ..Mark::new(since) };
            return Outcome { more: true, ..Outcome::default() }.keep(&mark);
        }
    };
    let before = changes.first().and_then(|oldest| oldest.modified).map(|at| at.plus_ms(-1));
    let emit = emissions(changes.into_iter(), input);
    let mark = Mark { before, ..Mark::new(began.plus_ms(-OVERLAP_MS)) };
    Outcome { emit, ..Outcome::default() }.keep(&mark)
}

fn emissions(changes: impl Iterator<Item = Change>, input: &Input) -> Vec<Emission> {
    once(changes.map(|change| happened(change, &input.realm).emission()))
}

/// So many of the last changes, the oldest of them first.
fn latest(mut changes: Vec<Change>, count: usize) -> Vec<Change> {
    let mut latest = Vec::new();
    // Not sorted: there are no more than 1000, and a component holds no other code that sorts.
    while let (true, Some((place, _))) =
        (latest.len() < count, changes.iter().enumerate().rev().max_by_key(|(_, change)| change.modified))
    {
        latest.push(changes.remove(place));
    }
    latest.reverse();
    latest
}

fn happened(change: Change, realm: &Option<String>) -> Happened {
    Happened {
        realm: realm.clone(),
        entity: change.entity,
        id: change.id,
        change: change.change.to_owned(),
        time: change.modified.map(|time| time.to_string()),
        replaced: None,
    }
}

#[cfg(test)]
mod tests;
