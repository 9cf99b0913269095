//! What changed: asked for from a token on, polled, or told by a watch channel.
//!
//! Drive keeps one list of changes and hands out tokens into it. A page ends with the token of the next page or, on the last
//! one, with the token from which to ask next time; both go on the same way, so one text is all that is kept.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use wharfage_sdk::events::{Emission, Event, Outcome, Poll, Start, Trigger, Webhook};
use wharfage_sdk::page::Opaque;
use wharfage_sdk::{Error, ErrorKind, Request, Timestamp, log};

use crate::files::{self, FIELDS, File, Record};
use crate::on_file;

/// Since when.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListInput {
    /// The token that the answer before gave. Without one nothing is listed: the answer holds the token of now.
    #[serde(default)]
    token: Option<String>,
    /// How many changes at once.
    #[serde(default = "limit")]
    #[schemars(range(min = 1, max = 1000))]
    limit: u32,
}

/// What to watch, and whom to tell.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WatchInput {
    /// A name for the channel that was never used before, of at most 64 letters, digits and `-_`; a UUID is good.
    channel_id: String,
    /// The https address of the webhook `changes`, on a domain of yours.
    address: String,
    /// The text that is kept as the secret `channel_token`: Google sends it with every notification.
    channel_token: String,
    /// When the channel ends; an hour from now where it is left out, and a week at most.
    #[serde(default)]
    ends: Option<Timestamp>,
    /// The token of changes.list from which on to watch; from now on where it is left out.
    #[serde(default)]
    token: Option<String>,
}

/// Which channel.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UnwatchInput {
    /// The name that the channel was given.
    channel_id: String,
    /// What changes.watch answered as `resource_id`.
    resource_id: String,
}

/// Changes, and where to go on.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Changes {
    /// What changed, each file once, with its state of now.
    changes: Vec<Change>,
    /// What to ask with next.
    token: String,
    /// Whether there is more at once.
    has_more: bool,
}

/// One change.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Change {
    /// When Drive saw it.
    at: Option<Timestamp>,
    /// `changed`, `trashed`, or `removed`: deleted, or out of sight of this account.
    what: &'static str,
    /// The file's id.
    file_id: String,
    /// The file as it is now; null where it is removed.
    file: Option<File>,
}

/// An open channel.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Channel {
    /// Its name.
    channel_id: String,
    /// What changes.unwatch wants to know beside it.
    resource_id: String,
    /// When it ends. Nothing renews it: open another one before.
    ends: Option<Timestamp>,
    /// The token from which on it watches.
    token: String,
}

/// A closed channel.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Stopped {
    /// Its name.
    channel_id: String,
    /// Whether it is closed; a notification that is on its way may still come.
    is_stopped: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Listing {
    changes: Vec<ChangeRecord>,
    #[serde(default)]
    next_page_token: Option<String>,
    #[serde(default)]
    new_start_page_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ChangeRecord {
    #[serde(default)]
    change_type: Option<String>,
    #[serde(default)]
    file_id: Option<String>,
    #[serde(default)]
    removed: bool,
    #[serde(default)]
    time: Option<Timestamp>,
    #[serde(default)]
    file: Option<Record>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct StartToken {
    start_page_token: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ChannelRecord {
    resource_id: String,
    /// Milliseconds since 1970, as text.
    #[serde(default)]
    expiration: Option<String>,
}

/// Where the poll stands.
#[derive(Deserialize, Serialize)]
struct Place {
    /// The token to ask with.
    #[serde(rename = "t")]
    token: String,
    /// The list of files that is told first.
    #[serde(rename = "f", default, skip_serializing_if = "Option::is_none")]
    files: Option<Files>,
}

#[derive(Deserialize, Serialize)]
struct Files {
    #[serde(rename = "a")]
    at: Opaque,
    /// How many are still to be told; all where it is absent.
    #[serde(rename = "l", default, skip_serializing_if = "Option::is_none")]
    left: Option<u32>,
}

/// How many changes or files one run of the poll takes at once.
const AT_ONCE: u32 = 200;

fn limit() -> u32 {
    100
}

pub(crate) fn list(input: ListInput) -> Result<Changes, Error> {
    match input.token {
        Some(token) => since(&token, input.limit),
        None => Ok(Changes { changes: Vec::new(), token: now()?, has_more: false }),
    }
}

pub(crate) fn watch(input: WatchInput) -> Result<Channel, Error> {
    let token = input.token.map_or_else(now, Ok)?;
    let mut channel = json!({
        "id": input.channel_id, "type": "web_hook", "address": input.address, "token": input.channel_token,
    });
    if let Some(ends) = input.ends {
        channel["expiration"] = ends.as_ms().to_string().into();
    }
    let request = with_drives(Request::post("{api}/changes/watch")).query("pageToken", &token);
    let record: ChannelRecord = request.json(&channel)?.send()?.json()?;
    let ends = record.expiration.and_then(|ms| ms.parse().ok()).map(Timestamp::from_ms);
    Ok(Channel { channel_id: input.channel_id, resource_id: record.resource_id, ends, token })
}

pub(crate) fn unwatch(input: UnwatchInput) -> Result<Stopped, Error> {
    let channel = json!({"id": &input.channel_id, "resourceId": &input.resource_id});
    let response = Request::post("{api}/channels/stop").json(&channel)?.send()?;
    // The answer is nothing at all; anything else is from somebody in between.
    if response.status != 204 {
        return Err(response.error(ErrorKind::SchemaViolation, "expected no content from Drive"));
    }
    Ok(Stopped { channel_id: input.channel_id, is_stopped: true })
}

/// Makes events of changes, and of notifications that there are some.
///
/// # Errors
/// Drive's; `cursor-invalid` where it does not know a token any more.
#[allow(clippy::result_large_err)] // the SDK's own error
pub fn handle(event: Event) -> Result<Outcome, Error> {
    match &event.trigger {
        Trigger::Poll(poll) => polled(poll, event.kept()?),
        Trigger::Webhook(webhook) => Ok(told(webhook, event.id)),
        _ => Ok(Outcome::default()),
    }
}

fn polled(poll: &Poll, place: Option<Place>) -> Result<Outcome, Error> {
    let Some(place) = place else { return begin(&poll.start) };
    let Some(files) = place.files else {
        let Changes { changes, token, has_more } = since(&place.token, AT_ONCE)?;
        let emit = changes.into_iter().map(Change::emission).collect();
        return Outcome { emit, more: has_more, ..Outcome::default() }.keep(&Place { token, files: None });
    };
    let limit = files.left.unwrap_or(AT_ONCE).min(AT_ONCE);
    let (found, next) = files::page("trashed = false", Some("modifiedTime desc"), None, limit, &files.at)?;
    let left = files.left.map(|left| left.saturating_sub(found.len() as u32));
    let files = next.filter(|_| left != Some(0)).map(|at| Files { at, left });
    let emit = found.into_iter().map(|file| changed(file, None)).collect();
    // The changes since the list was begun come next, at once.
    Outcome { emit, more: true, ..Outcome::default() }.keep(&Place { token: place.token, files })
}

/// The token is taken before the first file is read, so that nothing that happens meanwhile is missed.
fn begin(start: &Start) -> Result<Outcome, Error> {
    let left = match start {
        Start::FromNow | Start::Backfill(0) => return Outcome::default().keep(&Place { token: now()?, files: None }),
        Start::Backfill(number) => Some(*number),
        Start::All => None,
    };
    let files = Files { at: Opaque::resume(None)?, left };
    Outcome { more: true, ..Outcome::default() }.keep(&Place { token: now()?, files: Some(files) })
}

fn told(webhook: &Webhook, key: String) -> Outcome {
    let header = |wanted: &str| {
        let found = webhook.headers.iter().find(|header| header.name.eq_ignore_ascii_case(wanted));
        found.map(|header| header.value.as_str())
    };
    let Some(state) = header("X-Goog-Resource-State") else {
        log::warn("a notification does not say what it is about", &[]);
        return Outcome::default();
    };
    let data = json!({
        "channel_id": header("X-Goog-Channel-ID"), "state": state, "number": header("X-Goog-Message-Number"),
    });
    let emission = Emission { event_type: "changes.pending".to_owned(), key, data };
    Outcome { emit: vec![emission], ..Outcome::default() }
}

/// The token of now.
fn now() -> Result<String, Error> {
    let request = on_file(Request::get("{api}/changes/startPageToken"));
    let token: StartToken = request.send()?.json()?;
    Ok(token.start_page_token)
}

fn since(token: &str, limit: u32) -> Result<Changes, Error> {
    let mut fields = "nextPageToken,newStartPageToken,changes(changeType,fileId,removed,time,file(".to_owned();
    fields.extend([FIELDS, "))"]);
    let request = with_drives(Request::get("{api}/changes"))
        .query("pageToken", token)
        .query("pageSize", limit.clamp(1, 1000))
        .query("fields", fields);
    let response = request.send()?;
    let listing: Listing = response.json()?;
    let has_more = listing.next_page_token.is_some();
    let Some(next) = listing.next_page_token.or(listing.new_start_page_token) else {
        return Err(response.error(ErrorKind::SchemaViolation, "Drive does not say where its changes go on"));
    };
    if has_more && next == token {
        return Err(response.error(ErrorKind::SchemaViolation, "Drive hands out the same place in its changes twice"));
    }
    Ok(Changes {
        changes: listing.changes.into_iter().filter_map(ChangeRecord::change).collect(),
        token: next,
        has_more,
    })
}

fn with_drives(request: Request) -> Request {
    on_file(request).query("includeItemsFromAllDrives", "true")
}

impl ChangeRecord {
    /// Of a file; what happens to a shared drive itself is passed over.
    fn change(self) -> Option<Change> {
        let Some(file_id) = self.file_id else {
            log::info("a change is not about a file", &[("type", &self.change_type.unwrap_or_default())]);
            return None;
        };
        let file = self.file.filter(|_| !self.removed).map(Record::file);
        let what = match &file {
            None => "removed",
            Some(file) if file.trashed => "trashed",
            Some(_) => "changed",
        };
        Some(Change { at: self.time, what, file_id, file })
    }
}

impl Change {
    fn emission(self) -> Emission {
        let Some(file) = self.file else {
            let mut key = self.file_id.clone();
            key.push_str(" removed");
            if let Some(at) = self.at {
                key.extend([" ", &at.to_string()]);
            }
            let data = json!({"id": self.file_id, "at": self.at});
            return Emission { event_type: "file.removed".to_owned(), key, data };
        };
        changed(file, self.at)
    }
}

/// The version counts every change of a file, so it names one: in the list of files and in that of changes alike.
fn changed(file: File, at: Option<Timestamp>) -> Emission {
    let at = at.or(file.modified);
    let mut key = file.id.clone();
    match (&file.version, at) {
        (Some(version), _) => key.extend([" v", version]),
        (None, Some(at)) => key.extend([" ", &at.to_string()]),
        (None, None) => {}
    }
    let data = json!({
        "id": file.id, "name": file.name, "mime_type": file.mime_type, "trashed": file.trashed, "folder": file.folder,
        "version": file.version, "at": at,
    });
    Emission { event_type: "file.changed".to_owned(), key, data }
}
