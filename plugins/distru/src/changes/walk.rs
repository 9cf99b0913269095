//! One run of a poll: everything that changed since a time, page by page, in whatever order Distru lists it.
//!
//! No list of Distru's is sorted by its last change, so the time to go on from is moved only when a list was read to its
//! end, and never beyond the moment at which that reading began: what changed behind its back is found by the next one.
//! It also stays some minutes behind, for what Distru shows late and for clocks that differ; what is then read again has
//! the same key and is not told again. When nothing has happened for an hour it moves on all the same, so that the last
//! change of a quiet company is not read for ever: the host knows a key for a month.
//!
//! A poll that begins now begins those minutes before it, because Distru's clock may be behind the host's. The latest change
//! on the first page says how late it is at Distru: up to there nothing is told. All that is later is told, on whichever page
//! it stands, though some of it may have been there before.

use serde::{Deserialize, Serialize};
use wharfage_sdk::events::{Outcome, Poll, Start};
use wharfage_sdk::page::NextUrl;
use wharfage_sdk::{Error, ErrorKind, Request, Timestamp, clock, log};

use super::Watched;
use crate::listing;
use crate::record::Record;

/// How far a run goes back behind the last one: five minutes.
const OVERLAP_MS: i64 = 300_000;
/// What is this old is settled: an hour.
const SETTLED_MS: i64 = 3_600_000;
/// How often a list begins again at most; a mark that is refused sooner is an error.
const AGAIN_MS: i64 = 3_600_000;
/// How many pages are read before what was found is kept.
const PAGES_AT_ONCE: u32 = 4;
/// How many records a page is asked to have. Distru may make it longer.
const RECORDS: u32 = 200;
/// How many events are found before they are kept: the host bounds what one call emits.
const EMITTED: usize = 500;
/// How many pages may be counted to find where a backfill begins.
const COUNTED_MAX: u32 = 20;

const DAY_MS: i64 = 86_400_000;

/// Where the poll stands; the cursor.
#[derive(Default, Deserialize, Serialize)]
pub(super) struct Place {
    /// What changed before is told; from the beginning where it is left out.
    since: Option<Timestamp>,
    /// Changes up to here were there before the poll began and are not told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    before: Option<Timestamp>,
    /// When this list began again because a mark was good no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    again: Option<Timestamp>,
    /// The list that is being read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reading: Option<Reading>,
}

#[derive(Deserialize, Serialize)]
struct Reading {
    /// When it was begun.
    began: Timestamp,
    /// The latest change it held so far.
    latest: Option<Timestamp>,
    /// The page that is next.
    at: NextUrl,
}

wharfage_sdk::input! {
    /// `[connections.<name>.polls.<poll>.input]`: nothing can be said there.
    struct Input {}
}

pub(super) fn run(watched: &Watched, poll: &Poll, place: Option<Place>) -> Result<Outcome, Error> {
    let Input {} = poll.read_input()?;
    match (place, poll.start) {
        (Some(place), _) => read(watched, place),
        (None, Start::FromNow) => begin(watched),
        (None, Start::All) => read(watched, Place::default()),
        (None, Start::Backfill(number)) => {
            read(watched, Place { since: beginning(watched, number)?, ..Place::default() })
        }
    }
}

/// Notes on one page what was there before, and tells none of it.
fn begin(watched: &Watched) -> Result<Outcome, Error> {
    let now = clock::now();
    let since = Some(now.plus_ms(-OVERLAP_MS));
    // Beyond what clocks differ by, a time is wrong and says nothing of Distru's clock.
    let soon = now.plus_ms(OVERLAP_MS);
    let request = listing::sized(watched.changed_since(since), Some(RECORDS));
    let (response, records, _) = listing::page(&NextUrl::default(), request)?;
    let mut before: Option<Timestamp> = None;
    let mut take = |record: &Record| {
        watched.emission(record)?;
        before = before.max(record.settle(record.time(watched.changed_by))?.filter(|at| *at <= soon));
        Ok(())
    };
    records.iter().try_for_each(&mut take).map_err(|error| listing::about(&response, error))?;
    Outcome::default().keep(&Place { since, before, ..Place::default() })
}

fn read(watched: &Watched, place: Place) -> Result<Outcome, Error> {
    let Place { since, before, again, reading } = place;
    let begin = || Reading { began: clock::now(), latest: None, at: NextUrl::default() };
    let mut reading = reading.unwrap_or_else(begin);
    let mut emit = Vec::new();
    for _ in 0..PAGES_AT_ONCE {
        let request = listing::sized(watched.changed_since(since), Some(RECORDS));
        let (response, records, next) = match listing::page(&reading.at, request) {
            Ok(page) => page,
            // A mark inside a list grows old; the list is read again, though not over and over. What was told has its key.
            Err(error) if reading.at != NextUrl::default() && is_lost(&error, again) => {
                log::warn("a list cannot be gone on with and is read again", &[("list", &watched.poll)]);
                let place = Place { since, before, again: Some(clock::now()), reading: None };
                return Outcome { emit, more: true, ..Outcome::default() }.keep(&place);
            }
            Err(error) => return Err(error),
        };
        let mut take = |record: &Record| {
            let emission = watched.emission(record)?;
            let at = record.settle(record.time(watched.changed_by))?;
            if at > before {
                emit.push(emission);
            }
            reading.latest = reading.latest.max(at);
            Ok(())
        };
        records.iter().try_for_each(&mut take).map_err(|error| listing::about(&response, error))?;
        match next {
            Some(next) => reading.at = next,
            None => {
                let place = Place { since: reading.end(since), before, again: None, reading: None };
                return Outcome { emit, ..Outcome::default() }.keep(&place);
            }
        }
        if emit.len() >= EMITTED {
            break;
        }
    }
    Outcome { emit, more: true, ..Outcome::default() }.keep(&Place { since, before, again, reading: Some(reading) })
}

impl Reading {
    /// Where the next list begins.
    fn end(&self, since: Option<Timestamp>) -> Option<Timestamp> {
        let latest = self.latest.map(|latest| latest.min(self.began).plus_ms(-OVERLAP_MS));
        since.max(latest).max(Some(self.began.plus_ms(-SETTLED_MS)))
    }
}

impl Watched {
    fn changed_since(&self, since: Option<Timestamp>) -> Request {
        let request = Request::get(format!("{{api}}/{}", self.poll));
        let request = listing::since(request, self.changed_by, since);
        request.query_some("deleted", self.lists_deleted.then_some("include"))
    }
}

/// Whether a page is refused that Distru itself has named, and the list may begin again.
fn is_lost(error: &Error, again: Option<Timestamp>) -> bool {
    let is_refused = matches!(error.kind, ErrorKind::InvalidRequest(_) | ErrorKind::NotFound);
    is_refused && again.is_none_or(|again| again.plus_ms(AGAIN_MS) <= clock::now())
}

/// Since when there are so many changes at least; from the beginning where there are fewer.
fn beginning(watched: &Watched, number: u32) -> Result<Option<Timestamp>, Error> {
    for days in [1, 10, 100, 1_000] {
        let since = clock::now().plus_ms(-days * DAY_MS);
        if counts(watched, since, number as usize)? {
            return Ok(Some(since));
        }
    }
    Ok(None)
}

fn counts(watched: &Watched, since: Timestamp, number: usize) -> Result<bool, Error> {
    let (mut at, mut count) = (NextUrl::default(), 0);
    for _ in 0..COUNTED_MAX {
        let (_, records, next) = listing::page(&at, watched.changed_since(Some(since)))?;
        count += records.len();
        match next {
            _ if count >= number => return Ok(true),
            Some(next) => at = next,
            None => return Ok(false),
        }
    }
    Ok(false)
}
