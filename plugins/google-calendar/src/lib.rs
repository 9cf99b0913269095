//! Google Calendar v3: the calendars of an account, their events, and when they are busy.
//!
//! What changes is told in two ways. `polls.events` asks with a sync token and misses nothing (`sync`); a watch channel
//! is a hint that comes at once (`channels`). No time zone is assumed anywhere: a time has an offset, or its zone beside
//! it, or is a whole day (`moment`).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wharfage_sdk::events::{Event, Outcome, Trigger};
use wharfage_sdk::http::segment;
use wharfage_sdk::{Error, Timestamp, clock};

mod availability;
mod calendars;
mod channels;
mod events;
mod moment;
mod sync;

wharfage_sdk::operations! {
    /// The calendars in the account's list, its own and those it subscribed to.
    list "calendars.list" => calendars::list;
    /// Events of a calendar by their start: the next seven days unless asked otherwise, each occurrence of a series by itself.
    list "events.list" => events::list;
    /// One event by its id.
    read "events.get" => events::find;
    /// Makes an event. Guests are told only if asked for.
    write "events.create" => events::create;
    /// Changes the fields of an event that are given, and no others.
    idempotent "events.update" => events::update;
    /// Deletes an event. One that was deleted before is no error.
    idempotent "events.delete" => events::delete;
    /// When calendars are busy: a row for each busy time, in the next seven days unless asked otherwise. A calendar without a row is free.
    list "availability.get" => availability::find;
    /// Opens a watch channel: from now on Google tells an address of yours when a calendar's events change. The poll `channel` does this by itself.
    write "channels.create" => channels::create;
    /// Ends a watch channel.
    idempotent "channels.stop" => channels::stop;
}
wharfage_sdk::plugin!(handle = handle);

/// Takes what the host hands over.
///
/// # Errors
/// Google's, or `invalid-request` for an input of a poll that is none.
pub fn handle(event: Event) -> Result<Outcome, Error> {
    match &event.trigger {
        Trigger::Poll(poll) if poll.name == "channel" => channels::keep_open(poll, event.kept()?),
        Trigger::Poll(poll) => sync::run(poll, event.kept()?),
        Trigger::Webhook(webhook) => channels::told(webhook, &event.id),
        _ => Ok(Outcome::default()),
    }
}

/// Of which time: shared by what lists events and what tells busy times.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct Range {
    #[serde(rename = "f")]
    from: Timestamp,
    #[serde(rename = "t")]
    to: Timestamp,
}

const DAY_MS: i64 = 86_400_000;
const DAYS: u32 = 7;

impl Range {
    /// From `from` or now, to `to` or so many days later.
    fn new(from: Option<Timestamp>, to: Option<Timestamp>, days: Option<u32>) -> Result<Self, Error> {
        let from = from.unwrap_or_else(clock::now);
        let to = match (to, days) {
            (Some(_), Some(_)) => return Err(Error::invalid_request("/days", "expected either `to` or `days`")),
            (Some(to), None) => to,
            (None, days) => from.plus_ms(i64::from(days.unwrap_or(DAYS)).saturating_mul(DAY_MS)),
        };
        if to <= from {
            return Err(Error::invalid_request("/to", "expected a time after `from`"));
        }
        Ok(Self { from, to })
    }
}

/// Whom Google tells about what was done to an event.
#[derive(Clone, Copy, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Tell {
    /// Nobody.
    #[default]
    Nobody,
    /// Every guest.
    Everybody,
    /// Guests who do not use Google Calendar.
    Others,
}

impl Tell {
    fn name(self) -> &'static str {
        match self {
            Self::Nobody => "none",
            Self::Everybody => "all",
            Self::Others => "externalOnly",
        }
    }
}

/// The calendar that belongs to the account itself.
fn primary() -> String {
    "primary".to_owned()
}

/// The path of a calendar's events.
fn events_path(calendar: &str) -> Result<String, Error> {
    Ok(["{api}/calendars/", &segment("/calendar", calendar)?, "/events"].concat())
}
