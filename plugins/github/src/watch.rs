//! `polls.releases`: releases as they are published, of repositories that one can set up no webhook for.
//!
//! GitHub lists releases by the age of their commits, and says of each when it was published. What counts is the latter: a
//! release is new that was published after the last one seen, or shortly before it and not seen. So a draft that lay around
//! is told when it comes out, and of two that come out together none is lost.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::json;
use wharfage_sdk::events::{Emission, Outcome, Poll, Start};
use wharfage_sdk::page::NextUrl;
use wharfage_sdk::{Error, ErrorKind, Request, Timestamp, log};

use crate::releases::Release;
use crate::{JSON, LIMIT_MAX, asked, of};

/// A cursor holds a place for each repository and has a size.
const REPOSITORIES_MAX: usize = 50;
/// What one call asks before it hands back and is called again: what was read is then kept.
const REQUESTS_MAX: u32 = 20;
/// How many prereleases are remembered of a repository.
const EARLY_MAX: usize = 100;
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
    /// When the last release was published that is known, in milliseconds since 1970.
    until_ms: i64,
    /// What was published shortly before that: ids and times.
    near: Vec<(u64, i64)>,
    /// Prereleases that were passed over: one may still become a full release, at its old time.
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
    /// How many may still be told, on the first run.
    left: Option<u32>,
}

/// What names a published release. One that is taken back and published again is told again.
pub(crate) fn key(id: u64, published_at: Option<Timestamp>) -> String {
    let published = published_at.map(|at| at.to_string()).unwrap_or_default();
    ["release ", &id.to_string(), " ", &published].concat()
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
    let done = round.done.take();
    let (mut emit, mut requests, mut failed, mut succeeded) = (Vec::new(), 0, None, false);
    for name in input.repositories.iter().filter(|name| done.as_ref().is_none_or(|done| *name > done)) {
        loop {
            if requests >= REQUESTS_MAX {
                return Outcome { emit, more: true, ..Outcome::default() }.keep(&round);
            }
            requests += 1;
            let lane = round.lanes.get(name).cloned();
            match step(name, lane, poll.start, input.prereleases, &mut emit) {
                Ok(lane) => {
                    succeeded = true;
                    let is_done = lane.reading.is_none();
                    round.lanes.insert(name.clone(), lane);
                    if is_done {
                        break;
                    }
                }
                // One that is gone or was made private must not keep the others from being read.
                Err(error) if error.kind == ErrorKind::NotFound => {
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

/// Reads one page of a repository's releases.
fn step(
    name: &str,
    lane: Option<Lane>,
    start: Start,
    prereleases: bool,
    emit: &mut Vec<Emission>,
) -> Result<Lane, Error> {
    let left = match (&lane, start) {
        (Some(_), _) | (None, Start::All) => None,
        (None, Start::FromNow) => Some(0),
        (None, Start::Backfill(releases)) => Some(releases),
    };
    let mut lane = lane.unwrap_or_default();
    let mut reading = lane.reading.take().unwrap_or(Reading { left, ..Reading::default() });
    let url = of("{api}", name, "/releases")?;
    let first = || Request::get(url).query("per_page", LIMIT_MAX);
    let response = asked(reading.next.request(first), JSON).send()?;
    let next = reading.next.advance_by_link(&response)?;
    let mut is_any_new = false;
    for release in response.json::<Vec<Release>>()? {
        let Some(at) = release.published_at.filter(|_| !release.draft) else { continue };
        if release.prerelease && !prereleases {
            if !lane.early.contains(&release.id) {
                lane.early.truncate(EARLY_MAX - 1);
                lane.early.insert(0, release.id);
            }
            continue;
        }
        let was_early =
            lane.early.iter().position(|id| *id == release.id).map(|index| lane.early.remove(index)).is_some();
        let known = (release.id, at.as_ms());
        let is_known = at.as_ms() <= lane.until_ms - LATE_MS || lane.near.contains(&known);
        if (is_known && !was_early) || reading.found.contains(&known) {
            continue;
        }
        is_any_new = true;
        reading.found.push(known);
        if reading.left == Some(0) {
            continue;
        }
        reading.left = reading.left.map(|left| left - 1);
        emit.push(Emission {
            event_type: "release.published".to_owned(),
            key: key(release.id, release.published_at),
            data: json!({
                "repository": name, "id": release.id, "tag": release.tag, "name": release.name,
                "prerelease": release.prerelease, "published_at": release.published_at, "url": release.url,
            }),
        });
    }
    match next {
        Some(next) if is_any_new && reading.left != Some(0) => lane.reading = Some(Reading { next, ..reading }),
        _ => {
            lane.near.append(&mut reading.found);
            lane.until_ms = lane.near.iter().map(|(_, at)| *at).fold(lane.until_ms, i64::max);
            lane.near.retain(|(_, at)| *at > lane.until_ms - LATE_MS);
        }
    }
    Ok(lane)
}
