//! `polls.events`: what changed in a calendar, by sync token.
//!
//! A token says "since then", and Google answers what is different, deletions too. It can become useless (410: too old,
//! or rights changed); then the calendar is read as a whole, and what this connection knew and is there no more was
//! deleted meanwhile, although nobody says so. Therefore the ids are kept (`known`), beside the cursor, which is too small for
//! them. Every step may run twice: what a run has noted is recognized by its round, and the host emits a key once.

mod known;

use serde::{Deserialize, Serialize};
use wharfage_sdk::events::{Emission, Outcome, Poll, Start};
use wharfage_sdk::{Error, ErrorKind, Request, Response, Timestamp, clock, log, state};

use crate::{events_path, primary};
use known::{Change, Known};

/// `[connections.<name>.polls.events.input]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    /// The calendar.
    #[serde(default = "primary")]
    calendar: String,
    /// Only events that end after this; every one unless stated. It is read with the first reading and each full one.
    #[serde(default)]
    since: Option<Timestamp>,
}

/// The cursor.
#[derive(Serialize, Deserialize)]
pub(crate) struct Place {
    /// The calendar it is of: another one begins anew.
    calendar: String,
    /// How many times everything was read.
    round: u32,
    stage: Stage,
}

/// What a run does.
#[derive(Serialize, Deserialize)]
enum Stage {
    /// Reads everything, page by page.
    Full {
        page: Option<String>,
        told: Told,
        /// When this reading began again because a page's mark was good no more.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        again: Option<Timestamp>,
    },
    /// Tells the rest of a backfill: the newest so many.
    Newest { sync: String, left: u32 },
    /// Tells what a full reading did not find any more, after this id.
    Sweep { sync: String, after: String },
    /// Asks what is different since then.
    Since {
        sync: String,
        page: Option<String>,
        /// As with a full reading.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        again: Option<Timestamp>,
    },
}

/// What of a full reading is told.
#[derive(Clone, Copy, PartialEq, Serialize, Deserialize)]
enum Told {
    Nothing,
    Newest(u32),
    /// All that is not known as it is.
    News,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Listing {
    kind: String,
    #[serde(default)]
    next_page_token: Option<String>,
    #[serde(default)]
    next_sync_token: Option<String>,
    #[serde(default)]
    items: Vec<Change>,
}

/// How many events a page has.
const LIMIT: u32 = 500;
/// How many a backfill or a sweep tells in one run: the host bounds what one emits.
const EMITTED: usize = 500;
/// How often a reading begins again at most; a page that is refused sooner is an error.
const AGAIN_MS: i64 = 3_600_000;

pub(crate) fn run(poll: &Poll, kept: Option<Place>) -> Result<Outcome, Error> {
    let input: Input = poll.read_input()?;
    let told = match poll.start {
        Start::FromNow => Told::Nothing,
        Start::Backfill(events) => Told::Newest(events),
        Start::All => Told::News,
    };
    let place = match kept {
        Some(place) if place.calendar == input.calendar => place,
        kept => {
            // Nobody asks any more what was known of another calendar, and it takes up room.
            kept.map_or(Ok(()), |place| state::delete(&name(&place.calendar)))?;
            Place { calendar: input.calendar.clone(), round: 1, stage: Stage::Full { page: None, told, again: None } }
        }
    };
    let Place { calendar, round, stage } = place;
    let (emit, round, stage) = match stage {
        Stage::Full { page, told, again } => full(&input, round, page, told, again)?,
        Stage::Newest { sync, left } => newest(&calendar, round, &load(&calendar)?.0, sync, left),
        Stage::Sweep { sync, after } => sweep(&calendar, round, sync, after)?,
        Stage::Since { sync, page, again } => since(&input, round, sync, page, again)?,
    };
    let more = !matches!(stage, Stage::Since { page: None, .. });
    Outcome { emit, more, ..Outcome::default() }.keep(&Place { calendar, round, stage })
}

type Step = (Vec<Emission>, u32, Stage);

fn full(input: &Input, round: u32, page: Option<String>, told: Told, again: Option<Timestamp>) -> Result<Step, Error> {
    let request = ask(input, page.as_deref())?.query_some("timeMin", input.since);
    let answer = match request.send() {
        Err(error) if is_stale(&error, &page, again) => {
            log::warn("a page's mark is good no more: the full reading begins again", &[("round", &round)]);
            return Ok((Vec::new(), round, Stage::Full { page: None, told, again: Some(clock::now()) }));
        }
        answer => answer?,
    };
    let listing = read(&answer)?;
    let (mut known, before) = load(&input.calendar)?;
    let mut emit = Vec::new();
    for change in &listing.items {
        let is_news = known.note(change, round);
        if told == Told::News && is_news {
            emit.push(change.emission(&input.calendar, &["round ", &round.to_string()].concat()));
        }
    }
    save(&input.calendar, &known, before)?;
    let stage = match (listing.next_page_token, listing.next_sync_token) {
        (Some(next), _) => Stage::Full { page: Some(next), told, again },
        (None, Some(sync)) => match told {
            Told::Newest(events) => return Ok(newest(&input.calendar, round, &known, sync, events)),
            // With the first round there is nothing that could be missing; the sweep ends at once.
            Told::Nothing | Told::News => Stage::Sweep { sync, after: String::new() },
        },
        (None, None) => return Err(answer.error(ErrorKind::SchemaViolation, "the last page has no sync token")),
    };
    Ok((emit, round, stage))
}

/// Of the newest `left` the oldest, as many as one run tells. What is known changes only when all of them are told.
fn newest(calendar: &str, round: u32, known: &Known, sync: String, left: u32) -> Step {
    let mut newest = known.newest(left);
    let left = u32::try_from(newest.len().saturating_sub(EMITTED)).unwrap_or(left);
    newest.truncate(EMITTED);
    let emit = newest.into_iter().map(|change| change.emission(calendar, "backfill")).collect();
    let stage = if left > 0 { Stage::Newest { sync, left } } else { Stage::Sweep { sync, after: String::new() } };
    (emit, round, stage)
}

fn sweep(calendar: &str, round: u32, sync: String, after: String) -> Result<Step, Error> {
    let (mut known, before) = load(calendar)?;
    let gone = known.gone(round, &after, EMITTED);
    if let Some(last) = gone.last() {
        let after = last.clone();
        let emit = gone.iter().map(|id| known::missing(calendar, id, round)).collect();
        return Ok((emit, round, Stage::Sweep { sync, after }));
    }
    // Only now, when each of them has been told and that was kept.
    known.forget(round);
    save(calendar, &known, before)?;
    Ok((Vec::new(), round, Stage::Since { sync, page: None, again: None }))
}

/// Whether it may be the page's mark that is good no more. The reading begins again then, though not over and over.
fn is_stale(error: &Error, page: &Option<String>, again: Option<Timestamp>) -> bool {
    let is_refused = matches!(error.kind, ErrorKind::InvalidRequest(_) | ErrorKind::CursorInvalid);
    page.is_some() && is_refused && again.is_none_or(|again| again.plus_ms(AGAIN_MS) <= clock::now())
}

fn since(
    input: &Input,
    round: u32,
    sync: String,
    page: Option<String>,
    again: Option<Timestamp>,
) -> Result<Step, Error> {
    let answer = match ask(input, page.as_deref())?.query("syncToken", &sync).send() {
        Err(error) if error.kind == ErrorKind::CursorInvalid => {
            log::info("the sync token is good no more; everything is read", &[("round", &(round + 1))]);
            return Ok((Vec::new(), round + 1, Stage::Full { page: None, told: Told::News, again: None }));
        }
        // Its page's mark is good no more, though the token is.
        Err(error) if is_stale(&error, &page, again) => {
            log::warn("a page's mark is good no more: the sync token is asked again", &[("round", &round)]);
            return Ok((Vec::new(), round, Stage::Since { sync, page: None, again: Some(clock::now()) }));
        }
        answer => answer?,
    };
    let listing = read(&answer)?;
    let mut emit = Vec::new();
    if !listing.items.is_empty() {
        let (mut known, before) = load(&input.calendar)?;
        for change in &listing.items {
            // A token knows no `since`: a full reading would miss it, and take it for deleted. Who knew it is told.
            let is_told = if input.since.is_some_and(|since| change.has_ended(since)) {
                known.leave(change, round)
            } else {
                known.follow(change, round);
                true
            };
            if is_told {
                emit.push(change.emission(&input.calendar, &sync));
            }
        }
        save(&input.calendar, &known, before)?;
    }
    let stage = match (listing.next_page_token, listing.next_sync_token) {
        (Some(next), _) => Stage::Since { sync, page: Some(next), again },
        (None, Some(sync)) => Stage::Since { sync, page: None, again: None },
        (None, None) => return Err(answer.error(ErrorKind::SchemaViolation, "the last page has no sync token")),
    };
    Ok((emit, round, stage))
}

/// Series stay whole here: an occurrence comes only where it differs from its series.
fn ask(input: &Input, page: Option<&str>) -> Result<Request, Error> {
    let request = Request::get(events_path(&input.calendar)?).query("maxResults", LIMIT).query("showDeleted", "true");
    let fields = match input.since {
        None => "kind,nextPageToken,nextSyncToken,items(id,status,updated,recurringEventId)",
        Some(_) => "kind,nextPageToken,nextSyncToken,items(id,status,updated,recurringEventId,recurrence,end)",
    };
    Ok(request.query("fields", fields).query_some("pageToken", page))
}

fn read(answer: &Response) -> Result<Listing, Error> {
    let listing: Listing = answer.json()?;
    match listing.kind.as_str() {
        "calendar#events" => Ok(listing),
        _ => Err(answer.error(ErrorKind::SchemaViolation, "the answer is no list of events")),
    }
}

fn name(calendar: &str) -> String {
    // A name is at most 256 bytes, an id of a calendar mostly an address.
    ["events of ", &calendar.chars().take(60).collect::<String>()].concat()
}

/// What is known of a calendar, and its text as it is kept.
fn load(calendar: &str) -> Result<(Known, Option<Vec<u8>>), Error> {
    let bytes = state::get(&name(calendar))?;
    let known = bytes.as_deref().and_then(|bytes| std::str::from_utf8(bytes).ok()).map(Known::read);
    Ok((known.unwrap_or_default(), bytes))
}

fn save(calendar: &str, known: &Known, before: Option<Vec<u8>>) -> Result<(), Error> {
    let text = known.text();
    if before.as_deref() == Some(text.as_bytes()) {
        return Ok(());
    }
    state::set(&name(calendar), text.as_bytes())
}

#[cfg(test)]
mod tests {
    use wharfage_sdk::events::{Event, Trigger};
    use wharfage_sdk::testing;

    use super::*;

    const FIELDS: &str =
        "fields=kind%2CnextPageToken%2CnextSyncToken%2Citems%28id%2Cstatus%2Cupdated%2CrecurringEventId%29";

    fn polled(start: Start, cursor: Option<String>, exchanges: &str) -> Outcome {
        polled_with("{}", start, cursor, exchanges)
    }

    fn polled_with(input: &str, start: Start, cursor: Option<String>, exchanges: &str) -> Outcome {
        tried(input, start, cursor, exchanges).unwrap()
    }

    fn tried(input: &str, start: Start, cursor: Option<String>, exchanges: &str) -> Result<Outcome, Error> {
        let poll = Poll { name: "events".into(), input: input.into(), start };
        let event = Event { id: "1".into(), trigger: Trigger::Poll(poll), cursor };
        let exchanges = exchanges.replace("FIELDS", &format!("maxResults=500&showDeleted=true&{FIELDS}"));
        testing::handle(include_str!("../plugin.toml"), crate::handle, event, &exchanges)
    }

    fn told(outcome: &Outcome) -> Vec<(&str, &str)> {
        outcome.emit.iter().map(|e| (e.event_type.as_str(), e.data["id"].as_str().unwrap())).collect()
    }

    const ONE: &str = r#"{"id": "a", "status": "confirmed", "updated": "2026-03-01T00:00:00Z"}"#;

    #[test]
    fn from_now_on_reads_to_the_token_and_tells_nothing() {
        let first = polled(
            Start::FromNow,
            None,
            &r#"[{"request": {"method": "GET", "url": "{api}/calendars/primary/events?FIELDS"},
                 "response": {"status": 200, "json": {"kind": "calendar#events", "nextPageToken": "p2", "items": [ONE]}}}]"#
                .replace("ONE", ONE),
        );
        assert!(first.emit.is_empty() && first.more);
        let second = polled(
            Start::FromNow,
            first.cursor,
            r#"[{"request": {"method": "GET", "url": "{api}/calendars/primary/events?FIELDS&pageToken=p2"},
                 "response": {"status": 200, "json": {"kind": "calendar#events", "nextSyncToken": "s1", "items": []}}}]"#,
        );
        assert!(second.emit.is_empty() && second.more);
        let third = polled(Start::FromNow, second.cursor, "[]");
        assert!(third.emit.is_empty() && !third.more);
        let fourth = polled(
            Start::FromNow,
            third.cursor,
            r#"[{"request": {"method": "GET", "url": "{api}/calendars/primary/events?FIELDS&syncToken=s1"},
                 "response": {"status": 200, "json": {"kind": "calendar#events", "nextSyncToken": "s2", "items": [
                    {"id": "b", "status": "confirmed", "updated": "2026-03-02T00:00:00Z"}, {"id": "a", "status": "cancelled"}
                 ]}}}]"#,
        );
        assert_eq!(told(&fourth), [("event.changed", "b"), ("event.deleted", "a")]);
        assert!(!fourth.more && fourth.cursor.unwrap().contains("s2"));
    }

    // A token that is too old: everything is read again, in the same poll, and nothing is lost or told as if it were new
    // because the ids are known. (That they are is `known`'s to prove; here nothing is kept between runs.)
    #[test]
    fn a_token_that_is_good_no_more_leads_to_a_full_reading() {
        let cursor = r#"{"calendar":"primary","round":1,"stage":{"Since":{"sync":"old","page":null}}}"#.to_owned();
        let outcome = polled(
            Start::All,
            Some(cursor),
            r#"[{"request": {"method": "GET", "url": "{api}/calendars/primary/events?FIELDS&syncToken=old"},
                 "response": {"status": 410, "json": {"error": {"errors": [{"domain": "calendar",
                    "reason": "fullSyncRequired", "message": "Sync token is no longer valid, a full sync is required.",
                    "locationType": "parameter", "location": "syncToken"}], "code": 410,
                    "message": "Sync token is no longer valid, a full sync is required."}}}}]"#,
        );
        assert!(outcome.emit.is_empty() && outcome.more);
        let outcome = polled(
            Start::All,
            outcome.cursor,
            &r#"[{"request": {"method": "GET", "url": "{api}/calendars/primary/events?FIELDS"},
                 "response": {"status": 200, "json": {"kind": "calendar#events", "nextSyncToken": "new", "items": [ONE]}}}]"#
                .replace("ONE", ONE),
        );
        assert_eq!(told(&outcome), [("event.changed", "a")]);
        assert!(outcome.cursor.unwrap().contains(r#""Sweep""#));
    }

    // The clock stands at the first second of 2026.
    #[test]
    fn a_page_that_is_good_no_more_is_asked_for_again_and_not_over_and_over() {
        for (stage, query) in [(r#""Since":{"sync":"s","#, "&syncToken=s"), (r#""Full":{"told":"News","#, "")] {
            let cursor = |rest: &str| [r#"{"calendar":"primary","round":1,"stage":{"#, stage, rest, "}}}"].concat();
            let refused =
                r#"[{"request": {"method": "GET", "url": "{api}/calendars/primary/events?FIELDSTOKEN&pageToken=old"},
                 "response": {"status": 400, "json": {"error": {"errors": [{"domain": "global", "reason": "invalid"}],
                    "code": 400}}}}]"#
                    .replace("TOKEN", query);
            let ask = |rest: &str| tried("{}", Start::All, Some(cursor(rest)), &refused);
            for rest in [r#""page":"old""#, r#""page":"old","again":"2025-12-31T23:00:00Z""#] {
                let begun = ask(rest).unwrap().cursor.unwrap();
                assert!(begun.contains(r#""page":null"#), "{begun}");
                assert!(begun.contains(r#""again":"2026-01-01T00:00:00Z""#), "{begun}");
            }
            let error = ask(r#""page":"old","again":"2025-12-31T23:00:01Z""#).unwrap_err();
            assert_eq!(error.kind.name(), "invalid-request");
        }
    }

    // A restart is remembered until its round is over, and no longer.
    #[test]
    fn a_restart_is_remembered_until_the_last_page() {
        let cursor = r#"{"calendar":"primary","round":1,"stage":{"Since":{"sync":"s","page":null,
            "again":"2026-01-01T00:00:00Z"}}}"#;
        for (next, is_remembered) in [(r#""nextPageToken": "p2""#, true), (r#""nextSyncToken": "t""#, false)] {
            let page = r#"[{"request": {"method": "GET", "url": "{api}/calendars/primary/events?FIELDS&syncToken=s"},
                 "response": {"status": 200, "json": {"kind": "calendar#events", NEXT, "items": []}}}]"#
                .replace("NEXT", next);
            let outcome = polled(Start::All, Some(cursor.to_owned()), &page);
            assert_eq!(outcome.cursor.unwrap().contains("again"), is_remembered, "{next}");
        }
    }

    // What comes of a sync of a poll with `since` that tells of these items.
    fn synced_since_2026(items: &str) -> Outcome {
        let fields = ["maxResults=500&showDeleted=true&", &FIELDS.replace("%29", "%2Crecurrence%2Cend%29")].concat();
        polled_with(
            r#"{"since": "2026-01-01T00:00:00Z"}"#,
            Start::All,
            Some(r#"{"calendar":"primary","round":1,"stage":{"Since":{"sync":"s","page":null}}}"#.to_owned()),
            &r#"[{"request": {"method": "GET", "url": "{api}/calendars/primary/events?MORE&syncToken=s"},
                 "response": {"status": 200, "json": {"kind": "calendar#events", "nextSyncToken": "t", "items": [ITEMS]}}}]"#
                .replace("MORE", &fields)
                .replace("ITEMS", items),
        )
    }

    // A sync tells of every event, also of those that no reading with `since` finds. The end of a series is its first one's.
    #[test]
    fn what_ended_before_since_is_not_told() {
        let outcome = synced_since_2026(
            r#"{"id": "past", "status": "confirmed", "end": {"dateTime": "2026-01-01T01:00:00+01:00"}},
               {"id": "day", "status": "confirmed", "end": {"date": "2025-12-31"}},
               {"id": "series", "status": "confirmed", "end": {"date": "2025-01-02"}, "recurrence": ["RRULE:FREQ=DAILY"]},
               {"id": "soon", "status": "confirmed", "end": {"dateTime": "2026-01-01T00:00:01Z"}}"#,
        );
        assert_eq!(told(&outcome), [("event.changed", "series"), ("event.changed", "soon")]);
    }

    // Who was told of it learns where it went. Nothing is kept between runs here, so one answer tells of both.
    #[test]
    fn what_was_known_and_moved_before_since_is_told() {
        let outcome = synced_since_2026(
            r#"{"id": "a", "status": "confirmed", "updated": "2026-03-01T00:00:00Z", "end": {"date": "2026-02-01"}},
               {"id": "a", "status": "confirmed", "updated": "2026-03-02T00:00:00Z", "end": {"date": "2025-02-01"}}"#,
        );
        assert_eq!(told(&outcome), [("event.changed", "a"), ("event.changed", "a")]);
    }

    // The state lasts from one run to the next here.
    #[test]
    fn a_large_backfill_is_told_in_portions() {
        let mut scene = testing::Scene::of(include_str!("../plugin.toml"));
        let items = (0..1_200).map(|n| ONE.replace(r#""a""#, &format!(r#""e{n:04}""#))).collect::<Vec<_>>().join(",");
        let mut exchanges = r#"[{"request": {"method": "GET", "url": "{api}/calendars/primary/events?MORE"},
            "response": {"status": 200, "json": {"kind": "calendar#events", "nextSyncToken": "s1", "items": [ITEMS]}}}]"#
            .replace("MORE", &format!("maxResults=500&showDeleted=true&{FIELDS}"))
            .replace("ITEMS", &items);
        let (mut cursor, mut ids, mut portions) = (None, Vec::new(), Vec::new());
        loop {
            let poll = Poll { name: "events".into(), input: "{}".into(), start: Start::Backfill(1_100) };
            let event = Event { id: "1".into(), trigger: Trigger::Poll(poll), cursor };
            let outcome = scene.handle(crate::handle, event, &exchanges).unwrap();
            portions.push(outcome.emit.len());
            ids.extend(outcome.emit.iter().filter_map(|emission| emission.data["id"].as_str().map(str::to_owned)));
            if !outcome.more {
                break;
            }
            (cursor, exchanges) = (outcome.cursor, "[]".to_owned());
        }
        assert_eq!(portions, [500, 500, 100, 0]);
        assert_eq!(ids, (100..1_200).map(|n| format!("e{n:04}")).collect::<Vec<_>>());
    }

    #[test]
    fn what_was_known_of_another_calendar_is_forgotten() {
        let mut scene = testing::Scene::of(include_str!("../plugin.toml"));
        scene.state.insert("events of other".to_owned(), b"a 3 0\n".to_vec());
        let poll = Poll { name: "events".into(), input: "{}".into(), start: Start::FromNow };
        let cursor = r#"{"calendar":"other","round":3,"stage":{"Since":{"sync":"s","page":null}}}"#.to_owned();
        let event = Event { id: "1".into(), trigger: Trigger::Poll(poll), cursor: Some(cursor) };
        let exchanges = r#"[{"request": {"method": "GET", "url": "{api}/calendars/primary/events?MORE"},
            "response": {"status": 200, "json": {"kind": "calendar#events", "nextSyncToken": "s", "items": [ONE]}}}]"#
            .replace("MORE", &format!("maxResults=500&showDeleted=true&{FIELDS}"))
            .replace("ONE", ONE);
        scene.handle(crate::handle, event, &exchanges).unwrap();
        assert_eq!(Vec::from_iter(scene.state.keys()), ["events of primary"]);
    }

    #[test]
    fn another_calendar_begins_anew() {
        let cursor = r#"{"calendar":"other","round":3,"stage":{"Since":{"sync":"s","page":null}}}"#.to_owned();
        let outcome = polled(
            Start::FromNow,
            Some(cursor),
            r#"[{"request": {"method": "GET", "url": "{api}/calendars/primary/events?FIELDS"},
                 "response": {"status": 200, "json": {"kind": "calendar#events", "nextSyncToken": "s", "items": []}}}]"#,
        );
        assert!(outcome.emit.is_empty() && outcome.cursor.unwrap().contains(r#""calendar":"primary""#));
    }
}
