//! `polls.history`: what happened in a mailbox, in Gmail's own order.
//!
//! Gmail keeps its history for about a week, sometimes hours only, and answers 404 for what it no more remembers. Then messages
//! that came meanwhile are found by their date instead, and an event says of which time nothing else is known. Reading
//! messages anew costs no more than their ids.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use wharfage_sdk::events::{Emission, Outcome, Poll, Start};
use wharfage_sdk::{Error, ErrorKind, Request, Timestamp, clock, log};

use crate::messages::Named;

/// `[connections.<name>.polls.history.input]`.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    /// Only messages with this label, by its id; every one unless stated.
    #[serde(default)]
    label: Option<String>,
}

/// The cursor: a history id and what is done with it.
#[derive(Serialize, Deserialize)]
pub(crate) struct Place {
    /// From here on the history is unknown.
    history: String,
    /// When that was last asked successfully.
    at: Timestamp,
    stage: Stage,
}

#[derive(Serialize, Deserialize)]
enum Stage {
    /// Reads the history on.
    Follow { page: Option<String> },
    /// Reads the ids of messages instead: those since a time, or so many, or all.
    Messages { since: Option<Timestamp>, left: Option<u32>, page: Option<String> },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Profile {
    history_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Listing {
    #[serde(default)]
    next_page_token: Option<String>,
    #[serde(default)]
    messages: Vec<Named>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    /// Where the mailbox stands now.
    history_id: String,
    #[serde(default)]
    next_page_token: Option<String>,
    #[serde(default)]
    history: Vec<Step>,
}

/// One step. Beside these lists it has one, `messages`, that names the same messages once more.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Step {
    id: String,
    #[serde(default)]
    messages_added: Vec<Happened>,
    #[serde(default)]
    messages_deleted: Vec<Happened>,
    #[serde(default)]
    labels_added: Vec<Happened>,
    #[serde(default)]
    labels_removed: Vec<Happened>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Happened {
    message: Message,
    #[serde(default)]
    label_ids: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Message {
    id: String,
    #[serde(default)]
    thread_id: Option<String>,
    #[serde(default)]
    label_ids: Vec<String>,
}

/// As many as Gmail gives at once.
const LIMIT: u32 = 500;
/// Around a gap: clocks differ, and mail takes its time.
const MARGIN_MS: i64 = 3_600_000;

pub(crate) fn run(poll: &Poll, kept: Option<Place>) -> Result<Outcome, Error> {
    let input: Input = poll.read_input()?;
    let Some(place) = kept else { return begin(poll.start) };
    match place.stage {
        Stage::Follow { page } => follow(&input, place.history, place.at, page),
        Stage::Messages { since, left, page } => messages(&input, place.history, place.at, since, left, page),
    }
}

/// Where the mailbox stands is asked before its messages: what comes in between is told twice, by one key, and not missed.
fn begin(start: Start) -> Result<Outcome, Error> {
    let history = now()?;
    let stage = match start {
        Start::FromNow => Stage::Follow { page: None },
        Start::Backfill(messages) => Stage::Messages { since: None, left: Some(messages), page: None },
        Start::All => Stage::Messages { since: None, left: None, page: None },
    };
    go_on(Vec::new(), history, clock::now(), stage)
}

fn go_on(emit: Vec<Emission>, history: String, at: Timestamp, stage: Stage) -> Result<Outcome, Error> {
    let more = !matches!(stage, Stage::Follow { page: None });
    Outcome { emit, more, ..Outcome::default() }.keep(&Place { history, at, stage })
}

fn now() -> Result<String, Error> {
    let profile: Profile = Request::get("{api}/users/me/profile").send()?.json()?;
    Ok(profile.history_id)
}

fn follow(input: &Input, history: String, at: Timestamp, page: Option<String>) -> Result<Outcome, Error> {
    let asked_at = clock::now();
    let request = Request::get("{api}/users/me/history")
        .query("startHistoryId", &history)
        .query("maxResults", LIMIT)
        .query_some("labelId", input.label.as_deref())
        .query_some("pageToken", page.as_deref());
    let record: Record = match request.send() {
        Err(error) if error.kind == ErrorKind::NotFound => return recover(at),
        answer => answer?.json()?,
    };
    let emit = record.history.iter().flat_map(Step::emissions).collect();
    match record.next_page_token {
        Some(page) => go_on(emit, history, at, Stage::Follow { page: Some(page) }),
        None => go_on(emit, record.history_id, asked_at, Stage::Follow { page: None }),
    }
}

/// The history from here on is gone.
fn recover(at: Timestamp) -> Result<Outcome, Error> {
    let history = now()?;
    let (since, until) = (at.plus_ms(-MARGIN_MS), clock::now());
    log::warn("the mailbox's history is gone from here on; messages are found by their date", &[("since", &since)]);
    let data = json!({"since": since, "until": until});
    let key = ["gap ", &at.to_string()].concat();
    let emission = Emission { event_type: "mailbox.gap".to_owned(), key, data };
    go_on(vec![emission], history, until, Stage::Messages { since: Some(since), left: None, page: None })
}

fn messages(
    input: &Input,
    history: String,
    at: Timestamp,
    since: Option<Timestamp>,
    left: Option<u32>,
    page: Option<String>,
) -> Result<Outcome, Error> {
    let limit = left.unwrap_or(LIMIT).min(LIMIT);
    if limit == 0 {
        return go_on(Vec::new(), history, at, Stage::Follow { page: None });
    }
    let listing: Listing = Request::get("{api}/users/me/messages")
        .query("maxResults", limit)
        .query_some("labelIds", input.label.as_deref())
        .query_some("q", since.map(|since| ["after:", &(since.as_ms() / 1000).to_string()].concat()))
        .query_some("pageToken", page.as_deref())
        .send()?
        .json()?;
    let emit = listing.messages.iter().map(|message| added(&message.id, message.thread_id.as_deref(), &[])).collect();
    let count = u32::try_from(listing.messages.len()).unwrap_or(u32::MAX);
    let left = left.map(|left| left.saturating_sub(count));
    let stage = match listing.next_page_token {
        Some(page) if left != Some(0) => Stage::Messages { since, left, page: Some(page) },
        _ => Stage::Follow { page: None },
    };
    go_on(emit, history, at, stage)
}

fn added(id: &str, thread: Option<&str>, labels: &[String]) -> Emission {
    let data = json!({"id": id, "thread_id": thread, "labels": labels});
    Emission { event_type: "message.added".to_owned(), key: ["added ", id].concat(), data }
}

impl Step {
    fn emissions(&self) -> Vec<Emission> {
        let mut emit = Vec::new();
        for Happened { message, .. } in &self.messages_added {
            emit.push(added(&message.id, message.thread_id.as_deref(), &message.label_ids));
        }
        for Happened { message, .. } in &self.messages_deleted {
            let data = json!({"id": message.id, "thread_id": message.thread_id});
            let key = ["deleted ", &message.id].concat();
            emit.push(Emission { event_type: "message.deleted".to_owned(), key, data });
        }
        for (all, name, other) in [(&self.labels_added, "added", "removed"), (&self.labels_removed, "removed", "added")]
        {
            for Happened { message, label_ids } in all {
                let mut data = json!({"id": message.id, "thread_id": message.thread_id, "labels": message.label_ids});
                data[name] = json!(label_ids);
                data[other] = Value::Array(Vec::new());
                let key = [self.id.as_str(), " labels ", name, " ", &message.id].concat();
                emit.push(Emission { event_type: "message.labels-changed".to_owned(), key, data });
            }
        }
        emit
    }
}

#[cfg(test)]
mod tests {
    use wharfage_sdk::events::{Event, Trigger};
    use wharfage_sdk::testing;

    use super::*;

    fn polled(start: Start, cursor: Option<String>, exchanges: &str) -> Outcome {
        let poll = Poll { name: "history".into(), input: "{}".into(), start };
        let event = Event { id: "1".into(), trigger: Trigger::Poll(poll), cursor };
        testing::handle(include_str!("../plugin.toml"), crate::handle, event, exchanges).unwrap()
    }

    fn keys(outcome: &Outcome) -> Vec<&str> {
        outcome.emit.iter().map(|emission| emission.key.as_str()).collect()
    }

    const PROFILE: &str = r#"{"request": {"method": "GET", "url": "{api}/users/me/profile"},
        "response": {"status": 200, "json": {"emailAddress": "user@example.com", "messagesTotal": 3, "historyId": "100"}}}"#;

    #[test]
    fn from_now_on_stands_at_the_present_and_then_tells_in_order() {
        let first = polled(Start::FromNow, None, &format!("[{PROFILE}]"));
        assert!(first.emit.is_empty() && !first.more);
        let second = polled(
            Start::FromNow,
            first.cursor,
            r#"[{"request": {"method": "GET", "url": "{api}/users/me/history?startHistoryId=100&maxResults=500"},
                "response": {"status": 200, "json": {"historyId": "104", "history": [
                    {"id": "101", "messages": [{"id": "a", "threadId": "t"}],
                     "messagesAdded": [{"message": {"id": "a", "threadId": "t", "labelIds": ["INBOX", "UNREAD"]}}]},
                    {"id": "102", "labelsRemoved": [{"message": {"id": "a", "threadId": "t", "labelIds": ["INBOX"]}, "labelIds": ["UNREAD"]}]},
                    {"id": "103", "messagesDeleted": [{"message": {"id": "b", "threadId": "t"}}]},
                    {"id": "104", "somethingNew": [{}]}]}}}]"#,
        );
        assert_eq!(keys(&second), ["added a", "102 labels removed a", "deleted b"]);
        assert_eq!(second.emit[1].data["removed"], json!(["UNREAD"]));
        assert!(!second.more && second.cursor.unwrap().contains(r#""history":"104""#));
    }

    #[test]
    fn a_long_history_is_read_page_by_page_from_one_place() {
        let cursor = r#"{"history":"100","at":"2025-12-31T00:00:00Z","stage":{"Follow":{"page":null}}}"#.to_owned();
        let outcome = polled(
            Start::FromNow,
            Some(cursor),
            r#"[{"request": {"method": "GET", "url": "{api}/users/me/history?startHistoryId=100&maxResults=500"},
                "response": {"status": 200, "json": {"historyId": "900", "nextPageToken": "p2", "history": []}}}]"#,
        );
        let cursor = outcome.cursor.unwrap();
        assert!(outcome.more && cursor.contains(r#""history":"100""#) && cursor.contains("p2"), "{cursor}");
    }

    // Gmail forgets: 404. What came since the last good answer is found by its date, an hour before it on, and a gap is told.
    #[test]
    fn a_history_that_is_gone_leads_to_the_messages_since() {
        let cursor = r#"{"history":"5","at":"2025-12-01T01:00:00Z","stage":{"Follow":{"page":null}}}"#.to_owned();
        let outcome = polled(
            Start::FromNow,
            Some(cursor),
            &format!(
                r#"[{{"request": {{"method": "GET", "url": "{{api}}/users/me/history?startHistoryId=5&maxResults=500"}},
                    "response": {{"status": 404, "json": {{"error": {{"errors": [{{"domain": "global", "reason": "notFound",
                        "message": "Requested entity was not found."}}], "code": 404, "message": "Requested entity was not found."}}}}}}}},
                    {PROFILE}]"#
            ),
        );
        assert_eq!(outcome.emit[0].data, json!({"since": "2025-12-01T00:00:00Z", "until": "2026-01-01T00:00:00Z"}));
        assert!(outcome.more);
        let outcome = polled(
            Start::FromNow,
            outcome.cursor,
            r#"[{"request": {"method": "GET", "url": "{api}/users/me/messages?maxResults=500&q=after%3A1764547200"},
                "response": {"status": 200, "json": {"messages": [{"id": "m", "threadId": "t"}], "resultSizeEstimate": 1}}}]"#,
        );
        assert_eq!(keys(&outcome), ["added m"]);
        assert!(outcome.cursor.unwrap().contains(r#""history":"100""#));
    }

    #[test]
    fn a_backfill_ends_where_it_is_to_end() {
        let first = polled(Start::Backfill(2), None, &format!("[{PROFILE}]"));
        let second = polled(
            Start::Backfill(2),
            first.cursor,
            r#"[{"request": {"method": "GET", "url": "{api}/users/me/messages?maxResults=2"},
                "response": {"status": 200, "json": {"messages": [{"id": "m"}, {"id": "n"}], "nextPageToken": "p"}}}]"#,
        );
        assert_eq!(keys(&second), ["added m", "added n"]);
        assert!(!second.more);
    }
}
