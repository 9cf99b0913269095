//! Messages: found, read, sent and labelled.
//!
//! Gmail lists ids and nothing else. What a person wants to see of each costs a request of its own; those of a page go side
//! by side.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use wharfage_sdk::http::{Repeat, segment, send_all};
use wharfage_sdk::page::Opaque;
use wharfage_sdk::{Cursor, Error, ErrorKind, Page, Request, Response, Timestamp};

use crate::body::{Attachment, Part, Source};
use crate::compose;

/// Which messages.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListInput {
    /// Words to search for, as in Gmail's own search: `from:ann@example.org newer_than:7d has:attachment`.
    #[serde(default)]
    query: Option<String>,
    /// Only messages with all of these labels, by their ids; the inbox unless stated, `[]` for everywhere.
    #[serde(default = "inbox")]
    labels: Vec<String>,
    /// Only those that are not read.
    #[serde(default)]
    unread: bool,
    /// Also spam and what is in the bin.
    #[serde(default)]
    spam_and_trash: bool,
    /// How many to a page; each costs five of Gmail's units.
    #[serde(default = "ten")]
    #[schemars(range(min = 1, max = 100))]
    limit: u32,
}

/// Which message.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FindInput {
    /// The message's id, as `messages.list` shows it.
    id: String,
    /// Also the text as the sender's HTML.
    #[serde(default)]
    html: bool,
}

/// Which labels a message is to have and which not.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UpdateInput {
    /// The message's id.
    id: String,
    /// Labels to put on, by their ids, as `STARRED` or `Label_12`.
    #[serde(default)]
    add: Vec<String>,
    /// Labels to take off: `UNREAD` makes it read, `INBOX` archives it.
    #[serde(default)]
    remove: Vec<String>,
}

/// A message as a list shows it.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Head {
    /// Its id.
    id: String,
    /// The thread that it belongs to.
    thread_id: Option<String>,
    /// The subject, or `(no subject)`.
    subject: String,
    /// From whom, as the sender writes it.
    from: Option<String>,
    /// To whom.
    to: Option<String>,
    /// When Gmail took it; the sender's own date can be anything.
    date: Option<Timestamp>,
    /// How it begins.
    snippet: String,
    /// Whether it was not read yet.
    is_unread: bool,
    /// Its labels, by their ids.
    labels: Vec<String>,
}

/// A message as it is read.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Message {
    #[serde(flatten)]
    head: Head,
    /// Who got a copy.
    cc: Option<String>,
    /// The id that other mail programs know it by.
    message_id: Option<String>,
    /// What it says.
    text: String,
    /// Where that comes from.
    text_source: Source,
    /// The files that came along.
    attachments: Vec<Attachment>,
    /// The text in HTML, if it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    html: Option<String>,
}

/// A message that was sent or labelled.
#[derive(Deserialize, Serialize, JsonSchema)]
pub(crate) struct Done {
    /// Its id.
    id: String,
    /// The thread that it belongs to.
    #[serde(rename(deserialize = "threadId"))]
    thread_id: String,
    /// Its labels now, by their ids.
    #[serde(rename(deserialize = "labelIds"), default)]
    labels: Vec<String>,
}

/// A message by its id and its thread's, as Gmail lists it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Named {
    pub(crate) id: String,
    #[serde(default)]
    pub(crate) thread_id: Option<String>,
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
    id: String,
    #[serde(default)]
    thread_id: Option<String>,
    #[serde(default)]
    label_ids: Vec<String>,
    #[serde(default)]
    snippet: String,
    /// Milliseconds since 1970, as text.
    #[serde(default)]
    internal_date: Option<String>,
    #[serde(default)]
    payload: Part,
}

const LIMIT_MAX: u32 = 100;
const UNREAD: &str = "UNREAD";

fn inbox() -> Vec<String> {
    vec!["INBOX".to_owned()]
}

fn ten() -> u32 {
    10
}

pub(crate) fn list(input: ListInput, cursor: Option<Cursor>) -> Result<Page<Head>, Error> {
    let at = Opaque::resume(cursor)?;
    let mut request = Request::get("{api}/users/me/messages").query("maxResults", input.limit.clamp(1, LIMIT_MAX));
    let unread = input.unread && !input.labels.iter().any(|label| label == UNREAD);
    for label in input.labels.iter().map(String::as_str).chain(unread.then_some(UNREAD)) {
        request = request.query("labelIds", label);
    }
    let response = request
        .query_some("q", input.query.as_deref())
        .query_some("includeSpamTrash", input.spam_and_trash.then_some("true"))
        .query_some("pageToken", at.mark())
        .send()?;
    let listing: Listing = response.json()?;
    let next = at.advance(listing.next_page_token.as_deref())?;
    let heads = heads(listing.messages.iter().map(|message| message.id.as_str()))?;
    Page::new(heads.into_iter().flatten().collect(), next.as_ref())
}

/// The heads of these messages, in their order; none for one that has gone meanwhile.
pub(crate) fn heads<'a>(ids: impl Iterator<Item = &'a str>) -> Result<Vec<Option<Head>>, Error> {
    let mut requests = Vec::new();
    for id in ids {
        let mut request = Request::get(path("/id", id)?).query("format", "metadata");
        for header in ["Subject", "From", "To", "Date"] {
            request = request.query("metadataHeaders", header);
        }
        requests.push(request);
    }
    let mut heads = Vec::new();
    for answer in send_all(requests) {
        heads.push(match answer {
            Ok(response) => Some(response.json::<Record>()?.head()),
            Err(error) if error.kind == ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        });
    }
    Ok(heads)
}

pub(crate) fn find(input: FindInput) -> Result<Message, Error> {
    let record: Record = Request::get(path("/id", &input.id)?).query("format", "full").send()?.json()?;
    let (text, text_source) = record.payload.text();
    Ok(Message {
        cc: record.payload.header("Cc").map(str::to_owned),
        message_id: record.payload.header("Message-ID").map(str::to_owned),
        text,
        text_source,
        attachments: record.payload.attachments(),
        html: input.html.then(|| record.payload.html()),
        head: record.head(),
    })
}

pub(crate) fn send(input: compose::Input) -> Result<Done, Error> {
    let message = compose::raw(input)?;
    Request::post("{api}/users/me/messages/send").json(&message)?.send()?.json()
}

pub(crate) fn update(input: UpdateInput) -> Result<Done, Error> {
    if input.add.is_empty() && input.remove.is_empty() {
        return Err(Error::invalid_request("/add", "expected labels in `add` or `remove`"));
    }
    let change = json!({"addLabelIds": input.add, "removeLabelIds": input.remove});
    let request = Request::post([&path("/id", &input.id)?, "/modify"].concat()).json(&change)?;
    // A label that is there already is put on again without harm.
    let response: Response = request.repeat(Repeat::Safe).send()?;
    response.json()
}

fn path(field: &str, id: &str) -> Result<String, Error> {
    Ok(["{api}/users/me/messages/", &segment(field, id)?].concat())
}

impl Record {
    fn head(self) -> Head {
        let header = |name: &str| self.payload.header(name).map(str::to_owned);
        Head {
            subject: header("Subject").unwrap_or_else(|| "(no subject)".to_owned()),
            from: header("From"),
            to: header("To"),
            date: self.internal_date.as_deref().and_then(|text| text.parse().ok()).map(Timestamp::from_ms),
            is_unread: self.label_ids.iter().any(|label| label == UNREAD),
            id: self.id,
            thread_id: self.thread_id,
            snippet: self.snippet,
            labels: self.label_ids,
        }
    }
}
