//! What happened in a mailbox, in Gmail's own order: for whoever asks, and as events of `polls.history`.
//!
//! Gmail keeps its history for about a week, sometimes hours only, and answers 404 for what it no more remembers. Then messages
//! that came meanwhile are found by their date instead, and an event says of which time nothing else is known. Reading
//! messages anew costs no more than their ids.

use std::cmp::Ordering;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use wharfage_sdk::events::{Emission, Outcome, Poll, Start};
use wharfage_sdk::page::Opaque;
use wharfage_sdk::{Cursor, Error, ErrorKind, Page, Request, Timestamp, clock, log};

use crate::messages::Named;

/// Nothing to choose.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MailboxInput {}

/// A mailbox.
#[derive(Deserialize, Serialize, JsonSchema)]
pub(crate) struct Mailbox {
    /// The address that it belongs to.
    #[serde(rename(deserialize = "emailAddress"))]
    address: String,
    /// Where its history stands, for `history.list`.
    #[serde(rename(deserialize = "historyId"))]
    history_id: String,
    /// How many messages it holds.
    #[serde(rename(deserialize = "messagesTotal"), default)]
    messages: u64,
}

/// From where on.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListInput {
    /// A history id, as `mailbox.get`, `watch.create` and the event `mailbox.changed` tell one. Gmail forgets after about a week.
    since: String,
    /// Only messages with this label, by its id; every one unless stated.
    #[serde(default)]
    label: Option<String>,
}

/// Something that happened to a message.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Row {
    /// Where in the history it stands.
    history_id: String,
    /// What happened.
    what: What,
    /// The message's id.
    id: String,
    /// The thread that it belongs to.
    thread_id: Option<String>,
    /// Its labels then, by their ids.
    labels: Vec<String>,
    /// The labels that it got.
    added: Vec<String>,
    /// The labels that it lost.
    removed: Vec<String>,
}

/// What happened to a message.
#[derive(Clone, Copy, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum What {
    /// It came.
    Added,
    /// It was deleted for ever.
    Deleted,
    /// It got labels or lost them.
    LabelsChanged,
}

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
    Follow {
        page: Option<String>,
        /// When this reading began again because a page's mark was good no more.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        again: Option<Timestamp>,
        /// The last step of this page that was told, where the page has more rows than are told at once.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        told: Option<String>,
        /// How many rows of that step were told; all where it is left out.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rows: Option<usize>,
    },
    /// Reads the ids of messages instead.
    Messages(Search),
}

impl Stage {
    /// Follows the history from its place on.
    const FOLLOW: Self = Self::Follow { page: None, again: None, told: None, rows: None };
}

/// Which messages are read, those since a time, or so many, or all; and how far they are.
#[derive(Serialize, Deserialize)]
struct Search {
    since: Option<Timestamp>,
    left: Option<u32>,
    page: Option<String>,
    /// As with the history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    again: Option<Timestamp>,
}

impl Search {
    fn new(since: Option<Timestamp>, left: Option<u32>) -> Self {
        Self { since, left, page: None, again: None }
    }
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
/// How many rows of a history are told at once: the host bounds what one call emits.
const EMITTED: usize = 500;
/// Around a gap: clocks differ, and mail takes its time.
const MARGIN_MS: i64 = 3_600_000;
/// How often a reading begins again at most; a page that is refused sooner is an error.
const AGAIN_MS: i64 = 3_600_000;
/// The code with which a search is refused under `gmail.metadata`; a missing scope and a domain's policy have others.
const SEARCH_REFUSED: &str = "forbidden";

pub(crate) fn run(poll: &Poll, kept: Option<Place>) -> Result<Outcome, Error> {
    let input: Input = poll.read_input()?;
    let Some(place) = kept else { return begin(poll.start) };
    match place.stage {
        Stage::Follow { page, again, told, rows } => {
            let told = told.map(|step| (step, rows.unwrap_or(usize::MAX)));
            follow(&input, place.history, place.at, page, again, told)
        }
        Stage::Messages(search) => {
            let first = if let Start::Backfill(messages) = poll.start { Some(messages) } else { search.left };
            messages(&input, place.history, place.at, search, first)
        }
    }
}

/// Where the mailbox stands is asked before its messages: what comes in between is told twice, by one key, and not missed.
fn begin(start: Start) -> Result<Outcome, Error> {
    let history = now()?;
    let stage = match start {
        Start::FromNow => Stage::FOLLOW,
        Start::Backfill(messages) => Stage::Messages(Search::new(None, Some(messages))),
        Start::All => Stage::Messages(Search::new(None, None)),
    };
    go_on(Vec::new(), history, clock::now(), stage)
}

fn go_on(emit: Vec<Emission>, history: String, at: Timestamp, stage: Stage) -> Result<Outcome, Error> {
    let more = !matches!(stage, Stage::Follow { page: None, told: None, .. });
    Outcome { emit, more, ..Outcome::default() }.keep(&Place { history, at, stage })
}

fn now() -> Result<String, Error> {
    Ok(mailbox(MailboxInput {})?.history_id)
}

pub(crate) fn mailbox(_: MailboxInput) -> Result<Mailbox, Error> {
    Request::get("{api}/users/me/profile").send()?.json()
}

pub(crate) fn list(input: ListInput, cursor: Option<Cursor>) -> Result<Page<Row>, Error> {
    let at = Opaque::resume(cursor)?;
    let record: Record = ask(&input.since, input.label.as_deref(), at.mark()).send()?.json()?;
    let next = at.advance(record.next_page_token.as_deref())?;
    Page::new(record.history.into_iter().flat_map(Step::rows).collect(), next.as_ref())
}

fn ask(history: &str, label: Option<&str>, page: Option<&str>) -> Request {
    Request::get("{api}/users/me/history")
        .query("startHistoryId", history)
        .query("maxResults", LIMIT)
        .query_some("labelId", label)
        .query_some("pageToken", page)
}

fn follow(
    input: &Input,
    history: String,
    at: Timestamp,
    page: Option<String>,
    again: Option<Timestamp>,
    told: Option<(String, usize)>,
) -> Result<Outcome, Error> {
    let asked_at = clock::now();
    let request = ask(&history, input.label.as_deref(), page.as_deref());
    let record: Record = match request.send() {
        Err(error) if error.kind == ErrorKind::NotFound => return recover(at),
        Err(error) if is_stale(&error, &page, again) => {
            log::warn("a page's mark is good no more: the history is read again from its place on", &[("at", &at)]);
            let anew = Stage::Follow { page: None, again: Some(asked_at), told: None, rows: None };
            return go_on(Vec::new(), history, at, anew);
        }
        answer => answer?.json()?,
    };
    let mut emit = Vec::new();
    // Steps may share an id; their rows are counted together.
    let (mut step, mut rows) = (String::new(), 0);
    for row in record.history.into_iter().flat_map(Step::rows) {
        if row.history_id != step {
            (step, rows) = (row.history_id.clone(), 0);
        }
        if told.as_ref().is_none_or(|(told, told_rows)| row.is_beyond(told, rows >= *told_rows)) {
            if emit.len() >= EMITTED {
                // The same page once more, from here on.
                return go_on(emit, history, at, Stage::Follow { page, again, told: Some(step), rows: Some(rows) });
            }
            emit.push(row.emission());
        }
        rows += 1;
    }
    match record.next_page_token {
        Some(page) => go_on(emit, history, at, Stage::Follow { page: Some(page), again, told: None, rows: None }),
        None => go_on(emit, record.history_id, asked_at, Stage::FOLLOW),
    }
}

/// Whether it may be the page's mark that is good no more. What it stood in is read again then, though not over and over;
/// the keys are the same.
fn is_stale(error: &Error, page: &Option<String>, again: Option<Timestamp>) -> bool {
    let is_refused = matches!(error.kind, ErrorKind::InvalidRequest(_) | ErrorKind::CursorInvalid);
    page.is_some() && is_refused && again.is_none_or(|again| again.plus_ms(AGAIN_MS) <= clock::now())
}

/// The history from here on is gone.
fn recover(at: Timestamp) -> Result<Outcome, Error> {
    let history = now()?;
    let (since, until) = (at.plus_ms(-MARGIN_MS), clock::now());
    log::warn("the mailbox's history is gone from here on; messages are found by their date", &[("since", &since)]);
    let data = json!({"since": since, "until": until});
    let key = ["gap ", &at.to_string()].concat();
    let emission = Emission { event_type: "mailbox.gap".to_owned(), key, data };
    go_on(vec![emission], history, until, Stage::Messages(Search::new(Some(since), None)))
}

/// So many messages at most as are left, of `first` that there were to be.
fn messages(
    input: &Input,
    history: String,
    at: Timestamp,
    search: Search,
    first: Option<u32>,
) -> Result<Outcome, Error> {
    let Search { since, left, page, again } = search;
    let limit = left.unwrap_or(LIMIT).min(LIMIT);
    if limit == 0 {
        return go_on(Vec::new(), history, at, Stage::FOLLOW);
    }
    let request = Request::get("{api}/users/me/messages")
        .query("maxResults", limit)
        .query_some("labelIds", input.label.as_deref())
        .query_some("q", since.map(|since| ["after:", &(since.as_ms() / 1000).to_string()].concat()))
        .query_some("pageToken", page.as_deref());
    let listing: Listing = match request.send() {
        // Who may read metadata only may not search. Of the gap an event was told.
        Err(error) if since.is_some() && page.is_none() && is_search_refused(&error) => {
            log::warn("messages of a gap cannot be searched for with the scopes that were granted", &[]);
            return go_on(Vec::new(), history, at, Stage::FOLLOW);
        }
        Err(error) if is_stale(&error, &page, again) => {
            log::warn("a page's mark is good no more: the messages are read again", &[("at", &at)]);
            let anew = Search { again: Some(clock::now()), ..Search::new(since, left.and(first)) };
            return go_on(Vec::new(), history, at, Stage::Messages(anew));
        }
        answer => answer?.json()?,
    };
    let emit = listing.messages.iter().map(|message| added(&message.id, message.thread_id.as_deref(), &[])).collect();
    let count = u32::try_from(listing.messages.len()).unwrap_or(u32::MAX);
    let left = left.map(|left| left.saturating_sub(count));
    let stage = match listing.next_page_token {
        Some(page) if left != Some(0) => Stage::Messages(Search { since, left, page: Some(page), again }),
        _ => Stage::FOLLOW,
    };
    go_on(emit, history, at, stage)
}

fn is_search_refused(error: &Error) -> bool {
    error.kind == ErrorKind::Forbidden && error.provider_code.as_deref() == Some(SEARCH_REFUSED)
}

fn added(id: &str, thread: Option<&str>, labels: &[String]) -> Emission {
    let data = json!({"id": id, "thread_id": thread, "labels": labels});
    Emission { event_type: "message.added".to_owned(), key: ["added ", id].concat(), data }
}

impl Step {
    fn rows(self) -> Vec<Row> {
        let none = Vec::new;
        let mut rows = Vec::new();
        let mut push = |what, message: Message, added, removed| {
            let Message { id, thread_id, label_ids } = message;
            rows.push(Row { history_id: self.id.clone(), what, id, thread_id, labels: label_ids, added, removed });
        };
        for happened in self.messages_added {
            push(What::Added, happened.message, none(), none());
        }
        for happened in self.messages_deleted {
            push(What::Deleted, happened.message, none(), none());
        }
        for happened in self.labels_added {
            push(What::LabelsChanged, happened.message, happened.label_ids, none());
        }
        for happened in self.labels_removed {
            push(What::LabelsChanged, happened.message, none(), happened.label_ids);
        }
        rows
    }
}

impl Row {
    /// Whether it stands later in the history than this step, or in it among the rows that are left. Ids are numbers, and
    /// steps come in their order.
    fn is_beyond(&self, step: &str, is_left: bool) -> bool {
        match (self.history_id.len(), self.history_id.as_str()).cmp(&(step.len(), step)) {
            Ordering::Less => false,
            Ordering::Equal => is_left,
            Ordering::Greater => true,
        }
    }

    fn emission(self) -> Emission {
        let Self { history_id, what, id, thread_id, labels, added: got, removed } = self;
        let (event_type, key, data) = match what {
            What::Added => return added(&id, thread_id.as_deref(), &labels),
            What::Deleted => ("message.deleted", ["deleted ", &id].concat(), json!({"id": id, "thread_id": thread_id})),
            What::LabelsChanged => {
                let way = if removed.is_empty() { "added" } else { "removed" };
                let key = [history_id.as_str(), " labels ", way, " ", &id].concat();
                let data =
                    json!({"id": id, "thread_id": thread_id, "labels": labels, "added": got, "removed": removed});
                ("message.labels-changed", key, data)
            }
        };
        Emission { event_type: event_type.to_owned(), key, data }
    }
}

#[cfg(test)]
mod tests {
    use wharfage_sdk::events::{Event, Trigger};
    use wharfage_sdk::testing;

    use super::*;

    fn polled(start: Start, cursor: Option<String>, exchanges: &str) -> Outcome {
        tried(start, cursor, exchanges).unwrap()
    }

    fn tried(start: Start, cursor: Option<String>, exchanges: &str) -> Result<Outcome, Error> {
        let poll = Poll { name: "history".into(), input: "{}".into(), start };
        let event = Event { id: "1".into(), trigger: Trigger::Poll(poll), cursor };
        testing::handle(include_str!("../plugin.toml"), crate::handle, event, exchanges)
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

    /// A page from history 90 on: steps with their ids, each taking a label off so many messages.
    fn page_of(steps: &[(u32, u32)]) -> String {
        let step = |(id, messages): &(u32, u32)| {
            let removed: Vec<_> =
                (0..*messages).map(|n| json!({"message": {"id": format!("m{n}")}, "labelIds": ["UNREAD"]})).collect();
            json!({"id": id.to_string(), "labelsRemoved": removed})
        };
        let steps: Vec<_> = steps.iter().map(step).collect();
        let url = "{api}/users/me/history?startHistoryId=90&maxResults=500";
        let answer = json!({"status": 200, "json": {"historyId": "104", "history": steps}});
        json!([{"request": {"method": "GET", "url": url}, "response": answer}]).to_string()
    }

    fn at_90(told: &str) -> Option<String> {
        let begin = r#"{"history":"90","at":"2025-12-31T00:00:00Z","stage":{"Follow":{"page":null"#;
        Some([begin, told, "}}}"].concat())
    }

    /// How many were told, the first and the last key, and whether there are more.
    fn portion(outcome: &Outcome) -> (usize, &str, &str, bool) {
        let keys = keys(outcome);
        (keys.len(), keys[0], keys[keys.len() - 1], outcome.more)
    }

    // A step may be of many messages. The page is read again for the rest, whatever of it is gone by then.
    #[test]
    fn a_page_of_many_rows_is_told_in_portions() {
        let first = polled(Start::All, at_90(""), &page_of(&[(99, 300), (101, 300), (102, 300)]));
        assert_eq!(portion(&first), (500, "99 labels removed m0", "101 labels removed m199", true));
        let second = polled(Start::All, first.cursor, &page_of(&[(101, 300), (102, 300)]));
        assert_eq!(portion(&second), (400, "101 labels removed m200", "102 labels removed m299", false));
        assert!(second.cursor.unwrap().contains(r#"{"history":"104","#));
        // The version before told whole steps, and its cursor says no more.
        let rest = polled(Start::All, at_90(r#","told":"101""#), &page_of(&[(99, 300), (101, 300), (102, 300)]));
        assert_eq!(portion(&rest), (300, "102 labels removed m0", "102 labels removed m299", false));
    }

    #[test]
    fn a_step_of_more_rows_than_the_host_takes_is_told_in_portions() {
        // The second step shares the id of the first.
        let page = page_of(&[(99, 1_100), (99, 2)]);
        let first = polled(Start::All, at_90(""), &page);
        assert_eq!(portion(&first), (500, "99 labels removed m0", "99 labels removed m499", true));
        let second = polled(Start::All, first.cursor, &page);
        assert_eq!(portion(&second), (500, "99 labels removed m500", "99 labels removed m999", true));
        let third = polled(Start::All, second.cursor, &page);
        assert_eq!(portion(&third), (102, "99 labels removed m1000", "99 labels removed m1", false));
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

    fn refused(status: u16, path: &str, reason: &str) -> String {
        format!(
            r#"[{{"request": {{"method": "GET", "url": "{{api}}/users/me/{path}"}}, "response": {{"status": {status},
                "json": {{"error": {{"errors": [{{"domain": "global", "reason": "{reason}"}}], "code": {status}}}}}}}}}]"#
        )
    }

    /// A page that begins again now.
    const AGAIN: &str = r#"null,"again":"2026-01-01T00:00:00Z""#;

    // Under `gmail.metadata` alone Gmail refuses every search. The gap was told; the history goes on.
    #[test]
    fn a_gap_that_cannot_be_searched_does_not_stop_the_history() {
        let cursor = r#"{"history":"100","at":"2025-12-01T01:00:00Z",
            "stage":{"Messages":{"since":"2025-12-01T00:00:00Z","left":null,"page":null}}}"#;
        let search = refused(403, "messages?maxResults=500&q=after%3A1764547200", "forbidden");
        let outcome = polled(Start::FromNow, Some(cursor.to_owned()), &search);
        assert!(outcome.emit.is_empty() && !outcome.more);
        assert!(outcome.cursor.unwrap().contains(r#"{"Follow":{"page":null}}"#));
    }

    // Any other refusal is somebody's to mend, and the gap is searched then.
    #[test]
    fn a_refusal_of_another_reason_keeps_the_gap() {
        let cursor = |page: &str| {
            r#"{"history":"100","at":"2025-12-01T01:00:00Z","stage":{"Messages":{"since":"2025-12-01T00:00:00Z",
                "left":null,"page":PAGE}}}"#
                .replace("PAGE", page)
        };
        let path = "messages?maxResults=500&q=after%3A1764547200";
        let refusals = [
            ("null", refused(403, path, "insufficientPermissions")),
            (r#""p""#, refused(403, &[path, "&pageToken=p"].concat(), "forbidden")),
        ];
        for (page, search) in refusals {
            let error = tried(Start::FromNow, Some(cursor(page)), &search).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Forbidden, "{page}");
        }
    }

    #[test]
    fn a_page_that_is_good_no_more_is_read_from_the_beginning() {
        let cursor = r#"{"history":"100","at":"2025-12-01T01:00:00Z","stage":{"Follow":{"page":"old"}}}"#.to_owned();
        let page = refused(400, "history?startHistoryId=100&maxResults=500&pageToken=old", "invalidArgument");
        let outcome = polled(Start::FromNow, Some(cursor.clone()), &page);
        assert_eq!(outcome.cursor.unwrap(), cursor.replace(r#""old""#, AGAIN));
        let messages = r#"{"Messages":{"since":null,"left":1,"page":"old"}}"#;
        let cursor = cursor.replace(r#"{"Follow":{"page":"old"}}"#, messages);
        let page = refused(400, "messages?maxResults=1&pageToken=old", "invalidArgument");
        let outcome = polled(Start::Backfill(3), Some(cursor), &page);
        let anew = [r#"{"Messages":{"since":null,"left":3,"page":"#, AGAIN, "}}"].concat();
        assert!(outcome.more && outcome.cursor.unwrap().contains(&anew));
    }

    #[test]
    fn a_page_that_is_good_no_more_does_not_begin_again_over_and_over() {
        let history = "history?startHistoryId=100&maxResults=500";
        for (stage, path) in [("Follow", history), ("Messages", "messages?maxResults=500")] {
            let cursor = |rest: &str| {
                let begin = r#"{"history":"100","at":"2025-12-01T01:00:00Z","stage":{""#;
                Some([begin, stage, r#"":{"page":"#, rest, "}}}"].concat())
            };
            let page = refused(400, &[path, "&pageToken=old"].concat(), "invalidArgument");
            let late = cursor(r#""old","again":"2025-12-31T23:00:00Z""#);
            assert!(polled(Start::All, late, &page).cursor.unwrap().contains(AGAIN), "{stage}");
            let error = tried(Start::All, cursor(r#""old","again":"2025-12-31T23:00:01Z""#), &page).unwrap_err();
            assert_eq!(error.kind.name(), "invalid-request", "{stage}");
        }
        // It is remembered to the last page.
        for (next, is_remembered) in [(r#","nextPageToken":"p""#, true), ("", false)] {
            let cursor = [r#"{"history":"100","at":"2025-12-01T01:00:00Z","stage":{"Follow":{"page":"#, AGAIN, "}}}"];
            let page = r#"[{"request": {"method": "GET", "url": "{api}/users/me/PATH"},
                "response": {"status": 200, "json": {"historyId": "101"NEXT}}}]"#;
            let page = page.replace("PATH", history).replace("NEXT", next);
            let outcome = polled(Start::All, Some(cursor.concat()), &page);
            assert_eq!(outcome.cursor.unwrap().contains("again"), is_remembered, "{next}");
        }
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
