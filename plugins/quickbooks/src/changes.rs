//! What changed since a time, by change data capture: for a caller page by page, and for the poll.
//!
//! One request tells of all kinds together, 1000 records at most and none older than 30 days. Where that is not enough
//! each kind is asked for by itself, beginning again at the last change seen. QuickBooks puts what was deleted behind what
//! is there, so of a kind with more changes than one answer holds, early deletions cannot be had; the log then says so.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wharfage_sdk::page::Keyset;
use wharfage_sdk::{Cursor, Error, ErrorKind, Page, Timestamp, clock, log};

use crate::api;
use crate::fields::Fields;

/// How many records QuickBooks tells of at once, at most.
const ANSWER_MAX: usize = 1000;

/// How many times a backfill halves its time: of 30 days ten minutes are left then.
const HALVINGS_MAX: u32 = 12;

/// How far it looks back: 30 days, less a little for clocks that differ.
const LOOK_BACK_MS: i64 = 30 * 86_400_000 - 600_000;

wharfage_sdk::input! {
    /// Which changes.
    pub(crate) struct ListInput {
        /// The time since which, at most 30 days ago.
        since: Timestamp,
        /// The kinds of record, as `Invoice` or `Vendor`; capitals count.
        #[schemars(length(min = 1, max = 20))]
        entities: Vec<String> = entities(),
    }
}

/// A change: what changed, not what it is now.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Change {
    /// The kind of record.
    pub(crate) entity: String,
    /// QuickBooks' id.
    pub(crate) id: String,
    /// `changed`, which may be its first, or `deleted`.
    pub(crate) change: &'static str,
    /// When.
    pub(crate) modified: Option<Timestamp>,
}

/// The kinds that have operations here.
pub(crate) fn entities() -> Vec<String> {
    ["Invoice", "Customer", "Payment", "Item"].map(str::to_owned).to_vec()
}

/// Where a list of more than one answer stands.
#[derive(Default, Deserialize, Serialize)]
pub(crate) struct Place {
    #[serde(rename = "e")]
    entity: usize,
    #[serde(rename = "k")]
    at: Keyset,
}

/// One answer's worth.
pub(crate) struct Step {
    pub(crate) changes: Vec<Change>,
    /// Where it goes on.
    pub(crate) next: Option<Place>,
    /// The time at QuickBooks when it answered.
    pub(crate) time: Option<Timestamp>,
}

/// The newest changes.
pub(crate) enum Newest {
    /// So many as were asked for or more, or all that there are.
    Changes(Vec<Change>),
    /// All since then, which are more than one answer holds: they are read kind by kind.
    Since(Timestamp),
}

pub(crate) fn list(input: ListInput, cursor: Option<Cursor>) -> Result<Page<Change>, Error> {
    check(&input.entities)?;
    let earliest = earliest();
    if input.since < earliest && cursor.is_none() {
        return Err(Error::invalid_request("/since", "expected a time within the last 30 days"));
    }
    let place = cursor.map(|cursor| cursor.decode::<Place>()).transpose()?;
    let step = step(&input.entities, input.since.max(earliest), place)?;
    Page::new(step.changes, step.next.as_ref())
}

/// The earliest time that QuickBooks looks back to.
pub(crate) fn earliest() -> Timestamp {
    clock::now().plus_ms(-LOOK_BACK_MS)
}

pub(crate) fn check(entities: &[String]) -> Result<(), Error> {
    let is_kind = |entity: &String| !entity.is_empty() && entity.bytes().all(|byte| byte.is_ascii_alphabetic());
    if (1..=20).contains(&entities.len()) && entities.iter().all(is_kind) {
        return Ok(());
    }
    Err(Error::invalid_request("/entities", "expected 1 to 20 kinds of record, as Invoice"))
}

/// The time at QuickBooks, where it tells it.
pub(crate) fn time(entities: &[String], since: Timestamp) -> Result<Option<Timestamp>, Error> {
    read(entities, since).map(|(_, time)| time)
}

/// Reads the next answer.
pub(crate) fn step(entities: &[String], since: Timestamp, place: Option<Place>) -> Result<Step, Error> {
    let Some(place) = place else {
        let (changes, time) = read(entities, since)?;
        if changes.len() < ANSWER_MAX {
            return Ok(Step { changes, next: None, time });
        }
        return Ok(Step { time, ..one(entities, since, Place::default())? });
    };
    one(entities, since, place)
}

/// Finds the newest changes, `count` of them or more: where one answer does not hold all, those of a shorter time. And the
/// time at QuickBooks when it began.
pub(crate) fn newest(entities: &[String], count: usize) -> Result<(Newest, Option<Timestamp>), Error> {
    let mut full = earliest();
    let (changes, time) = read(entities, full)?;
    if changes.len() < ANSWER_MAX {
        return Ok((Newest::Changes(changes), time));
    }
    // An answer that is not full never holds so many as a full one.
    let halvings = if count < ANSWER_MAX { HALVINGS_MAX } else { 0 };
    let mut fits = clock::now();
    for _ in 0..halvings {
        let between = full.plus_ms((fits.as_ms() - full.as_ms()) / 2);
        let (found, _) = read(entities, between)?;
        if found.len() >= ANSWER_MAX {
            full = between;
        } else if found.len() >= count {
            return Ok((Newest::Changes(found), time));
        } else {
            fits = between;
        }
    }
    log::warn("more changed than one answer holds; the backfill tells all since then", &[("since", &full)]);
    Ok((Newest::Since(full), time))
}

/// Reads on with one kind of record.
fn one(entities: &[String], since: Timestamp, place: Place) -> Result<Step, Error> {
    let Place { entity, at } = place;
    let Some(kind) = entities.get(entity) else {
        return Err(Error::cursor_invalid("this cursor is of a list of other kinds of record"));
    };
    if at.skip() > 0 {
        let message = "more than 1000 records changed in the same second, and QuickBooks tells of no more than that";
        return Err(Error::new(ErrorKind::LimitExceeded("answer-max".to_owned()), message));
    }
    let since = at.after().and_then(Timestamp::parse).map_or(since, |after| after.max(since));
    let (changes, time) = read(std::slice::from_ref(kind), since)?;
    let is_full = changes.len() >= ANSWER_MAX;
    let keys: Vec<String> =
        changes.iter().map(|change| change.modified.map(|at| at.to_string()).unwrap_or_default()).collect();
    let living = || keys.iter().zip(&changes).filter(|(_, change)| change.change != "deleted");
    // What is there has all come, and deletions fill the answer: the next one would be the same.
    let last = living().next_back().map(|(key, _)| key.as_str());
    let is_end = last.is_none() || (last == at.after() && living().count() < changes.len());
    let keyed = living().map(|(key, change)| (key.as_str(), change.id.as_str()));
    let next = at.advance(keyed, is_full && !is_end)?;
    if is_full {
        let message = if is_end {
            "more was deleted than one answer holds; the other deletions are missing"
        } else {
            "more changed than one answer holds; early deletions may be missing"
        };
        log::warn(message, &[("entity", kind)]);
    }
    let next = match next {
        Some(at) => Some(Place { entity, at }),
        None if entity + 1 < entities.len() => Some(Place { entity: entity + 1, at: Keyset::default() }),
        None => None,
    };
    let is_new: Vec<bool> = keys
        .iter()
        .zip(&changes)
        .map(|(key, change)| change.change == "deleted" || at.is_new(key, &change.id))
        .collect();
    let changes = changes.into_iter().zip(is_new).filter_map(|(change, is_new)| is_new.then_some(change)).collect();
    Ok(Step { changes, next, time })
}

fn read(entities: &[String], since: Timestamp) -> Result<(Vec<Change>, Option<Timestamp>), Error> {
    let request = api::get("/cdc").query("entities", entities.join(",")).query("changedSince", since);
    let response = api::send(request)?;
    let mut answer = Fields::of(&response)?;
    if !answer.has("CDCResponse") {
        return Err(answer.missing("CDCResponse"));
    }
    let time = answer.time("time")?;
    let mut changes = Vec::new();
    for mut part in answer.objects("CDCResponse")? {
        for mut found in part.objects("QueryResponse")? {
            if found.has("Fault") {
                let message = "QuickBooks tells of a fault among the changes";
                return Err(response.error(ErrorKind::ProviderReported, message));
            }
            for entity in entities {
                for record in found.objects(entity)? {
                    changes.push(change(entity, record)?);
                }
            }
        }
    }
    Ok((changes, time))
}

fn change(entity: &str, mut record: Fields<'_>) -> Result<Change, Error> {
    let is_deleted = record.text("status")?.as_deref() == Some("Deleted");
    let change = if is_deleted { "deleted" } else { "changed" };
    Ok(Change { entity: entity.to_owned(), id: record.id()?, change, modified: record.times()?.modified })
}
