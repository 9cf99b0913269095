//! What happens in the account: told by webhooks, and healed from the list of events.
//!
//! Stripe gives up on a webhook after three days and keeps its events for thirty. So the poll `events` reads that list, and
//! emits what a webhook would have emitted: the same type, the same key, the same data. The host emits a key once, so what
//! came both ways is told once, and what came by no webhook is told all the same.
//!
//! The list is read from the newest event down to a moment a little before the newest one of the last round, because an
//! event may come to stand in the list later than its time says. Everything in between is read again, which costs nothing
//! but the key. A round that is longer than one run goes on where it stopped.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use wharfage_sdk::events::{Emission, Event, Outcome, Poll, Start, Trigger};
use wharfage_sdk::http::Method;
use wharfage_sdk::{Error, ErrorKind, Timestamp, clock, log};

use crate::api::{self, LIMIT_MAX, Listing};
use crate::events;

/// How far behind the newest event the next round begins again.
const OVERLAP_S: i64 = 120;

/// How long Stripe keeps an event.
const KEPT_S: i64 = 30 * 86_400;

/// What one call asks before it hands back and is called again: what was read is then kept.
const PAGES_MAX: u32 = 5;

/// `[connections.<name>.polls.events.input]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    /// Only these types, as `invoice.paid`: up to 20, or one that may end in `*`.
    #[serde(default)]
    types: Vec<String>,
    /// Only what a webhook endpoint has not taken.
    #[serde(default)]
    undelivered_only: bool,
    /// The connected account; without it, the key's own.
    #[serde(default)]
    account: Option<String>,
}

/// Where the poll stands.
#[derive(Default, Deserialize, Serialize)]
struct Round {
    /// Events of this second and later are read; 0 is all.
    since: i64,
    /// The second of the newest event that was seen.
    newest: i64,
    /// Within a round: the event after which it goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    after: Option<String>,
    /// Of a beginning with so many of the newest: how many are left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    left: Option<u32>,
    /// Events from `since` on that were there before the poll began.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    known: Vec<String>,
    /// The second of the newest of these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    known_until: Option<i64>,
}

/// Takes what the host hands over.
///
/// # Errors
/// `schema-violation` for an event of another shape, `cursor-invalid` where the list no longer has the place at which a round
/// stopped, and whatever Stripe answers.
#[allow(clippy::result_large_err)] // the SDK's own error
pub fn handle(event: Event) -> Result<Outcome, Error> {
    match &event.trigger {
        Trigger::Webhook(webhook) => {
            let told: Option<Value> = wharfage_sdk::json::parse(&webhook.body);
            let emission = told
                .as_ref()
                .and_then(|told| emission(told, None))
                .ok_or_else(|| Error::new(ErrorKind::SchemaViolation, "the webhook's body is no event with an id"))?;
            Ok(Outcome { emit: vec![emission], ..Outcome::default() })
        }
        Trigger::Poll(poll) if poll.name == "events" => heal(poll, event.kept()?),
        _ => Err(Error::internal("this plugin has one webhook and one poll, both called `events`")),
    }
}

fn heal(poll: &Poll, round: Option<Round>) -> Result<Outcome, Error> {
    let input: Input = poll.read_input()?;
    let mut round = match (round, poll.start) {
        (Some(round), _) => round,
        (None, Start::FromNow | Start::Backfill(0)) => return Outcome::default().keep(&from_now(&input)?),
        (None, Start::Backfill(left)) => Round { left: Some(left), ..Round::default() },
        (None, Start::All) => Round::default(),
    };
    if round.since > 0 && round.since < clock::now().as_ms() / 1000 - KEPT_S {
        log::warn("the last look was more than 30 days ago: what Stripe keeps no longer is lost", &[]);
    }
    let mut emit = Vec::new();
    let mut more = true;
    for _ in 0..PAGES_MAX {
        more = round.read(&input, &mut emit)?;
        if !more {
            break;
        }
    }
    // The list begins with the newest; who hears of it hears of the oldest first, as far as one call reaches.
    emit.reverse();
    Outcome { emit, more, ..Outcome::default() }.keep(&round)
}

/// A place at the present: whatever stands in the list now is not told. It is a little before the newest event, as with
/// each round.
fn from_now(input: &Input) -> Result<Round, Error> {
    let listing = listed(input, LIMIT_MAX, 0, None)?.0;
    let newest = listing.data.first().map_or(0, second);
    // Where so much happens that the page ends before, what is on the next one was there too.
    let after = listing.data.last().filter(|_| listing.has_more).map_or(0, |oldest| second(oldest) + 1);
    let since = after.min(newest).max(newest - OVERLAP_S).max(0);
    let known = listing.data.iter().filter(|event| second(event) >= since).filter_map(id).map(str::to_owned);
    Ok(Round { since, newest, known: known.collect(), known_until: Some(newest), ..Round::default() })
}

impl Round {
    /// Reads one page, and says whether the round goes on.
    fn read(&mut self, input: &Input, emit: &mut Vec<Emission>) -> Result<bool, Error> {
        let limit = self.left.map_or(LIMIT_MAX, |left| left.clamp(1, LIMIT_MAX));
        let (listing, last) = listed(input, limit, self.since, self.after.as_deref())?;
        for event in &listing.data {
            self.newest = self.newest.max(second(event));
            if id(event).is_some_and(|id| self.known.iter().any(|known| known == id)) {
                continue;
            }
            match emission(event, input.account.as_deref()) {
                Some(emission) => emit.push(emission),
                None => log::warn("an event in the list has no id, and is passed over", &[]),
            }
        }
        let read = u32::try_from(listing.data.len()).unwrap_or(u32::MAX);
        self.left = self.left.map(|left| left.saturating_sub(read));
        if listing.has_more && self.left != Some(0) {
            if self.after == last {
                return Err(Error::schema_violation("Stripe hands out the same place in its list of events twice"));
            }
            self.after = last;
            return Ok(true);
        }
        // Of a beginning with so many of the newest, none is told that is older than the last of them.
        let oldest = self.left.and_then(|_| listing.data.last()).map_or(0, second);
        let since = self.since.max(oldest).max(self.newest - OVERLAP_S);
        if since > self.since && self.known_until.is_none_or(|until| since > until) {
            self.known.clear();
            self.known_until = None;
        }
        let (known, known_until) = (std::mem::take(&mut self.known), self.known_until);
        *self = Self { since, newest: self.newest, known, known_until, ..Self::default() };
        Ok(false)
    }
}

/// One page of the list, and the id after which it goes on.
fn listed(input: &Input, limit: u32, since: i64, after: Option<&str>) -> Result<(Listing, Option<String>), Error> {
    let fields = events::filters(&input.types, input.undelivered_only.then_some(false))?
        .moment("created[gte]", (since > 0).then(|| Timestamp::from_unix_s(since)))
        .number("limit", Some(limit))
        .text("starting_after", after);
    let response = api::send(fields.in_query(api::request(Method::Get, "/events", input.account.as_deref())))?;
    let listing: Listing = response.json()?;
    let last = if listing.has_more { Some(api::last_id(&response, &listing)?) } else { None };
    Ok((listing, last))
}

/// The second in which it happened.
fn second(event: &Value) -> i64 {
    event.get("created").and_then(Value::as_i64).unwrap_or(0)
}

fn id(event: &Value) -> Option<&str> {
    event.get("id").and_then(Value::as_str)
}

/// What is emitted of an event: a hint, not the object. Nothing, where it has no id.
///
/// An event of the newer kind (`v2.…`) names its object in `related_object` and its time as text.
fn emission(event: &Value, account: Option<&str>) -> Option<Emission> {
    let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str);
    let key = text("/id")?;
    let object = text("/data/object/object").or_else(|| text("/related_object/type"));
    let at = match event.get("created") {
        Some(Value::String(text)) => Timestamp::parse(text),
        _ => Some(Timestamp::from_unix_s(second(event))),
    };
    let data = json!({
        "event": key,
        "type": text("/type"),
        "object": object,
        "id": text("/data/object/id").or_else(|| text("/related_object/id")),
        "status": text("/data/object/status"),
        "at": at,
        "livemode": event.get("livemode").and_then(Value::as_bool),
        "account": text("/account").or(account),
    });
    Some(Emission { event_type: event_type(object.unwrap_or_default()).to_owned(), key: key.to_owned(), data })
}

/// What changed, by the kind of its object. What is not known here is told too: Stripe adds kinds without a word.
fn event_type(object: &str) -> &'static str {
    match object {
        "customer" => "customer.changed",
        "charge" => "charge.changed",
        "payment_intent" => "payment-intent.changed",
        "invoice" => "invoice.changed",
        "subscription" => "subscription.changed",
        "refund" => "refund.changed",
        "dispute" => "dispute.changed",
        "payout" => "payout.changed",
        "checkout.session" => "checkout.changed",
        _ => "other.changed",
    }
}

#[cfg(test)]
mod tests;
