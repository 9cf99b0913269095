//! What changed: asked for from a token on, or polled.
//!
//! Drive keeps one list of changes and hands out tokens into it. A page ends with the token of the next page or, on the last
//! one, with the token from which to ask next time; both go on the same way, so one text is all that is kept.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use wharfage_sdk::events::{Emission, Outcome, Poll, Start};
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

/// Where the poll stands.
#[derive(Deserialize, Serialize)]
pub(crate) struct Place {
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

/// `polls.changes`: what changed since the last run, after the files that are told first.
pub(crate) fn polled(poll: &Poll, place: Option<Place>) -> Result<Outcome, Error> {
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

/// The token of now.
pub(crate) fn now() -> Result<String, Error> {
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

pub(crate) fn with_drives(request: Request) -> Request {
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
