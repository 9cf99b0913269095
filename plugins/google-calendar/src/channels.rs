//! Watch channels: Google tells an address of ours that a calendar's events changed, and not what.
//!
//! A notification has no body and no signature. What it brings is the channel's token, which we choose: a keyed hash of
//! the channel's id, made by the host with a key that nobody else has, and checked by the host before anything gets here.
//! A channel ends after some days and cannot be made longer, so the next one is opened while the old one still speaks.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use wharfage_sdk::events::{Emission, Outcome, Poll, Webhook};
use wharfage_sdk::http::{Repeat, percent_decode};
use wharfage_sdk::secrets::{self, Algorithm};
use wharfage_sdk::{Error, ErrorKind, Request, Timestamp, clock, log};

use crate::{DAY_MS, events_path, primary};

/// Which calendar is watched, and who is told.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateInput {
    /// The public address of the endpoint that takes the webhook `events`; `https`, with a certificate that Google trusts.
    address: String,
    /// The calendar's id; the account's own unless stated.
    #[serde(default = "primary")]
    calendar: String,
    /// An id for the channel: letters, digits, `-`, `_`, 64 at most; made from the time unless stated. Each is used once.
    #[serde(default)]
    id: Option<String>,
    /// In how many hours it is to end. Google may make it less.
    #[serde(default)]
    hours: Option<u32>,
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
#[derive(Clone, Deserialize, Serialize, JsonSchema)]
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
    /// The calendar.
    #[serde(default = "primary")]
    calendar: String,
}

/// The cursor of the poll: the channel that is open, and for what.
#[derive(Deserialize, Serialize)]
pub(crate) struct Kept {
    channel: Channel,
    address: String,
    calendar: String,
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
/// How long a channel lives where nobody says.
const WEEK_MS: i64 = 7 * DAY_MS;

pub(crate) fn create(input: CreateInput) -> Result<Channel, Error> {
    open(&input.calendar, &input.address, input.id, input.hours)
}

fn open(calendar: &str, address: &str, id: Option<String>, hours: Option<u32>) -> Result<Channel, Error> {
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
    let mut wanted = json!({"id": id, "type": "web_hook", "address": address, "token": token});
    if let Some(hours) = hours {
        wanted["expiration"] = json!(now.plus_ms(i64::from(hours) * HOUR_MS).as_ms().to_string());
    }
    let response = Request::post([&events_path(calendar)?, "/watch"].concat()).json(&wanted)?.send()?;
    let record: Record = response.json()?;
    let expires_at = record.expiration.and_then(|text| text.parse().ok()).map(Timestamp::from_ms);
    Ok(Channel { id: record.id, resource_id: record.resource_id, expires_at })
}

pub(crate) fn stop(input: StopInput) -> Result<Stopped, Error> {
    close(&input.id, &input.resource_id)?;
    Ok(Stopped { id: input.id })
}

fn close(id: &str, resource_id: &str) -> Result<(), Error> {
    let request = Request::post("{api}/channels/stop").json(&json!({"id": id, "resourceId": resource_id}))?;
    // Ending it twice ends it once; the second time there is no such channel.
    request.repeat(Repeat::Safe).send()?.must_be_empty()
}

/// `polls.channel`: opens a channel, and the next one when less than a day is left. Until that one is open the old one
/// speaks; for a moment both do, which is no harm, because a notification is a hint.
pub(crate) fn keep_open(poll: &Poll, kept: Option<Kept>) -> Result<Outcome, Error> {
    let Input { address, calendar } = poll.read_input()?;
    if let Some(kept) = &kept {
        let is_wanted = kept.address == address && kept.calendar == calendar;
        let is_new = kept.channel.expires_at.is_none_or(|end| end > clock::now().plus_ms(DAY_MS));
        if is_wanted && is_new {
            return Ok(Outcome::default());
        }
    }
    let mut channel = open(&calendar, &address, None, None)?;
    channel.expires_at.get_or_insert(clock::now().plus_ms(WEEK_MS));
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
    Outcome::default().keep(&Kept { channel, address, calendar })
}

/// Makes a hint of a notification.
pub(crate) fn told(webhook: &Webhook, id: &str) -> Result<Outcome, Error> {
    let Some(channel) = webhook.header("x-goog-channel-id") else {
        return Err(Error::schema_violation("the notification does not say of which channel it is"));
    };
    let state = webhook.header("x-goog-resource-state").unwrap_or_default();
    if !matches!(state, "exists" | "not_exists") {
        // A state that Google has by now and had not before is no failure.
        log::info("a notification has a state that is not known here", &[("state", &state)]);
    }
    let calendar = webhook.header("x-goog-resource-uri").and_then(calendar_of);
    let data = json!({
        "calendar": calendar,
        "channel": channel,
        "resource": webhook.header("x-goog-resource-id"),
        "state": state,
    });
    let emission = Emission { event_type: "calendar.changed".to_owned(), key: id.to_owned(), data };
    Ok(Outcome { emit: vec![emission], ..Outcome::default() })
}

/// The calendar in a resource's address: `…/calendars/<id>/events?…`.
fn calendar_of(address: &str) -> Option<String> {
    let (_, rest) = address.split_once("/calendars/")?;
    let (id, _) = rest.split_once('/')?;
    Some(percent_decode(id))
}

#[cfg(test)]
mod tests {
    use wharfage_sdk::events::{Event, Header, Start, Trigger};
    use wharfage_sdk::testing;

    use super::*;

    fn notified(uri: &str, state: &str) -> Outcome {
        let header = |name: &str, value: &str| Header { name: name.into(), value: value.into() };
        let headers = vec![
            header("x-goog-channel-id", "wharfage-1"),
            header("x-goog-message-number", "10"),
            header("x-goog-resource-id", "ret08u3rv24htgh289g"),
            header("x-goog-resource-uri", uri),
            header("x-goog-resource-state", state),
        ];
        let webhook = Webhook { endpoint: "events".into(), headers, body: Vec::new() };
        let event = Event { id: "webhook events 7".into(), trigger: Trigger::Webhook(webhook), cursor: None };
        testing::handle(include_str!("../plugin.toml"), crate::handle, event, "[]").unwrap()
    }

    #[test]
    fn a_notification_without_a_body_becomes_a_hint() {
        let uri = "https://www.googleapis.com/calendar/v3/calendars/ann%40example.org/events?alt=json";
        let outcome = notified(uri, "exists");
        assert_eq!(outcome.emit[0].key, "webhook events 7");
        assert_eq!(
            outcome.emit[0].data,
            json!({"calendar": "ann@example.org", "channel": "wharfage-1", "resource": "ret08u3rv24htgh289g", "state": "exists"})
        );
    }

    /// R24: what is not known yet is passed, and an unknown state logged.
    #[test]
    fn r24_a_state_or_an_address_that_is_not_known_is_passed() {
        let outcome = notified("https://www.googleapis.com/calendar/v4/%zz", "exploded");
        assert_eq!(testing::logged(), ["info a notification has a state that is not known here state=exploded"]);
        assert_eq!(outcome.emit[0].data["calendar"], json!(null));
        assert_eq!(outcome.emit[0].data["state"], json!("exploded"));
    }

    fn polled(cursor: Option<&str>, exchanges: &str) -> Result<Outcome, Error> {
        let input = r#"{"address": "https://hooks.example.org/webhooks/calendar"}"#;
        let poll = Poll { name: "channel".into(), input: input.into(), start: Start::FromNow };
        let event = Event { id: "1".into(), trigger: Trigger::Poll(poll), cursor: cursor.map(str::to_owned) };
        testing::handle(include_str!("../plugin.toml"), crate::handle, event, exchanges)
    }

    // It is 2026-01-01 here.
    #[test]
    fn a_channel_with_time_left_is_left_alone() {
        let cursor = r#"{"channel":{"id":"a","resource_id":"r","expires_at":"2026-01-03T00:00:00Z"},
            "address":"https://hooks.example.org/webhooks/calendar","calendar":"primary"}"#;
        assert_eq!(polled(Some(cursor), "[]").unwrap(), Outcome::default());
    }

    // Today's default is a week, and a channel cannot be made longer: the next one is opened before the old one is ended.
    #[test]
    fn a_channel_that_ends_within_a_day_gets_a_successor() {
        let cursor = r#"{"channel":{"id":"old","resource_id":"r","expires_at":"2026-01-01T23:00:00Z"},
            "address":"https://hooks.example.org/webhooks/calendar","calendar":"primary"}"#;
        let outcome = polled(
            Some(cursor),
            r#"[{"request": {"method": "POST", "url": "{api}/calendars/primary/events/watch", "json": {
                    "id": "wharfage-1767225600000", "type": "web_hook",
                    "address": "https://hooks.example.org/webhooks/calendar", "token": "TOKEN"}},
                "response": {"status": 200, "json": {"kind": "api#channel", "id": "wharfage-1767225600000",
                    "resourceId": "r", "resourceUri": "u", "expiration": "1767830400000"}}},
               {"request": {"method": "POST", "url": "{api}/channels/stop", "json": {"id": "old", "resourceId": "r"}},
                "response": {"status": 404}}]"#
                .replace("TOKEN", &token("wharfage-1767225600000"))
                .as_str(),
        )
        .unwrap();
        assert!(outcome.emit.is_empty() && outcome.cursor.unwrap().contains("2026-01-08T00:00:00Z"));
    }

    fn token(id: &str) -> String {
        testing::with_exchanges("[]", || {
            secrets::sign_hex("channel_key", Algorithm::HmacSha256, format!("channel:{id}:").as_bytes()).unwrap()
        })
    }
}
