//! Google Drive, API v3: files, their content, and what changes.
//!
//! Every request asks for the fields it reads and no more, and says that it knows shared drives; without that Drive answers
//! 404 for what lies on one.

use schemars::JsonSchema;
use serde::Deserialize;
use wharfage_sdk::events::{Event, Outcome, Trigger};
use wharfage_sdk::{Error, Request};

mod changes;
mod channels;
mod content;
mod files;
mod md5;
mod upload;

wharfage_sdk::operations! {
    /// Files and folders, of one folder or of all; those in the trash only if asked for.
    list "files.list" => files::list;
    /// Files by their name, by words in their text, or by an expression in Drive's own search language.
    list "files.search" => files::search;
    /// What Drive knows about one file: name, type, size, checksum, folder, last change. Not its content.
    read "files.get" => files::find;
    /// The content of one file piece by piece: each page of the list is one piece, so it is never held as a whole and goes on
    /// where it stopped. Or all of it into a file of the caller's. Documents of Google's own have no bytes: files.export.
    list "files.download" => content::download;
    /// A document of Google's own (Docs, Sheets, Slides, Drawings) in another format, as PDF or plain text; up to 10 MB.
    read "files.export" => content::export;
    /// Uploads a new file of any size in a resumable session: what Drive has is never sent again, and what was lost is.
    write "files.upload" => upload::upload;
    /// Puts a file into the trash, or takes it out again; nothing is deleted for ever.
    idempotent "files.trash" => files::trash;
    /// What changed since a token; without one, the token to begin with.
    read "changes.list" => changes::list;
    /// Opens a watch channel: Google then tells a webhook that something changed, for a week at most.
    write "channels.create" => channels::create;
    /// Ends a watch channel.
    write "channels.stop" => channels::stop;
}

wharfage_sdk::plugin!(handle = handle);

/// Makes events of changes, and of notifications that there are some; keeps a watch channel open.
///
/// # Errors
/// Drive's; `cursor-invalid` where it does not know a token any more.
#[allow(clippy::result_large_err)] // the SDK's own error
pub fn handle(event: Event) -> Result<Outcome, Error> {
    match &event.trigger {
        Trigger::Webhook(webhook) => Ok(channels::told(webhook, event.id)),
        Trigger::Poll(poll) if poll.name == "channel" => channels::keep_open(poll, event.kept()?),
        Trigger::Poll(poll) => changes::polled(poll, event.kept()?),
        _ => Ok(Outcome::default()),
    }
}

/// Text, or bytes as Base64.
#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Form {
    #[default]
    Base64,
    Text,
}

/// The request for a file, as far as all have in common.
fn on_file(request: Request) -> Request {
    request.query("supportsAllDrives", "true")
}
