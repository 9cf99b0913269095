//! Gmail: the messages of a mailbox, its labels and drafts, and what happens to them.
//!
//! A message is a MIME tree; what comes out of here is its text (`body`), and what goes in is text that becomes a message
//! (`compose`). What changes is told by Gmail's history (`history`), which misses nothing; a push through Pub/Sub is a hint that
//! comes at once (`watch`).

use wharfage_sdk::Error;
use wharfage_sdk::events::{Event, Outcome, Trigger};

mod body;
mod compose;
mod drafts;
mod history;
mod labels;
mod messages;
mod watch;

wharfage_sdk::operations! {
    /// Messages, the newest first, with sender, subject and date: the inbox unless asked otherwise.
    list "messages.list" => messages::list;
    /// One message as text, with its attachments' names.
    read "messages.get" => messages::find;
    /// Sends a message, also as an answer to another.
    write "messages.send" => messages::send;
    /// Puts labels on a message and takes labels off it: without `UNREAD` it is read, without `INBOX` archived.
    idempotent "messages.update" => messages::update;
    /// The mailbox's labels, Gmail's own and the user's.
    list "labels.list" => labels::list;
    /// Drafts, the newest first.
    list "drafts.list" => drafts::list;
    /// Writes a draft and does not send it.
    write "drafts.create" => drafts::create;
    /// Sends a draft as it is.
    write "drafts.send" => drafts::send;
    /// The mailbox: whose it is, and where its history stands.
    read "mailbox.get" => history::mailbox;
    /// What happened in the mailbox since a place in its history: messages that came and went, labels put on and taken off.
    list "history.list" => history::list;
    /// Starts the mailbox's push to a Pub/Sub topic for seven days, or renews it. The poll `watch` does this by itself.
    idempotent "watch.create" => watch::create;
    /// Stops the mailbox's push.
    idempotent "watch.stop" => watch::stop;
}
wharfage_sdk::plugin!(handle = handle);

/// Takes what the host hands over.
///
/// # Errors
/// Google's, or `invalid-request` for an input of a poll that is none.
pub fn handle(event: Event) -> Result<Outcome, Error> {
    match &event.trigger {
        Trigger::Poll(poll) if poll.name == "watch" => watch::keep_open(poll, event.kept()?),
        Trigger::Poll(poll) => history::run(poll, event.kept()?),
        Trigger::Webhook(webhook) => watch::told(webhook, &event.id),
        _ => Ok(Outcome::default()),
    }
}
