//! `polls.releases`: releases as they are published, of repositories that one can set up no webhook for.
//!
//! GitHub lists releases by the age of their commits, and says of each when it was published. What counts is the latter: a
//! release is new that was published after the last one seen, or shortly before it and not seen. So a draft that lay around
//! is told when it comes out, and of two that come out together none is lost.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use wharfage_sdk::events::{Emission, Outcome, Poll, Start};
use wharfage_sdk::page::NextUrl;
use wharfage_sdk::{Error, ErrorKind, Request, Timestamp, log};

use crate::record::at;
use crate::{JSON, LIMIT_MAX, asked, of};

/// A cursor holds a place for each repository and has a size.
const REPOSITORIES_MAX: usize = 50;
/// What one call asks before it hands back and is called again: what was read is then kept.
const REQUESTS_MAX: u32 = 20;
/// What one call tells before it hands back. A page more, and it is still less than the 1000 that the host takes.
const EVENTS_MAX: usize = 500;
/// How many releases and prereleases are remembered of a repository, at most.
const NEAR_MAX: usize = 40;
const EARLY_MAX: usize = 100;
/// Bytes of the cursor that the host takes: for a place beside its name, for a release, for a prerelease, and for what a
/// run that hands back goes on with.
const CURSOR_BYTES: usize = 16 << 10;
const PLACE_BYTES: usize = 60;
const NEAR_BYTES: usize = 27;
const EARLY_BYTES: usize = 11;
const RUN_BYTES: usize = 2 << 10;
/// Milliseconds by which a release may show up later than one that was published after it.
const LATE_MS: i64 = 3_600_000;

/// `[connections.<name>.polls.releases.input]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    /// Owner and name of each.
    repositories: Vec<String>,
    /// Whether prereleases count.
    #[serde(default)]
    prereleases: bool,
}

/// How far the lists are read; the cursor.
#[derive(Default, Deserialize, Serialize)]
pub(crate) struct Round {
    lanes: BTreeMap<String, Lane>,
    /// The last repository that this run is done with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    done: Option<String>,
}

/// One repository.
#[derive(Clone, Default, Deserialize, Serialize)]
struct Lane {
    /// Whatever was published by then is known; in milliseconds since 1970.
    #[serde(default)]
    known_ms: i64,
    /// In a cursor of before, when the newest was published: what came out in the hour before it may still be news.
    #[serde(default, rename = "until_ms", skip_serializing)]
    newest_ms: Option<i64>,
    /// What is known of what was published after `known_ms`: ids and times.
    near: Vec<(u64, i64)>,
    /// Prereleases that were passed over, as the list has them: one may still become a full release, at its old time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    early: Vec<u64>,
    /// Where this run goes on, and what it has found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reading: Option<Reading>,
}

#[derive(Clone, Default, Deserialize, Serialize)]
struct Reading {
    next: NextUrl,
    found: Vec<(u64, i64)>,
    /// Of what was found and published by then no more is remembered.
    #[serde(default)]
    until_ms: i64,
    /// How many may still be told, on the first run.
    left: Option<u32>,
    /// On the first run, when the newest was published of all that it has seen, prereleases included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    newest_ms: Option<i64>,
}

/// What names a published release. One that is taken back and published again is told again.
///
/// # Errors
/// `schema-violation` where it has no id or says nothing of when.
pub(crate) fn key(release: &Value) -> Result<String, Error> {
    let id = at(release, "id").as_u64().ok_or_else(unlike)?;
    let published = at(release, "published_at").as_str().and_then(Timestamp::parse).ok_or_else(unlike)?;
    Ok(["release ", &id.to_string(), " ", &published.to_string()].concat())
}

fn unlike() -> Error {
    Error::schema_violation("a release has no id, or does not say when it was published")
}

pub(crate) fn releases(poll: &Poll, mut round: Round) -> Result<Outcome, Error> {
    let mut input: Input = poll.read_input()?;
    if !(1..=REPOSITORIES_MAX).contains(&input.repositories.len()) {
        return Err(Error::invalid_request("/repositories", "expected 1 to 50 repositories, as `rust-lang/rust`"));
    }
    for name in &mut input.repositories {
        of("", name, "")?;
        name.make_ascii_lowercase();
    }
    input.repositories.sort_unstable();
    input.repositories.dedup();
    round.lanes.retain(|name, _| input.repositories.contains(name));
    let room = room(&input.repositories);
    // There may have been fewer repositories, and more room for each.
    round.lanes.values_mut().for_each(|lane| lane.fit(room));
    let done = round.done.take();
    let (mut emit, mut requests, mut failed, mut succeeded) = (Vec::new(), 0, None, false);
    for name in input.repositories.iter().filter(|name| done.as_ref().is_none_or(|done| *name > done)) {
        loop {
            // Where all were refused so far there is nothing to keep: only the end shows whether the run fails.
            if (requests >= REQUESTS_MAX && succeeded) || emit.len() >= EVENTS_MAX {
                return Outcome { emit, more: true, ..Outcome::default() }.keep(&round);
            }
            requests += 1;
            let lane = round.lanes.get(name).cloned();
            match step(name, lane, poll.start, input.prereleases, room, &mut emit) {
                Ok(lane) => {
                    succeeded = true;
                    let is_done = lane.reading.is_none();
                    round.lanes.insert(name.clone(), lane);
                    if is_done {
                        break;
                    }
                }
                // One that is gone, was made private or is blocked must not keep the others from being read.
                Err(error) if matches!(error.kind, ErrorKind::NotFound | ErrorKind::Forbidden) => {
                    log::error("a watched repository cannot be seen", &[("repository", name)]);
                    failed = Some(error);
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        round.done = Some(name.clone());
    }
    round.done = None;
    match failed {
        Some(error) if !succeeded && done.is_none() => Err(error),
        _ => Outcome { emit, ..Outcome::default() }.keep(&round),
    }
}

impl Lane {
    /// Forgets what there is no room for.
    fn fit(&mut self, room: (usize, usize)) {
        if let Some(newest_ms) = self.newest_ms.take() {
            self.known_ms = newest_ms - LATE_MS;
        }
        self.early.truncate(room.1);
        bound(&mut self.known_ms, &mut self.near, room.0);
    }
}

/// How many releases and how many prereleases are remembered of each repository, so that a cursor has room for all.
fn room(repositories: &[String]) -> (usize, usize) {
    let places: usize = repositories.iter().map(|name| name.len() + PLACE_BYTES).sum();
    let each = (CURSOR_BYTES - RUN_BYTES).saturating_sub(places) / repositories.len();
    ((each / 3 / NEAR_BYTES).clamp(1, NEAR_MAX), (each * 2 / 3 / EARLY_BYTES).min(EARLY_MAX))
}

/// Remembers one by one what was published in the hour before the newest, and of that `most`; whatever is older is known.
fn bound(known_ms: &mut i64, near: &mut Vec<(u64, i64)>, most: usize) {
    let newest = near.iter().map(|(_, at)| *at).max();
    *known_ms = newest.map_or(*known_ms, |newest| (newest - LATE_MS).max(*known_ms));
    near.retain(|(_, at)| *at > *known_ms);
    while near.len() > most {
        *known_ms = near.iter().map(|(_, at)| *at).min().unwrap_or(*known_ms);
        near.retain(|(_, at)| *at > *known_ms);
    }
}

/// Reads one page of a repository's releases.
fn step(
    name: &str,
    lane: Option<Lane>,
    start: Start,
    prereleases: bool,
    room: (usize, usize),
    emit: &mut Vec<Emission>,
) -> Result<Lane, Error> {
    let left = match (&lane, start) {
        (Some(_), _) | (None, Start::All) => None,
        (None, Start::FromNow) => Some(0),
        (None, Start::Backfill(releases)) => Some(releases),
    };
    let newest_ms = lane.is_none().then_some(0);
    let mut lane = lane.unwrap_or_default();
    let mut reading = lane.reading.take().unwrap_or(Reading { left, newest_ms, ..Reading::default() });
    let is_top = reading.next == NextUrl::default();
    let url = of("{api}", name, "/releases")?;
    let first = || Request::get(url).query("per_page", LIMIT_MAX);
    let response = asked(reading.next.request(first), JSON).send()?;
    let next = reading.next.advance_by_link(&response)?;
    let (mut is_any_new, mut passed) = (false, Vec::new());
    let found: Value = response.json()?;
    let Value::Array(releases) = &found else {
        return Err(
            response.error(ErrorKind::SchemaViolation, "the answer has another shape at its top: expected a list")
        );
    };
    for release in releases {
        let is = |field| at(release, field) == &Value::Bool(true);
        if is("draft") || at(release, "published_at").is_null() {
            continue;
        }
        let key = key(release)?;
        let id = at(release, "id").as_u64().unwrap_or_default();
        let at_ms = at(release, "published_at").as_str().and_then(Timestamp::parse).ok_or_else(unlike)?.as_ms();
        reading.newest_ms = reading.newest_ms.map(|newest| newest.max(at_ms));
        if is("prerelease") && !prereleases {
            passed.push(id);
            continue;
        }
        let early = lane.early.iter().position(|early| *early == id);
        let was_early = early.map(|index| lane.early.remove(index)).is_some();
        let known = (id, at_ms);
        let is_known = at_ms <= lane.known_ms || lane.near.contains(&known);
        if (is_known && !was_early) || reading.found.contains(&known) {
            continue;
        }
        is_any_new = true;
        reading.found.push(known);
        if reading.left == Some(0) {
            continue;
        }
        reading.left = reading.left.map(|left| left - 1);
        let data = json!({
            "repository": name, "id": id, "tag": at(release, "tag_name"), "name": at(release, "name"),
            "prerelease": is("prerelease"), "published_at": at(release, "published_at"), "url": at(release, "html_url"),
        });
        emit.push(Emission { event_type: "release.published".to_owned(), key, data });
    }
    if is_top {
        lane.early.retain(|early| !passed.contains(early));
        passed.append(&mut lane.early);
        passed.truncate(room.1);
        lane.early = passed;
    }
    // What is read for the first time may begin with any number of pages that hold nothing to tell.
    let goes_on = is_any_new || reading.newest_ms.is_some();
    match next {
        Some(next) if goes_on && reading.left != Some(0) => {
            bound(&mut reading.until_ms, &mut reading.found, NEAR_MAX);
            lane.reading = Some(Reading { next, ..reading });
        }
        _ => {
            let seen_ms = reading.newest_ms.map_or(0, |newest| newest - LATE_MS);
            lane.known_ms = lane.known_ms.max(reading.until_ms).max(seen_ms);
            lane.near.append(&mut reading.found);
            bound(&mut lane.known_ms, &mut lane.near, room.0);
        }
    }
    Ok(lane)
}
