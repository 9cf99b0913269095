//! Watch channels: Google tells an address of ours that something on Drive changed, and not what.
//!
//! A notification has no body and no signature. What it brings is the channel's token, which we choose: a keyed hash of
//! the channel's id, made by the host with a key that nobody else has, and checked by the host before anything gets here.
//! A channel ends after a week at the latest and cannot be made longer, so the next one is opened while the old one speaks.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use wharfage_sdk::events::{Emission, Outcome, Poll, Webhook};
use wharfage_sdk::secrets::{self, Algorithm};
use wharfage_sdk::{Error, ErrorKind, Request, Timestamp, clock, log};

use crate::changes;

/// Who is told, and for how long.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateInput {
    /// The public address of the endpoint that takes the webhook `changes`; `https`, with a certificate that Google trusts.
    address: String,
    /// An id for the channel: letters, digits, `-`, `_`, 64 at most; made from the time unless stated. Each is used once.
    #[serde(default)]
    id: Option<String>,
    /// In how many hours it is to end: 168 at most, which it is unless stated.
    #[serde(default = "week")]
    #[schemars(range(min = 1, max = 168))]
    hours: u32,
}

/// Which channel is to end.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct StopInput {
    /// The channel's id.
    id: String,
    /// What it watches, as `channels.create` said.
    resource_id: String,
}

/// An open channel. Keep `id` and `resource_id`: Google lists channels nowhere, and ending one takes both.
#[derive(Deserialize, Serialize, JsonSchema)]
pub(crate) struct Channel {
    /// Its id.
    id: String,
    /// What it watches, as Google calls it.
    resource_id: String,
    /// When it ends.
    expires_at: Option<Timestamp>,
}

/// A channel that was ended.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Stopped {
    /// Its id.
    id: String,
}

/// `[connections.<name>.polls.channel.input]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    /// The endpoint's public address.
    address: String,
}

/// The cursor of the poll: the channel that is open, and for what.
#[derive(Deserialize, Serialize)]
pub(crate) struct Kept {
    channel: Channel,
    address: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    id: String,
    resource_id: String,
    /// Milliseconds since 1970, as text.
    #[serde(default)]
    expiration: Option<String>,
}

const HOUR_MS: i64 = 3_600_000;

fn week() -> u32 {
    168
}

pub(crate) fn create(input: CreateInput) -> Result<Channel, Error> {
    open(&input.address, input.id, input.hours)
}

pub(crate) fn stop(input: StopInput) -> Result<Stopped, Error> {
    close(&input.id, &input.resource_id)?;
    Ok(Stopped { id: input.id })
}

fn open(address: &str, id: Option<String>, hours: u32) -> Result<Channel, Error> {
    if !address.starts_with("https://") {
        return Err(Error::invalid_request("/address", "expected an address that begins with https://"));
    }
    let now = clock::now();
    let id = id.unwrap_or_else(|| ["wharfage-", &now.as_ms().to_string()].concat());
    let is_id = (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    if !is_id {
        return Err(Error::invalid_request("/id", "expected 1 to 64 letters, digits, - and _"));
    }
    let token = secrets::sign_hex("channel_key", Algorithm::HmacSha256, ["channel:", &id, ":"].concat().as_bytes())?;
    // Without a time of ours a channel lives an hour.
    let expiration = now.plus_ms(i64::from(hours.clamp(1, week())) * HOUR_MS).as_ms().to_string();
    let channel = json!({"id": id, "type": "web_hook", "address": address, "token": token, "expiration": expiration});
    let request = changes::with_drives(Request::post("{api}/changes/watch")).query("pageToken", changes::now()?);
    let record: Record = request.json(&channel)?.send()?.json()?;
    let expires_at = record.expiration.and_then(|text| text.parse().ok()).map(Timestamp::from_ms);
    Ok(Channel { id: record.id, resource_id: record.resource_id, expires_at })
}

fn close(id: &str, resource_id: &str) -> Result<(), Error> {
    let request = Request::post("{api}/channels/stop").json(&json!({"id": id, "resourceId": resource_id}))?;
    request.send()?.must_be_empty()
}

/// `polls.channel`: opens a channel, and the next one when less than a day is left. Until that one is open the old one
/// speaks; for a moment both do, which is no harm, because a notification is a hint.
pub(crate) fn keep_open(poll: &Poll, kept: Option<Kept>) -> Result<Outcome, Error> {
    let Input { address } = poll.read_input()?;
    let now = clock::now();
    if let Some(kept) = &kept {
        let is_new = kept.channel.expires_at.is_none_or(|end| end > now.plus_ms(24 * HOUR_MS));
        if kept.address == address && is_new {
            return Ok(Outcome::default());
        }
    }
    let mut channel = open(&address, None, week())?;
    channel.expires_at.get_or_insert(now.plus_ms(i64::from(week()) * HOUR_MS));
    log::info("a watch channel was opened", &[("channel", &channel.id)]);
    if let Some(Kept { channel: old, .. }) = kept {
        // It may have ended by itself.
        match close(&old.id, &old.resource_id) {
            Err(error) if error.kind != ErrorKind::NotFound => {
                log::warn("an old watch channel could not be ended; it ends by itself", &[("channel", &old.id)]);
            }
            _ => {}
        }
    }
    Outcome::default().keep(&Kept { channel, address })
}

/// Makes a hint of a notification, whatever its state is called.
pub(crate) fn told(webhook: &Webhook, key: String) -> Outcome {
    let state = webhook.header("X-Goog-Resource-State");
    // The host acknowledges `sync` by itself.
    if !matches!(state, Some("change" | "sync")) {
        // A state that Google has by now and had not before is no failure.
        log::info("a notification has a state that is not known here", &[("state", &state.unwrap_or_default())]);
    }
    let data = json!({
        "channel": webhook.header("X-Goog-Channel-ID"),
        "resource": webhook.header("X-Goog-Resource-ID"),
        "state": state,
    });
    let emission = Emission { event_type: "changes.pending".to_owned(), key, data };
    Outcome { emit: vec![emission], ..Outcome::default() }
}
